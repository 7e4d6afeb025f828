"""net/log_limit.py: the first at once, the others as a number."""

from audiohook.net.log_limit import LOG_EVERY_NS, MOST_REMEMBERED, LogLimit


def test_the_first_at_once_then_one_a_minute_with_their_number() -> None:
    limit = LogLimit[int]()
    assert limit.note(7, 5) == 1
    assert [limit.note(7, now_ns) for now_ns in (6, 7, 5 + LOG_EVERY_NS - 1)] == [None, None, None]
    assert limit.note(8, 6) == 1, "another key's own line"
    assert limit.note(7, 5 + LOG_EVERY_NS) == 4
    assert limit.note(7, 6 + LOG_EVERY_NS) is None


def test_what_was_kept_back_is_overdue_after_a_minute_once() -> None:
    limit = LogLimit[str]()
    for now_ns in range(4):
        limit.note("garbage", now_ns)
    limit.note("once", 0)
    assert limit.overdue(LOG_EVERY_NS - 1) == []
    assert limit.overdue(LOG_EVERY_NS) == [("garbage", 3)]
    assert limit.overdue(10 * LOG_EVERY_NS) == []
    assert limit.note("once", 10 * LOG_EVERY_NS) == 1


def test_very_many_keys_do_not_fill_the_memory() -> None:
    limit = LogLimit[int]()
    for key in range(10 * MOST_REMEMBERED):
        assert limit.note(key, 0) == 1
        assert len(limit._last) <= MOST_REMEMBERED
