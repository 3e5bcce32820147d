"""Which release a production server serves: what was pushed to it last, from wherever.

Uploads, the folder that the server was started with, and earlier releases all take the same way:
sources are kept, their environment is made, they are loaded and pushed. At a restart the newest
serves again: what was deployed later than the server's own folder was pushed stays, until that
folder changes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final

from camber import limits
from camber.deployment.deployment import Deployment
from camber.deployment.kept_releases import KeptRelease, KeptReleases, ReleaseGone
from camber.deployment.project import Project
from camber.deployment.source import folder_source
from camber.engine.catalog import Catalog, TableEntry
from camber.errors import CamberError
from camber.functions.analysis import Analysis
from camber.occ.interval import ALL, Interval, Order
from camber.releases.push import PushMode, PushProgress, PushReport
from camber.releases.records import ReleaseOrigin, ReleaseRecord, history
from camber.storage.store import Snapshot

#: Who pushed a release, as records have it.
START: Final = "start"
DEPLOY: Final = "deploy"
ROLLBACK: Final = "rollback"

_BATCH_ROWS: Final = 512
_BUILT_IN: Final = frozenset({"by_id", "by_creation_time"})


class DeployRefused(CamberError):
    """A push that was not begun, or gave way; nothing has changed."""

    code = "DeployRefused"


class Stage(Enum):
    """How far a push has come."""

    UNPACKING = "unpacking"
    INSTALLING = "installing"
    LOADING = "loading"
    PUSHING = "pushing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of a push: its stage, and how far that has come if it takes long."""

    stage: Stage
    progress: PushProgress | None = None


class Drops(Enum):
    """What is done about indexes of large tables that a release does without."""

    REFUSE = "refuse"
    ALLOW = "allow"


