"""Publish latency: how long after its send another process has a packet's samples in its hands.

For each watched call a reader of its own waits for blocks of one packet, as a transcriber would, and takes the time
when a block is handed out; the time of the send is in memory shared with the caller (`sent_times.py`). What the figure
contains is the whole way: send, network stack, the daemon's loop, decode, publish, wake-up, and this reader's turn on
its core.

A process of its own, apart from the verifier, so that no comparison stands in the way of a wake-up; one thread a
stream, each of which sleeps in the kernel. Only packets that were waited for count: the reader starts at the live edge.
"""

import threading
import time
from collections.abc import Callable

import audiohook
from audiohook.errors import AudiohookError, ReaderError
from audiohook.load.histogram import Histogram
from audiohook.load.orders import Orders
from audiohook.load.plan import Plan
from audiohook.load.reports import ReaderReady, Report, WatcherReport
from audiohook.load.sent_times import PACKETS, SentTimes
from audiohook.units import NS_PER_S

END_WITHIN_NS = 2 * NS_PER_S
"""After the last call has ended: what has not been handed out by then is not waited for."""


class PublishWatcher:
    """The watched streams of one run, each with a thread and a histogram of its own.

    The threads are daemons: the process leaves through `os._exit`, also while one waits for audio that never comes.
    """

    def __init__(self, plan: Plan, sent_times: SentTimes, hub: audiohook.Hub) -> None:
        self._plan = plan
        self._sent_times = sent_times
        self._hub = hub
        self._missing = {plan.calls[call].participant_id: call for call in plan.watched}
        self._histograms: list[Histogram] = []
        self._threads: list[threading.Thread] = []

    @property
    def over(self) -> bool:
        """No reader waits for audio any more."""
        return not any(thread.is_alive() for thread in self._threads)

    def look(self) -> None:
        """Start a reader for each watched stream that has begun since."""
        if not self._missing:
            return
        for stream in self._hub.streams():
            if stream.participant_id in self._missing:
                self._start(stream, self._missing.pop(stream.participant_id))

    def report(self) -> WatcherReport:
        """Return all that was measured."""
        whole = Histogram()
        for histogram in self._histograms:
            whole.merge(histogram)
        return WatcherReport(whole, final=True)

    def _start(self, stream: audiohook.Stream, call: int) -> None:
        histogram = Histogram()
        thread = threading.Thread(target=self._watch, args=(stream, call, histogram), daemon=True)
        self._histograms.append(histogram)
        self._threads.append(thread)
        thread.start()

    def _watch(self, stream: audiohook.Stream, call: int, histogram: Histogram) -> None:
        column = self._sent_times.column(call)
        assert column is not None
        packet_frames = stream.sample_rate * self._plan.calls[call].packet_ns // NS_PER_S
        try:
            for block in stream.blocks(frames=packet_frames, start="live", on_overrun="skip"):
                now_ns = time.monotonic_ns()
                if block.gaps:
                    return  # from here on frames tell no longer which packet they came in
                packet, rest = divmod(block.first_frame, packet_frames)
                if rest == 0 and block.samples.shape[0] == packet_frames:
                    histogram.record(now_ns - column[packet % PACKETS])
        except ReaderError:
            return  # what became of the stream is the verifier's to tell; what was measured until then holds


def watch_publishing(
    plan: Plan, sent_times: SentTimes, hub_path: str | None, orders_fd: int, tell: Callable[[Report], None]
) -> None:
    """Be the watching process: attach, say so, measure until the parent says that all calls have ended, report."""
    try:
        hub = audiohook.attach(hub_path)
    except AudiohookError as error:
        tell(WatcherReport(failed=str(error), final=True))
        return
    tell(ReaderReady())
    watcher = PublishWatcher(plan, sent_times, hub)
    orders = Orders(orders_fd)
    while orders.finish is None and not orders.abandoned:
        watcher.look()
        orders.listen()
    give_up_ns = time.monotonic_ns() + END_WITHIN_NS
    while not watcher.over and time.monotonic_ns() < give_up_ns and not orders.abandoned:
        orders.listen()
    tell(watcher.report())
