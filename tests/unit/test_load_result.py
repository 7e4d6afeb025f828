"""When a run counts as good, and that the table and the JSON say what was found."""

import json

import msgspec
import pytest

from audiohook.load.histogram import Histogram
from audiohook.load.reports import CallerReport, CallOutcome, Ending, StreamVerdict, VerifierReport, WatcherReport
from audiohook.load.result import Result, Tally
from audiohook.load.table import json_of, table_of
from audiohook.units import NS_PER_MS


def histogram(*values_ns: int) -> Histogram:
    counted = Histogram()
    for value_ns in values_ns:
        counted.record(value_ns)
    return counted


def outcome(call: int, ending: Ending = "completed", detail: str = "", *, connect_ns: int = 5) -> CallOutcome:
    return CallOutcome(call, ending, detail, packets=50, connect_ns=connect_ns, opened=connect_ns > 0)


def verdict(call: int, **changes: object) -> StreamVerdict:
    good = StreamVerdict(call, f"id-{call}", 8000, length=8000, verified=8000, ended=True, end_reason="peer_closed")
    return msgspec.structs.replace(good, **changes)


def result(
    outcomes: list[CallOutcome],
    verdicts: list[StreamVerdict] | None = None,
    *,
    late_ns: int = NS_PER_MS,
    publish_ns: int = NS_PER_MS,
    dialect: str = "context",
    faults: dict[str, int] | None = None,
    returns: int = 0,
) -> Result:
    tally = Tally()
    for process in (0, 1):
        report = CallerReport(process, outcomes=outcomes[process::2], wire_bytes=1000, final=True)
        report.lateness = histogram(*[late_ns] * 100)
        report.open = histogram(3 * NS_PER_MS)
        report.faults = faults or {}
        tally.add(report)
    return tally.result(
        run="load-1",
        url="ws://h/",
        calls=len(outcomes) - returns,
        returns=returns,
        seconds=1.0,
        dialect=dialect,
        processes=2,
        interrupted=False,
        verifier=None if verdicts is None else VerifierReport(verdicts=verdicts, final=True),
        watcher=None if verdicts is None else WatcherReport(histogram(publish_ns)),
    )


def test_a_run_in_which_all_is_well_is_ok() -> None:
    found = result([outcome(0), outcome(1)], [verdict(0), verdict(1)])
    assert found.ok
    assert found.every_sample_verified
    assert not found.client_late
    assert (found.packets, found.wire_bytes, found.lateness.count) == (100, 2000, 200)


def test_without_verify_nothing_is_claimed_to_be_verified() -> None:
    found = result([outcome(0)])
    assert found.ok
    assert not found.every_sample_verified
    assert "verified" not in table_of(found)


@pytest.mark.parametrize(
    "ending", ["interrupted", "refused", "connect_failed", "not_opened", "ended_by_server", "lost", "close_unanswered"]
)
def test_a_call_that_did_not_run_to_its_end_fails_the_run(ending: Ending) -> None:
    found = result([outcome(0), outcome(1, ending, "why")])
    assert not found.ok
    assert found.endings == {"completed": 1, ending: 1}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"verified": 7999, "different": 1, "first_difference": 77}, "1 different, the first at 77"),
        ({"verified": 7990, "missing": 10}, "10 missing"),
        ({"missing_tail": 160}, "160 missing at the end"),
        ({"repeated": 5}, "frames that came twice"),
        ({"verified": 7840, "gap_frames": {"dropped": 160}}, "gaps: dropped: 160"),
        ({"verified": 7840, "surplus": 160}, "frames beyond the plan"),
        ({"ended": False}, "its end was not seen"),
    ],
)
def test_a_stream_that_is_not_perfect_fails_the_run_and_is_told(changes: dict[str, object], said: str) -> None:
    found = result([outcome(0), outcome(1)], [verdict(0), verdict(1, **changes)])
    assert not found.ok
    assert not found.every_sample_verified
    assert found.verification is not None
    assert [one.call for one in found.verification.imperfect] == [1]
    assert said in table_of(found)
    assert "call 1 (stream id-1)" in table_of(found)
    assert "call 0" not in table_of(found)


def test_a_call_that_was_open_and_has_no_stream_fails_the_run() -> None:
    found = result([outcome(0), outcome(1)], [verdict(0)])
    assert found.verification is not None
    assert found.verification.absent == 1
    assert not found.ok


def test_a_call_that_was_never_open_needs_no_stream_but_the_run_is_not_ok() -> None:
    found = result([outcome(0), outcome(1, "refused", "503", connect_ns=0)], [verdict(0)])
    assert found.every_sample_verified
    assert not found.ok
    assert "503: 1" in table_of(found)


def test_nothing_verified_is_not_everything_verified() -> None:
    assert not result([outcome(0)], []).every_sample_verified
    assert not result([outcome(0)], [verdict(0, length=0, verified=0)]).every_sample_verified


