"""`camber deploy`, against a server that runs `camber start`, as a person and a network use them."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import httpx
import pytest

from camber import limits
from camber.deployment.archive import pack
from camber.deployment.source import digest_of, release_files
from tests.acceptance.sockets import raw_client
from tests.cli.commands import camber
from tests.deployment.test_deploying import RANKED, write_release
from tests.deployment.wheels import write_wheel
from tests.servers import ADMIN_KEY, Server

#: Processes would take most of the time, and change nothing about most of what is tried here.
IN_PROCESS = ("--executors", "0")
KEY = {"Authorization": f"Convex {ADMIN_KEY}"}


@pytest.fixture
def server(tmp_path):
    with Server(None, tmp_path / "data", *IN_PROCESS, command="start") as server:
        yield server


def deploy(server, *arguments, key=ADMIN_KEY, **environment):
    return camber("deploy", *arguments, CAMBER_URL=server.url, CAMBER_DEPLOY_KEY=key, **environment)


def number(server):
    return server.value("query", "items:number", {})


def archive_of(root):
    files = release_files(root, "shop")
    stream = io.BytesIO()
    pack(root, files, stream)
    return stream.getvalue(), digest_of(root, files)


def post(server, content, digest, **headers):
    return httpx.post(
        f"{server.url}/api/deploy",
        params={"digest": digest},
        content=content,
        headers={**KEY, **headers},
        timeout=30,
    )


def last_line(response):
    return json.loads(response.text.splitlines()[-1])


def poll(condition):
    """Wait for what a server does without a word."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def leftovers(tmp_path):
    return list((tmp_path / "data" / "releases").glob(".*"))


def test_a_server_without_a_project_lives_by_what_is_deployed_to_it(tmp_path, server):
    health = httpx.get(f"{server.url}/api/health")
    assert (health.status_code, health.json()) == (200, {"status": "waiting"})
    body = {"path": "items:number", "args": {}}
    waiting = server.post("/api/query", body)
    assert (waiting.status_code, waiting.json()["code"]) == (503, "BackendIsNotRunning")

    root = write_release(tmp_path / "shop", 1)
    done = deploy(server, root, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "Nothing was changed. This would be release 1, 2 functions:" in done.stdout
    assert server.post("/api/query", body).status_code == 503
    done = deploy(server, root, "--message", "the first")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "Release 1 serves, 2 functions:\n  + function items:fill\n  + function items:number\n"
        "  + table items\n"
    )
    server.wait_for(re.compile("Pushed 2 functions; new tables: items"))
    assert number(server) == 1

    write_release(root, 2, indexes=RANKED)
    assert "+ index items.by_rank" in deploy(server, root, "-m", "the second").stdout
    assert number(server) == 2
    server.kill()
    server.start()
    assert number(server) == 2

    done = deploy(server, "--rollback")
    assert "- index items.by_rank" in done.stdout
    assert number(server) == 1
    server.restart()
    assert number(server) == 1
    told = deploy(server, "--list").stdout
    assert "back to release 1" in told.splitlines()[0]
    assert "*" in told.splitlines()[0]
    second = next(line for line in told.splitlines() if "the second" in line).split()[0]
    assert deploy(server, "--rollback", second).returncode == 0
    assert number(server) == 2


def test_a_release_that_cannot_serve_changes_nothing(tmp_path, server):
    root = write_release(tmp_path / "shop", 1)
    assert deploy(server, root).returncode == 0
    server.value("mutation", "items:fill", {"count": 3})
    schema = root / "shop" / "schema.py"
    for break_it, told in (
        (lambda: schema.write_text(schema.read_text() + "\nimport nothing_such\n"),
         "shop/schema.py:8: ModuleNotFoundError"),
        (lambda: (
            (root / "prices.py").write_text(""),
            schema.write_text(schema.read_text() + "\nimport prices\n"),
         ), 'prices.py is no part of the release: add include = ["prices.py"] to [tool.camber]'),
        (lambda: schema.write_text(schema.read_text().replace("rank: int", "rank: str")),
         "of table 'items' does not fit the new schema: "),
        (lambda: (root / "requirements.txt").write_text("./nowhere\n"),
         "requirements.txt:1 names nowhere, which is not part of the release"),
        (lambda: (root / "pyproject.toml").write_text("[tool.camber]\nfunctions = 'other'\n"),
         "the functions folder 'other' is not in"),
        (lambda: (root / "pyproject.toml").write_text("[tool.camber]\ninclude = ['..']\n"),
         "[tool.camber] include is a list of paths in"),
    ):  # fmt: skip
        write_release(root, 2)
        (root / "requirements.txt").unlink(missing_ok=True)
        break_it()
        done = deploy(server, root)
        assert done.returncode == 1
        assert told in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
        assert number(server) == 1
    assert not leftovers(tmp_path)


