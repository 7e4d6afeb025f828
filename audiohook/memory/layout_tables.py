"""The tables of LAYOUT.md, rendered from `layout.py`: the words around them are written by hand.

Knows no text but headings. tests/unit/test_layout.py holds LAYOUT.md to what this says.
"""

import numpy as np

from audiohook.memory import layout


def _c_type(kind: np.dtype[np.generic]) -> str:
    return f"u{8 * kind.itemsize}" if kind.kind == "u" else f"char[{kind.itemsize}]"


def describe() -> str:
    """Return the tables of LAYOUT.md: every offset of layout 1 that does not depend on the geometry."""
    sections = (
        ("Header words", [(name, i * layout.WORD_BYTES, "u64") for i, name in enumerate(layout.HEADER)]),
        (
            f"Worker row ({layout.ROW_BYTES} bytes)",
            [
                *((name, i * layout.WORD_BYTES, "u64") for i, name in enumerate(layout.ROW)),
                ("bell", layout.ROW_BELL, "u64, futex in its low half"),
                ("counters", layout.ROW_COUNTERS, f"u64[{layout.COUNTER_SLOTS}]"),
                *(
                    (
                        f"histogram {name}",
                        layout.ROW_HISTOGRAMS + i * layout.HISTOGRAM_BUCKETS * layout.WORD_BYTES,
                        f"u64[{layout.HISTOGRAM_BUCKETS}]",
                    )
                    for i, name in enumerate(layout.HISTOGRAMS)
                ),
            ],
        ),
        (
            f"Stream card copy ({layout.CARD_BYTES} bytes)",
            [(name, offset, _c_type(kind)) for name, (kind, offset, *_) in (layout.CARD.fields or {}).items()],
        ),
        (
            f"Cursor block ({layout.CURSOR_BYTES} bytes)",
            [
                *((name, i * layout.LINE_BYTES, "u64") for i, name in enumerate(layout.CURSORS)),
                *(
                    (f"totals copy {copy}", layout.TOTALS_OFFSET + copy * layout.LINE_BYTES, "u64[8]")
                    for copy in (0, 1)
                ),
            ],
        ),
    )
    lines = []
    for title, fields in sections:
        lines += [f"### {title}", "", "| field | byte | type |", "|---|---|---|"]
        lines += [f"| {name} | {offset} | {kind} |" for name, offset, kind in fields]
        lines.append("")
    for title, names in (
        ("Counters of a row", layout.COUNTERS),
        ("Descriptor columns", layout.COLUMNS),
        ("Causes", layout.CAUSES),
        ("Stream states", layout.STREAM_STATES),
    ):
        lines += [f"### {title}", "", ", ".join(f"{i} `{name}`" for i, name in enumerate(names)), ""]
    return "\n".join(lines)
