"""`camber export` and `camber import`: data of a running deployment as files."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlencode

import typer

from camber import limits
from camber.cli.client import CallFailed, Client
from camber.cli.console import Console
from camber.cli.options import ComponentPath, on_deployment
from camber.errors import CamberError
from camber.values.wire import encode_json, from_wire

if TYPE_CHECKING:
    from rich.progress import Progress

#: What a listing says of a document beside its fields.
_ROW_FIELDS: Final = frozenset({"_component", "_table", "_ts"})
#: What one part of an upload has, unless there would be too many.
_PART_BYTES: Final = 5 * 1024 * 1024
_PARTS_MAX: Final = limits.import_parts_max - 1


class TransferFailed(CamberError):
    """An export or import that did not come to its end; nothing was half done."""

    code = "TransferFailed"


class FileFormat(Enum):
    """What a file holds, as `--format` says it."""

    CSV = "csv"
    JSONL = "jsonl"
    JSON = "json"
    ZIP = "zip"


@on_deployment
def export(
    client: Client,
    console: Console,
    place: Annotated[
        str,
        typer.Option(
            "--path", help="The file to write, or a folder to write it to: one that ends with /."
        ),
    ] = ".",
    form: Annotated[
        FileFormat | None,
        typer.Option("--format", help="zip for everything; jsonl or csv for one table."),
    ] = None,
    table: Annotated[
        str | None, typer.Option("--table", help="One table only, as JSON lines or CSV.")
    ] = None,
    include_storage: Annotated[  # noqa: FBT002
        bool, typer.Option("--include-file-storage", help="Stored files too.")
    ] = False,
    component: ComponentPath = "",
) -> None:
    """Write the data of a deployment, as of one moment, to a file."""
    path = Path(place)
    made: dict[str, Any] = {}
    wanted = _export_format(form, table, path)
    if place.endswith("/"):
        path.mkdir(parents=True, exist_ok=True)
    _check_writable(path)
    with _progress() as progress:
        if table is None:
            made = _made_export(client, progress, component, include_storage)
            written = _download(client, progress, integer(made["start_ts"]), path)
        else:
            written = _write_table(client, progress, component, table, wanted, path)
    console.say(f"Wrote {written}")
    if "missing_files" in made:
        raise TransferFailed(
            _told_missing(integer(made["missing_files"]), made["missing_file_ids"])
        )


def _told_missing(count: int, ids: list[str]) -> str:
    """Return what is said of an export that could not have all files."""
    files = "1 stored file" if count == 1 else f"{count} stored files"
    left = count - len(ids)
    more = f" and {left} more, which MISSING_FILES.txt in it names" if left else ""
    return (
        f"it has everything but the content of {files}, which is gone: {', '.join(ids)}{more}. Put that back to "
        "where files are kept, or delete the files, and export again"
    )


def _export_format(form: FileFormat | None, table: str | None, path: Path) -> FileFormat:
    """Return what to write: as asked, else as the file's name says, else what fits."""
    if form is None:
        named = [each for each in FileFormat if path.suffix == f".{each.value}"]
        fitting = FileFormat.ZIP if table is None else FileFormat.JSONL
        form = named[0] if named and table is not None else fitting
    if form is FileFormat.JSON:
        raise TransferFailed("a table is written as jsonl or csv, not as a JSON array")
    if (form is FileFormat.ZIP) is not (table is None):
        msg = "a ZIP has all tables, jsonl and csv have one: give --table with these, and only then"
        raise TransferFailed(msg)
    return form


def _write_table(
    client: Client, progress: Progress, component: str, table: str, form: FileFormat, path: Path
) -> Path:
    """Write the documents of one table, all as of one moment."""
    client.check_component(component)
    known = client.get("/api/get_table_column_names")["byComponent"].get(component, [])
    if table not in {each["name"] for each in known}:
        names = ", ".join(each["name"] for each in known) or "none"
        raise TransferFailed(f"there is no table {table!r}; there are: {names}")
    if path.is_dir():
        path = path / f"{table}.{form.value}"
        _check_writable(path)
    task = progress.add_task(f"Exporting {table}", total=None)
    with _written_whole(path) as stream:
        if form is FileFormat.JSONL:
            for document in _listed(client, component, table):
                stream.write(encode_json(document) + b"\n")
                progress.advance(task)
        else:
            _write_csv(_listed(client, component, table), stream)
    return path


