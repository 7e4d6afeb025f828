"""Genesys' side of one AudioHook v2 session on a blocking socket, on top of the strict client half of the package.

`sent` has the frames of audio that went out, in order, both channels: what a reader must find.
"""

import socket
import time
import uuid
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from audiohook.codec import pcmu
from audiohook.session.audiohook2_client import AudioHook2Client, Caller, upgrade_headers
from audiohook.wire.client import UpgradeAnswer, UpgradeReader, masked_frame, upgrade_request
from audiohook.wire.frames import CloseReceived, Message, Pong, WebSocket

PATIENCE_S = 40.0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
MASK = b"\x21\x43\x65\x87"
TEXT, BINARY, CLOSE = 0x1, 0x2, 0x8

Samples = npt.NDArray[np.int16]


def new_caller(**fields: str) -> Caller:
    ids = {name: str(uuid.uuid4()) for name in ("session_id", "conversation_id", "participant_id", "correlation_id")}
    return Caller(**{"organization_id": "d7934305-0972-4844-938e-9060eef73d05", **ids, **fields})


class Genesys:
    """One session. Closed at the latest on leaving the `with` block."""

    def __init__(self, address: tuple[str, int], caller: Caller | None = None, **options: object) -> None:
        self.caller = caller or new_caller()
        self.client = AudioHook2Client(self.caller, time.monotonic_ns(), **options)  # type: ignore[arg-type]
        self.pieces: list[Samples] = []
        self.messages: list[Message] = []
        self._websocket = WebSocket(client=True, max_message_bytes=1 << 20)
        self.socket = socket.create_connection(address, timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Genesys":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def upgrade(
        self, headers: Sequence[tuple[str, str]] | None = None, api_key: str = "SGVsbG8=", target: str = "/"
    ) -> UpgradeAnswer:
        """Ask for the upgrade; return the answer."""
        names = upgrade_headers(self.caller, api_key) if headers is None else headers
        self.socket.sendall(upgrade_request(target, "audiohook.example.com", names, KEY))
        reader = UpgradeReader(KEY)
        while True:
            data = self.socket.recv(65_536)
            answer = reader.receive_data(data) if data else reader.receive_eof()
            if answer is not None:
                self.messages += self._websocket.receive_data(reader.trailing())
                return answer

    def opened(self, **options: str) -> "Genesys":
        """Upgrade, open, and wait for `opened`."""
        answer = self.upgrade(**options)
        assert answer.accepted, answer
        return self.until("opened")

    def flush(self) -> None:
        """Send what the client half has to say."""
        texts = list(self.client.texts)
        self.client.texts.clear()
        for text in texts:
            self.socket.sendall(masked_frame(text.encode(), MASK, TEXT))

    def turn(self) -> None:
        """Say what there is to say, then take one portion of what comes."""
        self.client.on_deadline(time.monotonic_ns())
        self.flush()
        data = self.socket.recv(65_536)
        assert data, f"the connection ended; faults: {self.client.faults}"
        for message in self._websocket.receive_data(data):
            if isinstance(message, str):
                self.client.receive_text(message, time.monotonic_ns())
            self.messages.append(message)
        self.flush()

    def until(self, kind: str) -> "Genesys":
        """Turn until a message of `kind` has come."""
        self.flush()
        while not any(type(message).__name__.lower() == kind for message in self.client.received):
            self.turn()
        return self

    def say(self, samples: Samples) -> None:
        """Send frames, shape (frames, channels), as one binary message of PCMU."""
        payload = pcmu.encode(samples)
        self.flush()
        self.socket.sendall(masked_frame(payload, MASK, BINARY))
        self.client.audio_sent(len(samples))
        self.pieces.append(pcmu.DECODED[np.frombuffer(payload, np.uint8)].reshape(samples.shape))

    @property
    def sent(self) -> Samples:
        return np.concatenate(self.pieces)

    def close(self, reason: str = "end") -> None:
        """End the session as Genesys does: `close`, `closed`, and the WebSocket closed without a code."""
        self.client.close(reason, time.monotonic_ns())
        self.until("closed")
        self.socket.sendall(masked_frame(b"", MASK, CLOSE))
        while not any(isinstance(message, CloseReceived) for message in self.messages):
            self.turn()
        self.socket.close()


__all__ = ["Genesys", "Pong", "new_caller"]
