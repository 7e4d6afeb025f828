"""Two of the framing policies: `message` changes nothing, `fixed:N` restores any re-cutting."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiohook.codec.framing import framing_for


def recut(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    return [stream[a:b] for a, b in itertools.pairwise(places)]


@given(messages=st.lists(st.binary(max_size=50)))
def test_message_passes_any_stream_unchanged(messages: list[bytes]) -> None:
    framing = framing_for("message")
    assert [packet for message in messages for packet in framing.cut(message)] == messages
    assert framing.remainder() == b""


@given(size=st.integers(1, 40), count=st.integers(0, 30), cuts=st.lists(st.integers(0, 1200)), data=st.data())
def test_fixed_restores_any_recutting(size: int, count: int, cuts: list[int], data: st.DataObject) -> None:
    packets = [bytes([number]) * size for number in range(count)]
    framing = framing_for(f"fixed:{size}")
    got = []
    for message in recut(b"".join(packets), cuts):
        got += framing.cut(message)
        assert len(framing.remainder()) < size
        if data.draw(st.booleans()):
            assert framing.cut(b"") == []
    assert got == packets
    assert framing.remainder() == b""


@given(size=st.integers(2, 40), messages=st.lists(st.binary(max_size=90)))
def test_fixed_loses_nothing_of_any_stream(size: int, messages: list[bytes]) -> None:
    """Also of one that is no whole number of packets: what is left is the remainder, and it can be asked for twice."""
    framing = framing_for(f"fixed:{size}")
    packets = [packet for message in messages for packet in framing.cut(message)]
    assert {len(packet) for packet in packets} <= {size}
    assert b"".join(packets) + framing.remainder() == b"".join(messages)
    assert framing.remainder() == framing.remainder()


def test_fixed_byte_by_byte() -> None:
    framing = framing_for("fixed:3")
    cut = [framing.cut(bytes([value])) for value in range(7)]
    assert cut == [[], [], [b"\0\1\2"], [], [], [b"\3\4\5"], []]
    assert framing.remainder() == b"\6"


def test_streams_do_not_share_a_remainder() -> None:
    first, second = framing_for("fixed:2"), framing_for("fixed:2")
    first.cut(b"a")
    assert second.cut(b"b") == []
    assert (first.remainder(), second.remainder()) == (b"a", b"b")


@pytest.mark.parametrize("policy", ["fixed:1", "fixed:120", "fixed:1275"])
def test_the_bounds_of_fixed_are_allowed(policy: str) -> None:
    assert framing_for(policy).remainder() == b""


@pytest.mark.parametrize(
    "policy",
    [
        *("", "fixed", "fixed:", "fixed:0", "fixed:1276", "fixed:-1", "fixed:1.5", "fixed:٣"),
        *("messages", "guess", "self_delimited:1"),
    ],
)
def test_any_other_policy_is_refused(policy: str) -> None:
    with pytest.raises(ValueError, match="framing"):
        framing_for(policy)
