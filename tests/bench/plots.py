"""Plots of a result of the bench: CPU a packet and publish latency against calls, an SVG each for every load.

`python -m tests.bench.plots JSON FOLDER`, where JSON is what `tests.bench.run --json` wrote (its records: table.py).

Both axes of values are logarithmic: what is compared are ratios, and an equal ratio is an equal distance anywhere. A
server has one colour and one mark in all plots of a result, and its name and last value stand where its line ends.
What is void is not drawn: the line is broken there, and a note below says so. The colours follow the viewer's choice of
light or dark and bring their own background, for a page that chose differently.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

NAMESPACE = "http://www.w3.org/2000/svg"
WIDTH, LEFT, RIGHT, TOP, PLOT_HEIGHT, BELOW = 860, 64, 180, 52, 340, 58
NOTE_HEIGHT = 17
LABEL_APART = 16
LABEL_ABOVE = 10
TICK_APART = 30
BASELINE = 4
"""How far below its middle a line of text stands."""

FONT = "13px system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
LIGHT = {"paper": "#ffffff", "ink": "#1f2328", "faint": "#59636e", "grid": "#dfe4ea"}
DARK = {"paper": "#0d1117", "ink": "#e6edf3", "faint": "#9aa6b2", "grid": "#2a313a"}
LIGHT_LINES = ("#0b5cad", "#57606a", "#a8410b", "#0a7048", "#8a3fa0", "#7a5c00", "#b0226a")
DARK_LINES = ("#6cb6ff", "#adbac7", "#ff9d6b", "#56d39b", "#d2a8ff", "#e3b341", "#ff8cc0")

MARKS = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
    "M-3.5,-3.5h7v7h-7z",
    "M0,-5l5,5l-5,5l-5,-5z",
    "M0,-4.5l4.5,8h-9z",
    "M0,4.5l4.5,-8h-9z",
    "M-4.5,-1.5h3v-3h3v3h3v3h-3v3h-3v-3h-3z",
    "M-4.5,-3.5h9v2.5h-3v5h-3v-5h-3z",
)
"""Outlines about the point: who sees no colours still sees which line is whose."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What is plotted of a record."""

    name: str
    field: str
    title: str
    axis: str
    unit: str