def test_whoever_may_not_deploy_is_told_in_a_line(tmp_path, server, kitchen):
    root = write_release(tmp_path / "shop", 1)
    (tmp_path / "empty").mkdir()
    for run, told in (
        (lambda: deploy(server, root, key="camber|wrong"), "not valid for this deployment"),
        (lambda: deploy(server, root, key="wörng"), "characters that no key has"),
        (lambda: camber("deploy", root, "--url", "http://127.0.0.1:1", "--admin-key", "k"),
         "does not answer"),
        (lambda: camber("deploy", root, "--url", server.url), "no key for"),
        (lambda: camber("deploy", root), "no deployment is named"),
        (lambda: deploy(server, tmp_path / "empty"), "no pyproject.toml"),
        (lambda: deploy(server, "--rollback"), "there is no earlier release"),
        (lambda: deploy(kitchen, root), "takes no releases; `camber start` does"),
        (lambda: deploy(server, root, "--env-file", "nowhere"), "--env-file nowhere is no file"),
        (lambda: deploy(server, root, "-m", "x" * 501), "the message has more than 500 bytes"),
    ):  # fmt: skip
        done = run()
        assert done.returncode == 1
        assert told in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    assert deploy(server, "--rollback", "latest").returncode == 2
    assert not leftovers(tmp_path)


def test_a_file_says_where_to_deploy_and_its_key_goes_nowhere_else(tmp_path, server):
    root = write_release(tmp_path / "shop", 1)
    (root / ".env.production").write_text(
        f'CAMBER_URL="{server.url}/"\nCAMBER_DEPLOY_KEY="{ADMIN_KEY}"\n'
    )
    done = camber("deploy", root)
    assert done.returncode == 0, done.stderr
    assert number(server) == 1
    done = camber("deploy", root, "--url", "http://127.0.0.1:1")
    assert "no key for http://127.0.0.1:1 is known" in done.stderr
    # The file itself was not sent along.
    assert not list((tmp_path / "data" / "releases").rglob(".env*"))


def test_a_front_end_is_built_with_the_deployments_url(tmp_path, server):
    root = write_release(tmp_path / "shop", 1)
    (root / "package.json").write_text('{"devDependencies": {"vite": "8"}}')
    script = "import os; open('built', 'w').write(str({k: v for k, v in os.environ.items() if 'C' in k}))"
    build = f'{sys.executable} -c "{script}"'
    done = deploy(server, root, "--cmd", build)
    assert done.returncode == 0, done.stderr
    built = (root / "built").read_text()
    assert f"'VITE_CONVEX_URL': '{server.url}'" in built
    assert f"'VITE_CONVEX_SITE_URL': '{server.site_url}'" in built
    assert ADMIN_KEY not in built
    done = deploy(server, root, "--cmd", build, "--cmd-url-env-var-name", "ADDRESS_C")
    assert f"'ADDRESS_C': '{server.url}'" in (root / "built").read_text()
    write_release(root, 2)
    done = deploy(server, root, "--cmd", "exit 3")
    assert (done.returncode, "ended with status 3; nothing was pushed" in done.stderr) == (1, True)
    assert number(server) == 1


