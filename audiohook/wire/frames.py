"""WebSocket frames to messages and back (RFC 6455 sections 5 to 7), under a size limit and behind a failure latch.

Pure: bytes in, messages out. Knows no handshake, no clock (a ping that is never answered is the session's business) and
no meaning of a message. It answers nothing by itself: the pong to a ping and the echo of a close are the caller's.

Stands on `wsproto.connection.Connection`, which parses well but promises less than a server needs. What is added:

- a message limit: wsproto takes a frame of 2^62 bytes and hands it out in pieces, and never adds fragments up. The
  limit is a wsproto extension, the one public place where a frame's header can be seen before its payload is;
- a latch: after a framing error wsproto stays OPEN and swallows what follows. Here the error is one `Failed`, the last
  message;
- whole messages: wsproto hands out whatever part of a frame has arrived;
- answers to the last: what came before the peer's close or mistake, be it in the same read, can be answered until our
  own close is sent. wsproto sends nothing once it has parsed that close, so its `Connection` is not what sends;
- no exception for what a peer did, and none for sending too late;
- haste: a server takes whole audio frames without it (`audio_frames.py`).

Invariants, held by tests/unit/test_wire_frames*.py: the messages do not depend on how TCP cut the bytes; nothing
follows a `Failed` or a `CloseReceived`; at most `max_message_bytes` of an unfinished message are held, plus one frame
header and control frame (139 bytes).
"""

from collections.abc import Callable

import msgspec
from wsproto import events
from wsproto.connection import CLIENT, SERVER, Connection, ConnectionState
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from audiohook.errors import INVALID_PAYLOAD, MESSAGE_TOO_LARGE, PROTOCOL_ERROR, Closure
from audiohook.wire.audio_frames import audio_frame_bytes, is_cut_audio, take_audio
from audiohook.wire.frame_bounds import FrameBounds


class Ping(msgspec.Struct, frozen=True):
    """The peer asks for a pong with the same payload."""

    payload: bytes


class Pong(msgspec.Struct, frozen=True):
    """The peer's pong, asked for or not."""

    payload: bytes


class CloseReceived(msgspec.Struct, frozen=True):
    """The peer's close frame. `code` is None if it gave none (RFC 6455 section 7.1.5 calls that 1005)."""

    code: int | None
    reason: str


class Failed(msgspec.Struct, frozen=True):
    """The peer broke the protocol or a limit: send `close(closure.code, closure.text)` and be done with it."""

    closure: Closure


Message = bytes | str | Ping | Pong | CloseReceived | Failed
"""A binary message is `bytes`, a text message `str`."""

_CLOSURES: dict[int, Closure] = {
    CloseReason.INVALID_FRAME_PAYLOAD_DATA: INVALID_PAYLOAD,
    CloseReason.MESSAGE_TOO_BIG: MESSAGE_TOO_LARGE,
}
"""What wsproto finds wrong, by its code. Everything else is a PROTOCOL_ERROR."""

_NO_RESERVED_BITS = RsvBits(False, False, False)

_SENDERS = {client: FrameProtocol(client, []) for client in (False, True)}
"""Make frames of messages and pings, for all sockets of one side: a message in one frame leaves no state behind."""


class _MessageLimit(Extension):
    """Refuses a data frame by its header if its message would become longer than `max_message_bytes`.

    No extension in the sense of RFC 6455 section 9: it is never offered, sets no bit and changes no byte. The other way
    to see a header in time is a private attribute of wsproto's decoder, which a new version may rename.
    """

    name = "message-limit"

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._message_bytes = 0  # declared by the finished frames of the open message
        self._frame_bytes = 0  # declared by the open frame; meaningless in a control frame
        self._control = False

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        # Called again for the same frame when its masking key had not arrived yet, so nothing may be added up here.
        # Guarded by test_limit_is_exact, which runs byte by byte.
        self._control = opcode >= Opcode.CLOSE
        if not self._control:
            self._frame_bytes = payload_length
            if self._message_bytes + payload_length > self._max_message_bytes:
                return CloseReason.MESSAGE_TOO_BIG
        return _NO_RESERVED_BITS

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> None:
        if not self._control:
            self._message_bytes = 0 if fin else self._message_bytes + self._frame_bytes


