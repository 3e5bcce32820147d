"""The HTTP API (protocol 4 and 5)."""

from __future__ import annotations

import base64
import json
import uuid

import httpx
import pytest

from tests.servers import ADMIN_KEY

JSON = {"content-type": "application/json"}


@pytest.fixture
def board():
    return str(uuid.uuid4())


def _code(response, status):
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"code", "message"}
    assert body["message"]
    return body["code"]


def test_values_have_the_form_that_was_asked_for(kitchen):
    body = {"path": "values:echo", "args": {"value": {"$integer": "KgAAAAAAAAA="}}}
    assert kitchen.post("/api/query", body).text == '{"status":"success","value":"42"}'
    body["format"] = "convex_encoded_json"
    text = kitchen.post("/api/query", body).text
    assert text == '{"status":"success","value":{"$integer":"KgAAAAAAAAA="}}'
    body["format"] = "export_json"
    assert kitchen.post("/api/query", body).text == '{"status":"success","value":42}'
    body["format"] = "xml"
    assert _code(kitchen.post("/api/query", body), 400) == "BadFormat"


def test_floats_always_look_like_floats(kitchen):
    body = {"path": "values:echo", "args": {"value": [3, 1e300, -0.5]}}
    for form in ("json", "convex_encoded_json", "export_json"):
        text = kitchen.post("/api/query", {**body, "format": form}).text
        assert "[3.0,1e300,-0.5]" in text


@pytest.mark.parametrize(
    ("client", "value"),
    [
        ("npm-1.4.0", {"$integer": "KgAAAAAAAAA="}),
        ("npm-1.4.1", "42"),
        ("python-0.4.9", {"$integer": "KgAAAAAAAAA="}),
        ("npm-cli-1.48.0", "42"),
    ],
)
def test_old_clients_get_the_form_they_know(kitchen, client, value):
    body = {"path": "values:echo", "args": [{"value": {"$integer": "KgAAAAAAAAA="}}]}
    answer = kitchen.post("/api/query", body, **{"Convex-Client": client}).json()
    assert answer["value"] == value


def test_arguments_are_an_object_or_a_list_of_one(kitchen):
    for args in ({"value": 1}, [{"value": 1}]):
        assert kitchen.value("query", "values:echo", args) == 1
    wrong: tuple[object, ...] = ([], [{}, {}], [3], "x")
    for each in wrong:
        answer = kitchen.call("query", "values:echo", each)
        assert "ArgumentValidationError" in answer["errorMessage"]


def test_log_lines_are_there_when_there_are_any(kitchen):
    answer = kitchen.call("query", "errors:logs", {})
    assert answer["logLines"] == ["[LOG] 'hello' 3", "[INFO] 'm' key=1"]
    assert "logLines" not in kitchen.call("query", "values:echo", {"value": 1})


def test_function_errors_are_http_200(kitchen):
    answer = kitchen.call("query", "errors:app_error", {}, **{"Convex-Request-Id": "abc"})
    assert answer["status"] == "error"
    assert answer["errorData"] == {"code": "FULL", "seats": 3.0}
    first, headline, frame, end = answer["errorMessage"].split("\n")
    assert first == "[Request ID: abc] Server Error"
    assert headline == 'Uncaught ConvexError: {"code":"FULL","seats":3}'
    assert frame.startswith("    at backend/errors.py:")
    assert end == ""
    assert kitchen.call("query", "errors:app_error_null", {})["errorData"] is None
    assert "errorData" not in kitchen.call("query", "errors:value_error", {})


@pytest.mark.parametrize("component", [3, True, False, 0, [], ["a"], {}, {"x": 1}])
def test_a_component_is_named_by_a_text(kitchen, component):
    body = {"path": "notes:count", "args": {"board": "b"}, "componentPath": component}
    answer = kitchen.post("/api/query", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "BadJsonBody")
    assert "`componentPath` is the path of a component" in answer.json()["message"]


