"""What every store must find in its vector indexes, and in what order.

A random history of writes, imports, trims and drops is played to each store and to a dict of vectors
per timestamp; every search of every kept timestamp must give what cosines by the book give over that
dict (tests/search/nearest.py). Snapshots that are ahead of the store are searched too.
"""

from __future__ import annotations

import random
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber.search.texts import filter_digest
from camber.search.vectors import VectorQuery, direction, vector_key
from camber.storage.ahead import AheadSnapshot
from camber.storage.index_ids import vector_index
from camber.storage.sqlite.store import SqliteStore
from camber.storage.sqlite.vectors import VectorBlocks
from camber.storage.store import (
    Commit,
    DocumentChange,
    EntryChange,
    Placement,
    StagedRow,
    StagedTable,
)
from camber.values.ids import encode_id
from camber.values.keys import encode_key
from tests.proofs.effort import one_in
from tests.search.nearest import Held, nearest
from tests.storage.stores import STORES

TABLE = 10001
INDEX = vector_index(2**33 + 1000)
IDS = [encode_id(TABLE, bytes([n] * 16)) for n in range(8)]
DIMENSIONS = 3

#: A filter that is asked for: values by place, of which one clause must hold.
Where = list[dict[int, list[Any]]]
#: A vector, and a filter.
Search = tuple[tuple[float, ...], Where]

# Whole numbers, so that equal cosines are met often, and cosines that differ do by much.
components = st.integers(-2, 2).map(float)
directed = st.tuples(components, components, components).filter(any)
vectors = st.tuples(directed, st.tuples(st.sampled_from([None, "x"]), st.sampled_from([1.0, 2.0])))
#: None is no document, False one without a vector.
contents = st.one_of(st.none(), st.just(False), vectors, vectors)
changes = st.dictionaries(st.integers(0, 7), contents, min_size=1, max_size=5)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("group"), st.lists(changes, min_size=1, max_size=3)),
        st.tuples(st.just("stage"), changes, st.sampled_from(Placement)),
        st.tuples(st.just("trim"), st.integers(0, 20)),
    ),
    max_size=5,
)
_clauses = st.dictionaries(
    st.integers(0, 1), st.lists(st.sampled_from([None, "x", 1.0, 2.0]), min_size=1, max_size=2)
)
searches = st.lists(st.tuples(directed, st.lists(_clauses, max_size=2)), min_size=1, max_size=2)


def key_of(number, content):
    """The key of a document in the index, or None."""
    if not content:
        return None
    vector, filters = content
    digests = [filter_digest(encode_key([value])) for value in filters]
    kept = direction(list(vector), DIMENSIONS)
    assert kept is not None
    return vector_key(encode_key([float(number)]), digests, kept, encode_key([IDS[number]]))


def query_of(wanted, where):
    kept = direction(list(wanted), len(wanted))
    assert kept is not None
    clauses = tuple(
        tuple(
            (place, tuple(filter_digest(encode_key([value])) for value in values))
            for place, values in sorted(clause.items())
        )
        for clause in where
    )
    return VectorQuery(direction=kept, clauses=clauses)


class _Model:
    def __init__(self):
        self.at: dict[int, dict[int, Any]] = {0: {}}
        self.ts = 0

    def commit(self, changes):
        now = dict(self.at[self.ts])
        written = []
        for number, content in changes.items():
            before = now.pop(number, None)
            if content is not None:
                now[number] = content
            if before is None and content is None:
                continue
            removed, added = key_of(number, before), key_of(number, content)
            entry = EntryChange(index=INDEX, removed=removed, added=added)
            written.append(
                DocumentChange(
                    table=TABLE,
                    id=IDS[number],
                    before=None if before is None else b"before",
                    after=None if content is None else b"after",
                    entries=(entry,),
                )
            )
        self.ts += 1
        self.at[self.ts] = now
        return Commit(ts=self.ts, changes=tuple(written), source="test")

    def let_in(self, store, changes, placement):
        now = dict(self.at[self.ts])
        wanted = {number: content for number, content in changes.items() if content is not None}
        if placement is Placement.ADD:
            wanted = {number: each for number, each in wanted.items() if number not in now}
        else:
            now = {}
        rows = [(IDS[number], key_of(number, content)) for number, content in wanted.items()]
        store.stage(
            TABLE,
            [
                StagedRow(encode_key([id_]), b"staged", () if key is None else ((INDEX, key),))
                for id_, key in rows
            ],
        )
        self.ts += 1
        self.at[self.ts] = now | wanted
        staged = StagedTable(
            table=TABLE, indexes=(INDEX,), placement=placement, documents=len(wanted)
        )
        return Commit(ts=self.ts, changes=(), source="import", staged=(staged,))

    def expected(self, ts, wanted, where):
        held = {
            IDS[number]: Held(content[0], content[1])
            for number, content in self.at[ts].items()
            if content
        }

        def admits(filters):
            return not where or any(
                all(filters[place] in values for place, values in clause.items())
                for clause in where
            )

        return nearest(held, wanted, admits)


