"""Deployments without functions, whose HTTP API tests talk to without a socket."""

from __future__ import annotations

import asyncio
import io
import zipfile
from contextlib import asynccontextmanager, closing
from typing import Any

import httpx

from camber.deployment.deployment import Deployment
from camber.deployment.project import load_project
from camber.deployment.settings import DeploymentSettings
from camber.engine import system_tables
from camber.engine.writing import write
from camber.occ.interval import ALL, Order
from camber.server.application import api_application
from camber.transfer.jobs import find, newest_first
from camber.values.packed import unpack
from tests.servers import KITCHEN

KEY = "test|0123456789abcdef"
HEADERS = {"Authorization": f"Convex {KEY}"}


@asynccontextmanager
async def serving(folder, *, store=None, root=KITCHEN):
    """A deployment without functions, and an HTTP client of it."""
    settings = DeploymentSettings(
        root=root,
        functions=load_project(root).functions,
        data=folder,
        name="test",
        store=store,
        admin_key=KEY,
    )
    deployment = await Deployment.open(settings)
    transport = httpx.ASGITransport(api_application(deployment))
    try:
        async with httpx.AsyncClient(
            transport=transport, base_url="http://test", headers=HEADERS
        ) as client:
            yield deployment, client
    finally:
        await deployment.close()


async def insert(deployment, table, *documents):
    def change(transaction):
        return [transaction.insert(table, fields) for fields in documents]

    return await write(deployment.engine, "test", change)


def latest(deployment):
    with closing(deployment.engine.begin("test")) as transaction:
        return next(newest_first(transaction, system_tables.EXPORTS), None)


async def until(deployment, holds):
    """Wait for a commit after which `holds` does; return what it says."""
    committed = asyncio.Event()
    deployment.engine.on_publish(lambda commits: committed.set())
    while not (found := holds()):
        committed.clear()
        await committed.wait()
    return found


def latest_in(deployment, *states):
    job = latest(deployment)
    return job if job is not None and job["state"] in states else None


async def under_way(deployment):
    """The newest export once it is being written."""
    return await until(deployment, lambda: latest_in(deployment, "in_progress"))


async def finished(deployment):
    """The newest export once it is under way no more."""
    ends = ("completed", "failed", "canceled")
    return await until(deployment, lambda: latest_in(deployment, *ends))


async def exported(deployment, client, query=""):
    response = await client.post(f"/api/export/request/zip{query}")
    assert response.status_code == 200, response.text
    job = await finished(deployment)
    assert job["state"] == "completed", job
    response = await client.get(f"/api/export/zip/{int(job['start_ts'])}")
    assert response.status_code == 200, response.text
    return job, response


def contents(response):
    archive = zipfile.ZipFile(io.BytesIO(response.content))
    return {name: archive.read(name) for name in archive.namelist()}


def ids_of(transaction, name):
    """The ids of all documents of a table."""
    table = transaction.catalog.by_name(name)
    rows = transaction.scan(table, table.indexes["by_id"], ALL, Order.ASC)
    documents: list[Any] = [unpack(row.packed) for row in rows]
    return [document["_id"] for document in documents]


def files_in(folder):
    """The names of the files in a folder, which need not be there."""
    return sorted(path.name for path in folder.glob("*"))


def import_of(deployment, id_):
    with closing(deployment.engine.begin("test")) as transaction:
        job = find(transaction, system_tables.IMPORTS, id_)
    assert job is not None
    state: Any = job["state"]
    return state


async def import_in(deployment, id_, *states):
    """The state of an import once it is one of `states`."""

    def holds():
        state = import_of(deployment, id_)
        return state if state["state"] in states else None

    return await until(deployment, holds)


async def uploaded(client, data, *, part_bytes=1000, **asked):
    """Upload a file in parts, and return the import's id."""
    token = (await client.post("/api/import/start_upload")).json()["uploadToken"]
    parts = [data[at : at + part_bytes] for at in range(0, len(data), part_bytes)]
    tokens = []
    for number, part in enumerate(parts, start=1):
        response = await client.post(
            f"/api/import/upload_part?uploadToken={token}&partNumber={number}", content=part
        )
        tokens.append(response.json())
    body = {"import": asked, "uploadToken": token, "partTokens": tokens}
    response = await client.post("/api/import/finish_upload", json=body)
    assert response.status_code == 200, response.text
    return response.json()["importId"]


async def imported(deployment, client, data, **asked):
    """Import a file as the official command line does; return how it ended, and the question."""
    id_ = await uploaded(client, data, **asked)
    state = await import_in(deployment, id_, "waiting_for_confirmation", "failed")
    if state["state"] == "failed":
        return state, None
    response = await client.post("/api/perform_import", json={"importId": id_})
    assert response.status_code == 200, response.text
    return await import_in(deployment, id_, "completed", "failed"), state


async def files_left(deployment):
    """The files of imports, once none is under way."""
    imports = deployment.transfers.imports
    await asyncio.gather(*imports._tasks.values(), return_exceptions=True)
    return [path.name for path in imports._folder.rglob("*") if path.is_file()]


def snapshot_of(**tables):
    """A ZIP: of each table its lines, as a list of JSON texts or documents."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in tables.items():
            archive.writestr(name, content)
    return data.getvalue()


def documents_of(deployment, name):
    """The documents of a table by id, as they are stored."""
    with closing(deployment.engine.begin("test")) as transaction:
        table = transaction.catalog.by_name(name)
        if table is None:
            return None
        rows = transaction.scan(table, table.indexes["by_id"], ALL, Order.ASC)
        documents: list[Any] = [unpack(row.packed) for row in rows]
    return {document["_id"]: document for document in documents}
