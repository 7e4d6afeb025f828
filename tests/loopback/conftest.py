"""A daemon with small limits that the tests of a module share, and the count of what each of them leaves behind."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.census import Census
    from tests.support.daemon import Daemon


@pytest.fixture(scope="module")
def daemon() -> "Iterator[Daemon]":
    from tests.support.census import LIMITS
    from tests.support.daemon import Daemon

    with Daemon(*LIMITS) as running:
        yield running.wait_ready()


@pytest.fixture
def census(daemon: "Daemon") -> "Iterator[Census]":
    from tests.support.census import Census

    made = Census(daemon)
    yield made
    made.check()
