"""What is planned to go wrong in a run, as values. PURE; `planning.py` makes them, one class a fault carries them out.

The kinds, and what each stands for, are in docs/load.md, "Faults". `RETURNED` is no fault that can be asked for: it is
the part of the connections with which calls come back in `mass-reconnect`.
"""

import msgspec

HALF_OPEN = "half-open"
RST = "rst"
BYTE_AT_A_TIME = "byte-at-a-time"
STORM = "storm"
GARBAGE = "garbage"
MASS_RECONNECT = "mass-reconnect"
STALL = "stall"
SLOW_TLS = "slow-tls"
KINDS = (HALF_OPEN, RST, BYTE_AT_A_TIME, STORM, GARBAGE, MASS_RECONNECT, STALL, SLOW_TLS)
RETURNED = "returned"

DEFAULT_SHARES = dict.fromkeys(KINDS, 0.5) | {MASS_RECONNECT: 1.0, STALL: 1.0}
"""Half of the calls are the neighbours who must notice nothing; but a network fails for all."""

MAX_STALL_SECONDS = 600
MAX_FOUND_WITHIN_SECONDS = 3600


class FaultWish(msgspec.Struct, frozen=True):
    """What was asked for. `share` is of the calls of each dialect; None: as in DEFAULT_SHARES.

    `found_within_seconds`: how long the daemon may take to end a half-open, a garbage or a slow peer.
    """

    kind: str
    share: float | None = None
    stall_seconds: float = 2
    found_within_seconds: float = 60


class PlannedFault(msgspec.Struct, frozen=True):
    """What goes wrong with one call.

    `rank` counts the calls of a dialect that have a fault; `draw` is 64 random bits of this call's own. `instant_ns`
    after the epoch is when it happens to all at once, `lasts_ns` how long; 0 where that has no meaning. `former` is the
    call that a RETURNED one comes back for, else -1.
    """

    kind: str
    rank: int
    draw: int
    instant_ns: int = 0
    lasts_ns: int = 0
    found_within_ns: int = 0
    former: int = -1
