"""`npx convex run`, `data`, `env` and `function-spec` against a server of ours."""

from __future__ import annotations

import json

import pytest

from tests.official_cli import OfficialCli
from tests.servers import KITCHEN, Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(KITCHEN, tmp_path_factory.mktemp("official")) as server:
        yield server


@pytest.fixture
def official(server, tmp_path):
    return OfficialCli(tmp_path, server.url)


def said(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_run(official):
    id_ = json.loads(said(official.run("run", "notes:add", '{"board": "run", "rank": 2}')))
    done = official.run("run", "notes:list", '{"board": "run"}')
    (note,) = json.loads(said(done))
    assert (note["_id"], note["rank"]) == (id_, 2)
    # Internal functions too, and log lines beside the result.
    assert json.loads(said(official.run("run", "notes:secret"))) == "hidden"
    done = official.run("run", "errors:logs")
    assert "'hello' 3" in done.stderr


def test_run_as_a_user(official):
    identity = json.dumps({"subject": "ada", "issuer": "https://i.example", "name": "Ada"})
    done = official.run("run", "users/profile:get", "--identity", identity)
    assert json.loads(said(done))["tokenIdentifier"] == "https://i.example|ada"


def test_run_tells_what_is_wrong(official, server, tmp_path):
    done = official.run("run", "notes:lst")
    assert done.returncode == 1
    assert "Could not find function for 'notes:lst'" in done.stderr
    assert "notes:list" in done.stderr
    assert "counters:increment" in done.stderr
    done = official.run("run", "errors:app_error")
    assert done.returncode == 1
    assert '"code":"FULL"' in done.stderr
    done = OfficialCli(tmp_path, server.url, "kitchen|wrong").run("run", "notes:secret")
    assert done.returncode == 1
    assert "BadAdminKey" in done.stderr
    done = official.run("run", "--inline-query", "1 + 1")
    assert done.returncode == 1
    assert "Camber runs Python" in done.stderr


def test_run_can_watch(official, server):
    with official.following("run", "--watch", "notes:count", '{"board": "watched"}') as lines:
        seen = (line for line in lines if line.strip().isdigit())
        assert next(seen) == "0\n"
        for count in (1, 2):
            server.value("mutation", "notes:add", {"board": "watched", "rank": 1})
            assert next(seen) == f"{count}\n"


def test_data(official, server):
    tables = said(official.run("data")).splitlines()
    assert tables == sorted(tables)
    assert {"notes", "counters", "everything"} <= set(tables)
    for rank in range(3):
        server.value("mutation", "counters:increment", {"name": f"c{rank}"})
    done = official.run("data", "counters", "--limit", "2")
    lines = said(done).splitlines()
    columns = [part.strip() for part in lines[0].split("|")]
    assert columns == ["_id", "_creationTime", "name", "value"]
    assert ['"c2"' in lines[2], '"c1"' in lines[3], len(lines)] == [True, True, 4]
    assert "Showing the 2 most recently created documents" in done.stderr
    done = official.run("data", "counters", "--order", "asc", "--format", "json", "--limit", "9")
    assert [each["name"] for each in json.loads(said(done))][:3] == ["c0", "c1", "c2"]
    assert "no documents in this table" in official.run("data", "_storage").stderr


def test_env(official, server, tmp_path):
    def variable(name):
        return server.value("action", "actions:variable", {"name": name})

    said(official.run("env", "set", "TOKEN", "one two"))
    assert variable("TOKEN") == "one two"
    said(official.run("env", "set", "PIPED", stdin="three"))
    (tmp_path / "more.env").write_text("TOKEN=other\nFROM_FILE='a\nb'\n")
    done = official.run("env", "set", "--from-file", "more.env")
    assert done.returncode == 1
    assert "--force" in done.stderr
    assert variable("FROM_FILE") is None
    said(official.run("env", "set", "--from-file", "more.env", "--force"))
    assert (variable("TOKEN"), variable("FROM_FILE")) == ("other", "a\nb")
    listed = said(official.run("env", "list", "--include-values"))
    assert listed == "FROM_FILE='a\nb'\nPIPED=three\nTOKEN=other\n"
    assert said(official.run("env", "get", "PIPED")) == "three\n"
    said(official.run("env", "remove", "PIPED"))
    assert variable("PIPED") is None
    done = official.run("env", "set", "1BAD", "x")
    assert done.returncode == 1
    assert "EnvironmentVariableNameInvalid" in done.stderr


def test_function_spec(official, server):
    spec = json.loads(said(official.run("function-spec")))
    assert spec["url"] == server.url
    functions = {each.get("identifier"): each for each in spec["functions"]}
    assert functions["notes.js:add"]["functionType"] == "Mutation"
    assert functions["notes.js:secret"]["visibility"] == {"kind": "internal"}


def test_a_limited_key_is_told_what_it_may_not(server, tmp_path):
    from tests.servers import ADMIN_KEY

    body = {"name": "reader", "allows": ["data:view"]}
    headers = {"Authorization": f"Convex {ADMIN_KEY}"}
    key = server.post("/api/camber/keys", body, **headers).json()["key"]
    limited = OfficialCli(tmp_path, server.url, key)
    assert "notes" in said(limited.run("data"))
    # Over HTTP, on a socket.
    for command in (("env", "set", "A", "b"), ("env", "list")):
        done = limited.run(*command)
        assert done.returncode == 1
        assert "You do not have permission to perform this operation" in done.stderr
        assert "    at " not in done.stderr


def test_a_push_of_javascript_is_refused_in_words(official, tmp_path):
    (tmp_path / "convex").mkdir()
    (tmp_path / "convex" / "a.js").write_text("export const x = 1;\n")
    done = official.run("deploy", "--typecheck", "disable", "--codegen", "disable", "-y")
    assert done.returncode == 1
    assert "camber deploy" in done.stderr
