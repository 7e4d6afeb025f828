"""Who is hung, by signs that stand still: integer clocks, no process."""

from hypothesis import given
from hypothesis import strategies as st

from audiohook.supervisor.hangs import HangWatch, Sign
from audiohook.supervisor.orders import Beating, Hung
from audiohook.units import NS_PER_S

TICK_NS = NS_PER_S // 10
HANG_NS = 10 * NS_PER_S
TICKS = HANG_NS // TICK_NS


class Watching:
    """A watch with a clock that the test moves."""

    def __init__(self) -> None:
        self.watch = HangWatch(HANG_NS, 2 * TICK_NS)
        self.now_ns = 7 * NS_PER_S

    def look(self, *turns: int, after_ns: int = TICK_NS, pid: int = 100) -> list[Hung | Beating]:
        """Look after a while; the children at places 0, 1, … have made so many turns."""
        self.now_ns += after_ns
        return self.watch.look(self.now_ns, {place: Sign(pid + place, made) for place, made in enumerate(turns)})


def test_who_stands_still_for_long_enough_is_hung_and_that_is_told_once() -> None:
    w = Watching()
    for number in range(TICKS):
        assert w.look(number, 5) == []
    assert w.look(TICKS, 5) == [Hung(1, 101, HANG_NS)]
    for number in range(3 * TICKS):
        assert w.look(TICKS + 1 + number, 5) == []


def test_a_sign_of_life_is_told_after_a_hang_only_and_time_begins_anew() -> None:
    w = Watching()
    assert [w.look(5) for _ in range(TICKS)] == [[]] * TICKS
    assert w.look(6) == [], "at the last moment"
    assert [w.look(6) for _ in range(TICKS - 1)] == [[]] * (TICKS - 1)
    assert w.look(6) == [Hung(0, 100, HANG_NS)]
    assert w.look(7) == [Beating(0)]
    assert [w.look(7) for _ in range(TICKS)] == [*([[]] * (TICKS - 1)), [Hung(0, 100, HANG_NS)]]


def test_a_watcher_that_stood_still_itself_judges_nobody_by_that_time() -> None:
    w = Watching()
    for _ in range(TICKS - 2):
        assert w.look(5, 6) == []
    assert w.look(5, 6, after_ns=3600 * NS_PER_S) == []
    for _ in range(TICKS - 1):
        assert w.look(5, 7) == []
    assert w.look(5, 7) == [Hung(0, 100, HANG_NS)], "0 has not gone on: it had all its time again"


def test_looks_that_come_a_little_late_count_for_two_ticks_each() -> None:
    w = Watching()
    w.look(5)
    for _ in range(TICKS // 2 - 1):
        assert w.look(5, after_ns=NS_PER_S) == []
    assert w.look(5, after_ns=NS_PER_S) == [Hung(0, 100, HANG_NS)], "starved, but never for long: it must end somewhere"


def test_who_was_found_hung_before_the_watcher_stood_still_is_not_told_of_twice() -> None:
    w = Watching()
    for _ in range(TICKS + 1):
        w.look(5)
    assert w.look(5, after_ns=3600 * NS_PER_S) == []
    assert [w.look(5) for _ in range(3 * TICKS)] == [[]] * (3 * TICKS)
    assert w.look(6) == [Beating(0)]


def test_its_successor_is_another_and_who_is_not_watched_is_forgotten() -> None:
    w = Watching()
    for _ in range(TICKS + 1):
        w.look(5)
    assert w.look(5, pid=200) == []
    assert w.look(6, pid=300) == [], "of a hang of this one nobody was told"
    for _ in range(TICKS - 1):
        w.look(6, pid=300)
    w.look()
    assert w.look(6, pid=300) == []


@given(
    st.lists(
        st.tuples(
            st.integers(0, 100 * NS_PER_S),
            st.dictionaries(st.integers(-1, 3), st.tuples(st.integers(1, 2), st.integers(0, 1)), max_size=4),
        )
    )
)
def test_news_alternate_and_are_of_those_who_are_there(looks: list[tuple[int, dict[int, tuple[int, int]]]]) -> None:
    watch, now_ns = HangWatch(NS_PER_S, NS_PER_S // 2), 0
    hung: set[tuple[int, int]] = set()
    for after_ns, seen in looks:
        now_ns += after_ns
        signs = {place: Sign(pid, turns) for place, (pid, turns) in seen.items()}
        hung = {(place, pid) for place, pid in hung if place in signs and signs[place].pid == pid}
        for news in watch.look(now_ns, signs):
            who = (news.place, signs[news.place].pid)
            if isinstance(news, Hung):
                assert (news.pid, who in hung) == (who[1], False)
                assert NS_PER_S <= news.stood_ns < 2 * NS_PER_S
                hung.add(who)
            else:
                hung.remove(who)