FIGURES = (
    Figure("cpu", "cpu_us", "CPU time a packet", "CPU time a packet, µs (logarithmic)", "µs"),
    Figure("latency", "p99_ms", "Publish latency, p99", "publish latency p99, ms (logarithmic)", "ms"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One server: its number among all of the result, and what it has, by calls, in pieces that void rows part."""

    server: str
    number: int
    pieces: tuple[tuple[tuple[int, float], ...], ...]

    @property
    def points(self) -> list[tuple[int, float]]:
        return [point for piece in self.pieces for point in piece]


Rows = Sequence[Mapping[str, Any]]


def plots(result: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name of a file and the text of an SVG for every load and figure that has anything to draw."""
    rows: Rows = result["rows"]
    servers = list(dict.fromkeys(row["server"] for row in rows))
    for load in dict.fromkeys(row["load"] for row in rows):
        ours = [row for row in rows if row["load"] == load]
        for figure in FIGURES:
            lines = [line for server in servers if (line := _line(ours, server, servers.index(server), figure))]
            if lines:
                yield f"{figure.name}-{load}.svg", _svg(figure, ours[0]["about"], lines, _notes(ours))


def _line(rows: Rows, server: str, number: int, figure: Figure) -> Line | None:
    pieces: list[list[tuple[int, float]]] = [[]]
    for row in sorted((row for row in rows if row["server"] == server), key=lambda row: int(row["calls"])):
        value = row[figure.field]
        if row["void"]:
            pieces.append([])
        elif value is not None and value > 0:
            pieces[-1].append((row["calls"], value))
    drawn = tuple(tuple(piece) for piece in pieces if piece)
    return Line(server, number, drawn) if drawn else None


def _notes(rows: Rows) -> list[str]:
    void: dict[str, list[str]] = {}
    for row in rows:
        if row["void"]:
            void.setdefault(row["server"], []).append(f"{row['calls']:,}")
    return [f"Void, not drawn: {server} at {', '.join(calls)} calls" for server, calls in void.items()]


# ---------------------------------------------------------------------------------------------------- scales


@dataclass(frozen=True, slots=True)
class Canvas:
    """Where values are on the paper."""

    most_calls: int
    low: float
    high: float

    def x(self, calls: float) -> float:
        return LEFT + calls / self.most_calls * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return TOP + PLOT_HEIGHT * (1 - share)


def canvas_of(lines: Sequence[Line]) -> Canvas:
    """Return a canvas with a little room about what is drawn; its limits are ticks."""
    values = [value for line in lines for _, value in line.points]
    low = max(tick for tick in _ticks(min(values)) if tick < min(values))
    high = min(tick for tick in _ticks(max(values)) if tick > max(values))
    return Canvas(max(calls for line in lines for calls, _ in line.points), low, high)


def _ticks(about: float) -> list[float]:
    """Return 1, 2 and 5 by powers of ten, some below and some above a value."""
    power = math.floor(math.log10(about))
    return [float(f"{digit}e{power + more}") for more in (-1, 0, 1) for digit in (1, 2, 5)]


def ticks_of(canvas: Canvas) -> list[float]:
    """Return the values that have a line of the grid: 1, 2 and 5, or the powers of ten where those are many."""
    first, last = math.floor(math.log10(canvas.low)), math.ceil(math.log10(canvas.high))
    digits = (1, 2, 5) if math.log10(canvas.high / canvas.low) <= 3 else (1,)
    found = [float(f"{digit}e{power}") for power in range(first, last + 1) for digit in digits]
    return [tick for tick in found if canvas.low <= tick <= canvas.high]


def spread(wanted: Sequence[float], apart: float) -> list[float]:
    """Return positions in the order of `wanted`, at least so far apart, none moved further than it must be."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    groups: list[list[int]] = []
    for index in order:
        groups.append([index])
        while len(groups) > 1 and _end(groups[-2], wanted, apart) + apart > _start(groups[-1], wanted, apart):
            groups[-2:] = [groups[-2] + groups[-1]]
    placed = list(wanted)
    for group in groups:
        for number, index in enumerate(group):
            placed[index] = _start(group, wanted, apart) + number * apart
    return placed


def _start(group: Sequence[int], wanted: Sequence[float], apart: float) -> float:
    middle = sum(wanted[index] for index in group) / len(group)
    return middle - apart * (len(group) - 1) / 2


def _end(group: Sequence[int], wanted: Sequence[float], apart: float) -> float:
    return _start(group, wanted, apart) + apart * (len(group) - 1)


# ---------------------------------------------------------------------------------------------------- drawing


def _svg(figure: Figure, about: str, lines: Sequence[Line], notes: Sequence[str]) -> str:
    canvas = canvas_of(lines)
    height = TOP + PLOT_HEIGHT + BELOW + NOTE_HEIGHT * len(notes)
    title = f"{figure.title}: {about}"
    parts = [
        f'<svg xmlns="{NAMESPACE}" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title values">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="values">{escape(_spoken(figure, lines))}</desc>',
        f"<style>{_style()}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
        f'<text class="title" x="{LEFT}" y="26">{escape(title)}</text>',
        *_axes(canvas, figure, lines),
        *(part for line in lines for part in _drawn(canvas, line)),
        *_labels(canvas, lines),
        *(
            _text("faint", LEFT, TOP + PLOT_HEIGHT + BELOW + NOTE_HEIGHT * number, note)
            for number, note in enumerate(notes)
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _spoken(figure: Figure, lines: Sequence[Line]) -> str:
    """Return the values in words, for who does not see the plot."""
    return "; ".join(
        f"{line.server}: "
        + ", ".join(f"{_short(value)} {figure.unit} at {calls:,} calls" for calls, value in line.points)
        for line in lines
    )


def _style() -> str:
    light, dark = _colours(LIGHT, LIGHT_LINES), _colours(DARK, DARK_LINES)
    return f"text{{font:{FONT}}}{light}@media(prefers-color-scheme:dark){{{dark}}}"


def _colours(theme: Mapping[str, str], lines: Sequence[str]) -> str:
    rules = [
        f".paper{{fill:{theme['paper']}}}.ink{{fill:{theme['ink']}}}.faint{{fill:{theme['faint']}}}",
        f".title{{fill:{theme['ink']};font-size:15px;font-weight:600}}.grid{{stroke:{theme['grid']}}}",
        f".halo{{stroke:{theme['paper']};stroke-width:4px;stroke-linejoin:round;paint-order:stroke}}",
        *(
            f".line{number}{{stroke:{colour};fill:none;stroke-width:2px}}.mark{number}{{fill:{colour}}}"
            for number, colour in enumerate(lines)
        ),
    ]
    return "".join([*rules, ".thin{stroke-width:1px}"])


def _axes(canvas: Canvas, figure: Figure, lines: Sequence[Line]) -> Iterator[str]:
    bottom, right = TOP + PLOT_HEIGHT, WIDTH - RIGHT
    for tick in ticks_of(canvas):
        y = canvas.y(tick)
        yield f'<path class="grid" d="M{LEFT},{y:.1f}H{right}"/>'
        yield _text("faint", LEFT - 8, y + BASELINE, _short(tick), "end")
    last = -math.inf
    for calls in sorted({calls for line in lines for calls, _ in line.points}):
        x = canvas.x(calls)
        yield f'<path class="grid" d="M{x:.1f},{bottom}v5"/>'
        if x - last >= TICK_APART:
            yield _text("faint", x, bottom + 19, f"{calls:,}", "middle")
            last = x
    yield f'<path class="grid" d="M{LEFT},{TOP}V{bottom}H{right}" fill="none"/>'
    yield _text("ink", (LEFT + right) / 2, bottom + 38, "calls on one core", "middle")
    middle = TOP + PLOT_HEIGHT / 2
    yield f'<g transform="rotate(-90 16 {middle})">{_text("ink", 16, middle + BASELINE, figure.axis, "middle")}</g>'


def _drawn(canvas: Canvas, line: Line) -> Iterator[str]:
    number = line.number % len(LIGHT_LINES)
    for piece in line.pieces:
        where = " ".join(f"{canvas.x(calls):.1f},{canvas.y(value):.1f}" for calls, value in piece)
        yield f'<polyline class="line{number}" points="{where}"/>'
    for calls, value in line.points:
        place = f"translate({canvas.x(calls):.1f} {canvas.y(value):.1f})"
        yield f'<path class="mark{number}" transform="{place}" d="{MARKS[number]}"/>'


def _labels(canvas: Canvas, lines: Sequence[Line]) -> Iterator[str]:
    """Yield a name and a value at each line's end; those that end at one number of calls make way for one another."""
    for end in sorted({line.points[-1][0] for line in lines}):
        there = [line for line in lines if line.points[-1][0] == end]
        heights = [canvas.y(line.points[-1][1]) for line in there]
        # Within the plot a little above the end: other lines go on there, mostly at the height that this one had.
        wanted = heights if end == canvas.most_calls else [height - LABEL_ABOVE for height in heights]
        x = canvas.x(end)
        for line, height, y in zip(there, heights, spread(wanted, LABEL_APART), strict=True):
            number = line.number % len(LIGHT_LINES)
            yield f'<path class="line{number} thin" d="M{x + 7:.1f},{height:.1f}L{x + 18:.1f},{y:.1f}"/>'
            said = f"{line.server}  {_short(line.points[-1][1])}"
            yield _text(f"mark{number} halo", x + 22, y + BASELINE, said)


def _text(style: str, x: float, y: float, said: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'


def _short(value: float) -> str:
    """Return a number with three digits at most, unless it has more before its point."""
    digits = max(0, 2 - math.floor(math.log10(value)))
    said = f"{value:,.{digits}f}"
    return said.rstrip("0").rstrip(".") if "." in said else said


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.plots", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("json", type=Path, metavar="JSON", help="what tests.bench.run --json wrote")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the plots go")
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    for name, text in plots(json.loads(given.json.read_text(encoding="utf-8"))):
        (given.folder / name).write_text(text, encoding="utf-8")
        print(given.folder / name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
