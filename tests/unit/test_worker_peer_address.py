"""worker/peer_address.py: who connected, or whom a proxy names. Headers themselves: test_auth_proxy_protocol.py."""

import socket
import struct

from audiohook.auth.proxy_protocol import SIGNATURE, ProxyMalformed
from audiohook.worker.peer_address import PeerAddress

CONNECTED = ("10.0.0.1", 5)
_ADDRESSES = socket.inet_aton("192.0.2.7") + socket.inet_aton("10.0.0.9") + struct.pack("!HH", 4711, 443)
HEADER = SIGNATURE + bytes([0x21, 0x11]) + struct.pack("!H", len(_ADDRESSES)) + _ADDRESSES
LOCAL = SIGNATURE + bytes([0x20, 0x00, 0, 0])


def test_without_a_proxy_it_is_who_connected() -> None:
    peer = PeerAddress(CONNECTED, behind_proxy_header=False)
    assert (str(peer), peer.address, peer.awaits_header) == ("10.0.0.1:5", "10.0.0.1", False)


def test_a_header_names_another_whatever_its_cuts() -> None:
    for cut in range(1, len(HEADER)):
        peer = PeerAddress(CONNECTED, behind_proxy_header=True)
        assert peer.take_header(HEADER[:cut]) == b""
        assert peer.awaits_header
        assert peer.take_header(HEADER[cut:] + b"GET") == b"GET"
        assert (str(peer), peer.awaits_header) == ("192.0.2.7:4711", False)


def test_a_proxy_that_speaks_for_itself_is_who_connected() -> None:
    peer = PeerAddress(CONNECTED, behind_proxy_header=True)
    assert peer.take_header(LOCAL + b"GET") == b"GET"
    assert str(peer) == "10.0.0.1:5"


def test_what_is_no_header_is_told_and_still_awaited() -> None:
    peer = PeerAddress(CONNECTED, behind_proxy_header=True)
    assert isinstance(peer.take_header(b"GET / HTTP/1.1\r\n\r\n"), ProxyMalformed)
    assert (str(peer), peer.awaits_header) == ("10.0.0.1:5", True)


def test_another_address_by_the_requests_headers_has_no_port_that_we_know() -> None:
    peer = PeerAddress(CONNECTED, behind_proxy_header=False)
    peer.is_really("10.0.0.1")
    assert str(peer) == "10.0.0.1:5"
    peer.is_really("192.0.2.7")
    assert str(peer) == "192.0.2.7:0"
