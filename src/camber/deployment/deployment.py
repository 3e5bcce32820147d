"""One deployment: a store, an engine, what runs functions, and the release that serves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from camber import limits
from camber.deployment.checkpoints import checkpoint_again_and_again
from camber.deployment.component_deletions import ComponentDeletions
from camber.deployment.followed_tables import FollowedTables
from camber.deployment.instance import Instance, open_instance, temporary_instance
from camber.deployment.issued_keys import IssuedKeys
from camber.deployment.kept_releases import RELEASES
from camber.deployment.loaded_folder import copied, forget_copies
from camber.deployment.maintenance import Maintenance
from camber.deployment.own_documents import Documents
from camber.deployment.settings import (
    MEMORY,
    DeploymentSettings,
    Redaction,
    ScanWarnings,
    Scheduling,
    TestHooks,
)
from camber.deployment.source import ReleaseSource, folder_source
from camber.deployment.trusted_providers import TrustedProviders
from camber.engine.engine import Engine
from camber.engine.system_tables import ENVIRONMENT_VARIABLES_NUMBER
from camber.engine.transaction import Transaction
from camber.engine.variables import (
    CLOUD_URL,
    SITE_URL,
    VariableChange,
    Variables,
    variables_key,
)
from camber.engine.writing import write
from camber.errors import BadRequest, CamberError
from camber.files.blobs import BlobStore
from camber.files.capabilities import Capabilities, capabilities_key
from camber.files.durable import make_folder
from camber.files.local import LocalBlobs
from camber.files.memory import MemoryBlobs
from camber.functions.loading import load_application
from camber.host import Host, RealHost
from camber.identity.admin_keys import AdminKeys
from camber.identity.signing_keys import (
    KEY_SET,
    TrustedKey,
    new_signing_key,
    rotated_signing_keys,
    trusted_keys,
)
from camber.identity.token_verifier import Disclosure, TokenVerifier
from camber.jobs.scheduler import Scheduler
from camber.measures import SECONDS, Histogram
from camber.occ.cursors import CursorCipher, cursor_key
from camber.releases.push import Progress, Pushes, PushMode, PushReport
from camber.releases.records import ReleaseOrigin
from camber.releases.releases import Releases
from camber.runtime.action_files import ActionFiles
from camber.runtime.actions import FunctionRunner
from camber.runtime.executor import Executor
from camber.runtime.failures import FailureTexts
from camber.runtime.files import FileLimits, Files
from camber.runtime.frames import Start
from camber.runtime.handles import Handles, handles_key
from camber.runtime.in_process import InProcessExecutor
from camber.runtime.process_executor import ProcessExecutor
from camber.runtime.process_release import ProcessRelease
from camber.runtime.processes import ExecutorEnded, Launcher
from camber.runtime.program import Spare, executor_program
from camber.runtime.release import InProcessRelease, LoadedRelease
from camber.runtime.runtime import Runtime
from camber.runtime.transactions import ScanWatch, TransactionRunner
from camber.storage.memory import MemoryStore
from camber.storage.store import Placement, StagedTable, Store
from camber.tracing import installed_tracing
from camber.transfer.transfers import Transfers

_DATABASE = "camber.sqlite"
#: Where files lie, under --data.
_FILES = "files"
#: Between two looks at how late the loop is.
_LAG_PAUSE_S = 0.5
#: Where the sources that executors load lie, under --data, unless they are kept there anyway.
_LOADED = "loaded"
#: The functions folder beside the server, whose sources nobody keeps.
_LOCAL = ReleaseOrigin(name="dev")


class DeploymentError(CamberError):
    """A deployment that cannot be opened as asked."""

    code = "DeploymentError"


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatedKeys:
    """What signs tokens of users now, and what has signed those before."""

    kid: str
    trusted: list[TrustedKey]


class Deployment:
    """A running deployment. Opened, used and closed on one event loop."""

    def __init__(
        self,
        *,
        settings: DeploymentSettings,
        host: Host,
        store: Store,
        instance: Instance,
        blobs: BlobStore,
        spare: Spare | None = None,
    ) -> None:
        self.settings = settings
        self._spare = spare
        self.host = host
        self.instance_name = instance.name
        self._instance = instance
        self._urls = {CLOUD_URL: settings.cloud_url, SITE_URL: settings.site_url}
        self.engine = Engine(host=host, store=store)
        self.releases = Releases()
        self.admin_keys = AdminKeys(
            instance_name=instance.name,
            secret=instance.secret,
            now_ms=lambda: host.now_ns() / 1e6,
            configured=settings.admin_key,
        )
        self._tables = FollowedTables(self.engine)
        self.issued_keys = IssuedKeys(
            engine=self.engine, admin_keys=self.admin_keys, tables=self._tables
        )
        self.variables = Variables(
            key=variables_key(instance.secret),
            urls=self._urls,
        )
        self.pushes = Pushes(engine=self.engine, releases=self.releases, variables=self.variables)
        self.files = Files(
            engine=self.engine,
            blobs=blobs,
            capabilities=Capabilities(capabilities_key(instance.secret)),
            bounds=FileLimits(
                file_bytes_max=settings.file_bytes_max, all_bytes_max=settings.files_bytes_max
            ),
        )
        self.handles = Handles(handles_key(instance.secret))
        self.tracing = installed_tracing()
        self.runtime = Runtime(
            engine=self.engine, make_executor=self._make_executor, tracing=self.tracing
        )
        self._documents = Documents(runtime=self.runtime, own_site=lambda: self.verifier.own_site)
        self.verifier = TokenVerifier(
            host=host,
            fetch=self._documents,
            disclosure=Disclosure.ALL if settings.redaction is Redaction.OFF else Disclosure.NONE,
        )
        TrustedProviders(
            engine=self.engine,
            releases=self.releases,
            variables=self.variables,
            verifier=self.verifier,
            tables=self._tables,
        )
        self.scheduler = Scheduler(engine=self.engine, runtime=self.runtime)
        self.transfers = Transfers(
            engine=self.engine, releases=self.releases, files=self.files, folder=settings.data
        )
        self.component_deletions = ComponentDeletions(
            engine=self.engine, releases=self.releases, files=self.files
        )
        #: How late timers come.
        self.loop_lag_s = Histogram(SECONDS)
        self._lag = host.spawn("loop lag", _observe_lag(host, self.loop_lag_s))
        self._checkpoints = host.spawn("checkpoints", checkpoint_again_and_again(self.engine))
        self._tried: asyncio.Task[None] | None = None
        self._scheduling = None
        if settings.scheduling is Scheduling.ON:
            self._scheduling = host.spawn("scheduler", self.scheduler.run())
        self._maintenance = host.spawn(
            "maintenance",
            Maintenance(
                engine=self.engine,
                history_retention_s=settings.history_retention_s,
                history_bytes_max=settings.history_bytes_max,
            ).run(),
        )

    @classmethod
    async def open(
        cls, settings: DeploymentSettings, host: Host | None = None, spare: Spare | None = None
    ) -> Deployment:
        """Open the store and what stands on it. Nothing is served before the first `push`.

        The first executor is the `spare`, where there is one that fits.

        Raises:
            StoreUnusable: the store's file is not one, is damaged, or is open elsewhere.
            BlobsUnusable: the place for files cannot be used.
            DeploymentError: the store's URL names no store that there is.
        """
        host = host or RealHost()
        if settings.executors and settings.store == MEMORY:
            msg = f"a store in memory ({MEMORY}) cannot be shared with executors: use 0 of them"
            raise DeploymentError(msg)
        if settings.store == MEMORY:
            instance = temporary_instance(settings.name, host)
        else:
            make_folder(settings.data)
            instance = open_instance(settings.data, settings.name, host)
        deployment = cls(
            settings=settings,
            host=host,
            store=_open_store(settings),
            instance=instance,
            blobs=_open_blobs(settings),
            spare=spare,
        )
        try:
            await deployment._begin()
        except BaseException:
            await deployment.close()
            raise
        return deployment

    async def _begin(self) -> None:
        """Take up what the last process has left."""
        settings = self.settings
        await self.pushes.open()
        if settings.executors:
            await asyncio.to_thread(forget_copies, settings.data / _LOADED)
        await self.files.open()
        if settings.files is not None:
            self._tried = self.host.spawn("bucket tried", self.files.try_place())
        await self.transfers.open()
        await self.component_deletions.open()
        await self.change_variables(
            VariableChange(name=name, value=value) for name, value in settings.environment.items()
        )

    async def push(self, source: ReleaseSource | None = None) -> PushReport:
        """Load a release's sources and make it the serving one; by default the settings' folder.

        Raises:
            LoadError: a module does not load.
            DeploymentError: the release cannot run here.
            PushFailed: stored documents do not fit. In each case the last good release serves on.
        """
        return await self.push_release(await self.load(source))

    async def load(self, source: ReleaseSource | None = None) -> LoadedRelease:
        """Load a release, by default from the settings' folder as it is now.

        Raises:
            LoadError: a module does not load.
            DeploymentError: the release cannot run here.
        """
        executor = self.runtime.executor
        if isinstance(executor, ProcessExecutor):
            return await self._load_in_processes(executor, source)
        if source is None:
            source = await asyncio.to_thread(
                folder_source, self.settings.root, self.settings.functions
            )
        if source.python is not None:
            msg = (
                "the release has dependencies of its own, and a server without executors "
                "(--executors 0) cannot run those: start it with --executors 1 or more"
            )
            raise DeploymentError(msg)
        application = await asyncio.to_thread(load_application, source.root, source.functions)
        return InProcessRelease(application)

    async def _load_in_processes(
        self, executor: ProcessExecutor, source: ReleaseSource | None
    ) -> ProcessRelease:
        # Modules beside the functions folder that are no part of the release are found where they
        # are, as they are by a server without executors.
        beside = [] if source is not None else [str(self.settings.root.resolve())]
        if source is None:
            source = await asyncio.to_thread(
                copied,
                self.settings.root,
                self.settings.functions,
                self.settings.data.resolve() / _LOADED,
                in_use={release.root for release in executor.pools},
            )
        transactions, actions = (
            self._launcher(source, beside, memory_bytes_max)
            for memory_bytes_max in (
                limits.transaction_memory_bytes_max,
                limits.action_memory_bytes_max,
            )
        )
        try:
            return await executor.load(transactions, actions, name=source.digest[:12])
        except (ExecutorEnded, OSError) as error:
            raise DeploymentError(f"the release cannot be loaded: {error}") from error

    def _launcher(
        self, source: ReleaseSource, beside: list[str], memory_bytes_max: int
    ) -> Launcher:
        return Launcher(
            host=self.host,
            program=executor_program(None if source.python is None else str(source.python)),
            spare=self._spare,
            start=Start(
                store=str(_sqlite_path(self.settings).resolve()),
                root=str(source.root.resolve()),
                functions=source.functions,
                search=beside,
                cursor_key=cursor_key(self._instance.secret),
                variables_key=variables_key(self._instance.secret),
                capabilities_key=capabilities_key(self._instance.secret),
                handles_key=handles_key(self._instance.secret),
                redact=self.settings.redaction is Redaction.ON,
                urls=self._urls,
                test_hooks=self.settings.test_hooks is TestHooks.ON,
                memory_bytes_max=memory_bytes_max,
                warns_of_scans=self.settings.scan_warnings is ScanWarnings.ON,
            ),
        )

    def _make_executor(self, runner: FunctionRunner) -> Executor:
        texts = FailureTexts(
            redact=self.settings.redaction is Redaction.ON,
            root=self.settings.root.resolve(),
            kept=self.settings.data.resolve() / RELEASES,
        )
        transactions = TransactionRunner(
            host=self.host,
            releases=self.releases,
            cursors=CursorCipher(cursor_key(self._instance.secret)),
            texts=texts,
            variables=self.variables,
            capabilities=self.files.capabilities,
            handles=self.handles,
            test_hooks=self.settings.test_hooks is TestHooks.ON,
            watch=ScanWatch() if self.settings.scan_warnings is ScanWarnings.ON else None,
        )
        files = ActionFiles(
            engine=self.engine,
            files=self.files,
            variables=self.variables,
            is_mounted=self.releases.is_mounted,
        )
        if self.settings.executors == 0:
            return InProcessExecutor(
                engine=self.engine,
                releases=self.releases,
                texts=texts,
                variables=self.variables,
                transactions=transactions,
                runner=runner,
                files=files,
            )
        return ProcessExecutor(
            engine=self.engine,
            releases=self.releases,
            texts=texts,
            system=transactions,
            runner=runner,
            files=files,
            size=self.settings.executors,
        )

    async def push_release(
        self,
        release: LoadedRelease,
        *,
        origin: ReleaseOrigin = _LOCAL,
        mode: PushMode = PushMode.SWITCH,
        progress: Progress | None = None,
    ) -> PushReport:
        """Make a loaded release the serving one, or see whether it could be.

        It is closed with the deployment, or at once if it does not serve.

        Raises:
            PushFailed: stored documents do not fit, or a newer push has begun. The last good
                release serves on.
        """
        if mode is PushMode.SWITCH:
            try:
                await self.component_deletions.over(release.analysis.components)
            except BaseException:
                await release.close()
                raise
        return await self.pushes.push(release, origin=origin, mode=mode, progress=progress)

    async def change_variables(self, changes: Iterable[VariableChange]) -> None:
        """Set and remove deployment variables, all or none; what read one of them runs again.

        Raises:
            BadRequest: one cannot be.
        """
        changes = tuple(changes)
        await write(self.engine, "change variables", lambda tx: self.variables.change(tx, changes))

    def follow_variables(self, changed: Callable[[], None]) -> None:
        """Call `changed`, on the event loop, whenever deployment variables have changed."""
        self._tables.follow([ENVIRONMENT_VARIABLES_NUMBER], changed)

    async def rotate_signing_keys(self, trusted_s: float) -> RotatedKeys:
        """Sign tokens of users with a new key; the keys before it are trusted so many seconds more.

        Raises:
            SigningKeysUnreadable: what is set are no keys.
            VariableUnreadable: they were set under another secret.
        """
        # Made once, however often the commit is tried.
        key = await asyncio.to_thread(new_signing_key)

        def rotate(transaction: Transaction) -> RotatedKeys:
            made = rotated_signing_keys(
                key,
                self.variables.get(transaction, KEY_SET),
                now_s=self.host.now_ns() / 1e9,
                trusted_s=trusted_s,
            )
            changes = [VariableChange(name=name, value=value) for name, value in made.items()]
            self.variables.change(transaction, changes)
            return RotatedKeys(kid=key.kid, trusted=trusted_keys(made))

        return await write(self.engine, "rotate signing keys", rotate)

    async def set_url(self, name: str, url: str | None) -> None:
        """Set one of the built-in variables for good; None gives back that of the settings."""
        await write(
            self.engine, "set canonical url", lambda tx: self.variables.set_url(tx, name, url)
        )

    async def clear_tables(self, names: Iterable[str]) -> None:
        """Remove all documents of tables that the serving release does not declare, in one commit.

        Raises:
            BadRequest: one is declared, or there is none of that name. Nothing was removed.
        """
        async with self.engine.structure:
            with closing(self.engine.begin("clear tables")) as transaction:
                declared = self.releases.serving(transaction).analysis.all_tables()
                cleared = tuple(_cleared(transaction, name, declared) for name in set(names))
                finished = msgspec.structs.replace(transaction.finish(), staged=cleared)
            await self.engine.committer.commit(finished)

    async def close(self) -> None:
        """End what runs, write what waits, and close the store."""
        self.scheduler.stop()
        background = [self._lag, self._checkpoints, self._maintenance]
        if self._scheduling is not None:
            background.append(self._scheduling)
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await self.transfers.close()
        await self.component_deletions.close()
        await self.pushes.close()
        await self.runtime.close()
        await self.scheduler.ended(limits.action_grace_s)
        await self.releases.close()
        if self._tried is not None:
            await asyncio.gather(self._tried, return_exceptions=True)
        await self.files.close()
        await self._documents.close()
        await self._tables.close()
        await self.engine.close()


async def _observe_lag(host: Host, lag_s: Histogram) -> None:
    """Sleep again and again, and note how much too long."""
    while True:
        due_s = host.monotonic() + _LAG_PAUSE_S
        await host.sleep(_LAG_PAUSE_S)
        lag_s.observe(max(0.0, host.monotonic() - due_s))


def _cleared(transaction: Transaction, name: str, declared: Container[str]) -> StagedTable:
    table = transaction.table(name)
    if table is None or table.is_system:
        raise BadRequest(f"there is no table {name!r} to delete", code="TableNotFound")
    if name in declared:
        raise BadRequest(
            f"table {name!r} is in the schema: take it out there first, and push",
            code="TableInSchema",
        )
    indexes = tuple(index.id for index in table.stored)
    return StagedTable(
        table=table.number, indexes=indexes, placement=Placement.REPLACE, documents=0
    )


def _open_store(settings: DeploymentSettings) -> Store:
    url = settings.store
    if url == MEMORY:
        return MemoryStore()
    if url is not None and url.startswith(("postgres://", "postgresql://")):
        msg = "stores on PostgreSQL are not built yet; leave out --store for SQLite"
        raise DeploymentError(msg)
    if url is not None and not url.startswith("sqlite:"):
        msg = f"--store {url!r} names no store: sqlite:PATH, or nothing for one under --data"
        raise DeploymentError(msg)
    # Imported where it is used: a deployment in memory needs no SQLite.
    from camber.storage.sqlite.store import SqliteStore

    return SqliteStore(_sqlite_path(settings), durability=settings.durability)


def _open_blobs(settings: DeploymentSettings) -> BlobStore:
    if settings.files is not None:
        # Imported where it is used: most deployments have their files in a folder.
        from camber.files.s3 import S3Blobs

        return S3Blobs(settings.files)
    if settings.store == MEMORY:
        return MemoryBlobs()
    return LocalBlobs(settings.data / _FILES)


def _sqlite_path(settings: DeploymentSettings) -> Path:
    url = settings.store
    return settings.data / _DATABASE if url is None else Path(url.removeprefix("sqlite:"))