@pytest.mark.parametrize(
    ("kind", "path", "args", "told"),
    [
        ("query", "nowhere:nothing", {}, "Could not find public function for 'nowhere:nothing'"),
        ("query", "notes:secret", {}, "Could not find public function for 'notes:secret'"),
        ("query", "notes", {}, "Could not find public function for 'notes'"),
        (
            "mutation",
            "notes:list",
            {},
            "'notes:list' was executed as a mutation, but it is defined as a query",
        ),
        ("action", "notes:add", {}, "executed as an action, but it is defined as a mutation"),
        ("query", "notes:count", {}, "missing the required field `board`"),
        ("query", "notes:count", {"board": 3}, "Path: .board\nValue: 3\nValidator: v.string()"),
        ("query", "notes:count", {"board": "x", "y": 1}, "extra field `y`"),
        ("query", "notes:get", {"id": "nonsense"}, "not a document id"),
        ("query", "values:integer", {"value": 1.5}, "1.5 is not an integer"),
        ("query", "values:echo", {"value": {"$x": 1}}, "starts with '$'"),
        ("query", "errors:query_object", {}, "returned a query that has not been run"),
        ("query", "errors:two_pages", {}, "MultiplePaginatedDatabaseQueries"),
        ("query", "errors:not_a_value", {}, "is not a supported Convex type"),
        ("query", "errors:plain_error", {}, "\nUncaught Error: plain\n"),
        ("query", "errors:ends_the_process", {}, "Uncaught SystemExit: 3"),
        ("query", "errors:wrong_result", {}, "ReturnsValidationError"),
        ("mutation", "counters:insert_twice", {"name": "twice"}, "counters.by_name is unique"),
        ("action", "articles:nearest", {"embedding": [1]}, "VectorDimensionsMismatch"),
        ("query", "articles:nearest_now", {"embedding": [0, 0, 0]}, "has no direction"),
    ],
)
def test_what_goes_wrong_is_told(kitchen, kind, path, args, told):
    answer = kitchen.call(kind, path, args)
    assert answer["status"] == "error"
    assert told in answer["errorMessage"]


def test_what_is_nearest_has_ids_and_scores(kitchen):
    ids = [
        kitchen.value("mutation", "articles:add", {"title": "x", "embedding": embedding})
        for embedding in ([0, 0, 2], [0, 3, 4], [0, 1, 0])
    ]
    for kind, path in (("action", "articles:nearest"), ("query", "articles:nearest_now")):
        found = kitchen.value(kind, path, {"embedding": [0, 0, 1]})
        assert [hit.keys() for hit in found] == [{"_id", "_score"}] * 2
        assert [hit["_id"] for hit in found] == ids[:2]
        assert [hit["_score"] for hit in found] == pytest.approx([1, 0.8])


def test_what_fails_changes_nothing(kitchen, board):
    kitchen.call("mutation", "errors:app_error_after_write", {"name": board})
    assert kitchen.call("mutation", "counters:insert_twice", {"name": board})["status"] == "error"
    assert kitchen.value("query", "counters:read", {"name": board}) == 0
    names = [e["name"] for e in kitchen.value("query", "values:all", {"table": "events"})]
    assert board not in names


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b"{", JSON, "BadJsonBody"),
        (b"", JSON, "BadJsonBody"),
        (b"[]", JSON, "BadJsonBody"),
        (b'{"args": {}}', JSON, "BadJsonBody"),
        (b"{}", {"content-type": "text/plain"}, "BadJsonBody"),
        (b'{"path":"a:b"}', {}, "BadJsonBody"),
        (b'{"path":"../a:b"}', JSON, "BadConvexFunctionIdentifier"),
        (b'{"path":"a:b","format":3}', JSON, "BadFormat"),
        (b'{"path":"a:b"}', {**JSON, "Convex-Client": "nodash"}, "InvalidClientVersion"),
        (b'{"path":"a:b"}', {**JSON, "Authorization": "x"}, "InvalidAdminKey"),
        (b'{"path":"a:b"}', {**JSON, "Authorization": "Basic abc"}, "InvalidAdminKey"),
        (b'{"path":"a:b","args":"\\ud800"}', JSON, "BadJsonBody"),
        (b"[" * 100_000, JSON, "BadJsonBody"),
    ],
)
def test_bad_requests_have_a_code(kitchen, body, headers, code):
    response = httpx.post(f"{kitchen.url}/api/query", content=body, headers=headers, timeout=30)
    assert _code(response, 400) == code
    assert kitchen.value("query", "values:echo", {"value": 1}) == 1


def test_who_asks_is_checked_before_anything_runs(kitchen):
    body = {"path": "notes:secret", "args": {}}
    assert (
        _code(kitchen.post("/api/query", body, Authorization="Bearer abc"), 401)
        == "InvalidAuthHeader"
    )
    key = {"Authorization": "Convex kitchen|wrong"}
    assert _code(kitchen.post("/api/query", body, **key), 401) == "BadAdminKey"
    assert _code(kitchen.post("/api/function", body), 403) == "BadDeployKey"
    bad = {"Authorization": f"Convex {ADMIN_KEY}:not-base64"}
    assert _code(kitchen.post("/api/query", body, **bad), 400) == "HeaderParseFailure"


