"""What a Call says that concerns no stream: into counters, and into the log as often as `strangers.py` lets it.

Knows no connection and no socket.
"""

from audiohook.memory.row import Row
from audiohook.session.events import Answered, Counted, NotOpened, PeerError, Probed
from audiohook.worker.strangers import Strangers


def take_down(event: Answered | Counted | NotOpened | PeerError | Probed, row: Row, log: Strangers, who: str) -> None:
    """Count what happened; `who` is the peer's address."""
    if isinstance(event, Answered):
        row.count(event.kind)
        log.note_answer(event.kind, who)
    elif isinstance(event, Counted):
        row.count(event.kind, event.times)
    elif isinstance(event, NotOpened):
        log.note(event.reason, f"session not opened reason={event.reason}", who)
        row.count(event.reason)
    elif isinstance(event, PeerError):
        log.note("peer_errors", f"the peer reports an error code={event.code}", who)
        row.count("peer_errors")
    else:
        log.note("probes", "connection probe answered", who)
        row.count("probes")
