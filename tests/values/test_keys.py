"""Keys sort as values do. The order is written out here a second time, from protocol 1.6."""

from __future__ import annotations

import functools
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber.values.keys import GOES_ON, decode_key, encode_key, encode_part, prefix_end
from camber.values.value import UNSET, Int64
from tests.strategies import values

parts = st.one_of(st.just(UNSET), values)


def _rank(value):
    for rank, matches in enumerate(
        (
            lambda v: v is UNSET,
            lambda v: v is None,
            lambda v: isinstance(v, Int64),
            lambda v: type(v) in (int, float),
            lambda v: v is False,
            lambda v: v is True,
            lambda v: isinstance(v, str),
            lambda v: isinstance(v, bytes),
            lambda v: isinstance(v, list),
            lambda v: isinstance(v, dict),
        )
    ):
        if matches(value):
            return rank
    raise AssertionError(value)


def _compare(one, other):
    if _rank(one) != _rank(other):
        return -1 if _rank(one) < _rank(other) else 1
    if isinstance(one, Int64):
        return (int(one) > int(other)) - (int(one) < int(other))
    if type(one) in (int, float):
        return _compare_floats(float(one), float(other))
    if isinstance(one, str):
        one, other = [ord(c) for c in one], [ord(c) for c in other]
        return (one > other) - (one < other)
    if isinstance(one, bytes):
        return (one > other) - (one < other)
    if isinstance(one, list):
        return _compare_sequences(one, other)
    if isinstance(one, dict):
        flat = [
            [part for name in sorted(value) for part in (name, value[name])]
            for value in (one, other)
        ]
        return _compare_sequences(*flat)
    return 0


def _compare_floats(one, other):
    def total(value):
        # Sign first, then magnitude: the total order of IEEE 754.
        bits = struct.unpack(">q", struct.pack(">d", value))[0]
        negative = math.copysign(1.0, value) < 0
        return (0, -(bits & (2**63 - 1))) if negative else (1, bits)

    return (total(one) > total(other)) - (total(one) < total(other))


def _compare_sequences(one, other):
    for a, b in zip(one, other, strict=False):
        order = _compare(a, b)
        if order:
            return order
    return (len(one) > len(other)) - (len(one) < len(other))


@given(parts, parts)
def test_keys_order_as_values_do(one, other):
    a, b = encode_part(one), encode_part(other)
    assert (a > b) - (a < b) == _compare(one, other)


@given(st.lists(parts, max_size=3), st.lists(parts, max_size=3))
def test_keys_of_several_values_order_field_by_field(one, other):
    if len(one) != len(other):
        one, other = one[: len(other)], other[: len(one)]
    a, b = encode_key(one), encode_key(other)
    orders = [_compare(x, y) for x, y in zip(one, other, strict=True)]
    assert (a > b) - (a < b) == next((order for order in orders if order), 0)


# Strings and bytes that begin alike, and go on with what must be escaped.
_alike: st.SearchStrategy[Any] = st.one_of(
    parts, st.text("a\0", max_size=3), st.text("a\0", max_size=3).map(str.encode), st.just([])
)


@given(_alike, _alike)
def test_what_begins_as_another_goes_on_as_no_value_begins(one, other):
    a, b = encode_part(one), encode_part(other)
    assert a == b or not b.startswith(a) or b[len(a) :].startswith(b"\xff")
    assert not a.startswith(b"\xff")


@given(st.lists(values, max_size=12))
def test_sorting_by_key_is_sorting_by_value(found):
    by_key = sorted(found, key=encode_part)
    by_value = sorted(found, key=functools.cmp_to_key(_compare))
    assert [encode_part(v) for v in by_key] == [encode_part(v) for v in by_value]


@given(st.lists(_alike, min_size=1, max_size=2), st.lists(_alike, min_size=1, max_size=3))
def test_a_prefix_is_of_whole_values(prefix, values):
    """Its interval has the keys that begin with its values, and no others."""
    key, start = encode_key(values), encode_key(prefix)
    end = prefix_end(start)
    assert end is not None
    begins = [_compare(x, y) for x, y in zip(prefix, values, strict=False)]
    assert (start <= key < end) == (len(values) >= len(prefix) and not any(begins))


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (Int64(1), "0901"),
        (Int64(-1), "07ff"),
        (Int64(300), "0a012c"),
        (Int64(-129), "06ff7f"),
        (1, "0dbff0000000000000"),
        (-1, "0d400fffffffffffff"),
        (-0.0, "0d7fffffffffffffff"),
        (0, "0d8000000000000000"),
        ("ab", "10616200"),
        ("a\0b", "106100ff6200"),
        ([1, "x"], "120dbff000000000000010780000"),
        ({"a": None}, "1561000300"),
    ],
)
def test_the_protocols_own_examples(value, key):
    assert encode_part(value).hex() == key


@pytest.mark.parametrize("cut", ["106162", "11ff", "1000ff61", "156100"])
def test_what_is_cut_off_within_a_value_is_no_key(cut):
    """Whoever reads one is told, and does not go on for ever."""
    with pytest.raises((AssertionError, IndexError)):
        decode_key(bytes.fromhex(cut))


@given(st.lists(parts, max_size=4))
def test_a_key_is_read_back(sequence):
    """With what bounds of intervals have after it, too."""
    key = encode_key(sequence)
    for end in (b"", b"\0", GOES_ON):
        if end == b"\0" and not sequence:
            continue
        found, after = decode_key(key + end)
        assert after == end
        assert len(found) == len(sequence)
        # NaNs are equal to nothing, and 0.0 is the 0 that it is stored as.
        assert encode_key(found) == key
