"""Fixtures for tests of the running daemon. What they need is imported when they are used: unit tests need none."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.certificates import Authority, Pair
    from tests.support.daemon import Daemon

# How long an example takes is the machine's business: beside other work it is ten times as long as alone.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture
def start_daemon() -> "Iterator[Callable[..., Daemon]]":
    """Start daemons that are ready when they are returned (see `tests/support/daemon.py`) and gone after the test."""
    from tests.support.daemon import Daemon

    with ExitStack() as stack:

        def start(*settings: str, **options: Any) -> Daemon:
            return stack.enter_context(Daemon(*settings, **options)).wait_ready()

        yield start


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> "Authority":
    """An authority of the test's own, whom nobody else trusts."""
    from tests.support.certificates import Authority

    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pairs(authority: "Authority") -> "list[Pair]":
    """Two certificates with their keys, of different kinds."""
    return [authority.pair(), authority.pair(kind="rsa")]


@pytest.fixture
def place(tmp_path: "Path", pairs: "list[Pair]") -> "Pair":
    """The files that a daemon's configuration names; the first pair is there."""
    from tests.support.certificates import Pair

    made = Pair(tmp_path / "the.pem", tmp_path / "the.key")
    pairs[0].copy_to(made)
    return made
