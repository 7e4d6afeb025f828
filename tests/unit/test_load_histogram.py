"""Buckets and quantiles: never flattering, and by at most 3.2 % not exact."""

from hypothesis import given
from hypothesis import strategies as st

from audiohook.load.histogram import BUCKETS, Histogram, bucket_of, quantiles, upper_bound

VALUES = st.integers(0, 2**63 - 1)


@given(VALUES)
def test_a_bucket_holds_its_value_and_is_narrow(value: int) -> None:
    bucket = bucket_of(value)
    assert 0 <= bucket < BUCKETS
    assert value <= upper_bound(bucket) <= value + value // 32
    assert bucket_of(upper_bound(bucket)) == bucket
    assert bucket_of(upper_bound(bucket) + 1) == bucket + 1


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=200), st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_not_below_the_exact_one(values: list[int], share: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    found = histogram.quantile(share)
    exact = min(value for value in values if sum(other <= value for other in values) >= share * len(values))
    assert exact <= found <= exact + exact // 32


@given(st.lists(VALUES, max_size=50), st.lists(VALUES, max_size=50))
def test_merging_is_the_same_as_counting_together(left: list[int], right: list[int]) -> None:
    one, other, both = Histogram(), Histogram(), Histogram()
    for value in left:
        one.record(value)
        both.record(value)
    for value in right:
        other.record(value)
        both.record(value)
    one.merge(other)
    assert one == both


def test_nothing_measured_is_nothing() -> None:
    found = quantiles(Histogram())
    assert (found.count, found.p50_ns, found.p99_ns, found.max_ns) == (0, 0, 0, 0)


def test_the_greatest_value_is_exact_and_a_negative_one_counts_as_none() -> None:
    histogram = Histogram()
    for value in (-5, 1_000_003, 17):
        histogram.record(value)
    found = quantiles(histogram)
    assert (found.count, found.p50_ns, found.max_ns) == (3, 17, 1_000_003)
    assert histogram.counts[0] == 1
