"""Whether code and configuration on the disk fit the daemon that runs: what a reload can change, and what it cannot.

The shared memory stays what it is, so its layout and its sizes have to be the ones that this code and configuration
would have made; readers hold the hub's path. Everything else may differ. Raises BootError in words, with the remedy.
"""

import os
from typing import Any

from audiohook.cli.belongings import new_addresses
from audiohook.config import Config, hub_path, worker_count
from audiohook.errors import BootError
from audiohook.memory import layout
from audiohook.memory.arena import read_geometry
from audiohook.memory.layout import Geometry
from audiohook.net.listener import open_listener
from audiohook.supervisor.handover import Handover

RESTART = "a restart is needed"

_SIZES = {
    "slots": "memory.streams",
    "ring_bytes": "memory.ring_seconds",
    "descriptors": "memory.ring_seconds",
    "event_records": "memory.events_per_worker",
}


def configured_geometry(config: Config, rows: int) -> Geometry:
    memory = config.memory
    return layout.geometry(memory.streams, rows, memory.ring_seconds, memory.events_per_worker)


def check_fit(config: Config, handover: Handover, arena_fd: int) -> None:
    """Raise BootError unless the daemon that wrote `handover` could go on with this."""
    sizes = read_geometry(arena_fd)
    check_layout(handover.layout)
    wanted = configured_geometry(config, sizes.rows)
    for name, key in _SIZES.items():
        there, asked = getattr(sizes, name), getattr(wanted, name)
        if there != asked:
            raise BootError(f"{key}: the shared memory has {name} = {there}, and {asked} would be wanted: {RESTART}")
    workers = worker_count(config)
    if 2 * workers > sizes.rows:
        raise BootError(
            f"server.workers = {workers}: the worker table has {sizes.rows} rows, and old and new need {2 * workers}: "
            f"{RESTART}"
        )
    path = hub_path(config, os.environ)
    if path != handover.hub_path:
        raise BootError(f"hub.path = {path}: readers are attached at {handover.hub_path}: {RESTART}")
    for text in new_addresses(handover, config.server.listen):
        open_listener(text, config.server.backlog).close()


def layout_values() -> dict[str, Any]:
    """Return what processes of two releases must agree on to share a memory, as plain values."""
    values = {name: value for name, value in vars(layout).items() if name.isupper() and isinstance(value, int | tuple)}
    del values["MINOR"], values["VERSION_WORD"]
    card = {name: [layout.CARD[name].str, offset] for name, (_, offset) in _card_fields().items()}
    return {**values, **{f"CARD.{name}": place for name, place in card.items()}}


def _card_fields() -> dict[str, tuple[Any, int]]:
    fields: Any = layout.CARD.fields
    return {name: (field[0], field[1]) for name, field in fields.items()}


def check_layout(theirs: dict[str, Any]) -> None:
    """Raise BootError unless both layouts are one, but for what a minor version may append to a table.

    Not by the version alone, which a change may have forgotten, nor by sizes, which are rounded up to pages.
    """
    for name, ours in layout_values().items():
        other = theirs.get(name, ours)
        if isinstance(ours, tuple):
            ours, other = list(ours)[: len(other)], list(other)[: len(ours)]
        if ours != other:
            raise BootError(f"this code has another layout of the shared memory (layout.{name}): {RESTART}")
