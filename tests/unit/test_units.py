"""units.py: whole nanoseconds, whatever they were made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.units import NEVER_NS, NS_PER_MS, NS_PER_S, frames_ns, milliseconds_ns, seconds_ns


@pytest.mark.parametrize(
    ("seconds", "ns"), [(0, 0), (1, NS_PER_S), (0.1, 100_000_000), (0.3, 300_000_000), (14_400, 14_400 * NS_PER_S)]
)
def test_seconds(seconds: float, ns: int) -> None:
    assert seconds_ns(seconds) == ns
    assert isinstance(seconds_ns(seconds), int)


@pytest.mark.parametrize(("milliseconds", "ns"), [(0, 0), (4000, 4 * NS_PER_S), (2.5, 2_500_000), (1, NS_PER_MS)])
def test_milliseconds(milliseconds: float, ns: int) -> None:
    assert milliseconds_ns(milliseconds) == ns


@given(st.integers(0, 10**7))
def test_both_agree_on_whole_milliseconds(milliseconds: int) -> None:
    assert milliseconds_ns(milliseconds) == seconds_ns(milliseconds / 1000) == milliseconds * NS_PER_MS


@pytest.mark.parametrize(
    ("frames", "rate_hz", "ns"),
    [(0, 8000, 0), (160, 8000, 20_000_000), (1, 48_000, 20_833), (16_000, 16_000, NS_PER_S)],
)
def test_frames(frames: int, rate_hz: int, ns: int) -> None:
    assert frames_ns(frames, rate_hz) == ns


@given(st.integers(0, 1 << 62), st.sampled_from([8_000, 16_000, 48_000]))
def test_frames_are_exact_however_long_a_stream_is(frames: int, rate_hz: int) -> None:
    """No float on the way: a second more is always exactly a second more."""
    assert frames_ns(frames + rate_hz, rate_hz) == frames_ns(frames, rate_hz) + NS_PER_S


def test_never_is_later_than_everything_and_fits_a_signed_word() -> None:
    assert NEVER_NS == 2**63 - 1
    assert seconds_ns(200 * 365 * 24 * 3600) < NEVER_NS
