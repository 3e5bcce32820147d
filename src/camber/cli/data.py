"""`camber data`: tables and documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any

import typer

from camber.cli.client import CallFailed, Client
from camber.cli.completion import table_names
from camber.cli.console import Console
from camber.cli.options import ComponentPath, on_deployment
from camber.cli.printing import moment, print_json, print_table, without_points

#: Documents asked for at once.
_PAGE = 1000
_SYSTEM_FIELDS = ("_id", "_creationTime")


class Format(Enum):
    """How documents are printed."""

    PRETTY = "pretty"
    JSON = "json"
    JSONL = "jsonl"


class Order(Enum):
    """Which documents come first."""

    ASC = "asc"
    DESC = "desc"


@on_deployment
def data(
    client: Client,
    console: Console,
    table: Annotated[
        str | None,
        typer.Argument(
            metavar="TABLE",
            help="A table; without one, all tables are listed.",
            autocompletion=table_names,
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The most documents.")] = 100,
    order: Annotated[
        Order, typer.Option("--order", help="By creation time: the oldest or the newest first.")
    ] = Order.DESC,
    form: Annotated[
        Format, typer.Option("--format", help="A table, a JSON array, or a JSON line for each.")
    ] = Format.PRETTY,
    component: ComponentPath = "",
) -> None:
    """Show the tables, or the documents of one."""
    if table is None:
        _show_tables(client, component, form, console)
    else:
        _show_documents(client, component, table, limit, order, form, console)


def _show_tables(client: Client, component: str, form: Format, console: Console) -> None:
    client.check_component(component)
    tables = client.get("/api/camber/status")["tables"]
    counts = {
        name: each["documents"]
        for each in tables
        for owner, _, name in (each["name"].rpartition("/"),)
        if owner == component
    }
    match form:
        case Format.JSON:
            print_json(counts)
        case Format.JSONL:
            for name, count in sorted(counts.items()):
                console.say(json.dumps({"name": name, "documents": count}))
        case Format.PRETTY if counts:
            rows = [(name, str(count)) for name, count in sorted(counts.items())]
            print_table(("table", "documents"), rows)
        case Format.PRETTY:
            console.complain("There are no tables")


def _show_documents(
    client: Client,
    component: str,
    table: str,
    limit: int,
    order: Order,
    form: Format,
    console: Console,
) -> None:
    # One more than is shown tells whether there are more.
    found = [
        without_points(each) for each in _documents(client, component, table, limit + 1, order)
    ]
    shown = found[:limit]
    if not found:
        _refuse_unknown(client, component, table)
    match form:
        case Format.JSON:
            print_json(shown)
            return
        case Format.JSONL:
            for document in shown:
                console.say(json.dumps(document, ensure_ascii=False))
            return
        case Format.PRETTY:
            pass
    if not found:
        console.complain(f"Table {table!r} has no documents")
        return
    fields = sorted({name for document in shown for name in document} - set(_SYSTEM_FIELDS))
    columns = (*_SYSTEM_FIELDS, *fields)
    print_table(columns, [[_cell(document, name) for name in columns] for document in shown])
    if len(found) > limit:
        which = "newest" if order is Order.DESC else "oldest"
        console.complain(f"These are the {limit} {which}; --limit shows more")


def _documents(
    client: Client, component: str, table: str, limit: int, order: Order
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while len(found) < limit:
        options = {"cursor": cursor, "numItems": min(limit - len(found), _PAGE)}
        page = client.query(
            "_system/cli/tableData",
            component=component,
            table=table,
            order=order.value,
            paginationOpts=options,
        )
        found += page["page"]
        cursor = page["continueCursor"]
        if page["isDone"]:
            break
    return found


def _refuse_unknown(client: Client, component: str, table: str) -> None:
    options = {"cursor": None, "numItems": 10_000}
    page = client.query("_system/cli/tables", component=component, paginationOpts=options)["page"]
    names = sorted(each["name"] for each in page)
    if table in names or table.startswith("_"):
        return
    there = f"there are {', '.join(names)}" if names else "there are none yet"
    msg = f"there is no table {table!r}; {there}"
    raise CallFailed(msg)


def _cell(document: Mapping[str, Any], name: str) -> str:
    if name not in document:
        return ""
    value = document[name]
    match name:
        case "_id":
            return str(value)
        case "_creationTime":
            return moment(value)
        case _:
            return json.dumps(value, ensure_ascii=False)
