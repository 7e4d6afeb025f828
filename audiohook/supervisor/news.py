"""What a child says and how it ends, as inputs of the policy. Functions of values: knows no pipe and no process."""

import msgspec

from audiohook.net.seat import ChangesOnly, Word
from audiohook.supervisor.orders import (
    Changes,
    ChildExited,
    DeskExited,
    DeskReady,
    DeskReport,
    Input,
    TrialExited,
    TrialFailed,
    TrialPassed,
    WorkerReady,
    WorkerReport,
)
from audiohook.supervisor.state import DESK, TRIAL


def exit_input(place: int, pid: int, code: int) -> Input:
    if place == TRIAL:
        return TrialExited(code)
    return DeskExited(code) if place == DESK else ChildExited(place, pid, code)


def report_input(place: int, word: Word) -> Input | None:
    """Return what a word means; None where that child has no such word."""
    if isinstance(word, ChangesOnly):
        return _changes(word.text) if place == TRIAL else None
    if place == TRIAL:
        return TrialPassed() if word is None else TrialFailed(word)
    if place == DESK:
        return DeskReady() if word is None else DeskReport(word)
    return WorkerReady(place) if word is None else WorkerReport(place, word)


def _changes(text: str) -> Input:
    try:
        return TrialPassed(msgspec.json.decode(text, type=Changes))
    except msgspec.DecodeError as error:
        return TrialFailed(f"the trial process names what has changed in no way that is known here: {error}")


def child_words(place: int) -> str:
    return "the desk" if place == DESK else f"worker {place}"
