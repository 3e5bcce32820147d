"""Stored files of an import: their content taken in first, made files by the import's own commit."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

from camber.engine import file_ledger
from camber.engine.file_ledger import BlobState
from camber.engine.transaction import Transaction
from camber.errors import RequestError
from camber.host import Worker
from camber.runtime.files import BroughtFile, Expected, Files, SettledFile
from camber.transfer.sources import ImportRefused, Source, SourceFile
from camber.values.value import Value


class IncomingFiles:
    """The files of one import. `list`, `load`, `enter` and `close`, each once."""

    def __init__(self, *, files: Files, source: Source, worker: Worker) -> None:
        self._files = files
        self._source = source
        self._worker = worker
        self._listed: list[SourceFile] = []
        self._settled: list[SettledFile] = []
        self._has_entered = False

    async def list(self) -> None:
        """Find out which files there are.

        Raises:
            ImportRefused: something is wrong with them.
        """
        self._listed = await self._worker.run(self._source.files)

    @property
    def components(self) -> set[str]:
        """Return whose files they are."""
        return {file.component for file in self._listed}

    @property
    def new_ids(self) -> dict[str, str]:
        """Return the ids of files that get others here, since files have another number there."""
        new = {file.id: file_ledger.file_id(file.internal) for file in self._listed}
        return {old: id_ for old, id_ in new.items() if id_ != old}

    async def load(self) -> None:
        """Take their content in; those that are there already stay as they are.

        Raises:
            ImportRefused: one cannot be stored.
        """
        for file in self._listed:
            try:
                await self._load(file)
            except RequestError as error:
                msg = f"{file.place}: the file {file.id} cannot be stored: {error.sentence}"
                raise ImportRefused(msg, code=error.code) from error

    async def _load(self, file: SourceFile) -> None:
        arrival = await self._files.arrive_from_import(
            BroughtFile(internal=file.internal, component=file.component, url=file.url),
            Expected(content_type=file.content_type, sha256=file.sha256, size=file.size),
        )
        if arrival is None:
            return
        try:
            with closing(self._source.content(file)) as pieces:
                while piece := await self._worker.run(next, pieces, b""):
                    await arrival.write(piece)
            self._settled.append(await arrival.settle(file.creation_time))
        finally:
            await arrival.abandon()

    def enter(self, transaction: Transaction) -> None:
        """Make files of what was taken in."""
        for file in self._settled:
            file.enter(transaction)

    def remove_others(self, transaction: Transaction) -> None:
        """Delete all files that the import does not have, whose they ever are, if it has any."""
        if not self._source.has_files:
            return
        brought = {file.internal for file in self._listed}
        for entry in file_ledger.entries_in(transaction, BlobState.STORED):
            if entry.internal not in brought:
                file_ledger.leaving(transaction, entry)

    def entered(self) -> None:
        """Note that the commit has happened."""
        self._has_entered = True
        self._files.entered(self._settled)

    async def close(self) -> None:
        """Let go of what was taken in and has not become a file."""
        if not self._has_entered:
            for file in self._settled:
                await self._files.give_up(file.entry)


def renamed(value: Value, ids: Mapping[str, str]) -> Value:
    """Return a value in which some ids are replaced by others, wherever they stand."""
    if isinstance(value, str):
        return ids.get(value, value)
    if isinstance(value, list):
        return [renamed(item, ids) for item in value]
    if isinstance(value, dict):
        return {name: renamed(item, ids) for name, item in value.items()}
    return value