class WebSocket:
    """One open WebSocket, either side. `client` masks what it sends and refuses what is masked."""

    def __init__(self, client: bool, max_message_bytes: int) -> None:
        """`max_message_bytes` bounds the payload of a message, summed over its fragments."""
        self._connection = Connection(CLIENT if client else SERVER, [_MessageLimit(max_message_bytes)])
        self._sender = _SENDERS[client]
        self.max_message_bytes = max_message_bytes
        self._bounds = FrameBounds()
        self._haste = not client  # until either side closes: then every frame is wsproto's to judge
        self.between_messages = self._haste
        """A server's, and nothing of a message or of a frame has come since the last one ended: what comes next may be
        audio that `audio_frames.py` takes. What `_hastes` says, kept, since every packet asks."""
        self._cut = b""
        """The first piece of an audio frame, whose rest makes it whole or goes to wsproto with it."""
        # One bytearray and not a list of parts: a million fragments of one byte would cost 40 bytes each in a list.
        self._fragments = bytearray()
        self._close_received = False
        self._failed = False

    @property
    def closing(self) -> bool:
        """A close frame was sent or received."""
        return self._connection.state is not ConnectionState.OPEN

    @property
    def failed(self) -> bool:
        """The peer broke the protocol: nothing more is read. What it asked before can be answered until `close`."""
        return self._failed

    def leading_audio(self, data: bytes, hears: Callable[[bytes], bool]) -> tuple[list[bytes], bytes]:
        """Take the whole binary messages that what has arrived begins with, up to one that `hears` is False of.

        Return their payloads, and the bytes behind them, which are for `receive_data`: all of `data`, if none is.
        """
        messages: list[bytes] = []
        if not self._hastes():
            return messages, data
        joined = self._cut + data
        behind = take_audio(joined, 0, self.max_message_bytes, messages)
        if not messages:
            return messages, data
        self._cut = b""
        self.between_messages = True
        for number, message in enumerate(messages):
            if not hears(message):
                unheard_bytes = sum(audio_frame_bytes(len(other)) for other in messages[number:])
                return messages[:number], joined[behind - unheard_bytes :]
        return messages, joined[behind:]

    def _hastes(self) -> bool:
        """Whether wsproto may be passed by: it has nothing that is not whole, and has not to see what comes."""
        bounds = self._bounds
        return (
            self._haste
            and bounds.at_boundary
            and not bounds.message_open
            and not self._failed
            and not self._close_received
        )

    def receive_data(self, data: bytes) -> list[Message]:
        """Return the messages that `data` completes, in the order of what the peer sent.

        `Failed` and `CloseReceived` are the last message ever; what comes behind them is dropped.
        """
        messages: list[Message] = []
        self.between_messages = False
        cut_bytes, max_message_bytes = len(self._cut), self.max_message_bytes
        if cut_bytes:
            data, self._cut = self._cut + data, b""
        at, end = 0, len(data)
        while at < end and not self._failed and not self._close_received:
            if self._hastes():
                at = take_audio(data, at, max_message_bytes, messages)  # type: ignore[arg-type]
                if at == end:
                    break
                # Once, and not until it is whole: a frame that comes byte by byte would be copied as often as it is
                # long. wsproto needs 40 µs for a frame in two pieces, and of a backlog of PCMU each read cuts one.
                if (at or not cut_bytes) and is_cut_audio(data, at, max_message_bytes):
                    self._cut = data[at:]
                    break
            behind = self._bounds.frame_end(data, at)
            self._receive_frame(data[at:behind], messages)
            at = behind
        self.between_messages = self._hastes() and not self._cut
        return messages

    def _receive_frame(self, data: bytes, messages: list[Message]) -> None:
        """Give a frame, or a part of one, to wsproto."""
        self._connection.receive_data(data)
        # Run to its end, also behind a close: wsproto's parser is a generator that refers to its owner, and only its
        # end lets both go without a collection. Guarded by test_an_ended_websocket_leaves_nothing_behind.
        for event in self._connection.events():
            if isinstance(event, events.BytesMessage):
                if event.message_finished and not self._fragments:
                    messages.append(bytes(event.data))
                    continue
                self._fragments += event.data
                if event.message_finished:
                    messages.append(bytes(self._fragments))
                    self._fragments.clear()
            else:
                self._receive_other(event, messages)

    def _receive_other(self, event: events.Event, messages: list[Message]) -> None:
        """Take in everything that is not audio."""
        if isinstance(event, events.TextMessage):
            self._fragments += event.data.encode()
            if event.message_finished:
                messages.append(self._fragments.decode())
                self._fragments.clear()
        elif isinstance(event, events.Ping):
            messages.append(Ping(bytes(event.payload)))
        elif isinstance(event, events.Pong):
            messages.append(Pong(bytes(event.payload)))
        elif isinstance(event, events.CloseConnection):
            self._fragments.clear()
            messages.append(self._ended(event))

    def _ended(self, event: events.CloseConnection) -> Message:
        """Tell a close frame from a framing error: wsproto reports both alike, but only a close changes its state."""
        if self._connection.state in (ConnectionState.REMOTE_CLOSING, ConnectionState.CLOSED):
            self._close_received = True
            code = None if event.code == CloseReason.NO_STATUS_RCVD else int(event.code)
            return CloseReceived(code, event.reason or "")
        self._failed = True
        return Failed(_CLOSURES.get(event.code, PROTOCOL_ERROR))

    def ping(self, payload: bytes = b"") -> bytes:
        """Return a ping; `payload` is at most 125 bytes. Empty, as all that is sent here, once our close was sent."""
        return bytes(self._sender.ping(payload)) if self._may_send() else b""

    def pong(self, payload: bytes) -> bytes:
        """Return the answer to a ping; `payload` is at most 125 bytes."""
        return bytes(self._sender.pong(payload)) if self._may_send() else b""

    def text(self, text: str) -> bytes:
        """Return a text message in one frame."""
        return bytes(self._sender.send_data(text)) if self._may_send() else b""

    def binary(self, payload: bytes) -> bytes:
        """Return a binary message in one frame."""
        return bytes(self._sender.send_data(payload)) if self._may_send() else b""

    def close(self, code: int | None, reason: str = "") -> bytes:
        """Return a close frame, once: ours, or the answer to the peer's. Empty if one was sent already.

        Without a code there is no reason either. `reason` is cut to 123 bytes of UTF-8 (RFC 6455 section 5.5), never
        within a character.
        """
        if not self._may_send():
            return b""
        self._haste = self.between_messages = False
        if code is None:
            return self._connection.send(events.CloseConnection(CloseReason.NO_STATUS_RCVD))
        return self._connection.send(events.CloseConnection(code, reason))

    def _may_send(self) -> bool:
        return self._connection.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING)
