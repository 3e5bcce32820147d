import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import results
from bench.keys import KEYS, Better, Key
from bench.plot import Bar, goodness, svg
from bench.series import SERIES
from bench.summary import Measured, Series, Side, has_moved, median, ratios, value_of

figures = st.floats(min_value=0.001, max_value=1e9)
runs = st.lists(figures, min_size=1, max_size=7)
keys = st.sampled_from(KEYS)

MACHINE = {"cores": 2, "cpu": "a", "memory_gib": 1.0, "date": "2026-01-01T00:00:00", "commit": "c"}


@given(values=runs)
def test_the_median_has_as_many_runs_below_as_above(values):
    found = median(values)
    assert found == pytest.approx(statistics.median(values))
    assert sum(value < found for value in values) <= len(values) / 2
    assert sum(value > found for value in values) <= len(values) / 2


def test_no_runs_have_no_median():
    with pytest.raises(ValueError, match="no run"):
        median([])


@given(pairs=st.lists(st.tuples(figures, figures), min_size=1))
def test_each_pair_of_runs_has_its_own_ratio(pairs):
    over, under = zip(*pairs, strict=True)
    found = ratios(over, under)
    assert all(r * b == pytest.approx(a) for r, (a, b) in zip(found, pairs, strict=True))


@given(values=runs)
def test_a_side_that_did_nothing_gives_no_ratio(values):
    with pytest.raises(ValueError, match="no figure to divide by"):
        ratios(values, [*values[:-1], 0.0])


@given(key=keys, values=runs, also=runs)
def test_of_two_figures_the_worse_one_counts(key, values, also):
    found = value_of(key, Measured(values=values, also=also))
    both = [statistics.median(values), statistics.median(also)]
    worse = min(both) if key.better is Better.HIGHER else max(both)
    assert found == pytest.approx(worse)


@given(key=keys, value=figures)
def test_what_meets_its_target_is_at_least_as_good_as_it(key, value):
    above = value / key.target
    assert key.is_met_by(value) == (above >= 1 if key.better is Better.HIGHER else above <= 1)
    assert key.is_met_by(key.target)
    if not math.isclose(value, key.target):
        assert key.is_met_by(value) == (goodness(key, value) > 1)


@given(before=figures, factor=st.floats(min_value=1.0, max_value=10))
def test_a_yardstick_moves_either_way(before, factor):
    if math.isclose(factor, 2.0):
        return
    assert has_moved((before, before * factor)) == (factor > 2)
    assert has_moved((before * factor, before)) == (factor > 2)


def series_of(key: Key, values: list[float]) -> Series:
    side = Side(durability="FULL", command="loadgen", figures={"rate": values})
    measured = {each.name: Measured(values=values) for each in KEYS if each.series == key.series}
    return Series(sides={"camber": side}, keys=measured, checks=["counted"], yardstick=(1.0, 1.0))


@given(key=keys, values=runs)
def test_each_key_is_one_plain_number_with_its_details_beside_it(key, values):
    found = results.joined({}, {key.series: series_of(key, values)}, MACHINE)
    assert found[key.name] == pytest.approx(statistics.median(values), rel=1e-3)
    details = found["details"][key.name]
    assert details["met"] == key.is_met_by(statistics.median(values))
    assert (details["min"], details["max"]) == pytest.approx((min(values), max(values)), rel=1e-3)
    assert details["sides"]["camber"]["runs"]["rate"] == pytest.approx(values, rel=1e-3)
    assert set(found) == {*details_names(key), "details", "environment"}


def details_names(key: Key) -> set[str]:
    return {each.name for each in KEYS if each.series == key.series}


@given(first=keys, second=keys)
def test_a_key_that_is_measured_again_takes_the_place_of_its_older_number(first, second):
    kept = results.joined({}, {first.series: series_of(first, [1.0])}, MACHINE)
    found = results.joined(kept, {second.series: series_of(second, [3.0])}, MACHINE)
    assert found[second.name] == 3.0
    assert found[first.name] == (3.0 if first.series == second.series else 1.0)


def test_results_of_two_machines_are_not_mixed():
    first, second = KEYS[0], KEYS[-1]
    kept = results.joined({}, {first.series: series_of(first, [1.0])}, MACHINE)
    other = {**MACHINE, "cores": 64}
    found = results.joined(kept, {second.series: series_of(second, [3.0])}, other)
    assert first.name not in found
    assert first.name not in found["details"]


def test_every_key_has_a_series_and_every_series_a_key():
    assert {key.series for key in KEYS} == set(SERIES)


@given(key=keys, values=st.lists(st.floats(min_value=0, max_value=1e12), min_size=3, max_size=3))
def test_bars_stay_within_the_plot(key, values):
    low, value, high = sorted(values)
    drawn = svg([Bar(key=key, value=value, minimum=low, maximum=high)], caption="here")
    places = [float(text.split("'")[1]) for text in drawn.split() if text[:2] in {"x=", "x1", "x2"}]
    assert places
    assert all(0 <= place <= 960 for place in places)
    assert ("missed" in drawn) != key.is_met_by(value)
