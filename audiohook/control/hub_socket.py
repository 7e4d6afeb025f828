"""The name under which the hub is reached: made at start, taken over from a dead daemon, never from a living one.

The supervisor owns it and hands the listening socket to each desk, so a desk that dies takes nothing with it.
"""

import os
import socket
import stat

from audiohook.errors import BootError

BACKLOG = 128


def open_hub(path: str) -> socket.socket:
    """Return a listening socket at `path`, for everybody to connect to: who may do what the desk decides by uid.

    Raises BootError if another daemon answers there, or if it cannot be made.
    """
    directory = os.path.dirname(path) or "."
    hub = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        os.makedirs(directory, mode=0o755, exist_ok=True)
        _clear(path)
        hub.bind(path)
        os.chmod(path, 0o666)
        hub.listen(BACKLOG)
        hub.setblocking(False)
    except OSError as error:
        hub.close()
        raise BootError(f"hub.path: cannot listen at {path}: {error.strerror}; choose another hub.path") from error
    except BootError:
        hub.close()
        raise
    return hub


def _clear(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise BootError(f"hub.path: {path} is there and is no socket; remove it or choose another hub.path")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # what a killed daemon left: nobody listens there any more
            return
        except OSError as error:
            raise BootError(f"hub.path: {path}: {error.strerror}; choose another hub.path") from error
    raise BootError(f"hub.path: another daemon listens at {path}; stop it or choose another hub.path")


def remove_hub(hub: socket.socket, path: str, inode: int) -> None:
    """Close the socket and remove its name, unless the name belongs to somebody else by now."""
    hub.close()
    try:
        if os.stat(path).st_ino == inode:
            os.unlink(path)
    except FileNotFoundError:
        pass
