"""Processes that race for the last places: never above a cap, as a reader counts; and the control, which is."""

import json
import mmap
import os
from typing import Any

from audiohook.memory.layout import Geometry
from tests.stress.children import CONTROL_SECONDS, SECONDS, finished
from tests.support.memory import bench

SIZES = Geometry(slots=32, rows=4, ring_bytes=65_536, descriptors=64, event_records=1)


def race(kind: str, seconds: float) -> dict[str, Any]:
    with bench(SIZES) as house:
        words = os.memfd_create("test:words", os.MFD_CLOEXEC)
        os.ftruncate(words, mmap.PAGESIZE)
        fds = [house.files.arena, house.files.locks, words]
        said: dict[str, Any] = json.loads(finished("cap_racer.py", *fds, seconds, kind, fds=fds, seconds=seconds))
        os.close(words)
    return said


def test_no_race_goes_above_a_cap() -> None:
    said = race("fenced", SECONDS)
    assert said["looks"] > 100, said
    assert said["taken"] > 500, said
    assert said["still_owned"] == [], said
    for cap in said["caps"].values():
        assert cap["seen"] == cap["most"], said  # reached, so that the race was for the last place, and not exceeded
        assert cap["refused"] > 50, said


def test_trap_a_look_before_taking_does_not_hold() -> None:
    said = race("looks", CONTROL_SECONDS)
    assert any(cap["seen"] > cap["most"] for cap in said["caps"].values()), said
