"""Reading the log of functions over HTTP (protocol 8.5)."""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import re
import uuid
from typing import Any

import httpx
import pytest

from tests.acceptance.sockets import raw_client
from tests.functions.projects import write_project
from tests.servers import ADMIN_KEY, Server

ADMIN = {"Authorization": f"Convex {ADMIN_KEY}"}
CLI = {**ADMIN, "Convex-Client": "npm-cli-1.48.0"}
_LOGS = "/api/stream_function_logs"
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")

_MODULE = """
    import asyncio
    from camber import ActionCtx, AppError, MutationCtx, QueryCtx, action, mutation, query

    @query
    def read(ctx: QueryCtx, key: str) -> int:
        print("reading", key)
        return len(ctx.db.query("things").collect())

    @mutation
    def write(ctx: MutationCtx, key: str) -> None:
        ctx.log.warn("writing", key=key)
        ctx.db.insert("things", {"key": key})

    @mutation
    def count(ctx: MutationCtx) -> None:
        found = ctx.db.query("counters").first()
        if found is None:
            ctx.db.insert("counters", {"value": 1})
        else:
            ctx.db.patch(found["_id"], value=found["value"] + 1)

    @mutation
    def refuses(ctx: MutationCtx) -> None:
        ctx.log.info("refusing")
        raise AppError({"why": "no"})

    @query
    def breaks(ctx: QueryCtx) -> None:
        raise ValueError("private matter")

    @action
    async def talks(ctx: ActionCtx, key: str) -> None:
        print("begun")
        while await ctx.run_query(read, key=key) == 0:
            await asyncio.sleep(0.01)
        print("done")
"""


@pytest.fixture(scope="module")
def talking(tmp_path_factory):
    """A production server: what clients do not see, the log has."""
    folder = tmp_path_factory.mktemp("talking")
    project = write_project(folder / "project", talk=_MODULE)
    with Server(project, folder / "data", command="start") as server:
        yield server


@pytest.fixture
def own_talking(tmp_path):
    project = write_project(tmp_path / "project", talk=_MODULE)
    with Server(project, tmp_path / "data", command="start") as server:
        yield server


def _get(server, path=_LOGS, headers=CLI, timeout=30, **parameters):
    return httpx.get(f"{server.url}{path}", params=parameters, headers=headers, timeout=timeout)


def _entries(server, cursor, **more):
    response = _get(server, cursor=cursor, **more)
    assert response.status_code == 200, response.text
    return response.json()


def _newest(server):
    """Return a cursor after everything so far."""
    server.call("query", "talk:breaks", {})
    return _entries(server, 0)["newCursor"]


def _post(server, kind, path, args, **headers):
    body = {"path": path, "args": args, "format": "json"}
    return server.post(f"/api/{kind}", body, **headers).json()


def test_a_query_is_an_entry_with_what_it_used(talking):
    talking.value("mutation", "talk:write", {"key": "w"})
    cursor = _newest(talking)
    answer = _post(talking, "query", "talk:read", {"key": "a"}, **{"Convex-Request-Id": "me"})
    assert answer == {"status": "success", "value": answer["value"]}
    found = _entries(talking, cursor)
    (entry,) = found["entries"]
    assert found["newCursor"] == pytest.approx(entry["timestamp"] * 1000, abs=1e-3)
    assert entry["kind"] == "Completion"
    assert (entry["udfType"], entry["identifier"]) == ("Query", "talk:read")
    assert entry["componentPath"] is None
    line = entry["logLines"][0]
    assert line["messages"] == ["'reading'", "'a'"]
    assert (line["level"], line["isTruncated"]) == ("LOG", False)
    assert 0 <= entry["timestamp"] * 1000 - line["timestamp"] < 60_000
    assert entry["requestId"] == "me"
    assert _UUID.match(entry["executionId"])
    assert entry["parentExecutionId"] is None
    assert (entry["caller"], entry["identityType"]) == ("HttpApi", "unknown")
    assert (entry["cachedResult"], entry["error"], entry["success"]) == (False, None, None)
    assert 0 < entry["userExecutionTime"] < entry["executionTime"] < 30
    assert entry["executionTimestamp"] <= entry["timestamp"]
    assert entry["returnBytes"] == 1
    used = entry["usageStats"]
    assert used["databaseReadDocuments"] == answer["value"]
    assert used["databaseReadBytes"] > 0
    assert used["databaseWriteDocuments"] == 0
    assert entry["environment"] == "isolate"


