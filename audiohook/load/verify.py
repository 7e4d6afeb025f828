"""`--verify`: reads every call of the run back out of the shared memory, in a process of its own, and compares it.

It attaches through the public API, as anybody's process would, before the first call is placed; what it may see is
exactly what a stranger may see. Streams are recognised by the names that the plan has made up. Each is followed
from its first frame to its end and compared by `check.py`. The samples are copied out of the ring: a view that is
overwritten while it is compared would be called different, and it is not.

One thread for all streams: it looks at each a few times a second, and asks for a block only when one is there, so that
the iterator of a quiet stream, which would wait, holds up no other. How long a packet takes is `watch.py`'s business.

The parent says at the end which calls were open and how many packets each has sent. Reading goes on to the end of the
streams (to a PARKED one nothing is added either); one that makes no progress for END_WITHIN_NS is reported as it is
then.
"""

import time
from collections.abc import Callable, Iterator
from itertools import islice

import audiohook
from audiohook.codec.opus import OpusDecoder
from audiohook.codec.pcmu import PcmuDecoder
from audiohook.errors import AudiohookError, ReaderError
from audiohook.load.check import AWAY, NOT_SENT, Decoder, ExpectedPcm, StreamCheck
from audiohook.load.faults.planned import GARBAGE, RETURNED
from audiohook.load.orders import Orders
from audiohook.load.plan import Plan, PlannedCall
from audiohook.load.reports import Finish, ReaderReady, Report, StreamVerdict, VerifierReport
from audiohook.load.script import Scripts
from audiohook.session.context import DIALECT as CONTEXT
from audiohook.units import NS_PER_S

END_WITHIN_NS = 10 * NS_PER_S
REPORT_EVERY_NS = NS_PER_S
LOOK_EVERY_NS = NS_PER_S // 4
"""How often new streams are looked for: that reads every card, 20 ms of work where there are 1,000."""

BLOCKS_A_SECOND = 4
"""Blocks of 250 ms: large enough that a comparison is bulk work, small enough that a live count moves."""


class FollowedStream:
    """One stream of the run, as far as it has been read."""

    def __init__(self, stream: audiohook.Stream, call: PlannedCall, packets: Iterator[bytes], fault: str = "") -> None:
        """`packets` is all that the call means to send, `fault` what is to go wrong with it."""
        rate_hz, channels = stream.sample_rate, len(stream.channel_names)
        self.packet_frames = rate_hz * call.packet_ns // NS_PER_S
        self.read_out = False
        """Nothing more will come: the stream is over and read to its end, or cannot be read on."""
        self._stream = stream
        self._block_frames = rate_hz // BLOCKS_A_SECOND
        self._blocks = stream.blocks(frames=self._block_frames, start="oldest", on_overrun="skip", copy=True)
        self._first_frame: int = stream.card()["media_base"]
        self._check = StreamCheck(
            StreamVerdict(call.index, stream.stream_id, rate_hz, may_exceed=fault == GARBAGE),
            ExpectedPcm(packets, _decoder(call.dialect, rate_hz, channels), self.packet_frames, channels),
            first_frame=self._first_frame,
            not_sent=AWAY if fault == RETURNED else NOT_SENT,
        )

    @property
    def verdict(self) -> StreamVerdict:
        return self._check.verdict

    def read_on(self) -> int:
        """Compare what has come since; return how many frames that was."""
        before = self._check.next_frame
        try:
            over, parked = self._stream.over, self._stream.parked
            end_frame = self._first_frame + self._stream.totals.length
            # Up to this stream's own end: the loop over its blocks goes on in the one to which its peer returns.
            while not self.read_out and self._check.next_frame < end_frame:
                if not over and end_frame - self._check.next_frame < self._block_frames:
                    break
                self._take(next(self._blocks, None))
            if over and not self.read_out:
                self.read_out = self.verdict.ended = True
            elif parked and not self.read_out:
                self._read_rest(end_frame - self._check.next_frame)
        except ReaderError as error:
            self.read_out = True
            self.verdict.end_reason = str(error)
        return self._check.next_frame - before

    def finish(self, sent_packets: int) -> StreamVerdict:
        """Return the verdict; no more will be read."""
        self._check.finish(sent_packets * self.packet_frames)
        if self.verdict.ended:
            self.verdict.end_reason = self._stream.end_reason
        return self.verdict

    def _read_rest(self, frames: int) -> None:
        """Read the last `frames` of a PARKED stream: an iterator would wait for more, which will never come."""
        self.read_out = self.verdict.ended = True
        if frames:
            rest = self._stream.blocks(frames, start=self._check.next_frame, on_overrun="skip", copy=True)
            self._take(next(rest, None))

    def _take(self, block: audiohook.Block | None) -> None:
        if block is None:
            self.read_out = True
            self.verdict.ended = self.verdict.length >= self._stream.totals.length
            return
        if block.first_frame > self._check.next_frame:
            self.verdict.overruns += 1
        self._check.on_block(block.first_frame, block.samples, block.gaps)


