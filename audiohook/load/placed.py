"""One placed call: a non-blocking socket, the upgrade, the packets, the close. Theory of operation:

    NEW ──begin──▶ CONNECTING ──writable──▶ UPGRADING ──101──▶ OPENING ──opened──▶ OPEN ──hang_up──▶ CLOSING ──▶ DONE
                        └──error, deadline──────┴─other status──┴─────┴──close frame, EOF, error──────┴─deadline──▶ DONE

What is said in OPENING and in CLOSING before the close frame is the dialect's (`dialogue.py`); `context` says nothing
and is OPEN with the 101. A server that ends a call in words brings it from OPENING or OPEN to CLOSING.

It is driven by `caller.py`, which knows when a packet is due; here a packet is sent at once or, when the kernel has no
room, kept behind those that wait already. None is skipped and none is sent twice. DONE is entered once, and says how.

Knows nothing of the plan's clock, of other calls, of the audio (a frame is bytes), or of what a dialect says.
"""

import errno
import secrets
import socket
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector

from audiohook.load.dialogue import Dialogue
from audiohook.load.errors import LoadError, error_name
from audiohook.load.plan import PlannedCall
from audiohook.load.reports import CallOutcome, Ending
from audiohook.load.secured import secured
from audiohook.load.sent_times import PACKETS
from audiohook.load.target import Target
from audiohook.load.waiting import Waiting
from audiohook.session.audiohook2_client import OPEN_WAIT_NS
from audiohook.units import NEVER_NS, NS_PER_S
from audiohook.wire.client import UpgradeAnswer, UpgradeReader, upgrade_request
from audiohook.wire.frames import CloseReceived, Failed, Ping, Pong, WebSocket

OPEN_WITHIN_NS = 15 * NS_PER_S
"""From connect to the answer to the upgrade. A daemon answers in milliseconds; 1,000 at once within 2 s."""

MAX_MESSAGE_BYTES = 65536
READ_BYTES = 65536
SOCKET_TYPE = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


class State(Enum):
    """See the picture on top."""

    NEW = "new"
    CONNECTING = "connecting"
    UPGRADING = "upgrading"
    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    DONE = "done"


