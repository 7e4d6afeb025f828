"""What is said of a stream that looks re-cut: a counter, an event for readers, a line for the operator. Once a stream.

How it is noticed is `codec/recut.py`'s. Knows no feed: a feed is given a function, and not its stream, so that the two
do not hold one another (a decoder would be freed by the garbage collector's leave only).
"""

import logging

from audiohook.worker.share import Share

log = logging.getLogger("audiohook.worker")


def tell_recut(share: Share, stream_id: str, call_id: str, packet_bytes: int) -> None:
    """Say that the stream's messages cut packets of `packet_bytes` anew, and what to set."""
    framing = f"fixed:{packet_bytes}"
    share.row.count("looks_recut")
    share.tell("looks_recut", stream=stream_id, call=call_id, framing=framing)
    log.warning(
        "looks_recut stream=%s call=%s: its messages cut packets of %d bytes anew; set framing = %r in [context], "
        "or for its path in [context.paths]",
        stream_id,
        call_id,
        packet_bytes,
        framing,
    )
