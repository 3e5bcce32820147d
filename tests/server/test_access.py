"""Who may ask for what, for every route and every system function that there is.

The routes come from the server's own table of them, by the document that is made of it: a new one that
is neither closed nor named here as open fails this.
"""

from __future__ import annotations

import re

import httpx
import pytest

from camber.identity.operations import Operation
from camber.runtime.system_functions.registry import SYSTEM_QUERIES
from camber.server.described import DESCRIBED
from tests.acceptance.sockets import raw_client
from tests.servers import ADMIN_KEY, KITCHEN, Server

#: What everybody may ask, and what does nothing that needs a right.
OPEN = {
    "GET /",
    "GET /version",
    "GET /instance_version",
    "GET /instance_name",
    "GET /api/health",
    "GET /api/openapi.json",
    "POST /echo",
    "POST /api/debug_event",
    "POST /api/query_ts",
    # Files, by URLs that cannot be guessed.
    "POST /api/storage/upload",
    "GET /api/storage/{name}",
    # Refused, whoever asks.
    "POST /api/deploy2/{path}",
    "POST /api/push_config",
    "POST /api/get_config",
    "POST /api/get_config_hashes",
}
#: Calls of public functions: everybody may, and a key that is not valid is refused all the same.
CALLS = {
    "GET /api/query",
    "POST /api/query",
    "POST /api/mutation",
    "POST /api/action",
    "POST /api/run/{path}",
    "POST /api/query_at_ts",
    "POST /api/query_batch",
}
#: What any key opens, whatever it allows: it says no more than what the key is, and where.
ANY_KEY = {
    "GET /api/check_admin_key",
    "GET /api/get_canonical_urls",
    "GET /api/v1/get_canonical_urls",
    "GET /api/deployment_info",
    "GET /api/v1/deployment_info",
}
#: What is decided by the function that is named.
BY_FUNCTION = {"POST /api/function"}
WRONG_KEYS = (
    "kitchen|0",
    "nobar",
    "|",
    f"{ADMIN_KEY}0",
    ADMIN_KEY[:-1],
    ADMIN_KEY.upper(),
    "kitchen|ck_00_00",
    "kitchen|ck__",
    "kitchen|ck_" + "0" * 12 + "_" + "0" * 64,
    "é|ü",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A production server: it takes releases, and its metrics are closed."""
    data = tmp_path_factory.mktemp("access")
    with Server(KITCHEN, data, "--executors", "1", command="start") as server:
        yield server


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def routes(http):
    """Every route, and which operation it says that a key needs."""
    found = {}
    for path, methods in http.get("/api/openapi.json").json()["paths"].items():
        for method, what in methods.items():
            needs = re.search(r"A key needs `(.+?)`", what.get("description", ""))
            found[f"{method.upper()} {path}"] = None if needs is None else needs[1]
    assert len(found) >= len(DESCRIBED) - 1  # `GET /` is another where there is a front end
    return found


@pytest.fixture(scope="module")
def key_of(http):
    """Issue a key that allows some operations."""
    root = {"Authorization": f"Convex {ADMIN_KEY}"}
    made: dict[frozenset[str], dict[str, str]] = {}

    def key_of(operations):
        operations = frozenset(operations)
        if operations not in made:
            body = {"name": f"key {len(made)}", "allows": sorted(operations)}
            answer = http.post("/api/camber/keys", json=body, headers=root)
            assert answer.status_code == 200, answer.text
            made[operations] = {"Authorization": f"Convex {answer.json()['key']}"}
        return made[operations]

    return key_of


def ask(http, route, headers=None, method=None, **more):
    own, _, path = route.partition(" ")
    path = re.sub(r"\{\w+\}", "x", path)
    if own == "POST" and not more:
        more = {"json": {"path": "counters:read", "args": {"name": "access"}}}
    return http.request(method or own, path, headers=headers or {}, **more)


def code_of(answer):
    return answer.json()["code"]


def closed(routes):
    # HTTP actions are the application's: they decide themselves.
    ours = {route for route in routes if not route.partition(" ")[2].startswith("/http/")}
    return sorted(ours - OPEN - CALLS)


def test_what_is_named_here_is_there(routes):
    assert set(routes) >= (OPEN | CALLS | ANY_KEY | BY_FUNCTION)
    for route in closed(routes):
        assert routes[route] in {each.value for each in Operation} or (
            route in ANY_KEY | BY_FUNCTION | {"GET /metrics"}
        ), f"{route} needs no operation: should any key open it?"


def test_nothing_but_what_is_open_answers_without_a_key(routes, http):
    for route in closed(routes):
        answer = ask(http, route)
        assert (answer.status_code, code_of(answer)) == (403, "BadDeployKey"), route
        if route.startswith("GET"):
            assert ask(http, route, method="HEAD").status_code == 403, route
        # Nor is a body looked at before the key is.
        if route.startswith("POST"):
            answer = ask(http, route, content=b"{", headers={"Content-Type": "text/plain"})
            assert (answer.status_code, code_of(answer)) == (403, "BadDeployKey"), route


def test_other_methods_open_nothing(routes, http):
    paths = {route.partition(" ")[2] for route in closed(routes)}
    for path in sorted(paths):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            if f"{method} {path}" not in routes:
                answer = ask(http, f"{method} {path}")
                assert answer.status_code in {404, 405}, f"{method} {path}"


def test_a_wrong_key_opens_nothing(routes, http):
    for route in [*closed(routes), *sorted(CALLS)]:
        for key in WRONG_KEYS:
            header = {"Authorization": f"Convex {key}".encode()}
            answer = ask(http, route, header)
            assert (answer.status_code, code_of(answer)) == (401, "BadAdminKey"), (route, key)
            assert key not in answer.text
    answer = http.get("/api/check_admin_key", params={"adminKey": "kitchen|0"})
    assert (answer.status_code, code_of(answer)) == (401, "BadAdminKey")


def test_a_key_opens_what_it_was_made_for_and_nothing_else(routes, http, key_of):
    every = {each.value for each in Operation}
    for route in closed(routes):
        needed = routes[route] if route != "GET /metrics" else Operation.VIEW_LOGS.value
        if route in ANY_KEY:
            assert ask(http, route, key_of({"logs:view"})).status_code == 200, route
            continue
        if route in BY_FUNCTION:
            needed = Operation.RUN_FUNCTIONS.value
        answer = ask(http, route, key_of(every - {needed}))
        assert (answer.status_code, code_of(answer)) == (403, "Forbidden"), route
        assert needed in answer.json()["message"]


def test_system_functions_are_for_those_who_have_their_key(http, key_of):
    every = {each.value for each in Operation}
    assert SYSTEM_QUERIES
    for path, system in SYSTEM_QUERIES.items():
        call = {"path": path, "args": {}}
        for kind in ("query", "mutation", "action"):
            answer = http.post(f"/api/{kind}", json=call).json()
            assert answer["status"] == "error", path
            assert (
                "Could not find" in answer["errorMessage"]
                or "Server Error" in (answer["errorMessage"])
            )
        lacking = key_of(every - {system.operation.value})
        answer = http.post("/api/query", json=call, headers=lacking)
        assert (answer.status_code, code_of(answer)) == (403, "Forbidden"), path


def test_sockets_are_open_to_all_and_show_what_anybody_may_see(server):
    with raw_client(server) as client:
        client.connect()
        client.subscribe(
            (0, "counters:read", {"name": "x"}, {}),
            (1, "notes:secret", {}, {}),
            *((2 + at, path, {}, {}) for at, path in enumerate(SYSTEM_QUERIES)),
        )
        client.until(lambda: len(client.results) == 2 + len(SYSTEM_QUERIES))
        assert client.results[0] == 0
        assert all(isinstance(client.results[at], tuple) for at in client.results if at)
