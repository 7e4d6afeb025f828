"""tests/bench/plots.py: every value is where its axis says, what is void is left out and told, and all can be read."""

import itertools
import json
import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import plots
from tests.bench.media import OPUS_16K
from tests.bench.plots import DARK, DARK_LINES, LIGHT, LIGHT_LINES, MARKS, NAMESPACE, main, spread, ticks_of
from tests.bench.rounds import Trial, rows_of
from tests.bench.servers import ALL
from tests.bench.table import records_of

CALLS = (100, 400, 800)
CPU_US = {"ours": (16.0, 15.5, 15.2), "limit": (11.2, 11.0, 11.1), "a <peer> & co": (43.0, 40.0, 41.0)}
LATE = "the driver was late: p99 3.0 ms, at most 9.0 ms"


def result(void: dict[tuple[str, int], str] | None = None) -> dict[str, Any]:
    """Return a result as the bench makes it, of trials that were never run; `floor` has no latency."""
    void = void or {}
    records = []
    for number, calls in enumerate(CALLS):
        trials = [
            trial(server, cpu_us[number], 300_000 * (number + 1), void.get((server, calls), ""))
            for server, cpu_us in CPU_US.items()
        ]
        records += records_of(rows_of(OPUS_16K, calls, [*trials, trial("floor", 9.5, 0, "")]))
    return {"rows": records}


