"""The admin routes (protocol 8.4), and Camber's own under `/api/camber`."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Mapping
from contextlib import closing
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from camber import limits
from camber.deployment.deployment import Deployment
from camber.engine.catalog import IndexEntry, IndexState, TableEntry, full_name
from camber.engine.component_data import ComponentData, being_deleted, data_of_components
from camber.engine.transaction import Transaction
from camber.engine.variables import (
    CLOUD_URL,
    SITE_URL,
    VariableChange,
    VariableUnreadable,
    unreadable,
)
from camber.errors import BadRequest
from camber.functions.exported_schema import search_fields, vector_fields
from camber.identity.admin_keys import IssuedKey
from camber.identity.operations import READ_ONLY, Operation, sorted_operations
from camber.releases.records import ReleaseRecord, history
from camber.server.admin import admin_of, any_admin_of
from camber.server.bodies import json_object
from camber.server.component_paths import component_path
from camber.server.dispatch import Endpoint
from camber.server.errors import json_response
from camber.server.metrics import Metrics
from camber.server.shapes import shape_of_documents, shape_of_table
from camber.values.wire import encode_json
from camber.version import VERSION

#: The variables that `update_canonical_url` sets, by what a client calls them.
_DESTINATIONS: Final[Mapping[str, str]] = {"convexCloud": CLOUD_URL, "convexSite": SITE_URL}
_STAGED: Final = frozenset({IndexState.STAGED, IndexState.STAGED_BACKFILLING})
_BUILDING: Final = frozenset({IndexState.BACKFILLING, IndexState.STAGED_BACKFILLING})
#: Routes of the official CLI that push JavaScript, which nothing here could run.
_JAVASCRIPT_PUSHES: Final = (
    "/api/deploy2/{path:path}",
    "/api/push_config",
    "/api/get_config",
    "/api/get_config_hashes",
)


class AdminApi:
    """What holders of keys do with one deployment, besides calling its functions."""

    def __init__(self, deployment: Deployment, metrics: Metrics) -> None:
        self._deployment = deployment
        self._metrics = metrics

    def routes(self) -> list[BaseRoute]:
        """Return the routes of protocol 8.4 that are neither exports, imports nor logs."""
        return [
            Route("/api/check_admin_key", self._check_admin_key),
            *_both("/update_environment_variables", self._update_variables, "POST"),
            *_both("/list_environment_variables", self._list_variables, "GET"),
            *_both("/get_canonical_urls", self._canonical_urls, "GET"),
            *_both("/update_canonical_url", self._update_canonical_url, "POST"),
            *_both("/deployment_info", self._deployment_info, "GET"),
            Route("/api/shapes2", self._shapes),
            Route("/api/get_indexes", self._indexes),
            Route("/api/delete_tables", self._delete_tables, methods=["POST"]),
            Route("/api/delete_component", self._delete_component, methods=["POST"]),
            Route("/api/camber/components", self._components),
            Route("/api/run_test_function", self._run_test_function, methods=["POST"]),
            *(Route(path, _javascript_push, methods=["POST"]) for path in _JAVASCRIPT_PUSHES),
            Route("/api/camber/keys", self._list_keys, methods=["GET"]),
            Route("/api/camber/keys", self._create_key, methods=["POST"]),
            Route("/api/camber/keys/revoke", self._revoke_key, methods=["POST"]),
            Route("/api/camber/signing_keys/rotate", self._rotate_signing_keys, methods=["POST"]),
            Route("/api/camber/status", self._status),
        ]

    # Who and where.

    async def _check_admin_key(self, request: Request) -> Response:
        operations = any_admin_of(request, self._deployment).operations
        return _json(
            {
                "success": True,
                "allowedOps": [each.value for each in sorted_operations(operations)],
                "isReadOnly": operations <= READ_ONLY,
            }
        )

    async def _deployment_info(self, request: Request) -> Response:
        any_admin_of(request, self._deployment)
        return _json({"kind": "selfHosted"})

    async def _canonical_urls(self, request: Request) -> Response:
        any_admin_of(request, self._deployment)
        with closing(self._deployment.engine.begin("canonical urls")) as transaction:
            cloud, site = (
                self._deployment.variables.get(transaction, name) for name in (CLOUD_URL, SITE_URL)
            )
        return _json({"convexCloudUrl": cloud, "convexSiteUrl": site})

    async def _update_canonical_url(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.WRITE_ENVIRONMENT)
        body = await _body(request)
        destination, url = body.get("requestDestination"), body.get("url")
        name = _DESTINATIONS.get(destination) if isinstance(destination, str) else None
        if name is None:
            msg = f"`requestDestination` is convexCloud or convexSite, not {destination!r}"
            raise BadRequest(msg, code="BadJsonBody")
        if url is not None and not _is_origin(url):
            msg = f"`url` is an origin such as https://api.example.com, not {url!r}"
            raise BadRequest(msg, code="InvalidCanonicalUrl")
        await self._deployment.set_url(name, None if url is None else url.rstrip("/"))
        return Response(status_code=200)

    # Variables.

    async def _update_variables(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.WRITE_ENVIRONMENT)
        changes = (await _body(request)).get("changes")
        if not isinstance(changes, list):
            msg = "the body needs `changes`, a list of objects with name and value"
            raise BadRequest(msg, code="BadJsonBody")
        await self._deployment.change_variables(_variable_change(each) for each in changes)
        return Response(status_code=200)

    async def _list_variables(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.VIEW_ENVIRONMENT)
        with closing(self._deployment.engine.begin("list variables")) as transaction:
            stored = self._deployment.variables.stored(transaction)
        lost = [variable.name for variable in stored if variable.value is None]
        if lost:
            raise BadRequest(unreadable(lost), code="EnvironmentVariableUnreadable")
        return _json({"environmentVariables": {each.name: each.value for each in stored}})

    # Data.

    async def _shapes(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.VIEW_DATA)
        component = component_path(request.query_params.get("component"), self._deployment)
        return _json(await asyncio.to_thread(self._read_shapes, component))

    def _read_shapes(self, component: str) -> dict[str, Any]:
        with closing(self._deployment.engine.begin("shapes")) as transaction:
            release = self._deployment.releases.serving(transaction)
            declared = release.analysis.all_tables()
            tables = _tables_of(transaction, component)
            return {
                table.own_name: shape_of_table(declared[table.name])
                if table.name in declared
                else shape_of_documents(transaction, table)
                for table in tables
            }

    async def _indexes(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.VIEW_DATA)
        deployment = self._deployment
        component = component_path(request.query_params.get("componentId"), deployment)
        with closing(deployment.engine.begin("indexes")) as transaction:
            tables = _tables_of(transaction, component)
        found = [
            {
                "table": table.own_name,
                "name": index.name,
                "fields": _fields_json(index),
                "backfill": {"state": "in_progress" if index.state in _BUILDING else "done"},
                "staged": index.state in _STAGED,
            }
            for table in tables
            for index in _present(table)
        ]
        return _json({"indexes": found})

    async def _delete_tables(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.WRITE_DATA)
        body = await _body(request)
        names = body.get("tableNames")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            msg = "the body needs `tableNames`, a list of names"
            raise BadRequest(msg, code="BadJsonBody")
        component = component_path(body.get("componentId"), self._deployment)
        if any("/" in name for name in names):
            msg = "a table's name has no '/': `componentId` is the path of its component"
            raise BadRequest(msg, code="BadJsonBody")
        await self._deployment.clear_tables([full_name(component, name) for name in names])
        return Response(status_code=200)

    async def _delete_component(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.WRITE_DATA)
        component = (await _body(request)).get("componentId")
        if not isinstance(component, str) or not component:
            msg = (
                "the body needs `componentId`, the path of a component that is mounted no more; the "
                f"application itself cannot be deleted. It has {component!r}"
            )
            raise BadRequest(msg, code="BadJsonBody")
        deleted = await self._deployment.component_deletions.delete(component)
        return _json(
            {
                "documents": deleted.documents,
                "files": deleted.files,
                "scheduledFunctions": deleted.scheduled,
            }
        )

    async def _components(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.VIEW_DATA)
        return _json({"components": await asyncio.to_thread(self._read_components)})

    def _read_components(self) -> list[dict[str, Any]]:
        releases = self._deployment.releases
        with closing(self._deployment.engine.begin("components")) as transaction:
            mounted = releases.serving(transaction).analysis.components
            found = data_of_components(transaction)
            deleted = set(being_deleted(transaction, found))
        return [
            {
                "path": path,
                "state": _state_of(path, mounted, deleted),
                "documents": data.documents,
                "files": data.files,
                "fileBytes": data.file_bytes,
                "scheduledFunctions": data.scheduled,
            }
            for path in sorted(mounted.keys() | found.keys())
            for data in (found.get(path, ComponentData()),)
        ]

    async def _status(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.VIEW_DATA)
        status = await asyncio.to_thread(self._read_status)
        return _json({**status, "clients": self._metrics.clients_connected})

    def _read_status(self) -> dict[str, Any]:
        deployment = self._deployment
        with closing(deployment.engine.begin("status")) as transaction:
            release = deployment.releases.serving(transaction)
            variables = deployment.variables
            releases = history(transaction)
            declared = release.analysis.all_tables()
            return {
                "version": VERSION,
                "name": deployment.instance_name,
                "cloudUrl": variables.get(transaction, CLOUD_URL),
                "siteUrl": variables.get(transaction, SITE_URL),
                "release": None if not releases else _release_json(releases[0]),
                "newestTimestamp": str(transaction.begin_ts),
                "functions": len(release.analysis.functions),
                "httpRoutes": len(release.analysis.served_routes() or ()),
                "components": sorted(release.analysis.components),
                "tables": [
                    {
                        "name": table.name,
                        "declared": table.name in declared,
                        "documents": transaction.count(table),
                        "indexes": [
                            {
                                "name": index.name,
                                "fields": _fields_json(index),
                                "state": index.state.value,
                            }
                            for index in _present(table)
                        ],
                    }
                    for table in transaction.user_tables()
                ],
            }

    # Keys.

    async def _list_keys(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.MANAGE_KEYS)
        now = self._deployment.host.now_ns() / 1e6
        keys = [_key_json(key, now) for key in self._deployment.issued_keys.all()]
        return _json({"keys": keys})

    async def _create_key(self, request: Request) -> Response:
        admin = admin_of(request, self._deployment, Operation.MANAGE_KEYS)
        body = await _body(request)
        name, operations, lifetime = (body.get(each) for each in ("name", "allows", "lifetimeS"))
        if not isinstance(name, str) or not isinstance(operations, list):
            msg = "the body needs `name`, and `allows`, a list of operations"
            raise BadRequest(msg, code="BadJsonBody")
        if lifetime is not None and type(lifetime) not in {int, float}:
            msg = f"`lifetimeS` is a number of seconds, not {lifetime!r}"
            raise BadRequest(msg, code="BadJsonBody")
        new = await self._deployment.issued_keys.create(
            admin,
            name=name,
            operations=[_operation(each) for each in operations],
            lifetime_s=lifetime,
        )
        now = self._deployment.host.now_ns() / 1e6
        return _json({**_key_json(new.issued, now), "key": new.text})

    async def _revoke_key(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.MANAGE_KEYS)
        name = (await _body(request)).get("key")
        if not isinstance(name, str):
            msg = "the body needs `key`, the name or the id of one"
            raise BadRequest(msg, code="BadJsonBody")
        revoked = await self._deployment.issued_keys.revoke(name)
        return _json(_key_json(revoked, self._deployment.host.now_ns() / 1e6))

    async def _rotate_signing_keys(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.WRITE_ENVIRONMENT)
        trusted_s = (await _body(request)).get("trustedS")
        if (
            not isinstance(trusted_s, int | float)
            or isinstance(trusted_s, bool)
            or not 0 <= trusted_s <= limits.signing_key_trusted_s_max
        ):
            msg = (
                "`trustedS` is for how many seconds keys before the new one are trusted, from 0 to "
                f"{limits.signing_key_trusted_s_max}; it is {trusted_s!r}"
            )
            raise BadRequest(msg, code="BadJsonBody")
        try:
            rotated = await self._deployment.rotate_signing_keys(trusted_s)
        except VariableUnreadable as error:
            raise BadRequest(error.sentence, code=error.code) from None
        return _json(
            {
                "kid": rotated.kid,
                "trusted": [
                    {"kid": each.kid, "until": each.until_s * 1000.0} for each in rotated.trusted
                ],
            }
        )

    # What cannot be.

    async def _run_test_function(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.RUN_FUNCTIONS)
        msg = (
            "Camber runs Python, and the source of an inline query is JavaScript. Write a query in "
            "the functions folder and run that by its name"
        )
        return _json({"status": "error", "errorMessage": msg})


def _state_of(path: str, mounted: Container[str], deleted: Container[str]) -> str:
    if path in mounted:
        return "mounted"
    return "being deleted" if path in deleted else "unmounted"


def _both(path: str, endpoint: Endpoint, method: str) -> list[Route]:
    """Return the routes of what is served with and without the API's version."""
    return [Route(f"{prefix}{path}", endpoint, methods=[method]) for prefix in ("/api", "/api/v1")]


