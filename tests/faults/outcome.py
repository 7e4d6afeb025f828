"""What a row of the table comes down to: figures, and findings that hold or do not. Knows no daemon and no clock.

A finding is either a *count*, which holds on any machine however slow, or a *time*. A time measured by a client that
was late itself is void: the row then shows nothing, which is not the same as being right.
"""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """One sentence that holds or does not."""

    told: str
    holds: bool
    timed: bool


@dataclass
class Outcome:
    """One fault's row. `lost` is in frames, by cause, of calls that must lose nothing; `own` of those that were hit.

    `refused` connections got an answer that was not 101, or none. `recovered_s`: until all was as before, None where
    nothing had to recover.
    """

    calls: int
    lost: Counter[str] = field(default_factory=Counter)
    own: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    recovered_s: float | None = None
    void: str = ""
    findings: list[Finding] = field(default_factory=list)

    def count(self, holds: bool, told: str) -> None:
        """Take down something that has nothing to do with how fast this machine is."""
        self.findings.append(Finding(told, bool(holds), timed=False))

    def timed(self, holds: bool, told: str) -> None:
        """Take down something that a machine with too much else to do would break."""
        self.findings.append(Finding(told, bool(holds), timed=True))

    def impossible(self, why: str) -> None:
        """This row cannot be done on this machine: nothing was shown."""
        self.void = why
        self.timed(False, why)

    @property
    def wrong(self) -> list[str]:
        """What does not hold; times only where they are worth something."""
        return [one.told for one in self.findings if not one.holds and not (one.timed and self.void)]

    @property
    def wrong_counts(self) -> list[str]:
        return [one.told for one in self.findings if not one.holds and not one.timed]

    @property
    def verdict(self) -> str:
        if self.wrong or not self.findings:
            return "FAILED"
        return "void" if self.void else "ok"
