"""What the parent says to the verifier and to the watcher, heard a little at a time. Knows no streams."""

import os
import select

import msgspec

from audiohook.load.reports import Finish

READ_BYTES = 1 << 16
TURN_MS = 100

_decoder = msgspec.json.Decoder(Finish)


class Orders:
    """The reading end of a child's orders: at most one Finish, then EOF (or EOF at once: give up)."""

    def __init__(self, orders_fd: int) -> None:
        self._fd = orders_fd
        self._poll = select.poll()
        self._poll.register(orders_fd, select.POLLIN)
        self._unread = b""
        self.finish: Finish | None = None
        self.abandoned = False

    def listen(self) -> None:
        """Wait up to TURN_MS for what the parent has to say; `finish` and `abandoned` tell what it was."""
        if not self._poll.poll(TURN_MS):
            return
        data = os.read(self._fd, READ_BYTES)
        self._unread += data
        line, newline, _ = self._unread.partition(b"\n")
        if newline and self.finish is None:
            self.finish = _decoder.decode(line)
        self.abandoned = not data
