"""What a release needs beside Camber: named by its `requirements.txt`, else its `pyproject.toml`.

Read here, installed by `environments`. Camber itself is no dependency: a release runs on the
server's own.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from camber.deployment.source import digest_of, files_below
from camber.errors import CamberError

_REQUIREMENTS = "requirements.txt"
_CAMBER = re.compile(r"camber\s*($|[\[<>=!~;@])", re.IGNORECASE)
#: Options that name another file or folder, as pip spells them.
_NAMING = re.compile(
    r"(?P<option>-r|--requirement|-c|--constraint|-f|--find-links)(?:\s+|=)?(?P<path>\S.*)"
)
_OTHER_FILES = frozenset({"-r", "--requirement", "-c", "--constraint"})
_EDITABLE = re.compile(r"(-e|--editable)\b")
_LOCAL = re.compile(r"(?P<path>\.{0,2}/\S*|\.{1,2})(\s|$|;)")
_URL = re.compile(r"[a-z+]+://", re.IGNORECASE)


class DependenciesRefused(CamberError):
    """Dependencies that a release cannot have: the line of the file says which."""

    code = "InvalidDependencies"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """What to install, as pip takes it, and a digest of all that it says and names.

    `arguments` are for a pip that runs in the project's root.
    """

    arguments: tuple[str, ...]
    digest: str


def dependencies_of(root: Path) -> Dependencies | None:
    """Return what the project at `root` needs beside Camber; None if that is nothing.

    Raises:
        DependenciesRefused: it names a path that is not part of the project, or is unreadable.
    """
    if (root / _REQUIREMENTS).is_file():
        lines = list(_lines(root, _REQUIREMENTS))
        if all(_CAMBER.match(line.text) for line in lines):
            return None
        named = {_REQUIREMENTS}
        _collect_paths(root, _REQUIREMENTS, named)
        return Dependencies(
            arguments=("-r", _REQUIREMENTS), digest=_digest(root, sorted(named), ())
        )
    required = [each for each in _project_dependencies(root) if not _CAMBER.match(each)]
    if not required:
        return None
    return Dependencies(arguments=tuple(required), digest=_digest(root, (), required))


@dataclass(frozen=True, slots=True)
class _Line:
    """One requirement or option, and where it stands."""

    text: str
    place: str


def _lines(root: Path, name: str) -> Iterator[_Line]:
    try:
        text = (root / name).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DependenciesRefused(f"{name} is not UTF-8") from None
    joined, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        joined, first = joined + line.removesuffix("\\"), first or number
        if line.endswith("\\"):
            continue
        found = re.sub(r"(^|\s)#.*", "", joined).strip()
        if found:
            yield _Line(found, f"{name}:{first}")
        joined, first = "", 0


def _collect_paths(root: Path, file: str, named: set[str]) -> None:
    """Add the paths that a requirements file names to `named`, and those of files it includes."""
    for line in _lines(root, file):
        if _EDITABLE.match(line.text):
            msg = f"{line.place}: a release's environment holds copies; leave out -e"
            raise DependenciesRefused(msg)
        naming = _NAMING.match(line.text)
        local = _LOCAL.match(line.text)
        if naming is not None and not _URL.match(naming["path"]):
            # pip looks for other requirements beside the file, for anything else from the root.
            is_file = naming["option"] in _OTHER_FILES
            base = (root / file).parent if is_file else root
            path = _inside(root, base / naming["path"].strip(), line)
            if path not in named:
                named.add(path)
                if is_file:
                    _collect_paths(root, path, named)
        elif local is not None:
            named.add(_inside(root, root / local["path"], line))


def _inside(root: Path, path: Path, line: _Line) -> str:
    root = root.resolve()
    found = path.resolve()
    if not found.is_relative_to(root) or not found.exists():
        msg = (
            f"{line.place} names {path.name}, which is not part of the release: keep it in the "
            "project, and name it in [tool.camber] include"
        )
        raise DependenciesRefused(msg)
    return found.relative_to(root).as_posix()


def _project_dependencies(root: Path) -> list[str]:
    try:
        document = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except (FileNotFoundError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DependenciesRefused(f"pyproject.toml: {error}") from error
    required = document.get("project", {}).get("dependencies", [])
    if not isinstance(required, list) or not all(isinstance(each, str) for each in required):
        raise DependenciesRefused("pyproject.toml: [project] dependencies is a list of strings")
    for each in required:
        if each.startswith("-"):
            raise DependenciesRefused(f"pyproject.toml: {each!r} is no dependency")
    return required


def _digest(root: Path, paths: Iterable[str], lines: Iterable[str]) -> str:
    files = sorted({name for path in paths for name in files_below(root, path)})
    text = "\n".join([digest_of(root, files), *lines])
    return hashlib.sha256(text.encode()).hexdigest()
