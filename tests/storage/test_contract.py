"""What every store must do, and that all stores do the same.

A random history of commits, trims and index builds is played to a store and to a model: a plain
dict of documents per timestamp. Everything the model can say of any timestamp that is kept, the
store must say too.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber.errors import OutOfRetention
from camber.occ.interval import ALL, Interval, Order
from camber.occ.write_set import EVERY_KEY
from camber.storage.index_ids import by_creation_time_index, by_id_index
from camber.storage.store import (
    Commit,
    DocumentChange,
    EntryChange,
    Placement,
    StagedRow,
    StagedTable,
    StagedTwice,
    StagingLost,
    TooManyRevisions,
)
from camber.values.ids import encode_id
from camber.values.keys import encode_key
from tests.storage.stores import STORES

TABLES = (10001, 10002)
DECLARED = {10001: 2**33 + 1000, 10002: 2**33 + 1001}
IDS = {table: [encode_id(table, bytes([n] * 16)) for n in range(3)] for table in TABLES}


def _keys(table, id_, value):
    """The keys of a document that consists of one byte, in both of its stored indexes."""
    return {
        by_creation_time_index(table): encode_key([float(value[0]), id_]),
        DECLARED[table]: encode_key([value.decode("latin-1"), id_]),
    }


def _staged_row(table, id_, value):
    return StagedRow(encode_key([id_]), value, tuple(_keys(table, id_, value).items()))


operations = st.lists(
    st.one_of(
        st.tuples(
            st.just("commit"),
            st.lists(
                st.tuples(
                    st.sampled_from(TABLES),
                    st.integers(0, 2),
                    st.one_of(st.none(), st.binary(min_size=1, max_size=1)),
                ),
                min_size=1,
                max_size=3,
                unique_by=lambda change: change[:2],
            ),
        ),
        st.tuples(
            st.just("stage"),
            st.lists(
                st.tuples(
                    st.sampled_from(TABLES),
                    st.dictionaries(
                        st.integers(0, 2), st.binary(min_size=1, max_size=1), max_size=3
                    ),
                    st.sampled_from(Placement),
                ),
                min_size=1,
                max_size=2,
                unique_by=lambda staged: staged[0],
            ),
        ),
        st.tuples(st.just("trim"), st.integers(0, 20)),
    ),
    max_size=14,
)


class _Model:
    """All documents at every timestamp."""

    def __init__(self):
        self.at: dict[int, Any] = {0: {}}
        self.ts = 0
        self.floor = 0
        self.history: dict[int, int] = {}

    def commit(self, changes):
        now = dict(self.at[self.ts])
        written = []
        for table, number, value in changes:
            id_ = IDS[table][number]
            before = now.get((table, id_))
            if before is None and value is None:
                continue
            entries = []
            old = {} if before is None else _keys(table, id_, before)
            new = {} if value is None else _keys(table, id_, value)
            for index in (by_creation_time_index(table), DECLARED[table]):
                entries.append(
                    EntryChange(index=index, removed=old.get(index), added=new.get(index))
                )
            written.append(
                DocumentChange(
                    table=table, id=id_, before=before, after=value, entries=tuple(entries)
                )
            )
            if value is None:
                del now[table, id_]
            else:
                now[table, id_] = value
        self.ts += 1
        self.at[self.ts] = now
        self.history[self.ts] = sum(
            len(change.id)
            + (0 if change.before is None else len(change.before))
            + sum(len(key) for e in change.entries for key in (e.removed, e.added) if key)
            for change in written
        )
        return Commit(ts=self.ts, changes=tuple(written), source=f"commit {self.ts}")

    def let_in(self, store, tables):
        """Stage rows and let them in by a commit; return it."""
        now = dict(self.at[self.ts])
        size = 0
        staged = []
        for table, rows, placement in tables:
            there = {id_ for of, id_ in now if of == table}
            wanted = {IDS[table][number]: value for number, value in rows.items()}
            if placement is Placement.ADD:
                wanted = {id_: value for id_, value in wanted.items() if id_ not in there}
                there = set()
            store.stage(table, [_staged_row(table, id_, value) for id_, value in wanted.items()])
            old = {id_: now.pop((table, id_)) for id_ in there}
            now |= {(table, id_): value for id_, value in wanted.items()}
            for id_, value in old.items():
                size += len(encode_key([id_])) + len(value)
                size += sum(map(len, _keys(table, id_, value).values()))
            indexes = (by_creation_time_index(table), DECLARED[table])
            staged.append(
                StagedTable(
                    table=table, indexes=indexes, placement=placement, documents=len(wanted)
                )
            )
        self.ts += 1
        self.at[self.ts] = now
        self.history[self.ts] = size
        return Commit(ts=self.ts, changes=(), source="import", staged=tuple(staged))

    def scan(self, ts, table, index, interval, order):
        rows = []
        for (of, id_), value in self.at[ts].items():
            if of != table:
                continue
            keys = {**_keys(table, id_, value), by_id_index(table): encode_key([id_])}
            rows.append((keys[index], value))
        rows.sort(reverse=order is Order.DESC)
        end = interval.end
        return [
            (key, value)
            for key, value in rows
            if interval.start <= key and (end is None or key < end)
        ]


def _check_equal(store, model, ts, interval, limit):
    with store.snapshot(None if ts == model.ts else ts) as snapshot:
        assert snapshot.ts == ts
        for table in TABLES:
            for id_ in IDS[table]:
                assert snapshot.get(table, id_) == model.at[ts].get((table, id_))
            there = sum(of == table for of, _ in model.at[ts])
            for index in (by_creation_time_index(table), DECLARED[table]):
                assert snapshot.count(index) == there
            for index in (by_id_index(table), by_creation_time_index(table), DECLARED[table]):
                for order in Order:
                    found = snapshot.scan(table, index, interval, order, limit)
                    expected = model.scan(ts, table, index, interval, order)[:limit]
                    assert [tuple(row) for row in found] == expected


def _revisions(store, **asked):
    options = {"rows_max": 100, "commits_max": 100, "commit_rows_max": 100}
    return store.revisions(**{"wanted": lambda table: True, **options, **asked})


def _check_revisions(store, model, since, limit):
    """What the store says has happened, played to the oldest state, gives the newest one."""
    for upto in (since, model.ts):
        found = _revisions(store, since=since, upto=upto)
        state = dict(model.at[since])
        for row in found.rows:
            assert since < row.ts <= upto
            state[row.table, row.id] = row.packed
            if row == next(r for r in reversed(found.rows) if r.ts == row.ts):
                there = {key: value for key, value in state.items() if value is not None}
                assert there == model.at[row.ts]
        assert found.through == upto
        assert {k: v for k, v in state.items() if v is not None} == model.at[upto]
        # In small pages it is the same.
        rows, at = [], since
        while at < upto:
            page = _revisions(store, since=at, upto=upto, rows_max=limit, commits_max=2)
            assert page.through > at
            rows += page.rows
            at = page.through
        assert rows == found.rows
    only = _revisions(store, since=since, upto=model.ts, wanted=lambda table: table == 10002)
    every = _revisions(store, since=since, upto=model.ts)
    assert only.rows == [row for row in every.rows if row.table == 10002]


bounds = st.one_of(
    st.just(b""), st.sampled_from([IDS[10001][1], "b", "z"]).map(lambda v: encode_key([v]))
)


@pytest.mark.parametrize("name", STORES)
@given(
    operations=operations, start=bounds, end=st.one_of(st.none(), bounds), limit=st.integers(1, 4)
)
def test_a_store_says_of_every_timestamp_what_was_so(name, operations, start, end, limit):
    with tempfile.TemporaryDirectory() as folder:
        store = STORES[name](Path(folder))
        model = _Model()
        try:
            for kind, what in operations:
                if kind == "commit":
                    store.append([model.commit(what)])
                elif kind == "stage":
                    store.append([model.let_in(store, what)])
                else:
                    before = store.tail(model.floor)
                    due = [c.ts for c in before if c.ts <= what and c.ts < model.ts]
                    gone = due[:3]
                    more = store.trim(before=what, commits_max=3)
                    assert more or gone == due
                    model.floor = gone[-1] if gone else model.floor
                    assert store.history_floor() == model.floor
                assert store.newest_ts() == model.ts
                kept = [size for ts, size in model.history.items() if ts > model.floor]
                assert store.history_bytes() == sum(kept)
            for ts in range(model.floor, model.ts + 1):
                _check_equal(store, model, ts, Interval(start, end), limit)
                _check_equal(store, model, ts, ALL, 100)
            for since in range(model.floor, model.ts + 1):
                _check_revisions(store, model, since, limit)
            if model.floor > 0:
                with pytest.raises(OutOfRetention):
                    _revisions(store, since=model.floor - 1, upto=model.ts)
                with pytest.raises(OutOfRetention):
                    store.snapshot(model.floor - 1)
        finally:
            store.close()


@pytest.fixture(params=STORES)
def store(request, tmp_path):
    opened = STORES[request.param](tmp_path)
    yield opened
    opened.close()


def test_a_group_of_commits_is_written_in_order(store):
    model = _Model()
    group = [model.commit([(10001, 0, bytes([n]))]) for n in range(1, 6)]
    store.append(group)
    for ts in range(6):
        _check_equal(store, model, ts, ALL, 10)


def test_the_tail_names_what_each_commit_touched(store):
    model = _Model()
    commits = [model.commit([(10001, 0, b"a")]), model.commit([(10001, 0, b"b")])]
    store.append(commits)
    logged = store.tail(0)
    assert [(c.ts, c.source) for c in logged] == [(1, "commit 1"), (2, "commit 2")]
    for commit, found in zip(commits, logged, strict=True):
        assert {i: set(k) for i, k in found.writes.items()} == commit.writes
    assert [c.ts for c in store.tail(1)] == [2]


def test_a_snapshot_does_not_move_while_commits_go_on(store):
    model = _Model()
    store.append([model.commit([(10001, 0, b"a")])])
    with store.snapshot() as snapshot:
        for value in (b"b", b"c"):
            store.append([model.commit([(10001, 0, value)])])
            assert snapshot.get(10001, IDS[10001][0]) == b"a"
            assert len(snapshot.scan(10001, DECLARED[10001], ALL, Order.ASC, 10)) == 1


def test_an_index_can_be_built_and_dropped(store):
    model = _Model()
    store.append([model.commit([(10001, n, bytes([n + 65])) for n in range(3)])])
    index = 2**33 + 2000
    store.build_index(10001, index, [encode_key([n, id_]) for n, id_ in enumerate(IDS[10001])])
    with store.snapshot() as snapshot:
        assert len(snapshot.scan(10001, index, ALL, Order.ASC, 10)) == 3
    # Again, as a build does that was cut short.
    store.build_index(10001, index, [encode_key([n, id_]) for n, id_ in enumerate(IDS[10001])])
    with store.snapshot() as snapshot:
        assert len(snapshot.scan(10001, index, ALL, Order.ASC, 10)) == 3
    left = []
    while removed := store.drop_index(index, entries_max=2):
        with store.snapshot() as snapshot:
            left.append((removed, len(snapshot.scan(10001, index, ALL, Order.ASC, 10))))
    assert left == [(2, 1), (1, 0)]


def _with_staged(store):
    model = _Model()
    store.append([model.commit([(10001, 0, b"a")])])
    rows = [_staged_row(10001, IDS[10001][n], bytes([n + 98])) for n in range(3)]
    store.stage(10001, rows[:1])
    store.stage(10001, rows[1:])
    return model, rows


def test_what_is_staged_is_seen_by_nobody_until_a_commit_lets_it_in(store):
    model, rows = _with_staged(store)
    _check_equal(store, model, 1, ALL, 10)
    for index in (by_id_index(10001), DECLARED[10001]):
        keys = sorted(
            row.key if index == by_id_index(10001) else dict(row.entries)[index] for row in rows
        )
        assert store.staged_keys(index, b"", 10) == keys
        assert store.staged_keys(index, keys[0], 1) == keys[1:2]
    assert store.staged_and_there(10001) == rows[0].key
    assert store.staged_and_there(10002) is None
    store.unstage()
    assert store.staged_keys(by_id_index(10001), b"", 10) == []
    assert store.staged_keys(DECLARED[10001], b"", 10) == []
    _check_equal(store, model, 1, ALL, 10)


def test_no_two_staged_rows_have_one_key(store):
    _with_staged(store)
    other = _staged_row(10001, IDS[10001][1], b"z")
    fresh = _staged_row(10001, encode_id(10001, bytes([9] * 16)), b"z")
    for batch in ([fresh, other], [fresh, fresh]):
        with pytest.raises(StagedTwice) as told:
            store.stage(10001, batch)
        assert told.value.key == batch[1].key
    assert len(store.staged_keys(by_id_index(10001), b"", 10)) == 3
    assert len(store.staged_keys(DECLARED[10001], b"", 10)) == 3


def test_a_commit_that_counts_on_lost_rows_changes_nothing(store):
    model, _ = _with_staged(store)
    store.unstage()
    staged = StagedTable(table=10001, indexes=(), placement=Placement.REPLACE, documents=3)
    with pytest.raises(StagingLost):
        store.append([Commit(ts=2, changes=(), source="import", staged=(staged,))])
    assert store.newest_ts() == 1
    _check_equal(store, model, 1, ALL, 10)


def test_commits_around_one_that_lets_rows_in_keep_their_order(store):
    model = _Model()
    first = model.commit([(10001, 0, b"a"), (10002, 1, b"b")])
    second = model.let_in(store, [(10001, {1: b"c"}, Placement.REPLACE)])
    third = model.commit([(10001, 1, b"d"), (10001, 0, b"e")])
    store.append([first, second, third])
    for ts in range(4):
        _check_equal(store, model, ts, ALL, 10)
    writes = store.tail(1)[0].writes
    assert writes == dict.fromkeys(
        (by_id_index(10001), by_creation_time_index(10001), DECLARED[10001]), EVERY_KEY
    )


def test_a_commit_that_is_too_large_is_not_told_in_part(store):
    model = _Model()
    store.append([model.commit([(10001, n, b"a") for n in range(3)])])
    store.append([model.let_in(store, [(10001, {0: b"c"}, Placement.REPLACE)])])
    for since in (0, 1):
        with pytest.raises(TooManyRevisions) as told:
            _revisions(store, since=since, upto=2, commit_rows_max=2)
        assert told.value.ts == since + 1
        assert len(_revisions(store, since=since, upto=2, commit_rows_max=3).rows) >= 3
