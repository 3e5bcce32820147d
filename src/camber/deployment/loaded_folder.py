"""A copy of the functions folder for the executors of one release.

One that is started later must load what was pushed, not what lies in the folder by then. Copies
last as long as the server: the next one starts with none.
"""

from __future__ import annotations

import shutil
from collections.abc import Container
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from camber.deployment.source import FOLDER, ReleaseSource, digest_of, release_files

#: A folder that is saved again and again leaves copies; those of releases long gone are removed.
_COPIES_KEPT: Final = 16


def copied(root: Path, functions: str, copies: Path, *, in_use: Container[Path]) -> ReleaseSource:
    """Return the functions folder of `root` as it is now, copied below `copies`. Blocks.

    Older copies are removed, but not those that are `in_use`.

    Raises:
        OSError: a file cannot be read or written.
    """
    copies.mkdir(parents=True, exist_ok=True)
    partial = Path(mkdtemp(prefix=".new-", dir=copies))
    try:
        files = release_files(root, functions)
        for name in files:
            target = partial / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, target)
        # Of files that are saved meanwhile, what was copied counts.
        digest = digest_of(partial, files)
        copy = copies / digest
        if copy.is_dir():
            copy.touch()
        else:
            partial.rename(copy)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _remove_oldest(copies, {copy}, in_use)
    return ReleaseSource(root=copy, functions=functions, digest=digest, origin=FOLDER)


def forget_copies(copies: Path) -> None:
    """Remove the copies of an earlier server. Blocks."""
    shutil.rmtree(copies, ignore_errors=True)


def _remove_oldest(copies: Path, newest: Container[Path], in_use: Container[Path]) -> None:
    found = [path for path in copies.iterdir() if not path.name.startswith(".new-")]
    found.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found[_COPIES_KEPT:]:
        if path not in newest and path not in in_use:
            shutil.rmtree(path, ignore_errors=True)
