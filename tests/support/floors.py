"""The floors of the package, and a walk over its imports that finds what breaks them.

The floors are those of docs/architecture.md, "Floors". What it leaves open is decided here: folders of one floor may
import one another only as SIDEWAYS says, which is the way of a packet and never goes round in a circle. `control/` may
use `net/` (the desk is a process like the others: signals, inherited descriptors), `net/` knows no hub. The folders of
floor 4 have no entry and never will.

Every import counts, also one inside a function or under TYPE_CHECKING, and a module that is named in a string where
`import_module` is used.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

PACKAGE = "audiohook"

FLOORS = {
    "errors": 0,
    "units": 0,
    "wire": 1,
    "session": 1,
    "auth": 1,
    "codec": 1,
    "call": 1,
    "memory": 2,
    "config": 2,
    "net": 3,
    "control": 3,
    PACKAGE: 3,
    "worker": 4,
    "supervisor": 4,
    "observer": 4,
    "sinks": 4,
    "load": 4,
    "cli": 5,
}
"""`audiohook` itself is the reader's API: a face of floor 3, for readers and for the floors above."""

SIDEWAYS = frozenset(
    {
        ("session", "wire"),
        ("call", "wire"),
        ("call", "auth"),
        ("call", "session"),
        ("control", "net"),
        (PACKAGE, "control"),
    }
)

PURE_PARTS = frozenset({"errors", "units", "wire", "session", "auth", "codec", "call"})
PURE_MODULES = frozenset(
    {
        "audiohook.supervisor.policy",
        "audiohook.supervisor.phases",
        "audiohook.supervisor.orders",
        "audiohook.supervisor.state",
        "audiohook.supervisor.scaling",
        "audiohook.supervisor.hangs",
        "audiohook.supervisor.plan",
        "audiohook.supervisor.reloads",
        "audiohook.supervisor.turn",
        "audiohook.supervisor.generations",
        "audiohook.supervisor.orphans",
        "audiohook.memory.layout",
        "audiohook.net.service_messages",
        "audiohook.cli.capacity_page",
        "audiohook.cli.capacity_sums",
        "audiohook.load.plan",
        "audiohook.load.faults.planned",
        "audiohook.load.faults.planning",
    }
)
IMPURE = frozenset({"socket", "selectors", "os", "mmap", "time", "signal", "threading", "logging", "random"})

Sources = Mapping[str, str]


def sources(folder: Path) -> dict[str, str]:
    """Return the text of every module below `folder`, by dotted name."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = (PACKAGE, *path.relative_to(folder).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


def part_of(module: str) -> str:
    """Return the folder (or the top-level module) that a module belongs to."""
    return module.split(".")[1] if "." in module else module


def is_pure(module: str) -> bool:
    """A folder's own `errors` is pure like the package's: what a pure module raises must be."""
    return part_of(module) in PURE_PARTS or module in PURE_MODULES or module.endswith(".errors")


@cache
def _statements(text: str) -> tuple[ast.AST, ...]:
    """Return the imports of a text, and its strings if it imports by name."""
    nodes = list(ast.walk(ast.parse(text)))
    dynamic = any(isinstance(node, ast.Name) and node.id == "import_module" for node in nodes)
    kinds = (ast.Import, ast.ImportFrom, ast.Constant) if dynamic else (ast.Import, ast.ImportFrom)
    return tuple(node for node in nodes if isinstance(node, kinds))


def imports_of(module: str, text: str, modules: Sources) -> Iterator[str]:
    """Yield the dotted name of everything that a module imports, ours as exactly as can be told."""
    for node in _statements(text):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = _home(module, node, modules)
            for alias in node.names:
                inner = f"{home}.{alias.name}"
                yield inner if inner in modules else home
        elif isinstance(node, ast.Constant) and node.value in modules:
            yield str(node.value)


def _home(module: str, node: ast.ImportFrom, modules: Sources) -> str:
    if not node.level:
        return node.module or ""
    is_package = any(other.startswith(f"{module}.") for other in modules)
    above = module.split(".")[: (1 if is_package else 0) - node.level or None]
    return ".".join([*above, *([node.module] if node.module else [])])


def violations(modules: Sources) -> list[str]:
    """Return a sentence for each import that breaks a floor; empty if all hold."""
    found = []
    for module, text in modules.items():
        if part_of(module) not in FLOORS:
            found.append(f"{module}: {part_of(module)} has no floor")
            continue
        for imported in imports_of(module, text, modules):
            if imported.split(".")[0] == PACKAGE:
                found += _broken_floor(module, imported)
            elif is_pure(module) and imported.split(".")[0] in IMPURE:
                found.append(f"{module} is pure and imports {imported}")
    return found


def _broken_floor(module: str, imported: str) -> list[str]:
    own, other = part_of(module), part_of(imported)
    if is_pure(module) and not is_pure(imported):
        return [f"{module} is pure and imports {imported}, which is not"]
    if own == other or FLOORS.get(other, 99) < FLOORS[own] or (own, other) in SIDEWAYS:
        return []
    return [f"{module} (floor {FLOORS[own]}) imports {imported} (floor {FLOORS.get(other)})"]
