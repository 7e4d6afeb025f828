"""Who may do what on the hub: three roles, each a list of principals, and how refusals are logged.

Knows no socket. The roles are independent: a transcriber that reads and speaks cannot drain, and an operator who is
not named in `hub.read` cannot listen in.
"""

from collections.abc import Collection, Mapping

from audiohook.config import Principals
from audiohook.units import NS_PER_S

READ, SPEAK, OPERATE = "read", "speak", "operate"
ROLES = (READ, SPEAK, OPERATE)

_ALLOWS = {READ: "read", SPEAK: "send events", OPERATE: "command calls"}

LOG_EVERY_NS = 60 * NS_PER_S
MOST_REMEMBERED = 256


class Roles:
    """The principals of each role."""

    def __init__(self, principals: Mapping[str, Principals]) -> None:
        self._principals = {role: principals[role] for role in ROLES}

    def has(self, role: str, uid: int, gids: Collection[int]) -> bool:
        return self._principals[role].admit(uid, gids)

    def has_any(self, uid: int, gids: Collection[int]) -> bool:
        return any(self.has(role, uid, gids) for role in ROLES)


def refusal_text(role: str, uid: int) -> str:
    return f"uid {uid} may not {_ALLOWS[role]} here: the daemon's hub.{role} names who may"


class RefusalLog:
    """Says whether a refusal is to be logged: the first of a uid, then one a minute that counts the others."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[int, int]] = {}  # uid -> (when logged, refusals since)

    def note(self, uid: int, now_ns: int) -> int | None:
        """Return how many refusals of this uid a line would stand for, None if there is to be no line now."""
        logged_ns, since = self._last.get(uid, (None, 0))
        if logged_ns is not None and now_ns - logged_ns < LOG_EVERY_NS:
            self._last[uid] = (logged_ns, since + 1)
            return None
        if len(self._last) >= MOST_REMEMBERED:
            self._last.clear()  # somebody has very many uids; a few lines more are better than a table without bound
        self._last[uid] = (now_ns, 0)
        return since + 1
