"""Imports: uploaded, looked at, confirmed by whoever asked, carried out.

An import is a document; what it says of itself changes with every step. Its file is gone when it
has ended, and an import does not outlive the process that began it.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from camber import limits
from camber.engine import system_tables
from camber.engine.catalog import CREATION_TIME_FIELD, ID_FIELD, full_name
from camber.engine.engine import Engine
from camber.engine.transaction import Transaction
from camber.engine.writing import write
from camber.errors import BadRequest, CamberError, ErrorKind, RequestError
from camber.host import Host
from camber.releases.releases import Releases
from camber.runtime.files import Files
from camber.transfer.importing import (
    SOURCE,
    Import,
    ImportMode,
    Survey,
    documents_there,
    files_there,
    survey,
)
from camber.transfer.jobs import Job, find, newest_first, update
from camber.transfer.snapshot_writer import STORAGE_FOLDER
from camber.transfer.sources import (
    ImportFormat,
    ImportRefused,
    Source,
    check_table_name,
    open_source,
)
from camber.transfer.uploads import Uploads, receive
from camber.values.value import COMMIT_TS, Int64, Value

_log = logging.getLogger("camber.transfer")

#: Between two progress messages, each of which is a commit.
_PROGRESS_S: Final = 1.0
_UNFINISHED: Final = frozenset({"uploaded", "waiting_for_confirmation", "in_progress"})
#: What the documents of imports call the formats.
_FORMAT_NAMES: Final = {
    ImportFormat.CSV: "csv",
    ImportFormat.JSON_LINES: "jsonl",
    ImportFormat.JSON_ARRAY: "json_array",
    ImportFormat.ZIP: "zip",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """What somebody wants to be imported, and how."""

    form: ImportFormat
    mode: ImportMode
    #: Its full name.
    table: str | None

    @classmethod
    def parse(
        cls, *, form: object, mode: object, table: object, component: str = ""
    ) -> ImportRequest:
        """Return the request that a client made.

        Raises:
            BadRequest: there is no such format or mode, or a table is named where none may be, or
                none where one must be.
        """
        chosen = _member(ImportFormat, form, "format", "BadFormat")
        if table is not None and not isinstance(table, str):
            raise BadRequest(f"a table's name is a string, not {table!r}", code="InvalidName")
        if chosen is ImportFormat.ZIP and table is not None:
            msg = "a ZIP names its tables itself: leave out the table's name"
            raise BadRequest(msg, code="InvalidName")
        if chosen is ImportFormat.ZIP and component:
            msg = f"a ZIP names its components itself: leave out {component!r}"
            raise BadRequest(msg, code="InvalidName")
        if chosen is not ImportFormat.ZIP:
            if table is None:
                msg = f"say which table to import into: the format {chosen.value} has one table"
                raise BadRequest(msg, code="InvalidName")
            check_table_name(table)
        return cls(
            form=chosen,
            mode=_member(ImportMode, "requireEmpty" if mode is None else mode, "mode", "BadMode"),
            table=None if table is None else full_name(component, table),
        )


def _member(kind: Any, value: object, what: str, code: str) -> Any:
    for member in kind:
        if member.value == value:
            return member
    msg = f"{value!r} is no {what}: use {', '.join(member.value for member in kind)}"
    raise BadRequest(msg, code=code)


@dataclass(slots=True)
class _Ready:
    """An import that has been surveyed."""

    request: ImportRequest
    survey: Survey


class Imports:
    """The imports of one deployment; their files lie in `folder`."""

    def __init__(self, *, engine: Engine, releases: Releases, files: Files, folder: Path) -> None:
        self._engine = engine
        self._stored_files = files
        self._releases = releases
        self._folder = folder
        self._worker = engine.host.worker("camber-import")
        self.uploads = Uploads(host=engine.host, worker=self._worker, folder=folder / "uploads")
        self._ready: dict[str, _Ready] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def recover(self) -> None:
        """Fail what was under way when the last process ended, and remove all files."""

        def change(transaction: Transaction) -> None:
            for job in list(newest_first(transaction, system_tables.IMPORTS)):
                if _state(job) in _UNFINISHED:
                    update(transaction, job, _failed("the server ended during the import"))

        await write(self._engine, SOURCE, change)
        await self._worker.run(shutil.rmtree, self._folder, ignore_errors=True)

    async def close(self) -> None:
        """End what runs; the next process calls it failed."""
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._worker.close()

    async def begin(self, request: ImportRequest, token: str, part_tokens: Sequence[str]) -> str:
        """Make an import of a finished upload, and begin to look at it; return its id.

        Raises:
            UploadRefused: the upload or its parts are not what the tokens say.
        """
        id_ = await self._new_job(request)
        try:
            await self.uploads.finish(token, part_tokens, self._file(id_))
        except BaseException as error:
            await self._end(id_, _failed(_reason(error)))
            raise
        self._spawn(id_, self._look(id_, request))
        return id_

    async def import_now(self, request: ImportRequest, stream: AsyncIterator[bytes]) -> int:
        """Import what a stream holds, without a question; return how many documents came.

        Raises:
            CamberError: it cannot be imported; nothing was changed.
        """
        id_ = await self._new_job(request)
        path = self._file(id_)
        outcome: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        # Whoever asked may be gone by then.
        outcome.add_done_callback(lambda done: done.cancelled() or done.exception())

        async def run() -> None:
            try:
                await self._worker.run(path.parent.mkdir, parents=True, exist_ok=True)
                most = limits.import_upload_bytes_max
                await receive(stream, path, bytes_max=most, worker=self._worker)
                found = await self._survey(id_, request)
                await self.set_state(id_, _in_progress("Importing"))
                outcome.set_result(await self._perform(id_, _Ready(request, found)))
            except BaseException as error:
                if not outcome.done():
                    outcome.set_exception(error)
                raise

        self._spawn(id_, run())
        return await outcome

    async def perform(self, id_: str) -> None:
        """Carry out an import that waits to be confirmed; returns when it has begun.

        Raises:
            RequestError: there is none (ImportNotFound), or it does not wait (ImportNotWaiting).
        """

        def change(transaction: Transaction) -> None:
            job = self._find(transaction, id_)
            if _state(job) != "waiting_for_confirmation":
                msg = f"import {id_} is {_state(job)}: it does not wait to be confirmed"
                raise BadRequest(msg, code="ImportNotWaiting")
            update(transaction, job, _in_progress("Importing"))

        await write(self._engine, SOURCE, change)
        ready = self._ready.pop(id_)

        async def run() -> None:
            await self._perform(id_, ready)

        self._spawn(id_, run())

    async def cancel(self, id_: str) -> None:
        """Stop an import that has not ended; nothing of it stays.

        Raises:
            RequestError: there is none (ImportNotFound), or it has ended (ImportNotInProgress).
        """
        transaction = self._engine.begin(SOURCE)
        try:
            state = _state(self._find(transaction, id_))
        finally:
            transaction.close()
        task = self._tasks.get(id_)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if state not in _UNFINISHED or not await self._end(id_, _failed("it was canceled")):
            msg = f"import {id_} has ended already; there is nothing to cancel"
            raise BadRequest(msg, code="ImportNotInProgress")

    async def expire(self) -> None:
        """Fail imports that nobody confirms, and forget those that ended long ago."""
        await self.uploads.forget_old()
        now_ms = self._engine.host.now_ns() / 1e6

        def change(transaction: Transaction) -> list[str]:
            late = []
            for job in list(newest_first(transaction, system_tables.IMPORTS)):
                age_s = (now_ms - job[CREATION_TIME_FIELD]) / 1e3  # type: ignore[operator]
                if _state(job) not in _UNFINISHED:
                    if age_s > limits.export_kept_s:
                        transaction.delete(str(job[ID_FIELD]))
                elif (
                    _state(job) == "waiting_for_confirmation"
                    and age_s > limits.import_confirmation_s_max
                ):
                    late.append(str(job[ID_FIELD]))
            return late

        for id_ in await write(self._engine, SOURCE, change):
            await self._end(id_, _failed("nobody confirmed it in time"))

    # The steps of one.

    async def _new_job(self, request: ImportRequest) -> str:
        form: dict[str, Value] = {"format": _FORMAT_NAMES[request.form]}
        if request.table is not None:
            form["table"] = request.table
        document: Job = {
            "state": {"state": "uploaded"},
            "format": form,
            "mode": request.mode.value,
            "component_path": None,
            "checkpoints": [],
            "requestor": {"type": "snapshotImport"},
        }
        return await write(
            self._engine, SOURCE, lambda t: t.insert(system_tables.IMPORTS, document)
        )

    def _spawn(self, id_: str, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._engine.host.spawn(f"import {id_}", self._failing(id_, coroutine))
        self._tasks[id_] = task
        task.add_done_callback(lambda _: self._tasks.pop(id_, None))

    async def _failing(self, id_: str, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a step; whatever it raises, the import's document says so."""
        try:
            await coroutine
        except (CamberError, OSError) as error:
            await self._end(id_, _failed(_reason(error)))
        # Whoever waits for the import must not wait for ever.
        except Exception as error:  # noqa: BLE001  # told in the log and in the document
            _log.error("import %s failed", id_, exc_info=error)
            await self._end(id_, _failed("an internal error; the server's output says more"))

    async def _look(self, id_: str, request: ImportRequest) -> None:
        """Read the file once, and say what importing it would do."""
        found = await self._survey(id_, request)
        there = await self._worker.run(documents_there, self._engine)
        changes = _changes_of_tables(request.mode, found, there)
        filled = {table.name: there.get(table.name, 0) for table in found.tables}
        if request.mode is ImportMode.REQUIRE_EMPTY and any(filled.values()):
            names = ", ".join(repr(name) for name, count in filled.items() if count)
            msg = (
                f"these tables have documents already: {names}. Import with append to keep them, "
                "or with replace or replaceAll to remove them"
            )
            raise ImportRefused(msg, code="TableNotEmpty")
        if found.files is not None:
            stored = await self._worker.run(files_there, self._engine)
            changes += _changes_of_files(request.mode, found.files, stored)
        self._ready[id_] = _Ready(request, found)
        state: dict[str, Value] = {
            "state": "waiting_for_confirmation",
            "message_to_confirm": _summary(changes),
            "require_manual_confirmation": any(change.deleted for change in changes),
        }
        await self.set_state(id_, {"state": state})

    async def _survey(self, id_: str, request: ImportRequest) -> Survey:
        source = await self._open(id_, request)
        try:
            return await survey(source, self._engine.host, self._worker, _Unheard())
        finally:
            await self._worker.run(source.close)

    async def _open(self, id_: str, request: ImportRequest) -> Source:
        return await self._worker.run(open_source, self._file(id_), request.form, request.table)

    async def _perform(self, id_: str, ready: _Ready) -> int:
        source = await self._open(id_, ready.request)

        def completed(transaction: Transaction, documents: int) -> None:
            update(
                transaction,
                self._find(transaction, id_),
                {
                    "state": {
                        "state": "completed",
                        "timestamp": COMMIT_TS,
                        "num_rows_written": Int64(documents),
                    }
                },
            )

        try:
            count = await Import(
                engine=self._engine,
                releases=self._releases,
                files=self._stored_files,
                worker=self._worker,
                source=source,
                tables=ready.survey.tables,
                mode=ready.request.mode,
                progress=_Told(self, self._engine.host, id_),
            ).run(completed)
        finally:
            await self._worker.run(source.close)
        await self._remove_file(id_)
        return count

    async def set_state(self, id_: str, changes: Job) -> None:
        """Give an import's document other fields."""
        await write(self._engine, SOURCE, lambda t: update(t, self._find(t, id_), changes))

    async def _end(self, id_: str, changes: Job) -> bool:
        """Give an unfinished import its last state and remove its file; False if it had ended."""

        def change(transaction: Transaction) -> bool:
            job = self._find(transaction, id_)
            if _state(job) not in _UNFINISHED:
                return False
            update(transaction, job, changes)
            return True

        ended = await write(self._engine, SOURCE, change)
        if ended:
            self._ready.pop(id_, None)
        await self._remove_file(id_)
        return ended

    async def _remove_file(self, id_: str) -> None:
        path = self._file(id_)
        await self._worker.run(lambda: path.unlink(missing_ok=True))

    def _file(self, id_: str) -> Path:
        return self._folder / id_

    @staticmethod
    def _find(transaction: Transaction, id_: str) -> Job:
        job = find(transaction, system_tables.IMPORTS, id_)
        if job is None:
            msg = f"there is no import {id_}"
            raise RequestError(msg, code="ImportNotFound", kind=ErrorKind.NOT_FOUND)
        return job


