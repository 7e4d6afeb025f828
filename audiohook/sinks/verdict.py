"""The JSON beside a recording: who it was, what the recording has of it, and how it ended.

Written when a recording begins and when it ends, each time as a whole. `complete` says whether the stream has been read
to its end; a recording whose verdict says no was interrupted, or is being written, and a recorder that finds the stream
still there goes on with it. A peer that comes back has a stream and a recording of its own: `continues` and
`continued_by` are the ids of the streams before and after, null where there is none or it is not known any more. Times
are UTC; frames count at the stream's own rate, from the stream's first frame.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import audiohook
from audiohook.memory.timeline import Gap, append_gap
from audiohook.sinks.wav import PRIVATE
from audiohook.units import NS_PER_S

MAX_GAPS = 10_000
"""Gaps listed one by one; a stream with more has the rest in its totals only, and `gaps_not_listed` counts them."""

MAX_VERDICT_BYTES = 16 << 20

IDENTITIES = {
    "stream": "stream_id",
    "call": "call_id",
    "session": "session_id",
    "user": "user_id",
    "participant": "participant_id",
    "organization": "organization_id",
    "direction": "direction",
    "ani": "ani",
    "dnis": "dnis",
    "source": "source_address",
    "dialect": "dialect",
    "codec": "codec",
    "framing": "framing",
}


@dataclass
class Recorded:
    """What a recorder knows of its own work on one stream. `first_frame` is the stream's frame at the file's start."""

    first_frame: int = 0
    lost_frames: int = 0
    unwritten_frames: int = 0
    gaps: list[Gap] = field(default_factory=list)
    gaps_not_listed: int = 0

    def add_gap(self, gap: Gap) -> None:
        before = len(self.gaps)
        append_gap(self.gaps, gap)
        if len(self.gaps) > max(before, MAX_GAPS):
            self.gaps.pop()
            self.gaps_not_listed += 1


def describe(stream: audiohook.Stream) -> dict[str, Any]:
    """Return the part of a verdict that never changes. To be taken at the beginning: cards are wiped in the end."""
    card, earlier = stream.card(), stream.continues
    return {
        **{name: str(card[text]) for name, text in IDENTITIES.items()},
        "continues": None if earlier is None else str(earlier.stream_id),
        "rate_hz": stream.sample_rate,
        "channels": list(stream.channel_names),
        "opened": _utc(stream.opened_realtime_ns).isoformat(),
    }


def name_values(described: dict[str, Any]) -> dict[str, str]:
    """Return the values for a file's name."""
    opened = datetime.fromisoformat(described["opened"])
    return {**described, "start": opened.strftime("%Y%m%dT%H%M%SZ"), "date": opened.strftime("%Y-%m-%d")}


def verdict(
    stream: audiohook.Stream, described: dict[str, Any], recorded: Recorded, frames: int, *, complete: bool
) -> dict[str, Any]:
    """Return the whole verdict of a file of `frames` frames, as it is now."""
    over, card, later = stream.over, stream.card(), stream.continued_by
    ended_ns = 0
    if over and card["ended_monotonic_ns"]:  # a PARKED one has the time at which it was left there
        ended_ns = card["opened_realtime_ns"] + card["ended_monotonic_ns"] - card["opened_monotonic_ns"]
    return {
        **described,
        "ended": _utc(ended_ns).isoformat() if ended_ns else None,
        "complete": complete,
        "state": stream.state,
        "end_reason": stream.end_reason or None,
        "close_code": stream.close_code,
        "close_reason": stream.close_reason or None,
        "continued_by": None if later is None else str(later.stream_id),
        "frames": frames,
        "totals": asdict(stream.totals),
        **asdict(recorded),
    }


def write_verdict(path: str, content: dict[str, Any]) -> None:
    """Write a verdict, for its owner only, so that a reader finds the old one or the new one, whole. Raises OSError."""
    folder, name = os.path.split(path)
    new = os.path.join(folder, f".{name}.new")
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.write("\n")
        os.rename(new, path)
    except BaseException:
        os.unlink(new)
        raise


def read_verdict(path: str) -> dict[str, Any] | None:
    """Return a verdict, None if there is none or something else has its name."""
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read(MAX_VERDICT_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and isinstance(content.get("stream"), str) else None


def recorded_of(content: dict[str, Any]) -> Recorded | None:
    """Return what a verdict says of the recorder's work, None if it is not there as we write it."""
    try:
        gaps = [
            Gap(int(gap["first_frame"]), int(gap["frames"]), str(gap["cause"]), bool(gap.get("measured")))
            for gap in content["gaps"]
        ]
        return Recorded(
            int(content["first_frame"]),
            int(content["lost_frames"]),
            int(content["unwritten_frames"]),
            gaps,
            int(content["gaps_not_listed"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _utc(realtime_ns: int) -> datetime:
    return datetime.fromtimestamp(realtime_ns / NS_PER_S, UTC)
