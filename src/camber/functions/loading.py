"""Loading an application and its components: what all their modules declare.

A component's package is imported once, however often it is mounted: its functions and tables are
those of each mount, which differ in where their documents are.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NoReturn, TypeVar

from camber import limits
from camber.engine.variables import CLOUD_URL, SITE_URL
from camber.errors import CamberError, DeveloperError
from camber.functions.access import Access
from camber.functions.components import App, Component, ComponentError, DeclaredVariable, Mount
from camber.functions.crons import Crons, ResolvedCron
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
from camber.schema.compiler import AnnotationError, Compiler
from camber.schema.table import DeclaredTable, Table, resolve_tables
from camber.values.paths import child_component

T = TypeVar("T")

_loading = threading.Lock()


@dataclass(frozen=True, slots=True)
class Bound:
    """A component's variable, as it was bound where it is mounted.

    `text` is its value, unless it is that of the deployment variable called `variable`.
    """

    text: str | None
    variable: str | None
    declared: DeclaredVariable | None


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
    component: str = ""
    #: Where the routes of a component are served, under those of what it is mounted in; nowhere
    #: if it is None.
    http_prefix: str | None = None
    #: The same from the site's origin on: empty for the application itself, None for nowhere.
    site_path: str | None = ""
    #: What a component has for variables.
    env: Mapping[str, Bound] = field(default_factory=dict)
    mounts: Mapping[str, Application] = field(default_factory=dict)
    #: Who may do what with the rows of its tables; None where all functions may do all.
    rules: DeclaredRules | None = None

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

    def variable(self, name: str, of_deployment: Callable[[str], str | None]) -> str | None:
        """Return a variable as the functions here see it.

        A component has the variables that it was given, and the deployment's URLs.

        Raises:
            ComponentError: it has a value that the component does not take.
        """
        if not self.component or name == CLOUD_URL:
            return of_deployment(name)
        if name == SITE_URL:
            origin = of_deployment(name)
            return None if origin is None else origin + (self.site_path or "")
        bound = self.env.get(name)
        if bound is None or bound.variable is None:
            return None if bound is None else bound.text
        value = of_deployment(bound.variable)
        if value is not None and bound.declared is not None:
            bound.declared.check(value)
        return value

    @property
    def required_variables(self) -> tuple[str, ...]:
        """Return the deployment variables that a component here cannot do without."""
        return tuple(
            sorted(
                {
                    bound.variable
                    for component in self.components.values()
                    for bound in component.env.values()
                    if bound.variable is not None
                    and bound.declared is not None
                    and not bound.declared.is_optional
                }
            )
        )

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
        return replace(mounted_in, mounts=mounts)

    def _declare(self, package: _Package) -> Application:
        """Return what a package declares, wherever it is mounted."""
        found = self._declared.get(package.name)
        if found is None:
            found = self._declared[package.name] = self._collect(package)
        return found

    def _collect(self, package: _Package) -> Application:
        root = self._root
        modules = {
            name: module
            for name, module in package.modules.items()
            if self._owner(module.__name__) == package.name
        }
        tables = self._tables(package)
        try:
            compiler = resolve_tables(tables.values())
        except CamberError as error:
            raise LoadError(_place_of_table(error, tables, root), str(error)) from error
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
            crons=_crons(modules, functions, root),
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
    modules: Mapping[str, ModuleType], functions: Mapping[str, Function[..., Any]], root: Path
) -> tuple[ResolvedCron, ...]:
    found: dict[str, ResolvedCron] = {}
    for name, module in modules.items():
        declared = [extension.crons for extension in _extensions(module)]
        own = _attribute(module, Crons) if name == "crons" else None
        for crons in declared if own is None else [own, *declared]:
            place = relative(Path(str(module.__file__)), root)
            try:
                resolved = crons.resolve(functions)
            except CamberError as error:
                raise LoadError(place, str(error)) from error
            for cron in resolved:
                if found.setdefault(cron.name, cron) is not cron:
                    raise LoadError(place, f"there are two cron jobs called {cron.name!r}")
    return tuple(found.values())


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
