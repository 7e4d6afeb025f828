"""The recorder's WAV files, read with the stdlib's `wave`: whole at every instant, whatever was cut off or refused."""

import os
import stat
import struct
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audiohook.sinks import wav
from audiohook.sinks.wav import HEADER_BYTES, NotOurs, WavFile


def played(path: Path) -> tuple[int, int, int, bytes]:
    """Return channels, rate, frames as the header says, and the samples that a player gets."""
    with wave.open(str(path), "rb") as file:
        assert file.getsampwidth() == 2
        return file.getnchannels(), file.getframerate(), file.getnframes(), file.readframes(1 << 20)


def samples(frames: int, channels: int = 1, first: int = 1) -> bytes:
    return b"".join(struct.pack("<h", (first + n) % 32_000) for n in range(frames * channels))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate_hz", [8000, 16_000])
def test_what_was_written_is_played(tmp_path: Path, rate_hz: int, channels: int) -> None:
    path = tmp_path / "a.wav"
    file = WavFile.create(str(path), rate_hz, channels)
    assert played(path) == (channels, rate_hz, 0, b""), "an empty file is a file"
    written = b""
    for frames in (1, 160, 8000):
        more = samples(frames, channels, len(written))
        file.write(file.frames, more)
        written += more
        assert played(path) == (channels, rate_hz, file.frames, written), "no closing is needed"
    file.close()
    file.close()
    assert path.stat().st_size == HEADER_BYTES + len(written)


def test_it_is_private_and_nothing_else_is_left(tmp_path: Path) -> None:
    os.umask(old := os.umask(0))
    assert old != 0, "a mask that hides nothing would prove nothing"
    os.umask(0)
    try:
        WavFile.create(str(tmp_path / "a.wav"), 8000, 1).close()
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a.wav").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["a.wav"]


def test_frames_that_were_never_written_are_silence_and_take_no_room(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    file = WavFile.create(str(path), 16_000, 1)
    file.write(0, samples(100))
    file.write(10_000_000, samples(100))
    file.extend(20_000_000)
    file.extend(5)
    file.close()
    with wave.open(str(path), "rb") as read:
        assert read.getnframes() == 20_000_000
        assert read.readframes(100) == samples(100)
        assert read.readframes(1000) == bytes(2000)
        read.setpos(10_000_000)
        assert read.readframes(101) == samples(100) + bytes(2)
    assert path.stat().st_blocks * 512 < 100_000


def test_killed_after_any_byte_it_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every prefix of the writes that a run makes, the last one cut anywhere, except the header's, which is atomic."""
    path, writes = tmp_path / "a.wav", list[tuple[int, bytes]]()
    pwrite = os.pwrite

    def noted(fd: int, data: bytes, at: int) -> int:
        writes.append((at, bytes(data)))
        return pwrite(fd, data, at)

    monkeypatch.setattr(wav.os, "pwrite", noted)
    file = WavFile.create(str(path), 8000, 2)
    for block in range(3):
        file.write(block * 10, samples(10, 2, block * 20))
    file.extend(40)
    file.close()
    whole = samples(30, 2, 0) + bytes(40)
    assert [at for at, _ in writes] == [0, 44, 0, 84, 0, 124, 0, 0]
    content = bytearray()
    valid = 0
    for at, data in writes:
        for cut in [len(data)] if at == 0 else range(len(data) + 1):
            killed = bytearray(content)
            killed[at : at + cut] = data[:cut]
            path.write_bytes(killed.ljust(len(killed) if at else 0, b"\0"))
            _, _, frames, heard = played(path)
            assert frames * 4 >= valid, "what was there is there"
            if at or data is not writes[-1][1]:
                assert heard == whole[: frames * 4]
            valid = frames * 4
        content[at : at + len(data)] = data


def test_a_full_disk_leaves_a_valid_file_with_its_old_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wav"
    file = WavFile.create(str(path), 8000, 1)
    file.write(0, samples(10))
    room = [5]
    pwrite = os.pwrite

    def full(fd: int, data: Any, at: int) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        data, room[0] = data[: room[0]], max(0, room[0] - len(data))
        return pwrite(fd, data, at)

    monkeypatch.setattr(wav.os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        file.write(10, samples(10, 1, 11))
    assert played(path)[2:] == (10, samples(10))
    monkeypatch.undo()
    file.write(20, samples(10, 1, 21))
    assert played(path)[2] == 30
    file.close()


@pytest.mark.parametrize("torn", [0, 1, 7, 1000])
def test_a_file_that_was_left_is_gone_on_with(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "a.wav"
    file = WavFile.create(str(path), 8000, 2)
    file.write(0, samples(50, 2))
    file.close()
    with path.open("ab") as file_end:
        file_end.write(samples(1000)[:torn])  # the end of a write that was killed
    again = WavFile.reopen(str(path), 8000, 2)
    assert again.frames == 50
    again.write(50, samples(50, 2, 101))
    again.close()
    assert played(path) == (2, 8000, 100, samples(100, 2))


def _cut(path: Path) -> None:
    os.truncate(path, HEADER_BYTES + 99)


def _short(path: Path) -> None:
    os.truncate(path, HEADER_BYTES - 1)


def _text(path: Path) -> None:
    path.write_text("This is no audio at all, and longer than any header is.")


def _odd(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(40)
        file.write(struct.pack("<I", 41))


@pytest.mark.parametrize("damage", [_cut, _short, _text, _odd])
def test_a_file_that_is_not_what_it_should_be_is_left_alone(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = tmp_path / "a.wav"
    file = WavFile.create(str(path), 8000, 1)
    file.write(0, samples(50))
    file.close()
    damage(path)
    before = path.read_bytes()
    with pytest.raises(NotOurs):
        WavFile.reopen(str(path), 8000, 1)
    assert path.read_bytes() == before


@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (8000, 2)])
def test_another_format_is_not_gone_on_with(tmp_path: Path, rate_hz: int, channels: int) -> None:
    path = tmp_path / "a.wav"
    WavFile.create(str(path), 8000, 1).close()
    with pytest.raises(NotOurs):
        WavFile.reopen(str(path), rate_hz, channels)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".a.wav.new").symlink_to(victim)
    with pytest.raises(OSError):
        WavFile.create(str(tmp_path / "a.wav"), 8000, 1)
    (tmp_path / "b.wav").symlink_to(victim)
    with pytest.raises(OSError):
        WavFile.reopen(str(tmp_path / "b.wav"), 8000, 1)
    assert victim.read_text() == "precious"


def test_sizes_stay_within_32_bits(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    file = WavFile.create(str(path), 16_000, 2)
    file.extend(file.room_frames)
    file.close()
    with wave.open(str(path), "rb") as read:
        assert read.getnframes() == file.room_frames > 18 * 3600 * 16_000
