"""A run from its options to its figures: the parent of all its processes. This is the library's front door:

    result = run(RunOptions(url="ws://127.0.0.1:8443/", calls=8, seconds=20, verify=True), progress=show)

Order: the audio is encoded; the verifier and the watcher of publish latency attach; only then are callers forked and
calls placed; when every call has ended the verifier is told what was sent, reads on to the ends of the streams, and
reports. SIGINT and SIGTERM are taken over while it runs: the first ends every call properly, the second gives up.

Knows no audio and no memory; it opens no socket (the name of the host is looked up once, here).
"""

import os
import resource
import secrets
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from types import FrameType

import msgspec

from audiohook.load import speech
from audiohook.load.caller import Caller
from audiohook.load.credentials import Credentials
from audiohook.load.errors import LoadError
from audiohook.load.faults.planned import SLOW_TLS, FaultWish
from audiohook.load.faults.planning import with_faults
from audiohook.load.plan import DIALECTS, Plan, make_plan
from audiohook.load.processes import Child, fork_child
from audiohook.load.reports import CallerReport, Finish, ReaderReady, Report, VerifierReport, WatcherReport
from audiohook.load.result import Result, Tally, was_open
from audiohook.load.script import MAX_CLIPS, Scripts, encode_scripts
from audiohook.load.secured import security
from audiohook.load.sent_times import SentTimes
from audiohook.load.target import Target, parse_url
from audiohook.load.verify import verify_streams
from audiohook.load.watch import watch_publishing
from audiohook.session.audiohook2_terms import DIALECT as AUDIOHOOK2
from audiohook.session.context import DIALECT as CONTEXT
from audiohook.units import NS_PER_MS, NS_PER_S

PACKET_NS = 20 * NS_PER_MS
MAX_MESSAGE_MS = 4000
"""Of two channels of PCMU: the protocol's limit is 64,000 bytes."""

SPARE_DESCRIPTORS = 64
ATTACH_WITHIN_NS = 15 * NS_PER_S
TURN_SECONDS = 0.25
"""How often the parent looks at its clock and tells `progress`, if nothing reports."""

HEAD_START_NS = 100 * NS_PER_MS
"""From the epoch's choice to the epoch: the time to fork the callers in."""

