"""A minimal WebSocket server made of `audiohook.wire`, for the load client: records all, and misbehaves to order.

It runs in a thread of the test; the client runs as a process of its own.
"""

import selectors
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType

from audiohook.errors import Refusal
from audiohook.wire.frames import CloseReceived, Message, Ping, Pong, WebSocket
from audiohook.wire.request import Request, RequestReader, accept_bytes, refusal_bytes, upgrade_key


class Peer:
    """One accepted connection: its request, its packets, how it closed."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.reader = RequestReader(max_request_bytes=16384, max_headers=64)
        self.websocket: WebSocket | None = None
        self.request: Request | None = None
        self.packets: list[bytes] = []
        self.pongs: list[bytes] = []
        self.texts: list[str] = []
        self.close: CloseReceived | None = None
        self.gone = False

    def header(self, name: str) -> str:
        """Return a header of the upgrade request."""
        assert self.request is not None
        return self.request.get(name) or ""


class Acceptor:
    """Accepts, upgrades, records, echoes close frames.

    `refuse` may answer a request with a Refusal instead; `on_packet` is called behind each packet and may do to the
    peer what it likes; `silent`: no request is answered. `ignores_pings` may be set.
    """

    def __init__(
        self,
        *,
        refuse: Callable[[Request], Refusal | None] = lambda request: None,
        on_packet: Callable[[Peer], None] = lambda peer: None,
        silent: bool = False,
    ) -> None:
        self.peers: list[Peer] = []
        self._refuse = refuse
        self._on_packet = on_packet
        self._silent = silent
        self.ignores_pings = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._stopping = False
        self._thread = threading.Thread(target=self._serve)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._listener.getsockname()[1]}/audio?a=b"

    def __enter__(self) -> "Acceptor":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._thread.join()
        for peer in self.peers:
            peer.connection.close()
        self._listener.close()
        self._selector.close()

    def _serve(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select(0.05):
                if key.data is None:
                    connection, _ = self._listener.accept()
                    peer = Peer(connection)
                    self.peers.append(peer)
                    self._selector.register(connection, selectors.EVENT_READ, peer)
                else:
                    self._read(key.data)

    def _read(self, peer: Peer) -> None:
        try:
            data = peer.connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.drop(peer)
            return
        if peer.websocket is None:
            data = self._upgrade(peer, data)
        if peer.websocket is not None:
            for message in peer.websocket.receive_data(data):
                self._take(peer, peer.websocket, message)

    def _upgrade(self, peer: Peer, data: bytes) -> bytes:
        answer = peer.reader.receive_data(data)
        if self._silent or answer is None:
            return b""
        assert isinstance(answer, Request)
        peer.request = answer
        refusal = self._refuse(answer)
        if refusal is not None:
            peer.connection.sendall(refusal_bytes(refusal))
            self.drop(peer)
            return b""
        key = upgrade_key(answer)
        assert isinstance(key, str)
        peer.connection.sendall(accept_bytes(key))
        peer.websocket = WebSocket(client=False, max_message_bytes=1 << 20)
        return peer.reader.trailing()

    def _take(self, peer: Peer, websocket: WebSocket, message: Message) -> None:
        if peer.gone:
            return
        if isinstance(message, bytes):
            peer.packets.append(message)
            self._on_packet(peer)
        elif isinstance(message, Pong):
            peer.pongs.append(message.payload)
        elif isinstance(message, str):
            peer.texts.append(message)
        elif isinstance(message, Ping):
            if not self.ignores_pings:
                peer.connection.sendall(websocket.pong(message.payload))
        else:
            assert isinstance(message, CloseReceived), message
            peer.close = message
            peer.connection.sendall(websocket.close(message.code))

    def drop(self, peer: Peer, *, reset: bool = False) -> None:
        """Close the connection, with a reset or in order."""
        if peer.gone:
            return
        peer.gone = True
        self._selector.unregister(peer.connection)
        if reset:
            peer.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.connection.close()