def test_what_the_client_itself_left_out_is_no_loss() -> None:
    """A pause prolongs the stream; everything that was sent is there."""
    paused = verdict(0, length=9000, verified=8000, gap_frames={"paused": 1000}, not_sent=1000)
    assert paused.perfect
    assert not verdict(0, length=9000, verified=7999, gap_frames={"paused": 1000}, not_sent=1000).perfect
    found = result([outcome(0)], [paused])
    assert found.ok
    assert "paused: 1,000 frames" in table_of(found)


def test_a_fault_of_the_server_fails_the_run_and_is_told() -> None:
    found = result([outcome(0), outcome(1)], dialect="audiohook2", faults={"seq out of turn": 2})
    assert found.all_completed
    assert not found.ok
    assert "seq out of turn: 4" in table_of(found)


def test_opened_is_shown_where_there_is_such_a_thing() -> None:
    assert "open → opened" not in table_of(result([outcome(0)]))
    shown = json.loads(json_of(result([outcome(0)], dialect="mixed")))
    assert shown["open"] == dict.fromkeys(("p50_ns", "p99_ns", "p999_ns", "max_ns"), 3 * NS_PER_MS) | {"count": 2}


def test_a_late_client_says_that_its_figures_are_void() -> None:
    assert "figures are void" not in table_of(result([outcome(0)], late_ns=15 * NS_PER_MS))
    late = result([outcome(0)], late_ns=25 * NS_PER_MS)
    assert late.client_late
    assert "figures are void" in table_of(late)


def test_a_run_with_a_fault_is_told_by_its_parts() -> None:
    dropped = msgspec.structs.replace(outcome(0, "faulted", "dropped"), fault="mass-reconnect")
    waited = {"connect_ns": 40 * NS_PER_MS, "open_ns": 20 * NS_PER_MS, "recovered_ns": 300 * NS_PER_MS}
    again = msgspec.structs.replace(outcome(2), fault="returned", **waited)
    verdicts = [verdict(0), verdict(1, missing_tail=160), verdict(2, gap_frames={"lost": 80})]
    found = result([dropped, outcome(1), again], verdicts, returns=1)
    assert found.all_completed
    assert [(part.name, part.calls, part.lost) for part in found.parts] == [
        ("mass-reconnect", 1, {}),
        ("returned", 1, {"lost": 80}),
        ("others", 1, {"missing": 160}),
    ]
    assert found.parts[1].answered.count == 1
    assert found.parts[1].answered.max_ns == 60 * NS_PER_MS
    table = table_of(found)
    rows = [line.split() for line in table.splitlines()[-3:]]
    assert rows[0] == ["mass-reconnect", "1", "0", "0", "-", "faulted", "(dropped):", "1"]
    assert "p50 300.0 ms, max 300.0 ms (1)" in table
    assert "missing: 160" in table
    assert "fault  " not in table_of(result([outcome(0)]))


def test_a_call_that_came_back_and_was_refused_fails_the_run_and_its_part() -> None:
    again = msgspec.structs.replace(outcome(1, "refused", "503", connect_ns=0), fault="returned")
    dropped = msgspec.structs.replace(outcome(0, "faulted", "dropped"), fault="mass-reconnect")
    found = result([dropped, again], returns=1)
    assert not found.ok
    assert found.parts[1].refused == {"503": 1}
    assert found.parts[1].lost is None


def test_an_unrecovered_call_fails_the_run() -> None:
    found = result([outcome(0), msgspec.structs.replace(outcome(1, "unrecovered", "why"), fault="half-open")])
    assert not found.ok
    assert "not recovered from it" in table_of(found)


def test_what_is_heard_of_garbage_is_neither_right_nor_wrong() -> None:
    heard = verdict(0, verified=7000, surplus=1000, may_exceed=True)
    assert heard.perfect
    assert not verdict(0, verified=7000, surplus=1000).perfect
    assert not verdict(0, verified=6999, different=1, surplus=1000, may_exceed=True).perfect


def test_many_bad_streams_are_cut_short_in_the_table_and_whole_in_the_json() -> None:
    calls = range(30)
    found = result([outcome(call) for call in calls], [verdict(call, missing_tail=1) for call in calls])
    assert "… and 20 more" in table_of(found)
    assert len(json.loads(json_of(found))["verification"]["imperfect"]) == 30


def test_the_json_is_the_result_and_its_verdict() -> None:
    found = result([outcome(0), outcome(1)], [verdict(0), verdict(1)], publish_ns=3 * NS_PER_MS)
    shown = json.loads(json_of(found))
    assert shown["ok"] is True
    assert shown["client_late"] is False
    assert shown["every_sample_verified"] is True
    assert shown["publish"]["max_ns"] == 3 * NS_PER_MS
    assert shown["verification"]["verified"] == 16000


def test_reports_survive_the_pipe() -> None:
    report = CallerReport(1, outcomes=[outcome(3, "refused", "503")], lateness=histogram(5, 10**9))
    assert msgspec.json.decode(msgspec.json.encode(report), type=CallerReport) == report
