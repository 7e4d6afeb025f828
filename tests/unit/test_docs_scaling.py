"""docs/scaling.md says what its commands print and what the code computes; its other numbers are the code's."""

import re

import pytest

from audiohook.cli.audiohookctl import parser
from audiohook.cli.capacity_machine import most_streams
from audiohook.cli.capacity_sums import AFTER_A_LOSS, HEADERS_BYTES, HEADROOM, TLS_BYTES, WORKER_BYTES, Cost, call_bits
from audiohook.cli.capacity_sums import wire_bytes as on_the_wire
from audiohook.config import Config
from audiohook.memory import layout
from tests.bench.scaling_page import PAGE, ROOT, commands_of, rendered
from tests.unit.test_docs_protocol import tables_of

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_page_shows_what_its_commands_print() -> None:
    assert len(commands_of(TEXT)) == 2
    assert rendered(TEXT) == TEXT, "run: .venv/bin/python -m tests.bench.scaling_page"


def test_another_figure_would_be_found() -> None:
    wrong = re.sub(r"(calls a core, \S+ busy +)(\d)", r"\g<1>9\2", TEXT)
    assert wrong != TEXT
    assert rendered(wrong) == TEXT


def test_every_option_on_the_page_can_be_given() -> None:
    named = set(re.findall(r"`(--[a-z-]+)", TEXT)) - {"--json"}
    assert len(named) > 4
    known = parser().parse_args(["capacity", "--json"])
    assert {name.removeprefix("--").replace("-", "_") for name in named} <= set(vars(known))


def test_what_is_on_the_wire() -> None:
    (table,) = [table for table in tables_of(TEXT) if table.head[0] == "on the wire, bytes"]
    rows = {label: [int(cell.replace(",", "")) for cell in cells] for label, *cells in table.rows}
    audio = [int(title.rpartition(" ")[2].replace(",", "")) for title in table.head[1:]]
    assert audio == [47, 1600]
    parts = ("WebSocket header, mask included", "TLS record", "TCP, IPv4 and Ethernet, 90 a segment")
    for column, payload_bytes in enumerate(audio):
        each = {label: cells[column] for label, cells in rows.items()}
        assert each["in all"] == payload_bytes + sum(each[part] for part in parts) == on_the_wire(payload_bytes)
        assert each["TLS record"] == TLS_BYTES
        assert each["TCP, IPv4 and Ethernet, 90 a segment"] == each["segments"] * HEADERS_BYTES
        cost = Cost("", each["messages a second"], payload_bytes, 1, 1, 1)
        assert round(call_bits(cost) / 1000) == each["kbit/s a call"]
        assert int(HEADROOM * 10**9 // call_bits(cost)) == each["calls on 70 % of 1 Gbit/s"]


@pytest.mark.parametrize(
    "said",
    [
        f"at {HEADROOM:.0%} of it".replace("%", " %"),
        f"busier than {HEADROOM:.0%} and".replace("%", " %"),
        f"is busier than {AFTER_A_LOSS:.0%}".replace("%", " %"),
        f"has {WORKER_BYTES // 1_000_000} MB beside it",
        f"of the configuration ({Config().memory.ring_seconds:g} s)",
    ],
)
def test_what_the_sums_assume(said: str) -> None:
    assert said in TEXT


def test_slots_and_descriptors() -> None:
    assert f"`memory.streams` is {most_streams():,} at most" in TEXT
    limit = re.search(r"^LimitNOFILE=(\d+)$", (ROOT / "conf/systemd/audiohookd.service").read_text(), re.MULTILINE)
    assert limit
    assert f"`LimitNOFILE`, {int(limit[1]):,} in the unit's sample" in TEXT
    slot = layout.geometry(2, 1, 300, 64).arena_bytes - layout.geometry(1, 1, 300, 64).arena_bytes
    usual = layout.geometry(2, 1, 30, 64).arena_bytes - layout.geometry(1, 1, 30, 64).arena_bytes
    assert round(slot / usual) == 10
