"""A shared listener in a worker's epoll: open, shut, gone. Knows nothing of when it should be which.

The listener's open file description is shared by every worker, which has consequences:

- EPOLLEXCLUSIVE, so that one connection wakes one worker. `selectors` cannot ask for it and drops events of
  descriptors that it does not know, so the listener is registered there first and then put into the same epoll again,
  through a second descriptor of it;
- the second descriptor is made with the gate and kept: made at each opening it would be refused to a process that has
  none left, and that is just when a gate is shut for a while and opened again (tests/loopback/test_acceptor.py);
- stop accepting = EPOLL_CTL_DEL, then close, in that order. Closed first, the registration lives on as long as any
  process has the description open and cannot be removed any more: 716,000 stale events in half a second
  (tests/process/test_hygiene_gate.py shows some).
"""

import os
import select
import selectors
import socket


class AcceptGate:
    """One listener in one `EpollSelector`, shut at first. `data` is what the selector's key carries."""

    def __init__(self, selector: selectors.EpollSelector, listener: socket.socket, data: object) -> None:
        self._selector = selector
        self._listener = listener
        self._data = data
        # A duplicate, because the epoll object closes its descriptor when it dies.
        self._epoll = select.epoll.fromfd(os.dup(selector.fileno()))
        self.is_open = False

    def open(self) -> None:
        """Be told of waiting connections; nothing happens if the gate is open already."""
        if self.is_open:
            return
        self._selector.register(self._listener, selectors.EVENT_READ, self._data)
        self._epoll.unregister(self._listener)
        self._epoll.register(self._listener, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        self.is_open = True

    def shut(self) -> None:
        """Be told no more; the others who share the listener go on. Nothing happens if the gate is shut already."""
        if self.is_open:
            self._selector.unregister(self._listener)
            self.is_open = False

    def retire(self) -> None:
        """Shut the gate for ever and close this process's copy of the listener."""
        self.shut()
        self._epoll.close()
        self._listener.close()
