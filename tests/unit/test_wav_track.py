"""One stream's recording, from a real ring into a real file: gaps, losses, refusals, going on after an interruption.

The audio is known by its place (`known_samples`), so a frame at the wrong place of the file is seen.
"""

import json
import logging
import os
import stat
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiohook.memory import layout
from audiohook.memory.cards import update_card
from audiohook.memory.stream import Stream
from audiohook.sinks.disk import Disk
from audiohook.sinks.naming import DEFAULT_PATTERN
from audiohook.sinks.track import Track, find_place
from audiohook.sinks.verdict import MAX_GAPS, Recorded
from audiohook.sinks.wav import HEADER_BYTES
from tests.support.memory import Bench, KnownWriter, Samples, bench, known_samples
from tests.support.returning import come_back, give_away, leave


@pytest.fixture
def house() -> Iterator[Bench]:
    with bench() as made:
        yield made


class Recording:
    """A recorder's track of one stream, and what it has left in its folder."""

    def __init__(self, folder: Path, known: KnownWriter, stream: Stream) -> None:
        self.folder, self.known, self.stream = folder, known, stream
        self.track = self.begin()

    def begin(self) -> Track:
        path, earlier = find_place(str(self.folder), DEFAULT_PATTERN, self.stream)
        self.path = Path(path)
        return Track(self.stream, path, earlier, Disk())

    def put(self, *blocks: Any) -> None:
        for block in blocks:
            self.track.put(block.first_frame, block.samples, block.gaps)

    def heard(self) -> Samples:
        with wave.open(str(self.path), "rb") as file:
            assert file.getframerate() == self.known.rate_hz
            assert file.getnchannels() == self.known.channels
            data = file.readframes(file.getnframes())
        return np.frombuffer(data, np.int16).reshape(-1, self.known.channels)

    @property
    def verdict(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.path.with_suffix(".json").read_text())
        return found


def recording(house: Bench, folder: Path, channels: int = 1, rate_hz: int = 16_000) -> Recording:
    known = KnownWriter(house.arena, house.pool, channels=channels, rate_hz=rate_hz)
    names = "external,internal" if channels == 2 else "external"
    texts: dict[str, Any] = {"stream_id": "0b-1", "call_id": "call/1", "direction": "inbound", "channel_names": names}
    # 2026-01-02T03:04:05Z
    update_card(house.arena, known.slot, opened_realtime_ns=1_767_323_045 * 10**9, ani="+491234", **texts)
    return Recording(folder, known, house.stream(known.slot))


