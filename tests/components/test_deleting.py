"""Deleting what a component has left behind: for good, whole, and nothing of anybody else's."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from camber.deployment.maintenance import Maintenance
from camber.engine import component_data, system_tables
from camber.engine.component_data import components_with_data, deletions
from camber.engine.engine import load_catalog
from camber.errors import BadRequest, RequestError, StorageFull
from camber.files.capabilities import UploadTicket
from camber.releases.failures import PushFailed
from camber.releases.push import PushMode
from camber.releases.records import ReleaseOrigin
from camber.runtime.files import Expected
from camber.transfer.importing import ImportMode
from camber.transfer.imports import ImportRequest
from camber.transfer.sources import ImportFormat, ImportRefused
from tests.components.test_components import write_component
from tests.engine.harness import read, rows
from tests.releases.harness import deployed
from tests.transfer.harness import snapshot_of

APP = """
    from camber import *
    app = App()
    one = app.use(Component("thing", path="{package}"), name="one")
    oner = app.use(Component("thing", path="{package}"), name="oner")
"""
ONLY_OTHER = """
    from camber import *
    app = App()
    oner = app.use(Component("thing", path="{package}"), name="oner")
"""
CALLS = """
    from camber import *
    from . import app

    def mount(name: str):
        return getattr(app, name)

    @action
    async def fill(ctx: ActionCtx, at: str, count: int) -> None:
        for each in range(count):
            await ctx.run_mutation(mount(at)["more:fill"], name=str(each))
            await ctx.run_action(mount(at)["more:store"], text=f"{at} {each}")

    @query
    def names(ctx: QueryCtx, at: str) -> list[str]:
        return ctx.run_query(mount(at)["more:names"])

    @mutation
    def own(ctx: MutationCtx) -> None:
        ctx.db.insert("items", {"name": "own"})
        ctx.scheduler.run_after(3600, "calls:own")
"""
MORE = """
    from camber import *
    from .schema import Item
    from .app import inside

    @mutation
    def fill(ctx: MutationCtx, name: str) -> None:
        ctx.db.insert(Item(name=name))
        ctx.db.insert("others", {"name": name})
        ctx.run_mutation(inside["items:add"], name=name)
        ctx.scheduler.run_after(3600, "items:add", name="late")

    @action
    async def store(ctx: ActionCtx, text: str) -> None:
        await ctx.storage.store(text.encode())

    @query
    def names(ctx: QueryCtx) -> list[str]:
        return [item.name for item in ctx.db.query(Item)]
