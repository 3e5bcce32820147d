"""`camber export` and `camber import`: data of a running deployment as files."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console as Terminal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from camber.cli.client import CallFailed, Client, target_of
from camber.cli.console import Console
from camber.cli.options import AdminKey, Directory, Url
from camber.cli.reporting import reporting
from camber.errors import CamberError


class TransferFailed(CamberError):
    """An export or import that did not come to its end; nothing was half done."""

    code = "TransferFailed"


def export(
    path: Annotated[
        Path, typer.Option("--path", help="The file to write, or a folder to write it to.")
    ] = Path(),
    include_storage: Annotated[  # noqa: FBT002
        bool, typer.Option("--include-file-storage", help="Stored files too.")
    ] = False,
    directory: Directory = Path(),
    url: Url = None,
    admin_key: AdminKey = None,
) -> None:
    """Write all data of a deployment, as of one moment, to a ZIP file."""
    console = Console()
    with reporting(console):
        client = Client(target_of(directory, url, admin_key))
        _check_writable(path)
        with _progress() as progress:
            ts = _made_export(client, progress, include_storage)
            written = _download(client, progress, ts, path)
        console.say(f"Wrote {written}")


def _made_export(client: Client, progress: Progress, include_storage: bool) -> int:  # noqa: FBT001
    """Have the server make an export, and return its timestamp once it is made."""
    task = progress.add_task("Exporting", total=None)
    wanted = "true" if include_storage else "false"
    client.request("POST", f"/api/export/request/zip?includeStorage={wanted}")
    for job in client.watch("_system/cli/exports:getLatest", {}):
        if isinstance(job, CallFailed):
            raise job
        progress.update(task, description=job.get("progress_message") or "Exporting")
        if job["state"] == "completed":
            progress.remove_task(task)
            return integer(job["start_ts"])
        if job["state"] in {"failed", "canceled"}:
            reason = job.get("error_message") or f"it was {job['state']}"
            raise TransferFailed(f"the export failed: {reason}")
    raise AssertionError("watching ends only with an error")


def _download(client: Client, progress: Progress, ts: int, path: Path) -> Path:
    """Write an export to `path`, which gets its name once the file is whole."""
    with client.stream("GET", f"/api/export/zip/{ts}") as response:
        if path.is_dir():
            name = response.headers.get("content-disposition", "").partition("filename=")[2]
            # What a server names must not lead out of the folder.
            path = path / (Path(name).name or f"snapshot_{ts}.zip")
            if path.exists():
                _check_writable(path)
        size = int(response.headers.get("content-length", 0))
        task = progress.add_task("Downloading", total=size or None)
        with _written_whole(path) as stream:
            for piece in response.iter_bytes():
                stream.write(piece)
                progress.advance(task, len(piece))
            if size and stream.tell() != size:
                msg = f"the download broke off after {stream.tell()} of {size} bytes; try again"
                raise TransferFailed(msg)
    return path


@contextmanager
def _written_whole(path: Path) -> Iterator[Any]:
    """Yield a stream whose content becomes the file `path` at the end, or nothing does."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _check_writable(path: Path) -> None:
    """Ask a person whether a file may be overwritten; without one to ask, it may not."""
    if path.exists() and not path.is_dir():
        if sys.stdin.isatty() and typer.confirm(f"Overwrite {path}?"):
            return
        msg = f"{path} is there already, and is not overwritten: move it, or give another --path"
        raise TransferFailed(msg)
    if not path.parent.is_dir():
        msg = f"{path.parent} is no folder: make it first, or give another --path"
        raise TransferFailed(msg)


def integer(value: Any) -> int:
    """Return an int64 of encoded JSON."""
    from camber.values.wire import from_wire

    found = from_wire(value)
    assert isinstance(found, int)
    return int(found)


@contextmanager
def _progress() -> Iterator[Progress]:
    """Yield a progress bar on standard error; nothing is drawn where nobody looks."""
    terminal = Terminal(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
    ) as progress:
        yield progress
