"""Who may do what on the hub: three roles, each a list of principals, and the words for who may not.

Knows no socket. The roles are independent: a transcriber that reads and speaks cannot drain, and an operator who is
not named in `hub.read` cannot listen in.
"""

from collections.abc import Collection, Mapping

from audiohook.config import Principals

READ, SPEAK, OPERATE = "read", "speak", "operate"
ROLES = (READ, SPEAK, OPERATE)

_ALLOWS = {READ: "read", SPEAK: "send events", OPERATE: "command calls or the service"}


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
