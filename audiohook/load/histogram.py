"""Times counted in buckets of 1/32 of an octave: any number of packets in 15 KB, and merging is adding.

A quantile is the upper bound of its bucket, at most 3.2 % above the true value and never below it: a figure may look
worse than it was, never better. The greatest value is kept exactly. Pure.
"""

import msgspec

SUB_BITS = 5
SUBS = 1 << SUB_BITS
BUCKETS = (64 - SUB_BITS) * SUBS
"""Enough for every value of 63 bits."""


def bucket_of(value: int) -> int:
    """Return the bucket of `value` (≥ 0): exact below 32, then 32 buckets an octave."""
    shift = value.bit_length() - SUB_BITS - 1
    return value if shift < 0 else shift * SUBS + (value >> shift)


def upper_bound(bucket: int) -> int:
    """Return the greatest value that falls into `bucket`."""
    if bucket < 2 * SUBS:
        return bucket
    shift = bucket // SUBS - 1
    return ((bucket - shift * SUBS + 1) << shift) - 1


class Histogram(msgspec.Struct):
    """Counts of nanoseconds by bucket. Negative values count as 0 (a send is never early, a clock may be read late)."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * BUCKETS)
    total: int = 0
    greatest: int = 0

    def record(self, value: int) -> None:
        """Count one value."""
        if value < 0:
            value = 0
        self.counts[bucket_of(value)] += 1
        self.total += 1
        if value > self.greatest:
            self.greatest = value

    def merge(self, other: "Histogram") -> None:
        """Add what `other` has counted."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total
        self.greatest = max(self.greatest, other.greatest)

    def quantile(self, share: float) -> int:
        """Return a value that at least `share` (0 … 1) of all counted values do not exceed; 0 if none was counted."""
        wanted = max(1, -int(-share * self.total // 1))
        seen = 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return min(upper_bound(bucket), self.greatest)
        return self.greatest


class Quantiles(msgspec.Struct, frozen=True):
    """What a histogram comes down to in a result: nanoseconds, and how many values they are of."""

    count: int
    p50_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int


def quantiles(histogram: Histogram) -> Quantiles:
    """Return the figures that a table shows of `histogram`."""
    return Quantiles(
        histogram.total,
        histogram.quantile(0.5),
        histogram.quantile(0.99),
        histogram.quantile(0.999),
        histogram.greatest,
    )
