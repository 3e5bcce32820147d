"""A snapshot ahead of its store shows what the store shows once it has got there."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from camber.occ.interval import Interval, Order
from camber.storage.ahead import snapshot_ahead
from camber.storage.index_ids import by_creation_time_index, by_id_index
from tests.storage.stores import STORES
from tests.storage.test_contract import DECLARED, IDS, TABLES, _Model

changes = st.lists(
    st.tuples(
        st.sampled_from(TABLES),
        st.integers(0, 2),
        st.one_of(st.none(), st.binary(min_size=1, max_size=1)),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda change: change[:2],
)
bounds = st.sampled_from([b"", b"\x0d", b"\x0d\xc0", b"\x10", b"\x10a", b"\x10\x7f", b"\x11"])


@given(
    st.sampled_from(sorted(STORES)),
    st.lists(changes, min_size=1, max_size=6),
    st.integers(0, 6),
    st.integers(0, 6),
    st.tuples(bounds, st.one_of(st.none(), bounds)),
    st.sampled_from(Order),
    st.integers(1, 4),
)
def test_what_is_ahead_is_seen_as_if_it_were_there(
    store, history, stored, asked, bounds_, order, limit
):
    model = _Model()
    commits = [model.commit(each) for each in history]
    stored, asked = min(stored, len(commits)), max(1, min(asked, len(commits)))
    interval = Interval(*bounds_)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        behind, there = STORES[store](Path(one)), STORES["memory"](Path(other))
        if stored:
            behind.append(commits[:stored])
        there.append(commits)
        # Whatever the store has of it already is told as well, and what comes later.
        with snapshot_ahead(behind, asked, commits) as seen, there.snapshot(asked) as expected:
            assert seen.ts == asked
            for table in TABLES:
                for id_ in IDS[table]:
                    assert seen.get(table, id_) == expected.get(table, id_)
                for index in (by_id_index(table), by_creation_time_index(table), DECLARED[table]):
                    assert seen.scan(table, index, interval, order, limit) == expected.scan(
                        table, index, interval, order, limit
                    )
                    if index != by_id_index(table):
                        assert seen.count(index) == expected.count(index)
        behind.close()
