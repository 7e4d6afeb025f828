"""How many descriptors a process may open, and whether the configured streams fit. Knows no configuration."""

import resource

from audiohook.errors import BootError

SPARE_DESCRIPTORS = 64
"""What a worker opens besides calls and listeners: pipes, epoll, memory files, and callers that are being refused."""


def raise_descriptor_limit() -> int:
    """Raise RLIMIT_NOFILE's soft limit to the hard one, for this process and its children; return the new limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def check_descriptors(streams: int, listeners: int, limit: int) -> None:
    """Raise BootError if one worker could not hold every stream: slots are one pool, so one worker may get them all."""
    needed = streams + listeners + SPARE_DESCRIPTORS
    if needed > limit:
        raise BootError(
            f"memory.streams = {streams} needs {needed} descriptors in a worker, the limit is {limit}: "
            f"allow more (LimitNOFILE={needed} in the unit, or ulimit -Hn {needed}), "
            f"or set memory.streams to {max(limit - listeners - SPARE_DESCRIPTORS, 0)} at most"
        )
