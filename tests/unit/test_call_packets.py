"""call.py's short way for one packet a read: with and without it a Call says the same, whatever it is given."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiohook.session.events import AudioArrived
from audiohook.units import NS_PER_MS, NS_PER_S
from tests.support.calls import CONTINUATION, MAX_MESSAGE_BYTES, PING, TEXT, Adapter, call_terms, frame, upgrade
from tests.unit.test_call_audiohook2 import HEADERS, OPEN, text

BEGINNINGS = {"context": [upgrade()], "audiohook2": [upgrade(HEADERS), OPEN]}

AUDIO = st.binary(max_size=9).map(frame) | st.sampled_from([0, 2, 320, 1600, MAX_MESSAGE_BYTES]).map(
    lambda length: frame(bytes(length))
)
TEXTS = st.sampled_from(["discarded", "paused", "resumed", "ping", "close", "nonsense"])
OTHERS = st.one_of(
    TEXTS,
    st.binary(max_size=4),
    st.builds(frame, st.binary(max_size=3), st.sampled_from([PING, CONTINUATION, TEXT, 0x8, 0x3]), st.booleans()),
    st.binary(max_size=3).map(lambda payload: frame(payload, fin=False)),
    st.just(frame(bytes(MAX_MESSAGE_BYTES + 1))),
    st.just(frame(b"12") + frame(b"34")),
    st.just(frame(bytes(320))[:9]),
    st.sampled_from(["hold", "unhold", "eof"]),
)
WAITS_NS = st.sampled_from([0, 0, NS_PER_MS, 20 * NS_PER_MS, NS_PER_S, 6 * NS_PER_S, 40 * NS_PER_S])
STEPS = st.lists(st.tuples(AUDIO | AUDIO | OTHERS, WAITS_NS), max_size=14)


PARAMETERS = {"discarded": {"start": "PT0S", "discarded": "PT0.1S"}, "close": {"reason": "end"}}


def take(adapter: Adapter, step: bytes | str, seq: int) -> None:
    if isinstance(step, bytes):
        adapter.receive(step)
    elif step == "eof":
        adapter.eof()
    elif step in ("hold", "unhold"):
        adapter.ask(lambda session: getattr(session, str(step))(adapter.now_ns) if hasattr(session, step) else None)
    else:
        adapter.receive(text(step, seq, PARAMETERS.get(step)))


@pytest.mark.parametrize("dialect", BEGINNINGS)
@settings(max_examples=300)
@given(steps=STEPS)
def test_the_short_way_changes_nothing(dialect: str, steps: list[tuple[bytes | str, int]]) -> None:
    short, long = Adapter(hasty=True), Adapter()
    for adapter in (short, long):
        adapter.receive(*BEGINNINGS[dialect])
    for seq, (step, wait_ns) in enumerate(steps, 2):
        for adapter in (short, long):
            take(adapter, step, seq)
            adapter.advance(wait_ns)
        assert short.seen() == long.seen()
        assert short.call.deadline_ns == long.call.deadline_ns
    assert long.hastened == 0


@pytest.mark.parametrize("dialect", BEGINNINGS)
@settings(max_examples=300)
@given(steps=st.lists(AUDIO | AUDIO | OTHERS.filter(lambda step: isinstance(step, bytes)), max_size=10), data=st.data())
def test_the_short_ways_change_nothing_in_any_cut(dialect: str, steps: list[bytes], data: st.DataObject) -> None:
    short, long = Adapter(hasty=True), Adapter()
    for adapter in (short, long):
        adapter.receive(*BEGINNINGS[dialect])
    whole = b"".join(steps)
    while whole:
        size = data.draw(st.integers(1, 30) | st.integers(1, len(whole)))
        for adapter in (short, long):
            adapter.receive(whole[:size]).advance(NS_PER_MS)
        whole = whole[size:]
        assert short.seen() == long.seen()


@pytest.mark.parametrize("dialect", BEGINNINGS)
def test_audio_of_a_backlog_goes_the_short_way_also_where_reads_cut_it(dialect: str) -> None:
    adapter = Adapter(call_terms(), hasty=True).receive(*BEGINNINGS[dialect], frame(bytes(160)))
    backlog = frame(bytes(1600)) * 10
    for at in range(0, len(backlog), 4096):
        adapter.receive(backlog[at : at + 4096])
    assert adapter.hastened >= 10
    assert sum(type(event) is AudioArrived for event in adapter.events) == 11


@pytest.mark.parametrize("dialect", BEGINNINGS)
def test_live_audio_goes_the_short_way(dialect: str) -> None:
    adapter = Adapter(call_terms(), hasty=True).receive(*BEGINNINGS[dialect])
    for _ in range(50):
        adapter.receive(frame(bytes(160))).advance(20 * NS_PER_MS)
    assert adapter.hastened >= 49, "the first packet may be told"
    assert len(adapter.events) >= 50
