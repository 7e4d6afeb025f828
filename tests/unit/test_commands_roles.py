"""Roles: each on its own."""

from audiohook.config import Principals
from audiohook.control.roles import OPERATE, READ, SPEAK, Roles


def principals(*uids: int, gids: tuple[int, ...] = ()) -> Principals:
    return Principals(frozenset(uids), frozenset(gids), any=False)


def test_no_role_brings_another() -> None:
    roles = Roles({READ: principals(1), SPEAK: principals(2), OPERATE: principals(3, gids=(70,))})
    for uid, role in ((1, READ), (2, SPEAK), (3, OPERATE)):
        assert [one for one in (READ, SPEAK, OPERATE) if roles.has(one, uid, [])] == [role]
        assert roles.has_any(uid, [])
    assert roles.has(OPERATE, 4, [70])
    assert not roles.has_any(4, [71])
