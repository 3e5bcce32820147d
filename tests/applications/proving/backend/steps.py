"""What each step of a program does to a real database.

A program is data: a list of steps, each with the name of an operation (`op`) and what it is told.
Steps name documents and pages by numbers, which count into what is known: the ids and the pages
that whoever started the program has seen before, and those that it has met itself.

Each operation is a generator that yields where something else may happen meanwhile, and returns
what it has seen. It has a twin in the model, which shares nothing with it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from camber import UNSET, AppError, PaginationOpts, any_of, gt, gte, lt, lte
from camber.errors import DeveloperError

Steps = Generator[None, None, Any]
Operation = Callable[["Running", dict[str, Any]], Steps]


@dataclass
class Running:
    """A program that runs: its database, what it knows, and how it begins what is nested in it."""

    db: Any
    ids: list[str]
    pages: list[dict[str, Any]]
    #: Returns who has asked for it.
    who: Callable[[], str | None]
    #: Runs steps as a sub-transaction, which raises in the end if it is told to: here, or in the place
    #: that is named (`tests/proofs/places.py`).
    nested: Callable[[Running, list[Any], bool, str | None], Steps]
    #: Runs steps that read, in a place.
    ask: Callable[[Running, list[Any], str], Steps]
    #: Returns a page, as a function of its own.
    page: Callable[..., Any]


class Failed(Exception):
    """A nested program that was told to fail, with what it has seen.

    Errors outlive the transaction, so they cannot say when it commits: "now" is said instead.
    """

    def __init__(self, seen: Any) -> None:
        super().__init__("told to fail")
        self.seen = told_now(seen)


def told_now(value: Any) -> Any:
    """Return a value with "now" in the place of the commit timestamp."""
    if isinstance(value, list):
        return [told_now(item) for item in value]
    if isinstance(value, dict):
        return {name: told_now(item) for name, item in value.items()}
    return "now" if repr(value) == "commit_ts" else value


def run(running: Running, steps: list[Any]) -> Steps:
    """Take steps one after another and return what each has seen."""
    seen = []
    for step in steps:
        yield
        try:
            seen.append((yield from OPERATIONS[step["op"]](running, step)))
        except DeveloperError as error:
            seen.append({"error": error.code})
        except AppError as error:
            seen.append({"error": error.data["paginationError"]})
    return seen


def to_the_end(steps: Steps) -> Any:
    """Run steps without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def plain(document: Any) -> Any:
    return document if document is None or isinstance(document, dict) else document.to_dict()


def _plainly(step: Callable[[Running, dict[str, Any]], Any]) -> Operation:
    """An operation without pauses."""

    def operation(running: Running, told: dict[str, Any]) -> Steps:
        yield from ()
        return step(running, told)

    return operation


def _get(running: Running, told: dict[str, Any]) -> Any:
    return plain(running.db.get(_id(running, told)))


def _id(running: Running, told: dict[str, Any]) -> str:
    if not running.ids:
        return "j57000820c20a1g7104gm2rc1m70ynr8"
    at: int = told["id"] % len(running.ids)
    return running.ids[at]


def _insert(running: Running, told: dict[str, Any]) -> Any:
    id_ = running.db.insert(told["table"], told["fields"])
    running.ids.append(id_)
    return plain(running.db.get(id_))


def _patch(running: Running, told: dict[str, Any]) -> Any:
    removed = dict.fromkeys(told["removed"], UNSET)
    return running.db.patch(_id(running, told), {**told["fields"], **removed})


def _replace(running: Running, told: dict[str, Any]) -> Any:
    return running.db.replace(_id(running, told), told["fields"])


def _delete(running: Running, told: dict[str, Any]) -> Any:
    return running.db.delete(_id(running, told))


def _bump(running: Running, told: dict[str, Any]) -> Any:
    id_ = _id(running, told)
    found = plain(running.db.get(id_))
    if found is None:
        return None
    running.db.patch(id_, {"n": found.get("n", 0) + 1})
    return found


def _stamp(running: Running, told: dict[str, Any]) -> Any:
    """Write when the program commits into a field of a document."""
    now = running.db.vars.commit_ts
    value = {"alone": now, "array": ["a", now], "object": {"x": now}}[told["within"]]
    return running.db.patch(_id(running, told), {told["field"]: value})


def _query(db: Any, told: dict[str, Any]) -> Any:
    query = _searched(db, told) if "search" in told else _scanned(db, told)
    if told.get("odd"):
        query = query.filter(lambda document: plain(document).get("n", 0) % 2 == 1)
    return query


def _searched(db: Any, told: dict[str, Any]) -> Any:
    where = {field: value[0] if value else UNSET for _, field, *value in told["where"]}
    return db.query(told["table"]).with_search_index(told["index"], told["search"], where)


