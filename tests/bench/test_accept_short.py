"""tests/bench/accept.py in short: counts only. What each kind of connection does, and that a crowd is answered."""

import pytest

from tests.bench import accept, accept_rush, accept_served
from tests.bench import accept_clients as clients

CONNECTIONS = 6
KINDS = {(kind.act, kind.certificate): kind for kind in accept_served.KINDS}


def test_every_kind_is_there_once() -> None:
    plain = {(act, "") for act in (clients.CLOSED, clients.KEPT, clients.OPENED, clients.NOT_FOUND, clients.REFUSED)}
    secured = {(act, certificate) for act in (clients.CLOSED, clients.KEPT) for certificate in ("ec", "rsa")}
    assert set(KINDS) == plain | secured
    assert len(KINDS) == len(accept_served.KINDS)


@pytest.mark.parametrize("which", [(clients.KEPT, "ec"), (clients.REFUSED, "")])
def test_connections_are_served_and_counted(which: tuple[str, str]) -> None:
    row = accept_served.measure(KINDS[which], CONNECTIONS, portions=1, processes=2)
    assert row.connections == CONNECTIONS
    assert row.cpu_us > 0
    assert row.busy > 0
    assert len(accept.line_of(row)) == len(accept.head())


def test_a_crowd_comes_and_comes_back() -> None:
    new, back = accept_rush.measure(30)
    for rush in (new, back):
        assert (rush.calls, rush.refused) == (30, 0)
        assert 0 < rush.first_s <= rush.median_s <= rush.last_s
        assert len(list(accept.lines_of_rush(rush))) == 3


def test_what_is_missed_is_said() -> None:
    row = accept_served.Row("some", 10, cpu_us=600, a_second=900, busy=0.5, target_a_second=2000)
    rush = accept_rush.Rush("all", 10, 0.05, 0.1, 0.2, 2.5, 2.4, refused=0)
    assert accept.missed(accept.Figures([row], [rush])) == ["some: 1,667 a second", "all: 2.50 s, 0 refused"]
    assert "client" in accept.line_of(row)
    late = accept_rush.Rush("all", 10, 0.5, 0.1, 0.2, 1.5, 1.4, refused=0)
    assert accept.missed(accept.Figures([], [late])) == [f"all: {late.void}"]
