"""Searches of vectors in read sets: who is told of a written vector, and which transaction conflicts.

Whether a vector concerns a search is decided here by its cosine, and by looking at its filters.
"""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from camber.occ.read_set import ReadSet
from camber.occ.subscriptions import Subscriptions
from camber.occ.write_log import WriteLog
from camber.occ.write_set import EVERY_KEY
from camber.search.nearest import Nearest, VectorHit, nearest_of
from camber.search.texts import filter_digest
from camber.search.vectors import VectorQuery, direction, parts_of, vector_key
from camber.storage.index_ids import vector_index
from camber.values.keys import encode_key
from tests.search.nearest import cosine

INDEXES = [vector_index(1), vector_index(2)]
#: Of scores: less than float32 can tell apart, and much less than what is told here.
CLOSE = 1e-6

directed = st.tuples(*[st.integers(-2, 2).map(float)] * 3).filter(any)
vectors = st.tuples(directed, st.tuples(st.sampled_from("xy"), st.sampled_from("xy")))
writes = st.dictionaries(st.sampled_from(INDEXES), st.lists(vectors, min_size=1, max_size=3))
wheres = st.lists(
    st.dictionaries(st.integers(0, 1), st.lists(st.sampled_from("xy"), min_size=1, max_size=2)),
    max_size=2,
)
#: None is the cosine of two such vectors: equal scores are decided by ids, which have tests of their own.
lasts = st.one_of(st.none(), st.sampled_from([-0.99, -0.55, 0.05, 0.45, 0.95]))
searches = st.tuples(st.sampled_from(INDEXES), directed, wheres, lasts)


def _digest(value):
    return filter_digest(encode_key([value]))


def _keys(written):
    keys = []
    for vector, filters in written:
        kept = direction(list(vector), 3)
        assert kept is not None
        digests = [_digest(value) for value in filters]
        keys.append(vector_key(encode_key([1.5]), digests, kept, encode_key(["id"])))
    return keys


def _written(writes):
    return {index: _keys(each) for index, each in writes.items()}


def _reads(searches):
    reads = ReadSet()
    for index, wanted, where, last in searches:
        kept = direction(list(wanted), 3)
        assert kept is not None
        clauses = tuple(
            tuple((place, tuple(map(_digest, values))) for place, values in sorted(each.items()))
            for each in where
        )
        query = VectorQuery(direction=kept, clauses=clauses)
        hit = None if last is None else VectorHit(last, "last")
        reads.record_search(index, Nearest(query=query, last=hit))
    return reads


def _concerns(searches, writes):
    return any(
        (last is None or cosine(vector, wanted) > last)
        and (
            not where
            or any(all(filters[at] in values for at, values in each.items()) for each in where)
        )
        for index, wanted, where, last in searches
        for vector, filters in writes.get(index, ())
    )


@given(st.lists(st.lists(searches, max_size=2), max_size=6), writes, st.integers(1, 12), st.data())
def test_subscriptions_find_exactly_the_searches_that_a_vector_concerns(
    watched, written, copies, data
):
    # Often enough for those of one value to be held against a vector all at once.
    watched = watched * copies
    subscriptions: Subscriptions[int | str] = Subscriptions()
    for number, each in enumerate(watched):
        subscriptions.add(number, _reads(each))
        if number == len(watched) // 2:
            # Some come when others have been looked at.
            subscriptions.stale(_written(written))
    gone = data.draw(st.sets(st.integers(0, max(len(watched) - 1, 0))))
    for number in gone:
        subscriptions.remove(number)
    left = [number for number in range(len(watched)) if number not in gone]
    concerned = {number for number in left if _concerns(watched[number], written)}
    assert set(subscriptions.stale(_written(written))) == concerned
    for number in gone:
        if number < len(watched):
            subscriptions.add(number, _reads(watched[number]))
    everybody = {number for number, each in enumerate(watched) if _concerns(each, written)}
    assert set(subscriptions.stale(_written(written))) == everybody
    for number in range(len(watched)):
        subscriptions.remove(number)
    assert not subscriptions._vectors
    assert not subscriptions._vectors._groups


@given(st.lists(searches, max_size=3), st.lists(writes, max_size=5), st.integers(0, 5))
def test_a_transaction_conflicts_with_the_first_vector_that_its_searches_concern(
    searched, history, since
):
    log = WriteLog(floor=0)
    for number, each in enumerate(history, 1):
        log.append(number, _written(each), f"commit {number}")
    concerned = [
        number
        for number, each in enumerate(history, 1)
        if number > since and _concerns(searched, each)
    ]
    reads = _reads(searched)
    found = log.conflict(reads, since=since)
    assert (found and found.ts) == (concerned[0] if concerned else None)
    # It is the same when it has travelled.
    travelled = ReadSet.from_rows(reads.rows(), reads.searches)
    assert log.conflict(travelled, since=since) == found
    for each in history:
        assert (reads.overlaps(_written(each)) is not None) == _concerns(searched, each)


@given(st.lists(searches, min_size=1, max_size=3))
def test_a_table_that_is_replaced_concerns_all_its_searches(searched):
    reads = _reads(searched)
    for index in INDEXES:
        concerned = any(of == index for of, _ in reads.searches)
        subscriptions: Subscriptions[int | str] = Subscriptions()
        subscriptions.add("it", reads)
        assert bool(subscriptions.stale({index: EVERY_KEY})) == concerned
        log = WriteLog(floor=0)
        log.append(1, {index: EVERY_KEY}, "import")
        assert (log.conflict(reads, since=0) is not None) == concerned