Tell = Callable[[Step], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What whoever pushes wants, beside the release itself."""

    mode: PushMode = PushMode.SWITCH
    message: str = ""
    drops: Drops = Drops.REFUSE


class Deployer:
    """Pushes releases to one deployment, and keeps their sources."""

    def __init__(
        self, deployment: Deployment, announce: Callable[[PushReport], None] | None = None
    ) -> None:
        """Make the deployer of a deployment; `announce` is told of what is pushed over HTTP."""
        self._deployment = deployment
        self._announce = announce or _to_nobody
        self.kept = KeptReleases(deployment.settings.data, deployment.host)
        self.kept.clean_up()
        self._begun = 0
        self._furthest = 0
        #: Digests of sources that are being pushed, as often as they are.
        self._in_use: Counter[str] = Counter()
        #: Held while sources are kept, and while others are forgotten: never both at once.
        self._keeping = asyncio.Lock()

    def history(self) -> list[ReleaseRecord]:
        """Return the last releases, the serving one first."""
        with closing(self._deployment.engine.begin("releases")) as transaction:
            return history(transaction)

    async def upload(self, archive: Path, digest: str, wish: Wish, tell: Tell) -> PushReport:
        """Push what an archive holds.

        Raises:
            CamberError: the archive, its dependencies or its indexes are refused.
            LoadError: a module does not load.
            PushFailed: stored documents do not fit. The last good release serves on in each case.
        """
        turn = self._turn()
        tell(Step(stage=Stage.UNPACKING))
        async with self._using(digest):
            async with self._keeping:
                kept = await asyncio.to_thread(self.kept.keep_archive, archive, digest)
            return self._announced(await self._push(kept, DEPLOY, wish, turn, tell))

    async def roll_back(self, number: int | None, wish: Wish, tell: Tell) -> PushReport:
        """Push the sources of an earlier release again; None is the one before the serving one.

        Raises:
            ReleaseGone: it is not remembered, or its sources are not kept.
            CamberError, LoadError, PushFailed: as `upload`.
        """
        turn = self._turn()
        record = self._earlier(number)
        if not record.digest:
            msg = (
                f"release {record.number} was pushed by `camber {record.origin}`, which keeps no "
                "sources; deploy it again"
            )
            raise ReleaseGone(msg)
        wish = replace(wish, message=wish.message or f"back to release {record.number}")
        async with self._using(record.digest):
            kept = self.kept.find(record.digest)
            return self._announced(await self._push(kept, ROLLBACK, wish, turn, tell))

    async def is_newest(self, project: Project) -> bool:
        """Return whether the folder that a server is started with goes before what was deployed.

        It does unless it is as it was when it was pushed last, and something was deployed since.
        """
        records = self.history()
        if not records or records[0].origin not in {DEPLOY, ROLLBACK}:
            return True
        if not self.kept.has(records[0].digest):
            return True
        return await asyncio.to_thread(_digest_of, project) != self.kept.last_folder

    async def push_folder(self, project: Project) -> PushReport:
        """Push the folder that a server is started with.

        Raises:
            CamberError, LoadError, PushFailed: as `upload`.
        """
        kept = await asyncio.to_thread(self.kept.keep_folder, project)
        # Whoever starts a server with a folder means that folder, as `camber dev` does.
        wish = Wish(drops=Drops.ALLOW)
        async with self._using(kept.digest):
            report = await self._push(kept, START, wish, self._turn(), _nobody)
        await asyncio.to_thread(self.kept.note_folder, kept.digest)
        return report

    async def resume(self) -> PushReport | None:
        """Let the release serve again that served last; None if none did whose sources are kept.

        Raises:
            CamberError, LoadError, PushFailed: as `upload`.
        """
        records = self.history()
        if not records or not self.kept.has(records[0].digest):
            return None
        last = records[0]
        wish = Wish(message=last.message, drops=Drops.ALLOW)
        async with self._using(last.digest):
            kept = self.kept.find(last.digest)
            return await self._push(kept, last.origin, wish, self._turn(), _nobody)

    def _announced(self, report: PushReport) -> PushReport:
        if report.mode is PushMode.SWITCH:
            self._announce(report)
        return report

    async def _push(
        self, kept: KeptRelease, origin: str, wish: Wish, turn: int, tell: Tell
    ) -> PushReport:
        source = await self.kept.source(kept, lambda: tell(Step(stage=Stage.INSTALLING)))
        tell(Step(stage=Stage.LOADING))
        release = await self._deployment.load(source)
        try:
            if wish.drops is Drops.REFUSE:
                await self._refuse_large_drops(release.analysis)
            if wish.mode is PushMode.SWITCH:
                self._take_turn(turn)
        except BaseException:
            await release.close()
            raise
        tell(Step(stage=Stage.PUSHING))
        return await self._deployment.push_release(
            release,
            origin=ReleaseOrigin(name=origin, digest=kept.digest, message=wish.message),
            mode=wish.mode,
            progress=lambda progress: tell(Step(stage=Stage.PUSHING, progress=progress)),
        )

    @asynccontextmanager
    async def _using(self, digest: str) -> AsyncIterator[None]:
        """Keep sources while they are pushed; after it those stay that may be gone back to."""
        self._in_use[digest] += 1
        try:
            yield
        finally:
            self._in_use[digest] -= 1
            async with self._keeping:
                # Asked here, where no other push can be about to keep what is not named yet.
                needed = {record.digest for record in self.history()} | set(+self._in_use)
                await asyncio.to_thread(self.kept.forget_all_but, needed)

    def _turn(self) -> int:
        self._begun += 1
        return self._begun

    def _take_turn(self, turn: int) -> None:
        """Go before all pushes that were begun earlier; they give way from now on."""
        if turn < self._furthest:
            msg = "a newer push has begun meanwhile, and takes its place"
            raise DeployRefused(msg, code="RaceDetected")
        self._furthest = turn

    def _earlier(self, number: int | None) -> ReleaseRecord:
        records = self.history()
        if number is None:
            if len(records) < 2:
                msg = "there is no earlier release to go back to"
                raise ReleaseGone(msg)
            return records[1]
        for record in records:
            if record.number == number:
                return record
        known = ", ".join(str(record.number) for record in records) or "none"
        raise ReleaseGone(f"release {number} is not remembered; these are: {known}")

    async def _refuse_large_drops(self, analysis: Analysis) -> None:
        large = await self._deployment.engine.on_writer(self._large_drops, analysis)
        if large:
            msg = (
                f"this release does without {', '.join(large)}: each has "
                f"{limits.large_index_documents:,} documents or more, and building it again would "
                "take a while. To drop it all the same: --allow-deleting-large-indexes"
            )
            raise DeployRefused(msg, code="LargeIndexesDropped")

    def _large_drops(self, analysis: Analysis) -> list[str]:
        engine = self._deployment.engine
        with closing(engine.begin("releases")) as transaction:
            return [
                f"{table.name}.{name}"
                for table, name in _dropped(engine.catalog, analysis)
                if _is_large(transaction.snapshot, table)
            ]


def _nobody(step: Step) -> None:
    del step


def _to_nobody(report: PushReport) -> None:
    del report


def _digest_of(project: Project) -> str:
    return folder_source(project.root, project.functions, project.include).digest


def _dropped(catalog: Catalog, analysis: Analysis) -> Iterator[tuple[TableEntry, str]]:
    """Yield the indexes that a release does not declare, or declares otherwise."""
    tables = analysis.all_tables()
    for table in catalog.tables():
        if table.is_system:
            continue
        declared = tables.get(table.name)
        wanted = {} if declared is None else {index.name: index for index in declared.indexes}
        for index in table.indexes.values():
            if index.name in _BUILT_IN:
                continue
            want = wanted.get(index.name)
            held = (index.fields, index.tokenizer, index.dimensions)
            if want is None or (want.fields, want.tokenizer, want.dimensions) != held:
                yield table, index.name


def _is_large(snapshot: Snapshot, table: TableEntry) -> bool:
    rest, left = ALL, limits.large_index_documents
    by_id = table.indexes["by_id"].id
    while left:
        rows = snapshot.scan(table.number, by_id, rest, Order.ASC, min(left, _BATCH_ROWS))
        if not rows:
            return False
        left -= len(rows)
        rest = Interval(rows[-1].key + b"\0", None)
    return True
