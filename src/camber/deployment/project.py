"""Where a project keeps things: `[tool.camber]` of its `pyproject.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from camber.errors import CamberError

#: The name of a deployment that was started without a project.
UNNAMED: Final = "camber"


class ProjectError(CamberError):
    """A folder that is no project, or whose `[tool.camber]` is wrong."""

    code = "ProjectError"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project: its root, its functions folder, and where generated files go."""

    root: Path
    name: str
    functions: str
    generated: tuple[str, ...]
    #: Files and folders beside the functions folder that belong to its releases.
    include: tuple[str, ...] = ()

    @property
    def functions_path(self) -> Path:
        """Return the functions folder."""
        return self.root / self.functions


def load_project(root: Path) -> Project:
    """Return the project at `root`.

    Raises:
        ProjectError: there is no `pyproject.toml` with `[tool.camber]`, or it is wrong.
    """
    root = root.resolve()
    file = root / "pyproject.toml"
    if not file.is_file():
        msg = (
            f"{root} has no pyproject.toml. A project has one with\n"
            '    [tool.camber]\n    functions = "backend"'
        )
        raise ProjectError(msg)
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProjectError(f"{file}: {error}") from error
    settings = document.get("tool", {}).get("camber")
    if not isinstance(settings, dict):
        msg = f'{file} has no [tool.camber]; add it, with functions = "backend"'
        raise ProjectError(msg)
    functions = settings.get("functions", "backend")
    if not isinstance(functions, str):
        raise ProjectError(f"{file}: [tool.camber] functions is a folder's name, not {functions!r}")
    generated = settings.get("generated", [f"{functions}/_generated"])
    if not isinstance(generated, list) or not all(isinstance(path, str) for path in generated):
        raise ProjectError(f"{file}: [tool.camber] generated is a list of folders")
    include = settings.get("include", [])
    if not isinstance(include, list) or not all(_is_below(root, path) for path in include):
        raise ProjectError(f"{file}: [tool.camber] include is a list of paths in {root}")
    name = document.get("project", {}).get("name", root.name)
    return Project(
        root=root,
        name=str(name),
        functions=functions,
        generated=tuple(generated),
        include=tuple(include),
    )


def _is_below(root: Path, path: object) -> bool:
    return isinstance(path, str) and (root / path).resolve().is_relative_to(root)


def project_of_server(root: Path | None) -> Project | None:
    """Return the project that a server is started with; None for one that waits for releases.

    A folder that is named must be a project; if none is, the current one may be.

    Raises:
        ProjectError: it is no project, or its `[tool.camber]` is wrong.
    """
    if root is None and not Path("pyproject.toml").is_file():
        return None
    return load_project(root or Path())


def nearest_project(start: Path) -> Project:
    """Return the project of the nearest `pyproject.toml` with `[tool.camber]` above `start`.

    Raises:
        ProjectError: there is none.
    """
    for folder in (start, *start.parents):
        file = folder / "pyproject.toml"
        if file.is_file() and "[tool.camber]" in file.read_text(encoding="utf-8"):
            return load_project(folder)
    msg = f"no pyproject.toml with [tool.camber] in {start} or above it"
    raise ProjectError(msg)
