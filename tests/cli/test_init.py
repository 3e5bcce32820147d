"""New projects: they run as they are, and are there whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from typing import Any, cast

import pytest

from camber.cli.init import TEMPLATES, Existing, InitRefused, Template, make_project
from camber.codegen.files import generated_files
from camber.deployment.project import load_project
from camber.functions.loading import load_application
from tests.acceptance.test_node_clients import run_script
from tests.cli.test_cli import camber
from tests.servers import CHAT, REPOSITORY, Server


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("template", ["react", "minimal"])
def test_a_new_project_serves_its_functions_and_passes_its_tests(tmp_path, template):
    done = camber("init", tmp_path / "app", "--template", template)
    assert done.returncode == 0, done.stderr
    assert "cd " in done.stdout
    root = tmp_path / "app"
    before = files_of(root)
    with Server(root, tmp_path / "data", "--executors", "0") as server:
        server.value("mutation", "tasks:add", {"text": "one"})
        (task,) = cast("list[Any]", server.value("query", "tasks:list", {}))
        assert (task["text"], task["done"]) == ("one", False)
    # What `camber dev` generates was there already, letter for letter.
    assert {name for name in files_of(root) if "__pycache__" not in name} == before | {".env.local"}
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tests.returncode == 0, tests.stdout
    assert "3 passed" in tests.stdout


def test_the_generated_files_are_those_of_the_functions(tmp_path):
    project = load_project(make_project(tmp_path / "app", Template.REACT).folder)
    application = load_application(project.root, project.functions)
    for name, text in generated_files(application).items():
        assert (TEMPLATES / "react" / "backend" / "_generated" / name).read_text() == text


@pytest.mark.browser
def test_the_page_builds_and_shows_the_list(tmp_path, chromium):
    root = make_project(tmp_path / "app", Template.REACT).folder
    package = json.loads((root / "package.json").read_text())
    chat = json.loads((CHAT / "package.json").read_text())
    # The same packages are installed for the chat, so no registry is asked.
    for kind in ("dependencies", "devDependencies"):
        assert package[kind] == chat[kind]
    (root / "node_modules").symlink_to(REPOSITORY / "node_modules")
    built = subprocess.run(
        ["npm", "run", "build"],
        cwd=root,
        env={**os.environ, "VITE_CONVEX_URL": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    static = root / "web" / "dist"
    options = ("--static", str(static), "--executors", "0")
    with Server(root, tmp_path / "data", *options, command="start") as server:
        screenshots = os.environ.get("SCREENSHOTS", "")
        run_script("tasks.mjs", server, CHROMIUM=chromium, SCREENSHOTS=screenshots)


def test_the_wheel_holds_the_templates(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    templates = {
        f"camber/cli/templates/{name}" for name in files_of(TEMPLATES) if "__pycache__" not in name
    }
    assert len(templates) > 10
    assert templates <= names


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("full", "is not empty: it has notes.txt"),
        ("notes.txt", "is a file, not a folder"),
        ("notes.txt/app", "File exists"),
        ("ünïcode", "cannot name a project"),
        ("-dash", "cannot name a project"),
        ("x" * 101, "cannot name a project"),
        ("/proc/app", "No such file or directory"),
    ],
)
def test_what_cannot_be_made_is_refused_in_a_line(tmp_path, name, told):
    (tmp_path / "full").mkdir()
    for file in ("notes.txt", "full/notes.txt"):
        (tmp_path / file).write_text("mine")
    before = files_of(tmp_path)
    done = camber("init", "--", tmp_path / name)
    assert done.returncode == 1
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert files_of(tmp_path) == before
    assert {path.name for path in tmp_path.iterdir()} == {"full", "notes.txt"}


def test_force_keeps_what_is_there(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(InitRefused):
        make_project(tmp_path, Template.MINIMAL)
    made = make_project(tmp_path, Template.MINIMAL, Existing.KEEP)
    assert made.kept == ("README.md",)
    assert (tmp_path / "README.md").read_text() == "mine"
    assert load_project(tmp_path).functions == "backend"


def test_a_move_that_fails_half_way_is_undone(tmp_path):
    # A file where the template has a folder.
    (tmp_path / "tests").write_text("mine")
    (tmp_path / ".git").mkdir()
    with pytest.raises(OSError, match="tests"):
        make_project(tmp_path, Template.MINIMAL, Existing.KEEP)
    assert files_of(tmp_path) == {"tests"}
    assert {path.name for path in tmp_path.iterdir()} == {"tests", ".git"}


def test_a_repository_without_files_is_empty(tmp_path):
    (tmp_path / ".git").mkdir()
    assert make_project(tmp_path, Template.MINIMAL).kept == ()
