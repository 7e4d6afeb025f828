"""Where things are when nobody says: the configuration file and the hub's socket.

Standard library only, because readers come here too and have neither msgspec nor a configuration.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audiohook.config.schema import Config

SYSTEM_FILE = "/etc/audiohook/audiohookd.toml"


def default_path() -> str | None:
    """Return the system's configuration file, or None where there is none.

    A file that is there and cannot be reached (a dangling link, a directory that is closed to us) is returned all the
    same, so that `load` refuses: to run with defaults instead of the operator's file would be a silent error.
    """
    try:
        os.lstat(SYSTEM_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return SYSTEM_FILE
    return SYSTEM_FILE


def default_hub_path(environ: Mapping[str, str]) -> str:
    """Return the hub's path where none is configured.

    `$RUNTIME_DIRECTORY/hub.sock` (the first, if systemd names several), else `$XDG_RUNTIME_DIR/audiohook/hub.sock`,
    else `var/run/hub.sock`, relative to the working directory. A relative XDG_RUNTIME_DIR is ignored, as the XDG Base
    Directory Specification demands.
    """
    runtime = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if runtime:
        return os.path.join(runtime, "hub.sock")
    session = environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(session):
        return os.path.join(session, "audiohook", "hub.sock")
    return os.path.join("var", "run", "hub.sock")


def hub_path(config: "Config", environ: Mapping[str, str]) -> str:
    """Return the path on which the daemon serves its hub: hub.path, or the default."""
    return config.hub.path or default_hub_path(environ)