def _scanned(db: Any, told: dict[str, Any]) -> Any:
    conditions: dict[str, Any] = {}
    for relation, field, *value in told["where"]:
        wanted = value[0] if value else UNSET
        if relation != "eq":
            wanted = {"gt": gt, "gte": gte, "lt": lt, "lte": lte}[relation](wanted)
            if field in conditions:
                wanted = conditions[field] & wanted
        conditions[field] = wanted
    query = db.query(told["table"])
    if told["index"] != "by_creation_time" or conditions:
        query = query.with_index(told["index"], conditions)
    return query.order(told["order"])


def _collect(running: Running, told: dict[str, Any]) -> Any:
    return [plain(document) for document in _query(running.db, told).collect()]


def _take(running: Running, told: dict[str, Any]) -> Any:
    return [plain(document) for document in _query(running.db, told).take(told["count"])]


def _first(running: Running, told: dict[str, Any]) -> Any:
    return plain(_query(running.db, told).first())


def _unique(running: Running, told: dict[str, Any]) -> Any:
    return plain(_query(running.db, told).unique())


def _count(running: Running, told: dict[str, Any]) -> Any:
    return _query(running.db, told).count()


def _search(running: Running, told: dict[str, Any]) -> Any:
    query = _query(running.db, told)
    found = query.collect() if told["count"] is None else query.take(told["count"])
    return [plain(document) for document in found]


def _seen_by(running: Running, told: dict[str, Any]) -> Any:
    """Return who has asked for a document, and ask who that is only if there is one."""
    return None if running.db.get(_id(running, told)) is None else running.who()


def _nearest(running: Running, told: dict[str, Any]) -> Any:
    """Return what is nearest; scores as far as they can be told apart."""
    values = [value[0] if value else UNSET for value in told["b"]]
    where = {"b": any_of(*values)} if values else None
    hits = running.db.vector_search("docs.by_v", told["vector"], told["limit"], where)
    return [[hit.id, round(hit.score, 4)] for hit in hits]


def _sweep(running: Running, told: dict[str, Any]) -> Steps:
    """Change documents while the scan that finds them is open."""
    seen: list[Any] = []
    for document in _query(running.db, told):
        yield
        found = plain(document)
        seen.append(found)
        try:
            _change(running, found["_id"], told)
        except DeveloperError as error:
            seen.append({"error": error.code})
        if len(seen) >= told["count"]:
            break
    return seen


def _change(running: Running, id_: str, told: dict[str, Any]) -> None:
    if told["change"] == "delete":
        running.db.delete(id_)
    else:
        running.db.patch(id_, told["fields"])


def _nested(running: Running, told: dict[str, Any]) -> Steps:
    try:
        return (yield from running.nested(running, told["steps"], told["fails"], told.get("place")))
    except Failed as failed:
        return {"failed": failed.seen}


def _ask(running: Running, told: dict[str, Any]) -> Steps:
    return (yield from running.ask(running, told["steps"], told["place"]))


def _page(running: Running, told: dict[str, Any]) -> Any:
    """Read a page: the first, or one that goes by what is known of another."""
    spec, mode = told["query"], told["mode"]
    known = running.pages[told["page"] % len(running.pages)] if running.pages else None
    cursor = end = journal = None
    if known is not None and mode != "first":
        if mode != "foreign":
            spec = known["query"]
        cursor = known["cursor"] if mode in {"again", "left", "whole"} else known["end"]
        if mode == "left":
            end = known["split"] or known["end"]
        elif mode == "right":
            cursor, end = known["split"] or known["cursor"], known["end"]
        elif mode == "whole":
            end = known["end"]
        elif mode == "again":
            journal = known["journal"]
    options = PaginationOpts(
        num_items=told["items"], cursor=cursor, end_cursor=end, maximum_rows_read=told["rows_max"]
    )
    page = running.page(spec, options, journal)
    running.pages.append(
        {
            "query": spec,
            "cursor": cursor,
            "end": page["continueCursor"],
            "split": page["splitCursor"],
            "journal": page["journal"],
        }
    )
    return page


def read_page(db: Any, spec: dict[str, Any], options: PaginationOpts) -> Any:
    return _query(db, spec).paginate(options).map(plain)


OPERATIONS: dict[str, Operation] = {
    "who": _plainly(lambda running, told: running.who()),
    "seen_by": _plainly(_seen_by),
    "get": _plainly(_get),
    "insert": _plainly(_insert),
    "patch": _plainly(_patch),
    "replace": _plainly(_replace),
    "delete": _plainly(_delete),
    "bump": _plainly(_bump),
    "stamp": _plainly(_stamp),
    "collect": _plainly(_collect),
    "take": _plainly(_take),
    "first": _plainly(_first),
    "unique": _plainly(_unique),
    "count": _plainly(_count),
    "search": _plainly(_search),
    "nearest": _plainly(_nearest),
    "sweep": _sweep,
    "nested": _nested,
    "call": _nested,
    "ask": _ask,
    "page": _plainly(_page),
}