def _listed(client: Client, component: str, table: str) -> Iterator[dict[str, Any]]:
    """Yield the documents of a table as encoded JSON, page by page of one listing."""
    asked: dict[str, Any] = {
        "component": component,
        "tableName": table,
        "format": "convex_encoded_json",
    }
    while True:
        page = client.post("/api/list_snapshot", asked)
        for row in page["values"]:
            yield {name: value for name, value in row.items() if name not in _ROW_FIELDS}
        if not page["hasMore"]:
            return
        asked |= {"snapshot": page["snapshot"], "cursor": page["cursor"]}


def _write_csv(documents: Iterator[dict[str, Any]], stream: IO[bytes]) -> None:
    """Write documents as CSV: strings and numbers as they are, all else as JSON.

    Which columns there are is known at the end only, so the documents wait in a file.
    """
    columns = dict.fromkeys(("_id", "_creationTime"))
    with tempfile.TemporaryFile("w+b") as waiting:
        for document in documents:
            columns |= dict.fromkeys(sorted(document))
            waiting.write(encode_json(document) + b"\n")
        waiting.seek(0)
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(columns)
        for line in waiting:
            document = json.loads(line)
            rows.writerow([_cell(document.get(name, "")) for name in columns])
        text.detach()


def _cell(value: Any) -> str:
    match value:
        case str():
            return value
        case {"$integer": _} | {"$float": _}:
            return str(from_wire(value))
        case None:
            return "null"
        case _:
            return json.dumps(value)


#: What the server calls the formats.
_FORMATS: Final = {
    FileFormat.CSV: "csv",
    FileFormat.JSONL: "jsonLines",
    FileFormat.JSON: "jsonArray",
    FileFormat.ZIP: "zip",
}


