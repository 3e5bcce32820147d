"""What holders of keys may do, and nobody else (protocol 8)."""

from __future__ import annotations

import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from camber.identity.operations import Operation
from tests.acceptance.sockets import raw_client
from tests.functions.projects import write_project
from tests.servers import ADMIN_KEY, Server

MODULES = {
    "schema": """
        from camber import Index, SearchIndex, Table

        class Item(Table, table="items"):
            n: float
            label: str = ""
            by_n = Index("n")
            later = Index("label", staged=True)
            search_label = SearchIndex("label", filter_fields=["n"])
            search_later = SearchIndex("label", tokenizer="multilingual", staged=True)
    """,
    "code": """
        from camber import *
        from .schema import Item

        @query
        def variable(ctx: QueryCtx, name: str) -> str | None:
            return ctx.env.get(name)

        @mutation
        def add(ctx: MutationCtx, table: str, n: float) -> str:
            return ctx.db.insert(table, {"n": n})

        @internal_query
        def secret(ctx: QueryCtx) -> str:
            return "hidden"

        @query
        def who(ctx: QueryCtx) -> str | None:
            user = ctx.auth.get_user_identity()
            return user and user.subject

        @action
        async def variable_in_action(ctx: ActionCtx, name: str) -> str | None:
            return ctx.env.get(name)
    """,
}
ROOT = {"Authorization": f"Convex {ADMIN_KEY}"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = write_project(tmp_path_factory.mktemp("admin"), **MODULES)
    with Server(root, tmp_path_factory.mktemp("admin-data")) as server:
        yield server


def get(server, path, headers=ROOT, **parameters):
    return httpx.get(f"{server.url}{path}", headers=headers, params=parameters, timeout=30)


def ok(response):
    assert response.status_code == 200, response.text
    return response.json() if response.content else None


def code(response, status):
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"code", "message"}
    assert body["message"]
    return body["code"]


def change(server, *changes, headers=ROOT, path="/api/update_environment_variables"):
    listed = [{"name": name, "value": value} for name, value in changes]
    return server.post(path, {"changes": listed}, **headers)


def issue(server, *operations, name, headers=ROOT, **more):
    return server.post(
        "/api/camber/keys", {"name": name, "allows": list(operations), **more}, **headers
    )


def key_headers(answer):
    return {"Authorization": f"Convex {ok(answer)['key']}"}


def ask(server, path, args, headers=ROOT):
    return server.value("query", path, args, **headers)


def pages(items):
    return {"paginationOpts": {"cursor": None, "numItems": items}}


# Keys.


def test_a_key_says_what_it_allows(server):
    answer = ok(get(server, "/api/check_admin_key"))
    assert answer == {
        "success": True,
        "allowedOps": [operation.value for operation in Operation],
        "isReadOnly": False,
    }
    reader = key_headers(issue(server, "data:view", "logs:view", name="says reader"))
    answer = ok(get(server, "/api/check_admin_key", reader))
    assert (answer["allowedOps"], answer["isReadOnly"]) == (["data:view", "logs:view"], True)


def test_a_type_before_the_name_is_ignored(server):
    text = ok(issue(server, "data:view", name="prefixed"))["key"]
    assert ":" not in text
    for prefix in ("prod:", "dev:", "preview:team:project:"):
        ok(get(server, "/api/check_admin_key", {"Authorization": f"Convex {prefix}{text}"}))
    acting = base64.b64encode(b'{"issuer":"i","subject":"s"}').decode()
    ok(get(server, "/api/check_admin_key", {"Authorization": f"convex dev:{text}:{acting}"}))
    parameters = {"adminKey": text}
    ok(httpx.get(f"{server.url}/api/check_admin_key", params=parameters, timeout=30))


ADMIN_ROUTES = [
    ("GET", "/api/check_admin_key", None),
    ("POST", "/api/update_environment_variables", "env:write"),
    ("POST", "/api/v1/update_environment_variables", "env:write"),
    ("GET", "/api/list_environment_variables", "env:view"),
    ("GET", "/api/v1/list_environment_variables", "env:view"),
    ("GET", "/api/v1/get_canonical_urls", None),
    ("POST", "/api/update_canonical_url", "env:write"),
    ("GET", "/api/v1/deployment_info", None),
    ("GET", "/api/shapes2", "data:view"),
    ("GET", "/api/get_indexes", "data:view"),
    ("POST", "/api/delete_tables", "data:write"),
    ("POST", "/api/delete_component", "data:write"),
    ("GET", "/api/camber/components", "data:view"),
    ("POST", "/api/run_test_function", "functions:run"),
    ("POST", "/api/camber/explain", "functions:run"),
    ("POST", "/api/camber/explain", "data:view"),
    ("GET", "/api/camber/status", "data:view"),
    ("GET", "/api/camber/keys", "keys:manage"),
    ("POST", "/api/camber/keys", "keys:manage"),
    ("POST", "/api/camber/keys/revoke", "keys:manage"),
    ("POST", "/api/camber/signing_keys/rotate", "env:write"),
]


