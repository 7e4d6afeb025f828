"""docs/operating.md names every log line, event, state, slug and deadline that there is, and none that there is not."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from audiohook.auth.verdict import FAILURE_DELAY_NS
from audiohook.cli.audiohookctl import parser
from audiohook.config.fields import SECTIONS, number
from audiohook.control.errands import ERRAND_NS
from audiohook.errors import CLOSURES, PEER_CLOSED, PEER_VANISHED, REFUSALS, WORKER_DIED
from audiohook.memory import layout
from audiohook.memory.view import WRITER_GONE_NS
from audiohook.net.log_limit import LOG_EVERY_NS
from audiohook.session import audiohook2, context
from audiohook.supervisor import parking, policy, state
from audiohook.units import NS_PER_S
from audiohook.worker import placement, succession
from audiohook.worker.stream_intake import TOLD

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")

LOG_CALLS = frozenset({"debug", "info", "warning", "error", "exception", "log", "_log", "note", "Log"})
TEXT_AT = {"log": 1, "_log": 1, "note": 1, "Log": 1}
"""Which argument is the text, where it is not the first."""

MADE_ELSEWHERE = {
    *("… exited with …", "… was killed by signal …"),
    *("going on with", "recorded", "interrupted"),
}
"""Lines whose words are put in where the log is told: looked for below as they stand."""


def section(title: str) -> str:
    """Return the text below a heading, to the next one of its rank."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^\1 |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"no section is called {title}"
    return found[2]


def rows(title: str) -> list[list[str]]:
    """Return the cells of every row of a section's tables, headings aside."""
    lines = [line for line in section(title).splitlines() if line.startswith("| ") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if "`" in line.split(" | ")[0]]


def named(title: str) -> list[str]:
    """Return what stands in backquotes in the first column of a section's tables."""
    return [name for cells in rows(title) for name in quoted(cells[0])]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# ------------------------------------------------------------------------------------------------ what the code says


