"""How a stream of messages is cut into Opus packets: the framing policies of the `context` dialect.

- `message`: one message is one packet, whatever it holds. Any stream passes unchanged.
- `fixed:N`: the messages are a byte stream of N-byte packets (a constant bit rate trunk), cut again at N whatever the
  messages' bounds. Any re-cutting of such a stream is restored exactly.
- `self_delimited`: the messages are a byte stream of packets that say how long they are (`framing_self_delimited.py`).

There is no policy that guesses: a glued or a cut packet is very often valid Opus, so a repair that guesses damages good
audio. Pure; one object a stream; holds less than one packet.
"""

from typing import Protocol

from audiohook.codec.framing_self_delimited import SelfDelimitedFraming
from audiohook.codec.opus_packet import MAX_FRAME_BYTES


class Framing(Protocol):
    """Cuts one stream's messages into packets, in order."""

    def cut(self, message: bytes) -> list[bytes]:
        """Return the packets that `message` completes, oldest first."""

    def remainder(self) -> bytes:
        """Return the bytes of an incomplete packet: at the close of a stream, what is to be concealed."""


class MessageFraming:
    """Policy `message`. An empty message is handed on as an empty packet: what that means is the dialect's to say."""

    __slots__ = ()

    def cut(self, message: bytes) -> list[bytes]:
        return [message]

    def remainder(self) -> bytes:
        return b""


class FixedFraming:
    """Policy `fixed:N`."""

    __slots__ = ("_held", "_packet_bytes")

    def __init__(self, packet_bytes: int) -> None:
        self._packet_bytes = packet_bytes
        self._held = b""

    def cut(self, message: bytes) -> list[bytes]:
        size = self._packet_bytes
        if not self._held and len(message) == size:
            return [message]
        data = self._held + message
        end = len(data) - len(data) % size
        self._held = data[end:]
        return [data[at : at + size] for at in range(0, end, size)]

    def remainder(self) -> bytes:
        return self._held


def framing_for(policy: str) -> Framing:
    """Return a new framing of `policy`: `message`, `self_delimited`, or `fixed:N` with 1 <= N <= 1275.

    Raises ValueError for any other; the configuration refuses those long before, with file and key.
    """
    if policy == "message":
        return MessageFraming()
    if policy == "self_delimited":
        return SelfDelimitedFraming()
    name, colon, digits = policy.partition(":")
    if name == "fixed" and colon and digits.isascii() and digits.isdigit() and 1 <= int(digits) <= MAX_FRAME_BYTES:
        return FixedFraming(int(digits))
    policies = f"'message', 'self_delimited' and 'fixed:N' with 1 <= N <= {MAX_FRAME_BYTES}"
    raise ValueError(f"framing {policy!r} is none of {policies}")
