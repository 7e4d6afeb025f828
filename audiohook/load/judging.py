"""Whether what a scenario's streams have in the shared memory, and what the server said, is what the file expects.

Every frame of every stream is accounted for: it is in a gap whose cause is expected, or equal to what was sent for this
instant of media time. Returned are sentences, one for each thing that is not so.
"""

import time
from collections import Counter
from collections.abc import Iterator

import numpy as np

import audiohook
from audiohook.codec import pcmu
from audiohook.codec.opus import OpusDecoder
from audiohook.load.acting import Connection, Record, expected_frames
from audiohook.load.check import Samples
from audiohook.load.scenario import Expect, Scenario
from audiohook.units import NS_PER_S

OVER_WITHIN_NS = 10 * NS_PER_S
BLOCK_FRAMES = 4000
SENT_CAUSES = ("masked",)
"""Gaps in place of audio that was sent."""


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
    if streams:
        wrong += _differs("end of the stream", streams[-1].end_reason, expect.end_reason)
        if expect.continues and not _continue(streams):
            wrong.append("the last stream does not continue the one before, without overlap")
    return wrong


def _differs(what: str, found: object, wanted: object) -> list[str]:
    return [] if found == wanted else [f"{what}: {found or 'none'}; expected {wanted or 'none'}"]


def _streams(hub: audiohook.Hub, participant_id: str, count: int) -> list[audiohook.Stream]:
    """Return the call's streams in the order of their beginnings, all of them over if they end in time."""
    give_up_ns = time.monotonic_ns() + OVER_WITHIN_NS
    while True:
        found = [stream for stream in hub.streams(ended=True) if stream.participant_id == participant_id]
        if (len(found) >= count and all(stream.over for stream in found)) or time.monotonic_ns() > give_up_ns:
            return sorted(found, key=lambda stream: stream.opened_monotonic_ns)
        time.sleep(0.02)


def _compare(stream: audiohook.Stream, connection: Connection, speech: Samples, gaps: Counter[str]) -> Iterator[str]:
    if not stream.over:
        yield "a stream did not end"
        return
    decoded = _decoded(connection.packets, stream.sample_rate)
    equal = different = of_sent = 0
    next_frame = -1
    for block in stream.blocks(BLOCK_FRAMES, start="oldest", on_overrun="skip"):
        frames = len(block.samples)
        if next_frame not in (-1, block.first_frame):
            yield f"{block.first_frame - next_frame} frames were lost by the reader: the ring is shorter than the audio"
        next_frame = block.first_frame + frames
        audio = np.ones(frames, bool)
        for gap in block.gaps:
            low, high = (max(0, edge - block.first_frame) for edge in (gap.first_frame, gap.first_frame + gap.frames))
            audio[low:high] = False
            gap_frames = min(high, frames) - low
            gaps[gap.cause] += gap_frames
            of_sent += gap_frames if gap.cause in SENT_CAUSES else 0
        if stream.codec == "opus":
            wanted = decoded[block.first_frame : block.first_frame + frames]
            wanted = np.concatenate([wanted, np.zeros((frames - len(wanted), 1), np.int16)])
        else:
            wanted = _through_pcmu(expected_frames(speech, block.first_frame, frames))
        same = (block.samples == wanted).all(axis=1)
        equal += int((same & audio).sum())
        different += int((~same & audio).sum())
    if different:
        yield f"{different} frames differ from what was sent"
    sent = connection.sent_frames or len(decoded)
    if equal + different + of_sent != sent:
        yield f"{sent} frames were sent, {equal + different + of_sent} are in the memory"


def _through_pcmu(samples: Samples) -> Samples:
    heard: Samples = pcmu.DECODED[np.frombuffer(pcmu.encode(samples), np.uint8)].reshape(samples.shape)
    return heard


def _decoded(packets: list[bytes], rate_hz: int) -> Samples:
    decoder = OpusDecoder(rate_hz, 1)
    room = np.zeros(decoder.bound_frames, np.int16)
    parts = [room[:0].copy()]
    for packet in packets:
        parts.append(room[: decoder.decode_into(packet, room.ctypes.data)].copy())
    return np.concatenate(parts)[:, np.newaxis]


def _gaps(seconds: dict[str, float], expect: Expect) -> Iterator[str]:
    for cause in sorted(seconds.keys() | expect.gaps.keys() | expect.gaps_at_least.keys()):
        found = seconds.get(cause, 0)
        if cause in expect.gaps_at_least:
            if found < expect.gaps_at_least[cause]:
                yield f"gaps: {cause} {found:g} s; expected at least {expect.gaps_at_least[cause]:g} s"
        elif found != expect.gaps.get(cause, 0):
            yield f"gaps: {cause} {found:g} s; expected {expect.gaps.get(cause, 0):g} s"


def _continue(streams: list[audiohook.Stream]) -> bool:
    if len(streams) < 2:
        return False
    old, new = streams[-2:]
    card = new.card()
    first = next(iter(new.blocks(1, start="oldest")), None)
    tied = (card["continues_slot"], card["continues_epoch"]) == (old.slot, old.epoch)
    return tied and first is not None and first.first_frame == old.totals.length
