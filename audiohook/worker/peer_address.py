"""Where one connection comes from: who connected, unless a proxy in front of us knows better. Pure.

Two ways a proxy says so: the PROXY header before everything else on the connection, taken here, and headers of the
request, judged by `worker/access.py`. The port that we know is the proxy's then, and is forgotten.
"""

from audiohook.auth.proxy_protocol import ProxyHeaderReader, ProxyMalformed


class PeerAddress:
    """One connection's."""

    __slots__ = ("_port", "_reader", "address")

    def __init__(self, peer: tuple[str, int], *, behind_proxy_header: bool) -> None:
        self.address, self._port = peer
        self._reader = ProxyHeaderReader() if behind_proxy_header else None

    def __str__(self) -> str:
        return f"{self.address}:{self._port}"

    @property
    def awaits_header(self) -> bool:
        """Whether what comes next is the PROXY header, or more of it."""
        return self._reader is not None

    def take_header(self, data: bytes) -> bytes | ProxyMalformed:
        """Take of `data` what is the header's; return what is behind it, nothing while it is not complete."""
        assert self._reader is not None
        header = self._reader.receive_data(data)
        if header is None:
            return b""
        if isinstance(header, ProxyMalformed):
            return header
        behind, self._reader = self._reader.trailing(), None
        if header.address is not None:
            self.address, self._port = header.address, header.port or 0
        return behind

    def is_really(self, address: str) -> None:
        """Take note of the address that the request's headers have led to: this one, or another."""
        if address != self.address:
            self.address, self._port = address, 0
