"""Reading the log of functions over HTTP (protocol 8.5): what was kept, then what follows.

A reader asks for what lies after its cursor and is answered at once, or held until there is
something. It asks again with the cursor of the answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, assert_never

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from camber import limits
from camber.deployment.deployment import Deployment
from camber.engine.transaction import Usage
from camber.errors import BadRequest, RequestError
from camber.functions.definition import FunctionKind
from camber.functions.logs import LogLine
from camber.identity.operations import Operation
from camber.runtime.executor import SessionRequest
from camber.runtime.function_log import Completion, Conflict, Entry, FunctionLog, Progress
from camber.runtime.runtime import session_request_id
from camber.server.admin import admin_of
from camber.server.client_version import parse_client_header
from camber.server.errors import json_response
from camber.values.wire import encode_json

#: Clients that take log lines apart; others get each as one text.
_STRUCTURED = frozenset({"npm-cli", "dashboard", "camber-cli"})
_KIND = {
    FunctionKind.QUERY: "Query",
    FunctionKind.MUTATION: "Mutation",
    FunctionKind.ACTION: "Action",
    FunctionKind.HTTP_ACTION: "HttpAction",
}

Wanted = Callable[[Entry], bool]


class LogApi:
    """Answers those who follow the log of one deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._log = deployment.runtime.log

    def routes(self) -> list[BaseRoute]:
        """Return the two routes of protocol 8.5."""
        return [
            Route("/api/stream_function_logs", self._function_logs, methods=["GET"]),
            Route("/api/stream_udf_execution", self._executions, methods=["GET"]),
        ]

    async def _function_logs(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.VIEW_LOGS)
        return await self._answer(request, _of_request(request))

    async def _executions(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.VIEW_LOGS)
        return await self._answer(request, lambda entry: isinstance(entry, Completion))

    async def _answer(self, request: Request, wanted: Wanted) -> Response:
        client = parse_client_header(request.headers.get("convex-client"))
        cursor_ms = _cursor(request)
        entries = await self._after(cursor_ms, wanted, hold_s=_hold_s(request))
        # Whoever waited may hold a key that was revoked meanwhile.
        admin_of(request, self._deployment, Operation.VIEW_LOGS)
        newest_ms = entries[-1].key / 1000 if entries else cursor_ms
        show = entry_json if client.name in _STRUCTURED else _entry_of_texts
        shown = [show(entry, self._log) for entry in entries]
        return json_response(encode_json({"entries": shown, "newCursor": newest_ms}))

    async def _after(self, cursor_ms: float, wanted: Wanted, *, hold_s: float) -> Sequence[Entry]:
        """Return what there is after a cursor; wait for it a while if there is nothing."""
        host = self._deployment.host
        give_up_s = host.monotonic() + hold_s
        seen_ms = cursor_ms
        while True:
            if self._log.is_closed:
                # A status that makes readers ask again, of the server that is started next.
                msg = "the server is ending; ask again"
                raise RequestError(msg, code="InternalServerError")
            entries = self._log.after(seen_ms)
            found = [entry for entry in entries if wanted(entry)]
            left_s = give_up_s - host.monotonic()
            if found or left_s <= 0:
                return found
            if entries:
                seen_ms = entries[-1].key / 1000
            await self._log.more(left_s)


def _cursor(request: Request) -> float:
    text = request.query_params.get("cursor")
    try:
        cursor_ms = float(text or "")
    except ValueError:
        cursor_ms = math.nan
    if not math.isfinite(cursor_ms):
        msg = (
            f"the parameter cursor is a number of milliseconds, not {text!r}: 0 at first, then "
            "the newCursor of the last answer"
        )
        raise BadRequest(msg, code="BadCursor")
    return cursor_ms


