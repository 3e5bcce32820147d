"""The routes of systems that write into a deployment (protocol 8.10)."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from camber import limits
from camber.deployment.deployment import Deployment
from camber.errors import BadRequest
from camber.functions.exported_schema import exported_schema
from camber.identity.operations import Operation
from camber.server.admin import admin_of
from camber.server.bodies import json_body, json_object
from camber.server.errors import json_response
from camber.transfer.streaming_import import (
    StreamingImport,
    airbyte_records,
    fivetran_records,
    key_paths,
)
from camber.values.wire import encode_json


class StreamingImportApi:
    """What destinations of Airbyte and Fivetran ask of one deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._import = StreamingImport(engine=deployment.engine, releases=deployment.releases)

    def routes(self) -> list[BaseRoute]:
        """Return the routes under /api/streaming_import/."""
        routes = [
            ("import_airbyte_records", self._airbyte, "POST"),
            ("clear_tables", self._clear_tables, "PUT"),
            ("replace_tables", self._replace_tables, "POST"),
            ("add_primary_key_indexes", self._add_indexes, "PUT"),
            ("primary_key_indexes_ready", self._indexes_ready, "GET"),
            ("get_schema", self._schema, "GET"),
            ("apply_fivetran_operations", self._fivetran, "POST"),
            ("fivetran_truncate_table", self._truncate, "POST"),
            ("fivetran_create_table", self._create_table, "POST"),
        ]
        return [
            Route(f"/api/streaming_import/{name}", endpoint, methods=[method])
            for name, endpoint, method in routes
        ]

    async def _airbyte(self, request: Request) -> Response:
        body = await self._body(request)
        await self._import.apply(airbyte_records(body.get("tables"), body.get("messages")))
        return Response(status_code=200)

    async def _clear_tables(self, request: Request) -> Response:
        body = await self._body(request)
        await self._import.clear_tables(_names(body, "tableNames"))
        return Response(status_code=200)

    async def _replace_tables(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.WRITE_DATA)
        msg = "tables cannot be overwritten by a sync: choose append, or append and deduplicate"
        raise BadRequest(msg, code="OverwriteNotSupported")

    async def _add_indexes(self, request: Request) -> Response:
        # Documents are found by an id made of their key: there is nothing to build.
        body = await self._body(request)
        indexes = body.get("indexes")
        if not isinstance(indexes, dict):
            raise BadRequest("the body needs `indexes`, keys by table", code="BadJsonBody")
        for table, key in indexes.items():
            key_paths(table, key)
        return Response(status_code=200)

    async def _indexes_ready(self, request: Request) -> Response:
        body = await self._body(request)
        _names(body, "tables")
        return json_response(encode_json({"indexesReady": True}))

    async def _schema(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.WRITE_DATA)
        with closing(self._deployment.engine.begin("get_schema")) as transaction:
            declared = self._deployment.releases.serving(transaction).analysis.tables
        if not declared:
            return json_response(b"null")
        return json_response(encode_json(exported_schema(declared)))

    async def _fivetran(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.WRITE_DATA)
        body = await json_body(request, limits.streaming_body_bytes_max)
        await self._import.apply(fivetran_records(body, self._deployment.engine))
        return Response(status_code=200)

    async def _truncate(self, request: Request) -> Response:
        body = await self._body(request)
        kind, table = body.get("deleteType"), body.get("tableName")
        if kind not in {"SoftDelete", "HardDelete"} or not isinstance(table, str):
            msg = "the body needs `tableName`, and `deleteType`: SoftDelete or HardDelete"
            raise BadRequest(msg, code="BadJsonBody")
        before = _moment(body.get("deleteBefore"))
        await self._import.truncate(table, before=before, soft=kind == "SoftDelete")
        return Response(status_code=200)

    async def _create_table(self, request: Request) -> Response:
        body = await self._body(request)
        definition = body.get("tableDefinition")
        name = definition.get("name") if isinstance(definition, dict) else None
        if not isinstance(name, str):
            raise BadRequest("the body needs `tableDefinition` with a `name`", code="BadJsonBody")
        await self._import.create_table(name)
        return Response(status_code=200)

    async def _body(self, request: Request) -> dict[str, Any]:
        admin_of(request, self._deployment, Operation.WRITE_DATA)
        return await json_object(request, limits.streaming_body_bytes_max)


def _names(body: dict[str, Any], name: str) -> list[str]:
    names = body.get(name)
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise BadRequest(f"the body needs `{name}`, a list of names", code="BadJsonBody")
    return names


def _moment(text: object) -> datetime | None:
    """Return the moment of an RFC 3339 text, or None for null."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        msg = f"deleteBefore is a time with its zone, as 2026-01-02T03:04:05Z, not {text!r}"
        raise BadRequest(msg, code="BadJsonBody")
    return moment
