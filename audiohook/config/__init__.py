"""The daemon's configuration: a typed schema, TOML and overrides into it, and its commented text.

Readers import the hub's path from here and have NumPy only, so no name is resolved before it is asked for (PEP 562):
`from audiohook.config import default_hub_path` must not import msgspec (tests/unit/test_config_paths.py). The modules
are called `loading` and `rendering` because importing a submodule `load` would put the module in the function's place.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audiohook.config.address import Address, parse_address
    from audiohook.config.effective import worker_count
    from audiohook.config.keys import KeysFile
    from audiohook.config.loading import load
    from audiohook.config.paths import default_hub_path, default_path, hub_path
    from audiohook.config.principals import Principals, resolve_principals
    from audiohook.config.rendering import render
    from audiohook.config.schema import Config, Context, ContextPath, Hub, Log, Memory, Server
    from audiohook.config.schema_admission import Admission, Http
    from audiohook.config.schema_tls import Tls

__all__ = [
    "Admission",
    "Address",
    "Config",
    "Context",
    "ContextPath",
    "Http",
    "Hub",
    "KeysFile",
    "Log",
    "Memory",
    "Principals",
    "Server",
    "Tls",
    "default_hub_path",
    "default_path",
    "hub_path",
    "load",
    "parse_address",
    "render",
    "resolve_principals",
    "worker_count",
]

_HOMES = {
    "Address": "address",
    "parse_address": "address",
    "worker_count": "effective",
    "load": "loading",
    "default_hub_path": "paths",
    "default_path": "paths",
    "hub_path": "paths",
    "Principals": "principals",
    "resolve_principals": "principals",
    "render": "rendering",
    "Config": "schema",
    "Context": "schema",
    "ContextPath": "schema",
    "Admission": "schema_admission",
    "Http": "schema_admission",
    "Hub": "schema",
    "Log": "schema",
    "Memory": "schema",
    "Server": "schema",
    "KeysFile": "keys",
    "Tls": "schema_tls",
}


def __getattr__(name: str) -> object:
    """Return the public name from the module that defines it; AttributeError for any other."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