def _hold_s(request: Request) -> float:
    """Return how long to wait for something: a parameter of ours, for who only looks once."""
    text = request.query_params.get("hold")
    if text is None:
        return limits.function_log_hold_s
    if not text.isdecimal() or int(text) > limits.function_log_hold_s:
        msg = f"the parameter hold is 0 to {limits.function_log_hold_s:.0f} seconds, not {text!r}"
        raise BadRequest(msg, code="BadHold")
    return int(text)


def _of_request(request: Request) -> Wanted:
    """Return what tells the entries of one client's request, if it asks for those, or all."""
    session = request.query_params.get("sessionId")
    counter = request.query_params.get("clientRequestCounter")
    if session is None and counter is None:
        return lambda entry: True
    if session is None or counter is None or not counter.isdecimal():
        msg = "give both sessionId and clientRequestCounter, a whole number, or neither"
        raise BadRequest(msg, code="BadRequestFilter")
    asked = SessionRequest(session=session.lower(), request=int(counter))
    request_id = session_request_id(asked)
    return lambda entry: entry.request_id == request_id


def entry_json(entry: Entry, log: FunctionLog) -> dict[str, Any]:
    """Return an entry as those have it who take its lines apart."""
    shown = {
        "kind": type(entry).__name__,
        "udfType": _KIND[entry.kind],
        "componentPath": entry.component or None,
        "identifier": entry.path,
        "logLines": [_line(line) for line in entry.lines],
        "timestamp": entry.key / 1e6,
        "requestId": entry.request_id,
        "executionId": log.execution_id(entry),
    }
    match entry:
        case Progress():
            return shown
        case Completion():
            return {
                **shown,
                "cachedResult": entry.cached,
                "caller": entry.origin.value,
                "parentExecutionId": entry.parent_execution_id,
                "executionTime": entry.duration_s,
                "userExecutionTime": entry.user_s,
                "success": None if entry.status is None else {"status": str(entry.status)},
                "error": entry.error,
                "usageStats": _usage(entry.usage),
                "returnBytes": float(entry.return_bytes),
                "occInfo": _conflict(entry.conflict, entry.retries),
                # An attempt that lost to another commit is no entry of its own.
                "willRetry": False,
                "mutationRetryCount": entry.retries,
                "executionTimestamp": entry.started_ns / 1e9,
                "identityType": entry.identity_type,
                "environment": "isolate",
            }
        case _:
            assert_never(entry)


def _entry_of_texts(entry: Entry, log: FunctionLog) -> dict[str, Any]:
    return {**entry_json(entry, log), "logLines": [line.text for line in entry.lines]}


def _line(line: LogLine) -> dict[str, Any]:
    return {
        "messages": line.messages,
        "level": line.level,
        "timestamp": line.timestamp_ms,
        "isTruncated": line.is_truncated,
    }


def _conflict(conflict: Conflict | None, retries: int) -> dict[str, Any] | None:
    if conflict is None:
        return None
    return {
        "tableName": conflict.table,
        "documentId": None,
        "writeSource": conflict.source,
        "retryCount": retries,
    }


def _usage(usage: Usage) -> dict[str, float]:
    return {
        "databaseReadBytes": usage.bytes_read,
        "databaseWriteBytes": usage.bytes_written,
        "databaseIoReadBytes": usage.bytes_read,
        "databaseIoWriteBytes": usage.bytes_written,
        "databaseReadDocuments": usage.documents_read,
        "databaseWriteDocuments": usage.documents_written,
        **_NOT_MEASURED,
    }


#: What clients look for and this server has none of, or does not measure.
_NOT_MEASURED = dict.fromkeys(
    (
        "storageReadBytes",
        "storageWriteBytes",
        "vectorIndexReadBytes",
        "vectorIndexWriteBytes",
        "textIndexQueryBytes",
        "textIndexWriteQueryBytes",
        "vectorIndexReadQueryBytes",
        "vectorIndexWriteQueryBytes",
        "networkEgressBytes",
        "memoryUsedMb",
    ),
    0.0,
)
