"""Units that every floor shares: nanoseconds, bytes, frames, and how they turn into one another.

Knows nothing of sockets, memory or codecs. All arithmetic is on integers: a time is a count of nanoseconds of
CLOCK_MONOTONIC, a length is a count of frames (one sample per channel) or of bytes, never a float.
"""

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

SAMPLE_BYTES = 2
"""Every ring holds linear PCM, 16 bit, little-endian (`memory/LAYOUT.md`)."""

NEVER_NS = (1 << 63) - 1
"""A deadline that is never reached. A number and not None, so that deadlines compare without a special case."""


def seconds_ns(seconds: float) -> int:
    """Return `seconds` as whole nanoseconds."""
    return round(seconds * NS_PER_S)


def milliseconds_ns(milliseconds: float) -> int:
    """Return `milliseconds` as whole nanoseconds."""
    return round(milliseconds * NS_PER_MS)


def frames_ns(frames: int, rate_hz: int) -> int:
    """Return how long `frames` last at `rate_hz`, in nanoseconds, rounded down."""
    return frames * NS_PER_S // rate_hz
