"""`camber logs`, and what servers print of functions."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from camber.cli.log_entries import LogEntry, Used, for_machines, shown_lines, shown_success
from camber.cli.main import app
from tests.cli.test_cli import camber
from tests.functions.projects import write_project
from tests.servers import ADMIN_KEY, Server

_MODULE = """
    from camber import AppError, MutationCtx, QueryCtx, mutation, query

    @query
    def levels(ctx: QueryCtx, key: str = "") -> None:
        ctx.log.debug("low", key)
        print("printed", key)
        ctx.log.warn("high", key)

    @mutation
    def adds(ctx: MutationCtx, text: str) -> None:
        ctx.db.insert("things", {"text": text})

    @query
    def breaks(ctx: QueryCtx, text: str = "no") -> None:
        raise ValueError(text)
"""
_LIMIT_S = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that has run some functions."""
    folder = tmp_path_factory.mktemp("logs")
    project = write_project(folder / "project", talk=_MODULE, other__deep=_MODULE)
    with Server(project, folder / "data", command="start") as server:
        server.call("query", "talk:levels", {"key": "a"}, **{"Convex-Request-Id": "first"})
        server.call("query", "talk:levels", {"key": "a"})
        server.call("query", "other/deep:breaks", {}, **{"Convex-Request-Id": "second"})
        server.call("mutation", "talk:adds", {"text": "x"})
        yield server


def _logs(server, *options):
    target = ["--url", server.url, "--admin-key", ADMIN_KEY]
    done = CliRunner().invoke(app, ["logs", *target, "--no-follow", *options])
    assert done.exit_code == 0, done.stderr
    return [re.sub(r"^[\d:.]+ ", "", line) for line in done.stdout.splitlines()]


_LINES = [
    "Q(talk:levels) [DEBUG] 'low' 'a'",
    "Q(talk:levels) [LOG] 'printed' 'a'",
    "Q(talk:levels) [WARN] 'high' 'a'",
]


def test_lines_and_failures_are_printed(server):
    lines = _logs(server)
    assert lines[:3] == _LINES
    assert lines[3] == "Q(other/deep:breaks) Uncaught ValueError: no"
    assert re.fullmatch(r" {8}at functions\d+/other/deep\.py:\d+ in breaks", lines[4])
    assert re.fullmatch(r" {4}failed in [\d.]+ ms, request second", lines[5])
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--level", "log"], [*_LINES[1:], "breaks"]),
        (["--level", "warn"], [_LINES[2], "breaks"]),
        (["--level", "error"], ["breaks"]),
        (["--function", "talk"], _LINES),
        (["--function", "talk:levels"], _LINES),
        (["--function", "talk:level"], []),
        (["--function", "tal"], []),
        (["--function", "other"], ["breaks"]),
        (["--function", "other/deep"], ["breaks"]),
        (["--request", "first"], _LINES),
        (["--request", "second"], ["breaks"]),
        (["--search", "PRINTED"], [_LINES[1]]),
        (["--search", "valueerror"], ["breaks"]),
        (["--history", "1"], ["breaks"]),
        (["--history", "0"], []),
        (["--history", "1", "--function", "talk"], _LINES),
        (["--success", "--function", "talk:adds"], ["wrote 1 document (71 bytes), request"]),
        (["--success", "--level", "warn", "--function", "talk:adds"], []),
    ],
)
def test_what_is_printed_can_be_chosen(server, options, expected):
    lines = [line for line in _logs(server, *options) if not line.startswith(" ")]
    assert len(lines) == len(expected)
    for line, part in zip(lines, expected, strict=True):
        assert part in line


def test_answers_from_the_cache_are_told_with_success(server):
    lines = _logs(server, "--success", "--function", "talk:levels")
    assert lines[:3] == _LINES
    assert "ran in" in lines[3]
    assert "answered from the cache" in lines[4]
    assert len(lines) == 5


def test_whole_entries(server):
    entries = [json.loads(line) for line in _logs(server, "--jsonl", "--history", "2")]
    assert [entry["identifier"] for entry in entries] == ["other/deep:breaks", "talk:adds"]
    assert entries[1]["usageStats"]["databaseWriteDocuments"] == 1
    warned = [json.loads(line) for line in _logs(server, "--jsonl", "--level", "warn")]
    assert [entry["identifier"] for entry in warned] == ["talk:levels", "other/deep:breaks"]


def test_mistakes_are_one_line(server, tmp_path):
    for arguments, told in (
        (("--url", server.url, "--admin-key", "kitchen|00"), "not valid for this deployment"),
        (("--url", "http://127.0.0.1:1", "--admin-key", "a|b"), "does not answer"),
        (("--dir", str(tmp_path)), "no deployment is named"),
        (("--url", server.site_url, "--admin-key", ADMIN_KEY), "HTTP actions"),
    ):
        done = camber("logs", *arguments)
        assert done.returncode == 1
        assert told in done.stderr
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""


