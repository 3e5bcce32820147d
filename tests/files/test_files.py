"""Files of a deployment in this process: what waits, what is refused, what queries see."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from contextlib import closing
from functools import partial
from typing import Any

import httpx
import pytest

from camber import FunctionError
from camber.deployment.deployment import Deployment
from camber.deployment.settings import MEMORY, DeploymentSettings
from camber.engine import file_ledger
from camber.engine.file_ledger import BlobState
from camber.engine.writing import write
from camber.errors import DeveloperError, RequestError, StorageFailed
from camber.files.capabilities import UploadTicket
from camber.functions.file_requests import BeginStore, StorePiece
from camber.host import RealHost
from camber.runtime.action_files import ActionFiles
from camber.runtime.files import Expected
from camber.server.application import api_application
from camber.testing import TestApp
from tests.files.buckets import bucket_server
from tests.files.serving import PHOTOS, eventually, upload
from tests.servers import Server

SOURCE = "test"


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture
def app():
    with TestApp(PHOTOS) as app:
        yield app


def deployment_of(app):
    return app._core.deployment


def blobs_of(app):
    return deployment_of(app).files._blobs


def test_an_application_under_test_has_files(app):
    watched = app.subscribe("files:listed")
    url = app.mutation("files:upload_url")
    id = app.upload(url, b"content", content_type="text/plain")
    (file,) = watched.value
    assert (file.id, file.size, file.content_type) == (id, 7, "text/plain")
    assert app.download(app.query("files:url", id)) == b"content"
    with pytest.raises(RequestError) as refused:
        app.upload(url, b"again")
    assert refused.value.code == "StorageTokenUsed"
    assert app.action("files:read", id) == "content"
    app.mutation("files:delete", id)
    assert watched.value == []


def test_whoever_watches_a_url_is_told_that_the_file_is_gone(app):
    id = app.action("files:store", "content")
    watched = app.subscribe("files:url", id)
    url = watched.value
    assert app.download(url) == b"content"
    with pytest.raises(FunctionError):
        app.mutation("files:delete_all_then_fail")
    assert not watched.is_stale
    app.mutation("files:delete", id)
    assert watched.values == [url, None]
    assert app.download(url) is None
    eventually(lambda: blobs_of(app).keys == set())


def test_an_upload_of_something_else_does_not_run_a_watched_url_again(app):
    id = app.action("files:store", "content")
    watched = app.subscribe("files:url", id)
    app.action("files:store", "other")
    assert not watched.is_stale


def test_time_ends_upload_urls_and_those_that_expire_and_forgets_what_was_used(app):
    url = app.mutation("files:upload_url")
    used = app.mutation("files:upload_url")
    id = app.upload(used, b"content")
    shown = app.query("files:url", id, 60)
    again = app.query("files:url", id, 60)
    # Made at another moment, and the same nevertheless, within a tenth of a minute.
    assert shown.partition("&")[0][:-2] == again.partition("&")[0][:-2]
    app.advance(seconds=61)
    with pytest.raises(RequestError) as refused:
        app.download(shown)
    assert refused.value.code == "StorageUrlExpired"
    app.mutation("files:delete", id)
    app.advance(seconds=3600)
    for late in (url, used):
        with pytest.raises(RequestError) as refused:
            app.upload(late, b"late")
        assert refused.value.code == "StorageTokenExpired"


# Waiting.


@pytest.fixture
async def serving(tmp_path):
    deployment = await Deployment.open(
        DeploymentSettings(root=PHOTOS, functions="backend", data=tmp_path, store=MEMORY)
    )
    await deployment.push()
    transport = httpx.ASGITransport(api_application(deployment))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield deployment, client
    finally:
        await deployment.close()


def new_url(deployment, component=""):
    ticket = UploadTicket(
        internal=deployment.host.random_bytes(16),
        component=component,
        expires_ms=deployment.host.now_ns() // 10**6 + 100_000,
    )
    return f"/api/storage/upload?token={deployment.files.capabilities.upload_token(ticket)}"


@pytest.mark.anyio
async def test_a_body_that_stands_still_is_given_up(serving, monkeypatch):
    monkeypatch.setattr("camber.limits.upload_progress_s", 0.05)
    deployment, client = serving

    async def body():
        yield b"a little"
        await asyncio.Event().wait()

    answer = await client.post(new_url(deployment), content=body())
    assert (answer.status_code, answer.json()["code"]) == (408, "UploadTooSlow")
    assert deployment.files._blobs.keys == set()


@pytest.mark.anyio
async def test_one_byte_now_and_then_is_no_progress(serving, monkeypatch):
    monkeypatch.setattr("camber.limits.upload_progress_s", 0.2)
    deployment, client = serving
    sent = 0

    async def body():
        nonlocal sent
        while True:
            yield b"x"
            sent += 1
            await asyncio.sleep(0.01)

    answer = await client.post(new_url(deployment), content=body())
    assert (answer.status_code, answer.json()["code"]) == (408, "UploadTooSlow")
    assert sent > 1


@pytest.mark.anyio
async def test_a_slow_body_that_makes_progress_is_taken(serving, monkeypatch):
    monkeypatch.setattr("camber.limits.upload_progress_s", 5.0)
    monkeypatch.setattr("camber.limits.upload_progress_bytes", 10)
    deployment, client = serving

    async def body():
        for _ in range(20):
            yield b"0123456789"
            await asyncio.sleep(0)

    answer = await client.post(new_url(deployment), content=body())
    assert answer.status_code == 200


@pytest.mark.anyio
async def test_only_so_many_files_are_on_their_way_at_once(serving, monkeypatch):
    monkeypatch.setattr("camber.limits.uploads_in_flight_max", 1)
    deployment, client = serving
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def body():
        yield b"first"
        begun.set()
        await goes_on.wait()
        yield b"rest"

    first = asyncio.ensure_future(client.post(new_url(deployment), content=body()))
    await begun.wait()
    second = await client.post(new_url(deployment), content=b"second")
    assert (second.status_code, second.json()["code"]) == (503, "TooManyUploads")
    goes_on.set()
    assert (await first).status_code == 200
    assert (await client.post(new_url(deployment), content=b"third")).status_code == 200


async def until(holds):
    while not holds():  # noqa: ASYNC110  # nobody tells a test
        await asyncio.sleep(0.01)


def _states(deployment):
    with closing(deployment.engine.begin("test")) as transaction:
        return {
            state: [each.key for each in file_ledger.entries_in(transaction, state)]
            for state in BlobState
            if file_ledger.entries_in(transaction, state)
        }


@pytest.mark.anyio
@pytest.mark.parametrize("asked", ["finish", "write"])
async def test_an_upload_that_is_abandoned_meanwhile_is_a_file_or_nothing(
    serving, monkeypatch, asked
):
    """Whenever that is: when an action's time is up, or at the end of the server."""
    monkeypatch.setattr("camber.limits.file_piece_bytes", 4)
    deployment, _ = serving
    files, outcomes = deployment.files, set()
    for turns in range(40):
        arrival = await files.arrive_from_action("", Expected())
        await arrival.write(b"content")
        asking = arrival.finish() if asked == "finish" else arrival.write(b"more of it")
        going_on = asyncio.ensure_future(asking)
        for _ in range(turns):
            await asyncio.sleep(0)
        file = await arrival.abandon()
        await asyncio.wait([going_on])
        told: Any = going_on.exception() or going_on.result()
        if isinstance(told, RequestError):
            assert (told.code, file) == ("UploadAbandoned", None)
        states = _states(deployment)
        if file is None and not isinstance(told, str):
            assert (states, files._blobs.keys) == ({}, set())
        else:
            outcomes.add("a file")
            assert file in {told, None}
            (key,) = states.pop(BlobState.STORED)
            assert (states, files._blobs.keys) == ({}, {key})
            await write(deployment.engine, SOURCE, partial(_delete, file=told))
            await until(lambda: not files._blobs.keys and not _states(deployment))
        outcomes.add("nothing" if file is None else "told so")
        with pytest.raises(RequestError, match="ended before"):
            await arrival.write(b"late")
        assert files.arriving_bytes == 0
        assert [thread.users for thread in files._threads._threads] == [0, 0, 0, 0]
    assert "nothing" in outcomes


