"""Whether what a scenario's streams have in the shared memory, and what the server said, is what the file expects.

A scenario is one call and may have several streams, one after another, as its connection came back. Every frame of each
is accounted for: it is in a gap whose cause is expected, or equal to what was sent for it (`wanted.py`). Where a stream
is to continue the one before, both must say so, and the new one must begin at the frame at which the old one ended,
with the gap, if there is one, first. Returned are sentences, one for each thing that is not so.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import audiohook
from audiohook.errors import ReaderError
from audiohook.load.acting import Connection, Record
from audiohook.load.check import Samples
from audiohook.load.scenario import Expect, Scenario
from audiohook.load.wanted import Wanted, wanted_of
from audiohook.units import NS_PER_S

OVER_WITHIN_NS = 10 * NS_PER_S
READ_SECONDS = 600
"""More than a scenario has; what is older than the daemon's ring is missed and told."""

CHUNK_FRAMES = 4000
OF_SENT = frozenset({"masked", "held", "dropped"})
"""Causes of gaps in place of audio that was sent, unless a clock has measured them."""


def judge(scenario: Scenario, record: Record, hub: audiohook.Hub, speech: Samples) -> list[str]:
    """Return what is not as it should be; nothing is good."""
    expect = scenario.expect
    wrong = [f"fault of the server: {fault}" for fault in record.faults]
    wrong += _differs("refused with", record.refused, expect.refused)
    wrong += _differs("disconnect", record.disconnect, expect.disconnect)
    wrong += _differs("close frame of the server", record.close_code, expect.close_code)
    connections = [connection for connection in record.connections if connection.opened]
    streams = _streams(hub, record.participant_id, len(connections))
    wrong += _differs("streams", len(streams), expect.streams)
    if len(streams) != len(connections):
        return [*wrong, f"{len(connections)} connections were opened, {len(streams)} streams are there"]
    gaps: Counter[str] = Counter()
    for stream, connection in zip(streams, connections, strict=True):
        wrong += _compare(stream, connection, speech, gaps)
    rate_hz = streams[-1].sample_rate if streams else 1
    wrong += _gaps({cause: frames / rate_hz for cause, frames in gaps.items()}, expect)
    wrong += _continuing(streams, expect.continues)
    if streams:
        wrong += _differs("end of the stream", streams[-1].end_reason, expect.end_reason)
        state = streams[-1].state
        wrong += _differs("the last stream", state, "PARKED" if expect.parked else "ENDED")
    return wrong


def _differs(what: str, found: object, wanted: object) -> list[str]:
    return [] if found == wanted else [f"{what}: {found or 'none'}; expected {wanted or 'none'}"]


def _streams(hub: audiohook.Hub, participant_id: str, count: int) -> list[audiohook.Stream]:
    """Return the call's streams in the order of their beginnings, to which nothing is added any more, if in time."""
    give_up_ns = time.monotonic_ns() + OVER_WITHIN_NS
    while True:
        found = [stream for stream in hub.streams(ended=True) if stream.participant_id == participant_id]
        if (len(found) >= count and all(map(_settled, found))) or time.monotonic_ns() > give_up_ns:
            return sorted(found, key=lambda stream: stream.opened_monotonic_ns)
        time.sleep(0.02)


def _settled(stream: audiohook.Stream) -> bool:
    """A PARKED stream, too, gets nothing more: who comes back for it gets another."""
    return stream.over or stream.state == "PARKED"


# ------------------------------------------------------------------------------------------------ audio


def _compare(stream: audiohook.Stream, connection: Connection, speech: Samples, gaps: Counter[str]) -> Iterator[str]:
    """Compare a stream with what its connection has sent, and add its gaps up."""
    if not _settled(stream):
        yield "a stream did not end"
        return
    try:
        # At once, and not in a loop of blocks: that would wait for the next one of a PARKED stream.
        block = stream.latest(READ_SECONDS)
    except ReaderError as error:
        yield f"a stream cannot be read: {error}"
        return
    missed = stream.totals.length - len(block.samples)
    if missed:
        yield f"{missed} frames were lost by the reader: the ring is shorter than the audio"
    wanted = wanted_of(stream, connection, speech)
    heard, different = _heard(block, wanted, gaps)
    if different:
        yield f"{different} frames differ from what was sent"
    if heard != wanted.sent_frames:
        yield f"{wanted.sent_frames} frames were sent, {heard} are in the memory"


def _heard(block: audiohook.Block, wanted: Wanted, gaps: Counter[str]) -> tuple[int, int]:
    """Return how many frames of a block are of what was sent, and how many of these differ from it."""
    heard = different = 0
    place = block.first_frame
    for gap in block.gaps:
        different += _different(block, wanted, place, gap.first_frame)
        heard += gap.first_frame - place
        gaps[gap.cause] += gap.frames
        if gap.cause in OF_SENT and not gap.measured:
            heard += gap.frames
            wanted.pass_over(gap)
        place = gap.first_frame + gap.frames
    end = block.first_frame + len(block.samples)
    return heard + end - place, different + _different(block, wanted, place, end)


def _different(block: audiohook.Block, wanted: Wanted, first_frame: int, end_frame: int) -> int:
    different = 0
    for place in range(first_frame, end_frame, CHUNK_FRAMES):
        frames = min(CHUNK_FRAMES, end_frame - place)
        at = place - block.first_frame
        different += int((block.samples[at : at + frames] != wanted.take(place, frames)).any(axis=1).sum())
    return different


def _gaps(seconds: dict[str, float], expect: Expect) -> Iterator[str]:
    for cause in sorted(seconds.keys() | expect.gaps.keys() | expect.gaps_at_least.keys()):
        found = seconds.get(cause, 0)
        if cause in expect.gaps_at_least:
            if found < expect.gaps_at_least[cause]:
                yield f"gaps: {cause} {found:g} s; expected at least {expect.gaps_at_least[cause]:g} s"
        elif found != expect.gaps.get(cause, 0):
            yield f"gaps: {cause} {found:g} s; expected {expect.gaps.get(cause, 0):g} s"


# ------------------------------------------------------------------------------------------------ streams in order


def _continuing(streams: Sequence[audiohook.Stream], expected: bool) -> Iterator[str]:
    """Say where a stream does not continue the one before, or does and should not."""
    if expected and len(streams) < 2:
        yield "the last stream does not continue the one before: there is one at most"
    for number, (old, new) in enumerate(pairwise(streams), 2):
        cards = old.card(), new.card()
        tied = (cards[1]["continues_slot"], cards[1]["continues_epoch"]) == (old.slot, old.epoch)
        if tied != expected:
            yield f"stream {number} {'continues' if tied else 'does not continue'} the one before"
            continue
        if not expected:
            continue
        if (cards[0]["continued_by_slot"], cards[0]["continued_by_epoch"]) != (new.slot, new.epoch):
            yield f"stream {number - 1} does not say that stream {number} continues it"
        end = cards[0]["media_base"] + old.totals.length
        if cards[1]["media_base"] != end:
            yield f"stream {number} begins at frame {cards[1]['media_base']}; the one before ended at {end}"