def test_each_route_needs_a_key_that_allows_it(server):
    every = [operation.value for operation in Operation]

    def send(method, path, headers):
        body: dict[str, object] | None = {} if method == "POST" else None
        return httpx.request(method, f"{server.url}{path}", headers=headers, timeout=30, json=body)

    def but(operation):
        rest = [each for each in every if each != operation]
        return key_headers(issue(server, *rest, name=f"all but {operation}"))

    lacking = {
        operation: but(operation) for operation in {each for _, _, each in ADMIN_ROUTES if each}
    }
    for method, path, operation in ADMIN_ROUTES:
        assert code(send(method, path, {}), 403) == "BadDeployKey"
        for wrong in ("kitchen|0", "nobar", f"{ADMIN_KEY}0", "kitchen|ck_00_00"):
            headers = {"Authorization": f"Convex {wrong}"}
            assert code(send(method, path, headers), 401) == "BadAdminKey"
        assert code(send(method, path, {"Authorization": "Basic x"}), 400) == "InvalidAdminKey"
        if operation is not None:
            refused = send(method, path, lacking[operation])
            assert code(refused, 403) == "Forbidden", path
            told = refused.json()["message"]
            assert told.startswith("You do not have permission to perform this operation")
            assert operation in told
        assert send(method, path, ROOT).status_code in {200, 400}


def test_functions_need_a_key_that_runs_them(server):
    reader = key_headers(issue(server, "data:view", name="no functions"))
    runner = key_headers(issue(server, "functions:run", name="functions"))
    body = {"path": "code:secret", "args": {}}
    assert ok(server.post("/api/function", body, **runner))["value"] == "hidden"
    assert code(server.post("/api/function", body, **reader), 403) == "Forbidden"
    for path in ("/api/query", "/api/mutation", "/api/action", "/api/run/code/who"):
        assert code(server.post(path, {"path": "code:who", "args": {}}, **reader), 403)
    batch = {"queries": [{"path": "code:who", "args": {}}]}
    assert code(server.post("/api/query_batch", batch, **reader), 403) == "Forbidden"
    # And data needs one that reads it.
    body = {"path": "_system/cli/tables", "args": pages(10)}
    assert ok(server.post("/api/query", body, **reader))["status"] == "success"
    assert code(server.post("/api/query", body, **runner), 403) == "Forbidden"


def test_sockets_refuse_functions_one_by_one(server):
    text = ok(issue(server, "data:view", name="socket reader"))["key"]
    with raw_client(server) as client:
        client.connect()
        client.send(type="Authenticate", baseVersion=0, tokenType="Admin", value=text)
        client.subscribe(
            (0, "code:secret", {}, {}),
            (1, "_system/cli/tables:default", pages(10), {}),
            (2, "_system/cli/queryEnvironmentVariables:default", {}, {}),
        )
        client.mutate(0, "code:add", {"table": "items", "n": 1})
        client.send(type="Action", requestId=1, udfPath="code:variable_in_action", args=[{}])
        client.until(lambda: len(client.results) == 3 and len(client.responses) == 2)
        assert [each["name"] for each in client.results[1]["page"]] == ["items"]
        denied = [client.results[0][1], client.results[2][1]]
        denied += [client.responses[each]["result"] for each in (0, 1)]
        for told in denied:
            assert "You do not have permission to perform this operation" in told
        assert not any(each["success"] for each in client.responses.values())


def test_a_key_makes_no_key_that_is_stronger(server):
    manager = key_headers(issue(server, "keys:manage", "data:view", name="manager"))
    ok(issue(server, "data:view", name="weaker", headers=manager))
    refused = issue(server, "data:view", "deploy", name="stronger", headers=manager)
    assert code(refused, 403) == "Forbidden"
    assert "deploy" in refused.json()["message"]


