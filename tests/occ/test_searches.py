"""Searches in read sets: who is told of a written text, and which transaction conflicts with it.

Whether a text concerns a search is decided here by looking at its words one by one.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from camber.occ.read_set import ReadSet
from camber.occ.subscriptions import Subscriptions
from camber.occ.write_log import WriteLog
from camber.occ.write_set import EVERY_KEY
from camber.search.texts import TextQuery, filter_digest, text_key, text_of_key
from camber.storage.index_ids import text_index
from camber.values.keys import encode_key

INDEXES = [text_index(1), text_index(2)]
WORDS = ["a", "ab", "abc", "b", "ba", "é"]

texts = st.tuples(
    st.lists(st.sampled_from(WORDS), max_size=4),
    st.tuples(st.sampled_from("xy"), st.sampled_from("xy")),
)
writes = st.dictionaries(st.sampled_from(INDEXES), st.lists(texts, min_size=1, max_size=3))
searches = st.tuples(
    st.sampled_from(INDEXES),
    st.lists(st.sampled_from(WORDS), max_size=2, unique=True),
    st.one_of(st.none(), st.sampled_from(["a", "ab", "b"])),
    st.dictionaries(st.integers(0, 1), st.sampled_from("xy")),
)


def _keys(texts):
    return [
        text_key(
            encode_key([1.5]),
            [filter_digest(encode_key([value])) for value in filters],
            words,
            encode_key(["id"]),
        )
        for words, filters in texts
    ]


def _written(writes):
    return {index: _keys(each) for index, each in writes.items()}


def _reads(searches):
    reads = ReadSet()
    for index, terms, prefix, filters in searches:
        digests = {place: filter_digest(encode_key([v])) for place, v in filters.items()}
        reads.record_search(
            index,
            TextQuery(terms=tuple(terms), prefix=prefix, filters=tuple(sorted(digests.items()))),
        )
    return reads


def _concerns(searches, writes):
    return any(
        all(filters[place] == value for place, value in wanted.items())
        and any(word in terms or (prefix and word.startswith(prefix)) for word in words)
        for index, terms, prefix, wanted in searches
        for words, filters in writes.get(index, ())
    )


@given(st.lists(st.lists(searches, max_size=2), max_size=6), writes, st.data())
def test_subscriptions_find_exactly_the_searches_that_a_text_concerns(watched, written, data):
    subscriptions: Subscriptions[int | str] = Subscriptions()
    for number, each in enumerate(watched):
        subscriptions.add(number, _reads(each))
    gone = data.draw(st.sets(st.integers(0, max(len(watched) - 1, 0))))
    for number in gone:
        subscriptions.remove(number)
    left = [number for number in range(len(watched)) if number not in gone]
    concerned = {number for number in left if _concerns(watched[number], written)}
    assert set(subscriptions.stale(_written(written))) == concerned
    for number in left:
        subscriptions.remove(number)
    assert not subscriptions._searches
    assert not subscriptions._searches._members


@given(st.lists(searches, max_size=3), st.lists(writes, max_size=5), st.integers(0, 5))
def test_a_transaction_conflicts_with_the_first_text_that_its_searches_concern(
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


@given(texts)
def test_a_key_says_what_was_put_into_it(text):
    (key,) = _keys([text])
    words, filters = text
    found = text_of_key(key)
    assert found.words == words
    assert found.filters == tuple(filter_digest(encode_key([value])) for value in filters)
    assert (found.time, found.id) == (1.5, "id")
