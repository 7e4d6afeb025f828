"""What became of each part of a run with a fault: those that had it, those that came back, and their neighbours.

Pure. `docs/load.md`, "Faults", says what the columns mean.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from audiohook.load.histogram import Histogram, Quantiles, quantiles
from audiohook.load.reports import CallOutcome, StreamVerdict

OTHERS = "others"


class Part(msgspec.Struct, frozen=True):
    """The connections of one part. `name` is the fault, `returned`, or `others`.

    `endings` are counted by how and detail; `refused` by status. `lost` is by cause, in frames, None without
    `--verify`: `missing` (sent as whole packets and not readable), `different`, and every gap. `answered` is from a
    connection's own connect until audio might be sent (the 101, or `opened`), of those who came so far.
    """

    name: str
    calls: int
    endings: dict[str, int]
    refused: dict[str, int]
    lost: dict[str, int] | None
    recovered: Quantiles
    answered: Quantiles


def parts_of(outcomes: Iterable[CallOutcome], verdicts: Sequence[StreamVerdict] | None) -> tuple[Part, ...]:
    """Return the parts of a run, those with the fault first; nothing for a run without one."""
    whole: dict[str, list[CallOutcome]] = {}
    for outcome in outcomes:
        whole.setdefault(outcome.fault, []).append(outcome)
    if not any(whole):
        return ()
    names = sorted(whole, key=lambda name: (not name, whole[name][0].call))
    return tuple(_part(name or OTHERS, whole[name], verdicts) for name in names)


def _part(name: str, outcomes: Sequence[CallOutcome], verdicts: Sequence[StreamVerdict] | None) -> Part:
    recovered, answered = Histogram(), Histogram()
    for outcome in outcomes:
        if outcome.opened:
            answered.record(outcome.connect_ns + outcome.open_ns)
        if outcome.recovered_ns:
            recovered.record(outcome.recovered_ns)
    return Part(
        name=name,
        calls=len(outcomes),
        endings=dict(Counter(f"{one.ending} ({one.detail})" if one.detail else one.ending for one in outcomes)),
        refused=dict(Counter(outcome.detail for outcome in outcomes if outcome.ending == "refused")),
        lost=None if verdicts is None else _lost({outcome.call for outcome in outcomes}, verdicts),
        recovered=quantiles(recovered),
        answered=quantiles(answered),
    )


def _lost(calls: set[int], verdicts: Iterable[StreamVerdict]) -> dict[str, int]:
    lost: Counter[str] = Counter()
    for verdict in verdicts:
        if verdict.call in calls:
            lost.update(verdict.gap_frames)
            lost.update(missing=verdict.missing + verdict.missing_tail, different=verdict.different)
    return {cause: frames for cause, frames in sorted(lost.items()) if frames}
