"""What the bench makes of its trials: medians, ratios, what is void; and that docs/performance.md explains it."""

import re
from collections.abc import Callable

import pytest

from tests.bench import media, servers
from tests.bench.media import OPUS_16K
from tests.bench.page import BEGIN, END, PAGE, markdown_of, with_result
from tests.bench.rounds import FLOOR, Trial, rows_of
from tests.bench.sustained import STEP, largest
from tests.bench.table import COLUMNS, Record, machine, records_of, table_of

LATENCY = {"count": 10, "p50": 40_000, "p99": 2_000_000, "max": 9_000_000}
LATENESS = {"count": 10, "p50": 100, "p99": 7000, "max": 30_000}
TEXT = PAGE.read_text(encoding="utf-8")


def trial(server: str, number: int, cpu_us: float, *void: str) -> Trial:
    return Trial(number, server, cpu_us, cpu_us - 1, 0.5, 20.0, LATENCY, LATENESS, list(void))


def result(*trials: Trial) -> Record:
    return {
        "machine": machine(),
        "seconds": 3.0,
        "rounds": 3,
        "rows": records_of(rows_of(OPUS_16K, 800, trials)),
        "left_out": [{"server": "article", "why": "node: not there"}],
        "sustained": [{"load": "opus16k", "server": "ours", "calls": 1100, "seconds": 30.0, "why": "with 1,140: late"}],
    }


MEASURED = result(
    trial("ours", 0, 14.0),
    trial("limit", 0, 10.0),
    trial("ours", 1, 30.0),
    trial("limit", 1, 20.0),
    trial("ours", 2, 15.0),
    trial("limit", 2, 12.0),
)


def test_a_row_has_the_median_and_the_median_of_the_ratios() -> None:
    ours, limit = MEASURED["rows"]
    assert (ours["server"], ours["cpu_us"], limit["cpu_us"]) == ("ours", 15.0, 12.0)
    assert ours["of_limit"] == 1.4
    assert limit["of_limit"] == 1.0
    assert (ours["p50_ms"], ours["p99_ms"], ours["max_ms"], ours["late_p99_us"]) == (0.04, 2.0, 9.0, 7.0)
    assert ours["void"] == []


def test_a_void_round_counts_for_nothing() -> None:
    one = result(
        trial("ours", 0, 99.0, "late"), trial("ours", 1, 15.0), trial("limit", 0, 10.0), trial("limit", 1, 10.0)
    )
    ours = one["rows"][0]
    assert (ours["cpu_us"], ours["of_limit"], ours["good_rounds"], ours["void"]) == (15.0, 1.5, 1, [])
    assert len(ours["trials"]) == 2


def test_a_row_without_a_good_round_is_void_and_says_why() -> None:
    one = result(trial("ours", 0, 14.0, "late"), trial("ours", 1, 14.0, "late", "lost"), trial("limit", 0, 10.0))
    ours = one["rows"][0]
    assert (ours["cpu_us"], ours["of_limit"], ours["void"]) == (None, None, ["late", "lost"])
    table = table_of(one)
    assert re.search(r"opus16k +800 +ours +void", table)
    assert "void: opus16k, 800 calls, ours: late; lost" in table


def test_the_table_has_every_row_and_note() -> None:
    table = table_of(MEASURED)
    assert re.search(r"opus16k +800 +ours +15\.0 +1\.40 +50% +0\.04 +2\.00 +9\.0 +20\.0 +7", table)
    assert "left out: article: node: not there" in table
    assert "sustained: opus16k, ours: 1,100 calls; with 1,140: late" in table


def test_the_pages_result_is_replaced_as_often_as_one_likes() -> None:
    once = with_result(TEXT, MEASURED)
    assert "| 800 | ours | 15.0 | 1.40 |" in once
    assert once.startswith(TEXT.partition(BEGIN)[0])
    assert once.endswith(TEXT.partition(END)[2])
    assert with_result(once, MEASURED) == once
    with pytest.raises(ValueError, match="no place"):
        with_result("a page", MEASURED)


def test_the_markdown_has_a_table_for_each_load() -> None:
    other = {**MEASURED["rows"][0], "load": "pcmu-100", "about": "PCMU"}
    made = markdown_of({**MEASURED, "rows": [*MEASURED["rows"], other]})
    assert made.count("| calls | server |") == 2
    assert "Medians of 3 rounds of 3 s." in made


def test_the_page_explains_every_column_server_and_load() -> None:
    explained = set(re.findall(r"`([^`]+)`", "\n".join(re.findall(r"^\| (`[^|]*) \|", TEXT, re.MULTILINE))))
    named = (*servers.ALL, servers.OURS_TWO)
    shown = {*COLUMNS, FLOOR, *(server.name for server in named), *(load.name for load in media.ALL)}
    assert explained == shown


@pytest.mark.parametrize("limit", [0, 1, 7, 640, 999, 1000])
def test_halving_finds_the_largest_number_and_never_more(limit: int) -> None:
    def holds(calls: int) -> bool:
        return calls <= limit

    found = largest(holds, 1000)
    assert limit - max(1, STEP * limit) <= found <= limit


def test_halving_asks_few_times() -> None:
    asked: list[int] = []

    def holds_and_notes(below: int) -> Callable[[int], bool]:
        return lambda calls: not asked.append(calls) and calls <= below

    assert largest(holds_and_notes(1500), 4000) <= 1500
    assert len(asked) < 12
