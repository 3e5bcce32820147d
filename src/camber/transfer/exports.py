"""Snapshot exports: requested, written in the background, kept for a while, removed.

Everything is read at one timestamp, through the history that a pin keeps; commits go on meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from camber import limits
from camber.engine import system_tables
from camber.engine.catalog import ID_FIELD, Catalog, TableEntry
from camber.engine.engine import Engine
from camber.engine.transaction import Transaction
from camber.engine.writing import write
from camber.errors import BadRequest, CamberError, ErrorKind, OutOfRetention, RequestError
from camber.runtime.files import Files
from camber.transfer.jobs import Job, find, newest_first, update
from camber.transfer.snapshot_writer import SnapshotWriter
from camber.values.ids import InvalidId, decode_id
from camber.values.paths import is_within
from camber.values.value import Int64

_log = logging.getLogger("camber.transfer")

_SOURCE: Final = "export"
_UNFINISHED: Final = frozenset({"requested", "in_progress"})
#: Between two progress messages, each of which is a commit.
_PROGRESS_S: Final = 1.0
_NS: Final = 1_000_000_000


class Exports:
    """The exports of one deployment; their files lie in `folder`."""

    def __init__(self, *, engine: Engine, files: Files, folder: Path) -> None:
        self._engine = engine
        self._files = files
        self._folder = folder
        self._worker = engine.host.worker("camber-export")
        self._task: asyncio.Task[None] | None = None

    async def recover(self) -> None:
        """Fail what was under way when the last process ended, and remove files of no export."""

        def change(transaction: Transaction) -> set[str]:
            kept = set()
            for job in newest_first(transaction, system_tables.EXPORTS):
                if job["state"] in _UNFINISHED:
                    update(transaction, job, self._failed("the server ended during the export"))
                elif job["state"] == "completed":
                    kept.add(str(job["zip_object_key"]))
            return kept

        kept = await write(self._engine, _SOURCE, change)
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                if path.name not in kept:
                    path.unlink()

    async def close(self) -> None:
        """End what runs; the next process calls it failed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._worker.close()

    async def request(self, *, include_storage: bool, component: str = "") -> str:
        """Ask for an export and return its id; it is written in the background.

        Of a component, if one is named, with all that is mounted in it; else of everything.

        Raises:
            BadRequest: one is on its way (code ExportInProgress).
        """

        def change(transaction: Transaction) -> str:
            newest = next(newest_first(transaction, system_tables.EXPORTS), None)
            if newest is not None and newest["state"] in _UNFINISHED:
                msg = "an export is on its way; wait until it has finished, or cancel it"
                raise BadRequest(msg, code="ExportInProgress")
            expiration = self._engine.host.now_ns() + int(limits.export_kept_s * _NS)
            return transaction.insert(
                system_tables.EXPORTS,
                {
                    "state": "requested",
                    "format": {"format": "zip", "include_storage": include_storage},
                    "component": component or None,
                    "requestor": "snapshotExport",
                    "expiration_ts": Int64(expiration),
                },
            )

        id_ = await write(self._engine, _SOURCE, change)
        self._task = self._engine.host.spawn(f"export {id_}", self._run(id_))
        return id_

    async def cancel(self, id_: str) -> None:
        """Stop an export that has not finished.

        Raises:
            RequestError: there is none (ExportNotFound), or it has finished (ExportNotInProgress).
        """
        if self._read(id_)["state"] not in _UNFINISHED:
            msg = f"export {id_} has finished already; there is nothing to cancel"
            raise BadRequest(msg, code="ExportNotInProgress")
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

        def change(transaction: Transaction) -> bool:
            job = find(transaction, system_tables.EXPORTS, id_)
            if job is None or job["state"] not in _UNFINISHED:
                return False
            canceled = Int64(self._engine.host.now_ns())
            start = job.get("start_ts")
            update(
                transaction,
                job,
                {"state": "canceled", "canceled_ts": canceled, "start_ts": start},
            )
            return True

        if await write(self._engine, _SOURCE, change):
            (self._folder / _file_name(id_)).unlink(missing_ok=True)

    async def set_expiration(self, id_: str, expiration_ns: int) -> None:
        """Keep a finished export until `expiration_ns`.

        Raises:
            RequestError: there is none (ExportNotFound), or it has no file (ExportNotComplete).
        """
        self._completed(self._read(id_))

        def change(transaction: Transaction) -> None:
            job = find(transaction, system_tables.EXPORTS, id_)
            if job is not None:
                update(transaction, job, {"expiration_ts": Int64(expiration_ns)})

        await write(self._engine, _SOURCE, change)

    def file(self, name: str) -> tuple[Path, int]:
        """Return the file of an export and its timestamp; `name` is its id or that timestamp.

        Raises:
            RequestError: `name` is neither (BadSnapshotId), or there is no such export
                (ExportNotFound), or it has no file (ExportNotComplete).
        """
        job = self._at(int(name)) if _is_timestamp(name) else self._read(name)
        self._completed(job)
        path = self._folder / str(job["zip_object_key"])
        if not path.is_file():
            raise _not_found(name)
        return path, int(job["start_ts"])  # type: ignore[arg-type]

    async def expire(self) -> None:
        """Remove exports whose time is over, files and documents."""
        now = self._engine.host.now_ns()

        def change(transaction: Transaction) -> list[str]:
            keys = []
            for job in list(newest_first(transaction, system_tables.EXPORTS)):
                expiration = job["expiration_ts"]
                assert isinstance(expiration, Int64)
                if expiration <= now and job["state"] not in _UNFINISHED:
                    transaction.delete(str(job[ID_FIELD]))
                    keys.append(str(job.get("zip_object_key", "")))
            return [key for key in keys if key]

        for key in await write(self._engine, _SOURCE, change):
            (self._folder / key).unlink(missing_ok=True)

    # Reading the documents.

    def _read(self, id_: str) -> Job:
        try:
            decode_id(id_)
        except InvalidId:
            msg = f"{id_!r} is neither the id nor the timestamp of an export"
            raise BadRequest(msg, code="BadSnapshotId") from None
        transaction = self._engine.begin(_SOURCE)
        try:
            job = find(transaction, system_tables.EXPORTS, id_)
        finally:
            transaction.close()
        if job is None:
            raise _not_found(id_)
        return job

    def _at(self, ts: int) -> Job:
        transaction = self._engine.begin(_SOURCE)
        try:
            for job in newest_first(transaction, system_tables.EXPORTS):
                if job.get("start_ts") == Int64(ts):
                    return job
        finally:
            transaction.close()
        raise _not_found(str(ts))

    @staticmethod
    def _completed(job: Job) -> None:
        if job["state"] != "completed":
            msg = f"export {job[ID_FIELD]!s} is {job['state']!s}: it has no file"
            raise BadRequest(msg, code="ExportNotComplete")

    # Writing one.

    async def _run(self, id_: str) -> None:
        try:
            await self._export(id_)
        except OutOfRetention:
            msg = "too much was written during the export for its moment to be kept; try again"
            await self._set(id_, self._failed(msg))
        except (OSError, CamberError) as error:
            await self._set(id_, self._failed(str(error)))
        # Whoever waits for the export must not wait for ever.
        except Exception as error:  # noqa: BLE001  # told in the log and in the document
            _log.error("export %s failed", id_, exc_info=error)
            await self._set(id_, self._failed("an internal error; the server's output says more"))

    async def _export(self, id_: str) -> None:
        # One moment, and the tables of that moment.
        ts, catalog = self._engine.newest_ts, self._engine.catalog
        with self._engine.pin(ts), self._files.keeping():
            job = await self._set(
                id_,
                {"state": "in_progress", "start_ts": Int64(ts), "progress_message": None},
            )
            form: Any = job["format"]
            component = str(job.get("component") or "")
            name = _file_name(id_)
            writer = SnapshotWriter(
                store=self._engine.store,
                ts=ts,
                tables=_tables_below(catalog, component),
                component=component,
                path=self._folder / name,
                content=self._files.blob if form["include_storage"] else None,
            )
            try:
                await self._worker.run(writer.begin)
                await self._write(id_, writer)
                size = await self._worker.run(writer.finish)
            except BaseException:
                await asyncio.shield(self._worker.run(writer.abandon))
                raise
        missing = writer.missing
        if missing:
            _log.warning(
                "export %s lacks %d files, whose content is gone: %s",
                id_,
                len(missing),
                ", ".join(missing),
            )
        complete: Job = {
            # None of them is no field at all, as in exports of before.
            **_missing_fields(missing),
            "state": "completed",
            "complete_ts": Int64(self._engine.host.now_ns()),
            "zip_object_key": name,
            "size": Int64(size),
            "progress_message": None,
        }
        await self._set(id_, complete)

    async def _write(self, id_: str, writer: SnapshotWriter) -> None:
        told = self._engine.host.monotonic()
        while await self._worker.run(writer.step):
            now = self._engine.host.monotonic()
            if now - told >= _PROGRESS_S:
                told = now
                text = f"Exporting {writer.table} ({writer.written} so far)"
                await self._set(id_, {"progress_message": text})

    async def _set(self, id_: str, changes: Job) -> Job:
        def change(transaction: Transaction) -> Job:
            job = find(transaction, system_tables.EXPORTS, id_)
            assert job is not None
            return update(transaction, job, changes)

        return await write(self._engine, _SOURCE, change)

    def _failed(self, reason: str) -> Job:
        return {
            "state": "failed",
            "failed_ts": Int64(self._engine.host.now_ns()),
            "error_message": reason,
        }


def _missing_fields(missing: Sequence[str]) -> Job:
    """Return what an export's document says of files that it lacks."""
    if not missing:
        return {}
    return {
        "missing_files": Int64(len(missing)),
        "missing_file_ids": list(missing[: limits.export_missing_told]),
    }


def _file_name(id_: str) -> str:
    return f"{id_}.zip"


def _is_timestamp(name: str) -> bool:
    # Ids have 31 characters or more; no timestamp has more than 19 digits.
    return len(name) < 20 and name.isascii() and name.isdigit()


def _not_found(name: str) -> RequestError:
    msg = f"there is no export {name}, or its file has expired"
    return RequestError(msg, code="ExportNotFound", kind=ErrorKind.NOT_FOUND)


def _tables_below(catalog: Catalog, component: str) -> list[TableEntry]:
    """Return the user tables of a component and of what is mounted in it."""
    return [
        table
        for table in catalog.tables()
        if not table.is_system and is_within(table.component, component)
    ]
