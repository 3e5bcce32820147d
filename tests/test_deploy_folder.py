"""`deploy/`: what its files say to `camber start` is what `camber start` understands."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import subprocess
import tomllib

import pytest
import typer.main

from camber import limits
from camber.cli.main import app
from camber.server.draining import HEALTH_PATH
from tests.servers import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
OPTIONS = {
    parameter.envvar: parameter for parameter in COMMANDS["start"].params if parameter.envvar
}


def read(name):
    return (DEPLOY / name).read_text()


def docker_instruction(name):
    """Return the last instruction of a kind, in one line."""
    text = re.sub(r"\\\n\s*", "", read("Dockerfile"))
    return [line for line in text.splitlines() if line.startswith(f"{name} ")][-1][len(name) + 1 :]


def unit():
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(read("camber.service"))
    return parser["Service"]


def parsed(arguments):
    """Return what `camber start` makes of a command line."""
    program, command, *rest = arguments
    assert program.rpartition("/")[2] == "camber"
    return COMMANDS[command].make_context(command, rest).params


def test_the_image_starts_a_server():
    params = parsed(json.loads(docker_instruction("CMD")))
    assert params["directory"] is None
    variables = dict(each.split("=", 1) for each in shlex.split(docker_instruction("ENV")))
    ours = {name: value for name, value in variables.items() if name.startswith("CAMBER_")}
    assert set(ours) <= set(OPTIONS)
    assert ours["CAMBER_DATA"] == docker_instruction("VOLUME")
    assert [ours["CAMBER_PORT"], ours["CAMBER_SITE_PORT"]] == docker_instruction("EXPOSE").split()
    for name, value in ours.items():
        OPTIONS[name].process_value(COMMANDS["start"].make_context("start", []), value)
    assert f'{{os.environ[\\"CAMBER_PORT\\"]}}{HEALTH_PATH}' in docker_instruction("HEALTHCHECK")
    assert json.loads(docker_instruction("ENTRYPOINT")) == ["camber-entrypoint"]


def test_the_image_is_built_of_what_it_is_given():
    given = re.findall(r"^!(\S+)", read("Dockerfile.dockerignore"), re.MULTILINE)
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", read("Dockerfile"), re.MULTILINE)
        for source in shlex.split(re.sub(r"--\S+", "", line))[:-1]
    ]
    assert sorted(given) == sorted(source.removeprefix("./") for source in copied)
    assert all((REPOSITORY / source).exists() for source in copied)


def test_the_health_check_of_the_image_is_python(tmp_path):
    check = docker_instruction("HEALTHCHECK")
    command = json.loads(check[check.index("[") :])
    compile(command[2], "HEALTHCHECK", "exec")


def test_fly_knows_the_servers_ports_and_patience():
    fly = tomllib.loads(read("fly.toml"))
    assert (DEPLOY / fly["build"]["dockerfile"]).is_file()
    assert set(fly["env"]) <= set(OPTIONS)
    assert fly["mounts"]["destination"] == docker_instruction("VOLUME")
    ports = [str(service["internal_port"]) for service in fly["services"]]
    assert ports == docker_instruction("EXPOSE").split()
    (check,) = fly["services"][0]["http_checks"]
    assert check["path"] == HEALTH_PATH
    assert float(fly["kill_timeout"].removesuffix("s")) > limits.grace_s
    assert fly["kill_signal"] == docker_instruction("STOPSIGNAL") == unit()["KillSignal"]


def test_the_unit_starts_a_server_and_waits_for_its_end():
    service = unit()
    params = parsed(shlex.split(service["ExecStart"]))
    assert str(params["data"]) == f"/var/lib/{service['StateDirectory']}"
    assert params["host"] == "127.0.0.1"
    assert float(service["TimeoutStopSec"]) > limits.grace_s
    assert service["DynamicUser"] == service["NoNewPrivileges"] == "yes"


@pytest.mark.parametrize("name", ["Dockerfile", "fly.toml", "camber.service"])
def test_commands_in_comments_are_commands(name):
    for line in re.findall(r"camber ((?:deploy|keys|start)\b[^`\n\"]*)", read(name)):
        words = line.split("#")[0].split()
        command = COMMANDS[words[0]]
        if words[0] == "keys":
            command = command.commands[words[1]]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_the_entrypoint_is_shell_and_passes_on_what_it_is_told(tmp_path):
    script = str(DEPLOY / "entrypoint.sh")
    subprocess.run(["sh", "-n", script], check=True)
    assert (DEPLOY / "entrypoint.sh").stat().st_mode & 0o111
    # As another user than root it becomes nobody else.
    assert read("entrypoint.sh").rstrip().endswith('exec "$@"')


def test_pages_name_options_that_there_are():
    known = {
        option
        for command in (COMMANDS, COMMANDS["keys"].commands, COMMANDS["env"].commands)
        for each in command.values()
        for parameter in getattr(each, "params", ())
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    for page in ("hosting.md", "deploying.md"):
        text = (REPOSITORY / "docs" / page).read_text()
        for line in re.findall(r"^(?:    |.*`)(camber [a-z]+.*)$", text, re.MULTILINE):
            for option in re.findall(r"(?<!\S)--[a-z-]+", line.split("`")[0].split("#")[0]):
                assert option in known, f"{page}: {option} in {line}"
