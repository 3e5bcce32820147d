"""Which modules are user code: those of functions folders and components that were loaded here."""

from __future__ import annotations

from typing import Any

#: Top-level packages, and packages within others.
_packages: set[str] = set()
_inner: set[str] = set()


def add_user_package(package: str) -> None:
    """Let the modules of a package be user code."""
    (_inner if "." in package else _packages).add(package)


def is_user_module(name: Any) -> bool:
    """Return whether a module of this name is user code."""
    if not isinstance(name, str):
        return False
    if name.partition(".")[0] in _packages:
        return True
    return any(name == package or name.startswith(f"{package}.") for package in _inner)
