"""One caller process: places its calls and sends their packets on time. One loop, one clock, no thread.

Pacing is absolute: packet k of a call is due at `start + k x packet_ns`, whatever happened before. A packet that is
late is sent at once, its lateness is counted, and none is skipped: what is measured is the server, and the client says
how far it was itself to blame. The wait for the next packet is a sleep of at least QUANTUM_NS: the packets that fall
due in it go out together, which costs a quarter of a millisecond of lateness and saves one wake-up a packet.

Knows nothing of audio, of other processes' calls, or of how its reports travel (`reporter` is a callable).
"""

import gc
import time
from collections.abc import Callable
from heapq import heapify, heappop, heappush, heapreplace
from selectors import EVENT_READ, DefaultSelector

from audiohook.load.credentials import Credentials
from audiohook.load.dialogue import Dialogue, Figures, dialogue_for
from audiohook.load.faults.faulty import FaultyCall
from audiohook.load.faults.kinds import CLASSES
from audiohook.load.placed import PlacedCall, State
from audiohook.load.plan import Plan
from audiohook.load.reports import CallerReport
from audiohook.load.script import Scripts
from audiohook.load.sent_times import SentTimes
from audiohook.load.target import Target
from audiohook.units import NS_PER_MS, NS_PER_S

QUANTUM_NS = NS_PER_MS // 4
SLEEP_BELOW_NS = 2 * NS_PER_MS
"""epoll counts in whole milliseconds: a shorter wait is slept, not polled."""

IDLE_NS = 100 * NS_PER_MS
"""The longest wait: deadlines and the next report are looked at as often."""

REPORT_EVERY_NS = NS_PER_S
SENDS_A_TURN = 64
"""Packets sent before sockets are looked at again, so that a client that is late still answers pings."""