def _delete(transaction, file):
    entry = file_ledger.stored_entry(transaction, file, "")
    assert entry is not None
    file_ledger.leaving(transaction, entry)


@pytest.mark.anyio
async def test_an_action_whose_files_cannot_be_cleared_up_keeps_none_open(serving, monkeypatch):
    deployment, _ = serving
    files = deployment.files
    session = ActionFiles(
        engine=deployment.engine,
        files=files,
        variables=deployment.variables,
        is_mounted=deployment.releases.is_mounted,
    ).session()
    for _ in range(3):
        opened: Any = await session.ask(BeginStore(component="", content_type=None, sha256=None))
        await session.ask(StorePiece(transfer=opened.transfer, data=b"x"))

    async def refuse(entry):
        raise StorageFailed("the disk is what it is")

    with monkeypatch.context() as failing:
        failing.setattr(files, "give_up", refuse)
        await session.close()
    assert not files._arrivals
    assert files.arriving_bytes == 0
    # What is left is found.
    files._stirred.set()
    await until(lambda: not files._blobs.keys and not _states(deployment))


@pytest.mark.anyio
async def test_content_that_cannot_be_removed_keeps_no_other_from_being_removed(
    serving, monkeypatch
):
    deployment, client = serving
    files = deployment.files
    ids = [
        (await client.post(new_url(deployment), content=b"content")).json()["storageId"]
        for _ in range(3)
    ]
    stuck = files.find_by_id(ids[0]).key
    remove = files._blobs.remove

    def refuse(key):
        if key == stuck:
            raise StorageFailed("not permitted")
        remove(key)

    monkeypatch.setattr("camber.runtime.files._AGAIN_S", 0.0)
    with monkeypatch.context() as failing:
        failing.setattr(files._blobs, "remove", refuse)
        for id in ids:
            await write(deployment.engine, SOURCE, partial(_delete, file=id))
        await until(lambda: files._blobs.keys == {stuck})
    # That a URL is used up is remembered until it would have expired.
    await until(lambda: not files._blobs.keys and _states(deployment).keys() == {BlobState.SPENT})