def test_keys_are_listed_without_their_secrets(server):
    answer = ok(issue(server, "deploy", name="listed", lifetimeS=60))
    listed = {key["name"]: key for key in ok(get(server, "/api/camber/keys"))["keys"]}
    assert {**listed["listed"], "key": answer["key"]} == answer
    assert answer["expires"] == answer["created"] + 60_000
    secret = answer["key"].rpartition("_")[2]
    assert secret not in get(server, "/api/camber/keys").text


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"name": "", "allows": ["deploy"]}, "InvalidKeyName"),
        ({"name": "x" * 65, "allows": ["deploy"]}, "InvalidKeyName"),
        ({"name": "a\nb", "allows": ["deploy"]}, "InvalidKeyName"),
        ({"name": "a", "allows": []}, "InvalidKeyScope"),
        ({"name": "a", "allows": ["everything"]}, "InvalidKeyScope"),
        ({"name": "a", "allows": [["deploy"]]}, "InvalidKeyScope"),
        ({"name": "a", "allows": ["deploy"], "lifetimeS": 0}, "InvalidKeyLifetime"),
        ({"name": "a", "allows": ["deploy"], "lifetimeS": 1e12}, "InvalidKeyLifetime"),
        ({"name": "a", "allows": ["deploy"], "lifetimeS": True}, "BadJsonBody"),
        ({"name": 1, "allows": ["deploy"]}, "BadJsonBody"),
        ({}, "BadJsonBody"),
    ],
)
def test_a_key_that_cannot_be_is_not_made(server, body, expected):
    assert code(server.post("/api/camber/keys", body, **ROOT), 400) == expected
    assert not {"", "a", "x" * 65} & {
        key["name"] for key in ok(get(server, "/api/camber/keys"))["keys"]
    }


def test_a_revoked_key_ends_at_once_on_open_sockets_too(server):
    answer = ok(issue(server, "data:view", "functions:run", name="revoked"))
    other = ok(issue(server, "functions:run", name="stays"))["key"]
    headers = {"Authorization": f"Convex {answer['key']}"}
    assert code(issue(server, "deploy", name="revoked"), 400) == "KeyNameTaken"
    with raw_client(server) as client, raw_client(server) as bystander:
        for each, key in ((client, answer["key"]), (bystander, other)):
            each.connect()
            each.send(type="Authenticate", baseVersion=0, tokenType="Admin", value=key)
            each.subscribe((0, "code:secret", {}, {}))
            each.until(lambda each=each: each.results)
        ok(get(server, "/api/check_admin_key", headers))
        gone = ok(server.post("/api/camber/keys/revoke", {"key": "revoked"}, **ROOT))
        assert gone["id"] == answer["id"]
        assert code(get(server, "/api/check_admin_key", headers), 401) == "BadAdminKey"
        client.until_closed()
        assert "revoked" in client.auth_error["error"]
        bystander.subscribe((1, "code:who", {}, {}))
        bystander.until(lambda: 1 in bystander.results)
    missing = server.post("/api/camber/keys/revoke", {"key": "revoked"}, **ROOT)
    assert code(missing, 404) == "KeyNotFound"
    ok(issue(server, "deploy", name="revoked"))


def test_a_revoked_key_ends_for_those_who_wait_for_log_lines(server):
    reader = key_headers(issue(server, "logs:view", name="waits"))
    path = "/api/stream_function_logs"
    cursor = ok(get(server, path, reader, cursor="0", hold="0"))["newCursor"]
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(get, server, path, reader, cursor=cursor, hold="25")
        ok(server.post("/api/camber/keys/revoke", {"key": "waits"}, **ROOT))
        # Whether it had begun to wait or not, it is told nothing.
        server.value("query", "code:who", {})
        assert code(waiting.result(), 401) == "BadAdminKey"


def test_a_key_expires_on_open_sockets_too(server):
    text = ok(issue(server, "functions:run", name="short", lifetimeS=1.5))["key"]
    with raw_client(server) as client:
        client.connect()
        client.send(type="Authenticate", baseVersion=0, tokenType="Admin", value=text)
        client.subscribe((0, "code:secret", {}, {}))
        client.until(lambda: client.results)
        client.until_closed()
        assert "expired" in client.auth_error["error"]
    refused = get(server, "/api/check_admin_key", {"Authorization": f"Convex {text}"})
    assert code(refused, 401) == "BadAdminKey"
    assert "expired" in refused.json()["message"]
    listed = {key["name"]: key for key in ok(get(server, "/api/camber/keys"))["keys"]}
    assert listed["short"]["hasExpired"]


