"""`camber env`, `data`, `keys` and `status`, as a person and as a script use them."""

from __future__ import annotations

import json
import re

import pytest

from camber.cli.client import CallFailed, Client, Target
from camber.identity.operations import Operation
from tests.cli.commands import camber, said, told
from tests.functions.projects import write_project
from tests.servers import ADMIN_KEY, Server

APPLICATION = """
    from camber import *

    class Note(Table, table="notes"):
        text: str
        size: Int64 = Int64(1)
        by_text = Index("text")
        staged = Index("size", staged=True)
        search_text = SearchIndex("text")
        staged_search = SearchIndex("text", tokenizer="multilingual", staged=True)

    @mutation
    def add(ctx: MutationCtx, text: str) -> str:
        return ctx.db.insert(Note(text=text))

    @query
    def who(ctx: QueryCtx) -> str | None:
        user = ctx.auth.get_user_identity()
        return user and f"{user.subject} of {user.issuer}"

    @query
    def required(ctx: QueryCtx, name: str) -> str:
        return ctx.env[name]

    @query
    def asks(ctx: QueryCtx, other: str) -> int:
        return ctx.run_query(other)

    @query
    def variable(ctx: QueryCtx, name: str) -> str | None:
        return ctx.env.get(name)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = write_project(tmp_path_factory.mktemp("commands") / "p", code=APPLICATION)
    with Server(root, tmp_path_factory.mktemp("commands-data")) as server:
        yield server


@pytest.fixture
def run(server):
    def run(*arguments, **more):
        return camber(*arguments, "--dir", server.project, **more)

    return run


# env


def test_variables_one_by_one(run, server):
    assert said(run("env", "set", "TOKEN", "a b")) == "Set TOKEN\n"
    assert said(run("env", "get", "TOKEN")) == "a b\n"
    said(run("env", "set", "TOKEN=c=d"))
    assert said(run("env", "get", "TOKEN")) == "c=d\n"
    said(run("env", "set", "PIPED", stdin="from a pipe\n"))
    assert said(run("env", "get", "PIPED")) == "from a pipe\n"
    assert server.value("query", "code:variable", {"name": "PIPED"}) == "from a pipe"
    assert said(run("env", "get", "CONVEX_CLOUD_URL")) == f"{server.url}\n"
    said(run("env", "remove", "TOKEN", "PIPED", "NEVER_SET"))
    assert "there is no variable 'TOKEN'" in told(run("env", "get", "TOKEN"))


def test_variables_from_and_to_a_file(run, tmp_path):
    file = tmp_path / "defaults.env"
    file.write_text("F1=one\nF2='two\nlines'\nCONVEX_SELF_HOSTED_URL=http://x\nVITE_CONVEX_URL=y\n")
    done = run("env", "set", "--from-file", file)
    assert said(done) == "Set 2 new, overwrote 0, left 0 as they were\n"
    assert "CONVEX_SELF_HOSTED_URL, VITE_CONVEX_URL" in done.stderr
    listed = said(run("env", "list"))
    assert "F1=one\nF2='two\nlines'\n" in listed
    assert "F1\nF2\n" in said(run("env", "list", "--names-only"))
    assert json.loads(said(run("env", "list", "--json")))["F2"] == "two\nlines"

    file.write_text("F1=other\nF2='two\nlines'\nF3=new\n")
    refused = run("env", "set", "--from-file", file)
    assert "set to other values already: F1. Give --force" in told(refused)
    assert "F3" not in said(run("env", "list", "--names-only"))
    done = run("env", "set", "--from-file", file, "--force")
    assert said(done) == "Set 1 new, overwrote 1, left 1 as they were\n"
    assert said(run("env", "get", "F1")) == "other\n"
    # A list can be piped back.
    listed = said(run("env", "list"))
    assert said(run("env", "set", stdin=listed)).startswith("Set 0 new, overwrote 0")
    said(run("env", "set", "WHOLE", "--from-file", file))
    assert json.loads(said(run("env", "list", "--json")))["WHOLE"] == file.read_text()
    said(run("env", "remove", "F1", "F2", "F3", "WHOLE"))


def test_variables_that_cannot_be(run, tmp_path):
    file = tmp_path / "bad.env"
    file.write_text("OK=1\nnonsense\n")
    (tmp_path / "latin").write_bytes(b"A=\xe9")
    for arguments, sentence in (
        (("set", "1BAD", "x"), "cannot name a variable"),
        (("set", "BIG", "x" * 8193), "8193 bytes; a value may have 8192"),
        (("set", "CONVEX_SITE_URL", "x"), "built in"),
        (("set", "--from-file", file), "bad.env, line 2: it is no NAME=value"),
        (("set", "--from-file", tmp_path / "none.env"), "No such file"),
        (("set", "--from-file", tmp_path), "Is a directory"),
        (("set", "--from-file", tmp_path / "latin"), "not UTF-8"),
        (("set", "A", "b", "--from-file", file), "not both"),
        (("set",), "there are no variables to set in standard input"),
    ):
        assert sentence in told(run("env", *arguments))
    assert "OK" not in said(run("env", "list", "--names-only"))


def test_variables_that_cannot_be_read_any_more_are_named(tmp_path):
    root = write_project(tmp_path / "p", code=APPLICATION)
    with Server(root, tmp_path / "data") as server:
        said(camber("env", "set", "OLD", "x", "--dir", root))
        server.stop()
        (tmp_path / "data" / "instance_secret").unlink()
        server.start()
        said(camber("env", "set", "NEW", "y", "--dir", root))
        done = camber("env", "list", "--dir", root)
        assert (done.returncode, done.stdout) == (1, "NEW=y\n")
        assert "cannot be read" in done.stderr
        assert "OLD" in done.stderr
        assert "cannot be read: OLD" in told(camber("env", "get", "OLD", "--dir", root))


# data


def test_data_in_every_form(run, server):
    assert said(run("data")) == "table  documents\nnotes  0\n"
    done = run("data", "notes")
    assert (said(done), done.stderr) == ("", "Table 'notes' has no documents\n")
    for text in ("a", "b\x1b[2J", "c"):
        server.value("mutation", "code:add", {"text": text})
    lines = said(run("data", "notes", "--limit", "2")).splitlines()
    assert re.fullmatch(r"_id +_creationTime +size +text", lines[0])
    assert lines[1].endswith('"c"')
    assert lines[2].endswith(r'"b\u001b[2J"')
    assert len(lines) == 3
    assert "the 2 newest" in run("data", "notes", "--limit", "2").stderr
    documents = json.loads(said(run("data", "notes", "--order", "asc", "--format", "json")))
    assert [each["text"] for each in documents] == ["a", "b\x1b[2J", "c"]
    assert documents[0]["size"] == {"$integer": "AQAAAAAAAAA="}
    lines = said(run("data", "notes", "--format", "jsonl")).splitlines()
    assert [json.loads(line) for line in lines] == documents[::-1]
    assert json.loads(said(run("data", "--format", "json"))) == {"notes": 3}
    assert json.loads(said(run("data", "--format", "jsonl"))) == {"name": "notes", "documents": 3}
    assert said(run("data", "_storage", "--format", "json")) == "[]\n"
    assert "there is no table 'nots'; there are notes" in told(run("data", "nots"))
    assert "no table '_admin_keys' to look at" in told(run("data", "_admin_keys"))


def test_a_table_that_is_longer_than_a_page(run, server, monkeypatch):
    monkeypatch.setattr("camber.cli.data._PAGE", 2)
    for n in range(3):
        server.value("mutation", "code:add", {"text": f"page {n}"})
    lines = said(run("data", "notes", "--format", "jsonl", "--limit", "5")).splitlines()
    assert len({json.loads(line)["_id"] for line in lines}) == 5


# keys


def test_keys_are_made_used_and_revoked(run, server):
    done = run("keys", "create", "--name", "ci", "--scope", "deploy", "--scope", "env:view")
    key = said(done).strip()
    assert "allows deploy, env:view and does not expire" in done.stderr
    said(run("env", "list", "--admin-key", key))
    sentence = told(run("env", "set", "A", "b", "--admin-key", key))
    assert sentence.startswith("You do not have permission to perform this operation")
    assert "env:write" in sentence
    for arguments in (("run", "code:who"), ("data",), ("status",), ("keys", "list")):
        assert "do not have permission" in told(run(*arguments, "--admin-key", key))
    done = run("keys", "create", "--name", "all", "--scope", "admin", "--expires", "90d", "--json")
    made = json.loads(said(done))
    assert made["allows"] == [operation.value for operation in Operation]
    assert made["expires"] - made["created"] == 90 * 24 * 3600 * 1000
    listed = said(run("keys", "list", "--admin-key", made["key"]))
    assert re.search(r"^ci +\w{12} +deploy, env:view +\S+ \S+ +never$", listed, re.MULTILINE)
    assert key not in listed
    listed = json.loads(said(run("keys", "list", "--json")))
    assert {each["name"] for each in listed} == {"ci", "all"}
    assert said(run("keys", "revoke", "ci")).startswith("Revoked ci (")
    assert "not valid for this deployment" in told(run("env", "list", "--admin-key", key))
    said(run("keys", "revoke", made["id"]))
    assert "No keys were made" in run("keys", "list").stderr


def test_keys_that_cannot_be_made(run):
    create = ("keys", "create", "--name", "x", "--scope")
    assert "there is no operation 'everything'" in told(run(*create, "everything"))
    assert "no duration" in told(run(*create, "deploy", "--expires", "soon"))
    assert "no duration" in told(run(*create, "deploy", "--expires", "0d"))
    assert "there is no key 'x'" in told(run("keys", "revoke", "x"))


def test_the_root_key_is_printed_without_a_server(tmp_path):
    root = write_project(tmp_path / "p", code=APPLICATION)
    data = tmp_path / "data"
    assert "holds no deployment" in told(camber("keys", "root", root, "--data", data))
    assert not data.exists()
    with Server(root, data) as server:
        key = said(camber("keys", "root", root, "--data", data)).strip()
        assert key != ADMIN_KEY
        said(camber("status", "--url", server.url, "--admin-key", key))
    assert said(camber("keys", "root", root, CAMBER_DATA=str(data))).strip() == key
    # A server that was started without a project has the same key under another name.
    other = said(camber("keys", "root", tmp_path, "--data", data)).strip()
    assert other.partition("|")[2] == key.partition("|")[2]
    (data / "instance_secret").write_text("broken")
    assert "should hold 32 bytes" in told(camber("keys", "root", root, "--data", data))
    assert "holds no deployment" in told(camber("keys", "root", tmp_path))


# status


def test_status_says_how_it_is(run, server):
    text = said(run("status"))
    for pattern in (
        rf"url +{server.url}",
        rf"site url +{server.site_url}",
        r"release +1, 20\d\d-\S+ \S+ by \w+",
        r"functions +5, and 0 HTTP routes",
        r"last commit +20.* \(\d{19}\)",
        r"clients +0 connected",
        r"notes +\d+ +by_text, search_text \(search\), staged \(staged\), "
        r"staged_search \(search, staged\)\n",
    ):
        assert re.search(pattern, text), (pattern, text)
    assert json.loads(said(run("status", "--json")))["cloudUrl"] == server.url


# run


def test_run_acts_as_a_user(run):
    identity = '{"subject": "ada", "name": "Ada"}'
    who = said(run("run", "code:who", "--identity", identity))
    assert json.loads(who) == "ada of https://camber.test"
    assert said(run("run", "code:who")) == "null\n"


def test_a_watched_query_may_fail_for_a_while(run, server):
    said(run("env", "set", "W", "1"))
    results = Client(Target(server.url, ADMIN_KEY)).watch("code:required", {"name": "W"})
    assert next(results) == "1"
    said(run("env", "remove", "W"))
    failed = next(results)
    assert isinstance(failed, CallFailed)
    assert "deployment variable 'W' is not set" in failed.sentence
    said(run("env", "set", "W", "2"))
    assert next(results) == "2"
    results.close()
    assert "Uncaught KeyError" in told(run("run", "--watch", "code:required", '{"name": "NONE"}'))
    assert "There are: code:required" in told(run("run", "--watch", "code:requird"))


def test_what_a_function_looked_for_is_not_taken_for_what_was_asked_for(run):
    failed = told(run("run", "code:asks", '{"other": "code:whoo"}'))
    assert "Could not find function for 'code:whoo'" in failed
    assert "There are:" not in failed


# Where the deployment is.


def test_the_deployment_is_named_in_many_ways(server, tmp_path):
    def status(*arguments, **environment):
        return camber("status", "--json", "--dir", tmp_path, *arguments, **environment)

    for environment in (
        {"CONVEX_SELF_HOSTED_URL": server.url, "CONVEX_SELF_HOSTED_ADMIN_KEY": ADMIN_KEY},
        {"CAMBER_URL": server.url + "/", "CAMBER_ADMIN_KEY": ADMIN_KEY},
    ):
        assert json.loads(said(status(**environment)))["cloudUrl"] == server.url
    said(status("--url", server.url, "--admin-key", ADMIN_KEY, CAMBER_URL="http://127.0.0.1:1"))
    assert "no deployment is named" in told(status())
    assert "no origin" in told(status("--url", "127.0.0.1:3210", "--admin-key", "a|b"))
    assert "no key for" in told(status("--url", server.url))
    assert "characters that no key has" in told(status("--url", server.url, "--admin-key", "ü"))
    for key in ("kitchen|no", "no"):
        assert "not valid" in told(status("--url", server.url, "--admin-key", key))


def test_every_command_tells_of_a_server_that_is_not_there(tmp_path):
    gone = ("--url", "http://127.0.0.1:1", "--admin-key", "a|b", "--dir", tmp_path)
    for command in (
        ("run", "a:b"),
        ("run", "a:b", "--watch"),
        ("env", "list"),
        ("env", "get", "A"),
        ("env", "set", "A", "b"),
        ("env", "remove", "A"),
        ("data",),
        ("data", "notes"),
        ("keys", "list"),
        ("keys", "create", "--name", "a", "--scope", "deploy"),
        ("keys", "revoke", "a"),
        ("status",),
    ):
        sentence = told(camber(*command, *gone))
        assert sentence.startswith("http://127.0.0.1:1 does not answer"), sentence
        assert sentence.count("\n") == 1


def test_what_answers_but_is_no_camber_server_is_told(server):
    # HTTP actions are not the API.
    site = ("--url", server.site_url, "--admin-key", ADMIN_KEY)
    for command in (("status",), ("env", "list"), ("run", "a:b", "--watch")):
        assert told(camber(*command, *site))


def test_production_tells_operators_why_a_call_was_not_let_in(tmp_path):
    """Errors of functions are redacted there; that there is no such function is no secret of theirs."""
    root = write_project(tmp_path / "p", code=APPLICATION)
    with Server(root, tmp_path / "data", command="start") as server:
        here = ("--url", server.url, "--admin-key", ADMIN_KEY, "--dir", tmp_path)
        for arguments, sentence in (
            (("run", "code:whoo"), "There are: code:who"),
            (("run", "--watch", "code:whoo"), "There are: code:who"),
            (("run", "code:add"), "missing the required field `text`"),
            (("data", "_admin_keys"), "no table '_admin_keys' to look at"),
        ):
            assert sentence in told(camber(*arguments, *here))
        redacted = told(camber("run", "code:required", '{"name": "SECRET"}', *here))
        assert re.fullmatch(r"\[Request ID: \w{16}\] Server Error\n", redacted)
        answer = server.call("query", "code:whoo", {})
        assert re.fullmatch(r"\[Request ID: \w{16}\] Server Error", answer["errorMessage"])
