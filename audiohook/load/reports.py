"""What the processes of a run tell one another: messages, one JSON line each. Knows neither pipes nor sockets.

Counts are totals since the start, so that a report that comes late, or not at all, falsifies nothing; only the outcomes
of calls are told once each.
"""

from typing import Literal

import msgspec

from audiohook.load.histogram import Histogram

Ending = Literal[
    "completed",
    "interrupted",
    "refused",
    "connect_failed",
    "not_opened",
    "ended_by_server",
    "lost",
    "close_unanswered",
    "faulted",
    "unrecovered",
]
"""How a call ended:

- completed: all packets were sent, we closed with 1000 and the server answered;
- interrupted: the same, before all packets were sent, because the run was stopped;
- refused: the upgrade was answered with an HTTP status, or `open` with `disconnect` (`detail` says which);
- connect_failed: no TCP connection, or no HTTP answer to the upgrade (`detail` says which);
- not_opened: the upgrade was accepted, and `open` was not answered in time, or not with media;
- ended_by_server: the server sent a close frame (`detail` is its code) or `disconnect` (`detail` is its reason);
- lost: TCP ended without a close frame (`detail` says how);
- close_unanswered: all was sent and closed, and the server did not answer the close in time;
- faulted: it has ended by the fault that it was to have (`detail` says how);
- unrecovered: it had its fault, and the server did not do in time what it must (`detail` says what).

Behind "closed with 1000" read `close`, `closed` and a close frame without a status where the dialect is `audiohook2`.
"""


class CallOutcome(msgspec.Struct, frozen=True):
    """How one call went. The kernel took `packets` whole.

    `connect_ns` is 0 unless the upgrade was accepted. `opened`: audio might be sent, so there must be a stream.
    `open_ns` is from `open` to `opened`, 0 where the dialect has none. `fault` is what was to go wrong with the call
    (`faults/planned.py`), nothing with most; `recovered_ns` is from there until all was well again, 0 where unknown.
    """

    call: int
    ending: Ending
    detail: str
    packets: int
    connect_ns: int
    opened: bool
    open_ns: int = 0
    fault: str = ""
    recovered_ns: int = 0


class CallerReport(msgspec.Struct, tag="caller"):
    """Of one caller process. `lateness` is due → sent of each packet; `stalled` packets found no room in the kernel.

    `open` is `open` → `opened`, `pong` is `ping` → `pong`; `faults` are what a server said that it must not, or too
    late.
    """

    process: int
    open_now: int = 0
    packets: int = 0
    wire_bytes: int = 0
    stalled: int = 0
    pings: int = 0
    connect: Histogram = msgspec.field(default_factory=Histogram)
    open: Histogram = msgspec.field(default_factory=Histogram)
    pong: Histogram = msgspec.field(default_factory=Histogram)
    lateness: Histogram = msgspec.field(default_factory=Histogram)
    faults: dict[str, int] = msgspec.field(default_factory=dict)
    outcomes: list[CallOutcome] = msgspec.field(default_factory=list)
    final: bool = False


class StreamVerdict(msgspec.Struct):
    """What the shared memory had of one call, in frames: one sample per channel.

    `length` is the frames of the timeline, from where the stream begins, that were seen or known to be missed. Every
    one of them is in exactly one of `verified` (every channel equal to the local decode), `different`, `missing`
    (jumped over or lapped), `gap_frames`, `surplus` (more than was planned). Of the gaps, `not_sent` frames are time in
    which the client sent nothing. Beside the timeline: `repeated` frames came twice, `missing_tail` frames were sent
    and are not on it. `first_difference` is -1 if there is none. `may_exceed`: bytes were sent that are nobody's audio,
    and what is heard of them is neither right nor wrong.
    """

    call: int
    stream_id: str = ""
    rate_hz: int = 0
    length: int = 0
    verified: int = 0
    different: int = 0
    first_difference: int = -1
    missing: int = 0
    missing_tail: int = 0
    repeated: int = 0
    surplus: int = 0
    gap_frames: dict[str, int] = msgspec.field(default_factory=dict)
    not_sent: int = 0
    overruns: int = 0
    ended: bool = False
    end_reason: str = ""
    may_exceed: bool = False

    @property
    def perfect(self) -> bool:
        """The stream has ended, and every sample that was sent is there once, equal to the local decode; no more."""
        beyond = self.surplus if self.may_exceed else 0
        whole = self.verified + self.not_sent + beyond == self.length > 0
        return self.ended and whole and not (self.repeated or self.missing_tail)


class ReaderReady(msgspec.Struct, tag="ready"):
    """The verifier, or the watcher, is attached and looks for streams: for its part calls may begin."""


class VerifierReport(msgspec.Struct, tag="verifier"):
    """Of the verifier: totals while it runs; with `final`, every stream's verdict."""

    streams: int = 0
    verified: int = 0
    failed: str = ""
    verdicts: list[StreamVerdict] = msgspec.field(default_factory=list)
    final: bool = False


class WatcherReport(msgspec.Struct, tag="watcher"):
    """Of the publish watcher: sent → readable of every packet of the watched calls that its readers waited for."""

    publish: Histogram = msgspec.field(default_factory=Histogram)
    failed: str = ""
    final: bool = False


class Finish(msgspec.Struct, tag="finish"):
    """To verifier and watcher: all callers are done. `opened` maps each call that was open to its packets sent."""

    opened: dict[int, int]


Report = CallerReport | ReaderReady | VerifierReport | WatcherReport
