"""Listening sockets: from "host:port" to a socket that workers share. Knows nothing of who accepts from it.

What a listen address may look like is `config/address.py`'s to say; names are looked up here.

The supervisor opens each address once, before any fork, and keeps it to the end: connections that wait in its queue
survive every worker. SO_REUSEPORT is set so that a second daemon can stand beside the first (architecture.md section 2
rule 2), not so that each worker binds for itself: of one socket a worker, 46 of 200 connections went unanswered while
one of four workers was stopped; of a shared one, none.
"""

import errno
import os
import socket
from collections.abc import Sequence

from audiohook.config.address import parse_address
from audiohook.errors import BootError

_REMEDIES = {
    errno.EADDRINUSE: "another program listens there; stop it or choose another port",
    errno.EACCES: "this user may not bind it; choose a port of 1024 or more, or give the service CAP_NET_BIND_SERVICE",
    errno.EADDRNOTAVAIL: "this machine has no such address; use one that `ip address` lists, 0.0.0.0 or [::]",
    errno.EAFNOSUPPORT: "this machine has no such address family; use an IPv4 address",
}


def open_listener(text: str, backlog: int) -> socket.socket:
    """Return a bound, listening, non-blocking, close-on-exec socket on "host:port".

    Raises BootError in words, with the remedy. The caller owns the socket.
    """
    family, numeric = _resolve(text)
    try:
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _unusable(text, error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # Else [::] takes the port of 0.0.0.0 too, and listing both fails with a puzzling "address in use".
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(numeric)
        listener.listen(backlog)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise _unusable(text, error) from error
    return listener


def open_listeners(texts: Sequence[str], backlog: int) -> tuple[socket.socket, ...]:
    """Open every address, or none: what was opened is closed again before the BootError goes on."""
    opened: list[socket.socket] = []
    try:
        for text in texts:
            opened.append(open_listener(text, backlog))
    except BootError:
        for listener in opened:
            listener.close()
        raise
    return tuple(opened)


def bound_address(listener: socket.socket) -> str:
    """Return where the listener really is, as "host:port" or "[v6]:port" (of interest when port 0 was asked for)."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if listener.family == socket.AF_INET6 else f"{host}:{port}"


def _resolve(text: str) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """Return family and numeric address; of a name that has several, the first."""
    address = parse_address(text)
    if address is None:
        raise BootError(f'server.listen: "{text}" is no address; write "host:port" or "[v6]:port", as in [::1]:8443')
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise BootError(f'server.listen: "{text}": this name cannot be looked up; write a numeric address') from error
    family, _, _, _, numeric = found[0]
    return family, (str(numeric[0]), address.port)


def _unusable(text: str, error: OSError) -> BootError:
    number = error.errno or 0
    reason = os.strerror(number)
    return BootError(f'server.listen: cannot listen on "{text}": {reason}: {_REMEDIES.get(number, "choose another")}')
