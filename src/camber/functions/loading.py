"""Loading an application and its components: what all their modules declare.

A component's package is imported once, however often it is mounted: its functions and tables are
those of each mount, which differ in where their documents are.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

from camber import limits
from camber.errors import CamberError, FunctionNotFound
from camber.functions.access import Access
from camber.functions.application import Application, Bound, function_named
from camber.functions.calls import MountedFunction
from camber.functions.components import App, Component, ComponentError, Mount
from camber.functions.crons import CronError, CronJob, Crons, ResolvedCron
from camber.functions.declarations import CustomJwt, OidcProvider
from camber.functions.definition import Function
from camber.functions.determinism.doors import adopt, prepare
from camber.functions.extensions import Extension
from camber.functions.http_router import HttpRoute, HttpRouter
from camber.functions.importing import LoadError as LoadError
from camber.functions.importing import (
    component_folders,
    import_all,
    import_package,
    imported_anew,
    is_imported_from,
    is_in,
    relative,
    reporting,
)
from camber.functions.routing import shape_of
from camber.functions.row_rules import DeclaredRules
from camber.schema.compiler import AnnotationError
from camber.schema.table import DeclaredTable, Table, resolve_tables
from camber.search.nearest import prepare_to_search
from camber.values.paths import HANDLE_PREFIX, child_component

T = TypeVar("T")

_loading = threading.Lock()


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
    folders = component_folders(root, folder)
    # A component is imported by the name that its folder has from the root on: `parts.ledger`.
    tops = {name.partition("/")[0] for name in folders} - {package}
    is_shared = freshness is Freshness.SHARED
    wanted = {package: path, **{top: root / top for top in sorted(tops)}}
    stale = {
        name: place
        for name, place in wanted.items()
        if not (is_shared and is_imported_from(name, place))
    }
    with _loading, imported_anew(stale) if stale else nullcontext():
        _import_tops(root, tops, stale)
        loading = _Loading(root, folders)
        main = loading.load(package, path)
        loading.load_mounted(main)
        return loading.application(package)


def _import_tops(root: Path, tops: set[str], stale: Mapping[str, Path]) -> None:
    """Import the packages that components are in, from the project and from nowhere else."""
    for top in sorted(tops):
        if top in sys.stdlib_module_names or top == "camber":
            reason = f"{top!r} is the name of another package: give the component's folder another"
            raise LoadError("app.py", reason)
        prepare(top)
        if top in stale and (root / top).is_dir():
            with reporting(root, root / top / "__init__.py"):
                import_package(root / top, top)


def _check_reachable(application: Application) -> None:
    """Refuse routes of components that others answer for.

    Where paths differ the more particular one answers. The application may answer for a component's
    route with one of its own; two components, or two mounted applications, at one path are a mistake.
    """
    first: dict[tuple[str, str], tuple[Application, HttpRoute]] = {}
    for path, route, owner in _served(application, ""):
        other, others = first.setdefault((route.method, shape_of(path)), (owner, route))
        if other is owner or not (other.component or route.is_mount):
            continue
        what = "what is mounted" if route.is_mount else f"the route {route.method}"
        at = path.removesuffix("/*") if route.is_mount else path
        msg = (
            f"{what} at {at!r} by component {owner.component!r} would never be reached: "
            f"{f'component {other.component!r}' if other.component else 'the application'} has "
            f"{'mounted another there' if others.is_mount else 'one there too'}. Give one of them "
            "another http_prefix, or another path"
        )
        raise ComponentError(msg)


def _check_served(component: Application) -> None:
    """Refuse a prefix under which nothing answers: somebody has meant routes that are not there."""
    if component.http_prefix is None or _has_router(component):
        return
    msg = (
        f"component {component.component!r} is mounted with http_prefix={component.http_prefix!r}, and has "
        "no routes to serve there. Declare them in its module http, as the attribute "
        "`http = HttpRouter()`, or leave out http_prefix"
    )
    raise ComponentError(msg)


def _has_router(application: Application) -> bool:
    return application.http is not None or any(
        mount.http_prefix is not None and _has_router(mount)
        for mount in application.mounts.values()
    )


def _served(application: Application, prefix: str) -> Iterator[tuple[str, HttpRoute, Application]]:
    """Yield what is served of an application and its components, and where."""
    for route in () if application.http is None else application.http.routes:
        yield prefix + route.path, route, application
    for mount in application.mounts.values():
        if mount.http_prefix is not None:
            yield from _served(mount, prefix + mount.http_prefix)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Package:
    """The package of an application or a component: its modules by wire name."""

    name: str
    folder: Path
    modules: Mapping[str, ModuleType]
    app: App | None

    def place(self, root: Path) -> str:
        """Return the module that mounts components."""
        return relative(self.folder / "app.py", root)


class _Loading:
    """One load: which packages there are, then what they declare."""

    def __init__(self, root: Path, folders: list[str]) -> None:
        self._root = root
        self._folders = folders
        self._packages: dict[str, _Package] = {}
        self._declared: dict[str, Application] = {}
        self._mounted = 0

    def load(self, name: str, folder: Path) -> _Package:
        """Import all modules of a package."""
        modules = import_all(self._root, folder, name)
        adopt(name)
        app = _attribute(modules.get("app"), App)
        package = _Package(name=name, folder=folder, modules=modules, app=app)
        self._packages[name] = package
        return package

    def load_mounted(self, package: _Package) -> None:
        """Import the packages of the components that a package mounts, and of those that they do."""
        for mount in () if package.app is None else package.app.mounts.values():
            if mount.component.module not in self._packages:
                name, folder = self._find(package, mount.component)
                self.load_mounted(self.load(name, folder))

    def _find(self, package: _Package, component: Component) -> tuple[str, Path]:
        """Return the name and the folder of a component's package."""
        name, place = component.module, package.place(self._root)
        if component.path is not None:
            folder = (self._root / component.path).resolve()
            if not folder.is_dir():
                reason = f"{component!r}: there is no folder {component.path!r} in the project"
                raise LoadError(place, reason)
            if component.path not in self._folders:
                reason = (
                    f"{component!r}: write its path out in app.py, as in "
                    f'Component("{component.name}", path="{component.path}"): it is read there before '
                    "anything is imported"
                )
                raise LoadError(place, reason)
            return name, folder
        prepare(name)
        with reporting(self._root, package.folder / "app.py"):
            try:
                spec = importlib.util.find_spec(name)
            except ModuleNotFoundError:
                spec = None
        paths = [] if spec is None else list(spec.submodule_search_locations or ())
        if not paths:
            reason = f"{component!r}: there is no package {name!r}. Is it installed?"
            raise LoadError(place, reason)
        return name, Path(paths[0]).resolve()

    def application(self, package: str) -> Application:
        """Return what the application declares, with all that is mounted in it."""
        main = self._packages[package]
        if main.app is not None and main.app.variables is not None:
            reason = (
                "App(env=…) declares variables of a component; the application has those that are "
                "set for the deployment"
            )
            raise LoadError(main.place(self._root), reason)
        mounted = self._mount(main, self._declare(main), ())
        try:
            _check_reachable(mounted)
        except ComponentError as error:
            raise LoadError(main.place(self._root), str(error)) from error
        return mounted

    def _mount(
        self, package: _Package, mounted_in: Application, chain: tuple[str, ...]
    ) -> Application:
        """Return an application or a component with its own mounts."""
        chain = (*chain, package.name)
        mounts: dict[str, Application] = {}
        for mount in () if package.app is None else package.app.mounts.values():
            inner = self._packages[mount.component.module]
            try:
                if inner.name in chain:
                    msg = f"component {mount.name!r} would be mounted within itself"
                    raise ComponentError(msg)
                self._mounted += 1
                if self._mounted > limits.components_max:
                    msg = (
                        f"component {mount.name!r} is one too many: {limits.components_max} may be "
                        "mounted in all"
                    )
                    raise ComponentError(msg)
                component = replace(
                    self._declare(inner),
                    component=child_component(mounted_in.component, mount.name),
                    http_prefix=mount.http_prefix,
                    site_path=_site_path(mounted_in, mount),
                    env=_bound(mounted_in, mount, inner.app),
                )
            except ComponentError as error:
                raise LoadError(package.place(self._root), str(error)) from error
            mounts[mount.name] = self._mount(inner, component, chain)
            try:
                _check_served(mounts[mount.name])
            except ComponentError as error:
                raise LoadError(package.place(self._root), str(error)) from error
        complete = replace(mounted_in, mounts=mounts)
        return replace(complete, crons=_crons(self._own_modules(package), complete, self._root))

    def _declare(self, package: _Package) -> Application:
        """Return what a package declares, wherever it is mounted."""
        found = self._declared.get(package.name)
        if found is None:
            found = self._declared[package.name] = self._collect(package)
        return found

    def _collect(self, package: _Package) -> Application:
        root = self._root
        modules = self._own_modules(package)
        tables = self._tables(package)
        try:
            compiler = resolve_tables(tables.values())
        except CamberError as error:
            raise LoadError(_place_of_table(error, tables, root), str(error)) from error
        if any(table.vector_indexes for table in tables.values()):
            prepare_to_search()
        functions: dict[str, Function[..., Any]] = {}
        for wire_name, module in modules.items():
            for function in _functions(module):
                place = f"{relative(Path(function.file), root)}:{function.line}"
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
            package=package.name,
            functions=functions,
            tables=tables,
            compiler=compiler,
            http=_attribute(modules.get("http"), HttpRouter),
            providers=_providers(modules.get("auth_config"), root),
            rules=self._rules(package, modules, tables),
        )

    def _rules(
        self,
        package: _Package,
        modules: Mapping[str, ModuleType],
        tables: Mapping[str, DeclaredTable],
    ) -> DeclaredRules | None:
        """Return the rules that the module `access` of a package declares.

        Rules that nobody would ask are worse than none: they are refused.
        """
        access = _attribute(modules.get("access"), Access)
        for name, module in sorted(sys.modules.items()):
            if not is_in(name, package.name) or self._owner(name) != package.name:
                continue
            for value in vars(module).values():
                if isinstance(value, Access) and value is not access:
                    reason = (
                        "row rules are declared by one Access, an attribute of the module `access`: "
                        "this one would never be asked"
                    )
                    raise LoadError(relative(Path(str(module.__file__)), self._root), reason)
        if access is None:
            return None
        try:
            return access.resolve(tables)
        except CamberError as error:
            file = modules["access"].__file__
            raise LoadError(relative(Path(str(file)), self._root), str(error)) from error

    def _own_modules(self, package: _Package) -> dict[str, ModuleType]:
        """Return the modules of a package that are not those of a component within it."""
        return {
            name: module
            for name, module in package.modules.items()
            if self._owner(module.__name__) == package.name
        }

    def _owner(self, module: str) -> str | None:
        """Return the innermost of the loaded packages that a module is in."""
        owners = [name for name in self._packages if is_in(module, name)]
        return max(owners, key=len, default=None)

    def _tables(self, package: _Package) -> dict[str, DeclaredTable]:
        """Return the tables that any module of the package defines or imports.

        Those of other components are not among them: they are reached through functions.
        """
        found: dict[str, DeclaredTable] = {}
        for name, module in sorted(sys.modules.items()):
            if not is_in(name, package.name) or self._owner(name) != package.name:
                continue
            for value in vars(module).values():
                declared = _declared(value)
                if declared is None or declared.name.startswith("_"):
                    continue
                if self._owner(declared.cls.__module__) not in {package.name, None}:
                    continue
                other = found.setdefault(declared.name, declared)
                if issubclass(other.cls, declared.cls):
                    continue
                # What extends a table takes its place.
                if not issubclass(declared.cls, other.cls):
                    reason = f"table {declared.name!r} is declared by {other.where} too"
                    raise LoadError(declared.where, reason)
                found[declared.name] = declared
        for module in package.modules.values():
            for extension in _extensions(module):
                for table in extension.tables:
                    # The application may have extended it.
                    found.setdefault(table.__camber__.name, table.__camber__)
        return found


