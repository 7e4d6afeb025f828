"""A TLS client without a thread: its records go where the test wants them, cut as it wants them."""

import ssl

from audiohook.net.tls_pair import TlsPair


class TlsClient:
    """The client's side of one connection, in memory."""

    def __init__(self, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost", session=session)
        self.established = False
        self.received = bytearray()
        self.ended = False
        """Whether the server has said close_notify."""
        self.server: TlsServer | None = None
        """With whom it has shaken hands: OpenSSL forgets a session with the connection if nobody has said goodbye."""

    def step(self, data: bytes = b"") -> bytes:
        """Take what the server has sent, go on with the handshake or read; return what is to be sent."""
        self._incoming.write(data)
        try:
            if not self.established:
                self.tls.do_handshake()
                self.established = True
            while not self.ended:
                piece = self.tls.read(65_536)
                self.received += piece
                self.ended = not piece
        except ssl.SSLWantReadError:
            pass
        return self._outgoing.read()

    def records(self, data: bytes) -> bytes:
        """Return plaintext as records."""
        self.tls.write(data)
        return self._outgoing.read()

    def goodbye(self) -> bytes:
        """Return close_notify."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        return self._outgoing.read()


class TlsServer:
    """The server's side, as `TlsPair` makes it, in memory."""

    def __init__(self, pair: TlsPair) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = pair.wrap(self._incoming, self._outgoing)

    def step(self, data: bytes) -> bytes:
        """Go on with the handshake; return what is to be sent. Raises ssl.SSLError."""
        self._incoming.write(data)
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self._outgoing.read()


def shake_hands(client: TlsClient, server: TlsServer) -> None:
    """Make a whole handshake. Raises ssl.SSLError on either side's behalf."""
    to_server = client.step()
    while to_server:
        to_server = client.step(server.step(to_server))
    assert client.established
    client.server = server


def anybody() -> ssl.SSLContext:
    """Return the context of a client that takes whatever it is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