def test_a_reader_may_leave(server):
    command = [sys.executable, "-m", "camber", "logs", "--url", server.url]
    command += ["--admin-key", ADMIN_KEY, "--history", "99"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    while process.poll() is None:
        server.call("query", "talk:breaks", {})
    assert process.returncode == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


@contextmanager
def _following(server, *options):
    """Run `camber logs`; yields the process once it has printed what there was."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "camber", "logs", "--url", server.url,
            "--admin-key", ADMIN_KEY, "--history", "1", *options,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    watchdog = threading.Timer(_LIMIT_S, process.kill)
    watchdog.start()
    with process:
        yield process
        process.send_signal(signal.SIGINT)
        process.wait()
        watchdog.cancel()


def test_following_goes_on_over_a_restart(tmp_path):
    project = write_project(tmp_path / "project", talk=_MODULE)
    with Server(project, tmp_path / "data") as server:
        server.call("query", "talk:breaks", {"text": "one"})
        with _following(server, "--search", "ValueError") as process:
            assert "ValueError: one" in process.stdout.readline()
            server.call("query", "talk:levels", {})
            server.call("query", "talk:breaks", {"text": "two"})
            assert "ValueError: two" in [process.stdout.readline() for _ in range(3)][-1]
            server.restart()
            server.call("query", "talk:breaks", {"text": "three"})
            assert "ValueError: three" in [process.stdout.readline() for _ in range(3)][-1]
        assert process.returncode == 130


# What servers print.


def test_dev_prints_what_functions_log(tmp_path):
    project = write_project(tmp_path / "project", talk=_MODULE)
    with Server(project, tmp_path / "data") as server:
        server.call("query", "talk:levels", {"key": "b"})
        server.wait_for(re.compile(r"Q\(talk:levels\) \[WARN\] 'high' 'b'"))
        server.call("query", "talk:breaks", {})
        server.wait_for(re.compile(r"Q\(talk:breaks\) Uncaught ValueError: no"))
        server.wait_for(re.compile(r"    failed in [\d.]+ ms, request [0-9a-f]{16}$"))


def test_what_functions_log_need_not_be_printed(tmp_path):
    project = write_project(tmp_path / "project", talk=_MODULE)
    with Server(project, tmp_path / "data", "--no-tail-logs") as server:
        server.call("query", "talk:breaks", {})
        server.stop()
    assert "ValueError" not in "".join(server.output)


def test_json_is_one_object_a_line_and_has_no_secrets(tmp_path):
    project = write_project(tmp_path / "project", talk=_MODULE, app__log=_IMPORTS)
    with Server(project, tmp_path / "data", "--log-format", "json", command="start") as server:
        key = {"Authorization": f"Convex {ADMIN_KEY}"}
        changes = {"changes": [{"name": "API_KEY", "value": "hush-hush"}]}
        answer = server.post("/api/update_environment_variables", changes, **key)
        assert answer.status_code == 200
        server.call("query", "talk:levels", {"key": "c"}, **key)
        server.call("mutation", "talk:adds", {"text": "line\nbreak"})
        server.call("query", "talk:breaks", {"text": "two\nlines"})
        server.post(f"/api/query?adminKey={ADMIN_KEY}", {"path": "talk:levels", "args": {}})
        server.stop()
    entries = [json.loads(line) for line in server.output]
    assert all({"level", "time", "event"} <= set(entry) for entry in entries)
    assert [entry["url"] for entry in entries if "url" in entry] == [server.url]
    assert "an old thing" in next(e["message"] for e in entries if e["event"] == "log")
    levels, adds, breaks = [entry for entry in entries if entry["event"] == "function"][:3]
    assert [line["level"] for line in levels["lines"]] == ["debug", "log", "warn"]
    assert levels["level"] == "warn"
    assert (adds["function"], adds["kind"], adds["level"]) == ("talk:adds", "mutation", "info")
    assert (adds["documents_written"], adds["cached"], adds["retries"]) == (1, False, 0)
    assert (breaks["level"], breaks["outcome"]) == ("error", "failure")
    assert breaks["error"].startswith("Uncaught ValueError: two\nlines\n    at ")
    output = "".join(server.output)
    assert ADMIN_KEY.partition("|")[2] not in output
    assert "hush-hush" not in output


_IMPORTS = """
    import warnings
    warnings.warn("an old thing", stacklevel=1)
"""


# The texts themselves.


def _entry(**more):
    return LogEntry(
        kind="Completion",
        udf_type="Query",
        identifier="m:f",
        timestamp=1.0,
        request_id="r",
        execution_id="e",
        log_lines=(),
        **more,
    )


@given(st.text(max_size=30))
@example("\x1b[2J\x1b[1;1H")
@example("ok\n23:00:00.000 Q(m:f) [LOG] 'forged'")
@example("a\u2028b\u202ec")
def test_text_cannot_move_the_cursor_or_begin_a_line(text):
    ((level, line),) = shown_lines(_entry(error=text))
    assert level == "ERROR"
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", line.text)
    assert all(part.startswith("    ") for part in line.text.split("\n")[1:])


def test_counts_are_told_in_words():
    used = Used(database_read_documents=1, database_read_bytes=9, database_write_documents=2)
    shown = shown_success(_entry(usage_stats=used, execution_time=0.0123, mutation_retry_count=1))
    assert shown.text == (
        "ran in 12.3 ms, read 1 document (9 bytes), wrote 2 documents (0 bytes), "
        "lost 1 time to other commits, request r"
    )


def test_components_are_named():
    flat = for_machines(_entry(component_path="ledger"))
    assert flat["component"] == "ledger"