def test_keys_and_variables_outlive_the_server_and_lie_in_no_file(tmp_path):
    root = write_project(tmp_path / "p", **MODULES)
    with Server(root, tmp_path / "data") as server:
        text = ok(issue(server, "env:view", name="kept"))["key"]
        ok(change(server, ("TOKEN", "correct horse battery staple")))
        server.restart()
        answer = ok(
            get(server, "/api/v1/list_environment_variables", {"Authorization": f"Convex {text}"})
        )
        assert answer == {"environmentVariables": {"TOKEN": "correct horse battery staple"}}
    stored = b"".join(file.read_bytes() for file in (tmp_path / "data").iterdir() if file.is_file())
    assert b"kept" in stored
    assert text.rpartition("_")[2].encode() not in stored
    assert b"battery" not in stored


def test_variables_of_another_secret_are_told(tmp_path):
    root = write_project(tmp_path / "p", **MODULES)
    with Server(root, tmp_path / "data") as server:
        ok(change(server, ("LOST", "x")))
        server.stop()
        (tmp_path / "data" / "instance_secret").unlink()
        server.start()
        ok(change(server, ("FOUND", "y")))
        told = server.call("query", "code:variable", {"name": "LOST"})["errorMessage"]
        assert "EnvironmentVariableUnreadable" in told
        assert "Restore that file, or set them again" in told
        assert server.value("query", "code:variable", {"name": "FOUND"}) == "y"
        refused = get(server, "/api/list_environment_variables")
        assert code(refused, 400) == "EnvironmentVariableUnreadable"
        assert "LOST" in refused.json()["message"]
        answer = ask(server, "_system/camber/variables", {})
        assert answer["unreadable"] == ["LOST"]
        assert [each["name"] for each in answer["variables"]] == ["FOUND"]
        ok(change(server, ("LOST", "new")))
        assert server.value("query", "code:variable", {"name": "LOST"}) == "new"


# Variables.


def test_variables_are_set_listed_and_removed(server):
    ok(change(server, ("B_1", "two\nlines"), ("A_1", "ü")))
    for path in ("/api/list_environment_variables", "/api/v1/list_environment_variables"):
        found = ok(get(server, path))["environmentVariables"]
        assert found["A_1"] == "ü"
        assert found["B_1"] == "two\nlines"
    listed = ask(server, "_system/cli/queryEnvironmentVariables", {})
    names = [each["name"] for each in listed]
    assert names == sorted(names)
    assert set(listed[0]) == {"_id", "_creationTime", "name", "value"}
    by_name = "_system/cli/queryEnvironmentVariables:get"
    assert ask(server, by_name, {"name": "A_1"}) == {"name": "A_1", "value": "ü"}
    assert ask(server, by_name, {"name": "CONVEX_CLOUD_URL"})["value"] == server.url
    assert server.value("action", "code:variable_in_action", {"name": "A_1"}) == "ü"
    ok(change(server, ("A_1", None), ("B_1", None), path="/api/v1/update_environment_variables"))
    assert ask(server, by_name, {"name": "A_1"}) is None
    assert server.value("action", "code:variable_in_action", {"name": "A_1"}) is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"changes": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}, "EnvVarNameNotUnique"),
        ({"changes": [{"name": "A-B", "value": "1"}]}, "EnvironmentVariableNameInvalid"),
        ({"changes": [{"name": "A", "value": "x" * 8193}]}, "EnvironmentVariableValueTooLarge"),
        ({"changes": [{"name": "A", "value": 1}]}, "BadJsonBody"),
        ({"changes": [{"value": "1"}]}, "BadJsonBody"),
        ({"changes": ["A=1"]}, "BadJsonBody"),
        ({"changes": {"A": "1"}}, "BadJsonBody"),
        ({}, "BadJsonBody"),
    ],
)  # fmt: skip
def test_a_request_with_one_wrong_change_changes_nothing(server, body, expected):
    ok(change(server, ("SET_BEFORE", "1")))
    if isinstance(body.get("changes"), list):
        body = {"changes": [{"name": "SET_BEFORE", "value": "2"}, *body["changes"]]}
    refused = server.post("/api/update_environment_variables", body, **ROOT)
    assert code(refused, 400) == expected
    assert server.value("query", "code:variable", {"name": "SET_BEFORE"}) == "1"


