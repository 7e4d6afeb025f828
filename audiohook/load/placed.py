"""One placed call: a non-blocking socket, the upgrade, the packets, the close. Theory of operation:

    NEW ──begin──▶ CONNECTING ──writable──▶ UPGRADING ──101──▶ OPEN ──hang_up──▶ CLOSING ──close frame, EOF──▶ DONE
                        └──error, deadline──────┴─other status──┴──close frame, EOF, error──┴──deadline──▶ DONE

It is driven by `caller.py`, which knows when a packet is due; here a packet is sent at once or, when the kernel has no
room, kept behind those that wait already. None is skipped and none is sent twice. DONE is entered once, and says how.

Knows nothing of the plan's clock, of other calls, or of the audio: a frame is bytes.
"""

import errno
import secrets
import socket
from base64 import b64encode
from collections import deque
from collections.abc import Iterator
from enum import Enum
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector

from audiohook.load.plan import PlannedCall
from audiohook.load.reports import CallOutcome, Ending
from audiohook.load.sent_times import PACKETS
from audiohook.load.target import Target
from audiohook.session.context_client import upgrade_headers
from audiohook.units import NEVER_NS, NS_PER_S
from audiohook.wire.client import UpgradeAnswer, UpgradeReader, upgrade_request
from audiohook.wire.frames import CloseReceived, Failed, Ping, WebSocket

OPEN_WITHIN_NS = 15 * NS_PER_S
"""From connect to the answer to the upgrade. A daemon answers in milliseconds; 1,000 at once within 2 s."""

CLOSE_WITHIN_NS = 5 * NS_PER_S
"""From our close frame to the server's."""

MAX_MESSAGE_BYTES = 65536
READ_BYTES = 65536
USER_ID = "audiohook-load"


class State(Enum):
    """See the picture on top."""

    NEW = "new"
    CONNECTING = "connecting"
    UPGRADING = "upgrading"
    OPEN = "open"
    CLOSING = "closing"
    DONE = "done"


class Waiting:
    """Bytes that the kernel had no room for; `packet` says whether their last byte completes a packet of audio."""

    __slots__ = ("bytes_left", "packet")

    def __init__(self, bytes_left: bytes | memoryview, packet: bool) -> None:
        self.bytes_left = bytes_left
        self.packet = packet


