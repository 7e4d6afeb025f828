"""Which children do not turn their loops any more, by signs of life that the supervisor looks at now and then. Pure.

A sign is any number that changes with each turn (a worker's heartbeat, a count of the desk's words). What is summed up
is not the age of the sign but the time in which the supervisor was there to see that it stood still: a look that comes
late counts for `longest_step_ns` and no more, and after one that is later than half of `hang_ns` all time begins
anew. So whoever was stopped together with the supervisor (a machine that was suspended, SIGSTOP of the whole session, a
clock that jumped, a host without CPU for anybody) gets all its time again.

Invariants (tests/unit/test_supervisor_hangs.py): of a child `Hung` is told once, `Beating` only after it, and neither
of one that is not among the signs; nothing that happens between two looks is a hang.
"""

from collections.abc import Mapping

import msgspec

from audiohook.supervisor.orders import Beating, Hung


class Sign(msgspec.Struct, frozen=True):
    """What a process shows: `turns` changes whenever its loop has turned."""

    pid: int
    turns: int


class _Watched(msgspec.Struct, frozen=True):
    sign: Sign
    stood_ns: int = 0
    told: bool = False


class HangWatch:
    """The children of one supervisor, by place."""

    def __init__(self, hang_ns: int, longest_step_ns: int) -> None:
        self._hang_ns = hang_ns
        self._longest_step_ns = longest_step_ns
        self._looked_ns: int | None = None
        self._watched: dict[int, _Watched] = {}

    def look(self, now_ns: int, signs: Mapping[int, Sign]) -> list[Hung | Beating]:
        """Take a look at all of them. Who is not in `signs` is forgotten."""
        passed_ns = 0 if self._looked_ns is None else now_ns - self._looked_ns
        step_ns = min(passed_ns, self._longest_step_ns)
        anew = passed_ns > max(self._hang_ns // 2, self._longest_step_ns)
        self._looked_ns = now_ns
        news: list[Hung | Beating] = []
        before, self._watched = self._watched, {}
        for place, sign in signs.items():
            last = before.get(place)
            if last is None or last.sign != sign:
                self._watched[place] = _Watched(sign)
                if last is not None and last.told and last.sign.pid == sign.pid:
                    news.append(Beating(place))
                continue
            stood_ns = 0 if anew else last.stood_ns + step_ns
            hung = stood_ns >= self._hang_ns
            if hung and not last.told:
                news.append(Hung(place, sign.pid, stood_ns))
            self._watched[place] = _Watched(sign, stood_ns, hung or last.told)
        return news
