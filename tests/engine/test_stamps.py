"""The committer puts the timestamp of a commit into documents and keys that it does not take apart."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from camber.engine.catalog import IndexEntry, table_entry
from camber.engine.stamps import stamp_of
from camber.storage.index_ids import text_index, vector_index
from camber.storage.store import DocumentChange, EntryChange
from camber.values.ids import encode_id
from camber.values.packed import pack
from camber.values.pending import pack_pending
from camber.values.value import COMMIT_TS
from tests.values.test_pending import NS, at, pending, timestamps

_ID = encode_id(10_001, bytes(16))
TABLE = table_entry(
    10_001,
    "docs",
    [
        IndexEntry(id=101, name="by_a", fields=("a",)),
        IndexEntry(id=102, name="by_ab", fields=("a", "b.x")),
        IndexEntry(
            id=text_index(103), name="search", fields=("t", "a", "b", "b.x"), tokenizer="words"
        ),
        IndexEntry(id=vector_index(104), name="near", fields=("v", "b.x", "a"), dimensions=2),
    ],
)
documents = st.fixed_dictionaries(
    {"t": st.one_of(st.sampled_from(["some words", ""]), pending)},
    optional={
        "v": st.one_of(st.just([3.0, 4.0]), st.lists(pending, min_size=2, max_size=2)),
        "a": pending,
        "b": st.one_of(pending, st.dictionaries(st.just("x"), pending)),
    },
)


@given(document=documents, ts=timestamps, was=st.booleans())
@example(document={"t": "words", "a": COMMIT_TS, "b": {"x": [COMMIT_TS, "s"]}}, ts=NS, was=True)
@example(document={"t": COMMIT_TS, "a": "s"}, ts=1, was=False)
def test_a_change_becomes_what_it_is_with_its_timestamp(document, ts, was):
    document = {**document, "_id": _ID, "_creationTime": 3.5}
    stamped = {**at(document, ts), "_id": _ID, "_creationTime": 3.5}
    packed, keys = pack_pending(document), TABLE.keys(document)
    change = DocumentChange(
        table=TABLE.number,
        id=_ID,
        before=b"before" if was else None,
        after=packed,
        entries=tuple(
            EntryChange(index=index.id, removed=b"k" if was else None, added=keys.get(index.id))
            for index in TABLE.stored
        ),
    )
    stamp = stamp_of(0, TABLE, packed, keys)
    becomes = change if stamp is None else stamp.put(change, ts)
    assert becomes.after == pack(stamped)
    expected = TABLE.keys(stamped)
    assert {entry.index: entry.added for entry in becomes.entries} == {
        index.id: expected.get(index.id) for index in TABLE.stored
    }
    assert (becomes.table, becomes.id, becomes.before) == (change.table, change.id, change.before)
    assert [entry.removed for entry in becomes.entries] == [e.removed for e in change.entries]