class Verifier:
    """All streams of one run."""

    def __init__(self, plan: Plan, scripts: Scripts, hub: audiohook.Hub) -> None:
        self._plan = plan
        self._scripts = scripts
        self._hub = hub
        self._calls = {(call.participant_id, call.session_id): call for call in (*plan.calls, *plan.returns)}
        self._followed: dict[int, FollowedStream] = {}

    def look(self) -> None:
        """Take in the run's streams that have begun since, also those that are over by now."""
        if len(self._followed) == len(self._calls):
            return
        for stream in self._hub.streams(ended=True):
            call = self._calls.get((stream.participant_id, stream.session_id))
            if call is not None and call.index not in self._followed:
                packets = islice(self._scripts[call.dialect].packets_of(call.index, self._plan.seed), call.packets)
                fault = self._plan.faults.get(call.index)
                self._followed[call.index] = FollowedStream(stream, call, packets, fault.kind if fault else "")

    def read_on(self) -> int:
        """Compare what has come in all streams; return how many frames that was."""
        return sum(one.read_on() for one in self._followed.values() if not one.read_out)

    def complete(self, finish: Finish) -> bool:
        """Return whether every call that was open has been read to its end."""
        return all(call in self._followed and self._followed[call].read_out for call in finish.opened)

    def report(self) -> VerifierReport:
        """Return the totals so far."""
        verified = sum(one.verdict.verified for one in self._followed.values())
        return VerifierReport(streams=len(self._followed), verified=verified)

    def final(self, finish: Finish) -> VerifierReport:
        """Return every stream's verdict."""
        report = self.report()
        report.verdicts = [one.finish(finish.opened.get(call, 0)) for call, one in self._followed.items()]
        report.final = True
        return report


def _decoder(dialect: str, rate_hz: int, channels: int) -> Decoder:
    return OpusDecoder(rate_hz, channels) if dialect == CONTEXT else PcmuDecoder(channels)


def verify_streams(
    plan: Plan, scripts: Scripts, hub_path: str | None, orders_fd: int, tell: Callable[[Report], None]
) -> None:
    """Be the verifying process: attach, say so, compare until the parent says that all is sent, read out, report."""
    try:
        hub = audiohook.attach(hub_path)
    except AudiohookError as error:
        tell(VerifierReport(failed=str(error), final=True))
        return
    tell(ReaderReady())
    verifier = Verifier(plan, scripts, hub)
    orders = Orders(orders_fd)
    progress_ns = look_due_ns = report_due_ns = time.monotonic_ns()
    while not orders.abandoned:
        orders.listen()
        now_ns = time.monotonic_ns()
        if now_ns >= look_due_ns:
            verifier.look()
            look_due_ns = now_ns + LOOK_EVERY_NS
        if verifier.read_on() or orders.finish is None:
            progress_ns = now_ns
        if orders.finish is not None and (verifier.complete(orders.finish) or now_ns - progress_ns > END_WITHIN_NS):
            tell(verifier.final(orders.finish))
            return
        if now_ns >= report_due_ns:
            tell(verifier.report())
            report_due_ns = now_ns + REPORT_EVERY_NS
