"""A peer that vanishes without a word, as when its machine loses power: TCP finds it, where no dialect's rule does.

The peer's kernel drops everything that comes for the connection, so it acknowledges nothing (a socket filter that lets
nothing pass; no privilege is needed).
"""

import ctypes
import socket
import struct
from collections.abc import Callable

from tests.support.daemon import Daemon
from tests.support.genesys import Genesys
from tests.support.peer import Peer

StartDaemon = Callable[..., Daemon]

SO_ATTACH_FILTER = 26
RETURN_NOTHING = struct.pack("HBBI", 0x06, 0, 0, 0)
"""One instruction of classic BPF: BPF_RET | BPF_K, 0 bytes of the packet are to be kept."""


def vanish(connected: socket.socket) -> None:
    """From now on nothing that is sent to this socket arrives, and nothing is answered."""
    program = ctypes.create_string_buffer(RETURN_NOTHING)
    connected.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HxxxxxxP", 1, ctypes.addressof(program)))


def test_a_paused_call_whose_peer_vanished_gives_its_slot_back(start_daemon: StartDaemon) -> None:
    """`audiohook2.paused_idle_seconds` is an hour, and in a pause nobody has to send anything."""
    daemon = start_daemon("server.tcp_user_timeout_seconds=1")
    with Genesys(daemon.address) as vanishing, Genesys(daemon.address) as staying:
        for session in (vanishing, staying):
            session.opened()
        streams = {
            name: daemon.hub.open(session_id=session.caller.session_id)
            for name, session in (("vanishing", vanishing), ("staying", staying))
        }
        for session in (vanishing, staying):
            session.client.pause(0)
            session.flush()
        daemon.wait(lambda: all(stream.state == "PAUSED" for stream in streams.values()), "the pause of both")
        vanish(vanishing.socket)
        daemon.wait(lambda: streams["vanishing"].over, "the end of the one that vanished")
        assert streams["vanishing"].end_reason == "peer_vanished"
        assert streams["staying"].state == "PAUSED", "who is there answers probes and may be silent"


def test_a_silent_peer_that_is_there_is_not_taken_for_one_that_vanished(start_daemon: StartDaemon) -> None:
    """The request's deadline is for it. Until then its kernel answers the probes."""
    daemon = start_daemon("server.tcp_user_timeout_seconds=1", "http.request_seconds=3")
    with Peer(daemon.address) as silent:
        assert silent.read_answer().status == 408
