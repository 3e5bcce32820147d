"""Pushing a release over stored data."""

from __future__ import annotations

import asyncio

import pytest

from camber.engine import system_tables
from camber.errors import RequestError
from camber.functions.loading import LoadError
from camber.identity.identity import Anonymous
from camber.releases.failures import PushFailed
from camber.releases.push import PushMode
from camber.releases.records import ReleaseChanges, ReleaseOrigin
from camber.runtime.executor import Caller, FunctionCall
from camber.values.packed import pack, unpack
from tests.releases.harness import FUNCTIONS, deployed, schema


@deployed
async def test_documents_that_do_not_fit_stop_a_push(it):
    await it.push()
    id_ = await it.run("mutation", "code:put", table="things", fields={"name": 3})
    with pytest.raises(PushFailed, match=f"(?s){id_} of table 'things'.*Path: .name"):
        await it.push(schema=schema("name: str"))
    # Nothing has changed: what could be written before still can be.
    await it.run("mutation", "code:put", table="things", fields={"other": 3})
    with pytest.raises(PushFailed):
        await it.push(schema=schema("name: int"))
    report = await it.push(schema=schema("name: int | None = None\n        other: int = 0"))
    assert report.release == 2
    assert len(await it.run("query", "code:all")) == 2


@deployed
async def test_indexes_are_built_kept_and_dropped(it):
    await it.push()
    for name in ("a", "b", "a"):
        await it.run("mutation", "code:put", table="things", fields={"name": name})
    report = await it.push(schema=schema("name: str", "by_name = Index('name')"))
    assert report.indexes_built == ("things.by_name",)
    assert len(await it.run("query", "code:by", index="by_name", value="a")) == 2
    await it.run("mutation", "code:put", table="things", fields={"name": "a"})
    assert len(await it.run("query", "code:by", index="by_name", value="a")) == 3
    report = await it.push()
    assert (report.indexes_built, report.indexes_dropped) == ((), ())
    report = await it.push(schema=schema("name: str", "by_nom = Index('name')"))
    assert report.indexes_built == ("things.by_nom",)
    assert report.indexes_dropped == ("things.by_name",)
    with pytest.raises(AssertionError, match="IndexNotFoundError"):
        await it.run("query", "code:by", index="by_name", value="a")
    assert len(await it.run("query", "code:by", index="by_nom", value="a")) == 3


@deployed
async def test_an_index_over_equal_documents_cannot_be_unique(it):
    await it.push()
    ids = [
        await it.run("mutation", "code:put", table="things", fields={"name": "a"}) for _ in range(2)
    ]
    with pytest.raises(PushFailed, match=r"things\.by_name is unique") as refused:
        await it.push(schema=schema("name: str", "by_name = Index('name', unique=True)"))
    assert all(id_ in str(refused.value) for id_ in ids)
    await it.run("mutation", "code:put", table="things", fields={"name": "a"})


@deployed
async def test_a_push_is_seen_by_subscriptions_and_by_writers(it):
    await it.push()
    stale = asyncio.Event()

    class Watcher:
        def invalidated(self, result):
            stale.set()

        def renew(self, at=None, landed=None):
            """Do nothing: it is asked for below."""

    call = FunctionCall(
        path="code:all",
        arguments=pack({}),
        identity=Anonymous(),
        caller=Caller.CLIENT,
        request_id="",
    )
    runtime = it.deployment.runtime
    result = await runtime.query(call)
    result.watch(Watcher())
    await it.push(code=FUNCTIONS.replace(".collect()", ".take(0)"))
    assert stale.is_set()
    assert unpack((await runtime.query(call)).packed) == []
    # A transaction that began before the push conflicts with it, and runs again on the new code.
    transaction = it.deployment.engine.begin("old")
    it.deployment.releases.serving(transaction)
    transaction.insert("things", {})
    finished = transaction.finish()
    transaction.close()
    await it.push()
    from camber.engine.committer import CommitConflict

    with pytest.raises(CommitConflict):
        await it.deployment.engine.committer.commit(finished)


@deployed
async def test_a_module_that_does_not_load_changes_nothing(it):
    await it.push()
    with pytest.raises(LoadError, match=r"broken\.py:1"):
        await it.push(broken="import nothing_such")
    await it.run("mutation", "code:put", table="things", fields={})
    assert len(await it.run("query", "code:all")) == 1


@deployed
async def test_dates_and_enums_that_are_stored_fit_again(it):
    fields = "at: datetime.datetime\n        kind: Kind"
    text = schema(fields).replace(
        "from camber import *",
        "import datetime, enum\n    from camber import *\n\n    class Kind(enum.Enum):\n        A = 'a'\n",
    )
    await it.push()
    await it.run("mutation", "code:put", table="things", fields={"at": 1000.5, "kind": "a"})
    await it.push(schema=text)
    await it.push(schema=text.replace("kind: Kind", "kind: Kind\n        more: int = 0"))
    (thing,) = await it.run("query", "code:all")
    assert (thing["at"], thing["kind"], thing["more"]) == (1000.5, "a", 0)


