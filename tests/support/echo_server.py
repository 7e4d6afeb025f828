"""A WebSocket echo server made of the daemon's own parts: `python -m tests.support.echo_server PORT`.

What `make conformance` judges is therefore what calls travel through: the loop with its bulk lane, the 4 KB reads, the
request reader, the frames. Only the sessions are missing. It listens on 127.0.0.1 alone, says where on standard output
(PORT 0 takes a free one), and runs until it is killed.

Messages go back whole, never piece by piece. While an echo is unsent nothing more is read of that peer, so one message
is the most that is held for a peer who does not read.
"""

import selectors
import sys

from audiohook.errors import Closure, Refusal
from audiohook.net.listener import bound_address, open_listener
from audiohook.net.loop import Loop
from audiohook.net.stream_socket import READ_BYTES, StreamSocket
from audiohook.units import NEVER_NS, NS_PER_S
from audiohook.wire.frames import CloseReceived, Failed, Message, Ping, Pong, WebSocket
from audiohook.wire.request import RequestReader, accept_bytes, refusal_bytes, upgrade_key

MAX_MESSAGE_BYTES = 16 << 20
"""The largest message of the Autobahn cases 9.1 and 9.2."""

CLOSE_WAIT_NS = 2 * NS_PER_S
BACKLOG = 128


class EchoPeer:
    """One connection, in the loop until `_drop`: in the selector, or in the bulk lane, never in both."""

    newcomer = 0

    def __init__(self, socket: StreamSocket, loop: Loop) -> None:
        self._socket = socket
        self._loop = loop
        self._reader: RequestReader | None = RequestReader(max_request_bytes=16_384, max_headers=100)
        self._websocket = WebSocket(client=False, max_message_bytes=MAX_MESSAGE_BYTES)
        self._pending = b""
        self._ending = False  # all is said; the peer's end of file is awaited
        self._half_closed = False
        self.closed = False
        loop.register(socket, selectors.EVENT_READ, self)

    def on_ready(self, mask: int, now_ns: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._socket.flush()
        else:
            data = self._socket.read()
            if data is not None and len(data) == READ_BYTES:
                self._loop.unregister(self._socket)
                self._loop.join_bulk(self)
                self._pending = data
                return
            self._take(data, now_ns)
        if not self.closed:
            self._loop.modify(self._socket, self._wanted(), self)

    def on_bulk(self, now_ns: int) -> bool:
        pending, self._pending = self._pending, b""
        self._take(pending, now_ns)
        data = None if self._socket.has_unsent else self._socket.read()
        if data is not None and len(data) == READ_BYTES:
            self._pending = data
            return True
        self._loop.register(self._socket, selectors.EVENT_READ, self)
        self._take(data, now_ns)
        if not self.closed:
            self._loop.modify(self._socket, self._wanted(), self)
        return False

    def _wanted(self) -> int:
        """Return what to wait for, and shut the sending side if everything has been said and sent."""
        if self._socket.has_unsent:
            return selectors.EVENT_WRITE
        if self._ending and not self._half_closed:
            self._half_closed = True
            self._socket.end_sending()
        return selectors.EVENT_READ

    def _take(self, data: bytes | None, now_ns: int) -> None:
        """Take what was read: None if nothing was there, b"" at the end of file."""
        if data is None:
            return
        if not data:
            self._drop()
        elif not self._ending:
            self._answer(data if self._reader is None else self._handshake(self._reader, data, now_ns), now_ns)

    def _handshake(self, reader: RequestReader, data: bytes, now_ns: int) -> bytes:
        """Feed the request; return what came behind it and belongs to the WebSocket."""
        request = reader.receive_data(data)
        if request is None:
            return b""
        key = request if isinstance(request, Refusal) else upgrade_key(request)
        if isinstance(key, Refusal):
            self._socket.send(refusal_bytes(key))
            self._end(now_ns)
            return b""
        self._reader = None
        self._socket.send(accept_bytes(key))
        return reader.trailing()

    def _answer(self, data: bytes, now_ns: int) -> None:
        for message in self._websocket.receive_data(data):
            self._socket.send(self._echo(message))
            if isinstance(message, CloseReceived | Failed):
                self._end(now_ns)

    def _echo(self, message: Message) -> bytes:
        match message:
            case bytes():
                return self._websocket.binary(message)
            case str():
                return self._websocket.text(message)
            case Ping(payload):
                return self._websocket.pong(payload)
            case Pong():
                return b""
            case CloseReceived(code):
                return self._websocket.close(code)
            case Failed(Closure(code=code, text=text)):
                return self._websocket.close(code, text)

    def _end(self, now_ns: int) -> None:
        self._ending = True
        self._loop.call_at(now_ns + CLOSE_WAIT_NS, lambda _: self._drop())

    def _drop(self) -> None:
        if not self.closed:
            self.closed = True
            if not self._pending:
                self._loop.unregister(self._socket)
            self._socket.close(reset=False)


class EchoAcceptor:
    """Takes in every connection that comes."""

    closed = False
    newcomer = 0

    def __init__(self, loop: Loop, port: int) -> None:
        self._loop = loop
        self._listener = open_listener(f"127.0.0.1:{port}", BACKLOG)
        self.address = bound_address(self._listener)
        loop.register(self._listener, selectors.EVENT_READ, self)

    def on_ready(self, mask: int, now_ns: int) -> None:
        try:
            connected, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        EchoPeer(StreamSocket(connected), self._loop)

    def on_bulk(self, now_ns: int) -> bool:
        return False


def main() -> None:
    loop = Loop(every_turn=lambda now_ns: NEVER_NS)
    acceptor = EchoAcceptor(loop, int(sys.argv[1]))
    print(f"listening on {acceptor.address}", flush=True)
    loop.run()


if __name__ == "__main__":
    main()
