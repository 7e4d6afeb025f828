"""Caps, against the running daemon: who is refused with which word, in both dialects, and whom that costs nothing."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from audiohook.wire.client import UpgradeAnswer
from tests.support.daemon import Daemon
from tests.support.genesys import Genesys, new_caller
from tests.support.peer import Peer, call, call_again, packets_of

StartDaemon = Callable[..., Daemon]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def refused(daemon: Daemon) -> UpgradeAnswer:
    with Peer(daemon.address) as surplus:
        return surplus.upgrade()


@pytest.mark.parametrize(
    ("setting", "slug", "workers", "streams"),
    [
        ("admission.streams_per_host=5", "host_full", 2, 5),
        ("admission.streams_per_worker=3", "worker_full", 2, 6),
        ("admission.streams_per_address=4", "address_full", 2, 4),
    ],
)
def test_one_more_is_a_503_with_a_reason(
    start_daemon: StartDaemon, stack: ExitStack, setting: str, slug: str, workers: int, streams: int
) -> None:
    daemon = start_daemon(setting, f"server.workers={workers}")
    peers = [stack.enter_context(call(daemon.address)) for _ in range(streams)]
    for _ in range(3):
        answer = refused(daemon)
        assert (answer.status, answer.get("retry-after")) == (503, "5")
        assert answer.body.startswith(b"as many streams as ")
    daemon.wait(lambda: daemon.counter(slug) == 3, "the refusals")
    assert daemon.counter("no_slot") == 0
    assert daemon.slot_states() == Counter(LIVE=streams, FREE=16 - streams)
    assert len(daemon.locked_slots()) == streams
    assert len(daemon.logged(f"peer refused reason={slug} times=1 from=127.0.0.1")) in range(1, workers + 1)
    peers.pop().close()
    daemon.wait(lambda: daemon.slot_states()["LIVE"] == daemon.live() == streams - 1, "a place")
    stack.enter_context(call(daemon.address))


def test_an_organization_has_so_many(start_daemon: StartDaemon, stack: ExitStack) -> None:
    """`audiohook2` names it in its upgrade and asks for admission with `open`: the refusal is a `disconnect`."""
    daemon = start_daemon("admission.streams_per_organization=2")
    other = "11111111-2222-4333-8444-555555555555"
    for caller in (new_caller(), new_caller(), new_caller(organization_id=other)):
        stack.enter_context(Genesys(daemon.address, caller)).opened()
    surplus = stack.enter_context(Genesys(daemon.address))
    assert surplus.upgrade().accepted
    surplus.until("disconnect")
    assert not any(type(message).__name__ == "Opened" for message in surplus.client.received)
    daemon.wait(lambda: daemon.counter("organization_full") == 1, "the refusal")
    stack.enter_context(call(daemon.address))  # who names no organization belongs to none
    assert daemon.slot_states()["LIVE"] == 4
    assert daemon.logged("session not opened reason=organization_full times=1 from=127.0.0.1")


def test_whoever_is_away_is_not_counted_and_not_lost_by_a_refusal(start_daemon: StartDaemon, stack: ExitStack) -> None:
    daemon = start_daemon("admission.streams_per_host=1", "context.reconnect_seconds=600")
    away = call(daemon.address)
    away.send_packets(packets_of(1)[:10])
    stream = daemon.hub.open(participant_id=away.participant_id)
    daemon.wait(lambda: stream.totals.packets == 10, "ten packets")
    away.abort()
    daemon.wait(lambda: daemon.slot_states()["PARKED"] == 1, "a parked stream")
    present = stack.enter_context(call(daemon.address))
    with Peer(daemon.address, headers=()) as again:
        again.request = away.request
        assert again.upgrade().status == 503
    assert daemon.slot_states()["PARKED"] == 1
    present.close()
    daemon.wait(lambda: daemon.slot_states()["LIVE"] == 0, "a place")
    stack.enter_context(call_again(daemon.address, away))
    daemon.wait(lambda: daemon.counter("returned") == 1, "the return")
    assert stream.totals.packets == 10
    assert daemon.counter("host_full") == 1


def test_an_address_has_so_many_connections(start_daemon: StartDaemon, stack: ExitStack) -> None:
    daemon = start_daemon("admission.connections_per_address=3", "server.workers=1")
    peers = [stack.enter_context(call(daemon.address)) for _ in range(2)]
    silent = stack.enter_context(Peer(daemon.address))
    daemon.wait(lambda: daemon.live() == 3, "three connections")
    with Peer(daemon.address) as surplus:
        assert surplus.read_answer().status == 503
    assert daemon.counter("address_crowded") == 1
    silent.socket.close()
    daemon.wait(lambda: daemon.live() == 2, "the end of the silent one")
    peers.append(stack.enter_context(call(daemon.address)))
