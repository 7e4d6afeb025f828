"""A telephone platform's side of one call, on a blocking socket: says right and wrong things and reads the answers.

Stands on the client halves of the package (`wire/client.py`, `session/context_client.py`), which check nothing of what
they send. `sent` has the packets that the kernel took whole, in order: what a reader must find.
"""

import socket
import struct
import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from audiohook.codec.opus import OpusDecoder, OpusEncoder
from audiohook.session.context_client import upgrade_headers
from audiohook.wire.client import UpgradeAnswer, UpgradeReader, masked_frame, upgrade_request
from audiohook.wire.frames import CloseReceived, Message, WebSocket

PATIENCE_S = 40.0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MASK = b"\x12\x34\x56\x78"
RATE_HZ = 16_000
PACKET_FRAMES = 320
CLOSE = 0x8
PING = 0x9

Address = tuple[str, int]
Headers = Sequence[tuple[str, str]]
Samples = npt.NDArray[np.int16]


class Peer:
    """One connection. Closed at the latest on leaving the `with` block."""

    def __init__(
        self, address: Address, *, headers: Headers | None = None, target: str = "/", direction: str = "inbound"
    ):
        """Connect and say nothing. Without `headers` those of a correct call, with names of its own."""
        self.call_id = str(uuid.uuid4())
        self.participant_id = str(uuid.uuid4())
        names = upgrade_headers(
            call_id=self.call_id,
            session_id="a-session",
            user_id="a-user",
            participant_id=self.participant_id,
            direction=direction,
        )
        self.request = upgrade_request(target, "test", names if headers is None else headers, KEY)
        self.sent: list[bytes] = []
        self.messages: list[Message] = []
        self._websocket = WebSocket(client=True, max_message_bytes=1 << 20)
        self.socket = socket.create_connection(address, timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port = int(self.socket.getsockname()[1])

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    # ---------------------------------------------------------------------------------------- the request

    def upgrade(self) -> UpgradeAnswer:
        """Send the request and return the answer to it."""
        self.send(self.request)
        return self.read_answer()

    def read_answer(self) -> UpgradeAnswer:
        """Return the HTTP answer; status 0 if the connection ended without one."""
        reader = UpgradeReader(KEY)
        while True:
            data = self.receive()
            answer = reader.receive_data(data) if data else reader.receive_eof()
            if answer is not None:
                self.messages += self._websocket.receive_data(reader.trailing())
                return answer

    # ---------------------------------------------------------------------------------------- the call

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_packets(self, packets: Iterable[bytes], cut_bytes: int = 0) -> None:
        """Send packets as binary messages, all in one piece, or in pieces of `cut_bytes`."""
        packets = list(packets)
        data = b"".join(masked_frame(packet, MASK) for packet in packets)
        for at in range(0, len(data), cut_bytes or len(data) or 1):
            self.send(data[at : at + (cut_bytes or len(data))])
        self.sent += packets

    def send_frame(self, payload: bytes, opcode: int) -> None:
        self.send(masked_frame(payload, MASK, opcode))

    def send_close(self, code: int = 1000, reason: str = "") -> None:
        self.send_frame(struct.pack("!H", code) + reason.encode(), CLOSE)

    def read_until(self, kind: type[Message]) -> Message:
        """Return the next message of one kind; those before it are dropped."""
        while True:
            while self.messages:
                message = self.messages.pop(0)
                if isinstance(message, kind):
                    return message
            data = self.receive()
            assert data, f"the connection ended before a {kind.__name__} came"
            self.messages += self._websocket.receive_data(data)

    def read_close(self) -> tuple[int | None, str]:
        """Return code and reason of the daemon's close frame."""
        closed = self.read_until(CloseReceived)
        assert isinstance(closed, CloseReceived)
        return closed.code, closed.reason

    def close(self, code: int = 1000, reason: str = "") -> int | None:
        """End the call as the platform does: close frame, its answer, the end of TCP. Return the answer's code."""
        self.send_close(code, reason)
        answered, _ = self.read_close()
        assert self.read_end() == "eof"
        self.socket.close()
        return answered

    def answer_close(self, code: int) -> str:
        """Answer the daemon's close frame; return how the connection ends."""
        self.send_close(code)
        end = self.read_end()
        self.socket.close()
        return end

    def receive(self) -> bytes:
        """Return what comes, b"" at the end; a reset raises ConnectionError."""
        return self.socket.recv(65_536)

    def read_end(self) -> str:
        """Read to the end of the connection and return how it ended: "eof" or "reset"."""
        try:
            while self.receive():
                pass
        except ConnectionError:
            return "reset"
        return "eof"

    def abort(self) -> None:
        """Reset the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def call(address: Address, *, direction: str = "inbound") -> Peer:
    """Return a peer whose call was accepted."""
    peer = Peer(address, direction=direction)
    answer = peer.upgrade()
    if not answer.accepted:
        peer.socket.close()
        raise AssertionError(answer)
    return peer


def call_again(address: Address, earlier: Peer, *, direction: str = "inbound") -> Peer:
    """Return a peer whose call was accepted and is that of an earlier one: same call, participant and direction."""
    names = upgrade_headers(
        call_id=earlier.call_id,
        session_id="another-session",
        user_id="a-user",
        participant_id=earlier.participant_id,
        direction=direction,
    )
    peer = Peer(address, headers=names)
    peer.call_id, peer.participant_id = earlier.call_id, earlier.participant_id
    answer = peer.upgrade()
    if not answer.accepted:
        peer.socket.close()
        raise AssertionError(answer)
    return peer


class Talking:
    """Calls that talk: each sends its next packet every `every_s`, all of them in one thread.

    A connection that breaks is left alone from then on; `broken` has it. Packets never run out (`packets_of`).
    """

    def __init__(self, every_s: float = 0.02) -> None:
        self._every_s = every_s
        self._lock = threading.Lock()
        self._peers: dict[Peer, list[bytes]] = {}
        self._all: list[Peer] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.broken: dict[Peer, OSError] = {}

    def __enter__(self) -> "Talking":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        for peer in self._all:
            peer.socket.close()

    def add(self, peer: Peer, number: int) -> None:
        """Let a call talk, with the packets of `number`."""
        with self._lock:
            self._peers[peer] = packets_of(number)
            self._all.append(peer)

    def take(self, peer: Peer) -> Peer:
        """Let a call talk no more: from now on it is the caller's again."""
        with self._lock:
            self._peers.pop(peer, None)
        return peer

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._stopped.wait(max(0.0, due_s - time.monotonic())):
            due_s += self._every_s
            with self._lock:
                for peer, packets in list(self._peers.items()):
                    try:
                        peer.send_packets([packets[len(peer.sent) % len(packets)]])
                    except OSError as error:
                        self.broken[peer] = error
                        del self._peers[peer]
                        peer.socket.close()


SCRIPTS = 4
SCRIPT_PACKETS = 250


@cache
def _script(number: int) -> tuple[bytes, ...]:
    """Return 5 s of something like speech, encoded: hum, hiss and pauses."""
    noise = np.random.default_rng(number)
    at = np.arange(SCRIPT_PACKETS * PACKET_FRAMES) / RATE_HZ
    loud = 6000 * np.clip(np.sin(2 * np.pi * (0.7 + 0.2 * number) * at) + 0.4, 0, 1)
    sound = np.sin(2 * np.pi * (110 + 40 * number) * at + 3 * np.sin(2 * np.pi * 3 * at))
    sound += 0.5 * np.sin(2 * np.pi * (700 + 90 * number) * at) + 0.2 * noise.standard_normal(len(at))
    samples = (loud * sound).clip(-32768, 32767).astype(np.int16)
    encoder = OpusEncoder(RATE_HZ)
    pieces = samples.reshape(SCRIPT_PACKETS, PACKET_FRAMES)
    return tuple(encoder.encode(piece.tobytes(), PACKET_FRAMES) for piece in pieces)


def packets_of(number: int) -> list[bytes]:
    """Return 5 s of packets of 20 ms; those of other numbers (up to some hundreds) sound different from the start."""
    script = _script(number % SCRIPTS)
    start = number // SCRIPTS * 7 % SCRIPT_PACKETS
    return [*script[start:], *script[:start]]


def decoded(packets: Iterable[bytes], rate_hz: int = RATE_HZ) -> Samples:
    """Return what a decoder of our own makes of a call's packets: mono, in order."""
    decoder = OpusDecoder(rate_hz, 1)
    room = np.zeros(decoder.bound_frames, np.int16)
    pieces = []
    for packet in packets:
        frames = decoder.decode_into(packet, room.ctypes.data)
        assert frames > 0, "a packet of our own was refused"
        pieces.append(room[:frames].copy())
    return np.concatenate([np.zeros(0, np.int16), *pieces])