def _check(snapshot, expected, search, index=INDEX):
    query = query_of(*search)
    found = snapshot.vector_hits(index, query, 100)
    assert _rounded(found) == expected
    assert found == sorted(found, key=lambda hit: (-hit.score, hit.id))
    for limit in range(1, len(found)):
        assert snapshot.vector_hits(index, query, limit) == found[:limit]


def _rounded(hits):
    """What is nearest and what is as near, by id: cosines of other vectors may differ by little."""
    return sorted(
        ((round(hit.score, 6), hit.id) for hit in hits), key=lambda hit: (-hit[0], hit[1])
    )


@pytest.mark.parametrize("name", STORES)
@one_in(6)
@given(operations=operations, searches=searches)
def test_every_store_finds_what_is_nearest_at_every_timestamp(name, operations, searches):
    with tempfile.TemporaryDirectory() as folder:
        store = STORES[name](Path(folder))
        model = _Model()
        try:
            for kind, *what in operations:
                if kind == "group":
                    store.append([model.commit(each) for each in what[0]])
                elif kind == "stage":
                    store.append([model.let_in(store, *what)])
                else:
                    store.trim(before=what[0], commits_max=3)
                # Also in between: what a store remembers of one moment is no other's.
                with store.snapshot() as snapshot:
                    for search in searches:
                        _check(snapshot, model.expected(model.ts, *search), search)
            for ts in range(store.history_floor(), model.ts + 1):
                with store.snapshot(None if ts == model.ts else ts) as snapshot:
                    for search in searches:
                        _check(snapshot, model.expected(ts, *search), search)
        finally:
            store.close()


@pytest.mark.parametrize("name", ["memory", "sqlite"])
@one_in(6)
@given(before=st.lists(changes, max_size=3), ahead=st.lists(changes, max_size=4), searches=searches)
def test_a_snapshot_ahead_of_its_store_finds_what_is_on_its_way(name, before, ahead, searches):
    with tempfile.TemporaryDirectory() as folder:
        store = STORES[name](Path(folder))
        model = _Model()
        try:
            for each in before:
                store.append([model.commit(each)])
            coming = [change for each in ahead for change in model.commit(each).changes]
            with AheadSnapshot(store.snapshot(), model.ts, coming) as snapshot:
                for search in searches:
                    _check(snapshot, model.expected(model.ts, *search), search)
        finally:
            store.close()


@pytest.fixture(params=STORES)
def store(request, tmp_path):
    opened = STORES[request.param](tmp_path)
    yield opened
    opened.close()


def test_a_vector_index_can_be_built_while_commits_go_on_and_dropped(store):
    model = _Model()
    first = {n: ((float(n), 1.0, 0.0), (None, 1.0)) for n in range(5)}
    store.append([model.commit(first)])
    index = vector_index(2**33 + 2000)
    built = [key_of(number, content) for number, content in first.items()]
    store.build_index(TABLE, index, built[:3])
    # Again, as a build does that was cut short.
    store.build_index(TABLE, index, built)
    search: Search = ((1.0, 1.0, 0.0), [])
    with store.snapshot() as snapshot:
        _check(snapshot, model.expected(1, *search), search, index)
    while store.drop_index(index, entries_max=2):
        pass
    with store.snapshot() as snapshot:
        _check(snapshot, [], search, index)
        _check(snapshot, model.expected(1, *search), search)
    # It leaves nothing in the way of another one.
    store.build_index(TABLE, index, built)
    with store.snapshot() as snapshot:
        _check(snapshot, model.expected(1, *search), search, index)