def test_admin_keys(kitchen):
    body = {"path": "notes:secret", "args": {}}
    for header in (f"Convex {ADMIN_KEY}", f"convex prod:{ADMIN_KEY}"):
        answer = kitchen.post("/api/query", body, Authorization=header).json()
        assert answer["value"] == "hidden"
    answer = kitchen.post(f"/api/query?adminKey={ADMIN_KEY}", body).json()
    assert answer["value"] == "hidden"
    identity = {"issuer": "i", "subject": "s", "role": "owner"}
    acting = base64.b64encode(json.dumps(identity).encode()).decode()
    key = {"Authorization": f"Convex dev:{ADMIN_KEY}:{acting}"}
    who = kitchen.value("query", "users/profile:get", {}, **key)
    assert who == {**identity, "tokenIdentifier": "i|s"}


def test_any_function_by_name(kitchen, board):
    key = {"Authorization": f"Convex {ADMIN_KEY}"}
    assert kitchen.value("function", "notes:secret", {}, **key) == "hidden"
    kitchen.value("function", "notes:add", {"board": board, "rank": 1}, **key)
    assert kitchen.value("function", "notes:count", {"board": board}, **key) == 1
    assert kitchen.value("function", "actions:double", {"value": 2}, **key) == 4
    answer = kitchen.call("function", "nowhere:nothing", {}, **key)
    assert "Could not find function for 'nowhere:nothing'" in answer["errorMessage"]


def test_functions_by_url(kitchen):
    answer = kitchen.post("/api/run/values/echo", {"args": {"value": 3}}).json()
    assert answer == {"status": "success", "value": 3.0}
    answer = kitchen.post("/api/run/users/profile/default", {"args": {}}).json()
    assert answer["value"] == "the default export"
    assert _code(kitchen.post("/api/run/values", {}), 400) == "MissingIdentifier"
    answer = kitchen.post("/api/run/notes/secret", {"args": {}}).json()
    assert "Could not find public function" in answer["errorMessage"]


def test_queries_by_get(kitchen):
    url = f"{kitchen.url}/api/query"
    params = {"path": "values:echo", "args": '{"value": [1]}', "format": "json"}
    assert httpx.get(url, params=params).json()["value"] == [1.0]
    assert _code(httpx.get(url, params={**params, "args": "{"}), 400) == "BadQueryArgs"
    assert _code(httpx.get(url), 400) == "BadJsonBody"


def test_several_queries_at_one_moment(kitchen, board):
    queries = [
        {"path": "notes:count", "args": {"board": board}},
        {"path": "errors:app_error", "args": {}},
    ]
    results = kitchen.post("/api/query_batch", {"queries": queries}).json()["results"]
    assert results[0] == {"status": "success", "value": 0.0}
    assert results[1]["status"] == "error"
    wrong: tuple[object, ...] = (
        {},
        {"queries": 3},
        {"queries": [3]},
        {"queries": [{}]},
        {"queries": [{"path": "a:b"}] * 1001},
    )
    for bad in wrong:
        assert _code(kitchen.post("/api/query_batch", bad), 400) == "BadJsonBody"


def test_queries_at_an_older_moment(kitchen, board):
    kitchen.value("mutation", "notes:add", {"board": board, "rank": 1})
    ts = kitchen.post("/api/query_ts", None).json()["ts"]
    kitchen.value("mutation", "notes:add", {"board": board, "rank": 2})
    body = {"path": "notes:count", "args": {"board": board}, "ts": ts}
    assert kitchen.post("/api/query_at_ts", body).json()["value"] == 1
    assert kitchen.value("query", "notes:count", {"board": board}) == 2
    for bad in ("", "AAAA", 3, None):
        assert _code(kitchen.post("/api/query_at_ts", {**body, "ts": bad}), 400)
    ancient = {**body, "ts": "AQAAAAAAAAA="}
    answer = kitchen.post("/api/query_at_ts", ancient)
    # From before anything was: all is empty, or out of retention once it was trimmed.
    assert answer.status_code in {200, 503}
    ahead = {**body, "ts": "/////////38="}
    assert _code(kitchen.post("/api/query_at_ts", ahead), 400) == "BadTimestamp"


def test_conflicts_that_do_not_end_are_503(kitchen):
    body = {"path": "errors:conflict", "args": {}}
    code = _code(kitchen.post("/api/mutation", body), 503)
    assert code == "OptimisticConcurrencyControlFailure"