class _Told:
    """Writes progress into an import's document, once a second at most."""

    def __init__(self, imports: Imports, host: Host, id_: str) -> None:
        self._imports = imports
        self._host = host
        self._id = id_
        self._last = host.monotonic()
        self._done: list[Value] = []

    async def now(self, text: str) -> None:
        now = self._host.monotonic()
        if now - self._last >= _PROGRESS_S:
            self._last = now
            await self._imports.set_state(self._id, _in_progress(text, self._done))

    def done(self, text: str) -> None:
        self._done.append(text)


class _Unheard:
    """Progress of what has no place to tell it: the state `uploaded` has no message."""

    async def now(self, text: str) -> None:
        del text

    def done(self, text: str) -> None:
        del text


def _state(job: Job) -> str:
    state = job["state"]
    assert isinstance(state, dict)
    return str(state["state"])


def _failed(reason: str) -> Job:
    return {"state": {"state": "failed", "error_message": reason}}


def _in_progress(text: str, done: Sequence[Value] = ()) -> Job:
    return {
        "state": {
            "state": "in_progress",
            "progress_message": text,
            "checkpoint_messages": list(done),
        }
    }


def _reason(error: BaseException) -> str:
    return error.sentence if isinstance(error, CamberError) else str(error) or type(error).__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """What an import does to a table, or to the stored files of a component: in documents, or files."""

    name: str
    created: int
    deleted: int
    there: int


