"""net/tls_socket.py over real TCP: nothing is left where the selector cannot see it, in whatever records and cuts."""

import random
import select
import socket
import ssl
from collections.abc import Iterator

import pytest

from audiohook.config import Tls
from audiohook.net.stream_socket import READ_BYTES
from audiohook.net.tls_pair import TlsPair
from audiohook.net.tls_socket import TlsSocket
from tests.support.certificates import Authority
from tests.support.tcp import tcp_pair, wait_readable
from tests.support.tls import TlsClient, anybody

RECORD_BYTES = 16_384


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> TlsPair:
    made = Authority(tmp_path_factory.mktemp("authority")).pair()
    return TlsPair(Tls(certificate_file=str(made.certificate), key_file=str(made.key)))


class OpenGate:
    """Lets handshakes go on, unless told otherwise, and remembers what it was told."""

    def __init__(self) -> None:
        self.begins = self.steps = True
        self.told: list[str] = []

    def may_begin(self) -> bool:
        return self.begins

    def may_step(self) -> bool:
        return self.steps

    def succeeded(self) -> None:
        self.told.append("succeeded")

    def failed(self, reason: str) -> None:
        self.told.append(reason)


class Ends:
    """A TlsSocket and the client at its other end."""

    def __init__(self, pair: TlsPair, *, behind_proxy_header: bool = False, buffer_bytes: int = 0) -> None:
        accepted, self.peer = tcp_pair(buffer_bytes)
        self.gate = OpenGate()
        self.stream = TlsSocket(accepted, 0, self.gate, pair.wrap, behind_proxy_header=behind_proxy_header)
        self.client = TlsClient(anybody())

    def shake_hands(self) -> None:
        self.peer.sendall(self.client.step())
        while not self.client.established:
            wait_readable(self.stream)
            assert self.stream.read() is None
            wait_readable(self.peer)
            self.peer.sendall(self.client.step(self.peer.recv(65_536)))
        wait_readable(self.stream)
        while self.stream.shaking_hands:
            assert self.stream.read() is None

    def taken(self, size: int) -> bytes:
        """Read as a connection does: when the selector says so, and on and on while reads are full."""
        data = bytearray()
        while len(data) < size:
            wait_readable(self.stream)
            piece = self.stream.read()
            while piece is not None and len(piece) == READ_BYTES:
                data += piece
                piece = self.stream.read()
            assert piece != b"" or len(data) >= size, "the end of file came first"
            data += piece or b""
        return bytes(data)

    def readable(self) -> bool:
        return bool(select.select([self.stream], [], [], 0)[0])

    def close(self) -> None:
        self.stream.close(reset=True)
        self.peer.close()


@pytest.fixture
def ends(pair: TlsPair) -> Iterator[Ends]:
    made = Ends(pair)
    yield made
    made.close()


@pytest.fixture
def agreed(ends: Ends) -> Ends:
    ends.shake_hands()
    assert ends.gate.told == ["succeeded"]
    return ends


# What is read


@pytest.mark.parametrize(
    "sizes",
    [
        [1],
        [READ_BYTES],
        [READ_BYTES, 1],
        [RECORD_BYTES],
        [RECORD_BYTES, 1],
        [16_000],
        [100] * 41,
        [RECORD_BYTES] * 4,
        [3, RECORD_BYTES, 3],
        [READ_BYTES - 1, 2],
    ],
)
def test_all_records_are_read_though_the_selector_falls_silent(agreed: Ends, sizes: list[int]) -> None:
    plain = b"".join(bytes([number % 251]) * size for number, size in enumerate(sizes))
    records, at = b"", 0
    for size in sizes:
        records += agreed.client.records(plain[at : at + size])
        at += size
    agreed.peer.sendall(records)
    assert agreed.taken(len(plain)) == plain
    assert agreed.stream.read() is None


@pytest.mark.parametrize("seed", range(12))
def test_any_records_in_any_cuts(agreed: Ends, seed: int) -> None:
    chance = random.Random(seed)
    plain = chance.randbytes(60_000)
    records, at = b"", 0
    while at < len(plain):
        size = chance.choice([1, 40, 60, 1000, READ_BYTES, 9000, RECORD_BYTES])
        records += agreed.client.records(plain[at : at + size])
        at += size
    read = bytearray()
    while records:
        cut = chance.choice([1, 5, 90, READ_BYTES, 20_000])
        agreed.peer.sendall(records[:cut])
        records = records[cut:]
        wait_readable(agreed.stream)
        piece = agreed.stream.read()
        while piece is not None and len(piece) == READ_BYTES:
            read += piece
            piece = agreed.stream.read()
        read += piece or b""
    while len(read) < len(plain):
        read += agreed.taken(1)
    assert bytes(read) == plain


