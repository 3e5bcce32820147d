"""Imports when the server is killed in the middle of them."""

from __future__ import annotations

import json
import time

import httpx

from tests.servers import ADMIN_KEY

_HEADERS = {"Authorization": f"Convex {ADMIN_KEY}"}
_DOCUMENTS = 20_000


def _ask(server, path, body):
    response = server.post(path, body, **_HEADERS)
    assert response.status_code == 200, response.text
    return response.json()


def _state(server, import_id):
    job = server.value(
        "query", "_system/cli/queryImport:default", {"importId": import_id}, **_HEADERS
    )
    return job["state"]["state"]


def test_a_killed_server_leaves_an_import_whole_or_undone(own_kitchen):
    server = own_kitchen
    server.value("mutation", "notes:add", {"board": "old", "rank": 1.0})
    line = json.dumps({"board": "new", "rank": 1.0}).encode() + b"\n"
    token = _ask(server, "/api/import/start_upload", {})["uploadToken"]
    part = httpx.post(
        f"{server.url}/api/import/upload_part?uploadToken={token}&partNumber=1",
        content=line * _DOCUMENTS,
        headers=_HEADERS,
        timeout=60,
    ).json()
    asked = {"tableName": "notes", "format": "jsonLines", "mode": "replace"}
    body = {"import": asked, "uploadToken": token, "partTokens": [part]}
    import_id = _ask(server, "/api/import/finish_upload", body)["importId"]
    while (state := _state(server, import_id)) == "uploaded":
        time.sleep(0.01)
    assert state == "waiting_for_confirmation"
    _ask(server, "/api/perform_import", {"importId": import_id})
    server.kill()
    server.start()
    state = _state(server, import_id)
    boards = ("old", "new")
    found = [server.value("query", "notes:count", {"board": board}) for board in boards]
    assert (state, found) in (("failed", [1.0, 0.0]), ("completed", [0.0, float(_DOCUMENTS)]))
    folder = server._data / "imports"
    assert [path for path in folder.rglob("*") if path.is_file()] == []