def test_a_snapshot_finds_the_same_while_commits_go_on(store):
    model = _Model()
    filters = (None, 1.0)
    search: Search = ((1.0, 0.0, 0.0), [])
    store.append([model.commit({0: ((1.0, 0.0, 0.0), filters)})])
    with store.snapshot() as snapshot:
        for vector in ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0, 0.0)):
            store.append([model.commit({0: (vector, filters), 1: (vector, filters)})])
            _check(snapshot, model.expected(1, *search), search)
            # One that begins meanwhile sees what is there then.
            with store.snapshot() as newer:
                _check(newer, model.expected(model.ts, *search), search)


def test_vectors_outlive_the_process_that_wrote_them(tmp_path):
    model = _Model()
    search: Search = ((1.0, 0.0, 0.0), [{0: ["x", None]}])
    store = SqliteStore(tmp_path / "store.sqlite")
    both = {0: ((1.0, 2.0, 0.0), (None, 1.0)), 1: ((2.0, 1.0, 0.0), ("x", 1.0))}
    store.append([model.commit(both)])
    store.close()
    store = SqliteStore(tmp_path / "store.sqlite")
    store.append([model.commit({0: ((1.0, 0.0, 0.0), (None, 2.0))})])
    with store.snapshot() as snapshot, store.snapshot(1) as older:
        _check(snapshot, model.expected(2, *search), search)
        _check(older, model.expected(1, *search), search)
    store.close()


def test_of_many_vectors_the_nearest_are_exact(store):
    """Many more than are looked at in one go, in many dimensions, some in one direction."""
    chance = random.Random(7)
    dimensions, count = 40, 700
    ids = [encode_id(TABLE, n.to_bytes(16, "big")) for n in range(count)]
    made = [tuple(chance.gauss(0, 1) for _ in range(dimensions)) for _ in range(count - 100)]
    made += [tuple(value * 4.0 for value in made[n]) for n in range(100)]
    held = {
        id_: Held(vector, (n % 3,)) for n, (id_, vector) in enumerate(zip(ids, made, strict=True))
    }
    written = []
    for n, (id_, each) in enumerate(held.items()):
        kept = direction(list(each.vector), dimensions)
        assert kept is not None
        digest = filter_digest(encode_key([float(n % 3)]))
        key = vector_key(encode_key([float(n)]), [digest], kept, encode_key([id_]))
        entry = EntryChange(index=INDEX, removed=None, added=key)
        written.append(
            DocumentChange(table=TABLE, id=id_, before=None, after=b"a", entries=(entry,))
        )
    store.append([Commit(ts=1, changes=tuple(written), source="test")])
    with store.snapshot() as snapshot:
        for wanted in (made[3], made[70], tuple(chance.gauss(0, 1) for _ in range(dimensions))):
            for where, admits in (([], lambda _: True), ([{0: [1.0]}], lambda f: f == (1,))):
                expected = [id_ for _, id_ in nearest(held, wanted, admits, digits=9)]
                for limit in (1, 2, 3, 10, 256):
                    found = snapshot.vector_hits(INDEX, query_of(wanted, where), limit)
                    assert [hit.id for hit in found] == expected[:limit]


