"""One connection as a telephone platform makes it, on a blocking socket: connect, TLS, upgrade, messages, end.

For the probe and for scenarios, which speak with one server at a time and think in steps; the calls of a run go through
`placed.py`. Waits end at a deadline, `now_ns` of the monotonic clock. What goes wrong before the upgrade is answered is
a `LineError` with a sentence for people; afterwards the end of the connection is a value.
"""

import secrets
import socket
import ssl
import time
from base64 import b64encode
from types import TracebackType

from audiohook.load.errors import LoadError
from audiohook.load.target import Target
from audiohook.units import NS_PER_S
from audiohook.wire.client import UpgradeAnswer, UpgradeReader, masked_frame, upgrade_request
from audiohook.wire.frames import CloseReceived, Message, Ping, WebSocket

CONNECT_WITHIN_NS = 5 * NS_PER_S
ANSWER_WITHIN_NS = 10 * NS_PER_S
MAX_MESSAGE_BYTES = 1 << 20
READ_BYTES = 65536


class LineError(LoadError):
    """No WebSocket came of it, and why."""


class Line:
    """One connection, open from the construction until the end of the `with` block."""

    def __init__(self, target: Target) -> None:
        """Connect, with TLS if the target says so."""
        self.ended = ""
        """How it ended: "EOF", the name of an error, or by a close frame; nothing while it has not."""
        self.close: CloseReceived | None = None
        """The server's close frame, if it came before ours."""
        self._target = target
        self._websocket = WebSocket(client=True, max_message_bytes=MAX_MESSAGE_BYTES)
        self._messages: list[Message] = []
        self._socket = _connected(target)

    def __enter__(self) -> "Line":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drop()

    def drop(self) -> None:
        """End TCP without another word."""
        self._socket.close()

    @property
    def tls_version(self) -> str:
        """The version of TLS that was agreed on, or nothing."""
        return self._socket.version() or "" if isinstance(self._socket, ssl.SSLSocket) else ""

    def upgrade(self, headers: tuple[tuple[str, str], ...]) -> UpgradeAnswer:
        """Ask for a WebSocket and return the answer, whatever it is; LineError if none came."""
        key = b64encode(secrets.token_bytes(16)).decode("ascii")
        reader = UpgradeReader(key)
        self.send(upgrade_request(self._target.path, self._target.authority, headers, key))
        give_up_ns = time.monotonic_ns() + ANSWER_WITHIN_NS
        answer = None
        while answer is None:
            data = self._read(give_up_ns)
            if data is None:
                seconds = ANSWER_WITHIN_NS // NS_PER_S
                raise LineError(f"the upgrade request was not answered within {seconds} s")
            answer = reader.receive_data(data) if data else reader.receive_eof()
            if answer is None and not data:
                raise LineError("the connection ended before the upgrade request was answered")
        self._messages += self._websocket.receive_data(reader.trailing())
        return answer

    def send(self, data: bytes) -> None:
        """Send bytes as they are; what cannot be sent any more shows when reading."""
        try:
            self._socket.settimeout(ANSWER_WITHIN_NS / NS_PER_S)
            self._socket.sendall(data)
        except OSError as error:
            self.ended = self.ended or error.__class__.__name__

    def send_text(self, text: str) -> None:
        self.send(self._websocket.text(text))

    def send_audio(self, payload: bytes) -> None:
        self.send(masked_frame(payload, secrets.token_bytes(4)))

    def send_close(self, code: int | None, reason: str = "") -> None:
        self.send(self._websocket.close(code, reason))

    def closed_by(self, message: CloseReceived) -> None:
        """Take note that the server closes, and answer it."""
        self.close = message
        self.send(self._websocket.close(message.code))
        self.ended = "a close frame"

    def receive(self, until_ns: int) -> Message | None:
        """Return the next message; None when the time is up or the connection has ended. Pings are answered here."""
        while True:
            while self._messages:
                message = self._messages.pop(0)
                if not isinstance(message, Ping):
                    return message
                self.send(self._websocket.pong(message.payload))
            if self.ended == "EOF":
                return None
            data = self._read(until_ns)
            if not data:
                return None
            self._messages += self._websocket.receive_data(data)

    def _read(self, until_ns: int) -> bytes | None:
        """Return what comes, nothing at the end of the connection, None when the time is up."""
        left_ns = until_ns - time.monotonic_ns()
        if left_ns <= 0:
            return None
        try:
            self._socket.settimeout(left_ns / NS_PER_S)
            data = self._socket.recv(READ_BYTES)
        except TimeoutError:
            return None
        except OSError as error:
            self.ended = error.__class__.__name__
            return b""
        if not data:
            self.ended = "EOF"
        return data


def _connected(target: Target) -> socket.socket:
    where = f"{target.host}:{target.port}"
    try:
        plain = socket.create_connection((target.host, target.port), CONNECT_WITHIN_NS / NS_PER_S)
    except socket.gaierror as error:
        raise LineError(f"the name {target.host} cannot be found: {error.strerror}") from None
    except ConnectionRefusedError:
        raise LineError(f"{where} refuses connections: nothing listens there; is the daemon running?") from None
    except TimeoutError:
        raise LineError(f"{where} does not answer: a firewall may drop what is sent to it") from None
    except OSError as error:
        raise LineError(f"{where} cannot be reached: {error.strerror}") from None
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not target.tls:
        return plain
    try:
        return ssl.create_default_context(cafile=target.ca_file).wrap_socket(plain, server_hostname=target.host)
    except ssl.SSLCertVerificationError as error:
        plain.close()
        raise LineError(
            f"the certificate of {where} is not trusted: {error.verify_message}; Genesys wants one of a public "
            "authority, for this name"
        ) from None
    except (ssl.SSLError, OSError) as error:
        plain.close()
        raise LineError(
            f"{where} does not speak TLS ({type(error).__name__}): is it the port behind the proxy?"
        ) from None
