"""Environments of releases: a place for each set of dependencies that a release names.

An environment sees what the server's own Python has installed, Camber first of all, and lays over
it what the release asks for. It is found again by its dependencies, so that a push that leaves
them alone installs nothing, and by the server's Python, so that none outlives an upgrade.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import os
import re
import shutil
import site
import sys
import sysconfig
from collections.abc import Collection
from pathlib import Path
from typing import Final

from camber import limits
from camber.deployment.dependencies import Dependencies
from camber.errors import CamberError
from camber.host import Host

#: Written last: an environment without it was cut short.
_COMPLETE: Final = "complete"
_CONSTRAINTS: Final = "constraints.txt"
#: Lines of pip's output that are told when it fails.
_LINES_TOLD: Final = 12
_LINE_LENGTH_MAX: Final = 400


class InstallFailed(CamberError):
    """Dependencies that cannot be installed; pip's last words follow."""

    code = "InstallFailed"


class Environments:
    """The environments below one folder."""

    def __init__(self, folder: Path, host: Host) -> None:
        self._folder = folder
        self._host = host
        self._installing = asyncio.Lock()
        #: The folder that an environment is being made in.
        self._unfinished: str | None = None

    def name_of(self, dependencies: Dependencies) -> str:
        """Return the name of the environment with these dependencies, installed or not."""
        ours = [sys.version, sysconfig.get_platform(), *_own_paths(), *_constraints()]
        text = "\n".join([dependencies.digest, *ours])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def installed(self, dependencies: Dependencies) -> Path | None:
        """Return the Python of an environment that is complete."""
        for folder in self._folder.glob(f"{self.name_of(dependencies)}.*"):
            # The Python that it was made with may be gone, with an upgrade of the machine.
            if (folder / _COMPLETE).is_file() and _python(folder).exists():
                return _python(folder)
        return None

    async def install(self, dependencies: Dependencies, root: Path) -> Path:
        """Return the Python of the environment with these dependencies, made if need be.

        Raises:
            InstallFailed: pip failed, or took too long. Nothing is left behind.
        """
        async with self._installing:
            found = self.installed(dependencies)
            if found is not None:
                return found
            # Named anew each time: a pip that outlives a killed server writes into no other's.
            name = f"{self.name_of(dependencies)}.{self._host.random_bytes(4).hex()}"
            folder = self._folder / name
            self._unfinished = name
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                await self._make(folder)
                await self._pip(folder, dependencies, root)
                (folder / _COMPLETE).touch()
            except BaseException:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
                raise
            finally:
                self._unfinished = None
            return _python(folder)

    def remove_all_but(self, kept: Collection[str]) -> None:
        """Remove environments that are cut short, and those whose names are not in `kept`."""
        for folder in list(self._folder.glob("*")):
            name = folder.name.partition(".")[0]
            is_needed = name in kept and (folder / _COMPLETE).is_file()
            if not is_needed and folder.name != self._unfinished:
                shutil.rmtree(folder, ignore_errors=True)

    async def _make(self, folder: Path) -> None:
        # Without a pip of its own: it uses the server's, which is seconds faster.
        await self._run([sys.executable, "-m", "venv", "--without-pip", str(folder)], self._folder)
        packages = sysconfig.get_path(
            "purelib", scheme="venv", vars={"base": str(folder), "installed_base": str(folder)}
        )
        lines = [f"import site; site.addsitedir({path!r})" for path in _own_paths()]
        (Path(packages) / "camber_server.pth").write_text("\n".join(lines) + "\n")
        (folder / _CONSTRAINTS).write_text("\n".join(_constraints()) + "\n")

    async def _pip(self, folder: Path, dependencies: Dependencies, root: Path) -> None:
        await self._run(
            [
                str(_python(folder)), "-m", "pip", "install", "--no-input", "--no-color",
                "--disable-pip-version-check", "--no-warn-script-location", "--progress-bar", "off",
                "--constraint", str(folder / _CONSTRAINTS), *dependencies.arguments,
            ],
            root,
        )  # fmt: skip

    async def _run(self, arguments: list[str], folder: Path) -> None:
        try:
            done = await self._host.output_of(
                arguments,
                folder=folder,
                environment=_environment(),
                seconds_max=limits.environment_install_s_max,
            )
        except TimeoutError:
            msg = (
                f"the dependencies took longer than {limits.environment_install_s_max:g} s to "
                "install"
            )
            raise InstallFailed(msg) from None
        if done.status != 0:
            raise InstallFailed(f"the dependencies cannot be installed:\n{_last_lines(done.text)}")


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _environment() -> dict[str, str]:
    """Return the server's variables without its own: keys are no business of a build script."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CAMBER_", "CONVEX_", "PYTHON"))
    }


def _own_paths() -> list[str]:
    """Return where the server's Python finds what is installed, Camber included."""
    places = [*site.getsitepackages(), str(Path(__file__).parents[2])]
    if site.ENABLE_USER_SITE:
        places.append(site.getusersitepackages())
    return [place for place in dict.fromkeys(places) if Path(place).is_dir()]


def _constraints() -> list[str]:
    """Return what a release may not replace: this Camber, and the versions that it works with."""
    found = []
    for requirement in importlib.metadata.requires("camber") or ():
        specifier, _, marker = requirement.partition(";")
        if "extra" not in marker:
            found.append(re.sub(r"\[[^]]*\]", "", specifier).strip())
    return [f"camber=={importlib.metadata.version('camber')}", *sorted(found)]


def _last_lines(text: str) -> str:
    lines = [line.rstrip()[:_LINE_LENGTH_MAX] for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-_LINES_TOLD:]) or "pip said nothing"
