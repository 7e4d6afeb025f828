"""What a run comes down to: the figures of all its processes in one value. Knows neither processes nor how it is shown.

`Result.ok` is the exit status of `audiohook-load`.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

from audiohook.load.faults.figures import Part, parts_of
from audiohook.load.histogram import Histogram, Quantiles, quantiles
from audiohook.load.reports import CallerReport, CallOutcome, Ending, StreamVerdict, VerifierReport, WatcherReport
from audiohook.session.context import DIALECT as CONTEXT
from audiohook.units import NS_PER_MS

LATE_NS = 20 * NS_PER_MS
"""A client whose own lateness exceeds one packet interval at p99 has measured itself."""


class Verification(msgspec.Struct, frozen=True):
    """What `--verify` found, summed over streams, in frames; `gaps` by cause; `imperfect` tells each stream that
    failed.

    `streams` were found; `absent` calls were open and had no stream in the shared memory.
    """

    streams: int
    perfect: int
    absent: int
    verified: int
    different: int
    missing: int
    missing_tail: int
    repeated: int
    surplus: int
    gaps: dict[str, int]
    overruns: int
    imperfect: tuple[StreamVerdict, ...]


class Result(msgspec.Struct, frozen=True):
    """The figures of one run. Times are nanoseconds; `refused` is by HTTP status, `ended_by_server` by close code.

    `returns` connections came back for a call; `parts` say how each part of a run with a fault has gone.
    """

    run: str
    url: str
    calls: int
    returns: int
    seconds: float
    dialect: str
    processes: int
    interrupted: bool
    endings: dict[Ending, int]
    refused: dict[str, int]
    connect_failed: dict[str, int]
    not_opened: dict[str, int]
    ended_by_server: dict[str, int]
    lost: dict[str, int]
    packets: int
    wire_bytes: int
    stalled: int
    pings: int
    faults: dict[str, int]
    connect: Quantiles
    open: Quantiles | None
    pong: Quantiles | None
    lateness: Quantiles
    publish: Quantiles | None
    verification: Verification | None
    parts: tuple[Part, ...]

    @property
    def all_completed(self) -> bool:
        """Every call, and every one that came back, ran to its planned end, be it by its fault."""
        ended = self.endings.get("completed", 0) + self.endings.get("faulted", 0)
        return ended == self.calls + self.returns

    @property
    def every_sample_verified(self) -> bool:
        """Every call that was open is in the shared memory, each sample once and equal, to the last that was sent.

        True also for a run that was interrupted, if a sample was sent; False without `--verify`.
        """
        found = self.verification
        return found is not None and found.verified > 0 and found.absent == 0 and found.perfect == found.streams

    @property
    def client_late(self) -> bool:
        """The client itself was late: the figures are void."""
        return self.lateness.p99_ns > LATE_NS

    @property
    def ok(self) -> bool:
        """All calls ran to the end, the server made no fault, and with `--verify` every sample was verified."""
        heard = self.verification is None or self.every_sample_verified
        return self.all_completed and not self.faults and heard


def verification_of(report: VerifierReport, outcomes: Iterable[CallOutcome]) -> Verification:
    """Return the sums of the verifier's last report; `outcomes` tell which calls must have a stream."""
    verdicts = report.verdicts
    gaps: Counter[str] = Counter()
    for verdict in verdicts:
        gaps.update(verdict.gap_frames)
    found = {verdict.call for verdict in verdicts}
    return Verification(
        streams=len(verdicts),
        perfect=sum(verdict.perfect for verdict in verdicts),
        absent=sum(was_open(outcome) and outcome.call not in found for outcome in outcomes),
        verified=sum(verdict.verified for verdict in verdicts),
        different=sum(verdict.different for verdict in verdicts),
        missing=sum(verdict.missing for verdict in verdicts),
        missing_tail=sum(verdict.missing_tail for verdict in verdicts),
        repeated=sum(verdict.repeated for verdict in verdicts),
        surplus=sum(verdict.surplus for verdict in verdicts),
        gaps=dict(gaps),
        overruns=sum(verdict.overruns for verdict in verdicts),
        imperfect=tuple(verdict for verdict in verdicts if not verdict.perfect),
    )


def was_open(outcome: CallOutcome) -> bool:
    """Return whether the call was ever open, and so must have a stream."""
    return outcome.opened


class Tally:
    """The callers' reports, as far as they have come: the newest of each process, and every outcome."""

    def __init__(self) -> None:
        self.outcomes: list[CallOutcome] = []
        self._newest: dict[int, CallerReport] = {}

    def add(self, report: CallerReport) -> None:
        """Take in one report."""
        self.outcomes += report.outcomes
        self._newest[report.process] = report

    def total(self, field: str) -> int:
        """Return the sum of a count over all processes."""
        return sum(getattr(report, field) for report in self._newest.values())

    def faults(self) -> dict[str, int]:
        """Return the faults of the server, by what they are."""
        whole: Counter[str] = Counter()
        for report in self._newest.values():
            whole.update(report.faults)
        return dict(whole)

    def merged(self, field: str) -> Quantiles:
        """Return the figures of a histogram over all processes."""
        whole = Histogram()
        for report in self._newest.values():
            whole.merge(getattr(report, field))
        return quantiles(whole)

    def details(self, ending: Ending) -> dict[str, int]:
        """Return how many calls ended so, by detail."""
        return dict(Counter(outcome.detail for outcome in self.outcomes if outcome.ending == ending))

    def result(
        self,
        *,
        run: str,
        url: str,
        calls: int,
        returns: int,
        seconds: float,
        dialect: str,
        processes: int,
        interrupted: bool,
        verifier: VerifierReport | None,
        watcher: WatcherReport | None,
    ) -> Result:
        """Return the figures of the whole run, when all processes have finished."""
        return Result(
            run=run,
            url=url,
            calls=calls,
            returns=returns,
            seconds=seconds,
            dialect=dialect,
            processes=processes,
            interrupted=interrupted,
            endings=dict(Counter(outcome.ending for outcome in self.outcomes)),
            refused=self.details("refused"),
            connect_failed=self.details("connect_failed"),
            not_opened=self.details("not_opened"),
            ended_by_server=self.details("ended_by_server"),
            lost=self.details("lost"),
            packets=sum(outcome.packets for outcome in self.outcomes),
            wire_bytes=self.total("wire_bytes"),
            stalled=self.total("stalled"),
            pings=self.total("pings"),
            faults=self.faults(),
            connect=self.merged("connect"),
            open=None if dialect == CONTEXT else self.merged("open"),
            pong=None if dialect == CONTEXT else self.merged("pong"),
            lateness=self.merged("lateness"),
            publish=None if watcher is None else quantiles(watcher.publish),
            verification=None if verifier is None else verification_of(verifier, self.outcomes),
            parts=parts_of(self.outcomes, None if verifier is None else verifier.verdicts),
        )