"""


async def mounted(it, count=3):
    """Push an application of two mounts, each with another within, and fill both."""
    package, inner = f"thing_{it.root.name}", f"inner_{it.root.name}"
    write_component(it.root, inner)
    write_component(
        it.root,
        package,
        more=MORE,
        app=f"from camber import *\napp = App()\ninside = app.use(Component('in', path='{inner}'))\n",
    )
    await it.push(app=APP.format(package=package), calls=CALLS)
    for at in ("one", "oner"):
        await it.run("action", "calls:fill", at=at, count=count)
    await it.run("mutation", "calls:own")
    return package


async def unmount(it, package):
    await it.push(app=ONLY_OTHER.format(package=package), calls=CALLS)


def everything(it):
    """All documents of user tables, files, jobs and what is kept of them, by whose they are."""
    engine = it.deployment.engine

    def found(tx):
        counts = {
            table.name: tx.snapshot.count(table.indexes["by_creation_time"].id)
            for table in tx.user_tables()
        }
        for name in (system_tables.STORAGE, system_tables.SCHEDULED_FUNCTIONS):
            for row in rows(tx, name):
                key = (name, row.get("component", ""))
                counts[key] = counts.get(key, 0) + 1
        for row in rows(tx, system_tables.JOBS):
            key = ("job", row["component"])
            counts[key] = counts.get(key, 0) + 1
        return {key: count for key, count in counts.items() if count}

    return read(engine, found)


def of(it, component):
    """What there is of a component and of what is in it."""
    return {
        key: count
        for key, count in everything(it).items()
        if f"{key if isinstance(key, str) else key[1]}/".startswith(f"{component}/")
    }


def contents(it):
    """The files on disk that have the content of files."""
    return sorted(
        path.read_bytes().decode() for path in (Path(it.root) / "data" / "files").rglob("*") if path.is_file()
    )  # fmt: skip


@deployed
async def test_all_that_it_had_goes_and_nothing_of_others(it):
    package = await mounted(it)
    with pytest.raises(BadRequest, match="'one' is mounted") as refused:
        await it.deployment.component_deletions.delete("one")
    assert refused.value.code == "ComponentMounted"
    await unmount(it, package)
    for path, code in (("nope", "ComponentPathNotFound"), ("on", "ComponentPathNotFound"),
                       ("oner", "ComponentMounted"), ("oner/in", "ComponentMounted")):  # fmt: skip
        with pytest.raises(BadRequest) as refused:
            await it.deployment.component_deletions.delete(path)
        assert refused.value.code == code, path
    # Nor is anything kept of those who asked.
    assert not it.deployment.component_deletions._waiting
    others = {key: count for key, count in everything(it).items() if key not in of(it, "one")}
    assert of(it, "one") == {
        "one/items": 3,
        "one/others": 3,
        "one/in/items": 3,
        ("_storage", "one"): 3,
        ("_scheduled_functions", "one"): 3,
        ("job", "one"): 3,
    }

    deleted = await it.deployment.component_deletions.delete("one")
    assert (deleted.documents, deleted.files, deleted.scheduled) == (9, 3, 3)
    assert of(it, "one") == {}
    assert everything(it) == others
    assert read(it.deployment.engine, components_with_data) == {"oner", "oner/in"}
    assert read(it.deployment.engine, deletions) == {}
    ledger = lambda tx: len(rows(tx, system_tables.FILE_LEDGER))  # noqa: E731
    await it.until(lambda: read(it.deployment.engine, ledger) == 3)
    assert contents(it) == ["oner 0", "oner 1", "oner 2"]
    with pytest.raises(BadRequest, match="No component is mounted at 'one'"):
        await it.deployment.component_deletions.delete("one")

    await it.push(app=APP.format(package=package), calls=CALLS)
    assert await it.run("query", "calls:names", at="one") == []
    assert await it.run("query", "calls:names", at="oner") == ["0", "1", "2"]
    await it.run("action", "calls:fill", at="one", count=1)
    assert await it.run("query", "calls:names", at="one") == ["0"]


@deployed
async def test_it_goes_in_bounded_commits_and_on_where_it_was_broken_off(it):
    package = await mounted(it, count=10)
    await unmount(it, package)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("camber.limits.component_documents_deleted", 3)
        sizes: list[int] = []
        it.deployment.engine.on_publish(
            lambda commits: sizes.extend(len(commit.changes) for commit in commits)
        )

        def full(transaction, component):
            raise StorageFull("no room")

        patch.setattr(component_data, "delete_scheduled", full)
        with pytest.raises(StorageFull):
            await it.deployment.component_deletions.delete("one")
        left = of(it, "one")
        assert left == {
            ("_storage", "one"): 10,
            ("_scheduled_functions", "one"): 10,
            ("job", "one"): 10,
        }
        # A scheduled function and its job go together.
        assert max(sizes) <= 6
        assert len(sizes) >= 10

        # It cannot be mounted while there is something left, and nobody can bring it more.
        with pytest.raises(ImportRefused, match="data is being deleted") as refused:
            await imported(it, "one")
        assert refused.value.code == "ComponentBeingDeleted"
        it.write(app=APP.format(package=package), calls=CALLS)
        with pytest.raises(PushFailed, match="'one' cannot be mounted while its data"):
            # As one that has not waited, since the deletion began a moment later.
            await it.deployment.pushes.push(
                await it.deployment.load(), origin=ReleaseOrigin(name="test")
            )
        with pytest.raises(PushFailed, match="'one' cannot be mounted while its data"):
            await it.deployment.push_release(await it.deployment.load(), mode=PushMode.DRY_RUN)
        pushing = asyncio.ensure_future(it.push())
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(pushing), 0.2)
        patch.undo()
        patch.setattr("camber.limits.component_documents_deleted", 3)
        assert list(read(it.deployment.engine, deletions)) == ["one"]
        pushing.cancel()
        await asyncio.gather(pushing, return_exceptions=True)

        # Another process goes on by itself, whatever it serves.
        await it.restart()
        await it.push(app=APP.format(package=package), calls=CALLS)
        assert of(it, "one") == {}
        assert read(it.deployment.engine, deletions) == {}
        assert await it.run("query", "calls:names", at="one") == []
        assert len(await it.run("query", "calls:names", at="oner")) == 10


async def imported(it, component):
    archive = snapshot_of(**{f"_components/{component}/items/documents.jsonl": '{"name": "new"}'})

    async def stream():
        yield archive

    request = ImportRequest(form=ImportFormat.ZIP, mode=ImportMode.APPEND, table=None)
    return await it.deployment.transfers.imports.import_now(request, stream())


@deployed
async def test_several_may_ask_at_once(it):
    package = await mounted(it)
    await unmount(it, package)
    delete = it.deployment.component_deletions.delete
    outcomes = await asyncio.gather(
        delete("one"), delete("one"), delete("one/in"), return_exceptions=True
    )
    assert of(it, "one") == {}
    for outcome in outcomes:
        # Who comes when all is gone is told that there is none.
        assert (
            not isinstance(outcome, Exception)
            or getattr(outcome, "code", "") == "ComponentPathNotFound"
        )
    assert any(not isinstance(outcome, Exception) for outcome in outcomes)


@deployed
async def test_whoever_does_not_wait_has_it_deleted_nevertheless(it):
    package = await mounted(it)
    await unmount(it, package)
    asking = asyncio.ensure_future(it.deployment.component_deletions.delete("one"))
    await it.until(lambda: read(it.deployment.engine, deletions))
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await it.until(lambda: not read(it.deployment.engine, deletions))
    assert of(it, "one") == {}


@deployed
async def test_what_arrives_for_it_becomes_no_file(it):
    package = await mounted(it)
    files = it.deployment.files
    now_ms = it.deployment.host.now_ns() // 10**6
    ticket = UploadTicket(internal=bytes(16), component="one", expires_ms=now_ms + 3600_000)
    arrivals = [
        await files.arrive(ticket, Expected()),
        await files.arrive_from_action("one/in", Expected()),
        await files.arrive_from_action("oner", Expected()),
    ]
    for arrival in arrivals:
        await arrival.write(b"late")
    await unmount(it, package)
    await it.deployment.component_deletions.delete("one")
    for arrival in arrivals[:2]:
        with pytest.raises(RequestError, match="ended before"):
            await arrival.finish()
    await arrivals[2].finish()
    assert of(it, "one") == {}
    await it.until(lambda: len(contents(it)) == 4)


@deployed
async def test_tables_without_documents_are_forgotten_once_no_history_has_any(it):
    package = await mounted(it)
    await unmount(it, package)
    deployment, engine = it.deployment, it.deployment.engine
    await deployment.component_deletions.delete("one")
    empty = deployment.component_deletions._empty_tables
    await empty.remove()
    # Whoever follows the changes is told of documents that are gone.
    assert engine.catalog.by_name("one/items") is not None
    # The newest commit's history stays, so that there is one more.
    await it.run("mutation", "calls:own")
    await Maintenance(engine=engine, history_retention_s=-10, history_bytes_max=10**9).round()
    await empty.remove()
    names = {table.name for table in engine.catalog.tables() if not table.is_system}
    assert names == {"items", "oner/items", "oner/others", "oner/in/items"}
    with closing(engine.begin("test")) as transaction:
        stored = load_catalog(transaction.snapshot)
    assert {t.name: t.number for t in stored.tables()} == {
        t.name: t.number for t in engine.catalog.tables()
    }
    await it.push(app=APP.format(package=package), calls=CALLS)
    await it.run("action", "calls:fill", at="one", count=2)
    assert await it.run("query", "calls:names", at="one") == ["0", "1"]
    numbers = [table.number for table in engine.catalog.tables()]
    assert len(numbers) == len(set(numbers))
    await it.restart()
    await it.push()
    assert await it.run("query", "calls:names", at="one") == ["0", "1"]
    assert await it.run("query", "calls:names", at="oner") == ["0", "1", "2"]


@deployed
async def test_empty_tables_of_what_is_mounted_or_the_applications_own_stay(it):
    package = await mounted(it, count=0)
    engine = it.deployment.engine
    await it.push(schema="from camber import *\nclass Kept(Table, table='kept'):\n    name: str\n")
    await it.push(schema="")
    before = {table.name for table in engine.catalog.tables()}
    assert {"kept", "one/items", "one/in/items"} <= before
    empty = it.deployment.component_deletions._empty_tables
    for _ in range(2):
        await empty.remove()
        await it.run("mutation", "calls:own")
        await Maintenance(engine=engine, history_retention_s=-10, history_bytes_max=10**9).round()
    assert {table.name for table in engine.catalog.tables()} == before
    await unmount(it, package)
    for _ in range(2):
        await empty.remove()
        await it.run("mutation", "calls:own")
        await Maintenance(engine=engine, history_retention_s=-10, history_bytes_max=10**9).round()
    await empty.remove()
    gone = before - {table.name for table in engine.catalog.tables()}
    assert gone == {"one/items", "one/in/items"}
