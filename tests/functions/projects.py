"""Small applications for tests, written where they are used."""

from __future__ import annotations

import itertools
import textwrap
from contextlib import contextmanager
from pathlib import Path

from camber.testing import TestApp

_names = itertools.count()


def write_project(root: Path, **modules: str) -> Path:
    """Write a project whose functions folder has these modules; its package name is fresh."""
    folder = f"functions{next(_names)}"
    root.mkdir(parents=True, exist_ok=True)
    (root / "pyproject.toml").write_text(f'[tool.camber]\nfunctions = "{folder}"\n')
    for name, text in modules.items():
        file = root / folder / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    return root


@contextmanager
def project_app(root: Path, **modules: str):
    """An application under test, of these modules."""
    with TestApp(write_project(root, **modules)) as app:
        yield app