def test_a_change_runs_only_what_has_read_that_name(server):
    ok(change(server, ("FOO", "1"), ("BAR", "1")))
    names = ("FOO", "BAR", "ABSENT", "CONVEX_SITE_URL")
    with raw_client(server) as client:
        client.connect()
        client.subscribe(
            *((n, "code:variable", {"name": name}, {}) for n, name in enumerate(names))
        )
        client.until(lambda: len(client.results) == 4)
        assert client.results == {0: "1", 1: "1", 2: None, 3: server.site_url}
        for changes, expected in (
            ([("FOO", "2")], {0: "2"}),
            ([("ABSENT", "here")], {2: "here"}),
            ([("BAR", None), ("UNRELATED", "x")], {1: None}),
            ([("ABSENT", None), ("FOO", "3")], {0: "3", 2: None}),
        ):
            seen = len(client.frames)
            ok(change(server, *changes))
            client.until(lambda e=expected: e.items() <= client.results.items())
            touched = {
                change["queryId"]
                for frame in client.frames[seen:]
                if frame["type"] == "Transition"
                for change in frame["modifications"]
            }
            assert touched == set(expected)


def test_canonical_urls_are_kept_and_queries_follow(tmp_path):
    root = write_project(tmp_path / "p", **MODULES)
    with Server(root, tmp_path / "data") as server:
        update = "/api/update_canonical_url"
        assert ok(get(server, "/api/v1/get_canonical_urls")) == {
            "convexCloudUrl": server.url,
            "convexSiteUrl": server.site_url,
        }
        with raw_client(server) as client:
            client.connect()
            client.subscribe((0, "code:variable", {"name": "CONVEX_CLOUD_URL"}, {}))
            client.until(lambda: client.results == {0: server.url})
            body = {"requestDestination": "convexCloud", "url": "https://api.example.com/"}
            ok(server.post(update, body, **ROOT))
            client.until(lambda: client.results == {0: "https://api.example.com"})
        server.restart()
        found = ok(get(server, "/api/v1/get_canonical_urls"))
        assert found["convexCloudUrl"] == "https://api.example.com"
        assert ask(server, "_system/cli/convexUrl:cloudUrl", {}) == "https://api.example.com"
        assert ask(server, "_system/cli/queryEnvironmentVariables", {}) == []
        for wrong in (
            {"requestDestination": "convexCloud", "url": "example.com"},
            {"requestDestination": "elsewhere", "url": "https://a.example"},
            {"requestDestination": ["convexCloud"], "url": "https://a.example"},
            {},
        ):
            assert code(server.post(update, wrong, **ROOT), 400)
        ok(server.post(update, {"requestDestination": "convexCloud"}, **ROOT))
        assert ok(get(server, "/api/v1/get_canonical_urls"))["convexCloudUrl"] == server.url


# System queries.


def test_tables_are_listed_and_watched(server):
    with raw_client(server) as client:
        client.connect()
        client.send(type="Authenticate", baseVersion=0, tokenType="Admin", value=ADMIN_KEY)
        new = "appeared"
        client.subscribe(
            (0, "_system/cli/tables:default", pages(100), {}),
            (1, "_system/cli/tableData", {"table": new, "order": "desc", **pages(100)}, {}),
            (2, "_system/cli/tableSize", {"tableName": new}, {}),
            (3, "_system/cli/queryTable", {"tableName": new}, {}),
        )
        client.until(lambda: len(client.results) == 4)
        assert {"name": "items"} in client.results[0]["page"]
        assert client.results[1]["page"] == []
        assert client.results[2] == 0
        versions = {client.results[3]}
        for n in range(3):
            server.value("mutation", "code:add", {"table": new, "n": n})
            client.until(lambda n=n: client.results[2] == n + 1)
            versions.add(client.results[3])
        assert {"name": new} in client.results[0]["page"]
        assert [each["n"] for each in client.results[1]["page"]] == [2, 1, 0]
        assert len(versions) == 4


