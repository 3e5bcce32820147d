"""`camber explain`: what a query or mutation reads, what would run it again, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from camber.cli.client import CallFailed, Client
from camber.cli.completion import function_paths
from camber.cli.console import Console
from camber.cli.options import ComponentPath, on_deployment
from camber.cli.printing import print_json, printable
from camber.cli.run import Arguments, ClaimsOption, identity_of, json_object, with_suggestions

#: Entries of one kind that are shown; `--json` has all of them.
_SHOWN = 20
#: A mutation that has run is only touched by what commits before it does.
_AGAIN = {"query": "Runs again when", "mutation": "Runs again if, before it commits,"}
#: Documents of one table that are named one by one.
_NAMED = 3


@on_deployment
def explain(
    client: Client,
    console: Console,
    function: Annotated[
        str,
        typer.Argument(
            metavar="FUNCTION",
            help="A query or mutation, such as messages:recent.",
            autocompletion=function_paths,
        ),
    ],
    arguments: Arguments = "{}",
    identity: ClaimsOption = None,
    component: ComponentPath = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002
) -> None:
    """Run a query or mutation, write nothing, and say what it reads and what would run it again."""
    del console
    args = json_object(arguments, "the arguments are")
    acting_as = None if identity is None else identity_of(identity)
    try:
        found = client.explain(function, args, acting_as=acting_as, component=component)
    except CallFailed as error:
        raise with_suggestions(client, function, component, error) from error
    if as_json:
        print_json(found)
        return
    for line in explanation_lines(found):
        print(line)


def explanation_lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield an explanation as lines for people."""
    yield from _summary(found)
    for heading, lines in (
        ("Indexes", [*_scans(found)]),
        ("Calls", [*_calls(found)]),
        ("Reads", _listed([*_grouped(found, "words")], found)),
        (
            _AGAIN[found["type"]],
            _listed([*_grouped(found, "invalidatedBy"), *_beside(found)], found),
        ),
        ("Would write", [*_written(found)]),
        ("Cache", [*_cache(found)]),
        ("Log", [printable(line) for line in found["logLines"]]),
    ):
        if lines:
            yield ""
            yield heading
            yield from (f"  {line}" for line in lines)


def _summary(found: dict[str, Any]) -> Iterator[str]:
    mount = f"{found['componentPath']}/" if found["componentPath"] else ""
    items = next((each["items"] for each in found["functions"] if each["caller"] is None), None)
    result = _counted(found["resultBytes"], "byte")
    if items is not None:
        result = f"{_counted(items, 'item')}, {result}"
    yield (
        f"{mount}{found['path']}, a {found['type']}, read {_counted(found['documentsRead'], 'document')} "
        f"({_counted(found['bytesRead'], 'byte')}) in {found['userMs']:.1f} ms of its own time"
    )
    if found["failure"] is not None:
        yield "and failed:"
        yield from (f"  {printable(line)}" for line in found["failure"].splitlines())
    else:
        yield f"and returned {result}"


def _scans(found: dict[str, Any]) -> Iterator[str]:
    scans = found["scans"]
    for scan in scans[:_SHOWN]:
        yield from _scan(found, scan)
    if len(scans) > _SHOWN:
        yield f"and {len(scans) - _SHOWN} more: --json has them"
    if found["scansNotCounted"]:
        yield f"and {found['scansNotCounted']} scans from too many places to tell them apart"
    for each in found["documentsById"]:
        name = _full_name(each["componentPath"], each["table"])
        yield f"{name}.by_id: {_counted(each['documents'], 'document')} by id"


def _scan(found: dict[str, Any], scan: dict[str, Any]) -> Iterator[str]:
    name = _full_name(scan["componentPath"], f"{scan['table']}.{scan['index']}")
    conditions = " and ".join(map(printable, scan["conditions"])) or "all of it"
    if scan["search"] is not None:
        conditions = f"search for {printable(scan['search'])!r}" + (
            f" with {conditions}" if scan["conditions"] else ""
        )
    elif scan["hits"] is not None:
        conditions = "nearest to a vector" + (f", where {conditions}" if scan["conditions"] else "")
    elif scan["order"] == "desc":
        conditions += ", descending"
    times = f", {scan['times']} times" if scan["times"] > 1 else ""
    yield f"{name}: {conditions}, {scan['ending']}{times}"
    told = [f"{_counted(scan['documents'], 'document')} ({_counted(scan['bytes'], 'byte')})"]
    if scan["hits"] is not None:
        told = [_counted(scan["hits"], "hit")]
    if scan["hidden"]:
        told.append("its row rule lets nobody read it")
    if scan["withheldByRules"]:
        told.append(f"{scan['withheldByRules']} withheld by its row rule")
    if scan["filtered"]:
        told.append(f"{scan['passed']} passed its filters")
    if scan["forRules"]:
        told.append("read by a guard" if scan["function"] is None else "read by row rules")
    where = "" if scan["where"] is None else f", at {printable(scan['where'])}"
    yield f"    {', '.join(told)}{where}"
    yield from (f"    {line}" for line in _advice(scan))


