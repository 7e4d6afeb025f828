"""The peer's rate limits, kept: buckets, the queue, and that no window of time ever holds too much."""

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from audiohook.session.audiohook2_entities import BargeIn, NoData
from audiohook.session.audiohook2_messages import EventParameters, Pause, Resume
from audiohook.session.audiohook2_rates import (
    CONTROL_BURST,
    CONTROL_INTERVAL_NS,
    MAX_HOLD_NS,
    MAX_QUEUED_EVENTS,
    TEXT_BURST,
    TEXT_INTERVAL_NS,
    Bucket,
    Pace,
)
from audiohook.units import NEVER_NS, NS_PER_S

START_NS = 5 * NS_PER_S
EVENT = EventParameters((BargeIn(NoData()),))


def said(pace: Pace, now_ns: int) -> int:
    """Let everything that is due be said; return how much that was."""
    count = 0
    while pace.next(now_ns) is not None:
        count += 1
    return count


def test_the_limits_are_those_that_are_known() -> None:
    assert (NS_PER_S // TEXT_INTERVAL_NS, TEXT_BURST) == (5, 25)
    assert (NS_PER_S // CONTROL_INTERVAL_NS, CONTROL_BURST) == (2, 4)


def test_a_bucket_is_full_and_then_gains_at_its_rate() -> None:
    bucket = Bucket(100, 3, START_NS)
    for _ in range(3):
        assert bucket.due_ns <= START_NS
        bucket.spend(START_NS)
    assert bucket.due_ns == START_NS + 100
    bucket.spend(START_NS + 100)
    assert bucket.due_ns == START_NS + 200
    for _ in range(3):
        assert bucket.due_ns <= START_NS + 1000
        bucket.spend(START_NS + 1000)
    assert bucket.due_ns == START_NS + 1100, "no more than a bucketful, however long nothing was taken"


def test_debt_is_at_most_a_bucketful() -> None:
    bucket = Bucket(100, 3, START_NS)
    for _ in range(1000):
        bucket.spend(START_NS)
    assert bucket.due_ns == START_NS + 400


def test_events_beyond_the_burst_wait_their_turn() -> None:
    pace = Pace(START_NS)
    assert pace.put_events([EVENT] * 30)
    assert (said(pace, START_NS), pace.waiting) == (25, 5)
    assert pace.due_ns == START_NS + TEXT_INTERVAL_NS
    assert said(pace, pace.due_ns - 1) == 0
    assert said(pace, pace.due_ns) == 1
    assert said(pace, START_NS + 10 * NS_PER_S) == 4
    assert pace.due_ns == NEVER_NS


def test_the_queue_takes_all_or_nothing() -> None:
    pace = Pace(START_NS)
    assert pace.put_events([EVENT] * (MAX_QUEUED_EVENTS - 1))
    assert not pace.put_events([EVENT] * 2)
    assert pace.put_events([EVENT])
    assert not pace.put_events([EVENT])
    assert (pace.waiting, pace.clear(), pace.waiting) == (100, 100, 0)


def test_a_control_does_not_wait_behind_events() -> None:
    pace = Pace(START_NS)
    pace.put_events([EVENT] * 50)
    said(pace, START_NS)
    pace.put_control(Pause)
    assert pace.due_ns <= START_NS
    assert pace.next(START_NS) is Pause
    assert pace.next(START_NS) is None


def test_controls_have_a_rate_of_their_own_and_the_last_wish_counts() -> None:
    pace = Pace(START_NS)
    for _ in range(4):
        pace.put_control(Pause)
        assert pace.next(START_NS) is Pause
    pace.put_control(Pause)
    assert (pace.next(START_NS), pace.due_ns) == (None, START_NS + CONTROL_INTERVAL_NS)
    pace.put_control(Resume)
    assert (pace.next(START_NS), pace.next(START_NS)) == (Resume, None), "in the place of the pause that waited"
    assert pace.due_ns == NEVER_NS


def test_events_make_room_for_controls_and_answers() -> None:
    pace = Pace(START_NS)
    pace.put_control(Resume)
    assert pace.next(START_NS) is Resume
    for _ in range(19):
        pace.answered(START_NS)
    pace.put_events([EVENT] * 10)
    assert said(pace, START_NS) == 5
    pace.answered(START_NS)
    assert pace.due_ns == START_NS + 2 * TEXT_INTERVAL_NS


def test_a_peer_that_asks_for_silence_gets_it() -> None:
    pace = Pace(START_NS)
    pace.hold(3 * NS_PER_S, START_NS)
    pace.put_events([EVENT] * 10)
    assert said(pace, START_NS + 3 * NS_PER_S - 1) == 0
    assert pace.due_ns == START_NS + 3 * NS_PER_S
    assert said(pace, START_NS + 3 * NS_PER_S) == 1, "and then at the rate"
    pace.put_control(Pause)
    assert (pace.next(START_NS + 3 * NS_PER_S - 1), pace.next(START_NS + 3 * NS_PER_S)) == (None, Pause)
    pace.hold(10**6 * NS_PER_S, START_NS)
    assert pace.due_ns == START_NS + MAX_HOLD_NS


STEPS = st.lists(
    st.tuples(st.integers(0, 2 * NS_PER_S), st.sampled_from(["event", "pause", "resume", "answer"])), max_size=300
)


@given(STEPS)
def test_no_window_holds_more_than_burst_and_rate(steps: list[tuple[int, str]]) -> None:
    pace, now_ns = Pace(START_NS), START_NS
    times_ns: dict[object, list[int]] = {"event": [], Pause: [], Resume: []}
    for wait_ns, what in steps:
        until_ns = now_ns + wait_ns
        while True:
            now_ns = min(max(now_ns, pace.due_ns), until_ns)
            while (unasked := pace.next(now_ns)) is not None:
                times_ns["event" if unasked is EVENT else unasked].append(now_ns)
            assert pace.due_ns > now_ns
            if now_ns == until_ns:
                break
        if what == "event":
            pace.put_events([EVENT])
        elif what == "answer":
            pace.answered(now_ns)
        else:
            pace.put_control(Pause if what == "pause" else Resume)
    for times, interval_ns, burst in (
        (times_ns["event"], TEXT_INTERVAL_NS, TEXT_BURST),
        (times_ns[Pause], CONTROL_INTERVAL_NS, CONTROL_BURST),
        (times_ns[Resume], CONTROL_INTERVAL_NS, CONTROL_BURST),
    ):
        for first, start_ns in enumerate(times):
            for window_ns in (0, interval_ns, NS_PER_S, 10 * NS_PER_S):
                inside = bisect_left(times, start_ns + window_ns + 1) - first
                assert inside <= burst + window_ns // interval_ns
