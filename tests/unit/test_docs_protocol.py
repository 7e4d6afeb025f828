"""docs/protocol.md is as complete as the code: what it cites exists, and what the code knows has a row there.

That files and tests named anywhere exist at all is test_citations.py's; here the two are held to one another: the test
stands in the file that the row names.
"""

import importlib
import re
from functools import cache
from typing import NamedTuple

import msgspec
import pytest

from audiohook.auth.finding import Result
from audiohook.config import Config
from audiohook.session import audiohook2_messages as wire
from audiohook.session.audiohook2_entities import Entity
from audiohook.session.audiohook2_table import COUNTED, TABLE, Action, Input, State
from audiohook.units import NS_PER_S
from tests.unit.test_citations import ROOT, TEST_NAMES

TEXT = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")

CITED = re.compile(r"`(test_\w+\.py)::(\w+)`")
CODE = re.compile(r"`([^`]+)`")
DEFINED = re.compile(r"^(?:def|class) ((?:test_|Test)\w+)|^(Test\w+) = ", re.MULTILINE)


class Table(NamedTuple):
    heading: str
    head: list[str]
    rows: list[list[str]]


def tables_of(text: str) -> list[Table]:
    """Return every table of a page with the heading above it."""
    tables: list[Table] = []
    heading = ""
    inside = False
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        if not line.startswith("|"):
            inside = False
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not inside:
            tables.append(Table(heading, cells, []))
            inside = True
        elif not set(cells[0]) <= {"-"}:
            tables[-1].rows.append(cells)
    return tables


TABLES = tables_of(TEXT)


def column(name: str) -> list[str]:
    """Return the cells of all columns with this head."""
    return [row[table.head.index(name)] for table in TABLES if name in table.head for row in table.rows]


def first_cells(heading: str, head: str) -> list[str]:
    """Return what stands in backticks in the first cells of the tables below a heading whose first head is `head`."""
    found = [table for table in TABLES if (table.heading, table.head[0]) == (heading, head)]
    assert found, f"no table {head!r} below {heading!r}"
    return [code for table in found for row in table.rows for code in CODE.findall(row[0])]


@cache
def named_in(name: str) -> frozenset[str]:
    """Return the tests in the one file of that name."""
    (path,) = (ROOT / "tests").rglob(name)
    return frozenset(one or other for one, other in DEFINED.findall(path.read_text(encoding="utf-8")))


def modules_named(name: str) -> list[str]:
    paths = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "audiohook").rglob("*.py")]
    return [".".join(path.parts) for path in paths if f"/{path}".endswith(f"/{name}")]


# What is cited


@pytest.mark.parametrize("table", [table for table in TABLES if "test" in table.head], ids=lambda table: table.heading)
def test_every_row_names_a_test_and_all_of_its_cells(table: Table) -> None:
    for row in table.rows:
        assert len(row) == len(table.head), row
        assert CITED.search(row[table.head.index("test")]), row
    assert table.rows


def test_every_test_that_is_cited_stands_in_its_file() -> None:
    cited = set(CITED.findall(TEXT))
    assert len(cited) > 100, "the page is read"
    assert not [f"{name}::{test}" for name, test in cited if test not in named_in(name)]
    assert {test for _, test in cited if test.startswith("test_")} <= TEST_NAMES


def test_every_module_that_is_named_exists() -> None:
    names = {code for cell in column("where") for code in CODE.findall(cell)}
    assert len(names) > 20, "the page is read"
    assert not [name for name in names if not modules_named(name)]


def test_a_citation_of_nothing_would_be_found() -> None:
    assert "test_gone" not in named_in("test_audiohook2_open.py")
    assert {"TestAnyPeer"} == named_in("test_audiohook2_any.py")
    assert modules_named("auth/gone") == []


# What has a row


def parameters_of(name: str, struct: type[msgspec.Struct]) -> list[str]:
    """Return the wire names of all parameters, those within parameters with both names."""
    found = []
    for field in msgspec.structs.fields(struct):
        whole = f"{name}.{field.encode_name}"
        found.append(whole)
        if isinstance(field.type, type) and issubclass(field.type, wire.Parameters):
            found += parameters_of(whole, field.type)
    return found


