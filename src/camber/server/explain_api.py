"""What a function reads, over HTTP, for holders of keys (docs/explain.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from camber import limits
from camber.deployment.deployment import Deployment
from camber.errors import BadRequest, DeveloperError
from camber.functions.accounts import CalledFunction, ScanReport
from camber.functions.index_advice import IndexAdvice
from camber.identity.operations import Operation
from camber.runtime.executor import Caller, FunctionCall
from camber.runtime.explanations import Bound, Explanation, LookedNear, ReadEntry, SearchedFor
from camber.runtime.queries import CacheState
from camber.server.admin import admin_of
from camber.server.bodies import json_object
from camber.server.errors import json_response
from camber.sync.messages import packed_arguments
from camber.values.paths import FunctionPath
from camber.values.value import UNSET, Value
from camber.values.wire import encode_json, to_wire


class ExplainApi:
    """Explains functions of one deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def routes(self) -> list[BaseRoute]:
        """Return the route."""
        return [Route("/api/camber/explain", self._explain, methods=["POST"])]

    async def _explain(self, request: Request) -> Response:
        admin = admin_of(request, self._deployment, Operation.RUN_FUNCTIONS)
        # What it read has values of documents in it, whatever the function returns.
        admin.require(Operation.VIEW_DATA, request.url.path)
        body = await json_object(request, self._deployment.settings.network.body_bytes)
        path, component = body.get("path"), body.get("componentPath")
        if not isinstance(path, str):
            msg = "the body needs `path`, a query or mutation such as messages:list"
            raise BadRequest(msg, code="BadJsonBody")
        if not isinstance(component, str | None):
            msg = f"`componentPath` is the path of a component, not {component!r}"
            raise BadRequest(msg, code="BadJsonBody")
        args = body.get("args", {})
        arguments, error = packed_arguments(args if isinstance(args, list) else [args])
        runtime = self._deployment.runtime
        call = FunctionCall(
            path=FunctionPath.parse(path).key,
            arguments=arguments,
            arguments_error=error,
            identity=admin,
            caller=Caller.ADMIN,
            client=request.client.host if request.client is not None else "",
            request_id=runtime.new_request_id(),
            component=component or "",
        )
        try:
            found = await runtime.explain(call)
        except DeveloperError as refused:
            # Also one whose process was ended: there is nothing to tell of it but that.
            return _refused(str(refused))
        failure = found.explained.failure
        if found.explained.is_refused and failure is not None:
            return _refused(failure.message)
        return json_response(encode_json({"status": "success", "value": explanation_json(found)}))


def _refused(message: str) -> Response:
    return json_response(encode_json({"status": "error", "errorMessage": message}))


def explanation_json(found: Explanation) -> dict[str, Any]:
    """Return an explanation as JSON."""
    explained, reads = found.explained, found.reads
    return {
        "path": FunctionPath.parse(found.call.path).display,
        "componentPath": found.call.component,
        "type": explained.kind.value,
        "ts": str(explained.ts),
        "failure": None if explained.failure is None else explained.failure.full_text,
        "resultBytes": explained.result_bytes,
        "documentsRead": explained.run.usage.documents_read,
        "bytesRead": explained.run.usage.bytes_read,
        "userMs": explained.run.user_s * 1e3,
        "functions": [_function_json(each) for each in explained.functions],
        "scans": [_scan_json(each) for each in explained.scans],
        "scansNotCounted": explained.scans_dropped,
        "documentsById": [
            {"componentPath": component, "table": table, "documents": count}
            for (component, table), count in sorted(reads.documents.items())
        ],
        "reads": [_read_json(each) for each in reads.entries],
        "readsInAll": reads.count,
        "readsIdentity": explained.read_identity,
        "readsClock": explained.observed_time,
        "written": [
            {
                "componentPath": each.component,
                "table": each.table,
                "inserted": each.inserted,
                "changed": each.changed,
                "deleted": each.deleted,
            }
            for each in explained.written
        ],
        "scheduled": explained.scheduled,
        "cache": None if found.cache is None else _cache_json(found.cache),
        "logLines": [line.text for line in explained.run.log_lines],
    }


def _function_json(called: CalledFunction) -> dict[str, Any]:
    return {
        "path": FunctionPath.parse(called.path).display,
        "componentPath": called.component,
        "type": called.kind,
        "caller": called.caller,
        "times": called.times,
        "items": called.items,
    }


def _scan_json(scan: ScanReport) -> dict[str, Any]:
    return {
        "function": scan.function,
        "forRules": scan.is_rule,
        "componentPath": scan.component,
        "table": scan.table,
        "index": scan.index,
        "fields": list(scan.fields),
        "conditions": list(scan.conditions),
        "search": scan.search,
        "order": scan.order,
        "ending": scan.ending,
        "where": scan.where,
        "times": scan.times,
        "documents": scan.documents,
        "bytes": scan.bytes,
        "withheldByRules": scan.withheld,
        "hidden": scan.hides_all,
        "passed": scan.given,
        "filtered": scan.has_filters,
        "hits": scan.hits,
        "advice": None if scan.advice is None else _advice_json(scan.advice),
    }


def _advice_json(advised: IndexAdvice) -> dict[str, Any]:
    return {
        "table": advised.table,
        "index": advised.name,
        "fields": list(advised.fields),
        "declaration": advised.declaration,
        "query": advised.use,
        "notes": list(advised.notes),
    }


def _read_json(entry: ReadEntry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "componentPath": entry.component,
        "table": entry.table,
        "index": entry.index,
        "fields": list(entry.fields),
        "from": _bound_json(entry.lower),
        "to": _bound_json(entry.upper),
        "search": None if entry.search is None else _search_json(entry.search),
        "nearest": None if entry.nearest is None else _nearest_json(entry.nearest),
        "words": entry.words,
        "invalidatedBy": entry.invalidated_by,
    }


def _search_json(search: SearchedFor) -> dict[str, Any]:
    return {
        "terms": list(search.terms),
        "prefix": search.prefix,
        "conditions": list(search.conditions),
    }


def _nearest_json(nearest: LookedNear) -> dict[str, Any]:
    return {
        "score": nearest.score,
        "id": nearest.id,
        "conditions": list(nearest.conditions),
    }


def _bound_json(bound: Bound | None) -> Any:
    if bound is None:
        return None
    return {"values": list(_values_json(bound)), "inclusive": bound.is_inclusive}


def _values_json(bound: Bound) -> Iterator[Any]:
    for value in bound.values:
        yield {"$missing": True} if value is UNSET else _value_json(value)


def _value_json(value: Value) -> Any:
    json = to_wire(value)
    size = len(encode_json(json))
    return {"$tooLong": size} if size > limits.explained_value_bytes_max else json


def _cache_json(cache: CacheState) -> dict[str, Any]:
    holds = cache.holds_since
    return {
        "kept": holds is not None,
        "holdsSince": None if holds is None else str(holds),
        "watchers": cache.watchers,
        "bytes": cache.bytes,
        "personal": cache.is_personal,
        "failure": cache.is_failure,
    }
