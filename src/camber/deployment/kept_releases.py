"""The sources of releases, kept under `--data/releases` so that they can serve again.

Each lies in a folder named by its digest, which is written aside and renamed: it is there whole or
not at all, and does not change. What is known of it stands in a file beside it. A folder that
`camber start` is given is copied too: what serves is not what somebody edits.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from camber.deployment.archive import ArchiveRefused, unpack
from camber.deployment.dependencies import Dependencies, dependencies_of
from camber.deployment.environments import Environments
from camber.deployment.project import Project, load_project
from camber.deployment.source import (
    FOLDER,
    UPLOAD,
    ReleaseSource,
    digest_of,
    release_files,
)
from camber.errors import CamberError
from camber.files.durable import make_folder, sync
from camber.host import Host

#: Where sources are kept, below a deployment's data.
RELEASES: Final = "releases"

#: Beside the folder of the same name.
_MANIFEST: Final = ".json"
#: The digest of the folder that was pushed last by `camber start DIR`.
_LAST_FOLDER: Final = "folder"
#: Names of what is being written begin so: what is left of it at the next start is removed.
_PARTIAL: Final = ".partial-"


class ReleaseGone(CamberError):
    """A release whose sources are not kept, or are not what they were."""

    code = "ReleaseGone"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRelease:
    """Sources that are kept."""

    digest: str
    root: Path
    functions: str
    #: `folder` or `upload`.
    origin: str


class KeptReleases:
    """What lies under `--data/releases`, and the environments beside it."""

    def __init__(self, data: Path, host: Host) -> None:
        # Programs that run in other folders are told of paths below it.
        data = data.absolute()
        self._folder = data / RELEASES
        self._host = host
        self._environments = Environments(data / "environments", host)

    def clean_up(self) -> None:
        """Remove what an earlier process was about to write when it ended."""
        for path in self._folder.glob(f"{_PARTIAL}*"):
            _remove(path)

    def partial(self) -> Path:
        """Return a path for something that is being written; whoever writes it removes it."""
        make_folder(self._folder)
        return self._folder / f"{_PARTIAL}{self._host.random_bytes(8).hex()}"

    def keep_archive(self, archive: Path, digest: str) -> KeptRelease:
        """Unpack an archive and keep what it holds. Blocks.

        Raises:
            ArchiveRefused: it is damaged, or holds something else than `digest` says.
            ProjectError: it holds no project.
        """
        return self._keep(lambda source: _unpacked(archive, source, digest), UPLOAD)

    def keep_folder(self, project: Project) -> KeptRelease:
        """Copy a project's folder and keep it. Blocks.

        Raises:
            OSError: a file cannot be read.
        """
        return self._keep(lambda source: _copied(project, source), FOLDER)

    def find(self, digest: str) -> KeptRelease:
        """Return the sources with a digest.

        Raises:
            ReleaseGone: they are not kept.
        """
        root = self._folder / digest
        try:
            manifest = json.loads(self._manifest(digest).read_text(encoding="utf-8"))
            functions, origin = str(manifest["functions"]), str(manifest["origin"])
        except (OSError, ValueError, KeyError, TypeError):
            functions = origin = ""
        if not functions or not root.is_dir():
            msg = f"the sources of release {digest[:12]} are not kept under {self._folder}"
            raise ReleaseGone(msg)
        return KeptRelease(digest=digest, root=root, functions=functions, origin=origin)

    def has(self, digest: str) -> bool:
        """Return whether sources are kept."""
        return bool(digest) and self._manifest(digest).is_file()

    def _manifest(self, digest: str) -> Path:
        return self._folder / f"{digest}{_MANIFEST}"

    async def source(self, kept: KeptRelease, installing: Callable[[], None]) -> ReleaseSource:
        """Return kept sources as they are to be loaded, with their environment.

        `installing` is called before dependencies are installed, which may take minutes.

        Raises:
            DependenciesRefused: they name dependencies that a release cannot have.
            InstallFailed: the dependencies cannot be installed.
        """
        python = None
        dependencies = await asyncio.to_thread(_dependencies, kept)
        if dependencies is not None:
            python = self._environments.installed(dependencies)
            if python is None:
                installing()
                python = await self._environments.install(dependencies, kept.root)
        return ReleaseSource(
            root=kept.root,
            functions=kept.functions,
            python=python,
            digest=kept.digest,
            origin=kept.origin,
        )

    def forget_all_but(self, digests: Collection[str]) -> None:
        """Remove all other sources, and the environments that nobody needs any more. Blocks."""
        environments = set()
        for folder in list(self._folder.glob("*/")):
            if folder.name.startswith(_PARTIAL):
                continue
            if folder.name not in digests:
                _remove(self._manifest(folder.name))
                _remove(folder)
            elif self.has(folder.name):
                dependencies = _dependencies(self.find(folder.name))
                if dependencies is not None:
                    environments.add(self._environments.name_of(dependencies))
        self._environments.remove_all_but(environments)

    @property
    def last_folder(self) -> str:
        """Return the digest of the folder that was pushed last; empty if none was."""
        try:
            return (self._folder / _LAST_FOLDER).read_text(encoding="ascii").strip()
        except OSError:
            return ""

    def note_folder(self, digest: str) -> None:
        """Remember the digest of the folder that was pushed last."""
        self._write(self._folder / _LAST_FOLDER, digest)

    def _keep(self, fill: Callable[[Path], Project], origin: str) -> KeptRelease:
        partial = self.partial()
        try:
            partial.mkdir()
            project = fill(partial)
            digest = digest_of(partial, _files(partial))
            kept = self._folder / digest
            if not kept.is_dir():
                # The commit that will make it serve is durable, so its sources must be.
                _make_durable(partial)
                partial.rename(kept)
            # The same files may have come another way: what was said last of them holds.
            manifest = {"functions": project.functions, "origin": origin}
            self._write(self._manifest(digest), json.dumps(manifest))
        finally:
            _remove(partial)
        return self.find(digest)

    def _write(self, file: Path, text: str) -> None:
        partial = self.partial()
        partial.write_text(f"{text}\n", encoding="utf-8")
        sync(partial)
        partial.replace(file)
        sync(self._folder)


def _unpacked(archive: Path, source: Path, digest: str) -> Project:
    with archive.open("rb") as stream:
        names = unpack(stream, source)
    found = digest_of(source, names)
    if found != digest:
        msg = (
            f"the archive holds release {found[:12]}, and not {digest[:12]} as was said: it was "
            "changed on its way"
        )
        raise ArchiveRefused(msg, code="DigestMismatch")
    return load_project(source)


def _copied(project: Project, source: Path) -> Project:
    for name in release_files(project.root, project.functions, project.include):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(project.root / name, target)
    return project


def _files(source: Path) -> list[str]:
    return sorted(
        path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()
    )


def _make_durable(folder: Path) -> None:
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


def _dependencies(kept: KeptRelease) -> Dependencies | None:
    # A folder beside the server runs on what its owner has installed for both.
    return None if kept.origin == FOLDER else dependencies_of(kept.root)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