class PlacedCall:
    """One call of a caller process.

    `outcome` is None until it is DONE; `deadline_ns` is when the state it is in has lasted too long; `offered` packets
    were given to `send_packet`, `stalled` of them found no room in the kernel; `scheduled` is the caller's note that it
    sends this call's packets, `place` that of where it keeps it.

    The calls of `faults/` are of this class and do some things otherwise; what they may rely on has one underscore.
    """

    _send: Callable[[bytes | memoryview], int]  # the socket's own, once there is one

    def __init__(
        self,
        planned: PlannedCall,
        dialogue: Dialogue,
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
        self.place = 0
        self.offered = 0
        self.offered_bytes = 0
        self.stalled = 0
        self.pings = 0
        self.outcome: CallOutcome | None = None
        self._dialogue = dialogue
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
        self._opened = False
        self._ending: Ending = "completed"
        self._detail = ""

    @property
    def due_ns(self) -> int:
        """When `on_deadline` has something to do."""
        return min(self.deadline_ns, self._dialogue.deadline_ns)

    @property
    def done(self) -> bool:
        """The call is over, `outcome` says how."""
        return self.outcome is not None

    # -- what the caller decides ---------------------------------------------------------------------------------

    def begin(self, now_ns: int) -> None:
        """Connect."""
        self._begun_ns = now_ns
        try:
            self._socket = socket.socket(self._address[0], SOCKET_TYPE)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            self._finish("connect_failed", error_name(error.errno))
            return
        self._use(self._socket)
        code = self._socket.connect_ex(self._address[1])
        if code not in (0, errno.EINPROGRESS):
            self._finish("connect_failed", error_name(code))
            return
        self.state = State.CONNECTING
        self.deadline_ns = now_ns + OPEN_WITHIN_NS
        self._selector.register(self._socket, EVENT_WRITE, self)

    def _use(self, connected: socket.socket) -> None:
        self._socket = connected
        self._send = connected.send

    def send_packet(self, now_ns: int) -> bool:
        """Send the next packet now, if audio is wanted now; return whether it is. Only when OPEN."""
        if not self._dialogue.wants_audio:
            return False
        frame = next(self._frames)
        self._dialogue.audio_sent()
        self._send_audio(frame, now_ns)
        return True

    def _send_audio(self, frame: bytes, now_ns: int) -> None:
        if self._sent_times is not None:
            self._sent_times[self.offered % PACKETS] = now_ns
        self.offered += 1
        self.offered_bytes += len(frame)
        if self._waiting:
            self.stalled += 1
            self._waiting.append(Waiting(frame, packet=True))
            return
        try:
            taken = self._send(frame)
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
            self._close(ending, "", now_ns)
            self._dialogue.end(now_ns)
            self._follow(now_ns)
        elif self.state is not State.CLOSING and self.state is not State.DONE:
            self._finish(ending, "not open yet")

    def on_deadline(self, now_ns: int) -> None:
        """Take the time: say what is due, give up what has lasted too long."""
        if self.deadline_ns <= now_ns:
            self._expire()
        elif self._dialogue.deadline_ns <= now_ns:
            self._dialogue.on_deadline(now_ns)
            self._follow(now_ns)

    def _expire(self) -> None:
        if self.state is State.CLOSING:
            self._finish("close_unanswered", self._detail)
        elif self.state is State.OPENING:
            self._finish("not_opened", "no answer to open in time")
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
            self._finish("connect_failed", error_name(code))
            return
        if self._target.tls and not self._shake_hands(self._socket):
            return
        self.state = State.UPGRADING
        self._selector.modify(self._socket, EVENT_READ, self)
        headers = self._dialogue.headers(self._target)
        key = b64encode(secrets.token_bytes(16)).decode("ascii")
        self._upgrade = UpgradeReader(key)
        self._send_request(upgrade_request(self._target.path, self._target.authority, headers, key))

    def _shake_hands(self, connected: socket.socket) -> bool:
        """Take the TLS handshake, which belongs to CONNECTING, a step further; return whether it is done."""
        try:
            connected = secured(connected, self._target)
            self._use(connected)
            awaited = connected.shake_hands()
        except LoadError as error:
            self._finish("connect_failed", str(error))
            return False
        self._selector.modify(connected, awaited or EVENT_READ, self)
        return not awaited

    def _send_request(self, request: bytes) -> None:
        self._send_control(request)

    def _on_room(self, now_ns: int) -> None:
        assert self._socket is not None
        while self._waiting:
            head = self._waiting[0]
            try:
                taken = self._send(head.bytes_left)
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
            self._vanished(error_name(error.errno))
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
            elif isinstance(message, str):
                self._dialogue.receive_text(message, now_ns)
                self._follow(now_ns)
            elif isinstance(message, bytes):
                self._dialogue.receive_audio()
            elif isinstance(message, Pong):
                self._on_pong(message.payload, now_ns)
            if self.state is State.DONE:
                return

    def _on_pong(self, payload: bytes, now_ns: int) -> None:
        """A call without a fault sends no pings of the WebSocket's."""

    def _on_answer(self, answer: UpgradeAnswer, now_ns: int) -> None:
        self._upgrade = None
        if answer.accepted:
            self.state = State.OPENING
            self._connect_ns = now_ns - self._begun_ns
            self.deadline_ns = now_ns + OPEN_WAIT_NS
            self._dialogue.begin(now_ns)
            self._follow(now_ns)
        elif answer.status in (0, 101):
            self._finish("connect_failed", "not a correct answer to an upgrade")
        else:
            self._finish("refused", str(answer.status))

    def _follow(self, now_ns: int) -> None:
        """Send what the dialogue has to say, and go where it leads."""
        dialogue = self._dialogue
        for text in dialogue.texts:
            self._send_control(self._websocket.text(text))
        dialogue.texts.clear()
        if dialogue.ended and self.state is not State.CLOSING:
            self._close("refused" if self.state is State.OPENING else "ended_by_server", dialogue.ended, now_ns)
        elif self.state is State.OPENING and dialogue.opened:
            self.state = State.OPEN
            self.deadline_ns = NEVER_NS
            if dialogue.unusable:
                self._close("not_opened", dialogue.unusable, now_ns)
                dialogue.end(now_ns)
                self._follow(now_ns)
                return
            self._opened = True
        if dialogue.finished:
            self._send_control(self._websocket.close(dialogue.close_code))

    def _close(self, ending: Ending, detail: str, now_ns: int) -> None:
        self._ending, self._detail = ending, detail
        self.state = State.CLOSING
        self.deadline_ns = now_ns + self._dialogue.close_within_ns

    def _on_close(self, message: CloseReceived) -> None:
        if self.state is State.CLOSING and self._dialogue.finished:
            self._finish(self._ending, self._detail)
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
                self._vanished(error_name(error.errno))
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
        if self._waiting:
            self._waiting.append(Waiting(data, packet=False))
            return
        try:
            taken = self._send(data)
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
        open_ns = self._dialogue.open_ns
        self.outcome = CallOutcome(self.planned.index, ending, detail, packets, self._connect_ns, self._opened, open_ns)
        self.state = State.DONE
        self.deadline_ns = NEVER_NS
        self._waiting.clear()
        if self._socket is not None:
            if self._socket in self._selector.get_map():
                self._selector.unregister(self._socket)
            self._socket.close()
