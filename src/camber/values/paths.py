"""How functions are named: `module/path:export` (protocol 3.9, semantics 2.7).

Across components a function is named by the path of its component too: `ledger/spare` for a mount
within a mount, the empty text for the application itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from camber import limits
from camber.errors import BadRequest

_COMPONENT = re.compile(r"[A-Za-z0-9_.]+\Z")
_IDENTIFIER = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z_][A-Za-z0-9_]*\Z")


def is_identifier(text: str) -> bool:
    """Return whether `text` may name a table, an index, a field or a function."""
    return len(text) <= limits.identifier_length_max and _IDENTIFIER.match(text) is not None


@dataclass(frozen=True, slots=True)
class FunctionPath:
    """A function's module (without `.js`) and its export."""

    module: str
    export: str

    @staticmethod
    def parse(text: str) -> FunctionPath:
        """Return the function that a client named.

        A missing export is `default`; `.js` may be left out.

        Raises:
            BadRequest: it cannot name a function (code BadConvexFunctionIdentifier).
        """
        _check_length(text)
        return _parse(text)

    @property
    def canonical(self) -> str:
        """Return `module.js:export`, the form with nothing left out."""
        return f"{self.module}.js:{self.export}"

    @property
    def key(self) -> str:
        """Return `module:export`, by which the registry finds a function."""
        return f"{self.module}:{self.export}"

    @property
    def display(self) -> str:
        """Return the form for people: without `.js` and without `:default`."""
        return self.module if self.export == "default" else f"{self.module}:{self.export}"


#: Handles of functions start so; no path of a function can.
HANDLE_PREFIX: Final = "function://"


def is_component_path(text: str) -> bool:
    """Return whether `text` may be the path of a component: names of mounts between slashes."""
    return text == "" or all(is_identifier(name) for name in text.split("/"))


def child_component(component: str, name: str) -> str:
    """Return the path of what is mounted as `name` in a component."""
    return f"{component}/{name}" if component else name


def is_within(component: str, outer: str) -> bool:
    """Return whether a component is `outer`, or mounted in it; all are in the application."""
    return not outer or f"{component}/".startswith(f"{outer}/")


def _check_length(text: str) -> None:
    if len(text) > limits.function_name_length_max:
        raise BadRequest(
            f"{text[:100]!r}… cannot name a function: it has {len(text)} characters, and may have "
            f"{limits.function_name_length_max}",
            code="BadConvexFunctionIdentifier",
        )


@lru_cache(maxsize=4096)
def _parse(text: str) -> FunctionPath:
    module, colon, export = text.rpartition(":")
    if not colon:
        module, export = text, "default"
    module = module.removesuffix(".js")
    parts = module.split("/")
    if module.startswith("/") or not all(_is_component(part) for part in parts):
        raise _bad(text, "modules are folders and a file, of letters, digits, '_' and '.'")
    if "." in parts[-1]:
        raise _bad(text, f"{parts[-1]!r} has an extension other than .js")
    if not is_identifier(export):
        raise _bad(text, f"{export!r} cannot be a function's name")
    return FunctionPath(module, export)


def _is_component(part: str) -> bool:
    return (
        _COMPONENT.match(part) is not None
        and part not in {".", ".."}
        and len(part) <= limits.identifier_length_max
    )


def _bad(text: str, reason: str) -> BadRequest:
    return BadRequest(
        f"{text!r} is no function path such as 'messages:send': {reason}",
        code="BadConvexFunctionIdentifier",
    )
