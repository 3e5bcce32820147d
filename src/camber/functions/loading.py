"""Loading an application: every module of its functions folder, imported afresh.

The folder is a package named after itself, whether it has an `__init__.py` or not, and is never on
`sys.path`: a module called `http` or `logging` shadows nothing. Functions of an earlier load keep
the modules that they were defined in.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, TypeVar

from camber.errors import CamberError, DeveloperError
from camber.functions.crons import Crons, ResolvedCron
from camber.functions.declarations import App, CustomJwt, OidcProvider
from camber.functions.definition import Function
from camber.functions.determinism.doors import adopt, prepare
from camber.functions.http_router import HttpRouter
from camber.schema.compiler import AnnotationError, Compiler
from camber.schema.table import DeclaredTable, Table, resolve_tables
from camber.values.paths import is_identifier

T = TypeVar("T")

_loading = threading.Lock()


class LoadError(Exception):
    """An application that cannot be loaded: `place: what is wrong`, the place with its line.

    `trace` has the frames of the application's own files, for people.
    """

    def __init__(self, place: str, reason: str, *, trace: str = "") -> None:
        super().__init__(f"{place}: {reason}")
        self.place = place
        self.reason = reason
        self.trace = trace


@dataclass(frozen=True, kw_only=True)
class Application:
    """What a functions folder declares, or a component's.

    Functions are by path (`messages:send`, `users:default`), tables by name. `component` is the
    path of the mount, or empty for the application itself; `mounts` are those of its own, by name.
    """

    root: Path
    package: str
    functions: Mapping[str, Function[..., Any]]
    tables: Mapping[str, DeclaredTable]
    compiler: Compiler
    http: HttpRouter | None = None
    crons: tuple[ResolvedCron, ...] = ()
    providers: tuple[OidcProvider | CustomJwt, ...] = ()
    app: App | None = None
    component: str = ""
    #: Where the routes of a component are served, under those of what it is mounted in.
    http_prefix: str | None = None
    mounts: Mapping[str, Application] = field(default_factory=dict)

    @cached_property
    def components(self) -> Mapping[str, Application]:
        """Return this one and all that is mounted in it, by component path."""
        found = {self.component: self}
        for mounted in self.mounts.values():
            found.update(mounted.components)
        return found

    def in_component(self, component: str) -> Application | None:
        """Return what is mounted at a component path, itself for the empty one."""
        return self.components.get(component)

    def owns(self, function: Function[..., Any]) -> bool:
        """Return whether a module of its package has defined a function, in this load or another."""
        return function.module.startswith(f"{self.package}.")

    def no_identity(self) -> NoReturn:
        """Refuse to say who calls: a component is told what it has to know by its caller.

        Raises:
            DeveloperError: always.
        """
        msg = (
            f"ctx.auth is not available in component {self.component!r}: pass what it has to know of the "
            "user as an argument"
        )
        raise DeveloperError(msg, code="AuthUnavailableInComponent")

    def path_of(self, function: Function[..., Any]) -> str:
        """Return the path of a function, also of one that another load of its module has made."""
        module = function.module.removeprefix(f"{self.package}.").replace(".", "/")
        return f"{module}:{function.name}"


class Freshness(Enum):
    """Whether modules that are imported already are imported again."""

    #: Always: what was saved since is seen.
    FRESH = "fresh"
    #: Only if they are another project's: classes and functions stay those that a test imported.
    SHARED = "shared"


def load_application(
    root: Path, folder: str, freshness: Freshness = Freshness.FRESH
) -> Application:
    """Import the functions folder `folder` of the project at `root` and return what it declares.

    Raises:
        LoadError: a module does not import, or declares something that cannot be.
    """
    root = root.resolve()
    path = (root / folder).resolve()
    if not path.is_dir():
        raise LoadError(folder, f"there is no functions folder {folder!r} in {root}")
    package = path.name
    if not package.isidentifier():
        raise LoadError(folder, f"{package!r} cannot name a Python package; rename the folder")
    prepare(package)
    keep = freshness is Freshness.SHARED and is_imported_from(package, path)
    with _loading, nullcontext() if keep else _fresh_package(package):
        modules = _import_all(root, path, package)
        adopt(package)
        return _collect(root, package, modules)


def is_imported_from(package: str, folder: Path) -> bool:
    """Return whether `package` has been imported, from `folder`."""
    module = sys.modules.get(package)
    paths = [Path(path).resolve() for path in getattr(module, "__path__", ())]
    return folder in paths


def forget_package(package: str) -> None:
    """Make the next import of `package` look for it anew."""
    for name in [name for name in sys.modules if _is_in(name, package)]:
        del sys.modules[name]


@contextmanager
def _fresh_package(package: str) -> Iterator[None]:
    """Import the package anew within the block; what was imported before is back if it raises."""
    previous = {name: m for name, m in sys.modules.items() if _is_in(name, package)}
    for name in previous:
        del sys.modules[name]
    importlib.invalidate_caches()
    # Two saves within one second, of equal length, look the same to cached bytecode.
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    except BaseException:
        forget_package(package)
        sys.modules.update(previous)
        raise
    finally:
        sys.dont_write_bytecode = writes_bytecode


def _is_in(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _import_all(root: Path, path: Path, package: str) -> dict[str, ModuleType]:
    """Import every module; return those that may hold functions, by wire name."""
    if str(root) not in sys.path:
        # Last, so that a folder of the project's shadows nothing that is installed.
        sys.path.append(str(root))
    if package not in sys.modules:
        with _reporting(root, path / "__init__.py"):
            _import_package(path, package)
    modules: dict[str, ModuleType] = {}
    for file in sorted(path.rglob("*.py")):
        parts = file.relative_to(path).with_suffix("").parts
        if any(part.startswith("_") for part in parts):
            continue
        place = file.relative_to(root).as_posix()
        for part in parts:
            if not is_identifier(part):
                raise LoadError(place, f"{part!r} cannot name a module: letters, digits and '_'")
        with _reporting(root, file):
            modules["/".join(parts)] = importlib.import_module(".".join((package, *parts)))
    return modules


def _import_package(path: Path, package: str) -> None:
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
def _reporting(root: Path, file: Path) -> Iterator[None]:
    """Turn what a module raises while it is imported into a `LoadError` with its place."""
    try:
        yield
    except LoadError:
        raise
    except SyntaxError as error:
        where = Path(error.filename).resolve() if error.filename else file
        place = f"{_relative(where, root)}:{error.lineno}"
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
        place = _relative(file, root)
        if frames:
            place = f"{_relative(Path(frames[-1].filename), root)}:{frames[-1].lineno}"
        reason = str(error) if isinstance(error, CamberError) else _described(error)
        trace = "".join(traceback.format_list(frames))
        raise LoadError(place, reason, trace=trace) from error


def _described(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _collect(root: Path, package: str, modules: Mapping[str, ModuleType]) -> Application:
    tables = _tables(package)
    try:
        compiler = resolve_tables(tables.values())
    except CamberError as error:
        raise LoadError(_place_of_table(error, tables, root), str(error)) from error
    functions: dict[str, Function[..., Any]] = {}
    for wire_name, module in modules.items():
        for function in _functions(module):
            place = f"{_relative(Path(function.file), root)}:{function.line}"
            key = f"{wire_name}:{function.name}"
            if key in functions:
                raise LoadError(place, f"there are two functions called {key!r}")
            try:
                function.resolve(compiler)
            except (AnnotationError, CamberError) as error:
                raise LoadError(place, str(error)) from error
            function.path = key
            functions[key] = function
    return Application(
        root=root,
        package=package,
        functions=functions,
        tables=tables,
        compiler=compiler,
        http=_attribute(modules.get("http"), HttpRouter),
        crons=_crons(modules.get("crons"), functions, root),
        providers=_providers(modules.get("auth_config"), root),
        app=_attribute(modules.get("app"), App),
    )


def _functions(module: ModuleType) -> list[Function[..., Any]]:
    """Return the functions that a module defines, in order; imported ones belong elsewhere."""
    found: dict[int, Function[..., Any]] = {}
    for value in vars(module).values():
        if isinstance(value, Function) and value.module == module.__name__:
            found[id(value)] = value
    return sorted(found.values(), key=lambda function: function.line)


def _tables(package: str) -> dict[str, DeclaredTable]:
    """Return the tables that any module of the package defines or imports."""
    found: dict[str, DeclaredTable] = {}
    for name, module in sorted(sys.modules.items()):
        if not _is_in(name, package):
            continue
        for value in vars(module).values():
            declared = _declared(value)
            if declared is None or declared.name.startswith("_"):
                continue
            other = found.setdefault(declared.name, declared)
            if other is not declared:
                reason = f"table {declared.name!r} is declared by {other.where} too"
                raise LoadError(declared.where, reason)
    return found


def _declared(value: object) -> DeclaredTable | None:
    if isinstance(value, type) and issubclass(value, Table):
        declared: DeclaredTable | None = value.__camber__
        return declared
    return None


def _place_of_table(error: CamberError, tables: Mapping[str, DeclaredTable], root: Path) -> str:
    """Return the file and line of the table that an error is about."""
    for declared in tables.values():
        if declared.where not in error.sentence:
            continue
        file = getattr(sys.modules.get(declared.cls.__module__), "__file__", None)
        if file is None:
            break
        lines = Path(file).read_text(encoding="utf-8").splitlines()
        opening = f"class {declared.cls.__name__}("
        number = next((n for n, line in enumerate(lines, 1) if line.startswith(opening)), 1)
        return f"{_relative(Path(file), root)}:{number}"
    return "schema"


def _attribute(module: ModuleType | None, kind: type[T]) -> T | None:
    if module is None:
        return None
    return next((value for value in vars(module).values() if isinstance(value, kind)), None)


def _crons(
    module: ModuleType | None, functions: Mapping[str, Function[..., Any]], root: Path
) -> tuple[ResolvedCron, ...]:
    crons = _attribute(module, Crons)
    if module is None or crons is None:
        return ()
    try:
        return tuple(crons.resolve(functions))
    except CamberError as error:
        raise LoadError(_relative(Path(str(module.__file__)), root), str(error)) from error


def _providers(module: ModuleType | None, root: Path) -> tuple[OidcProvider | CustomJwt, ...]:
    providers = getattr(module, "providers", None)
    if module is None or providers is None:
        return ()
    wrong = [p for p in providers if not isinstance(p, OidcProvider | CustomJwt)]
    if wrong:
        place = _relative(Path(str(module.__file__)), root)
        reason = f"`providers` holds {wrong[0]!r}; it takes OidcProvider and CustomJwt"
        raise LoadError(place, reason)
    return tuple(providers)
