"""What queries and mutations may not do, and what Python does for them all the same."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import textwrap
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from camber.errors import FunctionError
from camber.functions.definition import FunctionKind
from camber.functions.determinism.conditions import Conditions
from camber.host import RealHost
from tests.functions.projects import project_app, write_project

MODULE = """
    import asyncio, datetime, glob, http.client, linecache, multiprocessing, os, pathlib, shutil
    import signal, socket, sqlite3, subprocess, tempfile, threading, time, traceback, urllib.request
    from concurrent.futures import ThreadPoolExecutor
    from zoneinfo import ZoneInfo

    from camber import *

    AT_LOAD = [os.environ["PATH"], pathlib.Path(__file__).stat(), os.listdir(".")]
    with open(__file__) as file:
        AT_LOAD.append(file.readline())

    async def nothing(): ...

    def failing():
        try:
            1 / 0
        except ZeroDivisionError:
            return traceback.format_exc()

    def lazily():
        import wave, importlib
        return importlib.import_module("colorsys"), wave

    def do(what):
        return repr(eval(what))

    @query
    def look(ctx: QueryCtx, what: str) -> str:
        return do(what)

    @mutation
    def change(ctx: MutationCtx, what: str) -> str:
        return do(what)

    @query
    def swallow(ctx: QueryCtx, what: str) -> str:
        try:
            return do(what)
        except Exception as error:
            return type(error).__name__

    @action
    async def act(ctx: ActionCtx, what: str) -> str:
        return do(what)

    @action
    def block(ctx: SyncActionCtx, what: str) -> str:
        return do(what)
