"""Which release serves, what is kept of others, and what gives way."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest

from camber import limits
from camber.deployment.archive import ArchiveRefused, pack
from camber.deployment.deploying import Deployer, DeployRefused, Drops, Stage, Step, Wish
from camber.deployment.deployment import Deployment
from camber.deployment.kept_releases import ReleaseGone
from camber.deployment.project import load_project
from camber.deployment.settings import DeploymentSettings
from camber.deployment.source import digest_of, release_files
from camber.functions.loading import LoadError
from camber.identity.identity import Anonymous
from camber.releases.push import PushMode, PushReport
from camber.runtime.executor import Caller, FunctionCall
from camber.values.packed import pack as pack_value
from camber.values.packed import unpack as unpack_value

SCHEMA = """
from camber import Index, Table


class Item(Table, table="items"):
    rank: int{indexes}
"""
FUNCTIONS = """
from camber import MutationCtx, QueryCtx, mutation, query

from .schema import Item


@query
def number(ctx: QueryCtx) -> int:
    return {number}


@mutation
def fill(ctx: MutationCtx, count: int) -> None:
    for rank in range(count):
        ctx.db.insert(Item(rank=rank))
"""
RANKED = '\n\n    by_rank = Index("rank")'


def write_release(root: Path, number: int, *, indexes: str = "", name: str = "shop") -> Path:
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (root / "pyproject.toml").write_text(f'[tool.camber]\nfunctions = "{name}"\n')
    (folder / "schema.py").write_text(SCHEMA.format(indexes=indexes))
    (folder / "items.py").write_text(FUNCTIONS.format(number=number))
    return root


class Server:
    """What `camber start` has: a deployment and a deployer, on one folder of data."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.data = tmp_path / "data"
        self.source = tmp_path / "source"
        self.is_loading = asyncio.Event()

    async def __aenter__(self) -> Server:
        self.deployment = await Deployment.open(
            DeploymentSettings(root=self.tmp_path, functions="", data=self.data)
        )
        self.deployer = Deployer(self.deployment)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.deployment.close()

    async def deploy(self, number: int, *, wish: Wish = Wish(), **release: str):  # noqa: B008
        write_release(self.source, number, **release)
        return await self.upload(self.source, wish)

    async def upload(self, root: Path, wish: Wish = Wish(), digest: str = ""):  # noqa: B008
        project = load_project(root)
        files = release_files(root, project.functions, project.include)
        stream = io.BytesIO()
        pack(root, files, stream)
        archive = self.tmp_path / f"archive{root.name}"
        archive.write_bytes(stream.getvalue())
        steps: list[Step] = []
        self.is_loading.clear()

        def tell(step: Step) -> None:
            steps.append(step)
            if step.stage is Stage.LOADING:
                self.is_loading.set()

        digest = digest or digest_of(root, files)
        report = await self.deployer.upload(archive, digest, wish, tell)
        self.stages = list(dict.fromkeys(step.stage for step in steps))
        return report

    async def number(self) -> object:
        done = await self.deployment.runtime.query(self.call("items:number"))
        assert done.packed is not None, done.failure
        return unpack_value(done.packed)

    async def fill(self, count: int) -> None:
        done = await self.deployment.runtime.mutation(self.call("items:fill", count=count))
        assert done.failure is None

    def call(self, path: str, **args: int) -> FunctionCall:
        return FunctionCall(
            path=path,
            arguments=pack_value({**args}),
            identity=Anonymous(),
            caller=Caller.CLIENT,
            request_id="",
        )

    def kept(self) -> set[str]:
        return {path.name for path in (self.data / "releases").glob("*/")}


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path)


@pytest.fixture
def anyio_backend():
    return "asyncio"


pytestmark = pytest.mark.anyio


async def test_what_was_deployed_last_serves_again_after_a_restart(server):
    async with server:
        assert await server.deployer.resume() is None
        await server.deploy(1)
        await server.deploy(2, wish=Wish(message="two"))
        assert server.stages == [Stage.UNPACKING, Stage.LOADING, Stage.PUSHING]
        assert await server.number() == 2
    # The folder that was deployed has gone since, and changed: the server has its own copy.
    write_release(server.source, 3)
    async with server:
        report = await server.deployer.resume()
        assert report is not None
        assert await server.number() == 2
        assert [(r.origin, r.message) for r in server.deployer.history()] == [
            ("deploy", "two"),
            ("deploy", ""),
        ]


async def test_the_folder_of_a_server_goes_first_only_when_it_has_changed(server):
    folder = write_release(server.tmp_path / "folder", 1)
    project = load_project(folder)
    async with server:
        assert await server.deployer.is_newest(project)
        await server.deployer.push_folder(project)
        assert await server.number() == 1
        await server.deploy(2)
        assert await server.number() == 2
        assert not await server.deployer.is_newest(project)
    async with server:
        assert not await server.deployer.is_newest(project)
        await server.deployer.resume()
        assert await server.number() == 2
    write_release(folder, 3)
    async with server:
        assert await server.deployer.is_newest(project)
        await server.deployer.push_folder(project)
        assert await server.number() == 3
        # Its copy serves: an edit waits for the next start.
        write_release(folder, 4)
        assert await server.number() == 3


