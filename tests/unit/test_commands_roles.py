"""Roles: each on its own; and how often a refusal is logged."""

from audiohook.config import Principals
from audiohook.control.roles import LOG_EVERY_NS, MOST_REMEMBERED, OPERATE, READ, SPEAK, RefusalLog, Roles


def principals(*uids: int, gids: tuple[int, ...] = ()) -> Principals:
    return Principals(frozenset(uids), frozenset(gids), any=False)


def test_no_role_brings_another() -> None:
    roles = Roles({READ: principals(1), SPEAK: principals(2), OPERATE: principals(3, gids=(70,))})
    for uid, role in ((1, READ), (2, SPEAK), (3, OPERATE)):
        assert [one for one in (READ, SPEAK, OPERATE) if roles.has(one, uid, [])] == [role]
        assert roles.has_any(uid, [])
    assert roles.has(OPERATE, 4, [70])
    assert not roles.has_any(4, [71])


def test_a_refusal_is_logged_at_once_then_once_a_minute_with_their_number() -> None:
    refusals = RefusalLog()
    assert refusals.note(7, 5) == 1
    assert [refusals.note(7, now_ns) for now_ns in (6, 7, 5 + LOG_EVERY_NS - 1)] == [None, None, None]
    assert refusals.note(8, 6) == 1, "another uid's own line"
    assert refusals.note(7, 5 + LOG_EVERY_NS) == 4
    assert refusals.note(7, 6 + LOG_EVERY_NS) is None


def test_very_many_uids_do_not_fill_the_memory() -> None:
    refusals = RefusalLog()
    for uid in range(10 * MOST_REMEMBERED):
        assert refusals.note(uid, 0) == 1
        assert len(refusals._last) <= MOST_REMEMBERED