class PlacedCall:
    """One call of a caller process.

    `outcome` is None until it is DONE; `deadline_ns` is when `expire` is due; `offered` packets were given to
    `send_packet`, `stalled` of them found no room in the kernel; `scheduled` is the caller's note that it sends this
    call's packets.
    """

    def __init__(
        self,
        planned: PlannedCall,
        frames: Iterator[bytes],
        target: Target,
        address: tuple[int, tuple[object, ...]],
        selector: BaseSelector,
        sent_times: memoryview | None,
    ) -> None:
        """`frames` are the wire bytes, `address` is (family, socket address), `sent_times` a column of `SentTimes`."""
        self.planned = planned
        self.state = State.NEW
        self.deadline_ns = NEVER_NS
        self.scheduled = False
        self.offered = 0
        self.offered_bytes = 0
        self.stalled = 0
        self.pings = 0
        self.outcome: CallOutcome | None = None
        self._address = address
        self._frames = frames
        self._target = target
        self._selector = selector
        self._sent_times = sent_times
        self._socket: socket.socket | None = None
        self._upgrade: UpgradeReader | None = None
        self._websocket = WebSocket(client=True, max_message_bytes=MAX_MESSAGE_BYTES)
        self._waiting: deque[Waiting] = deque()
        self._begun_ns = 0
        self._connect_ns = 0
        self._ending: Ending = "completed"

    @property
    def done(self) -> bool:
        """The call is over, `outcome` says how."""
        return self.outcome is not None

    # -- what the caller decides ---------------------------------------------------------------------------------

    def begin(self, now_ns: int) -> None:
        """Connect."""
        self._begun_ns = now_ns
        try:
            self._socket = socket.socket(
                self._address[0], socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            )
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            self._finish("connect_failed", _name(error.errno))
            return
        code = self._socket.connect_ex(self._address[1])
        if code not in (0, errno.EINPROGRESS):
            self._finish("connect_failed", _name(code))
            return
        self.state = State.CONNECTING
        self.deadline_ns = now_ns + OPEN_WITHIN_NS
        self._selector.register(self._socket, EVENT_WRITE, self)

    def send_packet(self, now_ns: int) -> None:
        """Send the next packet now. Only when OPEN."""
        frame = next(self._frames)
        if self._sent_times is not None:
            self._sent_times[self.offered % PACKETS] = now_ns
        self.offered += 1
        self.offered_bytes += len(frame)
        if self._waiting:
            self.stalled += 1
            self._waiting.append(Waiting(frame, packet=True))
            return
        assert self._socket is not None
        try:
            taken = self._socket.send(frame)
        except BlockingIOError:
            taken = 0
        except OSError as error:
            # What the server said before it closed may still be there to be read, and it is the better answer.
            self._waiting.append(Waiting(frame, packet=True))
            self._read_what_is_left(error, now_ns)
            return
        if taken < len(frame):
            self.stalled += 1
            self._wait_for_room(memoryview(frame)[taken:], packet=True)

    def hang_up(self, ending: Ending, now_ns: int) -> None:
        """End the call: close properly if it is open, drop it if it is not yet. `ending` is what it counts as."""
        if self.state is State.OPEN:
            self._ending = ending
            self.state = State.CLOSING
            self.deadline_ns = now_ns + CLOSE_WITHIN_NS
            self._send_control(self._websocket.close(1000, ""))
        elif self.state is not State.CLOSING and self.state is not State.DONE:
            self._finish(ending, "not open yet")

    def expire(self) -> None:
        """The deadline has passed."""
        if self.state is State.CLOSING:
            self._finish("close_unanswered", "")
        else:
            self._finish("connect_failed", "no answer in time")

    # -- what the socket says ------------------------------------------------------------------------------------

    def on_event(self, mask: int, now_ns: int) -> None:
        """The selector found the socket ready, when this turn began: the call may be DONE by now."""
        if self.state is State.CONNECTING:
            self._on_connected()
            return
        if mask & EVENT_WRITE and self._waiting:
            self._on_room(now_ns)
        if mask & EVENT_READ and self.state is not State.DONE:
            self._on_readable(now_ns)

    def _on_connected(self) -> None:
        assert self._socket is not None
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code != 0:
            self._finish("connect_failed", _name(code))
            return
        self.state = State.UPGRADING
        self._selector.modify(self._socket, EVENT_READ, self)
        who = self.planned
        headers = upgrade_headers(
            call_id=who.call_id,
            session_id=who.session_id,
            user_id=USER_ID,
            participant_id=who.participant_id,
            direction=who.direction,
        )
        key = b64encode(secrets.token_bytes(16)).decode("ascii")
        self._upgrade = UpgradeReader(key)
        self._send_control(upgrade_request(self._target.path, self._target.authority, headers, key))

    def _on_room(self, now_ns: int) -> None:
        assert self._socket is not None
        while self._waiting:
            head = self._waiting[0]
            try:
                taken = self._socket.send(head.bytes_left)
            except BlockingIOError:
                return
            except OSError as error:
                self._read_what_is_left(error, now_ns)
                return
            if taken < len(head.bytes_left):
                head.bytes_left = memoryview(head.bytes_left)[taken:]
                return
            self._waiting.popleft()
        self._selector.modify(self._socket, EVENT_READ, self)

    def _on_readable(self, now_ns: int) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._vanished(_name(error.errno))
            return
        if data:
            self._receive(data, now_ns)
        else:
            self._vanished("EOF")

    def _receive(self, data: bytes, now_ns: int) -> None:
        if self._upgrade is not None:
            answer = self._upgrade.receive_data(data)
            data = self._upgrade.trailing()
            if answer is not None:
                self._on_answer(answer, now_ns)
        if self.state is State.UPGRADING or not data:
            return
        for message in self._websocket.receive_data(data):
            if isinstance(message, Ping):
                self.pings += 1
                self._send_control(self._websocket.pong(message.payload))
            elif isinstance(message, CloseReceived):
                self._on_close(message)
            elif isinstance(message, Failed):
                self._finish("lost", f"the server broke the protocol: {message.closure.slug}")
            if self.state is State.DONE:
                return

    def _on_answer(self, answer: UpgradeAnswer, now_ns: int) -> None:
        self._upgrade = None
        if answer.accepted:
            self.state = State.OPEN
            self._connect_ns = now_ns - self._begun_ns
            self.deadline_ns = NEVER_NS
        elif answer.status in (0, 101):
            self._finish("connect_failed", "not a correct answer to an upgrade")
        else:
            self._finish("refused", str(answer.status))

    def _on_close(self, message: CloseReceived) -> None:
        if self.state is State.CLOSING:
            self._finish(self._ending, "")
            return
        self._send_control(self._websocket.close(message.code or 1000, ""))
        if self.state is not State.DONE:
            self._finish("ended_by_server", str(message.code or 1005))

    # -- ends ----------------------------------------------------------------------------------------------------

    def _read_what_is_left(self, error: OSError, now_ns: int) -> None:
        """A send failed: the connection is gone, but a close frame may have come before it went."""
        while self.state is not State.DONE:
            assert self._socket is not None
            try:
                data = self._socket.recv(READ_BYTES)
            except OSError:
                data = b""
            if not data:
                self._vanished(_name(error.errno))
                return
            self._receive(data, now_ns)

    def _vanished(self, how: str) -> None:
        """TCP is at its end, and no close frame came. Of a refusal it may be the end."""
        if self._upgrade is None:
            self._finish("lost", how)
            return
        answer = self._upgrade.receive_eof()
        if answer is not None and answer.status not in (0, 101):
            self._finish("refused", str(answer.status))
        else:
            self._finish("connect_failed", how)

    def _send_control(self, data: bytes) -> None:
        """Send what is not audio, behind whatever waits already."""
        assert self._socket is not None
        if self._waiting:
            self._waiting.append(Waiting(data, packet=False))
            return
        try:
            taken = self._socket.send(data)
        except BlockingIOError:
            taken = 0
        except OSError:
            # The next read tells what became of the connection.
            return
        if taken < len(data):
            self._wait_for_room(memoryview(data)[taken:], packet=False)

    def _wait_for_room(self, rest: memoryview, *, packet: bool) -> None:
        assert self._socket is not None
        self._waiting.append(Waiting(rest, packet))
        self._selector.modify(self._socket, EVENT_READ | EVENT_WRITE, self)

    def _finish(self, ending: Ending, detail: str) -> None:
        packets = self.offered - sum(waiting.packet for waiting in self._waiting)
        self.outcome = CallOutcome(self.planned.index, ending, detail, packets, self._connect_ns)
        self.state = State.DONE
        self.deadline_ns = NEVER_NS
        self._waiting.clear()
        if self._socket is not None:
            if self._socket in self._selector.get_map():
                self._selector.unregister(self._socket)
            self._socket.close()


def _name(code: int | None) -> str:
    """Return the name of an error number, for example ECONNREFUSED: the same words in every language of libc."""
    return errno.errorcode.get(code or 0, f"errno {code}")
