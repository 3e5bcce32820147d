"""Pushes while commits go on: what is written meanwhile counts, and nobody waits for the push."""

from __future__ import annotations

import asyncio
import threading

import pytest

from camber import limits
from camber.deployment.maintenance import Maintenance
from camber.releases.failures import PushFailed
from camber.releases.push import PushProgress
from camber.releases.records import ReleaseOrigin
from tests.releases.harness import FUNCTIONS, Gate, deployed, schema

BY_NAME = schema("name: str", "by_name = Index('name')")
SEARCHED = schema("name: str", "search_name = SearchIndex('name')")
NEAREST = schema(
    "name: str\n        at: list[float] = []", "by_at = VectorIndex('at', dimensions=2)"
)
UNIQUE = schema("name: str", "by_name = Index('name', unique=True)")
STAGED = schema("name: str", "by_name = Index('name', staged=True)")


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    """Two documents at once, and almost nothing left for the end."""
    monkeypatch.setattr(limits, "push_batch_documents", 2)
    monkeypatch.setattr(limits, "push_remainder_documents", 1)


@deployed
async def test_commits_go_on_while_an_index_is_built(it):
    await it.push(schema=schema("name: str"))
    ids = await it.put("b", "c", "d", "e", "f", "g")
    push = await it.begin_push(schema=BY_NAME)
    # Some are indexed and some are not yet; each of these commits while the push stands still.
    await it.put("a", "h")
    for id_ in (ids[0], ids[-1]):
        await it.run("mutation", "code:patch", id=id_, fields={"name": "z"})
    for id_ in (ids[1], ids[-2]):
        await it.run("mutation", "code:delete", id=id_)
    with pytest.raises(AssertionError, match="IndexBackfillingError"):
        await it.run("query", "code:by", index="by_name", value="a")
    assert not push.done()
    it.host.gate.opened.set()
    report = await push
    assert report.indexes_built == ("things.by_name",)
    assert it.names_in("by_name") == ["a", "d", "e", "h", "z", "z"]
    assert len(await it.run("query", "code:by", index="by_name", value="z")) == 2


@deployed
async def test_commits_go_on_while_a_vector_index_is_built(it):
    fields = NEAREST.replace("by_at = VectorIndex('at', dimensions=2)", "")
    await it.push(schema=fields)

    async def put(name, *at):
        fields = {"name": name, "at": list(at)}
        return await it.run("mutation", "code:put", table="things", fields=fields)

    async def near(*at):
        return await it.run("query", "code:near", at=list(at))

    ids = [await put(name, n, 1.0) for n, name in enumerate("abcdef")]
    push = await it.begin_push(schema=NEAREST)
    await put("g", 9.0, 0.0)
    await put("none")
    await it.run("mutation", "code:patch", id=ids[0], fields={"at": [8.0, 1.0]})
    await it.run("mutation", "code:patch", id=ids[5], fields={"name": "F"})
    await it.run("mutation", "code:delete", id=ids[4])
    with pytest.raises(AssertionError, match="IndexBackfillingError"):
        await near(1.0, 0.0)
    it.host.gate.opened.set()
    report = await push
    assert report.indexes_built == ("things.by_at",)
    assert await near(1.0, 0.0) == list("gaFdcb")
    # Of other dimensions it is another index, and the one before serves until it is there.
    push = await it.begin_push(schema=NEAREST.replace("dimensions=2", "dimensions=3"))
    await put("h", 1.0, 0.0)
    assert (await near(1.0, 0.0))[-1] == "b"
    await put("i", 1.0, 0.0, 0.0)
    it.host.gate.opened.set()
    await push
    assert await near(1.0, 0.0, 0.0) == ["i"]


@deployed
async def test_commits_go_on_while_a_search_index_is_built(it):
    await it.push(schema=schema("name: str"))
    ids = await it.put("oak tree", "tree b", "c", "d", "e", "f tree")
    push = await it.begin_push(schema=SEARCHED)
    await it.put("tree g", "h")
    await it.run("mutation", "code:patch", id=ids[0], fields={"name": "oak"})
    await it.run("mutation", "code:patch", id=ids[3], fields={"name": "treehouse"})
    await it.run("mutation", "code:delete", id=ids[1])
    with pytest.raises(AssertionError, match="IndexBackfillingError"):
        await it.run("query", "code:search", text="tree")
    it.host.gate.opened.set()
    report = await push
    assert report.indexes_built == ("things.search_name",)
    found = await it.run("query", "code:search", text="tree")
    assert [each["name"] for each in found] == ["tree g", "f tree", "treehouse"]
    # Another tokenizer is another index, and the one before serves until it is there.
    changed = SEARCHED.replace("'name')", "'name', tokenizer='multilingual')")
    push = await it.begin_push(schema=changed)
    await it.put("trée")
    assert len(await it.run("query", "code:search", text="tree")) == 3
    it.host.gate.opened.set()
    await push
    assert len(await it.run("query", "code:search", text="tree")) == 4