def test_what_there_is_no_room_for_is_found_all_the_same(tmp_path):
    """Two indexes of several blocks each, of which a process may keep two, one or none."""
    chance = random.Random(3)
    indexes = [vector_index(2**33 + 1000 + number) for number in range(2)]
    ids = [encode_id(TABLE, n.to_bytes(16, "big")) for n in range(600)]
    held = {id_: Held(tuple(chance.gauss(0, 1) for _ in range(3)), ()) for id_ in ids}
    written = []
    for id_, each in held.items():
        kept = direction(list(each.vector), 3)
        assert kept is not None
        key = vector_key(encode_key([1.0]), [], kept, encode_key([id_]))
        entries = tuple(EntryChange(index=index, removed=None, added=key) for index in indexes)
        written.append(
            DocumentChange(table=TABLE, id=id_, before=None, after=b"a", entries=entries)
        )
    store = SqliteStore(tmp_path / "store.sqlite")
    store.append([Commit(ts=1, changes=tuple(written), source="test")])
    query, expected = query_of((1.0, 2.0, 3.0), []), nearest(held, (1.0, 2.0, 3.0))[:20]
    with store.snapshot() as snapshot:
        snapshot.vector_hits(indexes[0], query, 20)
        size = store._reader.vector_blocks._bytes // 3
        for blocks_max, left in ((10, 6), (6, 6), (4, 3), (3, 3), (2, 2), (1, 1), (0, 0)):
            blocks = store._reader.vector_blocks = VectorBlocks(blocks_max * size)
            for index in indexes * 2:
                assert _rounded(snapshot.vector_hits(index, query, 20)) == expected
                assert blocks._bytes <= blocks_max * size
            assert blocks._bytes == left * size
    store.close()


def test_of_equal_vectors_those_that_are_asked_for_are_found_in_little_memory(tmp_path):
    """Any number of documents may have the same vector, as those without a text to embed do."""
    dimensions = 512
    kept, other = (direction([1.0] * (dimensions - 1) + [last], dimensions) for last in (1.0, -1.0))
    assert kept is not None
    assert other is not None
    ids = [encode_id(TABLE, n.to_bytes(16, "big")) for n in range(5000)]
    chance = random.Random(5)
    chance.shuffle(ids)
    near, far = ids[:4900], ids[4900:]
    written = []
    for at, id_ in enumerate(ids):
        # The others lie among them.
        key = vector_key(
            encode_key([float(chance.random())]),
            [],
            kept if at < len(near) else other,
            encode_key([id_]),
        )
        entry = EntryChange(index=INDEX, removed=None, added=key)
        written.append(
            DocumentChange(table=TABLE, id=id_, before=None, after=b"a", entries=(entry,))
        )
    chance.shuffle(written)
    store = SqliteStore(tmp_path / "store.sqlite")
    store.append([Commit(ts=1, changes=tuple(written), source="test")])
    with store.snapshot() as snapshot:
        for wanted, first, then in ((kept, near, far), (other, far, near)):
            query = VectorQuery(direction=wanted)
            expected = (sorted(first) + sorted(then))[:256]
            tracemalloc.start()
            found = [hit.id for hit in snapshot.vector_hits(INDEX, query, 256)]
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert found == expected
            # All of them in float64 would be 20 MB, twice.
            assert most < 12 * 1024 * 1024
    store.close()


def test_no_more_of_what_there_is_no_room_for_is_in_memory_than_one_block(tmp_path):
    chance = random.Random(7)
    dimensions = 256
    written = []
    for number in range(5120):
        kept = direction([chance.gauss(0, 1) for _ in range(dimensions)], dimensions)
        assert kept is not None
        id_ = encode_id(TABLE, number.to_bytes(16, "big"))
        key = vector_key(encode_key([1.0]), [], kept, encode_key([id_]))
        entry = EntryChange(index=INDEX, removed=None, added=key)
        written.append(
            DocumentChange(table=TABLE, id=id_, before=None, after=b"a", entries=(entry,))
        )
    store = SqliteStore(tmp_path / "store.sqlite")
    store.append([Commit(ts=1, changes=tuple(written), source="test")])
    query = query_of(tuple(chance.gauss(0, 1) for _ in range(dimensions)), [])
    with store.snapshot() as snapshot:
        expected = snapshot.vector_hits(INDEX, query, 64)
        store._reader.vector_blocks = VectorBlocks(0)
        tracemalloc.start()
        assert snapshot.vector_hits(INDEX, query, 64) == expected
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    # There are 20 blocks of 280 KB.
    assert most < 2 * 1024 * 1024
    store.close()
