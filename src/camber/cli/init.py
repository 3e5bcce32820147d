"""`camber init`: a new project, from the templates beside this module.

A template is a list of folders, laid over each other in order. The project is made aside and
then moved to its place, so that it is there whole or not at all.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from camber.cli.console import Console
from camber.cli.reporting import reporting
from camber.errors import CamberError

TEMPLATES = Path(__file__).parent / "templates"

#: Both Python's and npm's packages may have such a name.
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")
_NAME_LENGTH_MAX = 100
_PLACEHOLDER = "{{name}}"
#: Files that tools would heed inside Camber's own repository have another name there.
_RENAMED = {"gitignore": ".gitignore"}
#: A folder that holds nothing else counts as empty.
_UNIMPORTANT = frozenset({".git"})


class InitRefused(CamberError):
    """A project that cannot be made; nothing was written."""

    code = "InitRefused"


class Template(Enum):
    """What a new project has."""

    #: Functions, a page in React and TypeScript, tests.
    REACT = "react"
    #: Functions and tests.
    MINIMAL = "minimal"


_LAYERS = {Template.REACT: ("minimal", "react"), Template.MINIMAL: ("minimal",)}

_NEXT_STEPS = {
    Template.REACT: (
        "camber dev              # serves the backend",
        "npm install             # in another terminal",
        "npm run dev             # serves the page",
    ),
    Template.MINIMAL: (
        "camber dev              # serves it",
        'camber run tasks:add \'{"text": "water the plants"}\'      # in another terminal',
        "camber run tasks:list --watch",
    ),
}


class Existing(Enum):
    """What is done about files that are in the folder already."""

    REFUSE = "refuse"
    #: They stay; of a template's file with the same name nothing is written.
    KEEP = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A new project, and the files of the template that gave way to older ones."""

    folder: Path
    kept: tuple[str, ...]


def make_project(folder: Path, template: Template, existing: Existing = Existing.REFUSE) -> Made:
    """Make a project in `folder`, which need not exist.

    Raises:
        InitRefused: the name cannot be a project's, or the folder has files.
        OSError: the folder cannot be written. Nothing is left behind in either case.
    """
    folder = folder.absolute()
    name = _project_name(folder)
    if folder.exists() and not folder.is_dir():
        raise InitRefused(f"{folder} is a file, not a folder")
    files = _files(template)
    others = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if existing is Existing.REFUSE and (others := sorted(set(others) - _UNIMPORTANT)):
        shown = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
        msg = (
            f"{folder} is not empty: it has {shown}. Choose another folder; or give --force, which "
            "keeps the files that are there and adds the others"
        )
        raise InitRefused(msg)
    parent = folder if folder.is_dir() else folder.parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".camber-init-", dir=parent) as aside:
        # One further in: the outer one is its owner's alone, which a project is not.
        made = Path(aside) / "project"
        made.mkdir()
        for relative, source in files.items():
            target = made / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            text = source.read_text(encoding="utf-8")
            target.write_text(text.replace(_PLACEHOLDER, name), encoding="utf-8")
        if not folder.is_dir():
            made.rename(folder)
            return Made(folder=folder, kept=())
        return Made(folder=folder, kept=_merge(made, folder, list(files)))


def _project_name(folder: Path) -> str:
    name = folder.name.lower().replace(" ", "-")
    if not _NAME.fullmatch(name) or len(name) > _NAME_LENGTH_MAX:
        msg = (
            f"{folder.name!r} cannot name a project: letters, digits, '-', '_' and '.', at most "
            f"{_NAME_LENGTH_MAX}, a letter or digit first and last"
        )
        raise InitRefused(msg)
    return name


def _files(template: Template) -> dict[str, Path]:
    """Return the template's files by the path that each has in a project."""
    found = {}
    for layer in _LAYERS[template]:
        for source in sorted((TEMPLATES / layer).rglob("*")):
            if source.is_file() and "__pycache__" not in source.parts:
                relative = source.relative_to(TEMPLATES / layer)
                renamed = relative.with_name(_RENAMED.get(relative.name, relative.name))
                found[renamed.as_posix()] = source
    return found


def _merge(made: Path, folder: Path, files: list[str]) -> tuple[str, ...]:
    """Move files into a folder that exists; all of them, or none. Return those that were there."""
    kept = tuple(relative for relative in files if (folder / relative).exists())
    files_written: list[Path] = []
    folders_made: list[Path] = []
    try:
        for relative in (each for each in files if each not in kept):
            target = folder / relative
            for above in reversed(target.relative_to(folder).parents):
                if not (folder / above).is_dir():
                    (folder / above).mkdir()
                    folders_made.append(folder / above)
            (made / relative).rename(target)
            files_written.append(target)
    except OSError:
        for path in files_written:
            path.unlink()
        for path in reversed(folders_made):
            shutil.rmtree(path, ignore_errors=True)
        raise
    return kept


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The new folder; its name is the project's.")
    ],
    template: Annotated[
        Template,
        typer.Option(
            "--template",
            help="react: functions and a page in TypeScript; minimal: functions alone.",
            metavar="react|minimal",
        ),
    ] = Template.REACT,
    force: Annotated[  # noqa: FBT002
        bool, typer.Option("--force", help="Add to a folder that has files; those stay.")
    ] = False,
) -> None:
    """Make a new project."""
    console = Console()
    with reporting(console):
        made = make_project(folder, template, Existing.KEEP if force else Existing.REFUSE)
        console.say(f"Made {made.folder.name} from the template {template.value}.")
        for relative in made.kept:
            console.say(f"Kept your own {relative}.")
        here = made.folder == Path.cwd()
        steps = [*([] if here else [f"cd {_quoted(folder)}"]), *_NEXT_STEPS[template]]
        console.say("\n".join(["", *(f"    {step}" for step in steps), ""]))
        console.say("README.md says what is where.")


def _quoted(folder: Path) -> str:
    text = str(folder)
    return f"'{text}'" if " " in text else text
