"""The live table of `make run`: streams with their levels, read from the shared memory while it is drawn."""

import math
from typing import TextIO

import numpy as np

import audiohook

LEVEL_COLUMNS = 24
FLOOR_DB = -60.0
PLAIN_EVERY = 20
"""Where the output is no terminal, only each so manyth table is printed (one comes about four times a second)."""


def level_db(samples: "np.ndarray[tuple[int, int], np.dtype[np.int16]]") -> float:
    """Return the level of a window in dB below full scale. Float first: squares of int16 wrap around."""
    if not samples.size:
        return FLOOR_DB
    mean_square = float(np.mean(np.square(samples, dtype=np.float32)))
    return max(FLOOR_DB, 10 * math.log10(max(mean_square, 1e-9) / 32768**2))


def render_table(hub: audiohook.Hub, elapsed_seconds: float, verified: int) -> list[str]:
    """Return the table's lines."""
    lines = ["stream    call      direction   row  state     seconds  concealed  level"]
    for stream in hub.streams(ended=True):
        totals = stream.totals
        try:
            level = level_db(stream.latest(0.2).samples)
        except audiohook.Overrun:
            continue
        bar = "#" * round((level - FLOOR_DB) / -FLOOR_DB * LEVEL_COLUMNS)
        lines.append(
            f"{stream.stream_id[:8]}  {stream.call_id[:8]}  {stream.direction:<10}  {stream.card()['row']:<3}  "
            f"{stream.state:<8} {totals.length / stream.sample_rate:>8.1f}  {totals.concealed:>9}  "
            f"{bar:<{LEVEL_COLUMNS}} {level:>5.0f} dB"
        )
    lines.append(f"{elapsed_seconds:.0f} s, {verified:,} samples read back and verified. Ctrl-C ends the calls.")
    return lines


class Screen:
    """Draws over the last table on a terminal; elsewhere prints one now and then."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._height = 0
        self._shown = 0

    def show(self, lines: list[str]) -> None:
        self._shown += 1
        if self._terminal:
            self._out.write(f"\x1b[{self._height}F\x1b[J" if self._height else "")
            self._height = len(lines)
        elif self._shown % PLAIN_EVERY:
            return
        self._out.write("\n".join(lines) + "\n")
        self._out.flush()

    def finish(self) -> None:
        """Leave the last table where it is."""
        self._height = 0
        self._out.write("\n")
