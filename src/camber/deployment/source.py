"""Where the code of a release comes from: a folder of sources, and the Python that runs them.

A release is named by what is in it: equal files have an equal digest, wherever they lie and
whenever they were written. Nothing is imported here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from camber.functions.importing import component_folders

#: The origin of what was pushed from the folder that `camber dev` and `camber start` were given.
FOLDER: Final = "folder"
#: The origin of what `camber deploy` uploaded.
UPLOAD: Final = "upload"

#: Files beside the functions folder that every release has, where they exist.
_MANIFESTS = ("pyproject.toml", "requirements.txt")
#: What never belongs to a release, whatever includes it: made by tools, or secret.
_IGNORED_NAMES = frozenset(
    {
        ".camber", ".DS_Store", ".git", ".hg", ".mypy_cache", ".pytest_cache", ".ruff_cache",
        ".tox", ".venv", "__pycache__", "node_modules", "venv",
    }
)  # fmt: skip
_IGNORED_SUFFIXES = frozenset({".pyc", ".pyo"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSource:
    """One release's sources, as they are to be loaded.

    `root` is the project's root and `functions` the name of the functions folder in it. `python`
    is the interpreter of the environment that its dependencies are installed in; None where it
    needs nothing beyond what the server itself has.
    """

    root: Path
    functions: str
    python: Path | None = None
    #: SHA-256 of its files, in hex.
    digest: str
    #: `folder` or `upload`.
    origin: str


def folder_source(root: Path, functions: str, include: Iterable[str] = ()) -> ReleaseSource:
    """Return a project's folder as the source of a release; its dependencies are the server's.

    Raises:
        OSError: a file cannot be read.
    """
    files = release_files(root, functions, include)
    return ReleaseSource(
        root=root, functions=functions, digest=digest_of(root, files), origin=FOLDER
    )


def release_files(root: Path, functions: str, include: Iterable[str] = ()) -> list[str]:
    """Return the paths of a release's files below `root`, with `/`, sorted.

    These are the functions folder, the folders of components, `pyproject.toml`, `requirements.txt`,
    and what `include` names: files and folders, below `root`. Links, and what tools and secrets leave
    behind, stay out.
    """
    found: set[str] = set()
    for name in (functions, *component_folders(root, functions), *_MANIFESTS, *include):
        found.update(files_below(root, name))
    return sorted(found)


def files_below(root: Path, name: str) -> list[str]:
    """Return the paths below `root` of the file `name`, or of those in the folder `name`."""
    return [path.relative_to(root).as_posix() for path in _files(root / name)]


def digest_of(root: Path, files: Iterable[str]) -> str:
    """Return the SHA-256 of the names and contents of files below `root`, in hex.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for name in files:
        content = hashlib.sha256((root / name).read_bytes()).hexdigest()
        digest.update(f"{content} {name}\n".encode())
    return digest.hexdigest()


def is_ignored(name: str) -> bool:
    """Return whether a file or folder of this name never belongs to a release."""
    return (
        name in _IGNORED_NAMES
        or name == ".env"
        or name.startswith(".env.")
        or Path(name).suffix in _IGNORED_SUFFIXES
    )


def _files(path: Path) -> Iterator[Path]:
    if is_ignored(path.name) or path.is_symlink():
        return
    if path.is_dir():
        for child in path.iterdir():
            yield from _files(child)
    elif path.is_file():
        yield path
