"""The pool under `kill -9` of its owners: no slot has two owners, none is lost, every dead owner's is repaired."""

import json
import mmap
import os

from audiohook.memory.layout import Geometry
from tests.stress.children import SECONDS, finished
from tests.support.memory import bench

SIZES = Geometry(slots=12, rows=4, ring_bytes=65_536, descriptors=128, event_records=1)
"""Fewer slots than four workers would hold, so that the pool runs out and dead owners' slots are taken as well."""


def test_no_double_owner_and_no_lost_slot() -> None:
    with bench(SIZES) as house:
        canaries = os.memfd_create("test:canaries", os.MFD_CLOEXEC)
        os.ftruncate(canaries, mmap.PAGESIZE)
        fds = [house.files.arena, house.files.locks, canaries]
        said = json.loads(finished("slot_killer.py", *fds, SECONDS, fds=fds, seconds=SECONDS))
        os.close(canaries)
    assert said["double_owners"] == 0, said
    assert said["lost_ownership"] == 0, said
    assert said["still_owned"] == [], said
    assert said["slots_to_be_had_again"] == SIZES.slots, said
    assert said["kills"] > 20, said
    assert said["repaired"] > 20, said
    assert said["frames_of_the_dead"] > 10_000, said
    assert said["taken"] > 500, said
