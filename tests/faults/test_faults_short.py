"""Each row of `make faults` in small: what it counts holds on any machine. Its times are `make faults`' to judge.

Two processors that run other tests beside it starve workers for longer than a call should be late: they get patience.
"""

import pytest

from tests.faults import scene
from tests.faults.row import Row
from tests.faults.rows import ROWS, readers

CALLS = 12
CALLS_OF = {"overload": 60}
"""Fewer cost less than a loop that has nothing to do."""

SECONDS_OF = {"overload": 4.0, "slowloris": 2.0, "stall": 3.0, "reload": 1.0, "certificates": 1.0}
USUAL_S = 1.5
PATIENT = ["server.overload_ms=10000"]
SETTINGS_OF = {
    "overload": [],
    "stall-default": [*PATIENT, "context.heartbeat_ms=500", "context.reconnect_seconds=1", "audiohook2.idle_seconds=2"],
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_the_row_counts_holds(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene, "PATIENCE", SETTINGS_OF.get(row.name, PATIENT))
    monkeypatch.setattr(readers, "PAIRS", 1)
    outcome = row.run(CALLS_OF.get(row.name, CALLS), SECONDS_OF.get(row.name, USUAL_S))
    assert outcome.findings
    assert outcome.wrong_counts == []