Address = tuple[int, tuple[object, ...]]


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to do. Without `audio`, speech is obtained under `var`; without `hub`, `audiohook.attach()` finds it.

    `dialect` is `context`, `audiohook2`, or `mixed`: both in turn. `v2_message_ms` is how much audio a message of
    `audiohook2` carries. `fault`: what is to go wrong with a share of the calls. `ca_file`: whose certificates are
    trusted, instead of those of the system.
    """

    url: str
    calls: int
    seconds: float
    audio: Path | None = None
    verify: bool = False
    hub: str | None = None
    connects_per_second: float = 500.0
    seed: int = 0
    dialect: str = "context"
    v2_message_ms: int = 20
    credentials: Credentials = Credentials()
    fault: FaultWish | None = None
    var: Path = Path("var")
    ca_file: str | None = None


class Progress(msgspec.Struct, frozen=True):
    """How far a run is: told about once a second. `verified` is in samples."""

    run: str
    elapsed_seconds: float
    open_now: int
    done: int
    packets: int
    verified: int
    lateness_p99_ns: int


def run(options: RunOptions, progress: Callable[[Progress], None] | None = None) -> Result:
    """Place the calls of `options` and return the figures; blocks until all is over.

    Raises LoadError if the run cannot be made (bad URL or bounds, no audio, no hub to verify against, more than one
    thread in this process) or a process of it dies; a call that fails is a figure and raises nothing.
    """
    return _Run(options, progress).execute()


class _Run:
    def __init__(self, options: RunOptions, progress: Callable[[Progress], None] | None) -> None:
        self._options = options
        self._progress = progress
        self._target = parse_url(options.url, options.ca_file)
        if self._target.tls:
            security(options.ca_file)  # now, and not in each caller
        self._plan = self._make_plan()
        self._tally = Tally()
        self._children: list[Child] = []
        self._callers: list[Child] = []
        self._ready = 0
        self._verifier: VerifierReport | None = None
        self._watcher: WatcherReport | None = None
        self._interrupted = False
        self._epoch_ns = 0

    def _make_plan(self) -> Plan:
        options = self._options
        if options.dialect not in DIALECTS:
            raise LoadError(f"dialect = {options.dialect}: wanted one of {', '.join(DIALECTS)}")
        if not 1 <= options.v2_message_ms <= MAX_MESSAGE_MS:
            raise LoadError(f"message length = {options.v2_message_ms} ms: wanted 1 to {MAX_MESSAGE_MS}")
        if not options.connects_per_second > 0:
            raise LoadError(f"connects per second = {options.connects_per_second}: wanted more than 0")
        if options.fault is not None and options.fault.kind == SLOW_TLS and not self._target.tls:
            raise LoadError(f"fault = {SLOW_TLS}: wanted a wss:// URL")
        plan = make_plan(
            calls=options.calls,
            seconds=options.seconds,
            processes=len(os.sched_getaffinity(0)),
            dialects=DIALECTS[options.dialect],
            packet_ns=self._packet_ns(),
            ramp_ns=round(options.calls / options.connects_per_second * NS_PER_S),
            token=secrets.token_bytes(16),
            seed=options.seed,
        )
        return plan if options.fault is None else with_faults(plan, options.fault)

    def _packet_ns(self) -> dict[str, int]:
        """Return how long a packet is, by each dialect of this run."""
        lengths = {CONTEXT: PACKET_NS, AUDIOHOOK2: self._options.v2_message_ms * NS_PER_MS}
        return {dialect: lengths[dialect] for dialect in DIALECTS[self._options.dialect]}

    def execute(self) -> Result:
        address = _resolve(self._target)
        _raise_descriptor_limit(-(-len(self._plan.calls) // self._plan.processes))
        folder = self._options.audio or speech.obtain(self._options.var)
        scripts = encode_scripts(speech.load_clips(folder, MAX_CLIPS), self._packet_ns())
        sent_times = SentTimes(self._plan.watched if self._options.verify else ())
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            if self._options.verify:
                self._fork_readers(scripts, sent_times)
                self._turn_until(lambda: self._ready == len(self._children), time.monotonic_ns() + ATTACH_WITHIN_NS)
            self._fork_callers(scripts, sent_times, address)
            self._turn_until(lambda: all(child.finished for child in self._callers))
            self._send_finish()
            self._turn_until(lambda: all(child.finished for child in self._children))
        finally:
            for child in self._children:
                child.end()
            for number, handler in before.items():
                signal.signal(number, handler)
        return self._result()

    # -- processes -----------------------------------------------------------------------------------------------

    def _fork(self, name: str, main: Callable[[int, Callable[[Report], None]], None]) -> Child:
        child = fork_child(name, main, self._children)
        self._children.append(child)
        return child

    def _fork_readers(self, scripts: Scripts, sent_times: SentTimes) -> None:
        hub = self._options.hub
        self._fork("the verifier", partial(verify_streams, self._plan, scripts, hub))
        self._fork("the watcher of publish latency", partial(watch_publishing, self._plan, sent_times, hub))

    def _fork_callers(self, scripts: Scripts, sent_times: SentTimes, address: Address) -> None:
        self._epoch_ns = time.monotonic_ns() + HEAD_START_NS
        cores = sorted(os.sched_getaffinity(0))
        for process in range(self._plan.processes):
            main = partial(self._call, process, cores[process % len(cores)], scripts, sent_times, address)
            self._callers.append(self._fork(f"caller {process}", main))

    def _call(
        self,
        process: int,
        core: int,
        scripts: Scripts,
        sent_times: SentTimes,
        address: Address,
        orders_fd: int,
        tell: Callable[[Report], None],
    ) -> None:
        """Be one caller process, on one core."""
        os.sched_setaffinity(0, {core})
        caller = Caller(
            process=process,
            plan=self._plan,
            scripts=scripts,
            credentials=self._options.credentials,
            target=self._target,
            address=address,
            sent_times=sent_times,
            lifeline=orders_fd,
            reporter=tell,
        )
        caller.run(self._epoch_ns)

    def _send_finish(self) -> None:
        opened = {outcome.call: outcome.packets for outcome in self._tally.outcomes if was_open(outcome)}
        for child in self._children:
            if child not in self._callers:
                child.finish(Finish(opened))

    # -- turns ---------------------------------------------------------------------------------------------------

    def _turn_until(self, over: Callable[[], bool], deadline_ns: int | None = None) -> None:
        """Take in reports until `over`; LoadError when `deadline_ns` comes first."""
        with DefaultSelector() as selector:
            for child in self._children:
                if not child.finished:
                    selector.register(child.reports_fd, EVENT_READ, child)
            while not over():
                if deadline_ns is not None and time.monotonic_ns() > deadline_ns:
                    raise LoadError("no hub could be attached to in time: does the daemon answer?")
                for key, _ in selector.select(TURN_SECONDS):
                    self._take_in(key.data)
                    if key.data.finished:
                        selector.unregister(key.fd)
                if self._interrupted:
                    for caller in self._callers:
                        caller.stop()
                self._show_progress()

    def _take_in(self, child: Child) -> None:
        for report in child.read_reports():
            if isinstance(report, ReaderReady):
                self._ready += 1
                continue
            child.finished = child.finished or report.final
            if isinstance(report, CallerReport):
                self._tally.add(report)
                continue
            if report.failed:
                raise LoadError(f"{child.name}: {report.failed}")
            if isinstance(report, VerifierReport):
                self._verifier = report
            else:
                self._watcher = report

    def _show_progress(self) -> None:
        if self._progress is None or not self._callers:
            return
        self._progress(
            Progress(
                run=self._plan.run,
                elapsed_seconds=max(0, time.monotonic_ns() - self._epoch_ns) / NS_PER_S,
                open_now=self._tally.total("open_now"),
                done=len(self._tally.outcomes),
                packets=self._tally.total("packets"),
                verified=0 if self._verifier is None else self._verifier.verified,
                lateness_p99_ns=self._tally.merged("lateness").p99_ns,
            )
        )

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True

    def _result(self) -> Result:
        return self._tally.result(
            run=self._plan.run,
            url=self._options.url,
            calls=self._options.calls,
            returns=len(self._plan.returns),
            seconds=self._options.seconds,
            dialect=self._options.dialect,
            processes=self._plan.processes,
            interrupted=self._interrupted,
            verifier=self._verifier,
            watcher=self._watcher,
        )


def _resolve(target: Target) -> Address:
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise LoadError(f"{target.host} cannot be found: {error.strerror}") from None
    family, _, _, _, address = found[0]
    return family, address


def _raise_descriptor_limit(calls_a_process: int) -> None:
    """Raise the soft limit to the hard one; LoadError if even that has no room for the calls of one process."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and calls_a_process + SPARE_DESCRIPTORS > hard:
        raise LoadError(
            f"{calls_a_process} calls a process need {calls_a_process + SPARE_DESCRIPTORS} descriptors, "
            f"the hard limit is {hard}: place fewer calls, or raise it (ulimit -Hn)"
        )