SIDES = {"From Genesys": list(wire.CLIENT_MESSAGES.values()), "To Genesys": wire.ServerMessage.__subclasses__()}


@pytest.mark.parametrize("heading", SIDES)
def test_every_message_and_each_of_its_parameters_has_one_row(heading: str) -> None:
    kinds = {str(kind.__struct_config__.tag): kind for kind in SIDES[heading]}
    messages = first_cells(heading, "message")
    assert [name for name in messages if name not in ("reconnecting", "reconnected")] == list(kinds)
    expected = []
    for name, kind in kinds.items():
        (field,) = (field for field in msgspec.structs.fields(kind) if field.name == "parameters")
        expected += parameters_of(name, field.type)
    assert sorted(first_cells(heading, "parameter")) == sorted(expected)


def test_every_entity_has_a_row() -> None:
    known = [str(kind.__struct_config__.tag) for kind in Entity.__args__]
    assert first_cells("To Genesys", "entity of an `event`") == known


def test_every_counter_and_every_result_has_a_row() -> None:
    assert sorted(first_cells("Counters", "counter")) == sorted(COUNTED)
    assert first_cells("Signature", "result") == [result.value for result in Result]


def test_every_setting_is_named() -> None:
    settings = {
        f"{section}.{name}"
        for section in ("audiohook2", "auth")
        for name in getattr(Config(), section).__struct_fields__
    }
    assert settings - set(CODE.findall(TEXT)) == {"auth.secret_header"}, "which is the other dialect's"


def test_the_words_of_violations_are_those_that_are_said() -> None:
    said = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "audiohook" / "session").glob("audiohook2_*.py")
    )
    words = first_cells("Ends", "words of a violation")
    assert sorted(words) == sorted(re.findall(r'"Client Error: ([^"]+)"', said))


# What has a value


def value_of(name: str) -> float:
    """Return a constant (`module.NAME`) or the default of a setting (`section.key`), times in seconds."""
    place, _, leaf = name.rpartition(".")
    if not leaf.isupper():
        return float(getattr(getattr(Config(), place), leaf))
    (module,) = modules_named(place)
    value: float = getattr(importlib.import_module(module), leaf)
    return value / NS_PER_S if leaf.endswith("_NS") else value


def test_every_limit_has_the_value_that_is_in_force() -> None:
    (table,) = (table for table in TABLES if "value" in table.head)
    shown = {}
    for row in table.rows:
        (name,) = CODE.findall(row[2])
        if "." in name:
            shown[name] = float(row[1].split()[0].replace(",", ""))
        else:
            assert modules_named(name)
    assert shown == {name: value_of(name) for name in shown}
    assert len(shown) > 10, "the page is read"


# The table of states


def rendered_states() -> list[str]:
    """Return the table of states as the page must show it: a row for each set of states that do the same."""
    rows: dict[tuple[tuple[State, ...], State | None, Action], list[str]] = {}
    for given in Input:
        alike: dict[tuple[State | None, Action], list[State]] = {}
        for state in State:
            after, action = TABLE[state, given]
            if after is not state or action not in (Action.NOTHING, Action.DECLINE):
                alike.setdefault((None if after is state else after, action), []).append(state)
        for (after_if_other, action), states in alike.items():
            rows.setdefault((tuple(states), after_if_other, action), []).append(given.value)
    lines = ["| on | in | goes to | does |", "|---|---|---|---|"]
    for (states, after_if_other, action), inputs in rows.items():
        places = " · ".join(state.name for state in states)
        goes_to = "–" if after_if_other is None else after_if_other.name
        lines.append(f"| {' · '.join(inputs)} | {places} | {goes_to} | {action.value} |")
    return lines


def test_the_table_of_states_is_the_one_in_force() -> None:
    section = TEXT.partition("\n## States\n")[2]
    shown = section[section.index("| on |") :].partition("\n\n")[0].splitlines()
    assert shown == rendered_states(), "write these lines there:\n" + "\n".join(rendered_states())