@deployed
async def test_an_index_serves_until_its_successor_does(it):
    await it.push(schema=BY_NAME)
    await it.put("a", "b", "c")
    changed = schema("name: str\n        rank: int = 0", "by_name = Index('name', 'rank')")
    push = await it.begin_push(schema=changed)
    assert it.indexes() == [("by_name", "backfilling"), ("by_name", "enabled")]
    await it.put("a")
    assert len(await it.run("query", "code:by", index="by_name", value="a")) == 2
    it.host.gate.opened.set()
    report = await push
    assert (report.indexes_built, report.indexes_dropped) == (
        ("things.by_name",),
        ("things.by_name",),
    )
    assert len(await it.run("query", "code:by", index="by_name", value="a")) == 2


@deployed
async def test_commits_go_on_while_documents_are_checked(it):
    await it.push()
    ids = await it.put("a", "b", "c")
    push, release = await it.begin_gated_push(schema=schema("name: str"))
    (new,) = await it.put("d")
    await it.run("mutation", "code:patch", id=ids[0], fields={"name": "changed"})
    assert not push.done()
    release.gate.opened.set()
    report = await push
    assert report.tables_validated == ("things",)
    # What was there was looked at, and so was what has changed.
    assert set(release.checked) == {*ids, new}


@deployed
async def test_a_write_that_violates_a_pending_schema_succeeds_and_fails_the_push(it):
    await it.push()
    await it.put("a", "b", "c")
    push, release = await it.begin_gated_push(schema=schema("name: str"))
    (bad,) = await it.put(7)
    release.gate.opened.set()
    with pytest.raises(
        PushFailed, match=rf"(?s){bad} of table 'things'.*Path: \.name.*Object: 7|7"
    ):
        await push
    assert release.is_closed
    # It was written, and what was written on the old release still can be.
    await it.put(8)
    assert len(await it.run("query", "code:all")) == 5
    assert [record.number for record in it.history()] == [1]


@deployed
async def test_little_is_left_for_when_commits_stop(it):
    await it.push()
    ids = await it.put(*"abcdefgh")
    push, release = await it.begin_gated_push(schema=schema("name: str"))
    # More than may be left: they are looked at again before anybody has to wait.
    for id_ in ids:
        await it.run("mutation", "code:patch", id=id_, fields={"name": "z"})
    held = []
    hold = it.deployment.engine.hold

    def counting():
        held.append(len(release.checked))
        return hold()

    it.deployment.engine.hold = counting
    release.gate.opened.set()
    await push
    (when_held,) = held
    assert len(release.checked) - when_held <= 1
    assert sorted(release.checked[-8:]) == sorted(ids)


@deployed
async def test_equal_documents_that_are_written_meanwhile_fail_a_unique_index(it):
    await it.push(schema=schema("name: str"))
    await it.put("a", "b", "c")
    push = await it.begin_push(schema=UNIQUE)
    (other,) = await it.put("b")
    it.host.gate.opened.set()
    with pytest.raises(PushFailed, match=rf"things\.by_name is unique.*{other}"):
        await push
    assert it.indexes() == []
    await it.put("b")


@deployed
async def test_equal_documents_after_an_index_was_verified_fail_it_too(it):
    await it.push(schema=schema("name: str | None"))
    await it.put("a", "b", "c")
    # The index is built and verified before the documents are checked.
    text = UNIQUE.replace("name: str", "name: str\n        more: int = 0")
    text = text.replace("by_name", "other = Index('more')\n        by_name")
    push, release = await it.begin_gated_push(schema=text)
    (other,) = await it.put("b")
    release.gate.opened.set()
    with pytest.raises(PushFailed, match=rf"things\.by_name is unique.*{other}"):
        await push


