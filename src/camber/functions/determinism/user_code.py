"""Which modules are user code: those of the functions folders that this process has loaded."""

from __future__ import annotations

from typing import Any

_packages: set[str] = set()


def add_user_package(package: str) -> None:
    """Let the modules of a top-level package be user code."""
    _packages.add(package)


def is_user_module(name: Any) -> bool:
    """Return whether a module of this name is user code."""
    return isinstance(name, str) and name.partition(".")[0] in _packages
