"""The pytest plugin: the fixture `camber_app`.

It serves the nearest `pyproject.toml` with `[tool.camber]` above the test file, whose folder it
puts on `sys.path`, so that tests import the functions that they call.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from camber.testing.app import TestApp


def pytest_pycollect_makemodule(module_path: Path) -> None:
    """Make a test module's own project importable before the module is imported."""
    # Imported here: pytest loads this plugin in projects that have nothing to do with Camber.
    from camber.deployment.project import ProjectError, nearest_project
    from camber.functions.determinism.doors import prepare
    from camber.functions.importing import (
        component_folders,
        forget_package,
        is_imported_from,
    )

    try:
        project = nearest_project(module_path.parent)
    except ProjectError:
        return
    root = str(project.root)
    if root in sys.path:
        sys.path.remove(root)
    sys.path.insert(0, root)
    package = project.functions_path.name
    tops = {path.partition("/")[0] for path in component_folders(project.root, project.functions)}
    folders = {package: project.functions_path, **{top: project.root / top for top in tops}}
    for name, folder in folders.items():
        if name in sys.modules and not is_imported_from(name, folder):
            forget_package(name)
        prepare(name)


@pytest.fixture
def camber_app(request: pytest.FixtureRequest) -> Iterator[TestApp]:
    """An application of its own for each test: an empty store and a controlled clock."""
    from camber.deployment.project import nearest_project
    from camber.testing.app import TestApp

    with TestApp(nearest_project(request.path.parent)) as app:
        yield app