def test_byte_by_byte(ends: Ends) -> None:
    """Handshake and records, one byte a segment."""
    said = b"hello" * 10
    to_server, answered = ends.client.step(), False
    while True:
        for place in range(len(to_server)):
            ends.peer.sendall(to_server[place : place + 1])
            wait_readable(ends.stream)
            data = ends.stream.read()
            assert data in (None, said)
            answered = answered or data == said
        if answered:
            return
        if ends.client.established:
            to_server = ends.client.records(said)
        else:
            wait_readable(ends.peer)
            to_server = ends.client.step(ends.peer.recv(65_536))


def test_a_request_that_comes_with_the_end_of_the_handshake_is_read(ends: Ends) -> None:
    ends.peer.sendall(ends.client.step())
    wait_readable(ends.stream)
    assert ends.stream.read() is None
    wait_readable(ends.peer)
    finished = ends.client.step(ends.peer.recv(65_536))
    ends.peer.sendall(finished + ends.client.records(b"GET / HTTP/1.1"))
    assert ends.taken(1) == b"GET / HTTP/1.1"


# The end


@pytest.mark.parametrize("size", [0, 1, READ_BYTES, RECORD_BYTES, RECORD_BYTES + 1])
def test_close_notify_is_the_end_though_tcp_stays_open(agreed: Ends, size: int) -> None:
    """In one segment with data, and the peer is silent from then on: nothing else would wake the selector."""
    data = agreed.client.records(bytes(size)) if size else b""
    agreed.peer.sendall(data + agreed.client.goodbye())
    assert agreed.taken(size) == bytes(size)
    wait_readable(agreed.stream)
    assert [agreed.stream.read(), agreed.stream.read()] == [b"", b""]


@pytest.mark.parametrize("reset", [False, True])
def test_tcp_that_ends_is_the_end_behind_what_came_before(agreed: Ends, reset: bool) -> None:
    agreed.peer.sendall(agreed.client.records(b"last words"))
    if not reset:
        agreed.peer.shutdown(socket.SHUT_WR)
        assert agreed.taken(1) == b"last words"
    else:
        assert agreed.taken(1) == b"last words"
        agreed.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        agreed.peer.close()
    wait_readable(agreed.stream)
    assert agreed.stream.read() == b""


def test_a_record_that_was_tampered_with_is_the_end(agreed: Ends) -> None:
    good, bad = agreed.client.records(b"good"), bytearray(agreed.client.records(b"bad"))
    bad[-1] ^= 1
    agreed.peer.sendall(good + bad)
    assert agreed.taken(1) == b"good"
    wait_readable(agreed.stream)
    assert agreed.stream.read() == b""


def test_our_end_is_said_and_the_peer_may_still_speak(agreed: Ends) -> None:
    """Its bytes must not turn our last words into a reset, and are for nobody."""
    assert agreed.stream.send(b"last words")
    agreed.stream.end_sending()
    agreed.peer.sendall(agreed.client.records(b"x" * 100))
    data = b""
    while piece := agreed.peer.recv(65_536):
        data += piece
    agreed.client.step(data)
    assert (bytes(agreed.client.received), agreed.client.ended) == (b"last words", True)
    wait_readable(agreed.stream)
    assert agreed.stream.read() is None
    assert agreed.stream.send(b"too late")
    agreed.peer.shutdown(socket.SHUT_WR)
    wait_readable(agreed.stream)
    assert agreed.stream.read() == b""


def test_our_end_waits_for_what_is_queued(pair: TlsPair) -> None:
    ends = Ends(pair, buffer_bytes=4096)
    ends.shake_hands()
    size = 0
    while not ends.stream.has_unsent:
        assert ends.stream.send(bytes(1000))
        size += 1000
    ends.stream.end_sending()
    while ends.stream.has_unsent:
        ends.client.step(ends.peer.recv(65_536))
        ends.stream.flush()
    while piece := ends.peer.recv(65_536):
        ends.client.step(piece)
    assert (len(ends.client.received), ends.client.ended) == (size, True)
    ends.close()


