"""A client that uploads files and deletes them, and what must have become of them in the end."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

from camber.deployment.deployment import Deployment
from camber.engine import file_ledger, system_tables
from camber.engine.file_ledger import BlobState
from camber.files.memory import MemoryBlobs
from tests.engine.harness import rows
from tests.simulation.loop import Machine, SimulatedLoop
from tests.simulation.network import Lost, Network, Refused

#: How often an upload is tried again before its client gives it up.
_ATTEMPTS = 8
#: Whose files there are: the application's, and those of what it has mounted.
_MOUNTS: Final = (None, "left", "right")


@dataclass(frozen=True)
class Stored:
    """A file as its client knows it: what it holds, and whose it is."""

    content: str
    mount: str | None


@dataclass
class FileClient:
    """One client, on a machine of its own. It tries again until it knows how it went."""

    name: str
    loop: SimulatedLoop
    network: Network
    chance: random.Random
    files_left: int
    pause_s: float
    #: Files that it was told of, with what they hold, and those that it was told are deleted.
    stored: dict[str, Stored] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    #: URLs that it has uploaded to, and that are good for nothing any more.
    used: list[str] = field(default_factory=list)
    #: Uploads and deletions that were begun, and of which it knows nothing.
    doubtful: set[str] = field(default_factory=set)
    doubtful_uploads: int = 0
    breaches: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.machine = Machine(self.name, self.loop)
        self.machine.start(self._act(), f"{self.name} acts")

    @property
    def is_settled(self) -> bool:
        """Return whether it has done all that it wants to do."""
        return not self.files_left

    async def _act(self) -> None:
        while self.files_left:
            await asyncio.sleep(self.chance.uniform(0, 4 * self.pause_s))
            roll = self.chance.random()
            if self.stored and roll < 0.4:
                await self._delete(self.chance.choice(sorted(self.stored)))
            elif self.used and roll < 0.5:
                await self._use_again(self.chance.choice(self.used))
            elif self.stored and roll < 0.55:
                await self._delete_as_another(self.chance.choice(sorted(self.stored)))
            else:
                await self._upload(f"{self.name} {self.files_left}", self.chance.choice(_MOUNTS))
            self.files_left -= 1

    async def _upload(self, content: str, mount: str | None) -> None:
        made = await self._asked("/api/mutation", path="exchange:upload_url", args={"mount": mount})
        if made is None or made["status"] != "success":
            return
        url = made["value"].partition("?")[2]
        has_sent = False
        for _ in range(_ATTEMPTS):
            try:
                status, text = await self.network.request(
                    self.machine, f"/api/storage/upload?{url}", content
                )
            except Lost:
                has_sent = True
                continue
            except Refused:
                await asyncio.sleep(self.chance.uniform(0, 1))
                continue
            answer = json.loads(text)
            # A server that fails may have done it.
            has_sent = has_sent or status >= 500
            if status == 200:
                self.stored[answer["storageId"]] = Stored(content, mount)
                self.used.append(url)
                return
            if answer["code"] == "StorageTokenUsed" and not has_sent:
                self.breaches.append(f"{self.name}: a URL was used by somebody else")
            if answer["code"] == "StorageTokenUsed":
                self.used.append(url)
                break
            await asyncio.sleep(self.chance.uniform(0, 1))
        self.doubtful_uploads += 1

    async def _use_again(self, url: str) -> None:
        """Upload to a URL that is used up, also by a file that has been deleted."""
        try:
            status, text = await self.network.request(
                self.machine, f"/api/storage/upload?{url}", f"{self.name} once more"
            )
        except (Lost, Refused):
            return
        if status == 200:
            self.breaches.append(f"{self.name}: a URL was good for a second file, {text}")

    async def _delete_as_another(self, file: str) -> None:
        """Delete a file in the name of somebody whose it is not."""
        others = [mount for mount in _MOUNTS if mount != self.stored[file].mount]
        answer = await self._asked_to_delete(file, self.chance.choice(others))
        if answer is not None and answer["status"] == "success":
            self.breaches.append(f"{self.name}: {file} was deleted by somebody else")

    async def _asked_to_delete(self, file: str, mount: str | None) -> dict[str, Any] | None:
        return await self._asked(
            "/api/mutation", path="exchange:remove_file", args={"mount": mount, "id": file}
        )

    async def _delete(self, file: str) -> None:
        self.doubtful.add(file)
        stored = self.stored.pop(file)
        for _ in range(_ATTEMPTS):
            answer = await self._asked_to_delete(file, stored.mount)
            if answer is not None and (
                answer["status"] == "success" or "StorageIdNotFound" in answer["errorMessage"]
            ):
                self.deleted.add(file)
                self.doubtful.discard(file)
                return

    async def _asked(self, endpoint: str, /, **body: Any) -> dict[str, Any] | None:
        try:
            status, answer = await self.network.request(self.machine, endpoint, json.dumps(body))
        except Lost:
            return None
        except Refused:
            await asyncio.sleep(self.chance.uniform(0, 1))
            return None
        found: dict[str, Any] = json.loads(answer)
        return found if status == 200 else None


def is_swept(deployment: Deployment) -> bool:
    """Return whether nothing waits to be removed, and nothing is on its way."""
    with closing(deployment.engine.begin("verdict")) as transaction:
        return not any(
            file_ledger.entries_in(transaction, state)
            for state in (BlobState.ARRIVING, BlobState.LEAVING)
        )


def judged_files(
    deployment: Deployment, blobs: MemoryBlobs, clients: list[FileClient]
) -> Iterator[str]:
    """Yield what is wrong with the files, once nothing goes on any more."""
    with closing(deployment.engine.begin("verdict")) as transaction:
        entries = {
            entry.file: entry for entry in file_ledger.entries_in(transaction, BlobState.STORED)
        }
        facts = {file: file_ledger.facts_of(transaction, file) for file in entries}
        documents = {str(each["_id"]) for each in rows(transaction, system_tables.STORAGE)}
    told: set[str] = set()
    for client in clients:
        yield from client.breaches
        told |= client.stored.keys() | client.deleted | client.doubtful
        for file, stored in client.stored.items():
            if file not in entries:
                yield f"the file {file} was acknowledged, and is lost"
            elif _content(blobs, entries[file].key, len(stored.content)) != stored.content:
                yield f"the file {file} holds something else than {stored.content!r}"
            elif entries[file].component != (stored.mount or ""):
                yield f"the file {file} of {stored.mount} is {entries[file].component}'s"
        for file in sorted(client.deleted & entries.keys()):
            yield f"the file {file} was deleted, and is there"
    unknown = entries.keys() - told
    if len(unknown) > sum(client.doubtful_uploads for client in clients):
        yield f"{len(unknown)} files are there that nobody has uploaded"
    for file in sorted(file for file, known in facts.items() if known is None):
        yield f"the file {file} is in the ledger alone"
    for file in sorted(documents - entries.keys()):
        yield f"the file {file} has a document, and is not in the ledger"
    for key in sorted(blobs.keys ^ {entry.key for entry in entries.values()}):
        yield f"the blob {key} {'belongs to no file' if key in blobs.keys else 'is missing'}"


def _content(blobs: MemoryBlobs, key: str, size: int) -> str | None:
    if key not in blobs.keys:
        return None
    return blobs.read(key, 0, size + 1).read().decode()
