"""The one table at the end of a run, for people; `result.Result` as JSON is the same for programs. Pure.

A line says what was measured and where: "sent → readable" is from just before the send to the moment at which another
process has the samples in its hands.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from audiohook.load.faults.figures import Part
from audiohook.load.histogram import Quantiles
from audiohook.load.reports import StreamVerdict
from audiohook.load.result import Result, Verification
from audiohook.units import NS_PER_MS

LABEL_COLUMNS = 26
SHOWN_VERDICTS = 10


def json_of(result: Result) -> str:
    """Return the result as one JSON object: its fields, and what its properties say."""
    fields = msgspec.to_builtins(result)
    fields["ok"] = result.ok
    fields["all_completed"] = result.all_completed
    fields["client_late"] = result.client_late
    fields["every_sample_verified"] = result.every_sample_verified
    return msgspec.json.format(msgspec.json.encode(fields), indent=2).decode()


def table_of(result: Result) -> str:
    """Return the result as lines of text."""
    lines = [f"{label:<{LABEL_COLUMNS}}{value}" for label, value in _rows(result)]
    if result.verification is not None:
        lines += _failures(result.verification)
    if result.parts:
        lines += ["", *_parts(result.parts)]
    if result.client_late:
        lines.append(
            "THE CLIENT ITSELF WAS LATE (p99 above 20 ms): the figures are void; place fewer calls or use more cores"
        )
    return "\n".join(lines)


def _rows(result: Result) -> Iterator[tuple[str, str]]:
    yield "run", f"{result.run}  {result.url}"
    yield "calls", f"{result.calls} of {result.seconds:g} s, {result.dialect}, {result.processes} client processes"
    yield "ran to their end", f"{result.endings.get('completed', 0)}"
    if result.endings.get("faulted"):
        yield "ended by their fault", f"{result.endings['faulted']}"
    if result.endings.get("unrecovered"):
        yield "not recovered from it", f"{result.endings['unrecovered']}"
    if result.endings.get("interrupted"):
        yield "interrupted by you", f"{result.endings['interrupted']}"
    if result.endings.get("close_unanswered"):
        yield "close never answered", f"{result.endings['close_unanswered']}"
    for label, counts in (
        ("refused, by status", result.refused),
        ("not connected", result.connect_failed),
        ("not opened", result.not_opened),
        ("ended by server", result.ended_by_server),
        ("lost without a close", result.lost),
        ("faults of the server", result.faults),
    ):
        if counts:
            yield label, _counts(counts)
    yield "packets", f"{result.packets:,}"
    yield "bytes", f"{result.wire_bytes:,} (frames of audio, as sent)"
    if result.stalled:
        yield "packets that had to wait", f"{result.stalled:,} (no room in the kernel: the server reads too slowly)"
    yield "connect → 101", _times(result.connect)
    if result.open is not None:
        yield "open → opened", _times(result.open)
    if result.pong is not None:
        yield "ping → pong", _times(result.pong)
    if result.publish is not None:
        yield "sent → readable", _times(result.publish)
    yield "own lateness", _times(result.lateness)
    if result.verification is not None:
        yield from _verification_rows(result.verification)


def _verification_rows(found: Verification) -> Iterator[tuple[str, str]]:
    yield "verified frames", f"{found.verified:,} in {found.streams} streams, {found.perfect} of them perfect"
    yield "gaps, by cause", _counts(found.gaps, " frames") if found.gaps else "none"
    for label, count in (
        ("different frames", found.different),
        ("missing frames", found.missing),
        ("missing at the end", found.missing_tail),
        ("frames that came twice", found.repeated),
        ("frames beyond the plan", found.surplus),
        ("overruns of the verifier", found.overruns),
        ("calls without a stream", found.absent),
    ):
        if count:
            yield label, f"{count:,}"


def _parts(parts: Sequence[Part]) -> list[str]:
    rows = [("fault", "calls", "refused", "frames lost, by cause", "recovered after", "ended")]
    rows += [
        (
            part.name,
            f"{part.calls:,}",
            _counts(part.refused) or "0",
            "not verified" if part.lost is None else _counts(part.lost) or "0",
            _recovered(part.recovered),
            _counts(part.endings),
        )
        for part in parts
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _recovered(times: Quantiles) -> str:
    if not times.count:
        return "-"
    return f"p50 {times.p50_ns / NS_PER_MS:.1f} ms, max {times.max_ns / NS_PER_MS:.1f} ms ({times.count:,})"


def _failures(found: Verification) -> list[str]:
    lines = [_failure(verdict) for verdict in found.imperfect[:SHOWN_VERDICTS]]
    more = len(found.imperfect) - len(lines)
    return [*lines, f"… and {more} more"] if more else lines


def _failure(verdict: StreamVerdict) -> str:
    facts = [f"{verdict.verified:,} of {verdict.length:,} frames verified"]
    if verdict.first_difference >= 0:
        facts.append(f"{verdict.different:,} different, the first at {verdict.first_difference:,}")
    if verdict.missing:
        facts.append(f"{verdict.missing:,} missing")
    if verdict.missing_tail:
        facts.append(f"{verdict.missing_tail:,} missing at the end")
    if verdict.gap_frames:
        facts.append(f"gaps: {_counts(verdict.gap_frames)}")
    facts.append(f"ended: {verdict.end_reason or 'yes'}" if verdict.ended else "its end was not seen")
    return f"call {verdict.call} (stream {verdict.stream_id}): {'; '.join(facts)}"


def _counts(counts: Mapping[str, int], unit: str = "") -> str:
    return ", ".join(f"{name}: {count:,}{unit}" for name, count in sorted(counts.items()))


def _times(times: Quantiles) -> str:
    if not times.count:
        return "nothing measured"
    shown = (
        f"{name} {value / NS_PER_MS:.2f} ms"
        for name, value in (
            ("p50", times.p50_ns),
            ("p99", times.p99_ns),
            ("p99.9", times.p999_ns),
            ("max", times.max_ns),
        )
    )
    return f"{'  '.join(shown)}  ({times.count:,})"