def test_what_is_as_near_as_the_last_hit_concerns_by_its_id():
    (key,) = _keys([((1.0, 0.0, 0.0), ("x", "x"))])
    kept = direction([2.0, 0.0, 0.0], 3)
    assert kept is not None
    query = VectorQuery(direction=kept)
    assert Nearest(query=query, last=VectorHit(1.0, "ie")).matches(key)
    assert Nearest(query=query, last=VectorHit(1.0, "id")).matches(key)
    assert not Nearest(query=query, last=VectorHit(1.0, "ic")).matches(key)


def test_of_hundreds_of_searches_those_are_found_that_a_vector_is_near_to():
    """What is held against a matrix is what is held against each by itself, at every bound."""
    chance = random.Random(11)
    subscriptions: Subscriptions[int] = Subscriptions()
    made = [[chance.gauss(0, 1) for _ in range(96)] for _ in range(400)]
    written = []
    for vector in made[:20]:
        kept = direction(vector, 96)
        assert kept is not None
        written.append(vector_key(encode_key([1.0]), [], kept, encode_key(["m"])))
    expected: list[set[int]] = [set() for _ in written]
    for number, vector in enumerate(made):
        kept = direction(vector, 96)
        assert kept is not None
        # The bound is what one of them has, exactly: its id decides then.
        query = VectorQuery(direction=kept)
        exact = _score(query, written[number % 20])
        last = VectorHit(exact, "a" if number % 3 else "z")
        search = Nearest(query=query, last=last)
        reads = ReadSet()
        reads.record_search(INDEXES[0], search)
        subscriptions.add(number, reads)
        for at, key in enumerate(written):
            if search.matches(key):
                expected[at].add(number)
    for at, key in enumerate(written):
        assert set(subscriptions.stale({INDEXES[0]: [key]})) == expected[at]
        assert expected[at]
    assert set(subscriptions.stale({INDEXES[0]: written})) == set().union(*expected)


class _Counted(Nearest, frozen=True, kw_only=True, array_like=True, tag="counted"):
    """A search that counts how often it is looked at closely."""

    looks: list[bytes]

    def matches(self, key):
        self.looks.append(key)
        return super().matches(key)

    def __hash__(self):
        return id(self)


def test_many_vectors_at_once_are_held_against_all_searches_and_no_search_is_found_twice():
    chance = random.Random(13)

    def made(count):
        for number in range(count):
            kept = direction([chance.gauss(0, 1) for _ in range(8)], 8)
            assert kept is not None
            yield number, kept

    keys = [
        vector_key(encode_key([1.0]), [], kept, encode_key([f"m{number}"]))
        for number, kept in made(300)
    ]
    subscriptions: Subscriptions[int] = Subscriptions()
    looks: list[bytes] = []
    expected = set()
    for number, kept in made(100):
        # Half of them take whatever comes.
        last = VectorHit(0.9, "last") if number % 2 else None
        search = _Counted(query=VectorQuery(direction=kept), last=last, looks=looks)
        reads = ReadSet()
        reads.record_search(INDEXES[0], search)
        subscriptions.add(number, reads)
        if last is None or any(_score(search.query, key) > 0.9 for key in keys):
            expected.add(number)
    assert set(subscriptions.stale({INDEXES[0]: keys})) == expected
    assert 50 < len(expected) < 100
    assert len(looks) == len(expected)


def _score(query, key):
    return nearest_of([key], query, 1)[0].score


@given(vectors)
def test_a_key_says_what_was_put_into_it(vector):
    (key,) = _keys([vector])
    components, filters = vector
    parts = parts_of(key)
    assert parts.direction == direction(list(components), 3)
    assert parts.filters == tuple(map(_digest, filters))
    assert (parts.time, parts.id) == (1.5, "id")
    assert parts.head + parts.direction + parts.id_key == key


_floats = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.one_of(_floats, st.sampled_from([0.0, -0.0, 5e-324, 1e308])), max_size=5))
def test_what_has_a_direction_has_one_of_length_one(values):
    kept = direction(list(values), 3)
    usable = len(values) == 3 and any(values) and all(abs(value) < float("inf") for value in values)
    assert (kept is not None) == usable
    if kept is None:
        return
    assert abs(np.linalg.norm(np.frombuffer(kept, dtype="<f4")) - 1.0) < CLOSE


def test_what_is_no_list_of_numbers_has_no_direction():
    for values in (
        "abc",
        None,
        {"a": 1.0},
        [1.0, True, 2.0],
        [1.0, "a", 2.0],
        [1.0, None, 2.0],
        3.0,
    ):
        assert direction(values, 3) is None


def test_the_memory_of_searches_that_have_gone_is_given_back_and_those_that_are_left_are_found():
    chance = random.Random(17)
    kept: list[bytes] = []
    for _ in range(1000):
        made = direction([chance.gauss(0, 1) for _ in range(8)], 8)
        assert made is not None
        kept.append(made)
    key = vector_key(encode_key([1.0]), [], kept[0], encode_key(["m"]))
    subscriptions: Subscriptions[int] = Subscriptions()
    concerned = set()
    for number, each in enumerate(kept):
        search = Nearest(query=VectorQuery(direction=each), last=VectorHit(0.3, "last"))
        reads = ReadSet()
        reads.record_search(INDEXES[0], search)
        subscriptions.add(number, reads)
        if search.matches(key):
            concerned.add(number)
    (group,) = subscriptions._vectors._groups.values()
    assert set(subscriptions.stale({INDEXES[0]: [key]})) == concerned
    assert group._matrix is not None
    assert len(group._matrix) >= 1000
    for number in range(1000):
        if number % 20:
            subscriptions.remove(number)
    left = concerned & set(range(0, 1000, 20))
    assert len(left) > 1
    assert set(subscriptions.stale({INDEXES[0]: [key]})) == left
    assert len(group._members) < 300
    assert group._matrix is not None
    assert len(group._matrix) < 600