@on_deployment
def import_(
    client: Client,
    console: Console,
    file: Annotated[Path, typer.Argument(help="A .zip, .csv, .jsonl or .json file.")],
    table: Annotated[
        str | None, typer.Option("--table", help="The table to import into; not for a ZIP.")
    ] = None,
    form: Annotated[
        FileFormat | None, typer.Option("--format", help="Unless the file's name says it.")
    ] = None,
    append: Annotated[  # noqa: FBT002
        bool, typer.Option("--append", help="Keep what the tables have.")
    ] = False,
    replace: Annotated[  # noqa: FBT002
        bool, typer.Option("--replace", help="Remove what the tables of the file have.")
    ] = False,
    replace_all: Annotated[  # noqa: FBT002
        bool, typer.Option("--replace-all", help="Remove what all tables have.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,  # noqa: FBT002
    component: ComponentPath = "",
) -> None:
    """Import a file into a deployment: all of it at once, or nothing."""
    asked = {"mode": _mode(append=append, replace=replace, replace_all=replace_all)}
    asked["format"] = _FORMATS[form or _format_of(file)]
    if table is not None:
        asked["tableName"] = table
    if component:
        asked["componentPath"] = component
    with _progress() as progress:
        import_id = _upload(client, progress, file, asked)
    try:
        with _progress() as progress:
            state = _waited(client, progress, import_id, "Parsing")
        if state["state"] == "waiting_for_confirmation":
            _confirm(state, yes=yes, console=console)
            client.post("/api/perform_import", {"importId": import_id})
            with _progress() as progress:
                state = _waited(client, progress, import_id, "Importing")
    except (KeyboardInterrupt, NotConfirmed):
        client.post("/api/cancel_import", {"importId": import_id})
        raise
    if state["state"] == "failed":
        raise TransferFailed(f"nothing was imported: {state['error_message']}")
    console.say(f"Imported {integer(state['num_rows_written'])} documents")


class NotConfirmed(TransferFailed):
    """Somebody was asked, or could not be asked, and did not say yes."""


def _mode(*, append: bool, replace: bool, replace_all: bool) -> str:
    chosen = [
        mode
        for mode, given in (("append", append), ("replace", replace), ("replaceAll", replace_all))
        if given
    ]
    if len(chosen) > 1:
        raise TransferFailed("--append, --replace and --replace-all exclude each other")
    return chosen[0] if chosen else "requireEmpty"


def _format_of(file: Path) -> FileFormat:
    for form in FileFormat:
        if file.suffix == f".{form.value}":
            return form
    msg = f"the name of {file} does not say what it holds: give --format csv, jsonl, json or zip"
    raise TransferFailed(msg)


def _upload(client: Client, progress: Progress, file: Path, asked: dict[str, str]) -> str:
    """Send a file in parts, and return the id of its import."""
    if not file.is_file():
        raise TransferFailed(f"{file} is no file")
    size = file.stat().st_size
    # Parts are numbered up to a bound: a large file has larger ones.
    part_bytes = max(_PART_BYTES, -(-size // _PARTS_MAX))
    task = progress.add_task("Uploading", total=size or None)
    token = client.post("/api/import/start_upload", {})["uploadToken"]
    part_tokens: list[str] = []
    with file.open("rb") as stream:
        while part := stream.read(part_bytes):
            response = client.request(
                "POST",
                "/api/import/upload_part",
                params={"uploadToken": token, "partNumber": str(len(part_tokens) + 1)},
                content=part,
                headers={"Content-Type": "application/octet-stream"},
            )
            part_tokens.append(response.json())
            progress.advance(task, len(part))
    body = {"import": asked, "uploadToken": token, "partTokens": part_tokens}
    return str(client.post("/api/import/finish_upload", body)["importId"])


def _waited(client: Client, progress: Progress, import_id: str, doing: str) -> Any:
    """Return the state of an import once the server waits for us, or has ended it."""
    task = progress.add_task(doing, total=None)
    for job in client.watch("_system/cli/queryImport", {"importId": import_id}):
        if isinstance(job, CallFailed):
            raise job
        if job is None:
            raise TransferFailed("the server does not know of the import any more")
        state = job["state"]
        if state["state"] in {"waiting_for_confirmation", "completed", "failed"}:
            return state
        progress.update(task, description=state.get("progress_message") or doing)
    raise AssertionError("watching ends only with an error")


def _confirm(state: dict[str, Any], *, yes: bool, console: Console) -> None:
    """Show what would change, and ask whether it may where documents or files would go."""
    console.say(state["message_to_confirm"])
    if yes or not state["require_manual_confirmation"]:
        return
    if not sys.stdin.isatty():
        msg = "data would be deleted, and nobody is there to confirm it: give --yes"
        raise NotConfirmed(msg)
    if not typer.confirm("Import?"):
        raise NotConfirmed("nothing was imported")


def _made_export(
    client: Client,
    progress: Progress,
    component: str,
    include_storage: bool,  # noqa: FBT001
) -> Any:
    """Have the server make an export, and return what it says of it once it is made."""
    task = progress.add_task("Exporting", total=None)
    wanted = "true" if include_storage else "false"
    query = urlencode({"includeStorage": wanted, "component": component})
    client.request("POST", f"/api/export/request/zip?{query}")
    for job in client.watch("_system/cli/exports:getLatest", {}):
        if isinstance(job, CallFailed):
            raise job
        progress.update(task, description=job.get("progress_message") or "Exporting")
        if job["state"] == "completed":
            progress.remove_task(task)
            return job
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
    found = from_wire(value)
    assert isinstance(found, int)
    return int(found)


@contextmanager
def _progress() -> Iterator[Progress]:
    """Yield a progress bar on standard error; nothing is drawn where nobody looks."""
    from rich.console import Console as Terminal
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )

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
