"""Components that are mounted no more, and whose data an operator has deleted for good.

What is asked for is durable before anything is deleted; then it goes bit by bit, in commits that let
others in between. Whatever breaks that off, a full disk or the end of the server, it goes on later: no
release can mount the component before nothing is left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Final

from camber.deployment.empty_tables import EmptyTables
from camber.engine import component_data
from camber.engine.component_data import components_with_data
from camber.engine.engine import Engine
from camber.engine.transaction import Transaction
from camber.engine.writing import write
from camber.errors import BadRequest
from camber.functions.components import not_mounted
from camber.releases.releases import Releases
from camber.runtime.files import Files
from camber.values.paths import is_within

_log = logging.getLogger("camber.deployment")

_SOURCE: Final = "delete component"
#: Before what could not be deleted, as on a full disk, is tried again, in seconds.
_AGAIN_S: Final = 10.0
#: Between two looks for empty tables that were left, in seconds.
_LOOK_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedData:
    """How much a component had, as far as this server has deleted it."""

    documents: int
    files: int
    scheduled: int


class ComponentDeletions:
    """The deletions of one deployment. `open` it on the event loop, then close it."""

    def __init__(self, *, engine: Engine, releases: Releases, files: Files) -> None:
        self._engine = engine
        self._releases = releases
        self._files = files
        self._empty_tables = EmptyTables(engine=engine, releases=releases)
        #: Who waits for what comes of a component's deletion.
        self._waiting: dict[str, list[asyncio.Future[DeletedData]]] = {}
        self._beginning: set[asyncio.Task[None]] = set()
        self._stirred = asyncio.Event()
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Go on with what the last process has left, in the background."""
        self._task = self._engine.host.spawn("deleted components", self._work())

    async def close(self) -> None:
        """End; the next process goes on."""
        tasks = [*self._beginning, *([] if self._task is None else [self._task])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for waiting in self._waiting.values():
            for future in waiting:
                future.cancel()

    async def delete(self, component: str) -> DeletedData:
        """Delete all data of a component, and of what was mounted in it; return when it is gone.

        It goes on for who does not wait.

        Raises:
            BadRequest: it is mounted (ComponentMounted), or there is none (ComponentPathNotFound).
            FeatureUnavailable: nothing has been pushed yet: nobody knows what is mounted.
            RequestError: it could not be deleted for now, and is tried again.
        """
        future: asyncio.Future[DeletedData] = asyncio.get_running_loop().create_future()
        # Before it is begun: its end may come sooner than this goes on.
        self._waiting.setdefault(component, []).append(future)
        # Its own task: who asks may be gone before it is known whether that is durable.
        task = self._engine.host.spawn("delete component", self._begun(component, future))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)
        try:
            return await future
        finally:
            self._waits_no_more(component, future)

    def _waits_no_more(self, component: str, future: asyncio.Future[DeletedData]) -> None:
        """Forget who waited, if what came of the deletion is not what has ended that."""
        waiting = self._waiting.get(component, [])
        if future in waiting:
            waiting.remove(future)
            if not waiting:
                del self._waiting[component]

    async def _begun(self, component: str, future: asyncio.Future[DeletedData]) -> None:
        try:
            # No push mounts it meanwhile, and no import brings files for it.
            async with self._engine.structure:
                await write(self._engine, _SOURCE, lambda tx: self._begin(tx, component))
        except Exception as error:  # noqa: BLE001  # told to who asks
            if not future.done():
                future.set_exception(error)
        else:
            self._stirred.set()

    async def over(self, components: Iterable[str]) -> None:
        """Return when the data of none of some components is being deleted."""
        wanted = list(components)
        while names := self._being_deleted(wanted):
            _log.info("waiting until the data of %s is deleted", " and ".join(sorted(names)))
            self._ended.clear()
            await self._ended.wait()

    def _begin(self, transaction: Transaction, component: str) -> None:
        mounted = self._releases.serving(transaction).analysis.components
        inside = sorted(path for path in mounted if is_within(path, component))
        if inside:
            msg = (
                f"component '{inside[0]}' is mounted, and its data in use: push a release that does "
                "not mount it first"
            )
            raise BadRequest(msg, code="ComponentMounted")
        there = components_with_data(transaction)
        begun = component_data.deletions(transaction)
        if component not in begun and not any(is_within(path, component) for path in there):
            raise BadRequest(
                not_mounted(component, mounted.keys() | there), code="ComponentPathNotFound"
            )
        component_data.begin_deletion(transaction, component)

    def _being_deleted(self, components: list[str]) -> list[str]:
        with closing(self._engine.begin(_SOURCE)) as transaction:
            return component_data.being_deleted(transaction, components)

    async def _work(self) -> None:
        """Delete what is to be deleted, again and again, until cancelled."""
        while True:
            self._stirred.clear()
            has_failed = not await self._round()
            with suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN_S if has_failed else _LOOK_S):
                    await self._stirred.wait()

    async def _round(self) -> bool:
        """Delete what is to be deleted now; return whether all of it is gone."""
        with closing(self._engine.begin(_SOURCE)) as transaction:
            begun = sorted(component_data.deletions(transaction))
        outcomes = [await self._outcome(component) for component in begun]
        try:
            await self._empty_tables.remove()
        except Exception:  # noqa: BLE001  # told in the log
            _log.exception("empty tables could not be removed; it is tried again")
        return not any(isinstance(outcome, Exception) for outcome in outcomes)

    async def _outcome(self, component: str) -> DeletedData | Exception:
        """Delete the data of a component; tell who waits what came of it, and return that."""
        outcome: DeletedData | Exception
        try:
            outcome = await self._carry_out(component)
        # A full disk today is no reason to keep everything tomorrow.
        except Exception as error:  # noqa: BLE001  # told in the log, and to who waits
            outcome = error
            _log.warning(
                "the data of component '%s' is not deleted yet; it is tried again: %s",
                component,
                error,
            )
        for future in self._waiting.pop(component, []):
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
        return outcome

    async def _carry_out(self, component: str) -> DeletedData:
        # What arrives would be a file of it when all others are gone.
        await self._files.abandon_below(component)
        documents = await self._all_gone(component, component_data.delete_documents)
        scheduled = await self._all_gone(component, component_data.delete_scheduled)
        files = await self._all_gone(component, component_data.delete_files)
        await write(self._engine, _SOURCE, lambda tx: component_data.end_deletion(tx, component))
        self._ended.set()
        _log.info(
            "deleted the data of component '%s': %d documents, %d files, %d scheduled functions",
            component,
            documents,
            files,
            scheduled,
        )
        return DeletedData(documents=documents, files=files, scheduled=scheduled)

    async def _all_gone(
        self, component: str, delete_some: Callable[[Transaction, str], int]
    ) -> int:
        host, total = self._engine.host, 0
        while True:
            started = host.monotonic()
            count = await write(self._engine, _SOURCE, lambda tx: delete_some(tx, component))
            if not count:
                return total
            total += count
            # As long again for everybody else.
            await host.sleep(host.monotonic() - started)
