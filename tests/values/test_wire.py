"""The lossless encoding, the forms of HTTP answers, and what is refused (protocol 1)."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber.errors import BadRequest
from camber.values.packed import pack, unpack
from camber.values.size import document_size, nesting, value_size
from camber.values.value import UNSET, Int64, InvalidValue, Value, canonical
from camber.values.wire import (
    BadJson,
    Format,
    decode_json,
    decode_timestamp,
    encode_format,
    encode_packed,
    encode_timestamp,
    encode_value,
    from_wire,
)
from tests.strategies import values


def parse_value(text):
    return from_wire(decode_json(text))


def _same(one, other):
    """Equality that tells kinds of number and signs of zero apart, and NaN equal to itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return struct.pack(">d", one) == struct.pack(">d", other)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    return one == other


@given(values)
def test_values_survive_the_wire(value):
    assert _same(parse_value(encode_value(canonical(value))), canonical(value))


@given(values)
def test_values_survive_packing_and_equal_values_have_equal_bytes(value):
    packed = pack(canonical(value))
    assert _same(unpack(packed), canonical(value))
    assert pack(unpack(packed)) == packed


@given(values)
def test_http_answers_are_json_whose_numbers_are_all_floats(value):
    text = encode_format(canonical(value), Format.ENCODED)

    def refuse(number):
        raise AssertionError(f"{number} has neither point nor exponent")

    json.loads(text, parse_int=refuse, parse_constant=refuse)
    assert _same(parse_value(text), canonical(value))


@given(values)
def test_packed_values_are_told_as_they_are_unpacked(value):
    for form in Format:
        assert encode_packed(pack(canonical(value)), form) == encode_format(canonical(value), form)


def test_packed_values_of_any_nesting_are_told_as_they_are_unpacked():
    value: Value = 3
    for depth in range(40):
        value = [value] if depth % 2 else {"inner": value}
        for form in Format:
            assert encode_packed(pack(value), form) == encode_format(value, form)


@given(values)
def test_no_form_has_a_bare_nan(value):
    for form in Format:
        json.loads(encode_format(canonical(value), form), parse_constant=_refuse_constant)


def _refuse_constant(name):
    raise AssertionError(name)


@given(values)
def test_a_value_is_as_large_as_the_protocol_says(value):
    assert value_size(canonical(value)) == _size(canonical(value))


def _size(value):
    if value is None or isinstance(value, bool):
        return 1
    if isinstance(value, int | float):
        return 9
    if isinstance(value, str):
        return 2 + len(value.encode())
    if isinstance(value, bytes):
        return 2 + len(value)
    if isinstance(value, list):
        return 2 + sum(map(_size, value))
    return 2 + sum(len(k.encode()) + 1 + _size(v) for k, v in value.items())


def test_the_protocols_own_sizes():
    assert value_size({"a": 1, "b": "xyz", "c": [None, True, Int64(5)]}) == 35
    assert document_size({"body": "hi"}) == 72


def test_nesting():
    nested: Any = (1, [], {}, [[1]], {"a": [{}]})
    assert [nesting(value) for value in nested] == [0, 1, 1, 2, 3]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Int64(0), "AAAAAAAAAAA="),
        (Int64(1), "AQAAAAAAAAA="),
        (Int64(42), "KgAAAAAAAAA="),
        (Int64(-1), "//////////8="),
        (Int64(2**63 - 1), "/////////38="),
        (Int64(-(2**63)), "AAAAAAAAAIA="),
    ],
)
def test_the_protocols_own_integers(value, text):
    assert json.loads(encode_value(value)) == {"$integer": text}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-0.0, "AAAAAAAAAIA="),
        (math.nan, "AAAAAAAA+H8="),
        (math.inf, "AAAAAAAA8H8="),
        (-math.inf, "AAAAAAAA8P8="),
    ],
)
def test_the_protocols_own_floats(value, text):
    assert json.loads(encode_value(value)) == {"$float": text}
    assert json.loads(encode_format(value, Format.ENCODED)) == {"$float": text}


def test_timestamps():
    assert encode_timestamp(1000) == "6AMAAAAAAAA="
    assert encode_timestamp(1700000000000000000) == "AAAqNv6clxc="
    assert decode_timestamp("AAAqNv6clxc=") == 1700000000000000000
    for text in ("", "x", "AAAA", "AAAqNv6clxcAAAA="):
        with pytest.raises(BadRequest):
            decode_timestamp(text)


FORMS: Any = {"i": Int64(42), "one": 1, "zero": -0.0, "nan": math.nan, "raw": b"\0\1", "s": "x"}


def test_the_forms_of_answers():
    assert encode_format(FORMS, Format.CLEAN) == (
        b'{"i":"42","nan":"NaN","one":1.0,"raw":"AAE=","s":"x","zero":-0.0}'
    )
    assert encode_format(FORMS, Format.EXPORT) == (
        b'{"i":42,"nan":{"$float":"AAAAAAAA+H8="},"one":1.0,"raw":{"$bytes":"AAE="},"s":"x",'
        b'"zero":-0.0}'
    )
    assert Format.parse("convex_json") is Format.ENCODED
    assert Format.parse("convex_clean_json") is Format.CLEAN
    with pytest.raises(BadRequest) as refused:
        Format.parse("xml")
    assert refused.value.code == "BadFormat"


@pytest.mark.parametrize(
    "text",
    [
        '{"$integer": 3}',
        '{"$integer": "AAAA"}',
        '{"$integer": "not base64!"}',
        '{"$float": "AAAAAAAA8D8="}',
        '{"$float": "AAAAAAAAAAA="}',
        '{"$bytes": "====" }',
        '{"$set": []}',
        '{"$integer": "AQAAAAAAAAA=", "other": 1}',
        '{"a": {"$commitTs": null}}',
        '{"\\u0000": 1}',
        '{"ü": 1}',
        '"\\ud800"',
        "1e400",
        "[" * 70 + "]" * 70,
        json.dumps({"k" * 1025: 1}),
        json.dumps(list(range(8193))),
        json.dumps({f"k{n}": n for n in range(1025)}),
    ],
)
def test_what_encodes_no_value_is_refused(text):
    with pytest.raises((InvalidValue, BadJson)):
        parse_value(text)


@given(st.binary(max_size=30))
def test_other_bytes_raise_nothing_else(raw):
    try:
        parse_value(raw)
    except (InvalidValue, BadJson):
        return


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({1, 2}, "is not a supported Convex type"),
        ({"a": [{"b": {1}}]}, ".a[0].b is not a supported Convex type"),
        ({1: "x"}, "is not a supported Convex type"),
        ({"$x": 1}, "starts with '\\$'"),
        (2**53 + 1, "Int64"),
        ("\ud800", "lone surrogate"),
        (object(), "is not a supported Convex type"),
    ],
)
def test_what_cannot_be_stored_says_where_and_why(value, told):
    with pytest.raises(InvalidValue, match=told.replace("[", r"\[").replace("]", r"\]")):
        canonical(value)


def test_missing_fields_are_left_out():
    assert canonical({"a": UNSET, "b": 1.0}) == {"b": 1}
    assert type(canonical(1.0)) is int
    with pytest.raises(InvalidValue):
        Int64(2**63)


def test_msgspec_alone_would_lose_values():
    # Why `encode_value` is the only way to JSON.
    assert msgspec.json.encode(math.nan) == b"null"


def test_what_is_too_large_is_described_rather_than_shown():
    with pytest.raises(InvalidValue, match=r": an array of 8193 elements at \.a is too long"):
        canonical({"a": [0] * 8193})
