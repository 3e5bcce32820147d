"""A commit timestamp that is not known yet: what is packed without it, and where it is put in."""

from __future__ import annotations

import copy
from operator import add, lt, sub

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from camber.errors import DeveloperError
from camber.values.keys import encode_part
from camber.values.packed import CommitTsUnknown, pack, unpack
from camber.values.pending import (
    PLACEHOLDER,
    known,
    pack_pending,
    places_in,
    places_in_key,
    stamped,
    stamped_key,
)
from camber.values.size import value_size
from camber.values.value import COMMIT_TS, CommitTs, Int64, InvalidValue, canonical
from camber.values.wire import decode_json, encode_value, from_wire
from tests.strategies import names, text, values

NS = 1_790_000_000_000_000_000
_KEY = encode_part(COMMIT_TS)
# What looks like a placeholder and is none, and begins or ends like one.
_alike = st.sampled_from(
    [
        PLACEHOLDER,
        PLACEHOLDER[:-1],
        PLACEHOLDER[1:],
        PLACEHOLDER * 2,
        PLACEHOLDER[:2] + PLACEHOLDER,
        _KEY,
        _KEY[:-1] + _KEY,
        Int64(2**63 - 1),
        Int64(2**63 - 2),
        Int64(0),
    ]
)
_leaves = st.one_of(st.just(COMMIT_TS), st.just(COMMIT_TS), _alike, values)
pending = st.recursive(
    _leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4)),
    max_leaves=8,
)
timestamps = st.one_of(st.just(NS), st.integers(1, 2**63 - 1))


def at(value, ts):
    """The value once its mutation has committed."""
    match value:
        case list():
            return [at(item, ts) for item in value]
        case dict():
            return {name: at(item, ts) for name, item in value.items()}
        case _:
            return Int64(ts) if repr(value) == "commit_ts" else value


@given(value=pending, ts=timestamps)
@example(value=[PLACEHOLDER, COMMIT_TS, PLACEHOLDER], ts=NS)
@example(value={"a": [COMMIT_TS] * 20, "b": COMMIT_TS}, ts=NS)
def test_what_is_packed_without_its_timestamp_becomes_what_it_is_with_it(value, ts):
    packed = pack_pending(value)
    assert stamped(packed, places_in(packed), ts) == pack(at(value, ts))
    assert pack_pending(unpack(packed)) == packed
    assert value_size(value) == value_size(at(value, ts))


@given(value=pending, ts=timestamps)
@example(value=[_KEY, COMMIT_TS, Int64(2**63 - 1), COMMIT_TS], ts=1)
def test_so_do_the_keys_of_indexes(value, ts):
    key, other = encode_part(value), encode_part(known(pack_pending(value)))
    assert stamped_key(key, places_in_key(key, other), ts) == encode_part(at(value, ts))


@given(value=values)
def test_what_holds_none_is_packed_as_ever(value):
    assert pack_pending(value) == pack(value)
    assert places_in(pack(value)) == ()


@given(before=text, ts=st.integers(1, 2**63 - 2))
def test_it_sorts_behind_all_that_there_have_been(before, ts):
    assert encode_part([before, Int64(ts)]) < encode_part([before, COMMIT_TS])
    assert encode_part(COMMIT_TS) < encode_part(0.0)


@given(value=pending.filter(lambda value: repr(COMMIT_TS) in repr(value)))
def test_it_is_not_packed_where_it_is_not_expected(value):
    with pytest.raises(CommitTsUnknown, match="commit_ts is not known before the mutation has"):
        pack(value)


@pytest.mark.parametrize(
    "use",
    [
        lambda ts: lt(ts, 3), lambda ts: lt(3, ts), lambda ts: add(ts, 1), lambda ts: sub(1, ts),
        int, float, lambda ts: range(ts), lambda ts: ts // 10**9, lambda ts: max(ts, Int64(3)),
        lambda ts: sorted([ts, ts]),
    ],
)  # fmt: skip
def test_it_is_no_number(use):
    with pytest.raises(DeveloperError, match="is no number before the mutation has committed"):
        use(COMMIT_TS)


def test_there_is_one():
    assert copy.deepcopy([COMMIT_TS])[0] is copy.copy(COMMIT_TS) is COMMIT_TS
    assert canonical({"a": (COMMIT_TS,)}) == {"a": [COMMIT_TS]}
    assert COMMIT_TS == COMMIT_TS != Int64(2**63 - 1)
    assert repr([COMMIT_TS, CommitTs(3)]) == "[commit_ts, CommitTs(3)]"


def test_nobody_sends_one():
    assert encode_value([COMMIT_TS]) == b'[{"$commitTs":null}]'
    with pytest.raises(InvalidValue, match="exists only within the mutation that commits"):
        from_wire(decode_json(b'[{"$commitTs":null}]'))