def trial(server: str, cpu_us: float, p99_ns: int, void: str) -> Trial:
    latency = {"p50": p99_ns // 2, "p99": p99_ns, "max": p99_ns * 2} if p99_ns else {}
    return Trial(0, server, cpu_us, cpu_us, 0.5, None, latency, {}, [void] if void else [])


def drawn(made: dict[str, Any]) -> dict[str, ElementTree.Element]:
    return {name: ElementTree.fromstring(text) for name, text in plots.plots(made)}


def texts(svg: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in svg.iter(f"{{{NAMESPACE}}}text")]


def lines(svg: ElementTree.Element) -> list[list[tuple[float, float]]]:
    found = []
    for line in svg.iter(f"{{{NAMESPACE}}}polyline"):
        pairs = (point.split(",") for point in line.attrib["points"].split())
        found.append([(float(x), float(y)) for x, y in pairs])
    return found


def position(svg: ElementTree.Element, label: str, axis: str) -> float:
    (found,) = (text for text in svg.iter(f"{{{NAMESPACE}}}text") if text.text == label)
    return float(found.attrib[axis]) - (plots.BASELINE if axis == "y" else 0)


def test_a_plot_of_each_figure_for_each_load() -> None:
    made = result()
    made["rows"] += [{**row, "load": "pcmu-100", "about": "PCMU stereo"} for row in made["rows"]]
    found = drawn(made)
    assert list(found) == ["cpu-opus16k.svg", "latency-opus16k.svg", "cpu-pcmu-100.svg", "latency-pcmu-100.svg"]
    assert f"CPU time a packet: {OPUS_16K.about}" in texts(found["cpu-opus16k.svg"])
    assert "Publish latency, p99: PCMU stereo" in texts(found["latency-pcmu-100.svg"])


def test_axes_have_units() -> None:
    cpu, latency = drawn(result()).values()
    assert "CPU time a packet, µs (logarithmic)" in texts(cpu)
    assert "publish latency p99, ms (logarithmic)" in texts(latency)
    assert all("calls on one core" in texts(svg) for svg in (cpu, latency))


def test_values_stand_where_the_axes_say() -> None:
    cpu, latency = drawn(result()).values()
    for svg, low, high, values in ((cpu, "10", "50", CPU_US["ours"]), (latency, "0.2", "1", (0.3, 0.6, 0.9))):
        first, last = position(svg, low, "y"), position(svg, high, "y")
        octave = (last - first) / math.log(float(high) / float(low))
        wanted = [
            (position(svg, f"{calls}", "x"), first + octave * math.log(value / float(low)))
            for calls, value in zip(CALLS, values, strict=True)
        ]
        ours = lines(svg)[0]
        assert [pytest.approx(point, abs=0.2) for point in wanted] == ours


def test_a_line_ends_with_its_name_and_last_value() -> None:
    cpu, latency = drawn(result()).values()
    assert {"ours  15.2", "limit  11.1", "a <peer> & co  41", "floor  9.5"} <= set(texts(cpu))
    assert len(lines(cpu)) == 4
    assert len(lines(latency)) == 3, "the floor has no latency"
    assert not any("floor" in said for said in texts(latency))


def test_a_server_keeps_its_colour_where_others_are_missing() -> None:
    cpu, latency = drawn(result({("ours", calls): LATE for calls in CALLS})).values()
    for svg in (cpu, latency):
        (label,) = (text for text in svg.iter(f"{{{NAMESPACE}}}text") if (text.text or "").startswith("limit"))
        assert label.attrib["class"].split()[0] == "mark1"


def test_what_is_void_parts_the_line_and_is_told() -> None:
    whole, parted = (drawn(made)["cpu-opus16k.svg"] for made in (result(), result({("ours", 400): LATE})))
    first, _, last = lines(whole)[0]
    assert lines(parted)[:2] == [[first], [last]]
    assert "Void, not drawn: ours at 400 calls" in texts(parted)
    assert not any("Void" in said for said in texts(whole))


def test_nothing_is_drawn_of_nothing() -> None:
    void = {(server, calls): LATE for server in CPU_US for calls in CALLS}
    assert list(drawn(result(void))) == ["cpu-opus16k.svg"], "the floor is left"
    assert drawn({"rows": []}) == {}


def test_the_values_are_there_in_words_too() -> None:
    (said,) = drawn(result())["cpu-opus16k.svg"].iter(f"{{{NAMESPACE}}}desc")
    assert "limit: 11.2 µs at 100 calls, 11 µs at 400 calls, 11.1 µs at 800 calls" in (said.text or "")


def test_the_command_writes_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bench.json").write_text(json.dumps(result()), encoding="utf-8")
    assert main([str(tmp_path / "bench.json"), str(tmp_path / "docs" / "plots")]) == 0
    written = sorted((tmp_path / "docs" / "plots").iterdir())
    assert [path.name for path in written] == ["cpu-opus16k.svg", "latency-opus16k.svg"]
    assert capsys.readouterr().out.split() == [str(path) for path in written]
    for path in written:
        ElementTree.parse(path)


# Scales and places

positive = st.floats(1e-3, 1e5)


@given(st.lists(positive, min_size=1, max_size=12), st.integers(1, 20_000))
def test_any_values_lie_between_ticks(values: list[float], calls: int) -> None:
    canvas = plots.canvas_of([plots.Line("any", 0, (tuple((calls, value) for value in values),))])
    ticks = ticks_of(canvas)
    assert canvas.low < min(values)
    assert max(values) < canvas.high
    assert 2 <= len(ticks) <= 12
    assert all(
        plots.TOP - 1e-6 <= canvas.y(value) <= plots.TOP + plots.PLOT_HEIGHT + 1e-6 for value in [*values, *ticks]
    )


@given(st.lists(st.floats(0, 400), max_size=9), st.floats(1, 30))
def test_labels_stand_apart_in_their_order(wanted: list[float], apart: float) -> None:
    placed = spread(wanted, apart)
    assert all(after - before >= apart - 1e-6 for before, after in itertools.pairwise(sorted(placed)))
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    assert order == sorted(order, key=lambda index: placed[index])
    if all(after - before >= apart for before, after in itertools.pairwise(sorted(wanted))):
        assert placed == pytest.approx(wanted)


# Colours


def contrast(one: str, other: str) -> float:
    """Return the ratio of two colours' luminance (WCAG 2.2, "contrast ratio")."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    channels = [int(part, 16) / 255 for part in re.findall("[0-9a-f]{2}", colour)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize(("theme", "colours"), [(LIGHT, LIGHT_LINES), (DARK, DARK_LINES)], ids=["light", "dark"])
def test_all_texts_can_be_read_in_both_themes(theme: dict[str, str], colours: tuple[str, ...]) -> None:
    read = [theme["ink"], theme["faint"], *colours]
    assert min(contrast(colour, theme["paper"]) for colour in read) >= 4.5
    assert len(set(colours)) == len(colours) == len(MARKS) == len(set(MARKS))


def test_there_is_a_colour_for_every_server_of_the_bench() -> None:
    assert len(ALL) + len(["floor"]) <= len(LIGHT_LINES)
