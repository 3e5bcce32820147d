"""Transactions: what they see, and what they depend on."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber import limits
from camber.engine.committer import CommitConflict
from camber.engine.engine import Engine
from camber.errors import DeveloperError, OutOfRetention, RequestError
from camber.host import RealHost
from camber.occ.interval import ALL, Interval, Order
from camber.values.ids import encode_id
from camber.values.keys import encode_key
from tests.engine.harness import fields_of, opened, read, rows, run, write
from tests.storage.stores import STORES


@pytest.fixture(params=STORES)
def store(request):
    return request.param


def test_a_transaction_sees_its_own_writes_and_nobody_elses(tmp_path, store):
    async def main():
        async with opened(tmp_path, store) as engine:
            await write(engine, lambda tx: tx.insert("notes", {"n": 1}))
            mine = engine.begin("mine")
            id_ = mine.insert("notes", {"n": 2})
            await write(engine, lambda tx: tx.insert("notes", {"n": 3}))
            assert [d["n"] for d in rows(mine, "notes")] == [1, 2]
            assert [d["n"] for d in rows(mine, "notes", order=Order.DESC)] == [2, 1]
            mine.replace(id_, {"n": 20})
            assert [d["n"] for d in rows(mine, "notes")] == [1, 20]
            mine.delete(id_)
            assert [d["n"] for d in rows(mine, "notes")] == [1]
            mine.close()

    run(main())


@given(
    stored=st.lists(st.integers(0, 9), max_size=6, unique=True),
    operations=st.lists(
        st.tuples(st.sampled_from(["insert", "replace", "delete"]), st.integers(0, 9)), max_size=8
    ),
    order=st.sampled_from(list(Order)),
    take=st.integers(0, 8),
)
def test_scans_merge_the_snapshot_and_own_writes(stored, operations, order, take):
    """The oracle is a sorted list of numbers."""

    async def main():
        with tempfile.TemporaryDirectory() as folder:
            async with opened(Path(folder)) as engine:
                ids = {}
                for n in stored:
                    ids[n], _ = await write(engine, lambda tx, n=n: tx.insert("t", {"n": n}))
                model = dict.fromkeys(stored, "old")
                tx = engine.begin("test")
                for operation, n in operations:
                    if operation == "insert" and n not in model:
                        ids[n] = tx.insert("t", {"n": n})
                        model[n] = "new"
                    elif operation == "replace" and n in model:
                        tx.replace(ids[n], {"n": n, "v": 1})
                        model[n] = "changed"
                    elif operation == "delete" and n in model:
                        tx.delete(ids[n])
                        del model[n]
                entry = tx.table("t")
                expected = sorted(
                    model, key=lambda n: encode_key([ids[n]]), reverse=order is Order.DESC
                )
                if entry is None:
                    assert not model
                else:
                    scan = tx.scan(entry, entry.indexes["by_id"], ALL, order, rows=1)
                    found: list[int] = []
                    for row in scan:
                        if len(found) == take:
                            break
                        found.append(fields_of(row.packed)["n"])
                    assert found == expected[:take]
                tx.close()

    run(main())


def test_creation_times_grow_within_a_transaction_and_ids_do_not_repeat(tmp_path):
    async def main():
        async with opened(tmp_path) as engine:

            def insert_many(tx):
                ids = [tx.insert("notes", {}) for _ in range(50)]
                try:
                    with tx.sub_transaction():
                        tx.insert("notes", {})
                        raise KeyError
                except KeyError:
                    pass
                return [*ids, tx.insert("notes", {})]

            ids, ts = await write(engine, insert_many)
            documents = read(engine, lambda tx: rows(tx, "notes"))
            times = [d["_creationTime"] for d in documents]
            assert [d["_id"] for d in documents] == ids
            assert times == sorted(set(times))
            assert len(set(ids)) == 51
            assert abs(times[0] - ts / 1e6) < 60_000

    run(main())


def test_a_rolled_back_sub_transaction_leaves_its_reads_and_nothing_else(tmp_path):
    async def main():
        async with opened(tmp_path) as engine:
            id_, _ = await write(engine, lambda tx: tx.insert("notes", {"n": 1}))
            tx = engine.begin("test")

            def fail():
                with tx.sub_transaction():
                    tx.get(id_)
                    tx.replace(id_, {"n": 2})
                    tx.insert("notes", {"n": 3})
                    tx.insert("fresh", {})
                    raise KeyError

            with pytest.raises(KeyError):
                fail()
            assert [d["n"] for d in rows(tx, "notes")] == [1]
            assert tx.table("fresh") is None
            tx.insert("other", {})
            finished = tx.finish()
            tx.close()
            await write(engine, lambda tx: tx.replace(id_, {"n": 9}))
            with pytest.raises(CommitConflict):
                await engine.committer.commit(finished)

    run(main())


def test_a_write_that_changes_nothing_is_none(tmp_path, monkeypatch):
    async def main():
        async with opened(tmp_path) as engine:
            id_, first = await write(engine, lambda tx: tx.insert("notes", {"n": 1}))
            with monkeypatch.context() as patched:
                # Nor does it count.
                patched.setattr(limits, "documents_written_max", 0)
                await write(engine, lambda tx: tx.replace(id_, {"n": 1}))
            heard: list[object] = []
            engine.on_publish(heard.extend)
            _, ts = await write(engine, lambda tx: tx.replace(id_, {"n": 1.0}))
            assert (ts, heard) == (first, [])

            def there_and_back(tx):
                tx.replace(id_, {"n": 2})
                tx.replace(id_, {"n": 1})

            await write(engine, there_and_back)
            assert heard == []

    run(main())


def test_a_listener_that_fails_keeps_neither_the_commit_nor_the_others_from_going_on(
    tmp_path, caplog
):
    async def main():
        async with opened(tmp_path) as engine:
            heard: list[object] = []

            def fails(commits):
                raise RuntimeError("cannot hear")

            engine.on_publish(fails)
            engine.on_publish(heard.extend)
            for n in range(2):
                await write(engine, lambda tx, n=n: tx.insert("notes", {"n": n}))
            assert len(heard) == 2
            assert len(read(engine, lambda tx: rows(tx, "notes"))) == 2

    run(main())
    told = [each for each in caplog.records if each.name == "camber.engine"]
    assert len(told) == 2
    assert all("fails, told of commit" in each.getMessage() for each in told)
    assert "cannot hear" in caplog.text


def test_a_committer_that_ends_by_a_bug_says_so(tmp_path, caplog, monkeypatch):
    async def main():
        async with opened(tmp_path) as engine:
            await write(engine, lambda tx: tx.insert("notes", {"n": 1}))
            with monkeypatch.context() as patched:
                patched.setattr(engine.committer, "_apply", lambda commits: 1 // 0)
                asking = asyncio.create_task(write(engine, lambda tx: tx.insert("notes", {"n": 2})))
                await asyncio.wait([engine.committer._flusher])
            asking.cancel()
            # Nobody waits for what it will not write any more.
            engine.committer._idle.set()

    run(main())
    assert "nothing commits until the server is started again" in caplog.text
    assert "ZeroDivisionError" in caplog.text


#: An id of the table that is made after `elsewhere` and `t`.
OF_U = encode_id(10003, bytes(16))


def _take(tx, count, order=Order.ASC):
    entry = tx.table("t")
    scan = tx.scan(entry, entry.indexes["by_creation_time"], ALL, order, rows=count)
    found = [next(scan) for _ in range(count)]
    scan.close()
    return found


@pytest.mark.parametrize(
    ("reading", "writing", "conflicts"),
    [
        # Taking two depends on the first two keys, not on what follows.
        (lambda tx, ids: _take(tx, 2), lambda tx, ids: tx.replace(ids[2], {"n": 9}), False),
        (lambda tx, ids: _take(tx, 2), lambda tx, ids: tx.replace(ids[1], {"n": 9}), True),
        (lambda tx, ids: _take(tx, 2), lambda tx, ids: tx.delete(ids[0]), True),
        (lambda tx, ids: _take(tx, 2), lambda tx, ids: tx.insert("t", {"n": 9}), False),
        # From the other end.
        (lambda tx, ids: _take(tx, 1, Order.DESC), lambda tx, ids: tx.insert("t", {}), True),
        (lambda tx, ids: _take(tx, 1, Order.DESC), lambda tx, ids: tx.delete(ids[0]), False),
        # All of it, to the end.
        (lambda tx, ids: rows(tx, "t"), lambda tx, ids: tx.insert("t", {"n": 9}), True),
        (lambda tx, ids: rows(tx, "t"), lambda tx, ids: tx.insert("u", {"n": 9}), False),
        # One document, there or not.
        (lambda tx, ids: tx.get(ids[0]), lambda tx, ids: tx.replace(ids[0], {"n": 9}), True),
        (lambda tx, ids: tx.get(ids[0]), lambda tx, ids: tx.replace(ids[1], {"n": 9}), False),
        # One of a table that is not there yet.
        (lambda tx, ids: tx.get(OF_U), lambda tx, ids: tx.insert("u", {}, id=OF_U), True),
        (lambda tx, ids: tx.get(OF_U), lambda tx, ids: tx.insert("u", {}), False),
        # A table that is not there yet.
        (lambda tx, ids: tx.table("u"), lambda tx, ids: tx.insert("u", {}), True),
        (lambda tx, ids: tx.table("u"), lambda tx, ids: tx.insert("v", {}), False),
        # Blind inserts.
        (lambda tx, ids: tx.insert("t", {}), lambda tx, ids: tx.insert("t", {}), False),
    ],
)
def test_what_a_transaction_depends_on(tmp_path, reading, writing, conflicts):
    before = [1, 2, 3]

    async def main():
        async with opened(tmp_path) as engine:
            # Made before: two transactions that make tables conflict by that alone.
            await write(engine, lambda tx: tx.insert("elsewhere", {}))
            ids = [
                (await write(engine, lambda tx, n=n: tx.insert("t", {"n": n})))[0] for n in before
            ]
            tx = engine.begin("reader")
            reading(tx, ids)
            tx.insert("elsewhere", {})
            finished = tx.finish()
            tx.close()
            await write(engine, lambda tx: writing(tx, ids))
            try:
                await engine.committer.commit(finished)
            except CommitConflict as conflict:
                return conflict.source == "test"
            return False

    assert run(main()) == conflicts


def test_timestamps_never_go_back(tmp_path):
    async def main():
        async with opened(tmp_path, "sqlite") as engine:
            stamps = [(await write(engine, lambda tx: tx.insert("t", {})))[1] for _ in range(20)]
            assert stamps == sorted(set(stamps))
        async with opened(tmp_path, "sqlite") as engine:
            # As if the clock had been set back by an hour.
            engine.host.now_ns = lambda: stamps[-1] - 3600 * 10**9
            assert engine.newest_ts == stamps[-1]
            _, ts = await write(engine, lambda tx: tx.insert("t", {}))
            assert ts > stamps[-1]

    run(main())


def test_older_snapshots_can_be_read_until_they_are_trimmed(tmp_path, store):
    async def main():
        async with opened(tmp_path, store) as engine:
            stamps = [
                (await write(engine, lambda tx, n=n: tx.insert("t", {"n": n})))[1] for n in range(5)
            ]
            for count, ts in enumerate(stamps, start=1):
                assert len(read(engine, lambda tx: rows(tx, "t"), ts)) == count
            while await engine.trim(before=stamps[2], commits_max=100):
                pass
            assert await engine.history_floor() == stamps[2]
            assert len(read(engine, lambda tx: rows(tx, "t"), stamps[2])) == 3
            with pytest.raises(OutOfRetention):
                engine.begin("test", ts=stamps[1])

    run(main())


def test_commits_are_grouped_and_all_of_them_are_visible(tmp_path):
    async def main():
        async with opened(tmp_path, "sqlite") as engine:
            await write(engine, lambda tx: tx.insert("t", {}))
            groups = []
            engine.on_publish(lambda commits: groups.append(len(commits)))
            await asyncio.gather(
                *(write(engine, lambda tx: tx.insert("t", {})) for _ in range(200))
            )
            assert sum(groups) == 200
            assert len(groups) < 100
            assert len(read(engine, lambda tx: rows(tx, "t"))) == 201

    run(main())


class _Failing:
    """A store that cannot write for a while."""

    def __init__(self, store, landed):
        self._store = store
        self.fails = False
        self._landed = landed

    def __getattr__(self, name):
        return getattr(self._store, name)

    def append(self, commits):
        if self.fails:
            if self._landed:
                self._store.append(commits)
            raise OSError("disk full")
        self._store.append(commits)


@pytest.mark.parametrize("landed", [False, True])
def test_a_failed_write_is_told_and_the_engine_goes_on(tmp_path, landed):
    async def main():
        store = _Failing(STORES["memory"](tmp_path), landed)
        engine = Engine(host=RealHost(), store=store)
        await write(engine, lambda tx: tx.insert("t", {"n": 1}))
        store.fails = True
        with pytest.raises(RequestError, match="disk full"):
            await write(engine, lambda tx: tx.insert("t", {"n": 2}))
        store.fails = False
        await write(engine, lambda tx: tx.insert("t", {"n": 3}))
        found = [d["n"] for d in read(engine, lambda tx: rows(tx, "t"))]
        # What the store has in spite of its complaint is there for all.
        assert found == ([1, 2, 3] if landed else [1, 3])
        await engine.close()

    run(main())


@pytest.mark.parametrize(
    ("limit", "value", "code"),
    [
        ("documents_read_max", 5, "TooManyDocumentsRead"),
        ("bytes_read_max", 100, "TooManyBytesRead"),
        ("read_intervals_max", 3, "TooManyReads"),
        ("documents_written_max", 5, "TooManyWrites"),
        ("bytes_written_max", 300, "TooManyBytesWritten"),
        ("document_bytes_max", 60, "ValueTooLargeError"),
    ],
)
def test_limits_say_which_they_are(tmp_path, monkeypatch, limit, value, code):
    async def main():
        async with opened(tmp_path) as engine:

            def fill(tx):
                return [tx.insert("t", {"n": n}) for n in range(10)]

            ids, _ = await write(engine, fill)
            monkeypatch.setattr(limits, limit, value)

            def everything(tx):
                if "read" in limit:
                    for id_ in ids:
                        tx.get(id_)
                    rows(tx, "t")
                else:
                    fill(tx)

            with pytest.raises(DeveloperError, match=str(value)) as refused:
                await write(engine, everything)
            assert refused.value.code == code

    run(main())


def test_intervals_of_an_index_are_prefixes(tmp_path):
    async def main():
        async with opened(tmp_path) as engine:
            ids, _ = await write(engine, lambda tx: [tx.insert("t", {}) for _ in range(3)])
            found = read(
                engine,
                lambda tx: rows(tx, "t", "by_id", interval=Interval.prefix(encode_key([ids[1]]))),
            )
            assert [d["_id"] for d in found] == [ids[1]]

    run(main())


def test_nobody_else_commits_while_the_engine_is_held(tmp_path):
    async def main():
        async with opened(tmp_path) as engine:
            insert = lambda: write(engine, lambda tx: tx.insert("t", {}))  # noqa: E731
            await insert()
            held = False
            published: list[tuple[bool, str]] = []
            engine.on_publish(lambda commits: published.extend((held, c.source) for c in commits))
            outside = []
            for _ in range(3):
                async with engine.hold() as hold:
                    held = True
                    outside += [asyncio.ensure_future(insert()) for _ in range(3)]
                    for _ in range(3):
                        await asyncio.sleep(0)
                    transaction = engine.begin("inside")
                    transaction.insert("t", {})
                    await hold.commit(transaction.finish())
                    transaction.close()
                    held = False
            await asyncio.gather(*outside)
            assert {source for is_held, source in published if is_held} == {"inside"}
            # Those who waited have committed after all: inserts read nothing that was written.
            assert len(read(engine, lambda tx: rows(tx, "t"))) == 1 + 3 + 9

    run(main())


def test_what_follows_the_last_commit_at_once_is_written_before_the_committer_ends(tmp_path):
    async def main():
        async with opened(tmp_path) as engine:
            insert = lambda: write(engine, lambda tx: tx.insert("t", {}))  # noqa: E731

            async def one_after_another():
                for _ in range(3):
                    await insert()

            writing = asyncio.ensure_future(one_after_another())
            await asyncio.sleep(0)
            stopping = asyncio.ensure_future(engine.committer.stop())
            # One that nobody writes any more would never be done.
            _, pending = await asyncio.wait([writing, stopping], timeout=10)
            assert not pending
            assert len(read(engine, lambda tx: rows(tx, "t"))) == 3

    run(main())