def test_an_answer_from_the_cache_has_the_lines_of_the_run(talking):
    key = str(uuid.uuid4())
    cursor = _newest(talking)
    for _ in range(3):
        talking.value("query", "talk:read", {"key": key})
    first, *others = _entries(talking, cursor)["entries"]
    assert not first["cachedResult"]
    assert [entry["cachedResult"] for entry in others] == [True, True]
    assert all(entry["logLines"] == first["logLines"] for entry in others)
    assert all(entry["usageStats"]["databaseReadDocuments"] == 0 for entry in others)
    assert len({entry["executionId"] for entry in (first, *others)}) == 3
    # The same when it is asked for again.
    assert _entries(talking, cursor)["entries"] == [first, *others]


def test_a_mutation_is_an_entry_with_what_it_wrote(talking):
    cursor = _newest(talking)
    _post(talking, "mutation", "talk:write", {"key": "b"}, **ADMIN)
    (entry,) = _entries(talking, cursor)["entries"]
    assert entry["udfType"] == "Mutation"
    assert entry["identityType"] == "instance_admin"
    assert entry["logLines"][0]["messages"] == ["'writing'", "key='b'"]
    assert entry["usageStats"]["databaseWriteDocuments"] == 1
    assert entry["usageStats"]["databaseWriteBytes"] > 0
    assert (entry["occInfo"], entry["willRetry"]) == (None, False)


def test_a_mutation_says_what_it_lost_to(talking):
    def write(_):
        return _post(talking, "mutation", "talk:count", {})

    write(0)
    lost: list[Any] = []
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        for _ in range(50):
            cursor = _newest(talking)
            list(threads.map(write, range(4)))
            entries = _entries(talking, cursor)["entries"]
            # One for each that was asked for, however often it ran.
            assert len(entries) == 4
            lost = [entry for entry in entries if entry["mutationRetryCount"]]
            if lost:
                break
    assert lost[0]["occInfo"] == {
        "tableName": "counters",
        "documentId": None,
        "writeSource": "talk:count",
        "retryCount": lost[0]["mutationRetryCount"],
    }


def test_failures_are_whole_here_and_redacted_for_clients(talking):
    cursor = _newest(talking)
    told = _post(talking, "query", "talk:breaks", {})
    refused = _post(talking, "mutation", "talk:refuses", {})
    assert "private" not in str(told)
    assert "refusing" not in str(refused)
    broke, refuses = _entries(talking, cursor)["entries"]
    headline, frame = broke["error"].split("\n")
    assert headline == "Uncaught ValueError: private matter"
    assert re.fullmatch(r"    at functions\d+/talk\.py:\d+ in breaks", frame)
    assert refuses["error"].startswith('Uncaught ConvexError: {"why":"no"}\n')
    assert refuses["logLines"][0]["messages"] == ["'refusing'"]


def test_a_function_that_is_not_there_is_an_entry(talking):
    cursor = _newest(talking)
    _post(talking, "query", "nowhere:nothing", {})
    (entry,) = _entries(talking, cursor)["entries"]
    assert "Could not find public function" in entry["error"]


def test_other_clients_get_lines_as_texts(talking):
    cursor = _newest(talking)
    talking.value("mutation", "talk:write", {"key": "c"})
    (entry,) = _entries(talking, cursor, headers=ADMIN)["entries"]
    assert entry["logLines"] == ["[WARN] 'writing' key='c'"]


def test_what_an_action_logs_is_told_while_it_runs(own_talking):
    with concurrent.futures.ThreadPoolExecutor() as threads:
        running = threads.submit(own_talking.value, "action", "talk:talks", {"key": "d"})
        found = _entries(own_talking, 0)
        progress = found["entries"][0]
        assert progress["kind"] == "Progress"
        assert progress["udfType"] == "Action"
        assert [line["messages"] for line in progress["logLines"]] == [["'begun'"]]
        assert not running.done()
        own_talking.value("mutation", "talk:write", {"key": "d"})
        running.result()
    entries = _entries(own_talking, 0)["entries"]
    own = [entry for entry in entries if entry["identifier"] == "talk:talks"]
    assert [entry["kind"] for entry in own] == ["Progress", "Progress", "Completion"]
    assert own[1]["logLines"][0]["messages"] == ["'done'"]
    assert own[2]["logLines"] == []
    assert len({entry["executionId"] for entry in own}) == 1
    called = [entry for entry in entries if entry["identifier"] == "talk:read"]
    assert {entry["caller"] for entry in called} == {"Action"}
    assert {entry["parentExecutionId"] for entry in called} == {own[0]["executionId"]}
    assert {entry["requestId"] for entry in called} == {own[0]["requestId"]}
    completions = _get(own_talking, "/api/stream_udf_execution", cursor=0).json()["entries"]
    assert {entry["kind"] for entry in completions} == {"Completion"}
    assert len(completions) == len(entries) - 2