class _SetClock(RealHost):
    """A host whose clock is set."""

    ahead_s = 0

    def now_ns(self):
        return super().now_ns() + self.ahead_s * 10**9


@pytest.mark.anyio
async def test_a_clock_that_is_set_back_makes_no_url_good_again(tmp_path):
    """By the clock of an hour later it was forgotten that the URL had been used."""
    host = _SetClock()
    deployment = await Deployment.open(
        DeploymentSettings(root=PHOTOS, functions="backend", data=tmp_path, store=MEMORY), host
    )
    await deployment.push()
    transport = httpx.ASGITransport(api_application(deployment))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:

            async def made():
                body = {"path": "files:upload_url", "args": {}}
                answer = await client.post("/api/mutation", json=body)
                return answer.json()["value"]

            url = await made()
            stored = await client.post(url, content=b"content")
            host.ahead_s = 4000
            delete = partial(_delete, file=stored.json()["storageId"])
            await write(deployment.engine, SOURCE, delete)
            await until(lambda: not _states(deployment))
            host.ahead_s = 0
            again = await client.post(url, content=b"once more")
            assert (again.status_code, again.json()["code"]) == (401, "StorageTokenExpired")
            # What is made now is good, though timestamps are an hour ahead.
            assert (await client.post(await made(), content=b"other")).status_code == 200
    finally:
        await deployment.close()