def _site_path(mounted_in: Application, mount: Mount) -> str | None:
    """Return where the routes of a mount are; without a prefix they are nowhere, and what is in it too."""
    if mounted_in.site_path is None or mount.http_prefix is None:
        return None
    return mounted_in.site_path + mount.http_prefix


def _bound(mounted_in: Application, mount: Mount, app: App | None) -> dict[str, Bound]:
    """Return the variables of a component by what is given where it is mounted.

    Raises:
        ComponentError: one is missing, is unknown, or has a value that it cannot have.
    """
    declared = None if app is None else app.variables
    if declared is not None:
        unknown = sorted(set(mount.env) - set(declared))
        missing = sorted(
            name
            for name, variable in declared.items()
            if name not in mount.env and not variable.is_optional
        )
        if unknown or missing:
            wrong = [f"has no variable {name!r}" for name in unknown]
            wrong += [f"is not given its variable {name!r}" for name in missing]
            msg = f"component {mount.name!r} {' and '.join(wrong)}"
            raise ComponentError(msg)
    found: dict[str, Bound] = {}
    for name, value in mount.env.items():
        variable = None if declared is None else declared[name]
        if isinstance(value, str):
            bound = Bound(text=value, variable=None, declared=variable)
        elif not mounted_in.component:
            bound = Bound(text=None, variable=value.name, declared=variable)
        else:
            given = mounted_in.env.get(value.name, _NOT_GIVEN)
            bound = replace(given, declared=variable or given.declared)
        if bound.text is not None and variable is not None:
            try:
                variable.check(bound.text)
            except ComponentError as error:
                msg = f"component {mount.name!r}: {error.sentence}"
                raise ComponentError(msg) from None
        is_missing = bound.text is None and bound.variable is None
        if is_missing and variable is not None and not variable.is_optional:
            msg = (
                f"component {mount.name!r} is not given its variable {name!r}: there is no {value}"
            )
            raise ComponentError(msg)
        found[name] = bound
    return found


