"""Dependencies of releases: which, where they are installed, and when they are not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import camber
from camber.deployment import environments as module
from camber.deployment.dependencies import Dependencies, DependenciesRefused, dependencies_of
from camber.deployment.environments import Environments, InstallFailed
from camber.host import RealHost
from tests.deployment.wheels import write_wheel

PROJECT = '[project]\nname = "p"\ndependencies = [{}]\n[tool.camber]\n'
#: No registry is asked.
LOCAL = "--no-index\n--find-links wheels\n"


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "project"
    write_wheel(folder / "wheels", "greet", "1.0", "def hello(): return 'one'\n")
    (folder / "pyproject.toml").write_text(PROJECT.format(""))
    return folder


@pytest.fixture
def environments(tmp_path):
    return Environments(tmp_path / "environments", RealHost())


def require(root, text):
    (root / "requirements.txt").write_text(text)
    found = dependencies_of(root)
    assert isinstance(found, Dependencies)
    return found


def run(python, code):
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    return done.stdout.strip()


def is_running(process):
    state = Path("/proc", process, "stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    ("requirements", "project"),
    [
        ("", ""),
        ("camber\n", ""),
        ("# nothing\n\ncamber>=0.1 ; python_version > '3'\nCamber[extra]\n", '"requests"'),
        (None, '"camber", "camber>=0.1"'),
        (None, ""),
    ],
)
def test_camber_alone_needs_no_environment(root, requirements, project):
    (root / "pyproject.toml").write_text(PROJECT.format(project))
    if requirements is not None:
        (root / "requirements.txt").write_text(requirements)
    assert dependencies_of(root) is None


def test_pyproject_says_what_is_needed_where_there_are_no_requirements(root):
    (root / "pyproject.toml").write_text(PROJECT.format('"camber", "greet>=1", "camberley"'))
    found = dependencies_of(root)
    assert found is not None
    assert found.arguments == ("greet>=1", "camberley")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("greet\n./nowhere\n", "requirements.txt:2 names nowhere, which is not part"),
        ("-r other.txt\n", "requirements.txt:1 names other.txt"),
        ("--find-links=../elsewhere\n", "requirements.txt:1 names elsewhere"),
        ("/etc/passwd\n", "requirements.txt:1 names passwd"),
        ("greet \\\n  # two lines\n-e ./wheels\n", "requirements.txt:3: a release's environment"),
        ("--requirement more.txt\n", "more.txt:1 names secret"),
    ],
)
def test_paths_outside_of_the_release_are_refused_with_their_line(root, text, told):
    (root / "more.txt").write_text("../secret\n")
    with pytest.raises(DependenciesRefused) as refused:
        require(root, text)
    assert told in refused.value.sentence


def test_the_digest_covers_all_that_is_named(root):
    (root / "more").mkdir()
    (root / "more" / "base.txt").write_text("-r round.txt\n")
    (root / "more" / "round.txt").write_text("-r base.txt\n")
    text = f"{LOCAL}-r more/base.txt\ngreet\n"
    seen = {require(root, text).digest}
    assert require(root, text).digest in seen
    for change in (
        lambda: (root / "more" / "round.txt").write_text("-r base.txt\n# changed\n"),
        lambda: write_wheel(root / "wheels", "greet", "1.0", "def hello(): return 'two'\n"),
        lambda: (root / "wheels" / "other.whl").write_text(""),
    ):
        change()
        digest = require(root, text).digest
        assert digest not in seen
        seen.add(digest)
    (root / "unnamed.txt").write_text("")
    assert require(root, text).digest in seen


@pytest.mark.anyio
async def test_an_environment_has_what_was_asked_for_and_the_servers_own(root, environments):
    wanted = require(root, f"{LOCAL}greet\ncamber\n")
    assert environments.installed(wanted) is None
    python = await environments.install(wanted, root)
    told = run(python, "import camber, greet, msgspec; print(greet.hello(), camber.__file__)")
    assert told == f"one {camber.__file__}"
    # The same dependencies: the same place, and nothing is installed.
    assert await environments.install(wanted, root) == python
    assert environments.installed(wanted) == python
    other = require(root, f"{LOCAL}greet==1.0\n")
    assert await environments.install(other, root) != python
    environments.remove_all_but({environments.name_of(other)})
    assert environments.installed(wanted) is None
    assert environments.installed(other) is not None


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("nowhere-to-be-found", "No matching distribution found for nowhere-to-be-found"),
        ("msgspec<0.1", "msgspec"),
        ("camber==99", "camber"),
        ("greet @@", "requirements.txt"),
    ],
)
async def test_what_cannot_be_installed_is_told_and_leaves_nothing(
    root, environments, tmp_path, line, told
):
    with pytest.raises(InstallFailed) as failed:
        await environments.install(require(root, f"{LOCAL}{line}\n"), root)
    assert told in failed.value.sentence
    assert len(failed.value.sentence.splitlines()) <= 13
    assert not list((tmp_path / "environments").iterdir())


@pytest.mark.anyio
async def test_what_was_cut_short_is_no_environment(root, environments, tmp_path):
    wanted = require(root, f"{LOCAL}greet\n")
    name = environments.name_of(wanted)
    cut_short = tmp_path / "environments" / f"{name}.00000000"
    (cut_short / "bin").mkdir(parents=True)
    assert environments.installed(wanted) is None
    environments.remove_all_but({name})
    assert not cut_short.exists()


@pytest.mark.anyio
async def test_keys_of_the_server_are_no_business_of_what_it_installs(
    root, environments, monkeypatch
):
    monkeypatch.setenv("CAMBER_ADMIN_KEY", "secret")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    output = await RealHost().output_of(
        ["sh", "-c", "echo $CAMBER_ADMIN_KEY-$PYTHONPATH-$PATH"],
        folder=root,
        environment=module._environment(),
        seconds_max=10,
    )
    assert output.text.startswith("--/")


@pytest.mark.anyio
async def test_a_program_that_takes_too_long_is_killed_with_what_it_started(root):
    with pytest.raises(TimeoutError):
        await RealHost().output_of(
            ["sh", "-c", "sleep 60 & echo $! > child; wait"],
            folder=root,
            environment={"PATH": "/usr/bin:/bin"},
            seconds_max=0.5,
        )
    assert not is_running((root / "child").read_text().strip())