@pytest.mark.parametrize("channels", [1, 2])
def test_audio_and_gaps_in_their_places(house: Bench, tmp_path: Path, channels: int) -> None:
    made = recording(house, tmp_path / "new" / "er", channels)
    known = made.known
    known.audio(500)
    known.gap(300, layout.PAUSE)
    known.audio(400)
    known.gap(1200, layout.LOSS)
    known.audio(100)
    known.end(end_reason="peer_closed", close_code=1000, close_reason="bye")
    made.put(*made.stream.blocks(320, start="oldest", copy=True))
    made.track.finish(complete=True)
    heard = made.heard()
    assert len(heard) == 2500
    for first, frames in ((0, 500), (800, 400), (2400, 100)):
        assert np.array_equal(heard[first : first + frames], known_samples(first, frames, channels))
        heard = heard.copy()
        heard[first : first + frames] = 0
    assert not heard.any()
    assert made.path.name == "20260102T030405Z-call_1-inbound-0b-1.wav"
    verdict = made.verdict
    assert {key: verdict[key] for key in ("stream", "call", "direction", "ani")} == {
        "stream": "0b-1",
        "call": "call/1",
        "direction": "inbound",
        "ani": "+491234",
    }
    assert (verdict["complete"], verdict["state"], verdict["end_reason"]) == (True, "ENDED", "peer_closed")
    assert (verdict["close_code"], verdict["close_reason"]) == (1000, "bye")
    assert (verdict["rate_hz"], verdict["channels"]) == (16_000, ["external", "internal"][:channels])
    assert (verdict["frames"], verdict["first_frame"]) == (2500, 0)
    assert (verdict["lost_frames"], verdict["unwritten_frames"], verdict["gaps_not_listed"]) == (0, 0, 0)
    assert verdict["gaps"] == [
        {"first_frame": 500, "frames": 300, "cause": "paused", "measured": False},
        {"first_frame": 1200, "frames": 1200, "cause": "lost", "measured": False},
    ]
    totals = verdict["totals"]
    assert (totals["length"], totals["decoded"], totals["gaps"]["paused"]) == (2500, 1000, 300)
    assert verdict["opened"] == "2026-01-02T03:04:05+00:00"
    assert verdict["ended"] >= verdict["opened"]
    for path in (made.path, made.path.with_suffix(".json")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(made.path.parent.stat().st_mode) == 0o700
    assert sorted(path.suffix for path in made.path.parent.iterdir()) == [".json", ".wav"]


def test_what_a_stream_continues_is_remembered_when_its_card_is_gone(house: Bench, tmp_path: Path) -> None:
    earlier = KnownWriter(house.arena, house.pool, identity={"stream_id": "0b-0"})
    leave(earlier)
    known = come_back(house, earlier)
    update_card(house.arena, known.slot, stream_id="0b-1", call_id="c", direction="inbound")
    made = Recording(tmp_path, known, house.stream(known.slot))
    known.audio(320)
    made.put(next(made.stream.blocks(320, start="oldest", copy=True)))
    assert (made.verdict["continues"], made.verdict["continued_by"]) == ("0b-0", None)
    give_away(house, earlier)
    made.track.finish(complete=False)
    made.track = made.begin()
    leave(known)
    last = come_back(house, known)
    update_card(house.arena, last.slot, stream_id="0b-2")
    made.track.put_rest()
    made.track.finish(complete=True)
    assert (made.verdict["continues"], made.verdict["continued_by"]) == ("0b-0", "0b-2")


def test_a_stream_without_audio_has_an_empty_file(house: Bench, tmp_path: Path) -> None:
    made = recording(house, tmp_path)
    made.known.end(end_reason="peer_closed")
    made.track.finish(complete=True)
    assert len(made.heard()) == 0
    assert made.verdict["totals"]["length"] == 0


def test_an_hour_on_hold_takes_no_room(house: Bench, tmp_path: Path) -> None:
    made = recording(house, tmp_path, rate_hz=8000)
    made.known.audio(800)
    made.known.gap(3600 * 8000, layout.HOLD)
    made.known.audio(800)
    made.known.end()
    made.put(*made.stream.blocks(8000, start="oldest", copy=True))
    made.track.finish(complete=True)
    heard = made.heard()
    assert len(heard) == 3600 * 8000 + 1600
    assert np.array_equal(heard[-800:], known_samples(3600 * 8000 + 800, 800, 1))
    assert made.path.stat().st_blocks * 512 < 100_000
    assert made.verdict["gaps"] == [{"first_frame": 800, "frames": 3600 * 8000, "cause": "held", "measured": False}]


def test_frames_lost_to_an_overrun_are_silence_and_counted(house: Bench, tmp_path: Path) -> None:
    made = recording(house, tmp_path)
    for _ in range(10):
        made.known.audio(960)
    blocks = made.stream.blocks(960, start="oldest", copy=True, on_overrun="skip")
    made.put(next(blocks))
    for _ in range(60):
        made.known.audio(960)
    made.known.end()
    made.put(*blocks)
    made.track.finish(complete=True)
    lost = made.verdict["lost_frames"]
    assert lost > 20_000
    heard = made.heard()
    assert len(heard) == 70 * 960 == made.verdict["totals"]["length"]
    assert not heard[960 : 960 + lost].any()
    assert np.array_equal(heard[960 + lost :], known_samples(960 + lost, 70 * 960 - 960 - lost, 1))


def test_the_rest_is_written_when_recording_ends_before_the_stream(house: Bench, tmp_path: Path) -> None:
    made = recording(house, tmp_path)
    for _ in range(10):
        made.known.audio(320)
    made.put(next(made.stream.blocks(1000, start="oldest", copy=True)))
    made.track.put_rest()
    made.track.put_rest()
    made.track.finish(complete=False)
    assert np.array_equal(made.heard(), known_samples(0, 3200, 1))
    assert (made.verdict["complete"], made.verdict["state"], made.verdict["end_reason"]) == (False, "LIVE", None)
    assert made.verdict["ended"] is None


# ------------------------------------------------------------------------------------------------ going on


def test_after_an_interruption_it_goes_on_without_a_seam(house: Bench, tmp_path: Path) -> None:
    made = recording(house, tmp_path)
    made.known.audio(1000)
    made.known.gap(100, layout.PAUSE)
    blocks = made.stream.blocks(500, start="oldest", copy=True)
    made.put(next(blocks), next(blocks))
    made.known.gap(60, layout.PAUSE)
    made.known.audio(1000)
    made.known.end()
    made.track = made.begin()  # the one before was killed: nothing was closed
    made.put(*made.stream.blocks(700, start="oldest", copy=True))
    made.track.finish(complete=True)
    heard = made.heard()
    assert len(heard) == 2160
    assert np.array_equal(heard[:1000], known_samples(0, 1000, 1))
    assert np.array_equal(heard[1160:], known_samples(1160, 1000, 1))
    assert made.verdict["gaps"] == [{"first_frame": 1000, "frames": 160, "cause": "paused", "measured": False}]
    assert made.verdict["lost_frames"] == 0
    assert len(list(tmp_path.iterdir())) == 2


def test_what_went_by_between_two_recorders_is_silence_and_counted(house: Bench, tmp_path: Path) -> None:
    made = recording(house, tmp_path)
    made.known.audio(1000)
    made.put(next(made.stream.blocks(1000, start="oldest", copy=True)))
    for _ in range(70):
        made.known.audio(960)
    made.known.end()
    made.track = made.begin()
    blocks = list(made.stream.blocks(960, start="oldest", copy=True))
    made.put(*blocks)
    made.track.finish(complete=True)
    assert made.verdict["lost_frames"] == blocks[0].first_frame - 1000 > 20_000
    assert len(made.heard()) == 1000 + 70 * 960


def test_a_recording_that_somebody_deleted_begins_anew(house: Bench, tmp_path: Path) -> None:
    made = recording(house, tmp_path)
    made.known.audio(1000)
    made.put(next(made.stream.blocks(1000, start="oldest", copy=True)))
    made.path.unlink()
    made.known.audio(1000)
    made.track = made.begin()
    made.put(next(made.stream.blocks(900, start=1000, copy=True)))
    made.track.put_rest()
    made.track.finish(complete=False)
    assert (made.verdict["first_frame"], made.verdict["lost_frames"]) == (1000, 0)
    assert np.array_equal(made.heard(), known_samples(1000, 1000, 1))


@pytest.mark.parametrize("there", ["somebody's file", '{"stream": "another", "complete": false}'])
def test_what_has_the_name_already_is_left_alone(house: Bench, tmp_path: Path, there: str) -> None:
    made = recording(house, tmp_path)
    taken = made.path
    taken.with_suffix(".json").write_text(there)
    taken.write_text("precious")
    made.track = made.begin()
    made.known.audio(100)
    made.known.end()
    made.put(*made.stream.blocks(100, start="oldest", copy=True))
    made.track.finish(complete=True)
    assert made.path.name == taken.name.replace(".wav", "-2.wav")
    assert len(made.heard()) == 100
    assert (taken.read_text(), taken.with_suffix(".json").read_text()) == ("precious", there)
    assert find_place(str(tmp_path), DEFAULT_PATTERN, made.stream)[0] == str(made.path)


# ------------------------------------------------------------------------------------------------ refusals


def test_what_the_disk_refuses_is_silence_and_counted(
    house: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = recording(house, tmp_path)
    for _ in range(5):
        made.known.audio(320)
    made.known.end()
    first, *refused, last = made.stream.blocks(320, start="oldest", copy=True)
    made.put(first)
    pwrite = os.pwrite

    def full(fd: int, data: bytes, at: int) -> int:
        raise OSError(28, "No space left on device")

    with caplog.at_level(logging.ERROR):
        monkeypatch.setattr(os, "pwrite", full)
        made.put(*refused)
        monkeypatch.setattr(os, "pwrite", pwrite)
    assert len(caplog.messages) == 1, "told once, not once a block"
    assert "No space left on device" in caplog.text
    made.put(last)
    made.track.finish(complete=True)
    heard = made.heard()
    assert np.array_equal(heard[:320], known_samples(0, 320, 1))
    assert not heard[320:1280].any()
    assert np.array_equal(heard[1280:], known_samples(1280, 320, 1))
    assert (made.verdict["unwritten_frames"], made.verdict["lost_frames"]) == (960, 0)


def test_a_file_that_cannot_be_made_is_tried_again(house: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "blocked"
    folder.write_text("no folder")
    made = recording(house, folder)
    made.known.audio(640)
    first, second = (next(made.stream.blocks(320, start=at, copy=True)) for at in (0, 320))
    made.put(first)
    folder.unlink()
    made.put(second)
    made.track.finish(complete=False)
    assert np.array_equal(made.heard(), known_samples(320, 320, 1))
    assert (made.verdict["first_frame"], made.verdict["unwritten_frames"]) == (320, 320)


def test_a_file_that_is_full_takes_no_more(house: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiohook.sinks.wav.MAX_DATA_BYTES", 2 * 700)
    made = recording(house, tmp_path)
    for _ in range(5):
        made.known.audio(320)
    made.known.end()
    made.put(*made.stream.blocks(320, start="oldest", copy=True))
    made.track.finish(complete=True)
    assert np.array_equal(made.heard(), known_samples(0, 700, 1))
    assert made.path.stat().st_size == HEADER_BYTES + 1400
    assert (made.verdict["frames"], made.verdict["unwritten_frames"]) == (700, 900)


def test_a_list_of_gaps_has_an_end() -> None:
    from audiohook.memory.timeline import Gap

    recorded = Recorded()
    for number in range(MAX_GAPS + 5):
        recorded.add_gap(Gap(number * 10, 1, "lost"))
    assert (len(recorded.gaps), recorded.gaps_not_listed) == (MAX_GAPS, 5)