def test_data_comes_in_pages(server):
    for n in range(7):
        server.value("mutation", "code:add", {"table": "paged", "n": n})
    cursor = None
    for order in ("asc", "desc"):
        found, cursor = [], None
        while True:
            opts = {"cursor": cursor, "numItems": 3}
            args = {"table": "paged", "order": order, "paginationOpts": opts}
            page = ask(server, "_system/cli/tableData", args)
            assert len(page["page"]) <= 3
            found += page["page"]
            cursor = page["continueCursor"]
            if page["isDone"]:
                break
        numbers = [each["n"] for each in found]
        assert numbers == (list(range(7)) if order == "asc" else list(range(6, -1, -1)))
        assert set(found[0]) == {"_id", "_creationTime", "n"}
    # A cursor belongs to its query.
    args = {"table": "items", "order": "asc", "paginationOpts": {"cursor": cursor, "numItems": 3}}
    answer = server.call("query", "_system/cli/tableData", args, **ROOT)
    assert answer["errorData"]["paginationError"] == "InvalidCursor"
    for table in ("_storage", "_scheduled_functions"):
        args = {"table": table, "order": "asc", **pages(3)}
        assert ask(server, "_system/cli/tableData", args)["page"] == []
    for table in ("_environment_variables", "_admin_keys", "_tables"):
        args = {"table": table, "order": "asc", **pages(3)}
        told = server.call("query", "_system/cli/tableData", args, **ROOT)["errorMessage"]
        assert f"there is no table '{table}' to look at" in told


@pytest.mark.parametrize(
    ("path", "args", "told"),
    [
        ("_system/cli/tables", {}, "missing the required field `paginationOpts`"),
        ("_system/cli/tables", {"paginationOpts": {"cursor": None}}, "`numItems`"),
        ("_system/cli/tableData", {"table": 3, "order": "asc", **pages(1)}, "ArgumentValidation"),
        ("_system/cli/tableData", {"table": "a", "order": "up", **pages(1)}, "ArgumentValidation"),
        ("_system/cli/tableSize", {"table": "a"}, "ArgumentValidation"),
        ("_system/cli/queryEnvironmentVariables", {"x": 1}, "extra field `x`"),
        ("_system/cli/modules:apiSpec", [1], "ArgumentValidation"),
    ],
)  # fmt: skip
def test_wrong_arguments_of_system_queries_are_told(server, path, args, told):
    answer = server.call("query", path, args, **ROOT)
    assert answer["status"] == "error"
    assert told in answer["errorMessage"]


def test_system_queries_are_there_for_admins_only(server):
    paths = [
        "_system/cli/tables",
        "_system/cli/queryEnvironmentVariables:get",
        "_system/frontend/components:list",
        "_system/frontend/getSchemas",
        "_system/camber/variables",
    ]
    for path in paths:
        missing = server.call("query", path + "x", {})["errorMessage"].partition("\n")[2]
        told = server.call("query", path, {})["errorMessage"].partition("\n")[2]
        assert told == missing.replace(path + "x", path)
        assert "Could not find public function" in told
    told = server.call("mutation", "_system/cli/tables", pages(1), **ROOT)["errorMessage"]
    assert "Could not find function" in told


def test_components_and_schemas_are_told(server):
    root = ask(server, "_system/frontend/components:list", {})
    assert [each["path"] for each in root] == [""]
    schemas = ask(server, "_system/frontend/getSchemas", {})
    assert set(schemas) == {"active"}
    (items,) = json.loads(schemas["active"])["tables"]
    assert items["tableName"] == "items"
    assert items["indexes"] == [{"indexDescriptor": "by_n", "fields": ["n"]}]
    assert items["stagedDbIndexes"] == [{"indexDescriptor": "later", "fields": ["label"]}]
    assert items["searchIndexes"] == [
        {"indexDescriptor": "search_label", "searchField": "label", "filterFields": ["n"]}
    ]
    assert items["stagedSearchIndexes"] == [
        {"indexDescriptor": "search_later", "searchField": "label", "filterFields": []}
    ]
    assert items["documentType"]["value"]["n"] == {
        "fieldType": {"type": "number"},
        "optional": False,
    }


# What tools ask for.


