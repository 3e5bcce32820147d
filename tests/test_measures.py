"""Counters and histograms."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from camber.measures import Histogram


@given(
    st.lists(st.integers(0, 12), min_size=1, unique=True).map(sorted),
    st.lists(st.integers(-1, 14)),
)
def test_each_number_is_in_the_first_range_that_holds_it(bounds, numbers):
    histogram = Histogram(bounds)
    for number in numbers:
        histogram.observe(number)
    previous = float("-inf")
    for bound, count in zip([*bounds, float("inf")], histogram.counts, strict=True):
        assert count == sum(previous < number <= bound for number in numbers)
        previous = bound
    assert histogram.count == len(numbers)
    assert histogram.total == sum(numbers)
