"""Pushing releases over HTTP: `camber deploy`'s side of a server. See docs/deploying.md.

An upload is written to a file and then pushed; the answer is a line of JSON for each stage, and a
last one with the result or the error. Nobody who leaves half way leaves something half done.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from camber import limits
from camber.deployment.deploying import Deployer, Drops, Step, Tell, Wish
from camber.deployment.deployment import Deployment
from camber.errors import BadRequest, CamberError, ErrorKind, RequestError
from camber.functions.loading import LoadError
from camber.identity.operations import Operation
from camber.releases.failures import PushFailed
from camber.releases.push import PushMode, PushReport
from camber.releases.records import ReleaseRecord
from camber.server.admin import admin_of
from camber.server.errors import json_response
from camber.values.wire import BadJson, decode_json, encode_json

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_FLAGS: Final = {"true": True, "false": False}
#: An empty line is sent after this long, in seconds, so that no proxy takes the push for dead.
_SILENCE_S_MAX: Final = 15.0

_log = logging.getLogger("camber.server")

Push = Callable[[Tell], Awaitable[PushReport]]


class _RollbackBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    release: int | None = None
    message: str = ""
    dry_run: bool = False
    drop_large_indexes: bool = False


class DeployApi:
    """Takes releases in for one deployment."""

    def __init__(self, deployment: Deployment, deployer: Deployer | None) -> None:
        self._deployment = deployment
        self._deployer = deployer

    def routes(self) -> list[BaseRoute]:
        """Return the routes of docs/deploying.md."""
        return [
            Route("/api/deploy", self._upload, methods=["POST"]),
            Route("/api/deploy/rollback", self._roll_back, methods=["POST"]),
            Route("/api/deploy/releases", self._releases, methods=["GET"]),
        ]

    async def _upload(self, request: Request) -> Response:
        deployer = self._allowed(request)
        digest = request.query_params.get("digest", "")
        if not _DIGEST.fullmatch(digest):
            msg = f"?digest= is the SHA-256 of the release's files, in hex, not {digest[:100]!r}"
            raise BadRequest(msg)
        wish = _wish(
            message=request.query_params.get("message", ""),
            dry_run=_flag(request, "dry_run"),
            drop_large_indexes=_flag(request, "drop_large_indexes"),
        )
        archive = deployer.kept.partial()
        try:
            await _receive(request, archive)
        except BaseException:
            archive.unlink(missing_ok=True)
            raise

        async def push(tell: Tell) -> PushReport:
            try:
                return await deployer.upload(archive, digest, wish, tell)
            finally:
                archive.unlink(missing_ok=True)

        return self._answer(push)

    async def _roll_back(self, request: Request) -> Response:
        deployer = self._allowed(request)
        try:
            body = msgspec.convert(decode_json(await request.body()), _RollbackBody)
        except (BadJson, msgspec.ValidationError) as error:
            raise BadRequest(f"the body: {error}") from None
        wish = _wish(
            message=body.message,
            dry_run=body.dry_run,
            drop_large_indexes=body.drop_large_indexes,
        )
        return self._answer(lambda tell: deployer.roll_back(body.release, wish, tell))

    async def _releases(self, request: Request) -> Response:
        deployer = self._allowed(request)
        records = deployer.history()
        rows = [
            _release(record, kept=deployer.kept.has(record.digest), serves=index == 0)
            for index, record in enumerate(records)
        ]
        return json_response(encode_json({"releases": rows}))

    def _allowed(self, request: Request) -> Deployer:
        admin_of(request, self._deployment, Operation.DEPLOY)
        if self._deployer is None:
            msg = (
                "this server pushes the folder that it was started with, and takes no releases; "
                "`camber start` does"
            )
            raise RequestError(msg, code="TakesNoReleases", kind=ErrorKind.CONFLICT)
        return self._deployer

    def _answer(self, push: Push) -> Response:
        return StreamingResponse(self._lines(push), media_type="application/x-ndjson")

    async def _lines(self, push: Push) -> AsyncIterator[bytes]:
        steps = _Steps()
        pushing = self._deployment.host.spawn("deploy", _told(push, steps.tell))
        pushing.add_done_callback(lambda _: steps.changed.set())
        try:
            while not pushing.done():
                try:
                    async with asyncio.timeout(_SILENCE_S_MAX):
                        await steps.changed.wait()
                except TimeoutError:
                    yield b"\n"
                    continue
                steps.changed.clear()
                if steps.last is not None:
                    yield _line(_step(steps.last))
            yield _line(pushing.result())
        finally:
            # A client that has left wants no push that it does not hear of. One that switches over
            # at this moment is not cut in two: it is, or it is not.
            pushing.cancel()


class _Steps:
    """The last step of a push: a client that reads slowly is not told of each."""

    def __init__(self) -> None:
        self.last: Step | None = None
        self.changed = asyncio.Event()

    def tell(self, step: Step) -> None:
        """Note a step."""
        self.last = step
        self.changed.set()


async def _receive(request: Request, file: Path) -> None:
    """Write the body of a request to a file.

    Raises:
        RequestError: it is too large, or ended early.
    """
    received = 0
    try:
        with file.open("xb") as stream:
            async for piece in request.stream():
                received += len(piece)
                if received > limits.release_archive_bytes_max:
                    msg = (
                        f"the archive has more than {limits.release_archive_bytes_max // 1024**2} "
                        "MiB, the most for one release. Take out of [tool.camber] include what "
                        "functions do not need"
                    )
                    raise BadRequest(msg, code="ReleaseTooLarge")
                await asyncio.to_thread(stream.write, piece)
    except ClientDisconnect:
        msg = "the upload ended early; nothing was pushed"
        raise RequestError(msg, code="ClientDisconnect", kind=ErrorKind.CLIENT_DISCONNECT) from None


async def _told(push: Push, tell: Tell) -> dict[str, Any]:
    """Return the last line of an answer. What is a bug of ours goes to the log, with its place."""
    try:
        report = await push(tell)
    except LoadError as error:
        return _failure("LoadError", str(error), place=error.place)
    except PushFailed as error:
        return _failure(error.code, str(error))
    except CamberError as error:
        return _failure(error.code, error.sentence)
    except OSError as error:
        return _failure("ServerFailed", f"the server cannot keep the release: {error}")
    except Exception:  # noqa: BLE001  # told to the client, and logged
        _log.exception("a push met a bug")
        return _failure("InternalServerError", "the server failed to push; its output says why")
    return {"result": _report(report)}


def _failure(code: str, message: str, **more: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, **more}}


def _line(value: dict[str, Any]) -> bytes:
    return encode_json(value) + b"\n"


def _step(step: Step) -> dict[str, Any]:
    progress = step.progress
    if progress is None:
        return {"stage": step.stage.value}
    return {
        "stage": step.stage.value,
        "documentsChecked": progress.documents_checked,
        "documentsIndexed": progress.documents_indexed,
        "indexesBuilt": progress.indexes_built,
        "indexesTotal": progress.indexes_total,
    }


def _report(report: PushReport) -> dict[str, Any]:
    changes = report.changes
    return {
        "release": report.release,
        "dryRun": report.mode is PushMode.DRY_RUN,
        "functions": len(report.analysis.functions),
        "functionsAdded": list(changes.functions_added),
        "functionsRemoved": list(changes.functions_removed),
        "tablesAdded": list(changes.tables_added),
        "tablesRemoved": list(changes.tables_removed),
        "indexesBuilt": list(report.indexes_built),
        "indexesStaged": list(report.indexes_staged),
        "indexesEnabled": list(report.indexes_enabled),
        "indexesDropped": list(report.indexes_dropped),
        "providersAdded": list(changes.providers_added),
        "providersRemoved": list(changes.providers_removed),
        "notes": list(report.notes),
    }


def _release(record: ReleaseRecord, *, kept: bool, serves: bool) -> dict[str, Any]:
    changes = record.changes
    return {
        "release": record.number,
        "time": record.time_ms,
        "digest": record.digest,
        "origin": record.origin,
        "message": record.message,
        "serves": serves,
        "isKept": kept,
        "functions": len(record.functions),
        "functionsAdded": list(changes.functions_added),
        "functionsRemoved": list(changes.functions_removed),
        "tablesAdded": list(changes.tables_added),
        "tablesRemoved": list(changes.tables_removed),
        "indexesAdded": list(changes.indexes_added),
        "indexesRemoved": list(changes.indexes_removed),
        "providersAdded": list(changes.providers_added),
        "providersRemoved": list(changes.providers_removed),
    }


def _wish(*, message: str, dry_run: bool, drop_large_indexes: bool) -> Wish:
    if len(message.encode()) > limits.release_message_bytes_max:
        msg = f"the message has more than {limits.release_message_bytes_max} bytes"
        raise BadRequest(msg)
    return Wish(
        mode=PushMode.DRY_RUN if dry_run else PushMode.SWITCH,
        message=message,
        drops=Drops.ALLOW if drop_large_indexes else Drops.REFUSE,
    )


def _flag(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "false")
    if text not in _FLAGS:
        raise BadRequest(f"?{name}= is true or false, not {text[:100]!r}")
    return _FLAGS[text]
