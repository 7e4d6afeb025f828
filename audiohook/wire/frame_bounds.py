"""Where the frames of a stream of bytes end: a header's length and a payload's, and nothing else of either.

Pure; one object a direction. It checks nothing: whoever gets the bytes judges them. Invariant: whatever the cuts,
`at_boundary` is true exactly between two frames.
"""

_LENGTH_BYTES = {126: 2, 127: 8}
_CONTROL = 0x8
_FINAL = 0x80


class FrameBounds:
    """Follows one peer's frames (RFC 6455 section 5.2)."""

    __slots__ = ("_header", "_left_bytes", "message_open")

    def __init__(self) -> None:
        self._header = bytearray()
        self._left_bytes = 0
        self.message_open = False
        """Whether the last data frame left its message unfinished."""

    @property
    def at_boundary(self) -> bool:
        """Whether the next byte is a frame's first."""
        return not self._left_bytes and not self._header

    def frame_end(self, data: bytes, at: int) -> int:
        """Take `data` from `at` on, up to the end of the frame that it belongs to; return where that is.

        The length of `data`, if the frame goes on behind it.
        """
        end = len(data)
        while not self._left_bytes and at < end:
            self._header.append(data[at])
            at += 1
            if len(self._header) < 2 or len(self._header) < self._header_bytes():
                continue
            self._left_bytes = self._payload_bytes()
            if self._header[0] & 0xF < _CONTROL:
                self.message_open = not self._header[0] & _FINAL
            self._header.clear()
            if not self._left_bytes:
                return at
        taken = min(self._left_bytes, end - at)
        self._left_bytes -= taken
        return at + taken

    def _header_bytes(self) -> int:
        second = self._header[1]
        return 2 + _LENGTH_BYTES.get(second & 0x7F, 0) + (4 if second & 0x80 else 0)

    def _payload_bytes(self) -> int:
        short = self._header[1] & 0x7F
        long_bytes = _LENGTH_BYTES.get(short, 0)
        return int.from_bytes(self._header[2 : 2 + long_bytes], "big") if long_bytes else short
