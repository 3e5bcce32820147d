"""Importing user code: whole packages, afresh, with errors that say where they come from.

The functions folder is a package named after itself, whether it has an `__init__.py` or not, and is
never on `sys.path`: a module called `http` or `logging` shadows nothing. Functions of an earlier
load keep the modules that they were defined in.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from camber.errors import CamberError
from camber.values.paths import is_identifier


class LoadError(Exception):
    """An application that cannot be loaded: `place: what is wrong`, the place with its line.

    `trace` has the frames of the application's own files, for people.
    """

    def __init__(self, place: str, reason: str, *, trace: str = "") -> None:
        super().__init__(f"{place}: {reason}")
        self.place = place
        self.reason = reason
        self.trace = trace


def is_imported_from(package: str, folder: Path) -> bool:
    """Return whether `package` has been imported, from `folder`."""
    module = sys.modules.get(package)
    paths = [Path(path).resolve() for path in getattr(module, "__path__", ())]
    return folder in paths


def forget_package(package: str) -> None:
    """Make the next import of `package` look for it anew."""
    for name in [name for name in sys.modules if is_in(name, package)]:
        del sys.modules[name]


@contextmanager
def imported_anew(packages: Iterable[str]) -> Iterator[None]:
    """Import packages anew within the block; what was imported before is back if it raises."""
    given = tuple(packages)
    previous = {
        name: m for name, m in sys.modules.items() if any(is_in(name, each) for each in given)
    }
    for name in previous:
        del sys.modules[name]
    importlib.invalidate_caches()
    # Two saves within one second, of equal length, look the same to cached bytecode.
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    except BaseException:
        for package in given:
            forget_package(package)
        sys.modules.update(previous)
        raise
    finally:
        sys.dont_write_bytecode = writes_bytecode


def is_in(name: str, package: str) -> bool:
    """Return whether the module called `name` is a package, or in it."""
    return name == package or name.startswith(f"{package}.")


def import_all(root: Path, path: Path, package: str) -> dict[str, ModuleType]:
    """Import every module; return those that may hold functions, by wire name."""
    if str(root) not in sys.path:
        # Last, so that a folder of the project's shadows nothing that is installed.
        sys.path.append(str(root))
    if package not in sys.modules:
        with reporting(root, path / "__init__.py"):
            if "." in package:
                importlib.import_module(package)
            else:
                import_package(path, package)
    modules: dict[str, ModuleType] = {}
    for file in sorted(path.rglob("*.py")):
        parts = file.relative_to(path).with_suffix("").parts
        if any(part.startswith("_") for part in parts):
            continue
        place = relative(file, root)
        for part in parts:
            if not is_identifier(part):
                raise LoadError(place, f"{part!r} cannot name a module: letters, digits and '_'")
        with reporting(root, file):
            modules["/".join(parts)] = importlib.import_module(".".join((package, *parts)))
    return modules


def import_package(path: Path, package: str) -> None:
    """Import a top-level package from a folder, whatever else has its name."""
    init = path / "__init__.py"
    if init.is_file():
        spec = importlib.util.spec_from_file_location(
            package, init, submodule_search_locations=[str(path)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[package] = module
        spec.loader.exec_module(module)
    else:
        module = ModuleType(package)
        module.__path__ = [str(path)]
        sys.modules[package] = module


@contextmanager
def reporting(root: Path, file: Path) -> Iterator[None]:
    """Turn what a module raises while it is imported into a `LoadError` with its place."""
    try:
        yield
    except LoadError:
        raise
    except SyntaxError as error:
        where = Path(error.filename).resolve() if error.filename else file
        place = f"{relative(where, root)}:{error.lineno}"
        raise LoadError(place, f"{type(error).__name__}: {error.msg}") from error
    # Also SystemExit: a module that ends the process when it is imported must not end the server.
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        frames = [
            frame
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename).is_relative_to(root)
        ]
        place = relative(file, root)
        if frames:
            place = f"{relative(Path(frames[-1].filename), root)}:{frames[-1].lineno}"
        reason = str(error) if isinstance(error, CamberError) else _described(error)
        # Where it lies now is a copy of the author's, more often than not.
        reason = reason.replace(f"{root}/", "")
        own = [
            traceback.FrameSummary(
                relative(Path(frame.filename), root), frame.lineno, frame.name, line=frame.line
            )
            for frame in frames
        ]
        trace = "".join(traceback.format_list(own))
        raise LoadError(place, reason, trace=trace) from error


def _described(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def relative(path: Path, root: Path) -> str:
    """Return a path for people: below the project's root if it is there."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def component_folders(root: Path, functions: str) -> list[str]:
    """Return the folders of the project that its components are in, sorted.

    Modules are read, not run: what counts is `Component("…", path="…")` as it stands in an `app.py`.
    So the files of a release, and what to import afresh, are known before anything is.
    """
    found: set[str] = set()
    waiting = [functions]
    while waiting:
        for path in _component_paths(root / waiting.pop() / "app.py"):
            if path not in found and (root / path).resolve().is_relative_to(root.resolve()):
                found.add(path)
                waiting.append(path)
    return sorted(found)


def _component_paths(file: Path) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        # Whoever loads it says what is wrong with it.
        return
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else call.func
        if name != "Component" and getattr(name, "id", None) != "Component":
            continue
        for keyword in call.keywords:
            value = keyword.value
            if keyword.arg == "path" and isinstance(value, ast.Constant):
                yield str(value.value)
