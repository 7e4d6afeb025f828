"""What a scenario file says: what one call does, step by step, and what must come of it. No sockets, no audio.

Contract and examples: docs/load.md and conf/scenarios/. A file that cannot be used is a LoadError that names file,
place and remedy; a step is a struct by its `do`.
"""

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from audiohook.load.errors import LoadError

MAX_SENT_SECONDS = 28
"""Audio of a scenario, summed up: it is read out of the ring when all is over, so it must fit (30 s by default)."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag=str.lower):
    """Base of the steps."""


class Connect(Step, frozen=True):
    """Connect, ask for the upgrade, say `open` and await `opened` (`audiohook2`).

    `continues`: the session before is named as continued, and its last `history_seconds` are offered again.
    """

    signature: Literal["good", "stale", "forged", "none"] = "good"
    continues: bool = False
    history_seconds: float = 0


class Audio(Step, frozen=True):
    """Send audio in real time, or with `burst` at once. `recut`: the packets' bytes in pieces of other lengths."""

    seconds: float
    burst: bool = False
    recut: bool = False


class Wait(Step, frozen=True):
    """Send no audio, answer what has to be answered."""

    seconds: float


class Await(Step, frozen=True):
    """Wait until the server has said `message`, a fault if it does not come in time. Each is awaited once."""

    message: Literal["pause", "resume", "updated", "event", "disconnect"]
    within_seconds: float = 5


class Pause(Step, frozen=True):
    """Pause, for a reason of the client's own."""


class Resume(Step, frozen=True):
    """End that pause."""


class Discard(Step, frozen=True):
    """Leave out so much audio, and say so."""

    seconds: float


class Update(Step, frozen=True):
    """Tell another language."""

    language: str


class Dtmf(Step, frozen=True):
    """Tell a digit."""

    digit: str


class Skip(Step, frozen=True):
    """Leave out `numbers` of seq: the next message has a wrong one."""

    numbers: int = 1


class Operator(Step, frozen=True):
    """Do what an operator does with `audiohookctl`, to this call's stream."""

    command: Literal["pause", "resume", "disconnect", "mask", "unmask"]


class Close(Step, frozen=True):
    """End the session in order: `close` with `reason` in `audiohook2`, a close frame with `code` in `context`."""

    reason: Literal["end", "error", "disconnect", "reconnect"] = "end"
    code: int = 1000
    text: str = ""


class Drop(Step, frozen=True):
    """End TCP without a word."""


AnyStep = Connect | Audio | Wait | Await | Pause | Resume | Discard | Update | Dtmf | Skip | Operator | Close | Drop

CONTEXT_STEPS = (Connect, Audio, Wait, Operator, Close, Drop)


class Expect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must come of it; what is not named must not happen. Seconds are exact, `gaps_at_least` are not.

    `refused` is the HTTP status of the last connection, `disconnect` the reason that the server gave, `close_code` that
    of a close frame that the server sent first. `end_reason` is the last stream's, and `parked` whether its peer may
    still come back. `continues`: each stream continues the one before, and begins where that ended.
    """

    streams: int = 1
    refused: int = 0
    disconnect: str = ""
    close_code: int = 0
    end_reason: str = "peer_closed"
    parked: bool = False
    gaps: dict[str, float] = {}
    gaps_at_least: dict[str, float] = {}
    continues: bool = False


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One call's story. `path` takes the place of the URL's; `packet_bytes` makes all Opus packets that long.

    `self_delimited` sends them as RFC 6716 appendix B has them.
    """

    about: str
    dialect: Literal["context", "audiohook2"]
    steps: tuple[AnyStep, ...]
    expect: Expect
    path: str = ""
    packet_bytes: int = 0
    self_delimited: bool = False
    message_ms: int = 100


def load_scenario(path: Path) -> Scenario:
    """Return the scenario of a file, or raise LoadError."""
    try:
        scenario = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Scenario)
    except OSError as error:
        raise LoadError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, msgspec.ValidationError) as error:
        raise LoadError(f"{path}: {error}; docs/load.md lists steps and expectations") from None
    _check(path, scenario)
    return scenario


def _check(path: Path, scenario: Scenario) -> None:
    steps = scenario.steps
    if not steps or not isinstance(steps[0], Connect):
        raise LoadError(f"{path}: the first step must be connect")
    if scenario.dialect == "context":
        for place, step in enumerate(steps):
            if not isinstance(step, CONTEXT_STEPS) or (isinstance(step, Connect) and step.signature != "good"):
                raise LoadError(f"{path}: steps[{place}]: the dialect context has no such step")
    sent = sum(step.seconds for step in steps if isinstance(step, Audio))
    if sent > MAX_SENT_SECONDS:
        raise LoadError(f"{path}: {sent:g} s of audio; wanted at most {MAX_SENT_SECONDS}, or the ring cannot hold them")
    told = scenario.packet_bytes or scenario.self_delimited
    if any(isinstance(step, Audio) and step.recut for step in steps) and not told:
        raise LoadError(
            f"{path}: audio that is cut anew needs packets of one length, or such that say how long they are: "
            "set packet_bytes, or self_delimited"
        )
