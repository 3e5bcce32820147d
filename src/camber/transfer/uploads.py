"""Files on their way in: parts that become one file.

Uploads live as long as the process; what is left of them on disk is removed when the next begins.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from camber import limits
from camber.errors import BadRequest
from camber.host import Host, Worker

_TOKEN_BYTES = 16
#: Bytes copied at once when parts are joined.
_COPY_BYTES = 1024 * 1024


class UploadRefused(BadRequest):
    """A part or a token that does not belong to an upload, or one too many."""

    code = "InvalidUpload"


@dataclass(slots=True)
class _Part:
    path: Path
    token: str
    size: int


@dataclass(slots=True)
class _Upload:
    folder: Path
    begun: float
    parts: dict[int, _Part] = field(default_factory=dict)


class Uploads:
    """The uploads of one deployment; their parts lie in `folder`."""

    def __init__(self, *, host: Host, worker: Worker, folder: Path) -> None:
        self._host = host
        self._worker = worker
        self._folder = folder
        self._uploads: dict[str, _Upload] = {}

    async def begin(self) -> str:
        """Begin an upload and return its token. The oldest of too many is forgotten."""
        await self.forget_old()
        while len(self._uploads) >= limits.import_uploads_max:
            await self._forget(next(iter(self._uploads)))
        token = self._new_token()
        upload = _Upload(self._folder / token, self._host.monotonic())
        self._uploads[token] = upload
        await self._worker.run(upload.folder.mkdir, parents=True)
        return token

    async def add_part(self, token: str, number: int, stream: AsyncIterator[bytes]) -> str:
        """Take in a part and return its token. A part that is sent again replaces itself.

        Raises:
            UploadRefused: there is no such upload, or the part is one too many or too large.
        """
        upload = self._find(token)
        if not 1 <= number < limits.import_parts_max:
            msg = f"part {number}: parts are numbered from 1 to {limits.import_parts_max - 1}"
            raise UploadRefused(msg)
        others = sum(part.size for at, part in upload.parts.items() if at != number)
        most = min(limits.import_part_bytes_max, limits.import_upload_bytes_max - others)
        part_token = self._new_token()
        path = upload.folder / f"{number}-{part_token}"
        try:
            size = await receive(stream, path, bytes_max=most, worker=self._worker)
        except BaseException:
            await self._worker.run(_remove, path)
            raise
        replaced = upload.parts.get(number)
        upload.parts[number] = _Part(path, part_token, size)
        if replaced is not None:
            await self._worker.run(_remove, replaced.path)
        return part_token

    async def finish(self, token: str, part_tokens: Sequence[str], path: Path) -> None:
        """Join the parts, which must be those of `part_tokens` in order, to the file `path`.

        Raises:
            UploadRefused: there is no such upload, or a part is missing, or another was sent since.
        """
        upload = self._find(token)
        parts = [upload.parts[number] for number in sorted(upload.parts)]
        numbers = list(range(1, len(parts) + 1))
        if sorted(upload.parts) != numbers or [part.token for part in parts] != list(part_tokens):
            msg = (
                f"the part tokens do not fit: parts {sorted(upload.parts)} were received, and "
                f"{len(part_tokens)} tokens are named. Name the token of each part, in order"
            )
            raise UploadRefused(msg, code="InvalidPartTokens")
        del self._uploads[token]
        try:
            await self._worker.run(_join, [part.path for part in parts], path)
        finally:
            await self._worker.run(shutil.rmtree, upload.folder, ignore_errors=True)

    async def forget_old(self) -> None:
        """Forget uploads that have taken too long."""
        oldest = self._host.monotonic() - limits.import_upload_s_max
        for token, upload in list(self._uploads.items()):
            if upload.begun < oldest:
                await self._forget(token)

    async def _forget(self, token: str) -> None:
        upload = self._uploads.pop(token)
        await self._worker.run(shutil.rmtree, upload.folder, ignore_errors=True)

    def _find(self, token: str) -> _Upload:
        upload = self._uploads.get(token)
        if upload is None:
            msg = "there is no upload with this token: it has ended, or the server has; begin anew"
            raise UploadRefused(msg, code="InvalidUploadToken")
        return upload

    def _new_token(self) -> str:
        return self._host.random_bytes(_TOKEN_BYTES).hex()


async def receive(
    stream: AsyncIterator[bytes], path: Path, *, bytes_max: int, worker: Worker
) -> int:
    """Write a stream to a new file and return its size.

    Raises:
        UploadRefused: it has more than `bytes_max` bytes.
    """
    size = 0
    file: IO[bytes] = await worker.run(path.open, "wb")
    try:
        async for piece in stream:
            size += len(piece)
            if size > bytes_max:
                msg = f"the body is larger than {bytes_max} bytes, the most for this request"
                raise UploadRefused(msg, code="TooLarge")
            await worker.run(file.write, piece)
    finally:
        await worker.run(file.close)
    return size


def _join(parts: Sequence[Path], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not parts:
        path.touch()
        return
    with parts[0].open("ab") as first:
        for part in parts[1:]:
            with part.open("rb") as stream:
                shutil.copyfileobj(stream, first, _COPY_BYTES)
            part.unlink()
    parts[0].replace(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