@pytest.mark.anyio
async def test_a_download_that_nobody_reads_is_broken_off(serving, monkeypatch):
    monkeypatch.setattr("camber.limits.download_stall_s_max", 0.05)
    deployment, client = serving
    id = (await client.post(new_url(deployment), content=b"x" * 2_000_000)).json()["storageId"]
    found = deployment.files.find_by_id(id)
    with_url = deployment.files.capabilities.url_query(id, deployment.host.now_ns() // 10**9 + 60)
    application = api_application(deployment)
    sent = []

    async def send(message):
        sent.append(message)
        if message.get("body"):
            await asyncio.Event().wait()

    async def receive():
        await asyncio.Event().wait()

    scope = {
        "type": "http",
        "method": "GET",
        "path": f"/api/storage/{id}",
        "query_string": with_url.encode(),
        "headers": [],
    }
    await application(scope, receive, send)
    assert found is not None
    assert sent[0]["status"] == 200
    assert not [message for message in sent if not message.get("more_body", True)]
    assert [thread.users for thread in deployment.files._threads._threads] == [0, 0, 0, 0]


@pytest.mark.anyio
async def test_a_component_has_files_of_its_own(serving):
    deployment, client = serving
    arrival = await deployment.files.arrive_from_action("ledger", Expected())
    await arrival.write(b"x")
    theirs = await arrival.finish()
    with closing(deployment.engine.begin("test")) as transaction:
        with pytest.raises(DeveloperError, match="is a file of component 'ledger'"):
            file_ledger.stored_entry(transaction, theirs, "")
        assert file_ledger.stored_entry(transaction, theirs, "ledger") is not None
    asked = {"path": "files:url", "args": {"id": theirs}}
    answer = (await client.post("/api/query", json=asked)).json()
    assert "is a file of component 'ledger'" in answer["errorMessage"]


# A bucket.


def test_a_server_keeps_its_files_in_a_bucket(tmp_path, monkeypatch):
    with bucket_server() as bucket:
        for name, value in bucket.environment.items():
            monkeypatch.setenv(name, value)
        where = f"s3://{bucket.bucket}/camber"
        with Server(PHOTOS, tmp_path, "--files", where, "--executors", "1") as server:
            id = upload(server, b"in a bucket" * 1000, "text/plain")
            url = str(server.value("query", "files:url", {"id": id}))
            assert httpx.get(url).content == b"in a bucket" * 1000
            part = httpx.get(url, headers={"Range": "bytes=3-10"})
            assert (part.status_code, part.content) == (206, b"a bucket")
            copy = server.value("action", "files:doubled", {"id": id})
            found: Any = server.value("query", "files:metadata", {"id": copy})
            assert found["size"] == 22_000
            assert not (tmp_path / "files").exists()
            objects = f"{bucket.endpoint}/{bucket.bucket}?list-type=2"
            assert httpx.get(objects).text.count("<Key>camber/") == 2
            for each in (id, copy):
                server.value("mutation", "files:delete", {"id": each})
            eventually(lambda: "<Key>" not in httpx.get(objects).text)
            assert "no files can be stored" not in "".join(server.output)


def test_a_bucket_that_is_misspelt_is_told_before_anybody_uploads_and_not_to_who_does(
    tmp_path, monkeypatch
):
    with bucket_server() as bucket:
        for name, value in bucket.environment.items():
            monkeypatch.setenv(name, value)
        with Server(PHOTOS, tmp_path, "--files", "s3://misspelt", "--executors", "1") as server:
            told = "no files can be stored or read before that is mended"
            eventually(lambda: told in "".join(server.output))
            answer = httpx.post(
                str(server.value("mutation", "files:upload_url", {})), content=b"lost?"
            )
            assert (answer.status_code, answer.json()["code"]) == (500, "StorageFailed")
            assert bucket.endpoint not in answer.text
            assert "misspelt" not in answer.text
            # All else goes on.
            assert server.value("query", "files:listed", {}) == []


def test_a_place_for_files_that_is_none_is_told_at_the_start(tmp_path):
    command = [sys.executable, "-m", "camber", "start", str(PHOTOS), "--port", "0"]
    ended = subprocess.run(
        [*command, "--data", str(tmp_path), "--files", "ftp://somewhere"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "names no bucket" in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr + ended.stdout


def test_threads_of_files_end_with_the_application():
    before = threading.active_count()
    with TestApp(PHOTOS) as app:
        app.action("files:store", "content")
    eventually(lambda: threading.active_count() <= before)
