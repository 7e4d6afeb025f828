"""What tests/bench/article.py says of packets and calls: counts, and that docs/article.md has its every line.

No time is asserted but that there is one: a test machine is busy.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from audiohook.load.speech import Clip, load_clips
from audiohook.load.speech_source import write_wav
from tests.bench.article import KINDS, Kind, connect_rows, deflated, inflated, live_rows, rows_of

TEXT = (Path(__file__).parents[2] / "docs" / "article.md").read_text(encoding="utf-8")
MEASURED = TEXT[TEXT.index("## Measured") : TEXT.index("## Where the article")]
LABELS: list[str] = re.findall(r"^\| (\w[^|]*?) \|", MEASURED, re.MULTILINE)
CALLS = 4
CONNECTS = 12


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of syllables: a tone with a noise on it that comes and goes."""
    folder = tmp_path_factory.mktemp("audio")
    at = np.arange(32_000) / 16_000
    noise = np.random.default_rng(8).normal(0, 0.3, len(at))
    sound = (np.sin(2 * np.pi * 190 * at) + noise) * np.maximum(np.sin(2 * np.pi * 3 * at), 0) * 9000
    write_wav(folder / "syllables.wav", 16_000, sound.astype("<i2").tobytes())
    return folder


@pytest.fixture(scope="module")
def clips(audio: Path) -> list[Clip]:
    return load_clips(audio, 1)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_packets(kind: Kind, clips: list[Clip]) -> None:
    packets = kind.packets(clips)
    assert len(packets) == 100
    rows = {label: measured for label, measured, _ in rows_of(kind, packets)}
    assert list(rows) == LABELS[: len(rows)]
    assert f"| {kind.name} " in MEASURED
    assert rows["glued pairs"] == "99 of 99 are valid Opus, 99 of 20 ms"
    sizes = set(map(len, packets))
    assert (len(sizes) == 1) == kind.constant
    if kind.constant:
        assert sizes == {int(kind.name.split()[1])}
    assert float(rows["decode, a packet"].split()[0]) > 0


def test_what_is_deflated_can_be_inflated(clips: list[Clip]) -> None:
    packets = KINDS[0].packets(clips)
    assert inflated(deflated(packets)) == packets


def test_calls(audio: Path) -> None:
    rows = {label: measured for label, measured, _ in live_rows(CALLS, 1, audio)}
    connecting = {label: measured for label, measured, _ in connect_rows(CONNECTS)}
    assert [*rows, *connecting] == LABELS[-len(rows) - len(connecting) :]
    assert rows["calls that ran to their end"].startswith(f"{CALLS} of {CALLS}")
    assert connecting["accepted"].startswith(f"{CONNECTS} of {CONNECTS}, ")
