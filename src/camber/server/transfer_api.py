"""The routes of snapshot exports and imports (protocol 8.6, 8.7)."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from camber import limits
from camber.deployment.deployment import Deployment
from camber.errors import BadRequest
from camber.identity.operations import Operation
from camber.server.admin import admin_of
from camber.server.bodies import json_object
from camber.server.component_paths import component_path
from camber.server.errors import json_response
from camber.transfer.imports import ImportRequest
from camber.transfer.uploads import UploadRefused
from camber.values.wire import encode_json


class TransferApi:
    """Exports and imports of one deployment over HTTP."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def routes(self) -> list[BaseRoute]:
        """Return the routes under /api/export and those of imports."""
        return [
            Route("/api/export/request/zip", self._request, methods=["POST"]),
            Route("/api/export/zip/{name}", self._download, methods=["GET"]),
            Route("/api/export/set_expiration/{id}", self._set_expiration, methods=["POST"]),
            Route("/api/export/cancel/{id}", self._cancel, methods=["POST"]),
            Route("/api/import", self._import_now, methods=["POST"]),
            Route("/api/import/start_upload", self._start_upload, methods=["POST"]),
            Route("/api/import/upload_part", self._upload_part, methods=["POST"]),
            Route("/api/import/finish_upload", self._finish_upload, methods=["POST"]),
            Route("/api/perform_import", self._perform_import, methods=["POST"]),
            Route("/api/cancel_import", self._cancel_import, methods=["POST"]),
        ]

    async def _request(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.VIEW_DATA)
        component = component_path(request.query_params.get("component"), self._deployment)
        include = request.query_params.get("includeStorage", "false")
        if include not in {"true", "false"}:
            msg = f"includeStorage is true or false, not {include!r}"
            raise BadRequest(msg, code="BadQueryArgs")
        await self._deployment.transfers.exports.request(
            include_storage=include == "true", component=component
        )
        return Response(status_code=200)

    async def _download(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.VIEW_DATA)
        path, ts = self._deployment.transfers.exports.file(request.path_params["name"])
        name = f"snapshot_{self._deployment.instance_name}_{ts}.zip"
        # Without quotes: the official CLI takes all that follows `filename=` for the name.
        headers = {
            "Content-Disposition": f"attachment; filename={name}",
            "Cache-Control": "private, max-age=2592000",
        }
        return FileResponse(path, media_type="application/zip", headers=headers)

    async def _set_expiration(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.VIEW_DATA)
        body = await json_object(request, limits.http_body_bytes_max)
        expiration = body.get("expirationTsNs")
        if type(expiration) is not int or not 0 <= expiration < 2**63:
            msg = "the body needs `expirationTsNs`, nanoseconds since the Unix epoch"
            raise BadRequest(msg, code="BadJsonBody")
        await self._deployment.transfers.exports.set_expiration(
            request.path_params["id"], expiration
        )
        return Response(status_code=200)

    async def _cancel(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.VIEW_DATA)
        await self._deployment.transfers.exports.cancel(request.path_params["id"])
        return Response(status_code=200)

    async def _import_now(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.WRITE_DATA)
        parameters = request.query_params
        asked = ImportRequest.parse(
            component=component_path(parameters.get("componentPath"), self._deployment),
            form=parameters.get("format"),
            mode=parameters.get("mode"),
            table=parameters.get("tableName"),
        )
        count = await self._deployment.transfers.imports.import_now(asked, _body(request))
        return json_response(encode_json({"numWritten": count}))

    async def _start_upload(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.WRITE_DATA)
        token = await self._deployment.transfers.imports.uploads.begin()
        return json_response(encode_json({"uploadToken": token}))

    async def _upload_part(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.WRITE_DATA)
        number = request.query_params.get("partNumber", "")
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            msg = f"partNumber is a number from 1, not {number!r}"
            raise BadRequest(msg, code="BadQueryArgs")
        token = await self._deployment.transfers.imports.uploads.add_part(
            request.query_params.get("uploadToken", ""), int(number), _body(request)
        )
        return json_response(encode_json(token))

    async def _finish_upload(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.WRITE_DATA)
        body = await json_object(request, limits.http_body_bytes_max)
        asked = body.get("import")
        token, part_tokens = body.get("uploadToken"), body.get("partTokens")
        if not isinstance(asked, dict) or not isinstance(token, str):
            msg = "the body needs `import`, an object, and `uploadToken`, as start_upload gave it"
            raise BadRequest(msg, code="BadJsonBody")
        if not isinstance(part_tokens, list):
            msg = "the body needs `partTokens`, a list of what upload_part gave"
            raise BadRequest(msg, code="BadJsonBody")
        parsed = ImportRequest.parse(
            component=component_path(asked.get("componentPath"), self._deployment),
            form=asked.get("format"),
            mode=asked.get("mode"),
            table=asked.get("tableName"),
        )
        id_ = await self._deployment.transfers.imports.begin(parsed, token, part_tokens)
        return json_response(encode_json({"importId": id_}))

    async def _perform_import(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.WRITE_DATA)
        await self._deployment.transfers.imports.perform(await _import_id(request))
        return json_response(b"null")

    async def _cancel_import(self, request: Request) -> Response:
        admin_of(request, self._deployment, Operation.WRITE_DATA)
        await self._deployment.transfers.imports.cancel(await _import_id(request))
        return json_response(b"null")


async def _body(request: Request) -> AsyncIterator[bytes]:
    """Yield the pieces of a body.

    Raises:
        UploadRefused: the client has hung up before its end.
    """
    try:
        async for piece in request.stream():
            yield piece
    except ClientDisconnect:
        raise UploadRefused("the upload broke off before its end; send it again") from None


async def _import_id(request: Request) -> str:
    id_ = (await json_object(request, limits.http_body_bytes_max)).get("importId")
    if not isinstance(id_, str):
        msg = "the body needs `importId`, as finish_upload gave it"
        raise BadRequest(msg, code="BadJsonBody")
    return id_
