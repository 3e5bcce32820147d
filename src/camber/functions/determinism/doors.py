"""Putting the doors in, once for the process."""

from __future__ import annotations

import builtins
import datetime
import importlib
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import camber.host  # noqa: F401  # it keeps the real functions: imported before they are replaced
from camber.functions.determinism import dates
from camber.functions.determinism.chance import chance_doors
from camber.functions.determinism.clocks import clock_doors
from camber.functions.determinism.conditions import current
from camber.functions.determinism.refusals import audit, refusing_doors
from camber.functions.determinism.user_code import add_user_package, is_user_module

_import = builtins.__import__
_import_module = importlib.import_module
_installing = threading.Lock()
#: What was replaced and what by, under the identity of the former.
_replaced: Final[dict[int, tuple[Any, Any]]] = {}


def prepare(package: str) -> None:
    """Make the modules of a functions folder, or of a component, user code; call it before they are imported.

    Replaces what has to be replaced, if this is the first one.
    """
    add_user_package(package)
    with _installing:
        if not _replaced:
            _install()


def adopt(package: str) -> None:
    """Replace what modules of `package` took hold of behind the doors' back.

    Those that somebody imported before `prepare`, and names that came by way of other modules.
    """
    for name, module in list(sys.modules.items()):
        if name != package and not name.startswith(f"{package}."):
            continue
        for attribute, value in list(vars(module).items()):
            real, stand_in = _replaced.get(id(value), (None, None))
            if real is value and real is not None:
                setattr(module, attribute, stand_in)


def _install() -> None:
    for owner, name, door in (*clock_doors(), *chance_doors(), *refusing_doors()):
        real = getattr(owner, name)
        setattr(owner, name, door)
        _replaced[id(real)] = (real, door)
    for real, stand_in in (
        (datetime, dates.module),
        (datetime.datetime, dates.datetime),
        (datetime.date, dates.date),
    ):
        _replaced[id(real)] = (real, stand_in)
    builtins.__import__ = _import_for
    importlib.import_module = _import_module_outside
    sys.addaudithook(audit)


def _import_for(
    name: str,
    globals: Mapping[str, Any] | None = None,  # these are the names of what it replaces
    locals: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> Any:
    """Import a module for an `import` statement; user code gets another `datetime`."""
    if current.conditions is None:
        module = _import(name, globals, locals, fromlist or (), level)
    else:
        with _outside():
            module = _import(name, globals, locals, fromlist or (), level)
    if name == "datetime" and not level and globals and is_user_module(globals.get("__name__")):
        return dates.module
    return module


def _import_module_outside(name: str, package: str | None = None) -> Any:
    """Import a module by its name."""
    if current.conditions is None:
        return _import_module(name, package)
    with _outside():
        return _import_module(name, package)


@contextmanager
def _outside() -> Iterator[None]:
    """Let a module that a run is the first to import load as any does.

    It stays for other runs, so nothing of it may come from this one's moment and seed.
    """
    conditions, current.conditions = current.conditions, None
    try:
        yield
    finally:
        current.conditions = conditions