def test_uploads_that_are_no_release_are_refused(tmp_path, server):
    content, digest = archive_of(write_release(tmp_path / "shop", 1))
    other = archive_of(write_release(tmp_path / "other", 2))[1]
    for response, code in (
        (post(server, b"nonsense", digest), "InvalidArchive"),
        (post(server, b"", digest), "InvalidArchive"),
        (post(server, content[: len(content) // 2], digest), "InvalidArchive"),
        (post(server, content, other), "DigestMismatch"),
    ):
        assert last_line(response)["error"]["code"] == code
    refused = post(server, content, "../../etc")
    assert (refused.status_code, refused.json()["code"]) == (400, "BadRequest")
    refused = httpx.post(f"{server.url}/api/deploy", params={"digest": digest}, content=content)
    assert (refused.status_code, refused.json()["code"]) == (403, "BadDeployKey")
    large = bytes(limits.release_archive_bytes_max + 1)
    refused = post(server, large, digest)
    assert (refused.status_code, refused.json()["code"]) == (400, "ReleaseTooLarge")
    for body in (b"{", b'{"release": "x"}'):
        refused = httpx.post(f"{server.url}/api/deploy/rollback", content=body, headers=KEY)
        assert refused.status_code == 400
    assert not leftovers(tmp_path)
    assert last_line(post(server, content, digest))["result"]["release"] == 1


def begin_upload(server, content, digest, *, sent):
    """Send the head of an upload and its first bytes; return the open socket."""
    parts = urlsplit(server.url)
    peer = socket.create_connection((parts.hostname, parts.port))
    head = (
        f"POST /api/deploy?digest={digest} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Authorization: Convex {ADMIN_KEY}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    peer.sendall(head.encode() + content[:sent])
    return peer


def test_who_leaves_half_way_leaves_nothing(tmp_path, server):
    content, digest = archive_of(write_release(tmp_path / "shop", 1))
    peer = begin_upload(server, content, digest, sent=100)
    poll(lambda: leftovers(tmp_path))
    peer.close()
    poll(lambda: not leftovers(tmp_path))
    # A server that is killed half way forgets what it had when it starts again.
    peer = begin_upload(server, content, digest, sent=100)
    poll(lambda: leftovers(tmp_path))
    server.kill()
    peer.close()
    assert leftovers(tmp_path)
    server.start()
    assert not leftovers(tmp_path)
    assert deploy(server, "--list").stdout == "No release yet\n"


def test_a_server_that_is_killed_while_it_pushes_goes_on_as_before(tmp_path, server):
    root = write_release(tmp_path / "shop", 1)
    assert deploy(server, root).returncode == 0
    began = tmp_path / "began"
    write_release(root, 2)
    (root / "shop" / "slow.py").write_text(
        f"import pathlib, time\npathlib.Path({str(began)!r}).touch()\ntime.sleep(60)\n"
    )
    pushing = subprocess.Popen(
        [sys.executable, "-m", "camber", "deploy", str(root)],
        env={**os.environ, "CAMBER_URL": server.url, "CAMBER_DEPLOY_KEY": ADMIN_KEY},
        stderr=subprocess.PIPE,
        text=True,
    )
    poll(began.exists)
    server.kill()
    _, told = pushing.communicate(timeout=30)
    assert pushing.returncode == 1
    assert "ended the connection before it said how the push went. Nothing was pushed." in told
    server.start()
    assert number(server) == 1
    assert not leftovers(tmp_path)


def test_whoever_interrupts_a_push_takes_it_back(tmp_path, server):
    root = write_release(tmp_path / "shop", 1)
    assert deploy(server, root).returncode == 0
    began, go_on = tmp_path / "began", tmp_path / "go_on"
    write_release(root, 2)
    (root / "shop" / "slow.py").write_text(
        "import pathlib, time\n"
        f"pathlib.Path({str(began)!r}).touch()\n"
        f"while not pathlib.Path({str(go_on)!r}).exists(): time.sleep(0.01)\n"
    )
    pushing = subprocess.Popen(
        [sys.executable, "-m", "camber", "deploy", str(root)],
        env={**os.environ, "CAMBER_URL": server.url, "CAMBER_DEPLOY_KEY": ADMIN_KEY},
        stderr=subprocess.PIPE,
        text=True,
    )
    poll(began.exists)
    pushing.send_signal(signal.SIGINT)
    _, told = pushing.communicate(timeout=30)
    go_on.touch()
    assert pushing.returncode == 130
    assert told.splitlines()[-1] == "Nothing was pushed."
    (root / "shop" / "slow.py").unlink()
    write_release(root, 3)
    assert deploy(server, root).returncode == 0
    assert number(server) == 3
    assert len(deploy(server, "--list").stdout.splitlines()) == 2


def test_a_project_that_is_served_from_its_folder_can_be_deployed_over(tmp_path):
    root = write_release(tmp_path / "shop", 1)
    with Server(root, tmp_path / "data", *IN_PROCESS, command="start") as server:
        assert number(server) == 1
        assert deploy(server, write_release(tmp_path / "other", 2)).returncode == 0
        assert number(server) == 2
        server.restart()
        assert number(server) == 2
        write_release(root, 3)
        server.restart()
        assert number(server) == 3


def test_a_client_that_watches_is_told_of_a_deploy(tmp_path, server):
    root = write_release(tmp_path / "shop", 1)
    deploy(server, root)
    with raw_client(server) as client:
        client.connect()
        client.subscribe((0, "items:number", {}, {}))
        client.until(lambda: client.results)
        write_release(root, 2)
        deploy(server, root)
        client.until(lambda: "2" in str(client.results))


GREETING = """
import greet
from camber import QueryCtx, query


@query
def greeting(ctx: QueryCtx) -> str:
    return greet.hello()
"""


def write_greeting(root, version):
    write_release(root, 1)
    write_wheel(root / "wheels", "greet", version, f"def hello(): return 'hello {version}'\n")
    pyproject = root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text() + 'include = ["wheels"]\n')
    (root / "requirements.txt").write_text(
        f"--no-index\n--find-links wheels\ncamber\ngreet=={version}\n"
    )
    (root / "shop" / "greeting.py").write_text(GREETING)
    return root


def test_releases_run_in_environments_of_their_own(tmp_path):
    root = write_greeting(tmp_path / "shop", "1.0")
    environments = tmp_path / "data" / "environments"
    with Server(None, tmp_path / "data", "--executors", "1", command="start") as server:

        def greeting():
            return server.value("query", "greeting:greeting", {})

        done = deploy(server, root)
        assert done.returncode == 0, done.stderr
        assert "Installing dependencies" in done.stderr
        assert greeting() == "hello 1.0"
        write_greeting(root, "2.0")
        assert deploy(server, root).returncode == 0
        assert greeting() == "hello 2.0"
        assert len(list(environments.iterdir())) == 2
        # What is installed already is not installed again.
        done = deploy(server, "--rollback")
        assert "Installing dependencies" not in done.stderr
        assert greeting() == "hello 1.0"
        write_greeting(root, "3.0")
        (root / "requirements.txt").write_text("--no-index\nnowhere-to-be-found\n")
        done = deploy(server, root)
        assert done.returncode == 1
        assert "No matching distribution found for nowhere-to-be-found" in done.stderr
        assert len(list(environments.iterdir())) == 2
        server.restart()
        assert greeting() == "hello 1.0"


def test_a_server_without_processes_refuses_dependencies(tmp_path, server):
    done = deploy(server, write_greeting(tmp_path / "shop", "1.0"))
    assert done.returncode == 1
    assert "start it with --executors 1 or more" in done.stderr


def test_a_server_may_be_the_first_process_of_a_container(tmp_path):
    contain = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*contain, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody make process namespaces")
    root = write_release(tmp_path / "shop", 1)
    start = [sys.executable, "-m", "camber", "start", str(root), "--port", "0", "--executors", "1"]
    container = subprocess.Popen(
        [*contain, "--kill-child", *start],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert container.stdout is not None
        told = [container.stdout.readline(), container.stdout.readline()]
        assert told[0].startswith("Pushed 2 functions"), told
        url = told[1].split()[4]
        body = {"path": "items:number", "args": {}}
        assert httpx.post(f"{url}/api/query", json=body).json()["value"] == 1
    finally:
        container.kill()
        container.communicate()
