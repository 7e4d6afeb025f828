"""Scenario files: what is shipped can be read, and what cannot be used is refused with file, place and remedy."""

from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest

from audiohook.codec.framing import framing_for
from audiohook.load.acting import ContextAudio, expected_frames
from audiohook.load.errors import LoadError
from audiohook.load.scenario import Connect, Scenario, load_scenario

SHIPPED = sorted((Path(__file__).parents[2] / "conf" / "scenarios").glob("*.toml"))
GOOD = 'about = "a"\ndialect = "audiohook2"\nsteps = [{ do = "connect" }, { do = "close" }]\n[expect]\n'


def load(tmp_path: Path, text: str) -> Scenario:
    path = tmp_path / "story.toml"
    path.write_text(text)
    return load_scenario(path)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_what_is_shipped_can_be_read_and_begins_with_a_comment(path: Path) -> None:
    scenario = load_scenario(path)
    assert isinstance(scenario.steps[0], Connect)
    assert path.read_text().startswith("# ")


def test_there_is_something_shipped() -> None:
    assert len(SHIPPED) > 10
    assert load_scenario(SHIPPED[0]).about


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[expect]", "", "missing required field `expect`"),
        ("[expect]", "[expect]\nrefuse = 401", "unknown field `refuse`"),
        ('"close" }', '"hang up" }', r"Invalid value 'hang up' - at `\$.steps\[1\].do`"),
        ('"close" }', '"wait" }', "missing required field `seconds`"),
        ('"close" }', '"close", reason = "tired" }', "Invalid enum value 'tired'"),
        ('{ do = "connect" }, ', "", "the first step must be connect"),
        ('"audiohook2"', '"article"', "Invalid enum value 'article'"),
        ('{ do = "close" }', '{ do = "audio", seconds = 29 }', "29 s of audio; wanted at most 28"),
        ('{ do = "close" }', '{ do = "audio", seconds = 1, recut = true }', "set packet_bytes"),
        ("steps = [", "steps = ", "docs/load.md"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(LoadError, match=said) as refused:
        load(tmp_path, GOOD.replace(old, new))
    assert "story.toml: " in str(refused.value)


@pytest.mark.parametrize(
    "step", ['{ do = "pause" }', '{ do = "dtmf", digit = "1" }', '{ do = "discard", seconds = 1 }']
)
def test_context_has_no_messages(tmp_path: Path, step: str) -> None:
    text = GOOD.replace("audiohook2", "context").replace('{ do = "close" }', step)
    with pytest.raises(LoadError, match=r"steps\[1\]: the dialect context has no such step"):
        load(tmp_path, text)


def test_both_dialects_are_known(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD).dialect == "audiohook2"
    assert load(tmp_path, GOOD.replace("audiohook2", "context")).dialect == "context"


def test_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="cannot be read"):
        load_scenario(tmp_path / "none.toml")


SPEECH = np.random.default_rng(3).integers(-9000, 9000, (8000, 2)).astype(np.int16)


def test_speech_goes_on_for_ever() -> None:
    heard = expected_frames(SPEECH, 7990, 20)
    assert np.array_equal(heard, np.concatenate([SPEECH[7990:], SPEECH[:10]]))


@pytest.mark.parametrize("packet_bytes", [40, 60, 100])
def test_packets_that_are_cut_anew_are_the_same_bytes_in_other_messages(packet_bytes: int) -> None:
    audio = ContextAudio(SPEECH, packet_bytes)
    audio.begin()
    messages = audio.messages(2.0, recut=True)
    packets = [packet for complete, _ in messages for packet in complete]
    assert [len(packet) for packet in packets] == [packet_bytes] * 100
    assert b"".join(message for _, message in messages) == b"".join(packets)
    assert all(message for _, message in messages)
    ends = set(accumulate(len(message) for _, message in messages))
    assert not ends <= set(range(0, 101 * packet_bytes, packet_bytes)), "every cut was between two packets"


def test_a_packet_counts_when_its_last_byte_is_sent() -> None:
    audio = ContextAudio(SPEECH, 60)
    audio.begin()
    sent = complete = 0
    for packets, message in audio.messages(1.0, recut=True):
        sent += len(message)
        complete += len(packets)
        assert complete == sent // 60


@pytest.mark.parametrize("recut", [False, True])
def test_packets_that_say_how_long_they_are_come_back_out_of_any_messages(recut: bool) -> None:
    audio = ContextAudio(SPEECH, 0, delimit=True)
    audio.begin()
    messages = audio.messages(2.0, recut=recut)
    framing = framing_for("self_delimited")
    for packets, message in messages:
        assert framing.cut(message) == list(packets)
    assert sum(len(packets) for packets, _ in messages) == 100
    assert framing.remainder() == b""


def test_packets_that_are_not_cut_are_messages() -> None:
    audio = ContextAudio(SPEECH, 0)
    audio.begin()
    assert [list(packets) for packets, _ in audio.messages(1.0, recut=False)] != []
    assert all(list(packets) == [message] for packets, message in audio.messages(1.0, recut=False))