def _changes_of_tables(mode: ImportMode, found: Survey, there: dict[str, int]) -> list[_Change]:
    """Return what becomes of the tables that get documents or lose them, by name."""
    created = {table.name: table.documents for table in found.tables}
    deleted: dict[str, int] = {}
    match mode:
        case ImportMode.REPLACE_ALL:
            deleted = dict(there)
        case ImportMode.REPLACE:
            deleted = {name: count for name, count in there.items() if name in created}
        case ImportMode.APPEND | ImportMode.REQUIRE_EMPTY:
            pass
    names = created.keys() | {name for name, count in deleted.items() if count}
    return [
        _Change(
            name=name,
            created=created.get(name, 0),
            deleted=deleted.get(name, 0),
            there=there.get(name, 0),
        )
        for name in sorted(names)
    ]


def _changes_of_files(
    mode: ImportMode, found: Mapping[str, frozenset[bytes]], there: Mapping[str, set[bytes]]
) -> list[_Change]:
    """Return what becomes of stored files, by component: those that are there already stay."""
    changes = []
    for component in sorted(found.keys() | there.keys()):
        come, are = found.get(component, frozenset()), there.get(component, set())
        gone = are - come if mode is ImportMode.REPLACE_ALL else set()
        if come or gone:
            changes.append(
                _Change(
                    name=f"{component}/{STORAGE_FOLDER}" if component else STORAGE_FOLDER,
                    created=len(come - are),
                    deleted=len(gone),
                    there=len(are),
                )
            )
    return changes


def _summary(changes: Sequence[_Change]) -> str:
    """Say for each table, and for stored files, how many would come and go."""
    rows = [("table", "create", "delete")]
    for each in changes:
        goes = f"{each.deleted} of {each.there}" if each.there else "0"
        rows.append((each.name, str(each.created), goes))
    widths = [max(len(row[at]) for row in rows) for at in range(3)]
    lines = [
        " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(1, "-" * (sum(widths) + 6))
    return "\n".join(["What the import would change:", *lines])