async def _javascript_push(request: Request) -> Response:
    del request
    msg = (
        "this deployment runs functions in Python, and `npx convex dev` and `npx convex deploy` "
        "push JavaScript: use `camber dev` and `camber deploy`"
    )
    raise BadRequest(msg, code="PushOfJavaScript")


async def _body(request: Request) -> dict[str, Any]:
    return await json_object(request, limits.http_body_bytes_max)


def _json(value: Any) -> Response:
    return json_response(encode_json(value))


def _variable_change(change: Any) -> VariableChange:
    name = change.get("name") if isinstance(change, dict) else None
    value = change.get("value") if isinstance(change, dict) else None
    if not isinstance(name, str) or not isinstance(value, str | None):
        msg = "a change is an object with `name`, and `value`, a string or null to remove it"
        raise BadRequest(msg, code="BadJsonBody")
    return VariableChange(name=name, value=value)


def _operation(text: Any) -> Operation:
    try:
        return Operation(text)
    except ValueError:
        known = ", ".join(operation.value for operation in Operation)
        msg = f"there is no operation {text!r} to allow; there are {known}"
        raise BadRequest(msg, code="InvalidKeyScope") from None


def _key_json(key: IssuedKey, now_ms: float) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "allows": [each.value for each in sorted_operations(key.operations)],
        "created": key.created,
        "expires": key.expires,
        "hasExpired": key.has_expired(now_ms),
    }


def _release_json(record: ReleaseRecord) -> dict[str, Any]:
    return {
        "number": record.number,
        "time": record.time_ms,
        "origin": record.origin,
        "message": record.message,
    }


def _fields_json(index: IndexEntry) -> list[str] | dict[str, Any]:
    """Return the fields of an index: a list, or what is searched and filtered."""
    if index.tokenizer is not None:
        return search_fields(index.fields)
    if index.dimensions is not None:
        return vector_fields(index.fields, index.dimensions)
    return list(index.fields)


def _present(table: TableEntry) -> list[IndexEntry]:
    """Return the declared indexes that are there or are being built, by name."""
    present = [index for index in table.declared if index.state is not IndexState.DROPPED]
    return sorted(present, key=lambda index: index.name)


def _is_origin(url: Any) -> bool:
    return isinstance(url, str) and url.startswith(("http://", "https://")) and url.isascii()


def _tables_of(transaction: Transaction, component: str) -> list[TableEntry]:
    return [table for table in transaction.user_tables() if table.component == component]
