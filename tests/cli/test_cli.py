"""The command line, as a person uses it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys

import pytest

from tests.components.test_components import write_component
from tests.functions.projects import write_project
from tests.servers import ADMIN_KEY, KITCHEN, Server


def camber(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "camber", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


def test_run_calls_a_function(own_kitchen):
    project = own_kitchen.project
    done = camber("run", "notes:add", '{"board": "b", "rank": 2}', "--dir", project)
    assert done.returncode == 0
    assert re.fullmatch(r'"[a-z0-9]{31,37}"\n', done.stdout)
    assert done.stderr == "[LOG] 'adding' 2.0\n"
    done = camber("run", "notes:secret", "--dir", project)
    assert json.loads(done.stdout) == "hidden"
    for arguments, told in (
        (("errors:app_error",), 'Uncaught ConvexError: {"code":"FULL"'),
        (("nowhere:nothing",), "Could not find function for 'nowhere:nothing'"),
        (("../x:y",), "is no function path"),
        (("notes:list", "{"), "the arguments are not JSON"),
        (("notes:list", "[]"), "a JSON object"),
        (("notes:secret", "{}", "--admin-key", "kitchen|no"), "not valid for this deployment"),
        (("notes:secret", "{}", "--url", "http://127.0.0.1:1"), "no key for http://127.0.0.1:1"),
        (("notes:secret", "--url", "http://127.0.0.1:1", "--admin-key", "a|b"), "does not answer"),
        (("notes:secret", "{}", "--identity", "x"), "the identity is not JSON"),
        (("notes:lits",), "There are: notes:list"),
    ):
        done = camber("run", *arguments, "--dir", project)
        assert done.returncode == 1
        assert told in done.stderr, done.stderr


def test_run_can_watch(own_kitchen):
    """It survives a restart of the server, and says only what has changed."""
    watching = subprocess.Popen(
        [
            sys.executable, "-m", "camber", "run", "--watch", "notes:count", '{"board": "b"}',
            "--dir", str(own_kitchen.project),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert watching.stdout is not None
    assert watching.stdout.readline() == "0\n"
    own_kitchen.value("mutation", "notes:add", {"board": "b", "rank": 1})
    assert watching.stdout.readline() == "1\n"
    own_kitchen.restart()
    own_kitchen.value("mutation", "notes:add", {"board": "b", "rank": 1})
    assert watching.stdout.readline() == "2\n"
    watching.kill()
    watching.wait()
    watching.stdout.close()


def test_dev_tells_front_ends_where_it_is(own_kitchen):
    file = own_kitchen.project / ".env.local"
    lines = dict(line.split("=", 1) for line in file.read_text().splitlines())
    assert lines["VITE_CONVEX_URL"] == f'"{own_kitchen.url}"'
    assert lines["CONVEX_SELF_HOSTED_URL"] == f'"{own_kitchen.url}"'
    assert lines["CONVEX_SELF_HOSTED_ADMIN_KEY"] == f'"{ADMIN_KEY}"'
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    generated = own_kitchen.project / "backend" / "_generated"
    assert {f.name for f in generated.iterdir()} == {"api.js", "api.d.ts", "dataModel.d.ts"}


def test_dev_keeps_what_else_is_in_env_local(tmp_path):
    write_project(tmp_path / "p", a="from camber import *")
    (tmp_path / "p" / ".env.local").write_text("MINE=1\nVITE_CONVEX_URL=old\n")
    with Server(tmp_path / "p", tmp_path / "data"):
        text = (tmp_path / "p" / ".env.local").read_text()
    assert text.startswith("MINE=1\n")
    assert "old" not in text


def test_dev_serves_the_last_good_release(own_kitchen):
    value = lambda: own_kitchen.value("query", "values:kinds", {"value": 1})  # noqa: E731
    assert value() == "int"
    own_kitchen.save("values.py", "return type(value).__name__", "return 'new'")
    assert value() == "new"
    own_kitchen.save("values.py", "return 'new'", "return 'newer' +")
    assert value() == "new"
    told = next(line for line in reversed(own_kitchen.output) if "Not pushed" in line)
    assert re.search(r"Not pushed: backend/values\.py:\d+: SyntaxError", told)
    own_kitchen.save("values.py", "return 'newer' +", "return 'newer'")
    assert value() == "newer"


def test_dev_starts_without_a_release_and_takes_the_first_good_one(tmp_path):
    root = write_project(tmp_path / "p", a="import nothing_such")
    with Server(root, tmp_path / "data") as server:
        body = {"path": "a:f", "args": {}}
        answer = server.post("/api/query", body)
        assert (answer.status_code, answer.json()["code"]) == (503, "BackendIsNotRunning")
        folder = next(root.glob("functions*"))
        (folder / "a.py").write_text("from camber import *\n@query\ndef f(ctx) -> int: return 1\n")
        server.wait_for(re.compile("Pushed 1 function"))
        assert server.value("query", "a:f", {}) == 1


def test_dev_pushes_again_when_the_variables_are_set_that_a_push_lacked(tmp_path):
    root = tmp_path / "p"
    declared = """
        from camber import *
        from typing import Literal
        app = App(env={"UNIT": str, "MORE": Literal["x", "y", "z"]})
    """
    write_component(root, "lacking", app=declared)
    app = """
        from camber import *
        app = App()
        one = app.use(Component("one", path="lacking"), env={"UNIT": Env("ONE"), "MORE": Env("TWO")})
    """
    write_project(root, app=app, a="x = 1")
    with Server(root, tmp_path / "data") as server:
        lacking = "Not pushed: components need deployment variables that are not set: "
        assert f"{lacking}ONE, TWO." in "".join(server.output)
        server.set_variables(ONE="kWh")
        server.wait_for(re.compile(f"{lacking}TWO"))
        server.set_variables(TWO="w")
        wrong = (
            "variable TWO, which component 'one' has as MORE, is 'w'; it may be 'x' or 'y' or 'z'"
        )
        server.wait_for(re.compile(wrong))
        server.set_variables(TWO="x")
        server.wait_for(re.compile("Pushed 0 functions"))
        server.set_variables(TWO="y")
        # What serves reads what is set: there is nothing to push.
        (next(root.glob("functions*")) / "a.py").write_text("import nothing_such")
        server.wait_for(re.compile("No module named 'nothing_such'"))
        # What fails for another reason is not helped by a variable.
        server.set_variables(TWO="z")
        (next(root.glob("functions*")) / "a.py").write_text("x = 2")
        server.wait_for(re.compile("Pushed 0 functions"))
        told = [line for line in server.output if "Not pushed" in line or "Pushed" in line]
        assert len(told) == 6
        server.stop()
        assert server.status == 0


def test_ctrl_c_ends_cleanly_and_data_stays(tmp_path):
    with Server(KITCHEN, tmp_path / "data") as server:
        server.value("mutation", "counters:increment", {"name": "x"})
        server.stop()
        assert server.status == 0
        assert "Traceback" not in "".join(server.output)
        server.start()
        assert server.value("query", "counters:read", {"name": "x"}) == 1


def test_start_refuses_what_dev_forgives(tmp_path):
    root = write_project(tmp_path, a="x = 1\nimport nothing_such")
    done = camber("start", root, "--port", 0, "--data", tmp_path / "data")
    assert done.returncode == 1
    assert "a.py:2: ModuleNotFoundError" in done.stderr
    assert "Traceback" not in done.stderr


def test_ports_that_are_taken_are_told_or_moved(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = camber("dev", KITCHEN, "--port", port, "--data", tmp_path / "a")
        assert done.returncode == 1
        assert f"cannot listen on 127.0.0.1:{port}" in done.stderr


def test_a_store_serves_one_server(tmp_path):
    with Server(KITCHEN, tmp_path / "data"):
        done = camber("start", KITCHEN, "--port", 0, "--data", tmp_path / "data")
        assert done.returncode == 1
        assert "open in another server" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("dev", "/nonexistent"), "no pyproject.toml"),
        (
            ("dev", KITCHEN, "--store", "memory:", "--executors", "2"),
            "cannot be shared with executors",
        ),
        (("dev", KITCHEN, "--store", "postgresql://x"), "not built yet"),
        (("dev", KITCHEN, "--store", "oracle://x"), "names no store"),
        (("dashboard",), "dashboard is not built yet"),
    ],
)
def test_misuse_is_told_in_a_line(tmp_path, arguments, told):
    done = camber(*arguments, CAMBER_DATA=str(tmp_path), CAMBER_PORT="0")
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("dev", "--static", "/nonexistent"), "no index.html in /nonexistent"),
        (("dev", "--durability", "maybe"), "'maybe' is not one of"),
        (("start", "--cloud-url", "example.com"), "no origin such as"),
        (("start", "--proxies", "10.0.0.7,proxy"), "'proxy' is no IP address"),
        (("start", "--client-address-header", "X: y"), "'X: y' is no name of a header"),
        (("start", "--max-body-mib", "17"), "less than or equal to 16"),
        (("start", "--port", "70000"), "less than or equal to 65535"),
        (("start", "--log-format", "xml"), "'xml' is not one of"),
        (("dev", "--no-such-option"), "No such option"),
        (("nothing-such",), "No such command"),
    ],
)
def test_options_that_cannot_be_end_with_2(arguments, told):
    done = camber(*arguments)
    assert done.returncode == 2
    assert told in " ".join(done.stderr.replace("│", "").split())
    assert "Traceback" not in done.stderr


def test_options_come_from_the_environment_too(tmp_path):
    server = subprocess.Popen(
        [sys.executable, "-m", "camber", "start", str(KITCHEN)],
        stdout=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "CAMBER_PORT": "0",
            "CAMBER_DATA": str(tmp_path),
            "CAMBER_CLOUD_URL": "https://api.example.com",
            "CAMBER_LOG_FORMAT": "json",
        },
    )
    assert server.stdout is not None
    lines = [json.loads(server.stdout.readline()) for _ in range(2)]
    assert lines[1]["url"] == "https://api.example.com"
    server.send_signal(signal.SIGTERM)
    assert server.wait(timeout=30) == 0
    server.stdout.close()


def test_codegen(tmp_path):
    root = write_project(tmp_path, a="from camber import *\n@query\ndef f(ctx) -> int: return 1\n")
    done = camber("codegen", root, "--check")
    assert (done.returncode, "not what the functions say: functions" in done.stderr) == (1, True)
    assert not list(root.rglob("api.js"))
    assert "Wrote" in camber("codegen", root).stdout
    assert camber("codegen", root).stdout == "Nothing has changed\n"
    assert camber("codegen", root, "--check").returncode == 0
    (generated,) = root.rglob("api.js")
    generated.write_text("edited")
    done = camber("codegen", root, "--check")
    assert (done.returncode, "_generated/api.js" in done.stderr) == (1, True)
    assert generated.read_text() == "edited"


def test_data_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "instance_secret").write_text("not hex")
    done = camber("start", KITCHEN, "--port", 0, "--data", tmp_path)
    assert (done.returncode, "should hold 32 bytes in hex" in done.stderr) == (1, True)
    assert (tmp_path / "instance_secret").read_text() == "not hex"
    (tmp_path / "file").write_text("")
    done = camber("start", KITCHEN, "--port", 0, "--data", tmp_path / "file" / "below")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_the_secret_is_its_owners_alone(tmp_path):
    with Server(KITCHEN, tmp_path / "data"):
        pass
    secret = tmp_path / "data" / "instance_secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    before = secret.read_text()
    with Server(KITCHEN, tmp_path / "data"):
        pass
    assert secret.read_text() == before
