"""The routes of systems that follow a deployment's data, and of those that write it (protocol 8.9)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from camber import limits
from camber.deployment.deployment import Deployment
from camber.engine.catalog import full_name
from camber.errors import BadRequest
from camber.identity.operations import Operation
from camber.server.admin import admin_of
from camber.server.bodies import json_object
from camber.server.component_paths import component_path
from camber.server.errors import json_response
from camber.server.json_schemas import delta_schema, document_schema, fields_of
from camber.server.shapes import shape_of_documents, shape_of_table
from camber.transfer.streaming_export import Selection, StreamingExport, Wanted
from camber.values.timestamp import Timestamp
from camber.values.wire import Format, encode_json

_BOTH: Final = ["GET", "POST"]


class StreamingExportApi:
    """Listings, deltas and schemas of one deployment over HTTP."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._export = StreamingExport(deployment.engine)

    def routes(self) -> list[BaseRoute]:
        """Return the routes of protocol 8.9."""
        return [
            Route("/api/list_snapshot", self._list_snapshot, methods=_BOTH),
            Route("/api/document_deltas", self._document_deltas, methods=_BOTH),
            Route("/api/json_schemas", self._json_schemas),
            Route("/api/get_table_column_names", self._column_names),
            Route("/api/test_streaming_export_connection", self._test_connection),
        ]

    async def _list_snapshot(self, request: Request) -> Response:
        asked = await self._asked(request)
        cursor = asked.get("cursor")
        if cursor is not None and not isinstance(cursor, str):
            msg = f"cursor is a string, as list_snapshot gave it, not {cursor!r}"
            raise BadRequest(msg, code="BadCursor")
        page = await asyncio.to_thread(
            self._export.list_snapshot,
            self._wanted(asked),
            snapshot=_timestamp(asked, "snapshot"),
            cursor=cursor,
        )
        body = {
            "values": page.values,
            "snapshot": page.snapshot,
            "cursor": page.cursor,
            "hasMore": page.cursor is not None,
        }
        return json_response(encode_json(body))

    async def _document_deltas(self, request: Request) -> Response:
        asked = await self._asked(request)
        cursor = _timestamp(asked, "cursor")
        if cursor is None:
            msg = "document_deltas needs a cursor: at first the snapshot of a finished listing"
            raise BadRequest(msg, code="DocumentDeltasCursorRequired")
        page = await asyncio.to_thread(
            self._export.document_deltas, self._wanted(asked), cursor=cursor
        )
        body = {"values": page.values, "cursor": page.cursor, "hasMore": page.has_more}
        return json_response(encode_json(body))

    async def _json_schemas(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.VIEW_DATA)
        parameters = request.query_params
        form = Format.parse(parameters.get("format", "json"))
        of_shape = delta_schema if _flag(parameters, "deltaSchema") else document_schema
        shapes = await asyncio.to_thread(self._shapes)
        schemas: dict[str, dict[str, Any]] = {
            component: {name: of_shape(shape, form) for name, shape in tables.items()}
            for component, tables in shapes.items()
        }
        return json_response(
            encode_json(schemas if _flag(parameters, "byComponent") else schemas[""])
        )

    async def _column_names(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.VIEW_DATA)
        shapes = await asyncio.to_thread(self._shapes)
        columns = {
            component: [
                {
                    "name": name,
                    "columns": sorted(
                        {"_id", "_creationTime", *(f["fieldName"] for f in fields_of(shape))}
                    ),
                }
                for name, shape in tables.items()
            ]
            for component, tables in shapes.items()
        }
        return json_response(encode_json({"byComponent": columns}))

    async def _test_connection(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.VIEW_DATA)
        return json_response(b"null")

    def _shapes(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the shape of each table by component: as declared, or as its documents are."""
        release = self._deployment.releases.newest
        declared = {} if release is None else release.analysis.all_tables()
        shapes: dict[str, dict[str, dict[str, Any]]] = {"": {}}
        with closing(self._deployment.engine.begin("json_schemas")) as transaction:
            for table in sorted(transaction.user_tables(), key=lambda table: table.name):
                shapes.setdefault(table.component, {})[table.own_name] = (
                    shape_of_table(declared[table.name])
                    if table.name in declared
                    else shape_of_documents(transaction, table)
                )
        return shapes

    async def _asked(self, request: Request) -> Mapping[str, Any]:
        admin_of(request, self._deployment, Operation.VIEW_DATA)
        if request.method == "POST":
            asked: Mapping[str, Any] = await json_object(request, limits.http_body_bytes_max)
        else:
            asked = request.query_params
        component_path(asked.get("component"), self._deployment)
        return asked

    def _wanted(self, asked: Mapping[str, Any]) -> Wanted:
        form = asked.get("format")
        table, component = asked.get("tableName"), asked.get("component")
        for name, value in (("format", form), ("tableName", table)):
            if value is not None and not isinstance(value, str):
                raise BadRequest(f"{name} is a string, not {value!r}", code="BadQueryArgs")
        selection = Selection(asked.get("selection"))
        for path in selection.components:
            component_path(path, self._deployment, code="BadSelection")
        return Wanted(
            selection=selection,
            component=component,
            table=None if table is None else full_name(component or "", table),
            form=Format.CLEAN if form is None else Format.parse(form),
        )


def _timestamp(asked: Mapping[str, Any], name: str) -> Timestamp | None:
    """Return a timestamp: an integer in JSON, digits in a URL; never a float on its way."""
    value = asked.get(name)
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if type(value) is not int or not 0 <= value < 2**63:
        msg = f"{name} is a timestamp in nanoseconds, not {value!r}"
        raise BadRequest(msg, code="BadQueryArgs")
    return value


def _flag(parameters: Mapping[str, str], name: str) -> bool:
    value = parameters.get(name, "false")
    if value not in {"true", "false"}:
        raise BadRequest(f"{name} is true or false, not {value!r}", code="BadQueryArgs")
    return value == "true"