def test_indexes_shapes_and_status(server):
    server.value("mutation", "code:add", {"table": "loose", "n": 1})
    server.value("mutation", "code:add", {"table": "loose", "n": 2})
    found = {each["name"]: each for each in ok(get(server, "/api/get_indexes"))["indexes"]}
    assert found["by_n"] == {
        "table": "items",
        "name": "by_n",
        "fields": ["n"],
        "backfill": {"state": "done"},
        "staged": False,
    }
    assert found["later"]["staged"]
    assert found["search_label"] == {
        "table": "items",
        "name": "search_label",
        "fields": {"searchField": "label", "filterFields": ["n"]},
        "backfill": {"state": "done"},
        "staged": False,
    }
    assert found["search_later"]["staged"]
    shapes = ok(get(server, "/api/shapes2"))
    for table in ("items", "loose"):
        fields = {each["fieldName"]: each for each in shapes[table]["fields"]}
        assert fields["_id"]["shape"] == {"type": "Id", "tableName": table}
        assert fields["n"] == {"fieldName": "n", "optional": False, "shape": {"type": "Float64"}}
    status = ok(get(server, "/api/camber/status"))
    tables = {table["name"]: table for table in status["tables"]}
    assert tables["loose"]["documents"] == 2
    assert tables["items"]["declared"]
    assert {each["name"]: each["fields"] for each in tables["items"]["indexes"]} == {
        "by_n": ["n"],
        "later": ["label"],
        "search_label": {"searchField": "label", "filterFields": ["n"]},
        "search_later": {"searchField": "label", "filterFields": []},
    }
    assert not tables["loose"]["declared"]
    assert status["cloudUrl"] == server.url
    assert status["release"]["number"] == 1
    assert status["clients"] == 0
    assert status["functions"] == 5
    assert re.fullmatch(r"\d{19}", status["newestTimestamp"])
    for path, name in (("/api/shapes2", "component"), ("/api/get_indexes", "componentId")):
        assert code(get(server, path, **{name: "x"}), 400) == "ComponentPathNotFound"


def test_tables_that_are_not_declared_can_be_deleted_together(server):
    for table in ("old_a", "old_b"):
        for n in range(3):
            server.value("mutation", "code:add", {"table": table, "n": n})
    server.value("mutation", "code:add", {"table": "items", "n": 1})

    def delete(*names, **more):
        return server.post("/api/delete_tables", {"tableNames": list(names), **more}, **ROOT)

    assert code(delete("old_a", "items"), 400) == "TableInSchema"
    assert code(delete("old_a", "nowhere"), 400) == "TableNotFound"
    assert code(delete("old_a", "_tables"), 400) == "TableNotFound"
    assert code(delete("old_a", componentId="x"), 400) == "ComponentPathNotFound"
    assert code(delete(3), 400) == "BadJsonBody"
    with raw_client(server) as client:
        client.connect()
        client.send(type="Authenticate", baseVersion=0, tokenType="Admin", value=ADMIN_KEY)
        client.subscribe(
            (0, "_system/cli/tableSize", {"tableName": "old_a"}, {}),
            (1, "_system/cli/tableSize", {"tableName": "old_b"}, {}),
        )
        client.until(lambda: client.results == {0: 3, 1: 3})
        seen = client.transitions
        ok(delete("old_a", "old_b", "old_a"))
        client.until(lambda: client.results == {0: 0, 1: 0})
        assert client.transitions == seen + 1
    server.value("mutation", "code:add", {"table": "old_a", "n": 7})
    args = {"table": "old_a", "order": "asc", **pages(9)}
    assert [each["n"] for each in ask(server, "_system/cli/tableData", args)["page"]] == [7]


def test_javascript_is_refused_in_words(server):
    for path in (
        "/api/deploy2/start_push",
        "/api/deploy2/evaluate_push",
        "/api/deploy2/evaluate_schema",
        "/api/push_config",
        "/api/get_config_hashes",
    ):
        response = httpx.post(
            f"{server.url}{path}",
            content=b"\x0b\x02\x80{}\x03",
            headers={"Content-Encoding": "br", "Content-Type": "application/json", **ROOT},
            timeout=30,
        )
        assert code(response, 400) == "PushOfJavaScript"
        assert "camber deploy" in response.json()["message"]
    body = {"adminKey": ADMIN_KEY, "args": {}, "bundle": {"path": "q.js", "source": "1"}}
    answer = ok(server.post("/api/run_test_function", body, **ROOT))
    assert answer["status"] == "error"
    assert "JavaScript" in answer["errorMessage"]


def test_a_deployment_says_what_kind_it_is(server):
    assert ok(get(server, "/api/v1/deployment_info")) == {"kind": "selfHosted"}


def test_unknown_admin_routes_are_as_any_other(server):
    response = get(server, "/api/no_such_route")
    assert (response.status_code, response.content) == (404, b"")
