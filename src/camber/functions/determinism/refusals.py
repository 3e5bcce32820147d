"""What queries and mutations may not do, and how they are told.

Most of it raises an audit event, which the interpreter tells `audit`; what does not has a door. A
debugger that user code has called may do anything: it needs files, sockets and threads.
"""

from __future__ import annotations

import _thread
import asyncio
import functools
import inspect
import os
import signal
import sys
import threading
import time
import zoneinfo
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

from camber.errors import RefusedCall
from camber.functions.determinism.conditions import Conditions, current
from camber.functions.determinism.user_code import is_user_module


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """Something that only actions may do."""

    code: str
    #: After "so they".
    rule: str
    #: What to do about it.
    advice: str


_NETWORK = _Rule(
    code="NoNetworkInQueriesOrMutations",
    rule="do not use the network",
    advice="Use an action: it can run queries and mutations with what it got",
)
_FILES = _Rule(
    code="NoFilesInQueriesOrMutations",
    rule="read and write the database alone",
    advice="Read the file while the module loads, or use an action",
)
_PROCESSES = _Rule(
    code="NoProcessesInQueriesOrMutations",
    rule="leave other processes alone",
    advice="Use an action",
)
_THREADS = _Rule(
    code="NoThreadsInQueriesOrMutations",
    rule="run on one thread from start to end",
    advice="Use an action",
)
_TIMERS = _Rule(
    code="NoTimersInQueriesOrMutations",
    rule="wait for nothing",
    advice="Wait in an action, or have the scheduler run a function later",
)
_EVENT_LOOPS = _Rule(
    code="NoEventLoopsInQueriesOrMutations",
    rule="wait for nothing",
    advice="Use an action: those are `async def`",
)
_ENVIRONMENT = _Rule(
    code="NoEnvironInQueriesOrMutations",
    rule="do not see the process's environment",
    advice="Deployment variables are in ctx.env; read os.environ while the module loads",
)

#: Rules by audit event.
_EVENTS: Final = {
    "open": _FILES,
    "builtins.input": _FILES,
    "os.exec": _PROCESSES,
    "os.fork": _PROCESSES,
    "os.forkpty": _PROCESSES,
    "os.kill": _PROCESSES,
    "os.killpg": _PROCESSES,
    "os.posix_spawn": _PROCESSES,
    "os.spawn": _PROCESSES,
    "os.startfile": _PROCESSES,
    "os.system": _PROCESSES,
    "os.putenv": _ENVIRONMENT,
    "os.unsetenv": _ENVIRONMENT,
    "signal.pthread_kill": _PROCESSES,
    "time.sleep": _TIMERS,
}
#: And by the module that all of an event's names begin with.
_EVENT_MODULES: Final = {
    "_thread": _THREADS,
    "dbm": _FILES,
    "ftplib": _NETWORK,
    "glob": _FILES,
    "http": _NETWORK,
    "imaplib": _NETWORK,
    "nntplib": _NETWORK,
    "os": _FILES,
    "pathlib": _FILES,
    "poplib": _NETWORK,
    "pty": _PROCESSES,
    "shutil": _FILES,
    "smtplib": _NETWORK,
    "socket": _NETWORK,
    "sqlite3": _FILES,
    "subprocess": _PROCESSES,
    "telnetlib": _NETWORK,
    "tempfile": _FILES,
    "urllib": _NETWORK,
    "webbrowser": _PROCESSES,
}
#: Events whose names are not those of what was called.
_CALLED: Final = {
    "builtins.input": "input",
    "socket.__new__": "socket.socket",
    "urllib.Request": "urllib.request.urlopen",
    "os.exec": "os.execv",
    "sqlite3.connect/handle": "sqlite3.connect",
}
#: What a debugger does as it takes over.
_DEBUGGERS: Final = {
    "builtins.breakpoint",
    "sys.settrace",
    "sys.monitoring.register_callback",
}
#: What opens files for Python itself: imports, tracebacks, time zones, debuggers that start.
_PYTHONS_OWN: Final = {
    "importlib",
    "linecache",
    "mimetypes",
    "pdb",
    "pkgutil",
    "tokenize",
    "zipimport",
    "zoneinfo",
}
#: Where packages are installed. Their data is as fixed as their code: it may be read.
_INSTALLED: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_STANDARD_LIBRARY: Final = os.path.dirname(os.__file__) + os.sep
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
#: Characters of an argument that an error shows.
_SHOWN: Final = 80


def audit(event: str, args: tuple[Any, ...]) -> None:
    """Refuse what a query or mutation on this thread may not do; an audit hook."""
    conditions = current.conditions
    if conditions is None:
        return
    if event in _DEBUGGERS:
        conditions.is_debugged = True
        return
    rule = _EVENTS.get(event) or _EVENT_MODULES.get(event.partition(".")[0])
    if rule is None or (rule is _FILES and _is_fixed(event, args)):
        return
    called = _CALLED.get(event, event)
    if event == "open" and args[1] is None:
        called = "os.open"
    _refuse(conditions, rule, _call(called, args))


