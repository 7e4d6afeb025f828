"""Fixtures for tests of the running daemon. What they need is imported when they are used: unit tests need none."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.daemon import Daemon


@pytest.fixture
def start_daemon() -> "Iterator[Callable[..., Daemon]]":
    """Start daemons that are ready when they are returned (see `tests/support/daemon.py`) and gone after the test."""
    from tests.support.daemon import Daemon

    with ExitStack() as stack:

        def start(*settings: str, **options: Any) -> Daemon:
            return stack.enter_context(Daemon(*settings, **options)).wait_ready()

        yield start