def test_entries_of_one_client_request(talking):
    session = str(uuid.uuid4())
    with raw_client(talking) as client:
        client.connect(session)
        client.subscribe((0, "talk:read", {"key": session}, {}))
        for request in (0, 1):
            client.mutate(request, "talk:write", {"key": f"{session} {request}"})
        client.until(lambda: len(client.responses) == 2)
    found = _entries(talking, 0, sessionId=session.upper(), clientRequestCounter=1)
    (entry,) = found["entries"]
    assert entry["logLines"][0]["messages"] == ["'writing'", f"key='{session} 1'"]
    assert entry["requestId"] == hashlib.sha256(f"{session}|1".encode()).hexdigest()[:16]
    assert entry["caller"] == "SyncWorker"


def test_a_resend_is_answered_and_no_second_entry(talking):
    session = str(uuid.uuid4())
    for _ in range(2):
        with raw_client(talking) as client:
            client.connect(session)
            client.mutate(0, "talk:write", {"key": session})
            client.until(lambda: client.responses)
    found = _entries(talking, 0, sessionId=session, clientRequestCounter=0)
    assert len(found["entries"]) == 1


def test_a_reader_is_held_until_there_is_something(talking):
    cursor = _newest(talking)

    async def main():
        async with httpx.AsyncClient(base_url=talking.url, headers=CLI, timeout=30) as client:
            reading = [
                asyncio.ensure_future(client.get(_LOGS, params={"cursor": cursor}))
                for _ in range(3)
            ]
            # A look at something else is answered meanwhile, and is no entry.
            assert (await client.get("/version")).status_code == 200
            assert not any(each.done() for each in reading)
            body = {"path": "talk:write", "args": {"key": "e"}}
            await client.post("/api/mutation", json=body)
            return [(await each).json() for each in reading]

    answers = asyncio.run(main())
    assert answers[0]["entries"][0]["identifier"] == "talk:write"
    assert answers[0] == answers[1] == answers[2]


def test_a_held_reader_is_sent_away_when_the_server_ends(own_talking):
    cursor = _newest(own_talking)
    with concurrent.futures.ThreadPoolExecutor() as threads:
        reading = threads.submit(_get, own_talking, cursor=cursor)
        # Accepted before it is stopped: the second of two requests was served after the first.
        assert not concurrent.futures.wait([reading], timeout=0.3).done
        own_talking.stop()
        response = reading.result()
    assert response.status_code == 500
    assert response.json()["code"] == "InternalServerError"
    own_talking.start()
    # Keys go on: what the reader had seen before the restart is not what it gets now.
    own_talking.value("mutation", "talk:write", {"key": "after"})
    (entry,) = _entries(own_talking, cursor)["entries"]
    assert entry["identifier"] == "talk:write"


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({}, "BadCursor"),
        ({"cursor": "soon"}, "BadCursor"),
        ({"cursor": "nan"}, "BadCursor"),
        ({"cursor": 0, "hold": "61"}, "BadHold"),
        ({"cursor": 0, "hold": "-1"}, "BadHold"),
        ({"cursor": 0, "sessionId": "x"}, "BadRequestFilter"),
        ({"cursor": 0, "clientRequestCounter": 1}, "BadRequestFilter"),
        ({"cursor": 0, "sessionId": "x", "clientRequestCounter": "-1"}, "BadRequestFilter"),
    ],
)
def test_bad_requests_are_refused(talking, parameters, code):
    response = _get(talking, **parameters)
    assert response.status_code == 400
    assert response.json()["code"] == code


@pytest.mark.parametrize("path", [_LOGS, "/api/stream_udf_execution"])
def test_only_keys_read_the_log(talking, path):
    assert _get(talking, path, headers={}, cursor=0).status_code == 403
    wrong = {"Authorization": "Convex talking|00ff"}
    assert _get(talking, path, headers=wrong, cursor=0).status_code == 401


def test_nothing_new_within_the_hold_is_an_empty_answer(tmp_path, monkeypatch):
    from camber import limits
    from camber.deployment.deployment import Deployment
    from camber.deployment.settings import MEMORY, DeploymentSettings
    from camber.server.application import api_application

    monkeypatch.setattr(limits, "function_log_hold_s", 0.01)

    async def main():
        settings = DeploymentSettings(
            root=tmp_path, functions="f", data=tmp_path, store=MEMORY, admin_key="a|b"
        )
        deployment = await Deployment.open(settings)
        application = api_application(deployment)
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://camber") as client:
            headers = {"Authorization": "Convex a|b"}
            held = await client.get(_LOGS, params={"cursor": "12.5"}, headers=headers)
            monkeypatch.undo()
            at_once = await client.get(f"{_LOGS}?cursor=0&hold=0", headers=headers)
        await deployment.close()
        return [held.json(), at_once.json()]

    assert asyncio.run(main()) == [
        {"entries": [], "newCursor": 12.5},
        {"entries": [], "newCursor": 0.0},
    ]
