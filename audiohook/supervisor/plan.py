"""What is to be run, as values. Pure: made of the configuration by `cli/service.py`."""

import msgspec

from audiohook.units import NEVER_NS


class Plan(msgspec.Struct, frozen=True):
    """What is to be run. `desk` is whether there is one; a drain of 0 ns hurries at once.

    `workers` are started in the first of `rows` rows; the others are there for scaling and for reloads.
    """

    workers: int
    rows: int
    desk: bool
    boot_ns: int
    drain_ns: int
    generation: int = 0
    max_draining: int = 1
    """Generations that may keep their calls beside the one that takes new ones."""
    generation_ns: int = NEVER_NS
    """How long an old generation may keep them."""
