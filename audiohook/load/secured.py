"""TLS of the calls of a run, on non-blocking sockets. Errors are those of plain sockets, so that a call knows no TLS.

One trap is left for who reads: what OpenSSL has decrypted the selector cannot see. So a read must have room for a whole
record (16 KB), and nothing is ever left.
"""

import errno
import socket
import ssl
from collections.abc import Callable
from functools import cache
from selectors import EVENT_READ, EVENT_WRITE
from typing import TypeVar

from audiohook.load.errors import LoadError, error_name
from audiohook.load.target import Target

Returned = TypeVar("Returned")


class SecuredSocket(ssl.SSLSocket):
    """A connected socket that speaks TLS. `send` and `recv` without flags."""

    def shake_hands(self) -> int:
        """Take the handshake a step further; return what it waits for (as in `selectors`), 0 when it is done.

        Raises LoadError with OpenSSL's word for what is wrong.
        """
        try:
            self.do_handshake()
        except ssl.SSLWantReadError:
            return EVENT_READ
        except ssl.SSLWantWriteError:
            return EVENT_WRITE
        except ssl.SSLCertVerificationError as error:
            raise LoadError(f"certificate not trusted: {error.verify_message}") from None
        except ssl.SSLError as error:
            raise LoadError(f"TLS: {error.reason or type(error).__name__}") from None
        except OSError as error:
            raise LoadError(error_name(error.errno)) from None
        return 0

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:  # type: ignore[override]
        return _translated(lambda: super(SecuredSocket, self).send(data))

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        return _translated(lambda: super(SecuredSocket, self).recv(buflen))


def secured(connected: socket.socket, target: Target) -> SecuredSocket:
    """Return a socket that takes the place of `connected`, on the same descriptor, or itself. Raises LoadError."""
    if not isinstance(connected, SecuredSocket):
        context = security(target.ca_file)
        connected = context.wrap_socket(connected, server_hostname=target.host, do_handshake_on_connect=False)
    assert isinstance(connected, SecuredSocket)
    return connected


@cache
def security(ca_file: str | None) -> ssl.SSLContext:
    """Return the client's context that trusts `ca_file`, or the system's authorities. Raises LoadError."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise LoadError(f"--ca-file {ca_file} cannot be used: {error.strerror or error}") from None
    context.sslsocket_class = SecuredSocket
    return context


def client_hello(host: str) -> bytes:
    """Return what a client says first."""
    said = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), said, server_hostname=host)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return said.read()


def _translated(call: Callable[[], Returned]) -> Returned:
    try:
        return call()
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        raise BlockingIOError(errno.EAGAIN, "TLS waits") from None
    except ssl.SSLError as error:
        raise ConnectionAbortedError(errno.ECONNABORTED, error.reason or type(error).__name__) from None
