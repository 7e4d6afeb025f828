"""The client's half of the opening handshake, and frames made ahead of time: for the load client and for tests.

Pure: bytes in, values out. Key and mask are arguments, so that what is sent can be prepared and repeated. Unlike the
server's half it may send what is wrong, since tests need that: `upgrade_request` and `masked_frame` check nothing.

Contract: RFC 6455 sections 4.1 and 5.2; RFC 9112 for answers that are no 101.
"""

from collections.abc import Iterable

import h11
import msgspec

from audiohook.wire.request import Headers, accept_token, decoded_headers


class UpgradeAnswer(msgspec.Struct, frozen=True):
    """What a server said to an upgrade request.

    `status` is 0 if what came is not an HTTP answer, or ended before one was complete enough to have a status.
    `accepted`: it is a correct 101, with the right Sec-WebSocket-Accept if the reader was told the key.
    """

    status: int
    headers: Headers
    body: bytes
    accepted: bool

    def get(self, name: str) -> str | None:
        """Return the value of header `name` (lower-case), the first if repeated, or None."""
        return next((value for found, value in self.headers if found == name), None)


class UpgradeReader:
    """Takes in bytes until the answer to an upgrade request is complete, and returns it once."""

    def __init__(self, key: str | None = None) -> None:
        """`key` is the Sec-WebSocket-Key that was sent; None leaves the server's proof unchecked."""
        self._key = key
        self._connection = h11.Connection(h11.CLIENT)
        # h11 reads a 101 only where an upgrade was asked for. What it makes of this request is not sent anywhere.
        self._connection.send(
            h11.Request(
                method="GET",
                target="/",
                headers=[("host", "-"), ("connection", "upgrade"), ("upgrade", "websocket")],
            )
        )
        self._connection.send(h11.EndOfMessage())
        self._response: h11.Response | h11.InformationalResponse | None = None
        self._body = bytearray()
        self._trailing = b""
        self._answered = False

    def receive_data(self, data: bytes) -> UpgradeAnswer | None:
        """Return the answer when it is complete, None before and after. Later bytes belong to the WebSocket."""
        if self._answered or not data:
            return None
        self._connection.receive_data(data)
        return self._advance()

    def receive_eof(self) -> UpgradeAnswer | None:
        """Return what the end of the connection completes: a body without a length, or whatever part had come."""
        if self._answered:
            return None
        self._connection.receive_data(b"")
        return self._advance()

    def trailing(self) -> bytes:
        """Return what came together with a 101 and behind it: the server's first frames."""
        return self._trailing

    def _advance(self) -> UpgradeAnswer | None:
        try:
            while True:
                event = self._connection.next_event()
                if event is h11.NEED_DATA:
                    return None
                if isinstance(event, h11.Data):
                    self._body += event.data
                elif isinstance(event, h11.Response):
                    self._response = event
                elif not isinstance(event, h11.InformationalResponse):
                    return self._answer()
                elif event.status_code == 101:
                    self._response = event
                    self._trailing = self._connection.trailing_data[0]
                    return self._answer()
        except h11.RemoteProtocolError as error:
            error.__traceback__ = None  # a cycle otherwise, see `request.py`
            return self._answer()

    def _answer(self) -> UpgradeAnswer:
        self._answered = True
        if self._response is None:
            return UpgradeAnswer(status=0, headers=(), body=b"", accepted=False)
        headers = decoded_headers(self._response.headers)
        answer = UpgradeAnswer(self._response.status_code, headers, bytes(self._body), accepted=False)
        return msgspec.structs.replace(answer, accepted=self._accepts(answer))

    def _accepts(self, answer: UpgradeAnswer) -> bool:
        """RFC 6455 section 4.1, what a client must check; no extension and no subprotocol is ever asked for here."""
        return (
            answer.status == 101
            and (answer.get("upgrade") or "").lower() == "websocket"
            and "upgrade" in [token.strip() for token in (answer.get("connection") or "").lower().split(",")]
            and (self._key is None or answer.get("sec-websocket-accept") == accept_token(self._key))
            and answer.get("sec-websocket-extensions") is None
        )


def upgrade_request(target: str, host: str, headers: Iterable[tuple[str, str]], key: str) -> bytes:
    """Return an upgrade request for `target` (path and query) with `headers` behind those of the handshake."""
    lines = [
        f"GET {target} HTTP/1.1",
        f"host: {host}",
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        f"sec-websocket-key: {key}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def masked_frame(payload: bytes, mask: bytes, opcode: int = 0x2, fin: bool = True) -> bytes:
    """Return one frame as a client sends it, `payload` masked with the four bytes of `mask` (RFC 6455 section 5.3).

    The exclusive or is done on one big integer a frame: byte by byte, preparing a call would take seconds.
    """
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([0x80 | 127]) + size.to_bytes(8, "big")
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "little")
    masked = (int.from_bytes(payload, "little") ^ key).to_bytes(size, "little")
    return bytes([(0x80 if fin else 0) | opcode]) + length + mask + masked