class Caller:
    """The calls of one process. `run()` returns when each is done."""

    def __init__(
        self,
        *,
        process: int,
        plan: Plan,
        scripts: Scripts,
        credentials: Credentials,
        target: Target,
        address: tuple[int, tuple[object, ...]],
        sent_times: SentTimes,
        lifeline: int,
        reporter: Callable[[CallerReport], None],
    ) -> None:
        """`lifeline` is a pipe's reading end: its EOF means that the run is to end now, each call properly."""
        self._plan = plan
        self._selector = DefaultSelector()
        self._selector.register(lifeline, EVENT_READ, None)
        self._lifeline = lifeline
        self._report = CallerReport(process)
        self._reporter = reporter
        self._figures = Figures()
        self._calls: list[PlacedCall] = []
        dialogues: dict[int, Dialogue] = {}
        for place, planned in enumerate(plan.of_process(process)):
            index, fault = planned.index, plan.faults.get(planned.index)
            former = dialogues.get(fault.former) if fault is not None else None
            dialogues[index] = dialogue_for(planned, credentials, self._figures, former)
            frames = scripts[planned.dialect].frames_of(index, plan.seed)
            kind = PlacedCall if fault is None else CLASSES[fault.kind]
            call = kind(planned, dialogues[index], frames, target, address, self._selector, sent_times.column(index))
            call.place = place
            self._calls.append(call)
        self._pending = set(self._calls)
        self._agenda: list[tuple[int, int]] = []
        """A heap of (when, which call): the connect of a NEW call, the next packet of an OPEN one."""
        self._epoch_ns = 0

    def run(self, epoch_ns: int) -> None:
        """Place all calls, the plan's times counted from `epoch_ns`; return when the last one is DONE."""
        self._epoch_ns = epoch_ns
        self._agenda = [(epoch_ns + call.planned.connect_ns, place) for place, call in enumerate(self._calls)]
        heapify(self._agenda)
        for call in self._calls:
            if isinstance(call, FaultyCall):
                call.arm(self._plan.faults[call.planned.index], epoch_ns)
        # What exists now lives to the end; a full collection over 20,000 calls would cost tens of milliseconds.
        gc.freeze()
        report_due_ns = look_due_ns = epoch_ns
        while self._pending:
            now_ns = time.monotonic_ns()
            self._do_what_is_due()
            self._look_at_sockets()
            if now_ns >= look_due_ns:
                self._expire_deadlines(now_ns)
                look_due_ns = now_ns + IDLE_NS
            if now_ns >= report_due_ns:
                self._tell()
                report_due_ns = now_ns + REPORT_EVERY_NS
        self._report.final = True
        self._tell()
        self._selector.close()

    def _do_what_is_due(self) -> None:
        agenda, calls = self._agenda, self._calls
        lateness = self._report.lateness
        for _ in range(SENDS_A_TURN):
            if not agenda:
                return
            due_ns, place = agenda[0]
            now_ns = time.monotonic_ns()
            if due_ns > now_ns:
                return
            call = calls[place]
            if call.state is State.OPEN:
                # A call that is paused sends nothing and goes on later: a pause makes it longer, and loses nothing.
                if call.send_packet(now_ns):
                    lateness.record(now_ns - due_ns)
                if call.offered < call.planned.packets:
                    heapreplace(agenda, (due_ns + call.planned.packet_ns, place))
                else:
                    heappop(agenda)
                    call.hang_up("completed", now_ns)
            else:
                heappop(agenda)
                if call.state is State.NEW:
                    call.begin(now_ns)
            if call.done:
                self._settle(call)

    def _look_at_sockets(self) -> None:
        """Wait for what is due next, and handle what the sockets have until then."""
        wait_ns = min(IDLE_NS, self._agenda[0][0] - time.monotonic_ns()) if self._agenda else IDLE_NS
        if 0 < wait_ns < SLEEP_BELOW_NS:
            time.sleep(max(wait_ns, QUANTUM_NS) / NS_PER_S)
        timeout_ns = wait_ns - NS_PER_MS if wait_ns >= SLEEP_BELOW_NS else 0
        ready = self._selector.select(timeout_ns / NS_PER_S)
        now_ns = time.monotonic_ns()
        for key, mask in ready:
            if key.data is None:
                self._stop(now_ns)
                return
            call: PlacedCall = key.data
            call.on_event(mask, now_ns)
            if call.done:
                self._settle(call)
            elif call.state is State.OPEN and not call.scheduled:
                self._schedule(call, now_ns)

    def _schedule(self, call: PlacedCall, now_ns: int) -> None:
        """The call has just been opened: its first packet is due at the next instant of its phase."""
        call.scheduled = True
        first_ns = call.planned.first_due_ns(now_ns - self._epoch_ns)
        heappush(self._agenda, (self._epoch_ns + first_ns, call.place))

    def _stop(self, now_ns: int) -> None:
        """The parent has closed the lifeline, or is gone: end every call."""
        self._selector.unregister(self._lifeline)
        self._agenda.clear()
        for call in tuple(self._pending):
            call.hang_up("interrupted", now_ns)
            if call.done:
                self._settle(call)

    def _expire_deadlines(self, now_ns: int) -> None:
        for call in tuple(self._pending):
            if call.due_ns <= now_ns:
                call.on_deadline(now_ns)
                if call.done:
                    self._settle(call)

    def _settle(self, call: PlacedCall) -> None:
        """Book a call that is DONE."""
        if call not in self._pending:
            return
        self._pending.remove(call)
        assert call.outcome is not None
        self._report.outcomes.append(call.outcome)
        if call.outcome.connect_ns:
            self._report.connect.record(call.outcome.connect_ns)
        if call.outcome.open_ns:
            self._report.open.record(call.outcome.open_ns)

    def _tell(self) -> None:
        report = self._report
        report.open_now = sum(call.state is State.OPEN for call in self._pending)
        report.packets = sum(call.offered for call in self._calls)
        report.wire_bytes = sum(call.offered_bytes for call in self._calls)
        report.stalled = sum(call.stalled for call in self._calls)
        report.pings = sum(call.pings for call in self._calls)
        report.pong, report.faults = self._figures.pong, self._figures.faults
        self._reporter(report)
        report.outcomes.clear()