"""

#: What is done, what the error calls it, and its code.
REFUSED = {
    "socket.create_connection(('127.0.0.1', 1))": ("socket.getaddrinfo('127.0.0.1')", "Network"),
    "socket.socket()": ("socket.socket(", "Network"),
    "socket.gethostbyname('localhost')": ("socket.gethostbyname('localhost')", "Network"),
    "urllib.request.urlopen('http://127.0.0.1:1')": ("urllib.request.urlopen('http:", "Network"),
    "http.client.HTTPConnection('127.0.0.1', 1).connect()": ("http.client.connect(", "Network"),
    "open('/etc/hostname')": ("open('/etc/hostname')", "Files"),
    "open('made', 'w')": ("open('made')", "Files"),
    "os.open('/etc/hostname', os.O_RDONLY)": ("os.open('/etc/hostname')", "Files"),
    "pathlib.Path('/etc/hostname').read_text()": ("open('/etc/hostname')", "Files"),
    "pathlib.Path('made').write_bytes(b'')": ("open('made')", "Files"),
    "pathlib.Path('made').mkdir()": ("os.mkdir('made')", "Files"),
    "pathlib.Path('made').unlink()": ("os.remove('made')", "Files"),
    "os.listdir('/')": ("os.listdir('/')", "Files"),
    "next(os.walk('/'))": ("os.walk('/')", "Files"),
    "os.rename('a', 'b')": ("os.rename('a')", "Files"),
    "glob.glob('*')": ("glob.glob('*')", "Files"),
    "shutil.rmtree('made')": ("shutil.rmtree('made')", "Files"),
    "tempfile.mkdtemp()": ("tempfile.mkdtemp(", "Files"),
    "tempfile.TemporaryFile()": ("open('", "Files"),
    "sqlite3.connect('made')": ("sqlite3.connect('made')", "Files"),
    "input()": ("input()", "Files"),
    "subprocess.run(['true'])": ("subprocess.Popen('true')", "Processes"),
    "os.system('true')": ("os.system(", "Processes"),
    "os.popen('true')": ("subprocess.Popen(", "Processes"),
    "os.fork()": ("os.fork()", "Processes"),
    "os.posix_spawn('/bin/true', ['true'], {})": ("os.posix_spawn('/bin/true')", "Processes"),
    "os.kill(os.getpid(), 0)": ("os.kill(", "Processes"),
    "multiprocessing.get_context('fork').Process(target=do).start()": ("os.fork()", "Processes"),
    "multiprocessing.get_context('spawn').Process(target=do).start()": (
        "_posixsubprocess.fork_exec(",
        "Processes",
    ),
    "threading.Thread(target=do).start()": ("threading.Thread.start()", "Threads"),
    "ThreadPoolExecutor().submit(do)": ("threading.Thread.start()", "Threads"),
    "__import__('_thread').start_new_thread(do, ())": ("_thread.start_new_thread(", "Threads"),
    "threading.Timer(0, do).start()": ("threading.Timer.start()", "Timers"),
    "time.sleep(0)": ("time.sleep(0)", "Timers"),
    "signal.alarm(1)": ("signal.alarm(1)", "Timers"),
    "signal.setitimer(signal.ITIMER_REAL, 1)": ("signal.setitimer(", "Timers"),
    "asyncio.run(nothing())": ("asyncio.run()", "EventLoops"),
    "asyncio.new_event_loop()": ("asyncio.new_event_loop()", "EventLoops"),
    "asyncio.Runner().run(nothing())": ("asyncio.new_event_loop()", "EventLoops"),
    "os.environ['PATH']": ("os.environ['PATH']", "Environ"),
    "os.environ.get('PATH')": ("os.environ['PATH']", "Environ"),
    "os.getenv('ABSENT')": ("os.environ['ABSENT']", "Environ"),
    "'PATH' in os.environ": ("os.environ['PATH']", "Environ"),
    "dict(os.environ)": ("os.environ ", "Environ"),
    "os.environ.update(A='1')": ("os.putenv(", "Environ"),
}
#: What Python opens for itself, and what reads nothing that changes.
ALLOWED = [
    "lazily()",
    "failing()",
    "linecache.getline(__file__, 3)",
    "datetime.datetime.now(ZoneInfo('Europe/Paris'))",
    "ZoneInfo.no_cache('Asia/Tokyo')",
    "datetime.datetime.strptime('2026', '%Y')",
    "os.stat('/').st_mode",
    "os.path.exists('/')",
    "os.path.expanduser('~')",
    "tempfile.gettempprefix()",
    "threading.Lock()",
    "AT_LOAD",
    "open(os.__file__).close() or 1",
    "__import__('mimetypes').MimeTypes().guess_type('a.png')",
    "ZoneInfo('Europe/Paris').key",
]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with project_app(tmp_path_factory.mktemp("refusals"), m=MODULE) as app:
        yield app


@pytest.mark.filterwarnings("ignore:coroutine 'nothing':RuntimeWarning")
@pytest.mark.parametrize("what", REFUSED)
def test_refused(app, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    called, rule = REFUSED[what]
    for kind, run in (("query", app.query), ("mutation", app.mutation)):
        function = "m:look" if kind == "query" else "m:change"
        with pytest.raises(FunctionError) as caught:
            run(function, what=what)
        text = str(caught.value)
        assert f"No{rule}InQueriesOrMutations: {called}" in text
        assert f" in a {kind}. " in text
        assert ("ctx.env" if rule == "Environ" else "action") in text
        assert "/m.py:" in text
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("what", ALLOWED)
def test_allowed(app, what):
    assert app.query("m:look", what=what)


def test_an_error_is_one_that_user_code_may_catch(app):
    assert app.query("m:swallow", what="open('/etc/hostname')") == "RefusedCall"


def test_actions_do_as_they_like(app, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for function in ("m:act", "m:block"):
        for what in (
            "open('/dev/null').close()",
            "socket.socket().close()",
            "time.sleep(0)",
            "threading.Thread(target=print).start()",
            "subprocess.run(['true']).returncode",
            "os.environ['PATH']",
        ):
            assert app.action(function, what=what)
    years = {app.action("m:act", what="datetime.datetime.now(datetime.UTC).year") for _ in range(2)}
    assert years == {repr(datetime.now(UTC).year)}
    draws = [app.action("m:act", what="os.urandom(8)") for _ in range(2)]
    assert draws[0] != draws[1]


def test_libraries_may_read_the_environment(tmp_path):
    """They do so for reasons of their own, such as whether a terminal has colours."""
    code = """
        import shutil
        from camber import *
        @query
        def look(ctx: QueryCtx) -> int:
            return shutil.get_terminal_size().columns
    """
    with project_app(tmp_path, m=code) as app:
        assert app.query("m:look") > 0


def test_installed_packages_may_read_their_data(tmp_path):
    """It is as fixed as their code. To change it is another matter."""
    installed = tmp_path / "site-packages" / "lazy_reader_of_tests"
    installed.mkdir(parents=True)
    (installed / "data.txt").write_text("bonjour")
    (installed / "__init__.py").write_text(
        "import os\n"
        "def data(mode): \n"
        "    with open(os.path.join(os.path.dirname(__file__), 'data.txt'), mode) as file:\n"
        "        return file.read()\n"
    )
    code = """
        import lazy_reader_of_tests as reader
        from camber import *
        @query
        def look(ctx: QueryCtx, mode: str) -> str:
            return reader.data(mode)
    """
    sys.path.append(str(installed.parent))
    try:
        with project_app(tmp_path / "project", m=code) as app:
            assert app.query("m:look", mode="r") == "bonjour"
            for mode in ("w", "a", "r+", "x"):
                with pytest.raises(FunctionError, match="NoFilesInQueriesOrMutations: open"):
                    app.query("m:look", mode=mode)
    finally:
        sys.path.remove(str(installed.parent))
        sys.modules.pop("lazy_reader_of_tests", None)
    assert (installed / "data.txt").read_text() == "bonjour"


def test_a_module_that_a_run_is_first_to_import_loads_outside_of_it(tmp_path):
    """It stays for all that come after, who must not share its moment or its chance."""
    library = tmp_path / "library"
    library.mkdir()
    (library / "lazy_library_of_tests.py").write_text(
        "import random, time\n"
        "with open(__file__) as file: data = file.readline()\n"
        "loaded, chance = time.time_ns(), random.Random().random()\n"
    )
    code = """
        import time
        from camber import *
        @query
        def look(ctx: QueryCtx) -> list[float]:
            import lazy_library_of_tests as lazy
            return [lazy.loaded / 1e9, time.time()]
    """
    sys.path.append(str(library))
    try:
        with project_app(tmp_path / "project", m=code) as app:
            loaded, frozen = app.query("m:look")
    finally:
        sys.path.remove(str(library))
        sys.modules.pop("lazy_library_of_tests", None)
    # The clock of the application under test stands in January.
    assert loaded - frozen > 86_400


def test_debuggers_work(tmp_path):
    """`executors = 0` is there for them: breakpoint(), its files, its prompt, what it prints."""
    write_project(
        tmp_path,
        m="""
            import pdb
            from camber import *

            @query
            def look(ctx: QueryCtx) -> int:
                x = 41
                breakpoint()
                return x + 1

            @mutation
            def change(ctx: MutationCtx) -> int:
                x = 51
                pdb.set_trace()
                return x + 1
        """,
    )
    (tmp_path / ".pdbrc").write_text("alias shout p 'loud', x\n")
    script = f"""
        from camber.testing import TestApp
        with TestApp({str(tmp_path)!r}) as app:
            print("query", app.query("m:look"))
            print("mutation", app.mutation("m:change"))
    """
    session = "shout\nlist\nprint('typed', x)\nx = 1\ncontinue\n" * 2
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        input=session,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONBREAKPOINT": "pdb.set_trace"},
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    for shown in ("('loud', 41)", "('loud', 51)", "typed 41", "breakpoint()", "query 2"):
        assert shown in done.stdout
    assert "mutation 2" in done.stdout


def test_other_threads_are_not_touched_meanwhile(tmp_path):
    """The server's own, when it runs queries in its process: its clock, its tokens, its files."""
    code = """
        import threading, time
        from camber import *

        started, may_end = threading.Event(), threading.Event()

        @query
        def look(ctx: QueryCtx) -> list[float]:
            before = time.time()
            started.set()
            may_end.wait(60)
            return [before, time.time()]
    """
    with project_app(tmp_path, m=code) as app:
        module = sys.modules[app._core.application.package + ".m"]
        seen = []
        running = threading.Thread(target=lambda: seen.append(app.query("m:look")))
        running.start()
        assert module.started.wait(60)
        try:
            assert abs(time.time_ns() - RealHost().now_ns()) < 60 * 10**9
            assert len({os.urandom(8) for _ in range(9)} | {random.randbytes(8)}) == 10
            assert Path("/etc/passwd").read_bytes()
            assert os.environ["PATH"]
            time.sleep(0)
            socket.socket().close()
            other = threading.Thread(target=seen.append, args=["other"])
            other.start()
            other.join()
        finally:
            module.may_end.set()
            running.join()
    assert seen[0] == "other"
    assert seen[1][0] == seen[1][1]


def test_the_host_is_real_within_a_run_too():
    """Ids are made by it while user code runs: nobody may guess them from a function's results."""
    with Conditions(now_ns=0, seed=lambda: bytes(32), kind=FunctionKind.QUERY) as conditions:
        host = RealHost()
        drawn = {host.random_bytes(8) for _ in range(2)}
        with Conditions(now_ns=0, seed=lambda: bytes(32), kind=FunctionKind.QUERY):
            drawn.add(host.random_bytes(8))
        assert len(drawn) == 3
        assert host.now_ns() > 10**18
        assert host.monotonic() > 0
        assert host.thread_seconds() > 0
        assert not conditions.observed_time
