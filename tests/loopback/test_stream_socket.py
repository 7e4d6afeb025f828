"""net/stream_socket.py over real TCP on loopback: bounded, ordered, and silent about what a peer does to it."""

import errno
import socket
import struct
from collections.abc import Iterator

import pytest

from audiohook.net.stream_socket import MAX_UNSENT_BYTES, READ_BYTES, StreamSocket
from tests.support.tcp import tcp_pair, wait_readable


@pytest.fixture
def pair() -> Iterator[tuple[StreamSocket, socket.socket]]:
    ours, theirs = tcp_pair(4096)
    stream = StreamSocket(ours)
    yield stream, theirs
    stream.close(reset=True)
    theirs.close()


Pair = tuple[StreamSocket, socket.socket]


def reset_by(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def fill(stream: StreamSocket) -> bytes:
    """Send until something is left in the queue; return all that was given to it."""
    given = bytearray()
    while not stream.has_unsent:
        piece = len(given).to_bytes(4, "big") * 256
        assert stream.send(piece)
        given += piece
    return bytes(given)


def received(peer: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = peer.recv(65_536)
        assert piece, "the end of file came first"
        data += piece
    return bytes(data)


def test_nothing_there_is_none_and_the_end_is_empty(pair: Pair) -> None:
    stream, peer = pair
    assert stream.read() is None
    peer.sendall(b"hello")
    wait_readable(stream)
    assert stream.read() == b"hello"
    assert stream.read() is None
    peer.shutdown(socket.SHUT_WR)
    wait_readable(stream)
    assert [stream.read(), stream.read()] == [b"", b""]


def test_one_read_is_bounded_and_loses_nothing(pair: Pair) -> None:
    stream, peer = pair
    data = bytes(range(256)) * (3 * READ_BYTES // 256) + b"rest"
    peer.sendall(data)
    pieces = []
    while sum(map(len, pieces)) < len(data):
        wait_readable(stream)
        piece = stream.read()
        assert piece
        pieces.append(piece)
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) == READ_BYTES


def test_a_reset_reads_as_the_end(pair: Pair) -> None:
    stream, peer = pair
    reset_by(peer)
    wait_readable(stream)
    assert [stream.read(), stream.read()] == [b"", b""]


def test_small_words_leave_at_once(pair: Pair) -> None:
    stream, peer = pair
    assert stream.send(b"pong")
    assert not stream.has_unsent
    assert peer.recv(100) == b"pong"


def test_what_cannot_be_sent_is_kept_in_order(pair: Pair) -> None:
    stream, peer = pair
    given = fill(stream)
    assert stream.send(b"the very last word")
    given += b"the very last word"
    got = bytearray()
    while len(got) < len(given):
        got += peer.recv(65_536)
        stream.flush()
    assert bytes(got) == given
    assert not stream.has_unsent


def test_nothing_overtakes_what_is_queued(pair: Pair) -> None:
    stream, peer = pair
    given = fill(stream)
    left = len(given) - len(stream._unsent)
    assert received(peer, left) == given[:left], "there is room again, and nobody has flushed"
    assert stream.send(b"behind")
    while stream.has_unsent:
        stream.flush()
    assert received(peer, len(given) - left + 6) == given[left:] + b"behind"


def test_a_peer_that_does_not_read_is_found_and_the_queue_is_bounded(pair: Pair) -> None:
    stream, _ = pair
    fill(stream)
    sends = 0
    while stream.send(bytes(1000)):
        sends += 1
    assert sends <= MAX_UNSENT_BYTES // 1000


def test_sending_to_a_peer_that_has_gone_raises_nothing(pair: Pair) -> None:
    stream, peer = pair
    reset_by(peer)
    wait_readable(stream)
    for _ in range(3):
        assert stream.send(b"anybody?")
    assert not stream.has_unsent
    stream.flush()
    stream.end_sending()
    assert stream.read() == b""


def test_flushing_to_a_peer_that_has_gone_forgets_the_queue(pair: Pair) -> None:
    stream, peer = pair
    fill(stream)
    reset_by(peer)
    wait_readable(stream)
    stream.flush()
    assert not stream.has_unsent


def test_ending_our_side_leaves_the_peers_open(pair: Pair) -> None:
    stream, peer = pair
    stream.send(b"last")
    stream.end_sending()
    assert received(peer, 4) == b"last"
    assert peer.recv(1) == b""
    peer.sendall(b"still here")
    wait_readable(stream)
    assert stream.read() == b"still here"


def test_close_is_an_end_and_reset_is_a_reset() -> None:
    for reset in (False, True):
        ours, peer = tcp_pair()
        StreamSocket(ours).close(reset=reset)
        if reset:
            with pytest.raises(ConnectionResetError) as caught:
                peer.recv(1)
            assert caught.value.errno == errno.ECONNRESET
        else:
            assert peer.recv(1) == b""
        peer.close()


def test_the_socket_does_not_block_and_does_not_wait_for_more(pair: Pair) -> None:
    ours, peer = tcp_pair()
    stream = StreamSocket(ours)
    assert not ours.getblocking()
    assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    stream.close(reset=False)
    peer.close()