def test_any_origin_may_call(kitchen):
    origin = {"Origin": "https://app.example.com"}
    for path in ("/api/query", "/version", "/api/nowhere"):
        headers = httpx.get(f"{kitchen.url}{path}", headers=origin).headers
        assert headers["access-control-allow-origin"] == "https://app.example.com"
        assert headers["access-control-allow-credentials"] == "true"
        assert "origin" in headers["vary"].lower()
    asked = {
        **origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-mine",
    }
    response = httpx.options(f"{kitchen.url}/api/mutation", headers=asked)
    assert response.status_code == 200
    assert response.headers["access-control-allow-headers"] == "content-type,x-mine"
    assert response.headers["access-control-max-age"] == "86400"
    assert "POST" in response.headers["access-control-allow-methods"]
    assert httpx.options(f"{kitchen.url}/api/query").status_code == 200


def test_the_small_routes(kitchen):
    get = lambda path: httpx.get(f"{kitchen.url}{path}")  # noqa: E731
    assert get("/").status_code == 200
    assert get("/version").text == get("/instance_version").text
    assert get("/instance_name").text == "kitchen"
    assert b"camber_sync_sockets" in get("/metrics").content
    body = b"x" * 3_000_000
    assert httpx.post(f"{kitchen.url}/echo", content=body).content == body
    assert kitchen.post("/api/debug_event", {"event": "x"}).status_code == 204
    assert (get("/nowhere").status_code, get("/nowhere").content) == (404, b"")
    assert get("/api/nowhere").status_code == 404
    assert _code(get("/api/storage/x"), 400) == "InvalidStoragePath"
    assert (get("/http/hook").status_code, get("/http/hook").text) == (
        404,
        "No matching routes found",
    )
    assert httpx.post(f"{kitchen.site_url}/hook").text == "ok"


def test_redaction_hides_all_but_data(tmp_path):
    from tests.servers import KITCHEN, Server

    with Server(KITCHEN, tmp_path, command="start") as server:
        answer = server.call("query", "errors:value_error", {}, **{"Convex-Request-Id": "abc"})
        assert answer == {"status": "error", "errorMessage": "[Request ID: abc] Server Error"}
        answer = server.call("query", "errors:app_error", {}, **{"Convex-Request-Id": "abc"})
        assert answer["errorMessage"] == "[Request ID: abc] Server Error"
        assert answer["errorData"] == {"code": "FULL", "seats": 3.0}
        assert "logLines" not in server.call("query", "errors:logs", {})
        # What an AppError says passes through calls, redacted or not.
        assert server.value("action", "actions:catches", {}) == {"code": "FULL", "seats": 3.0}
        # Without --test-hooks a system error is an error like any other.
        assert server.call("mutation", "errors:conflict", {})["status"] == "error"


def test_a_page_is_served_beside_the_api(tmp_path):
    from tests.servers import KITCHEN, Server

    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text("<!doctype html>the page")
    (static / "assets" / "app-1.js").write_text("code")
    (tmp_path / "outside.txt").write_text("secret")
    with Server(KITCHEN, tmp_path / "data", "--static", str(static)) as server:
        get = lambda path: httpx.get(f"{server.url}{path}")  # noqa: E731
        for path in (
            "/",
            "/some/route",
            "/index.html",
            "/..%2foutside.txt",
            "/assets/gone.js",
            "/%00",
        ):
            assert get(path).text == "<!doctype html>the page", path
            assert get(path).headers["cache-control"] == "no-cache"
        assert get("/assets/app-1.js").text == "code"
        assert "immutable" in get("/assets/app-1.js").headers["cache-control"]
        assert get("/version").text != "<!doctype html>the page"
        assert get("/api/nowhere").status_code == 404
        assert server.value("query", "values:echo", {"value": 1}) == 1


def test_admins_can_ask_for_the_functions_there_are(kitchen):
    key = {"Authorization": f"Convex {ADMIN_KEY}"}
    spec = kitchen.value("query", "_system/cli/modules:apiSpec", {}, **key)
    by_name = {each["identifier"]: each for each in spec if "identifier" in each}
    assert by_name["notes.js:count"] == {
        "identifier": "notes.js:count",
        "functionType": "Query",
        "visibility": {"kind": "public"},
        "args": {
            "type": "object",
            "value": {"board": {"fieldType": {"type": "string"}, "optional": False}},
        },
        "returns": {"type": "number"},
    }
    assert by_name["notes.js:secret"]["visibility"] == {"kind": "internal"}
    assert {"functionType": "HttpAction", "method": "POST", "path": "/hook"} in spec
    url = kitchen.value("query", "_system/cli/convexUrl:cloudUrl", {}, **key)
    assert url == kitchen.url
    for path in ("_system/cli/modules:apiSpec", "_system/nowhere:x"):
        answer = kitchen.call("query", path, {})
        assert f"Could not find public function for '{path}'" in answer["errorMessage"]
    answer = kitchen.call("query", "_system/nowhere:x", {}, **key)
    assert "Could not find function for '_system/nowhere:x'" in answer["errorMessage"]