_NOT_GIVEN: Final = Bound(text=None, variable=None, declared=None)


def _functions(module: ModuleType) -> list[Function[..., Any]]:
    """Return the functions that a module defines, in order; imported ones belong elsewhere."""
    found: dict[int, Function[..., Any]] = {}
    for value in vars(module).values():
        if isinstance(value, Function) and value.module == module.__name__:
            found[id(value)] = value
    declared = sorted(found.values(), key=lambda function: function.line)
    return declared + [
        function for extension in _extensions(module) for function in extension.functions
    ]


def _extensions(module: ModuleType) -> list[Extension]:
    """Return what extends a module; one that it has imported extends another."""
    found = {
        id(value): value
        for value in vars(module).values()
        if isinstance(value, Extension) and value.module == module.__name__
    }
    return list(found.values())


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
        return f"{relative(Path(file), root)}:{number}"
    return "schema"


def _attribute(module: ModuleType | None, kind: type[T]) -> T | None:
    if module is None:
        return None
    return next((value for value in vars(module).values() if isinstance(value, kind)), None)


def _crons(
    modules: Mapping[str, ModuleType], application: Application, root: Path
) -> tuple[ResolvedCron, ...]:
    """Return the cron jobs of an application or component, whose mounts are known."""
    found: dict[str, ResolvedCron] = {}
    for name, module in modules.items():
        declared = [extension.crons for extension in _extensions(module)]
        own = _attribute(module, Crons) if name == "crons" else None
        for crons in declared if own is None else [own, *declared]:
            place = relative(Path(str(module.__file__)), root)
            for job in crons.jobs.values():
                if job.name in found:
                    raise LoadError(place, f"there are two cron jobs called {job.name!r}")
                try:
                    found[job.name] = _resolved_cron(job, application)
                except CamberError as error:
                    raise LoadError(place, str(error)) from error
    return tuple(found.values())


