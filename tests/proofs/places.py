"""Where programs run: the application, a component, and one that is mounted within another.

Each has the application's own code and tables of its own. The folder of `tests/applications/proving`
is that of an application without components; here it is laid out once more, with copies of it.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from camber.runtime.handles import Handles, NamedFunction
from camber.values.paths import FunctionPath
from tests.servers import REPOSITORY

#: Component paths, by what programs call them.
PLACES: Final[Mapping[str, str]] = {"app": "", "one": "one", "inner": "two/inner"}

#: The application as it is, without components.
PROVING: Final = REPOSITORY / "tests" / "applications" / "proving"
_MOUNTS: Final = """from camber import App, Component

app = App()
"""


@cache
def project() -> Path:
    """Return the folder of the application with its components, which is there until we end."""
    root = Path(tempfile.mkdtemp(prefix="camber-proving-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    shutil.copy(PROVING / "pyproject.toml", root)
    for copy in ("backend", "proving_part"):
        shutil.copytree(
            PROVING / "backend",
            root / copy,
            ignore=shutil.ignore_patterns("__pycache__", "_generated"),
        )
    (root / "proving_outer").mkdir()
    _mount(root / "backend", "one", "proving_part")
    _mount(root / "backend", "two", "proving_outer")
    _mount(root / "proving_outer", "inner", "proving_part")
    return root


def _mount(package: Path, name: str, path: str) -> None:
    file = package / "app.py"
    text = file.read_text() if file.exists() else _MOUNTS
    file.write_text(f'{text}{name} = app.use(Component("{name}", path="{path}"))\n')


def handles_of(handles: Handles) -> dict[str, list[str]]:
    """Return what programs call in each place: a mutation and a query."""
    return {
        place: [
            handles.handle(NamedFunction(component, FunctionPath.parse(f"programs:{name}")))
            for name in ("step_by_step", "read")
        ]
        for place, component in PLACES.items()
    }


def full_name(component: str, table: str) -> str:
    """Return what a component's table is called in the deployment."""
    return f"{component}/{table}" if component else table