@deployed
async def test_a_table_that_appears_meanwhile_is_checked_too(it):
    await it.push()
    await it.run("mutation", "code:put", table="others", fields={"x": 1})
    others = "class Other(Table, table='others'):\n        x: int\n"
    text = BY_NAME + "\n    " + others
    push, release = await it.begin_gated_push(schema=text)
    # The release declares `things`, which did not exist when it was planned.
    (bad,) = await it.put(3)
    release.gate.opened.set()
    with pytest.raises(PushFailed, match=bad):
        await push
    await it.run("mutation", "code:patch", id=bad, fields={"name": "a"})
    report = await it.push()
    assert report.indexes_built == ("things.by_name",)
    assert it.names_in("by_name") == ["a"]


@deployed
async def test_a_push_that_is_cancelled_leaves_nothing(it):
    await it.push(schema=BY_NAME)
    await it.put("a", "b", "c")
    before = await it.run("query", "code:all")
    for begun in (
        it.begin_push(schema=schema("name: str", "by_nom = Index('name')")),
        it.begin_gated_push(schema=schema("name: Any = ''", "by_nom = Index('name')")),
    ):
        pushed = await begun
        push = pushed[0] if isinstance(pushed, tuple) else pushed
        push.cancel()
        with pytest.raises(asyncio.CancelledError):
            await push
        it.host.gate = None
        assert it.indexes() == [("by_name", "enabled")]
        assert await it.run("query", "code:all") == before
        assert len(await it.run("query", "code:by", index="by_name", value="a")) == 1
    assert [record.number for record in it.history()] == [1]
    assert (await it.push()).release == 2


@deployed
async def test_a_newer_push_takes_the_place_of_one_that_still_prepares(it):
    await it.push(schema=schema("name: str"))
    await it.put("a", "b", "c")
    first = await it.begin_push(schema=BY_NAME)
    second = asyncio.create_task(it.deployment.push_release(await it.deployment.load()))
    it.write(schema=schema("name: str", "by_nom = Index('name')"))
    newest = await it.deployment.load()
    # The second has taken the place of the first, and stands still at the same gate.
    it.host.gate = None
    report = await it.deployment.push_release(newest)
    for push in (first, second):
        with pytest.raises(PushFailed) as failed:
            await push
        assert failed.value.code == "RaceDetected"
    assert report.release == 2
    assert it.indexes() == [("by_nom", "enabled")]
    assert it.names_in("by_nom") == ["a", "b", "c"]


@deployed
async def test_pushes_at_once_end_with_the_newest_and_never_a_mixture(it):
    await it.push(schema=schema("name: str"))
    await it.put("a", "b")
    releases = []
    for number in range(6):
        it.write(
            code=FUNCTIONS + f"\n    @query\n    def only{number}(ctx: QueryCtx) -> int:\n"
            f"        return {number}\n",
            schema=schema("name: str", f"by_{number} = Index('name')"),
        )
        releases.append(await it.deployment.load())
    outcomes = await asyncio.gather(
        *(it.deployment.push_release(release) for release in releases), return_exceptions=True
    )
    raced = [each.code for each in outcomes if isinstance(each, PushFailed)]
    assert raced == ["RaceDetected"] * 5
    assert await it.run("query", "code:only5") == 5
    assert it.indexes() == [("by_5", "enabled")]
    assert it.names_in("by_5") == ["a", "b"]


@deployed
async def test_a_staged_index_is_built_behind_a_push_and_enabled_without_another_build(it):
    await it.push(schema=schema("name: str"))
    await it.put("a", "b", "c")
    it.host.gate = Gate()
    report = await it.push(schema=STAGED)
    assert (report.indexes_built, report.indexes_staged) == ((), ("things.by_name",))
    assert it.indexes() == [("by_name", "staged backfilling")]
    await it.put("d")
    with pytest.raises(AssertionError, match="IndexStagedError"):
        await it.run("query", "code:by", index="by_name", value="a")
    # A push that enables it waits for it, and commits go on.
    it.write(schema=BY_NAME)
    release = await it.deployment.load()
    enabling = asyncio.create_task(it.deployment.push_release(release))
    await it.put("e")
    assert not enabling.done()
    it.host.gate.opened.set()
    report = await enabling
    assert (report.indexes_built, report.indexes_enabled) == ((), ("things.by_name",))
    assert it.names_in("by_name") == list("abcde")
    assert len(await it.run("query", "code:by", index="by_name", value="e")) == 1
    # And back: in place, and complete when it is enabled again.
    built = []
    it.deployment.engine.store.build_index = lambda *args: built.append(args)
    assert (await it.push(schema=STAGED)).indexes_staged == ("things.by_name",)
    assert it.indexes() == [("by_name", "staged")]
    with pytest.raises(AssertionError, match="IndexStagedError"):
        await it.run("query", "code:by", index="by_name", value="a")
    await it.put("f")
    assert (await it.push(schema=BY_NAME)).indexes_enabled == ("things.by_name",)
    assert it.names_in("by_name") == list("abcdef")
    assert built == []


