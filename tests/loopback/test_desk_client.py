"""A reader's connection to a desk that is not ours: how often it is asked."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from audiohook.control import protocol
from audiohook.control.desk_client import ASK_AGAIN_NS, DeskClient
from audiohook.units import NS_PER_S

PAUSES = 2000


class RefusingDesk:
    """Answers every request with a refusal to watch until `watched` is set, and keeps what it was asked."""

    def __init__(self, path: Path) -> None:
        self.asked: list[str] = []
        self.watched = False
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        with client:
            while packet := client.recv(protocol.MAX_PACKET_BYTES):
                request = protocol.decode(packet)
                assert request is not None
                self.asked.append(request["do"])
                client.send(protocol.encode({"ok": True, "watched": self.watched}))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def place() -> Iterator[tuple[RefusingDesk, DeskClient]]:
    with TemporaryDirectory(prefix="audiohook-") as folder:
        path = Path(folder, "hub.sock")
        desk, client = RefusingDesk(path), DeskClient(str(path))
        yield desk, client
        client.close()
        desk.close()


def test_a_refused_watch_is_not_asked_for_at_every_pause(place: tuple[RefusingDesk, DeskClient]) -> None:
    desk, client = place
    began_ns = time.monotonic_ns()
    assert not any(client.watch(3, 1) for _ in range(PAUSES))
    seconds = (time.monotonic_ns() - began_ns) // NS_PER_S
    assert 1 <= len(desk.asked) <= 1 + seconds
    client.watch(3, 2)
    assert 2 <= len(desk.asked) <= 3 + seconds, "a refusal is one stream's"


def test_a_refused_watch_is_asked_for_again(place: tuple[RefusingDesk, DeskClient]) -> None:
    desk, client = place
    began_ns = time.monotonic_ns()
    assert not client.watch(3, 1)
    desk.watched = True
    while not client.watch(3, 1):
        time.sleep(0.01)
    assert time.monotonic_ns() - began_ns >= ASK_AGAIN_NS
    assert client.watch(3, 1)
    assert desk.asked == ["watch", "watch"]
    client.unwatch(3, 1)
    assert desk.asked[2:] == ["unwatch"]