def _resolved_cron(job: CronJob, application: Application) -> ResolvedCron:
    """Return a cron job with its function: one of the application's own, or of what it has mounted."""
    # Nothing has looked at what it was given.
    callee: object = job.callee
    if isinstance(callee, str) and callee.startswith(HANDLE_PREFIX):
        msg = (
            f"cron job {job.name!r}: a handle is of one deployment, and what is declared here is pushed to "
            "many. Name the function by its mount: mount[function]"
        )
        raise CronError(msg)
    if not isinstance(callee, Function | MountedFunction | str):
        msg = f"cron job {job.name!r}: {callee!r} is no function, and no path of one"
        raise CronError(msg)
    try:
        component, function = function_named(application, callee)
    except FunctionNotFound as error:
        raise CronError(f"cron job {job.name!r}: {error.sentence}") from error
    return job.resolved(function, component.component)


def _providers(module: ModuleType | None, root: Path) -> tuple[OidcProvider | CustomJwt, ...]:
    providers = getattr(module, "providers", None)
    if module is None or providers is None:
        return ()
    place = relative(Path(str(module.__file__)), root)
    if not isinstance(providers, list | tuple):
        raise LoadError(place, f"`providers` is {providers!r}; it is a list")
    wrong = [p for p in providers if not isinstance(p, OidcProvider | CustomJwt)]
    if wrong:
        reason = f"`providers` holds {wrong[0]!r}; it takes OidcProvider and CustomJwt"
        raise LoadError(place, reason)
    if len(providers) > limits.providers_max:
        reason = f"`providers` holds {len(providers)}; it may hold {limits.providers_max}"
        raise LoadError(place, reason)
    return tuple(providers)