@deployed
async def test_a_staged_index_goes_on_after_a_restart(it):
    await it.push(schema=schema("name: str"))
    await it.put("a", "b", "c", "d")
    it.host.gate = Gate()
    await it.push(schema=STAGED)
    await it.host.gate.reached.wait()
    assert it.indexes() == [("by_name", "staged backfilling")]
    it.host.gate = None
    await it.restart()
    await it.until(lambda: it.indexes() == [("by_name", "staged")])
    assert it.names_in("by_name") == list("abcd")


@deployed
async def test_a_staged_index_does_not_keep_documents_apart_before_it_is_enabled(it):
    unique = "by_name = Index('name', unique=True{})"
    await it.push(schema=schema("name: str", unique.format(", staged=True")))
    ids = await it.put("a", "a")
    with pytest.raises(PushFailed, match=r"things\.by_name is unique"):
        await it.push(schema=schema("name: str", unique.format("")))
    await it.run("mutation", "code:delete", id=ids[0])
    await it.push(schema=schema("name: str", unique.format("")))
    with pytest.raises(AssertionError, match="UniqueIndexViolation"):
        await it.put("a")


@deployed
async def test_a_dropped_index_can_be_read_as_long_as_the_snapshots_that_had_it(it):
    await it.push(schema=BY_NAME)
    await it.put("a", "b")
    engine = it.deployment.engine
    before = engine.newest_ts
    entry = engine.catalog.by_name("things").indexes["by_name"]
    await it.push(schema=schema("name: str"))
    await it.put("a")
    with pytest.raises(AssertionError, match="IndexNotFoundError"):
        await it.run("query", "code:by", index="by_name", value="a")
    # At the old timestamp the old release runs, and has its index.
    found = await it.deployment.runtime.query(
        it.call("code:by", index="by_name", value="a"), ts=before
    )
    assert found.failure is None
    assert len(it.value(found)) == 1
    maintenance = Maintenance(engine=engine, history_retention_s=3600, history_bytes_max=10**9)
    await maintenance.round()
    assert it.indexes() == [("by_name", "dropped")]
    await Maintenance(engine=engine, history_retention_s=-10, history_bytes_max=10**9).round()
    assert it.indexes() == []
    assert engine.store.drop_index(entry.id, entries_max=10) == 0


@deployed
async def test_widening_a_schema_reads_no_document(it):
    await it.push(schema=schema("name: str"))
    await it.put("a")
    report = await it.push(schema=schema("name: str | int\n        more: list[int] = []"))
    assert report.tables_validated == ()
    report = await it.push(schema=schema("name: str\n        more: list[int] = []"))
    assert report.tables_validated == ("things",)
    # Nobody has held documents against a schema while the table was not declared.
    await it.push(schema="")
    assert (await it.push(schema=schema("name: Any"))).tables_validated == ("things",)


@deployed
async def test_progress_is_told(it):
    await it.push()
    await it.put(*"abcde")
    it.write(schema=BY_NAME)
    told: list[PushProgress] = []
    await it.deployment.push_release(
        await it.deployment.load(), origin=ReleaseOrigin(name="test"), progress=told.append
    )
    assert told[0].indexes_total == 1
    last = told[-1]
    assert (last.documents_checked, last.documents_indexed, last.indexes_built) == (5, 5, 1)
    assert [each.documents_checked for each in told] == sorted(e.documents_checked for e in told)


@deployed
async def test_a_push_that_is_given_up_while_its_index_is_entered_leaves_none(it):
    await it.push(schema=schema("name: str"))
    await it.put("a")
    it.write(schema=BY_NAME)
    release = await it.deployment.load()
    store, loop = it.deployment.engine.store, asyncio.get_running_loop()
    append, reached, go_on = store.append, asyncio.Event(), threading.Event()

    def gated(commits):
        loop.call_soon_threadsafe(reached.set)
        go_on.wait()
        append(commits)

    store.append = gated
    push = asyncio.create_task(it.deployment.push_release(release))
    await reached.wait()
    push.cancel()
    # Long enough for one that does not wait for its commit to be through with clearing up.
    for _ in range(100):
        await asyncio.sleep(0)
    store.append = append
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await push
    await it.put("b")
    assert it.indexes() == []
