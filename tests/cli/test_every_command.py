"""What holds for every command: its help, its examples, its completion, and how it ends."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from camber.cli.examples import EXAMPLES
from camber.cli.main import app
from tests.cli.commands import camber
from tests.servers import ADMIN_KEY


def leaves(command, words=()):
    """Yield every command that does something, with its words."""
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(words), command
        return
    for name, each in below.items():
        yield from leaves(each, (*words, name))


ROOT = typer.main.get_command(app)
COMMANDS = dict(leaves(ROOT))
BUILT = sorted(set(COMMANDS) - {"dashboard"})


def test_every_command_has_examples_that_are_commands():
    assert set(EXAMPLES) == set(BUILT)
    for words, examples in EXAMPLES.items():
        for example in examples:
            program, *arguments = shlex.split(example.split(" > ")[0])
            assert program == "camber"
            assert " ".join(arguments).startswith(words)
            if "--static" not in arguments:  # which must be there
                COMMANDS[words].make_context(words, arguments[len(words.split()) :])


@pytest.mark.parametrize("words", BUILT)
def test_help_says_all(words):
    command = COMMANDS[words]
    done = camber(*words.split(), "--help", COLUMNS="200", TERMINAL_WIDTH="200")
    assert done.returncode == 0
    assert EXAMPLES[words][0] in done.stdout
    assert command.help.endswith(".")
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{words}: {parameter.name} says nothing"
    assert camber(*words.split(), "--no-such-option").returncode == 2


def test_without_a_command_the_help_is_shown():
    done = camber()
    assert done.returncode == 2
    for words in COMMANDS:
        assert words.split()[0] in done.stdout + done.stderr


#: A server that is not there.
AWAY = ["--url", "http://127.0.0.1:1", "--admin-key", "a|b"]
#: What each command takes at least, to come as far as its server.
CALLS = {
    "components list": [],
    "components delete": ["ledger", "--yes"],
    "deploy": [],
    "run": ["a:b"],
    "explain": ["a:b"],
    "data": [],
    "logs": [],
    "status": [],
    "export": [],
    "import": ["rows.jsonl", "--table", "rows", "--append"],
    "env list": [],
    "env get": ["A"],
    "env set": ["A", "b"],
    "env remove": ["A"],
    "keys create": ["--name", "n", "--scope", "deploy"],
    "keys list": [],
    "keys revoke": ["n"],
    "auth keys rotate": [],
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "pyproject.toml").write_text('[tool.camber]\nfunctions = "backend"\n')
    (tmp_path / "backend").mkdir()
    return tmp_path


def test_all_that_call_a_server_are_tried():
    assert set(CALLS) == set(BUILT) - {"init", "dev", "start", "codegen", "keys root", "auth init"}


@pytest.mark.parametrize("words", CALLS)
def test_a_server_that_cannot_be_reached_is_told_in_a_line(project, words):
    for given, told in (
        (AWAY, "does not answer"),
        (["--url", "http://127.0.0.1:1"], "no key for http://127.0.0.1:1 is known"),
        (["--url", "127.0.0.1"], "is no origin of a deployment"),
        ([], "no deployment is named"),
    ):
        done = camber(*words.split(), *CALLS[words], *given)
        assert (done.returncode, done.stdout) == (1, "")
        *steps, last = done.stderr.splitlines()
        assert told in last
        # A push says first that it uploads.
        assert len(steps) == (words == "deploy" and told == "does not answer")


@pytest.mark.parametrize("words", CALLS)
def test_a_key_that_is_not_the_servers_is_told_in_a_line(project, kitchen, words):
    done = camber(*words.split(), *CALLS[words], "--url", kitchen.url, "--admin-key", "kitchen|no")
    assert (done.returncode, done.stdout) == (1, "")
    assert "not valid for this deployment" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["dev", "nowhere"], "nowhere has no pyproject.toml"),
        (["start", "nowhere"], "nowhere has no pyproject.toml"),
        (["codegen", "nowhere"], "nowhere has no pyproject.toml"),
        (["deploy", "nowhere", *AWAY], "nowhere has no pyproject.toml"),
        (["keys", "root"], "instance_secret"),
        (["import", "nowhere.zip", *AWAY], "nowhere.zip"),
        (["run", "a:b", "{", *AWAY], "the arguments are not JSON"),
        (["env", "set", "--from-file", "nowhere", *AWAY], "nowhere"),
        (["init", "."], "is not empty"),
        (["auth", "init", "nowhere"], "nowhere has no pyproject.toml"),
        (["auth", "keys", "rotate", "--trusted-for", "1x", *AWAY], "is no duration"),
    ],
)
def test_mistakes_are_told_in_a_line(project, arguments, told):
    done = camber(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("content", ["", "[tool.camber", "[tool.camber]\nfunctions = 3\n", "a = 1"])
def test_a_pyproject_that_is_none_is_told(project, content):
    (project / "pyproject.toml").write_text(content)
    for command in ("dev", "start", "codegen"):
        done = camber(command)
        assert done.returncode == 1
        assert "pyproject.toml" in done.stderr
        assert "Traceback" not in done.stderr


SCRIPT = Path(sys.executable).with_name("camber")


def completed(words, last, *, shell="bash", **environment):
    """Return what a shell is offered for the last word."""
    line = ["camber", *words, last]
    done = subprocess.run(
        [SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "_CAMBER_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": " ".join(line),
            "COMP_CWORD": str(len(line) - 1),
            "_TYPER_COMPLETE_ARGS": " ".join(line),
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            **environment,
        },
    )
    return [each.split("\t")[0] for each in done.stdout.splitlines() if each]


def test_a_shell_completes_commands_options_and_names(kitchen):
    assert completed([], "de") == ["dev", "deploy"]
    assert "--rollback" in completed(["deploy"], "--ro")
    assert completed(["env"], "re") == ["remove"]
    known = {"CAMBER_URL": kitchen.url, "CAMBER_ADMIN_KEY": ADMIN_KEY}
    assert "notes" in completed(["data"], "no", **known)
    assert "notes:add" in completed(["run"], "notes:a", shell="fish", **known)
    # Nobody who presses Tab wants to read of servers that are away.
    away = {"CAMBER_URL": "http://127.0.0.1:1", "CAMBER_ADMIN_KEY": ADMIN_KEY}
    assert completed(["data"], "no", **away) == []


def test_completion_can_be_shown_for_the_shell_that_asks():
    script = f"{shlex.quote(str(SCRIPT))} --show-completion; true"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert "_CAMBER_COMPLETE=complete_bash" in done.stdout
    subprocess.run(["bash", "-n", "-c", done.stdout], check=True)
