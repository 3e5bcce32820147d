"""A deployment of a project that a test rewrites."""

from __future__ import annotations

import asyncio
import textwrap
from contextlib import closing

from camber.deployment.deployment import Deployment
from camber.deployment.project import load_project
from camber.deployment.settings import DeploymentSettings
from camber.host import RealHost
from camber.identity.identity import Anonymous
from camber.occ.interval import ALL, Order
from camber.releases.records import history
from camber.runtime.executor import Caller, FunctionCall
from camber.runtime.release import InProcessRelease
from camber.runtime.results import QueryResult
from camber.values.packed import pack
from tests.engine.harness import fields_of
from tests.functions.projects import write_project

FUNCTIONS = """
    from typing import Any
    from camber import *

    @mutation
    def put(ctx: MutationCtx, table: str, fields: dict[str, Any]) -> str:
        return ctx.db.insert(table, fields)

    @mutation
    def patch(ctx: MutationCtx, id: str, fields: dict[str, Any]) -> None:
        ctx.db.patch(id, **fields)

    @mutation
    def delete(ctx: MutationCtx, id: str) -> None:
        ctx.db.delete(id)

    @query
    def by(ctx: QueryCtx, index: str, value: Any) -> list[Any]:
        return ctx.db.query("things").with_index(index, {"name": value}).collect()

    @query
    def near(ctx: QueryCtx, at: list[float]) -> list[Any]:
        return [ctx.db.get(hit.id).name for hit in ctx.vector_search("things.by_at", at)]

    @query
    def search(ctx: QueryCtx, text: str) -> list[Any]:
        return ctx.db.query("things").with_search_index("search_name", text).collect()

    @query
    def all(ctx: QueryCtx) -> list[Any]:
        return ctx.db.query("things").collect()
"""


def schema(fields, indexes=""):
    return f"""
    from typing import Any
    from camber import *

    class Thing(Table, table="things"):
        {fields}
        {indexes}
    """


class Gate:
    """Where a push stands still, so that a test can do something meanwhile."""

    def __init__(self):
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def pass_through(self):
        self.reached.set()
        await self.opened.wait()


class GatedHost(RealHost):
    """A host on which builds of indexes stand still after each bit, where there is a gate."""

    def __init__(self):
        super().__init__()
        self.gate = None

    async def sleep(self, seconds):
        task = asyncio.current_task()
        assert task is not None
        if self.gate is not None and task.get_name() in {"push", "staged indexes"}:
            await self.gate.pass_through()
        else:
            await super().sleep(seconds)


class GatedRelease(InProcessRelease):
    """A release that stands still before it checks documents, and counts what it has checked."""

    def __init__(self, application, gate):
        super().__init__(application)
        self.gate = gate
        self.checked = []
        self.is_closed = False

    async def check(self, table, documents, numbers):
        await self.gate.pass_through()
        self.checked += [fields_of(packed)["_id"] for packed in documents]
        return await super().check(table, documents, numbers)

    async def close(self):
        self.is_closed = True


class Deployed:
    """A deployment of a project that a test rewrites."""

    def __init__(self, root):
        self.root = root
        self.host = GatedHost()
        write_project(root, code=FUNCTIONS)
        self.project = load_project(root)

    async def __aenter__(self):
        self.deployment = await Deployment.open(
            DeploymentSettings(
                root=self.root, functions=self.project.functions, data=self.root / "data"
            ),
            host=self.host,
        )
        return self

    async def __aexit__(self, *exc):
        await self.deployment.close()

    def write(self, **modules):
        for name, text in modules.items():
            (self.project.functions_path / f"{name}.py").write_text(textwrap.dedent(text))

    async def push(self, **modules):
        self.write(**modules)
        return await self.deployment.push()

    async def begin_push(self, **modules):
        """Begin a push that stands still while it builds its first index."""
        self.write(**modules)
        release = await self.deployment.load()
        self.host.gate = Gate()
        push = asyncio.create_task(self.deployment.push_release(release))
        await self.host.gate.reached.wait()
        assert not push.done()
        return push

    async def begin_gated_push(self, **modules):
        """Begin a push that stands still while it checks the first documents."""
        self.write(**modules)
        loaded = await self.deployment.load()
        assert isinstance(loaded, InProcessRelease)
        release = GatedRelease(loaded.application, Gate())
        push = asyncio.create_task(self.deployment.push_release(release))
        await release.gate.reached.wait()
        assert not push.done()
        return push, release

    async def restart(self):
        """End the deployment and open it again, without a push."""
        await self.deployment.close()
        await self.__aenter__()

    async def until(self, holds):
        """Return once a commit has made something so."""
        published = asyncio.Event()
        stop = self.deployment.engine.on_publish(lambda commits: published.set())
        while not holds():
            published.clear()
            await published.wait()
        stop()

    def indexes(self):
        """All declared indexes of `things` by name, with their states."""
        table = self.deployment.engine.catalog.by_name("things")
        assert table is not None
        return sorted((index.name, index.state.value) for index in table.declared)

    def names_in(self, index):
        """The names of the documents that an index leads to, whatever its state."""
        with closing(self.deployment.engine.begin("test")) as transaction:
            table = transaction.catalog.by_name("things")
            assert table is not None
            (entry,) = [each for each in table.maintained if each.name == index]
            rows = transaction.snapshot.scan(table.number, entry.id, ALL, Order.ASC, 10**6)
            return [fields_of(row.packed)["name"] for row in rows]

    def history(self):
        with closing(self.deployment.engine.begin("test")) as transaction:
            return history(transaction)

    async def put(self, *names):
        return [
            await self.run("mutation", "code:put", table="things", fields={"name": name})
            for name in names
        ]

    def call(self, path, **args):
        return FunctionCall(
            path=path,
            arguments=pack(args),
            identity=Anonymous(),
            caller=Caller.CLIENT,
            request_id="",
        )

    def value(self, result):
        assert result.failure is None, result.failure
        return fields_of(result.packed if isinstance(result, QueryResult) else result.value)

    async def run(self, kind, path, **args):
        return self.value(await getattr(self.deployment.runtime, kind)(self.call(path, **args)))


def deployed(test):
    """Run a test with a deployment of its own."""

    def run(tmp_path):
        async def main():
            async with Deployed(tmp_path) as it:
                await test(it)

        asyncio.run(main())

    run.__name__ = test.__name__
    return run