def test_a_peer_that_does_not_read_is_told_of(pair: TlsPair) -> None:
    ends = Ends(pair, buffer_bytes=4096)
    ends.shake_hands()
    for _ in range(1000):
        if not ends.stream.send(bytes(4096)):
            break
    else:
        raise AssertionError("4 MB were queued for somebody who does not read")
    ends.close()


# The handshake


def test_nothing_can_be_said_before_it_is_done(ends: Ends) -> None:
    assert ends.stream.send(b"HTTP/1.1 408")
    assert not ends.stream.has_unsent
    ends.stream.end_sending()
    assert ends.peer.recv(100) == b""


def test_plain_http_is_told_from_tls(ends: Ends) -> None:
    ends.peer.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    wait_readable(ends.stream)
    assert ends.stream.read() == b""
    assert ends.gate.told == ["http request"]


def test_who_looks_whether_somebody_listens_has_not_failed(ends: Ends) -> None:
    ends.peer.shutdown(socket.SHUT_WR)
    wait_readable(ends.stream)
    assert (ends.stream.read(), ends.gate.told) == (b"", [])


def test_who_leaves_in_the_middle_has(ends: Ends) -> None:
    ends.peer.sendall(ends.client.step()[:100])
    ends.peer.shutdown(socket.SHUT_WR)
    wait_readable(ends.stream)
    assert ends.stream.read() is None
    assert (ends.stream.read(), ends.gate.told) == (b"", ["it was ended by the peer"])


def test_a_peer_hears_why_it_fails(ends: Ends) -> None:
    context = anybody()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA:@SECLEVEL=0")
    client = TlsClient(context)
    ends.peer.sendall(client.step())
    wait_readable(ends.stream)
    assert (ends.stream.read(), ends.gate.told) == (b"", ["no shared cipher"])
    with pytest.raises(ssl.SSLError, match="ALERT_HANDSHAKE_FAILURE"):
        client.step(ends.peer.recv(65_536))


def test_bytes_stay_in_the_kernel_while_no_step_may_be_taken(ends: Ends) -> None:
    ends.gate.steps = False
    ends.peer.sendall(ends.client.step())
    wait_readable(ends.stream)
    assert ends.stream.read() is None
    assert ends.readable()
    ends.gate.steps = True
    assert ends.stream.read() is None
    assert not ends.readable()
    wait_readable(ends.peer)


def test_a_handshake_that_may_not_begin_is_the_end(ends: Ends) -> None:
    ends.gate.begins = False
    ends.peer.sendall(ends.client.step())
    wait_readable(ends.stream)
    assert ends.stream.read() == b""


def test_a_handshake_that_is_given_up_is_the_end(ends: Ends) -> None:
    ends.peer.sendall(ends.client.step()[:50])
    wait_readable(ends.stream)
    assert ends.stream.read() is None
    ends.stream.abandon()
    wait_readable(ends.stream)
    assert (ends.stream.read(), ends.stream.shaking_hands) == (b"", False)


def test_one_that_is_done_cannot_be_given_up(agreed: Ends) -> None:
    agreed.stream.abandon()
    agreed.peer.sendall(agreed.client.records(b"on"))
    assert agreed.taken(1) == b"on"


# Behind a proxy

ADDRESSES = bytes([192, 0, 2, 7, 127, 0, 0, 1, 0x30, 0x39, 0x20, 0xFB])
HEADER = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + ADDRESSES


@pytest.mark.parametrize("cut", [1, 7, 16, 20, len(HEADER), 10_000])
def test_the_header_of_a_proxy_comes_before_tls_to_the_byte(pair: TlsPair, cut: int) -> None:
    ends = Ends(pair, behind_proxy_header=True)
    sent = HEADER + ends.client.step()
    header = b""
    for at in range(0, len(sent), cut):
        ends.peer.sendall(sent[at : at + cut])
        wait_readable(ends.stream)
        while ends.readable():
            header += ends.stream.read() or b""
    assert header == HEADER
    wait_readable(ends.peer)
    ends.peer.sendall(ends.client.step(ends.peer.recv(65_536)) + ends.client.records(b"GET"))
    assert ends.taken(1) == b"GET"
    ends.close()


def test_a_header_that_says_nothing_more(pair: TlsPair) -> None:
    ends = Ends(pair, behind_proxy_header=True)
    ends.peer.sendall(HEADER[:12] + b"\x20\x00\x00\x00" + ends.client.step())
    wait_readable(ends.stream)
    assert ends.stream.read() == HEADER[:12] + b"\x20\x00\x00\x00"
    assert ends.stream.read() is None
    wait_readable(ends.peer)
    ends.close()