def _refuse(conditions: Conditions, rule: _Rule, call: str) -> None:
    if conditions.is_debugged:
        return
    raise RefusedCall(
        f"{call} in a {conditions.kind.value}. Queries and mutations may be run again at any time, "
        f"so they {rule.rule}. {rule.advice}",
        code=rule.code,
    )


def _call(called: str, args: tuple[Any, ...]) -> str:
    """Return a call as text, with the first argument that says anything."""
    return f"{called}({next((_shown(argument) for argument in args if _is_plain(argument)), '')})"


def _is_plain(argument: Any) -> bool:
    return isinstance(argument, str | bytes | int | float | tuple | list | os.PathLike)


def _shown(argument: Any) -> str:
    text = repr(argument)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _is_fixed(event: str, args: tuple[Any, ...]) -> bool:
    """Return whether what is opened is a part of the program, or opened by Python itself."""
    if event == "open":
        path, _, flags = args
        # A number is a descriptor, whose file is open already.
        if isinstance(path, int) or (not flags & _WRITING and _is_part_of_the_program(path)):
            return True
    return _is_done_by_python()


def _is_part_of_the_program(path: Any) -> bool:
    """Return whether a path is in an installed package or in the time zone database.

    `zoneinfo` opens the latter from C.
    """
    if not isinstance(path, str):
        return False
    if path.startswith(_STANDARD_LIBRARY) or any(folder in path for folder in _INSTALLED):
        return True
    return any(path.startswith(f"{folder}{os.sep}") for folder in zoneinfo.TZPATH)


def _is_done_by_python() -> bool:
    """Return whether the innermost call that user code has made goes through Python's own."""
    frame: FrameType | None = sys._getframe(3)  # noqa: SLF001
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        package = module.partition(".")[0]
        if package in _PYTHONS_OWN:
            return True
        if package == "camber" or is_user_module(module):
            return False
        frame = frame.f_back
    return False


class _Refused:
    """The door to a function that raises no audit event."""

    def __init__(self, real: Callable[..., Any], rule: _Rule, called: str) -> None:
        functools.update_wrapper(self, real)
        self._real = real
        self._rule = rule
        self._called = called

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        conditions = current.conditions
        if conditions is not None:
            try:
                _refuse(conditions, self._rule, _call(self._called, args))
            except RefusedCall:
                # Or Python would warn of those that nobody has awaited.
                for coroutine in filter(inspect.iscoroutine, args):
                    coroutine.close()
                raise
        return self._real(*args, **kwargs)


_start = threading.Thread.start


def _start_thread(self: threading.Thread) -> None:
    conditions = current.conditions
    if conditions is not None:
        if isinstance(self, threading.Timer):
            _refuse(conditions, _TIMERS, "threading.Timer.start()")
        _refuse(conditions, _THREADS, "threading.Thread.start()")
    _start(self)


_environ_item = type(os.environ).__getitem__
_environ_names = type(os.environ).__iter__


def _read_environ(self: Any, name: Any) -> Any:
    conditions = current.conditions
    if conditions is not None and _is_asked_by_user_code():
        _refuse(conditions, _ENVIRONMENT, f"os.environ[{_shown(name)}]")
    return _environ_item(self, name)


def _list_environ(self: Any) -> Any:
    conditions = current.conditions
    if conditions is not None and _is_asked_by_user_code():
        _refuse(conditions, _ENVIRONMENT, "os.environ")
    return _environ_names(self)


def _is_asked_by_user_code() -> bool:
    """Return whether user code itself reads `os.environ`, rather than a library that it calls."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module not in {"os", "collections.abc", "_collections_abc"}:
            return is_user_module(module)
        frame = frame.f_back
    return False


def refusing_doors() -> Iterator[tuple[Any, str, Any]]:
    """Yield (module or class, name, door) for what raises no audit event."""
    yield threading.Thread, "start", _start_thread
    yield type(os.environ), "__getitem__", _read_environ
    yield type(os.environ), "__iter__", _list_environ
    for module, name, rule in (
        (time, "sleep", _TIMERS),
        (signal, "alarm", _TIMERS),
        (signal, "setitimer", _TIMERS),
        (signal, "pause", _TIMERS),
        (_thread, "start_new_thread", _THREADS),
        (sys.modules.get("_posixsubprocess"), "fork_exec", _PROCESSES),
    ):
        real = getattr(module, name, None)
        if real is not None:
            assert module is not None
            yield module, name, _Refused(real, rule, f"{module.__name__}.{name}")
    for name in ("run", "new_event_loop"):
        door = _Refused(getattr(asyncio, name), _EVENT_LOOPS, f"asyncio.{name}")
        yield asyncio, name, door
        yield (asyncio.runners if name == "run" else asyncio.events), name, door