@deployed
async def test_an_index_on_a_default_is_noted_where_documents_lack_it(it):
    await it.push()
    await it.run("mutation", "code:put", table="things", fields={"name": "a"})
    report = await it.push(
        schema=schema("name: str\n        rank: int = 3", "by_rank = Index('rank')")
    )
    (note,) = report.notes
    assert "index things.by_rank: 1 stored documents lack 'rank'" in note
    assert (await it.push()).notes == ()


@deployed
async def test_the_last_releases_are_remembered(it):
    await it.push()
    await it.push(schema=schema("name: str", "by_name = Index('name')"))
    for number in range(12):
        await it.deployment.push_release(
            await it.deployment.load(),
            origin=ReleaseOrigin(name="deploy", digest=f"d{number}", message="again"),
        )
    records = it.history()
    assert [record.number for record in records] == list(range(14, 4, -1))
    assert (records[0].digest, records[0].origin, records[0].message) == ("d11", "deploy", "again")
    assert records[0].changes == ReleaseChanges()
    # The same sources again are not a step to go back by.
    await it.deployment.push_release(
        await it.deployment.load(), origin=ReleaseOrigin(name="start", digest="d11")
    )
    assert [record.number for record in it.history()] == [15, *range(13, 4, -1)]


@deployed
async def test_a_record_says_what_a_release_changed(it):
    report = await it.push()
    assert report.changes.functions_added == tuple(
        f"code:{name}" for name in ("all", "by", "delete", "near", "patch", "put", "search")
    )
    report = await it.push(
        schema=schema("name: str", "by_name = Index('name')"),
        code=FUNCTIONS.replace("def put(", "def place("),
    )
    assert report.changes == it.history()[0].changes
    assert report.changes == ReleaseChanges(
        functions_added=("code:place",),
        functions_removed=("code:put",),
        tables_added=("things",),
        indexes_added=("things.by_name",),
    )


@deployed
async def test_a_dry_run_changes_nothing(it):
    await it.push()
    await it.run("mutation", "code:put", table="things", fields={"name": 3})
    before = it.deployment.engine.newest_ts
    it.write(schema=schema("name: int", "by_name = Index('name')"))
    release = await it.deployment.load()
    report = await it.deployment.push_release(release, mode=PushMode.DRY_RUN)
    assert report.indexes_built == ("things.by_name",)
    assert report.changes.tables_added == ("things",)
    it.write(schema=schema("name: str"))
    release = await it.deployment.load()
    with pytest.raises(PushFailed, match="does not fit"):
        await it.deployment.push_release(release, mode=PushMode.DRY_RUN)
    assert it.deployment.engine.newest_ts == before
    assert [record.number for record in it.history()] == [1]
    with pytest.raises(AssertionError, match="IndexNotFoundError"):
        await it.run("query", "code:by", index="by_name", value=3)


class _Disk:
    """Makes a store fail as it writes a switch: before it has written it, or after."""

    def __init__(self, store, *, writes):
        self.append = store.append
        self.writes = writes
        store.append = self.fail

    def fail(self, commits):
        switches = any(
            change.table == system_tables.RELEASES_NUMBER
            for commit in commits
            for change in commit.changes
        )
        if self.writes or not switches:
            self.append(commits)
        if switches:
            raise OSError("the disk is gone")


@deployed
async def test_a_switch_that_the_store_refuses_changes_nothing(it):
    await it.push(schema=schema("name: str", "by_name = Index('name')"))
    await it.put("a", "b")
    store = it.deployment.engine.store
    append = store.append
    _Disk(store, writes=False)
    with pytest.raises(RequestError, match="the disk is gone"):
        await it.push(schema=schema("name: str", "by_nom = Index('name')"))
    assert it.indexes() == [("by_name", "enabled")]
    assert len(await it.run("query", "code:by", index="by_name", value="a")) == 1
    store.append = append
    assert (await it.push()).release == 2
    assert it.names_in("by_nom") == ["a", "b"]


@deployed
async def test_a_switch_that_the_store_has_made_and_reported_as_failed_counts(it):
    await it.push(schema=schema("name: str"))
    await it.put("a")
    _Disk(it.deployment.engine.store, writes=True)
    it.write(schema=schema("name: str", "by_name = Index('name')"))
    report = await it.deployment.push_release(await it.deployment.load())
    assert report.release == 2
    assert it.indexes() == [("by_name", "enabled")]
    assert len(await it.run("query", "code:by", index="by_name", value="a")) == 1