def _advice(scan: dict[str, Any]) -> Iterator[str]:
    advised = scan["advice"]
    if advised is None:
        return
    if advised["declaration"] is None:
        yield f"the index {advised['table']}.{advised['index']} answers more of it:"
    else:
        yield f"an index would answer more of it; in table {advised['table']!r}:"
        yield f"    {printable(advised['declaration'])}"
        yield "and read"
    yield f"    {printable(advised['query'])}"
    yield from (f"({printable(note)})" for note in advised["notes"])


def _calls(found: dict[str, Any]) -> Iterator[str]:
    functions = found["functions"]
    if len(functions) < 2:
        return
    for called in functions[:_SHOWN]:
        depth, caller = 0, called["caller"]
        while caller is not None:
            depth, caller = depth + 1, functions[caller]["caller"]
        times = f", {called['times']} times" if called["times"] > 1 else ""
        name = _full_name(called["componentPath"], called["path"])
        yield f"{'  ' * depth}{name}, a {called['type']}{times}"
    if len(functions) > _SHOWN:
        yield f"and {len(functions) - _SHOWN} more: --json has them"


def _grouped(found: dict[str, Any], what: str) -> Iterator[str]:
    """Yield the entries of the read set; documents by id, of which there may be many, by table."""
    by_id: dict[str, list[dict[str, Any]]] = {}
    for entry in found["reads"]:
        if entry["kind"] == "document":
            name = _full_name(entry["componentPath"], entry["table"])
            by_id.setdefault(name, []).append(entry)
        elif entry["kind"] != "system":
            yield printable(entry[what])
    for name, entries in by_id.items():
        if len(entries) <= _NAMED:
            yield from (printable(entry[what]) for entry in entries)
        elif what == "words":
            yield f"{len(entries)} documents of {name}, by their ids"
        else:
            yield f"one of these {len(entries)} documents of {name} is inserted, changed or deleted"
    yield from (printable(each[what]) for each in found["reads"] if each["kind"] == "system")


def _beside(found: dict[str, Any]) -> Iterator[str]:
    if found["readsIdentity"]:
        yield "somebody else asks: it read who calls, so each user has a result of their own"
    if found["readsClock"]:
        yield "somebody asks anew later: it read the clock. Those who watch it are not told when time passes"


def _listed(lines: list[str], found: dict[str, Any]) -> list[str]:
    shown = lines[:_SHOWN]
    if len(lines) > _SHOWN:
        shown.append(f"and {len(lines) - _SHOWN} more: --json has them")
    if found["readsInAll"] > len(found["reads"]):
        shown.append(f"and {found['readsInAll'] - len(found['reads'])} more entries")
    return shown


def _written(found: dict[str, Any]) -> Iterator[str]:
    for each in found["written"]:
        name = _full_name(each["componentPath"], each["table"])
        told = [f"{each[what]} {what}" for what in ("inserted", "changed", "deleted") if each[what]]
        yield f"{name}: {', '.join(told)}"
    if found["scheduled"]:
        yield f"{_counted(found['scheduled'], 'scheduled function')}"


def _cache(found: dict[str, Any]) -> Iterator[str]:
    cache = found["cache"]
    if cache is None:
        return
    if not cache["kept"]:
        yield "nothing is kept: who asks next runs it"
        return
    holds = datetime.fromtimestamp(int(cache["holdsSince"]) / 1e9, UTC)
    what = "its failure" if cache["failure"] else "a result"
    of = " of this user" if cache["personal"] else ""
    watchers = _counted(cache["watchers"], "client")
    yield (
        f"{what}{of} is kept that holds since {holds:%Y-%m-%d %H:%M:%S UTC}: "
        f"{_counted(cache['bytes'], 'byte')}, watched by {watchers}"
    )


def _full_name(component: str, name: str) -> str:
    return f"{component}/{name}" if component else name


def _counted(count: int, what: str) -> str:
    return f"{count:,.0f} {what}{'' if count == 1 else 's'}"
