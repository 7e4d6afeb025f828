"""The way of nearly every frame: a whole, masked, unfragmented binary message, taken without wsproto.

Pure. wsproto needs about as long for such a frame as libopus for what is in it; this needs a tenth. It is allowed one
thing only: at a frame's boundary, with nothing in wsproto and no fragmented message open, to recognise frames of this
one shape that have arrived whole, or in two pieces. Everything else, and every doubt, is left where it is for
`frames.py` to give to wsproto (tests/unit/test_wire_frames_haste.py holds the two to one another, for any bytes in any
cut).
"""

import numpy as np

FINAL_BINARY = 0x82
"""FIN, no reserved bit, opcode 2 (RFC 6455 section 5.2)."""

MASKED = 0x80
TWO_BYTE_LENGTH = 126

_WHOLE_HEADER_BYTES = 8
"""With 16 bits of length and the key."""

NUMPY_FROM_BYTES = 320
"""From this length on NumPy's XOR is quicker than that of two long integers: 3,200 bytes take 1.2 instead of 6.2 µs."""

_ONES = [sum(1 << 32 * at for at in range((length + 3) // 4)) for length in range(NUMPY_FROM_BYTES)]
"""By length, what makes of a key one that is as long as a payload. To repeat its bytes is dearer."""

_KEPT = [(1 << 8 * length) - 1 for length in range(NUMPY_FROM_BYTES)]
"""By length, the bits of a payload."""


def take_audio(data: bytes, at: int, max_message_bytes: int, messages: list[bytes]) -> int:
    """Append the payloads of the frames of this shape that begin at `at`; return where the first other thing begins."""
    end = len(data)
    while end - at >= 6 and data[at] == FINAL_BINARY:
        length = data[at + 1] - MASKED
        key_at = at + 2
        if length == TWO_BYTE_LENGTH:
            length = data[at + 2] << 8 | data[at + 3]
            if length < TWO_BYTE_LENGTH:
                break  # not the shortest way to write it: an error, and wsproto's to tell
            key_at = at + 4
        elif not 0 <= length < TWO_BYTE_LENGTH:
            break
        first = key_at + 4
        behind = first + length
        if behind > end or length > max_message_bytes:
            break
        messages.append(_unmasked(data, first, length))
        at = behind
    return at


def audio_frame_bytes(payload_bytes: int) -> int:
    """Return how long a frame of this shape is, with so much in it."""
    return payload_bytes + (6 if payload_bytes < TWO_BYTE_LENGTH else 8)


def is_cut_audio(data: bytes, at: int, max_message_bytes: int) -> bool:
    """Return whether what begins at `at` is a frame of this shape that lacks its end, so far as can be told yet.

    Its header has arrived whole, and there is nothing in it that wsproto would refuse.
    """
    have = len(data) - at
    if have < _WHOLE_HEADER_BYTES or data[at] != FINAL_BINARY:
        return False
    length = data[at + 1] - MASKED
    if length == TWO_BYTE_LENGTH:
        length = data[at + 2] << 8 | data[at + 3]
        if length < TWO_BYTE_LENGTH:
            return False
    elif not 0 <= length < TWO_BYTE_LENGTH:
        return False
    return have < audio_frame_bytes(length) and length <= max_message_bytes


def single_audio(data: bytes, max_message_bytes: int) -> bytes | None:
    """Return the payload if `data` is one frame of this shape, and nothing more; else None.

    What `take_audio` does for any number of them, without a list and without a loop: live audio comes one frame a read.
    """
    size = len(data)
    if size < 6 or data[0] != FINAL_BINARY:
        return None
    length = data[1] - MASKED
    first = 6
    if length == TWO_BYTE_LENGTH and size >= 8:
        length = data[2] << 8 | data[3]
        if length < TWO_BYTE_LENGTH:
            return None
        first = 8
    if first + length != size or length > max_message_bytes:
        return None
    return _unmasked(data, first, length)


def _unmasked(data: bytes, first: int, length: int) -> bytes:
    """Return `length` bytes from `first` on, XORed with the key before them, repeated (RFC 6455 section 5.3)."""
    if length < NUMPY_FROM_BYTES:
        key = int.from_bytes(data[first - 4 : first], "little") * _ONES[length] & _KEPT[length]
        return (int.from_bytes(data[first : first + length], "little") ^ key).to_bytes(length, "little")
    words = np.frombuffer(data, np.uint32, 1, first - 4)
    payload = (np.frombuffer(data, np.uint32, length // 4, first) ^ words).tobytes()
    if not length % 4:
        return payload
    rest = data[first + length // 4 * 4 : first + length]
    return payload + bytes(one ^ by for one, by in zip(rest, data[first - 4 : first], strict=False))
