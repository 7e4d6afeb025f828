"""What a placed call could not send yet."""


class Waiting:
    """Bytes that the kernel had no room for; `packet` says whether their last byte completes a packet of audio."""

    __slots__ = ("bytes_left", "packet")

    def __init__(self, bytes_left: bytes | memoryview, packet: bool) -> None:
        self.bytes_left = bytes_left
        self.packet = packet