async def test_going_back_is_a_push_of_kept_sources(server):
    async with server:
        with pytest.raises(ReleaseGone, match="no earlier release"):
            await server.deployer.roll_back(None, Wish(), lambda step: None)
        for number in (1, 2, 3):
            await server.deploy(number)
        report = await server.deployer.roll_back(None, Wish(), lambda step: None)
        assert (await server.number(), report.release) == (2, 4)
        await server.deployer.roll_back(1, Wish(), lambda step: None)
        assert await server.number() == 1
        assert server.deployer.history()[0].message == "back to release 1"
        with pytest.raises(ReleaseGone, match="release 9 is not remembered; these are: 5, 4, 3"):
            await server.deployer.roll_back(9, Wish(), lambda step: None)
    async with server:
        await server.deployer.resume()
        assert await server.number() == 1


async def test_releases_beyond_the_last_few_are_forgotten(server):
    async with server:
        for number in range(limits.releases_kept + 2):
            await server.deploy(number)
        kept = server.kept()
        assert len(kept) == limits.releases_kept
        assert kept == {record.digest for record in server.deployer.history()}


async def test_a_push_that_fails_leaves_nothing(server):
    async with server:
        await server.deploy(1)
        before = server.kept(), server.deployer.history()
        (server.source / "shop" / "items.py").write_text("import nothing_such")
        with pytest.raises(LoadError, match=r"shop/items\.py:1"):
            await server.upload(server.source)
        with pytest.raises(ArchiveRefused) as refused:
            await server.upload(write_release(server.source, 2), digest="0" * 64)
        assert refused.value.code == "DigestMismatch"
        assert (server.kept(), server.deployer.history()) == before
        assert not list((server.data / "releases").glob(".*"))
        assert await server.number() == 1


async def test_a_dry_run_changes_nothing(server):
    async with server:
        report = await server.deploy(1, wish=Wish(mode=PushMode.DRY_RUN))
        assert report.changes.functions_added == ("items:fill", "items:number")
        assert server.kept() == set()
        assert server.deployer.history() == []
        assert server.deployment.releases.newest is None


async def test_an_index_of_a_large_table_is_dropped_only_when_allowed(server, monkeypatch):
    monkeypatch.setattr(limits, "large_index_documents", 1000)
    async with server:
        await server.deploy(1, indexes=RANKED)
        await server.fill(999)
        report = await server.deploy(2)
        assert report.indexes_dropped == ("items.by_rank",)
        await server.deploy(3, indexes=RANKED)
        await server.fill(1)
        with pytest.raises(DeployRefused, match=r"items\.by_rank: each has 1,000 documents"):
            await server.deploy(4)
        assert await server.number() == 3
        await server.deploy(4, wish=Wish(drops=Drops.ALLOW))
        assert await server.number() == 4


async def test_an_older_push_gives_way_to_one_that_has_overtaken_it(server):
    async with server:
        await server.deploy(1)
        overtaken = server.deployer._turn()
        await server.deploy(2)
        with pytest.raises(DeployRefused) as refused:
            server.deployer._take_turn(overtaken)
        assert refused.value.code == "RaceDetected"


async def test_of_pushes_at_once_the_last_one_serves(server):
    async with server:
        await server.deploy(0)
        sources = [
            write_release(server.tmp_path / f"source{number}", number) for number in (1, 2, 3)
        ]
        done = await asyncio.gather(*map(server.upload, sources), return_exceptions=True)
        assert await server.number() == 3
        for ended in done[:-1]:
            assert isinstance(ended, PushReport) or getattr(ended, "code", "") == "RaceDetected"
        assert isinstance(done[-1], PushReport)
        served = {record.digest for record in server.deployer.history()}
        assert server.kept() == served


async def test_a_push_that_nobody_waits_for_any_more_is_taken_back(server):
    async with server:
        await server.deploy(1)
        write_release(server.source, 2)
        pushing = asyncio.ensure_future(server.upload(server.source))
        await server.is_loading.wait()
        pushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pushing
        assert await server.number() == 1
        assert len(server.kept()) == 1


async def test_what_an_ended_server_left_half_written_is_removed(server):
    async with server:
        await server.deploy(1)
    releases = server.data / "releases"
    (releases / ".partial-upload").write_bytes(b"half")
    (releases / ".partial-unpacked" / "backend").mkdir(parents=True)
    async with server:
        assert not list(releases.glob(".*"))
        await server.deployer.resume()
        assert await server.number() == 1


async def test_sources_that_were_damaged_are_told(server):
    async with server:
        await server.deploy(1)
    (digest,) = server.kept()
    (server.data / "releases" / f"{digest}.json").write_text("{")
    async with server:
        with pytest.raises(ReleaseGone, match="are not kept under"):
            await server.deployer.resume()
