"""File names of recordings: whatever a peer says of itself, they stay below the folder."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.sinks.naming import DEFAULT_PATTERN, FIELDS, check_pattern, file_name, safe

VALUES = {name: name.upper() for name in FIELDS}


def test_the_default() -> None:
    assert check_pattern(DEFAULT_PATTERN) == DEFAULT_PATTERN
    assert file_name(DEFAULT_PATTERN, VALUES) == "START-CALL-DIRECTION-STREAM.wav"
    assert file_name(DEFAULT_PATTERN, VALUES, 3) == "START-CALL-DIRECTION-STREAM-3.wav"


@pytest.mark.parametrize("pattern", ["a.wav", "{date}/{organization}/{call}.wav", "{{x}}.wav", ".".join("ab") + ".wav"])
def test_patterns_that_can_be_used(pattern: str) -> None:
    assert check_pattern(pattern) == pattern


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("{ani}.wav", r"the pattern has \{ani\}: it may have \{start\}, "),
        ("{}.wav", r"the pattern has \{\}"),
        ("{0}.wav", "it may have"),
        ("{call.__class__}.wav", "it may have"),
        ("{call!r}.wav", "it may have"),
        ("{call:9999999999}.wav", "it may have"),
        ("{call.wav", "cannot be read"),
        ("{call}", "must end with .wav"),
        ("{call}.mp3", "must end with .wav"),
        ("/tmp/{call}.wav", "below the folder"),
        ("../{call}.wav", "below the folder"),
        ("a/../{call}.wav", "below the folder"),
        ("a//{call}.wav", "below the folder"),
        (".wav", "no dots"),
        ("a/.b/{call}.wav", "no dots"),
        ("a\0.wav", "below the folder"),
    ],
)
def test_patterns_that_cannot_are_refused_in_words(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_pattern(pattern)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", "unknown"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..", "unknown"),
        (".hidden", "hidden"),
        ("a/b\\c\0d\ne", "a_b_c_d_e"),
        ("+49 30 1234", "_49_30_1234"),
        ("Grüße", "Gr_e"),
        ("x" * 300, "x" * 64),
    ],
)
def test_values(value: str, expected: str) -> None:
    assert safe(value) == expected


@given(st.dictionaries(st.sampled_from(FIELDS), st.text(max_size=200)), st.integers(1, 99))
def test_any_identity_stays_below_the_folder(said: dict[str, str], number: int) -> None:
    name = file_name("{date}/{call}/{organization}{user}{session}{participant}.wav", {**VALUES, **said}, number)
    components = name.split("/")
    assert len(components) == 3
    assert name.endswith(".wav")
    for component in components:
        assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", component)
        assert len(component) <= 220