def sources() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((ROOT / "audiohook").rglob("*.py")):
        if path.parent.name not in ("load", "faults"):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def shape(node: ast.expr) -> str | None:
    """Return a text with … for what varies; None if it is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[.\d]*[sdgrf]", "…", node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join("…" if isinstance(one, ast.FormattedValue) else str(shape(one)) for one in node.values)
    return None


def texts_of(tree: ast.Module, argument: ast.expr) -> Iterator[str]:
    """Yield the texts that an argument may be: itself, or what a variable of that name is set to in its module."""
    text = shape(argument)
    if text is not None:
        yield text
    elif isinstance(argument, ast.Name):
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and any(getattr(one, "id", "") == argument.id for one in node.targets):
                yield from filter(None, [shape(node.value)])


def logged() -> set[str]:
    """Return every line that the log can have, in shape; those of nothing but … say what somebody else has said."""
    found = set()
    for _, tree in sources():
        for node in ast.walk(tree):
            at = TEXT_AT.get(called(node), 0) if isinstance(node, ast.Call) else 0
            if isinstance(node, ast.Call) and called(node) in LOG_CALLS and len(node.args) > at:
                found |= set(texts_of(tree, node.args[at]))
    return {text for text in found if re.search("[A-Za-z]{3}", re.sub(r"\w+=…", "", text))}


def told() -> set[str]:
    """Return the kind of every event."""
    kinds = set(TOLD)
    for _, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and called(node) in ("tell", "_tell") and node.args:
                kind = node.args[0]
                if isinstance(kind, ast.Constant) and isinstance(kind.value, str):
                    kinds.add(kind.value)
    return kinds | {"lapped"}


def settings() -> dict[str, tuple[str, float]]:
    """Return unit and default of every number of the configuration."""
    return {
        f"{section}.{name}": (field.unit, field.default)
        for section, fields in SECTIONS.items()
        for name, field in fields.items()
        if isinstance(field.default, int | float)
    }


# ------------------------------------------------------------------------------------------------ the page has them


def starts(documented: str, line: str) -> bool:
    """Return whether a line of the page is how a line of the log begins."""
    return line.startswith(documented.removesuffix("…"))


def test_every_line_of_the_log_is_on_the_page() -> None:
    lines = logged()
    assert len(lines) > 50, "the search for them has become blind"
    page = named("Log")
    missing = sorted(line for line in lines if not any(starts(one, line) for one in page))
    assert not missing


def test_the_page_has_no_line_that_the_log_has_not() -> None:
    lines = logged()
    extra = {one for one in named("Log") if not any(starts(one, line) for line in lines)}
    assert extra == MADE_ELSEWHERE
    everything = "".join(path.read_text(encoding="utf-8") for path, _ in sources())
    for text in MADE_ELSEWHERE:
        assert text.strip("… ") in everything


def test_every_event_is_on_the_page_and_no_other() -> None:
    assert set(named("Events")) == told()


def test_every_slug_is_on_the_page_with_its_answer() -> None:
    table = rows("Refusals, closures and ends by slug")
    answers = {name: cells[1] for cells in table for name in quoted(cells[0])}
    slugs = {one.slug for one in (*REFUSALS, *CLOSURES)} | {PEER_CLOSED, PEER_VANISHED, WORKER_DIED}
    assert set(answers) == slugs
    for refusal in REFUSALS:
        assert str(refusal.status) in answers[refusal.slug], refusal.slug
    for closure in CLOSURES:
        code = "reset" if closure.code is None else "disconnect" if closure.code == 1008 else str(closure.code)
        assert code in answers[closure.slug], closure.slug


def test_every_state_is_on_the_page() -> None:
    arena = set(layout.ARENA_STATES.values())
    assert set(named("States")) >= arena | set(layout.ROW_STATES.values()) | set(layout.STREAM_STATES)


NO_DEADLINES = frozenset({"memory.ring_seconds"})
"""Lengths, not waits."""


def test_every_deadline_is_on_the_page_with_its_default() -> None:
    units = {"seconds": "s", "milliseconds": "ms"}
    wanted = {
        key: f"{number(default)} {units[unit]}"
        for key, (unit, default) in settings().items()
        if unit in units and key not in NO_DEADLINES
    }
    assert len(wanted) > 15, "the search for them has become blind"
    shown = {cells[0].strip("`"): cells[1] for cells in rows("Deadlines") if re.fullmatch(r"`[\w.]+`", cells[0])}
    assert shown == wanted


@pytest.mark.parametrize(
    ("row", "constants"),
    [
        ("a refused key's answer", [FAILURE_DELAY_NS]),
        ("the peer's answer to our close frame", [context.CLOSE_WAIT_NS, audiohook2.CLOSE_WAIT_NS]),
        ("`close` after our `disconnect`", [audiohook2.ANSWER_WAIT_NS]),
        ("a connection whose predecessor", [succession.WAIT_NS]),
        ("a peer after `unhold`", [parking.EXPECTED_BACK_NS]),
        ("a command's answer", [ERRAND_NS]),
        ("a worker that was told to end its calls now", [policy.HURRY_NS]),
        ("a hung worker", [policy.DUMP_NS, policy.CONDEMNED_NS]),
        ("a crashed worker's successor", [state.FIRST_BACKOFF_NS, state.LONGEST_BACKOFF_NS]),
        ("while no worker serves", [state.LONELY_BACKOFF_NS]),
        ("a heartbeat", [placement.STALE_NS]),
        ("until `WriterGone`", [WRITER_GONE_NS]),
        ("the next line of the same kind", [LOG_EVERY_NS]),
    ],
)
def test_what_cannot_be_set_is_as_the_page_says(row: str, constants: list[int]) -> None:
    (line,) = [line for line in section("Deadlines").splitlines() if line.startswith("| ") and row in line]
    for constant in constants:
        assert f"{constant / NS_PER_S:g} s" in line.split(" | ")[1]


def test_every_command_on_the_page_can_be_given() -> None:
    commands = set(re.findall(r"`audiohookctl (\w+)", PAGE))
    assert {"status", "resume"} <= commands
    known = parser().format_help()
    assert not [command for command in commands if not re.search(rf"^    {command}\b", known, re.MULTILINE)]
