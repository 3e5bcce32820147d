"""Keys, tokens and variables are where they have to be, and nowhere else."""

from __future__ import annotations

import io
import re
import time
import zipfile

import httpx
import pytest

from tests.functions.projects import write_project
from tests.servers import ADMIN_KEY, Server

MODULES = {
    "schema": """
        from camber import Table

        class Item(Table, table="items"):
            n: float
    """,
    "code": """
        from camber import *
        from .schema import Item

        @query
        def uses(ctx: QueryCtx, name: str) -> int:
            return len(ctx.env[name])

        @mutation
        def add(ctx: MutationCtx) -> None:
            ctx.db.insert(Item(n=1))

        @query
        def fails(ctx: QueryCtx, name: str) -> None:
            value = ctx.env[name]
            raise ValueError("no")
    """,
}
VARIABLE = "correct horse battery staple"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzb21lYm9keSJ9.c2lnbmF0dXJlLXRoYXQtaXMtYS1zZWNyZXQ"
ROOT = {"Authorization": f"Convex {ADMIN_KEY}"}


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """A server that has been asked with every secret, right and wrong; and the secrets."""
    root = write_project(tmp_path_factory.mktemp("secrets"), **MODULES)
    data = tmp_path_factory.mktemp("secrets-data")
    with Server(root, data, "--executors", "1", "--log-format", "json", command="start") as server:
        issued = server.post("/api/camber/keys", {"name": "k", "allows": ["data:view"]}, **ROOT)
        key = issued.json()["key"]
        change = {"changes": [{"name": "API_KEY", "value": VARIABLE}]}
        assert server.post("/api/update_environment_variables", change, **ROOT).status_code == 200
        for call in ("uses", "fails"):
            server.call("query", f"code:{call}", {"name": "API_KEY"})
        server.call("mutation", "code:add", {})
        body = {"path": "code:uses", "args": {"name": "API_KEY"}}
        told = []
        for header in (
            f"Bearer {TOKEN}", f"Convex {key}", f"Convex {key}x", f"Convex {ADMIN_KEY}x",
            f"Convex {ADMIN_KEY}:not-base64", f"Basic {ADMIN_KEY}", ADMIN_KEY, key, TOKEN,
        ):  # fmt: skip
            told.append(server.post("/api/query", body, Authorization=header).text)
            told.append(server.post("/api/delete_tables", {}, Authorization=header).text)
        told.append(server.post(f"/api/query?adminKey={ADMIN_KEY}", body).text)
        told.append(server.post(f"/api/delete_tables?adminKey={key}", {}).text)
        instance = (data / "instance_secret").read_bytes()
        secrets = {
            ADMIN_KEY.partition("|")[2],
            key.partition("|")[2],
            VARIABLE,
            TOKEN.rpartition(".")[2],
            instance.decode("latin-1").strip(),
            instance.hex(),
        }
        yield server, secrets, told


def test_secrets_are_told_nowhere(used):
    server, secrets, told = used
    metrics = httpx.get(f"{server.url}/metrics", headers=ROOT, timeout=30).text
    assert "camber_function_runs" in metrics
    log = httpx.get(
        f"{server.url}/api/stream_function_logs",
        params={"cursor": 0, "hold": 0}, headers=ROOT, timeout=30,
    ).text  # fmt: skip
    assert "code:fails" in log
    document = httpx.get(f"{server.url}/api/openapi.json", timeout=30).text
    status = httpx.get(f"{server.url}/api/camber/status", headers=ROOT, timeout=30).text
    keys = httpx.get(f"{server.url}/api/camber/keys", headers=ROOT, timeout=30).text
    output = "".join(server.output)
    assert "ValueError" in output
    for text in (metrics, log, document, status, keys, output, *told):
        for secret in secrets:
            assert secret not in text


def test_exports_have_no_secrets(used):
    server, secrets, _ = used
    url = f"{server.url}/api/export/request/zip"
    assert httpx.post(url, headers=ROOT, timeout=30).status_code == 200
    query = {"path": "_system/cli/exports:getLatest", "args": {}}
    latest = None
    for _ in range(300):
        latest = server.post("/api/query", query, **ROOT).json()["value"]
        if latest is not None and latest["state"] == "completed":
            break
        time.sleep(0.05)
    assert latest is not None
    name = re.sub(r"\D", "", str(latest["start_ts"]))
    answer = httpx.get(f"{server.url}/api/export/zip/{name}", headers=ROOT, timeout=30)
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        everything = b"".join(archive.read(each) for each in archive.namelist())
        names = archive.namelist()
    assert any("items/" in each for each in names)
    for secret in secrets:
        assert secret.encode() not in everything
