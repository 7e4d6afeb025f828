"""`audiohookctl status` for people: lines of text out of the values that `--json` prints."""

from typing import Any

from audiohook.cli.status_tls import render_tls
from audiohook.errors import REFUSALS

LOSSES = ("concealed_packets", "empty_messages", "shed_messages", "worker_died", "hung", "no_audio", "degraded")
MOST_STREAMS = 40
_REFUSALS = tuple(refusal.slug for refusal in REFUSALS)


def render_status(status: dict[str, Any]) -> str:
    """Return the page."""
    megabytes = status["arena_bytes"] / 1e6
    up = duration(status["uptime_seconds"])
    lines = [
        f"audiohookd {status['state']}, supervisor {status['supervisor_pid']}, up {up}, hub {status['hub']}",
        f"memory {megabytes:.0f} MB: {status['slots']} slots of {status['ring_seconds']:.1f} s; "
        + ", ".join(f"{count} {name.lower()}" for name, count in status["slots_by_state"].items()),
        *_generations(status["generations"]),
        "",
        *_rows(status["rows"]),
        "",
        *_sums(status["rows"]),
        *render_tls(status["tls"]),
        "",
        *_streams(status["streams"]),
    ]
    return "\n".join(lines)


def duration(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    return f"{hours} h {rest // 60:02} min" if hours else f"{rest // 60} min {rest % 60:02} s"


def _generations(generations: list[dict[str, Any]]) -> list[str]:
    return [
        f"generation {one['generation']} {'takes new calls' if one['current'] else 'keeps its calls to their end'}: "
        f"{one['workers']} workers, {one['calls']} calls"
        for one in generations
    ]


def _rows(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["row  kind        pid      gen  state      calls  beat ms  streams   packets  lag p99    Pss MB   CPU s"]
    for row in rows:
        counters, process, lag_ns = row["counters"], row["process"] or {}, row["p99"]["loop_lag_ns"]
        pss = f"{process['pss_bytes'] / 1e6:8.1f}" if process else "       -"
        cpu = f"{process['cpu_seconds']:7.1f}" if process else "      -"
        lag = "      -" if lag_ns is None else f"{lag_ns / 1e6:4.1f} ms"
        lines.append(
            f"{row['row']:<4} {row['kind']:<11} {row['pid'] or '-':<8} {row['generation']:<4} {row['state']:<10} "
            f"{row['live']:>5}  {row['heartbeat_age_ms']:>7}  {counters['streams_opened']:>7}  "
            f"{counters['packets']:>8}  {lag}  {pss}  {cpu}"
        )
    return lines


def _sums(rows: list[dict[str, Any]]) -> list[str]:
    sums: dict[str, int] = {}
    for row in rows:
        for name, value in row["counters"].items():
            sums[name] = sums.get(name, 0) + value
    losses = ", ".join(f"{name} {sums[name]}" for name in LOSSES if sums[name]) or "none"
    refused = ", ".join(f"{name} {sums[name]}" for name in _REFUSALS if sums[name]) or "none"
    return [f"losses   {losses}", f"refused  {refused}"]


def _streams(streams: list[dict[str, Any]]) -> list[str]:
    if not streams:
        return ["no streams"]
    lines = ["stream    call      direction  state    row   seconds  concealed   gaps s  ended by"]
    for stream in streams[-MOST_STREAMS:]:
        rate = stream["rate_hz"]
        gaps = sum(stream["gaps_frames"].values()) / rate
        state = "DEGRADED" if stream["degraded"] and stream["state"] == "LIVE" else stream["state"]
        lines.append(
            f"{stream['stream'][:8]}  {stream['call'][:8]}  {stream['direction']:<9}  {state:<8} {stream['row']:>3}  "
            f"{stream['length_seconds']:>8.1f}  {stream['concealed_frames'] / rate:>7.2f} s  {gaps:>7.2f}  "
            f"{_end(stream)}"
        )
    if len(streams) > MOST_STREAMS:
        lines.append(f"… and {len(streams) - MOST_STREAMS} older ones")
    return lines


def _end(stream: dict[str, Any]) -> str:
    """Return why a stream ended, and what became of its call; of a PARKED one why its peer left, and how it stands."""
    notes = [stream["end_reason"]]
    if stream["parked_seconds_left"] is not None:
        notes.append(f"kept for {duration(int(stream['parked_seconds_left']))}")
    if stream["expected_seconds_left"] is not None:
        notes.append(f"expected within {duration(int(stream['expected_seconds_left']))}")
    if stream["continued_by"] is not None:
        notes.append(f"goes on in {stream['continued_by'][:8]}")
    if stream["continues"] is not None:
        notes.append(f"goes on from {stream['continues'][:8]}")
    return ", ".join(filter(None, notes))
