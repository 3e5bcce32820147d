"""What every store must find in its text indexes, and in what order.

A random history of writes, imports, trims and drops is played to each store and to a dict of texts
per timestamp; every search of every kept timestamp must give what BM25 by the book gives over that
dict (tests/search/brute.py). Snapshots that are ahead of the store are searched too.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber.search.ranking import EVERYTHING, Window
from camber.search.texts import TextQuery, filter_digest, text_key
from camber.storage.ahead import AheadSnapshot
from camber.storage.index_ids import text_index
from camber.storage.sqlite.store import SqliteStore
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
from tests.search.brute import Held, ranked
from tests.storage.stores import STORES

#: Terms, a prefix, and filters by place.
Search = tuple[list[str], str | None, dict[int, Any]]

TABLE = 10001
INDEX = text_index(2**33 + 1000)
IDS = [encode_id(TABLE, bytes([n] * 16)) for n in range(6)]
WORDS = ["a", "ab", "abc", "b", "é", "東京"]

#: Of each document when it was made: some at one moment, as imported ones are.
TIMES = [5.0, -3.5, 5.0, 7.25, 5.0, 0.0]

texts = st.tuples(
    st.lists(st.sampled_from(WORDS), max_size=4).map(tuple),
    st.tuples(st.sampled_from([None, "x"]), st.sampled_from([1.0, 2.0])),
)
#: None is no document, False one without a text.
contents = st.one_of(st.none(), st.just(False), texts)
changes = st.dictionaries(st.integers(0, 5), contents, min_size=1, max_size=4)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("group"), st.lists(changes, min_size=1, max_size=3)),
        st.tuples(st.just("stage"), changes, st.sampled_from(Placement)),
        st.tuples(st.just("trim"), st.integers(0, 20)),
    ),
    max_size=5,
)
searches = st.lists(
    st.tuples(
        st.lists(st.sampled_from(WORDS), max_size=3, unique=True),
        st.one_of(st.none(), st.sampled_from(["a", "ab", "東", "z"])),
        st.dictionaries(st.integers(0, 1), st.sampled_from([None, "x", 1.0, 2.0]), max_size=2),
    ),
    min_size=1,
    max_size=2,
)


def key_of(number, content):
    """The key of a document in the index, or None."""
    if not content:
        return None
    words, filters = content
    digests = [filter_digest(encode_key([value])) for value in filters]
    time = encode_key([TIMES[number]])
    return text_key(time, digests, words, encode_key([IDS[number]]))


def query_of(terms, prefix, filters):
    digests = {place: filter_digest(encode_key([value])) for place, value in filters.items()}
    return TextQuery(terms=tuple(terms), prefix=prefix, filters=tuple(sorted(digests.items())))


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
            written.append(
                DocumentChange(
                    table=TABLE,
                    id=IDS[number],
                    before=None if before is None else b"before",
                    after=None if content is None else b"after",
                    entries=(EntryChange(index=INDEX, removed=removed, added=added),),
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

    def expected(self, ts, terms, prefix, filters):
        held = {
            IDS[number]: Held(content[0], TIMES[number], content[1])
            for number, content in self.at[ts].items()
            if content
        }
        return ranked(held, terms, prefix, filters)


def _check(snapshot, expected, search, index=INDEX):
    query = query_of(*search)
    if query.is_empty:
        return
    statistics = snapshot.text_statistics(index, query)
    found = snapshot.text_hits(index, query, statistics, EVERYTHING, 100)
    assert [hit.id for hit in found] == [id_ for _, id_ in expected]
    assert [hit.score for hit in found] == pytest.approx([score for score, _ in expected])
    # A part at a time, and up to a bound.
    after, pages = None, []
    while page := snapshot.text_hits(index, query, statistics, Window(after, None), 2):
        pages += page
        after = page[-1]
    assert pages == found
    for number, bound in enumerate(found):
        upto = snapshot.text_hits(index, query, statistics, Window(None, bound), 100)
        assert upto == found[: number + 1]


@pytest.mark.parametrize("name", STORES)
@given(operations=operations, searches=searches)
def test_every_store_finds_what_bm25_finds_at_every_timestamp(name, operations, searches):
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
            for ts in range(store.history_floor(), model.ts + 1):
                with store.snapshot(None if ts == model.ts else ts) as snapshot:
                    for search in searches:
                        _check(snapshot, model.expected(ts, *search), search)
        finally:
            store.close()


@pytest.mark.parametrize("name", ["memory", "sqlite"])
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


def test_a_text_index_can_be_built_while_commits_go_on_and_dropped(store):
    model = _Model()
    first = {n: (("a", "b")[: n % 2 + 1], (None, 1.0)) for n in range(5)}
    store.append([model.commit(first)])
    index = text_index(2**33 + 2000)
    built = [key_of(number, content) for number, content in first.items()]
    store.build_index(TABLE, index, built[:3])
    # Again, as a build does that was cut short.
    store.build_index(TABLE, index, built)
    search: Search = (["b"], "a", {})
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
    store.append([model.commit({0: (("a",), (None, 1.0))})])
    with store.snapshot() as snapshot:
        for word in ("b", "a", "ab"):
            store.append([model.commit({0: ((word,), (None, 1.0)), 1: ((word,), (None, 1.0))})])
            _check(snapshot, model.expected(1, ["a"], None, {}), (["a"], None, {}))


def test_texts_outlive_the_process_that_wrote_them(tmp_path):
    model = _Model()
    store = SqliteStore(tmp_path / "store.sqlite")
    store.append([model.commit({0: (("a", "b"), (None, 1.0)), 1: (("b",), ("x", 1.0))})])
    store.close()
    store = SqliteStore(tmp_path / "store.sqlite")
    store.append([model.commit({0: (("b",), (None, 2.0))})])
    with store.snapshot() as snapshot, store.snapshot(1) as older:
        search: Search = (["b"], None, {})
        _check(snapshot, model.expected(2, *search), search)
        _check(older, model.expected(1, *search), search)
    store.close()


def test_a_filter_is_no_word_and_a_word_no_filter(store):
    model = _Model()
    digest = filter_digest(encode_key(["x"])).hex()
    store.append([model.commit({0: ((digest[:31], "0"), ("x", 1.0)), 1: (("a",), (None, 1.0))})])
    for search in (
        ([digest[:31]], None, {}),
        (["0"], digest[0], {0: "x"}),
        (["a"], None, {0: "x"}),
    ):
        with store.snapshot() as snapshot:
            _check(snapshot, model.expected(1, *search), search)
