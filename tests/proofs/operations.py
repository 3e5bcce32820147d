"""The operations that programs are made of: how one is told, and what it does to a model.

What it does to a real database is its twin in `tests/applications/proving/backend/steps.py`. A
feature that adds to what transactions may do adds an operation here and there, and every proof
that runs programs runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from camber import Int64
from tests.applications.proving.backend import steps as real
from tests.proofs.model import END, INDEXES, Cursors, Model, Refused, follows, is_accepted
from tests.proofs.places import PLACES
from tests.proofs.plain import NOW, at, plain, same

#: An id of nothing, which nobody is ever given.
NOBODY = "j57000820c20a1g7104gm2rc1m70ynr8"


@dataclass
class Journals:
    """What a query was given to pin the pages that it reads, one after another, and gave back."""

    given: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    #: How many pages it has read.
    read: int = 0

    def next(self, cursors: Cursors, name: str) -> str | None:
        """Return what pins the next page; a journal of another query pins nothing."""
        if self.read >= len(self.given):
            return None
        journal = self.given[self.read]
        return journal if cursors.positions[journal][0] in {name, _NO_TABLE} else None

    def has_read(self, cursors: Cursors, name: str, end: Any) -> None:
        if self.read < len(self.made):
            cursors.learn("journal", self.made[self.read], name, end)
        self.read += 1

    def check(self) -> None:
        assert self.read == len(self.made) or not self.made, "a page is pinned that was not read"


@dataclass
class Replaying:
    """A program that is replayed on a model: what it knows, as its real twin did."""

    model: Model
    ids: list[str]
    pages: list[dict[str, Any]]
    who: str | None = None
    #: Of the pages that it reads by calling others.
    journals: Journals = field(default_factory=Journals)
    #: What it was told of when it commits, in the place of `NOW`.
    told: Any = NOW

    def id(self, told: dict[str, Any]) -> str:
        return self.ids[told["id"] % len(self.ids)] if self.ids else NOBODY


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One thing that a program may do.

    `on_model` is given what the real database has answered, for what a model cannot know: the ids
    and times that were given. It returns what should have been answered.
    """

    told: st.SearchStrategy[dict[str, Any]]
    on_model: Callable[[Replaying, dict[str, Any], Any], Any]
    writes: bool = False
    on_engine: Callable[[real.Running, dict[str, Any]], real.Steps] = field(init=False)

    def bind(self, name: str) -> Operation:
        object.__setattr__(self, "on_engine", real.OPERATIONS[name])
        return self


def replay(replaying: Replaying, steps: list[Any], seen: Any) -> list[Any]:
    """Run a program on a model and return what it should have seen."""
    expected: list[Any] = []
    assert len(seen) == len(steps), "a step has seen nothing"
    for step, answer in zip(steps, seen, strict=True):
        try:
            expected.append(OPERATIONS[step["op"]].on_model(replaying, step, answer))
        except Refused as refused:
            expected.append({"error": refused.code})
    return expected


# What programs are told. Few values, so that they collide. An int64 of them is between the timestamps of
# commits and what stands for those that are not known.

VALUES = [
    None, Int64(-1), Int64(0), Int64(300), Int64(2**62), 0.0, -0.0, 1.0, -2.5, float("inf"), float("nan"),
    False, True, "", "a", "a\0", "b", "ab", "a b", b"", b"\0", [], ["a"], [["a"], None], {"x": 1.0}, {},
]  # fmt: skip
_common = st.sampled_from([0.0, 1.0, "a", "a\0", "b", "ab b", None])
_value = st.one_of(_common, _common, st.sampled_from(VALUES))
_unique = st.sampled_from([None, "a", "b", 1.0, Int64(1)])
#: Few directions, of which some are one, and what has none.
_vector = st.sampled_from(
    [[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [1.0, 1.0], [-1.0, 0.0], [0.0, 0.0], [1.0], None]
)
_loose = st.fixed_dictionaries(
    {},
    optional={
        "a": _value,
        "b": _value,
        "u": _unique,
        "n": st.sampled_from([0.0, 1.0]),
        "v": _vector,
    },
)
_declared = st.fixed_dictionaries(
    {"a": _value, "b": _value, "u": _unique, "n": st.sampled_from([0.0, 1.0])}
)
_reference = st.integers(0, 30)
_order = st.sampled_from(["asc", "desc"])


@st.composite
def _bounds(draw: Any, name: str) -> list[Any]:
    """Up to one lower and one upper bound; a bound without a value is that of the missing."""
    found = []
    for relations in (("gt", "gte"), ("lt", "lte")):
        if draw(st.booleans()):
            value = draw(st.one_of(st.just([]), _value.map(lambda v: [v])))
            found.append([draw(st.sampled_from(relations)), name, *value])
    return found


@st.composite
def _queries(draw: Any) -> dict[str, Any]:
    table, index, fields = draw(
        st.sampled_from(
            [
                ("docs", "by_a", ["a"]),
                ("docs", "by_a", ["a"]),
                ("docs", "by_ab", ["a", "b"]),
                ("docs", "by_ab", ["a", "b"]),
                ("docs", "by_u", ["u"]),
                ("rows", "by_ba", ["b", "a"]),
                ("docs", "by_creation_time", []),
                ("docs", "by_id", []),
                ("rows", "by_creation_time", []),
                ("late", "by_creation_time", []),
                ("late", "by_a", []),
            ]
        )
    )
    where: list[Any] = []
    for name in fields:
        how = draw(st.sampled_from(["equal", "equal", "bound", "end"]))
        if how == "equal":
            where.append(["eq", name, *draw(st.one_of(st.just([]), _value.map(lambda v: [v])))])
            continue
        if how == "bound":
            where += draw(_bounds(name))
        break
    query = {"table": table, "index": index, "where": where, "order": draw(_order)}
    if draw(st.integers(0, 4)) == 0:
        query["odd"] = True
    return query


queries = _queries()
_counted = st.tuples(queries, st.sampled_from([0, 1, 2, 2, 3])).map(
    lambda both: {**both[0], "count": both[1]}
)
_searches = st.fixed_dictionaries(
    {
        "table": st.just("docs"),
        "index": st.just("search_a"),
        "search": st.sampled_from(["a", "b", "ab", "a b", "b a", "b, a!", "c", ""]),
        "where": st.one_of(
            st.just([]),
            st.one_of(st.just([]), _value.map(lambda v: [v])).map(lambda v: [["eq", "b", *v]]),
        ),
        "order": st.just("asc"),
    },
    optional={"odd": st.just(True)},
)
_counted_searches = st.tuples(_searches, st.sampled_from([None, None, 1, 2])).map(
    lambda both: {**both[0], "count": both[1]}
)
_nearest = st.fixed_dictionaries(
    {
        # Of the directions above no two others are equally near to any of these.
        "vector": st.sampled_from([[1.0, 0.0], [2.0, 1.0], [-1.0, 3.0]]),
        "limit": st.sampled_from([1, 1, 2, 3, 10]),
        "b": st.one_of(
            st.just([]),
            st.lists(
                st.one_of(st.just([]), _value.map(lambda value: [value])), min_size=1, max_size=2
            ),
        ),
    }
)
#: Pages are of few queries, so that cursors meet again.
PAGED: list[dict[str, Any]] = [
    {"table": "docs", "index": "by_a", "where": [], "order": "asc"},
    {"table": "docs", "index": "by_a", "where": [], "order": "desc"},
    {"table": "docs", "index": "by_ab", "where": [["eq", "a", "a"]], "order": "asc"},
    {"table": "docs", "index": "by_creation_time", "where": [], "order": "asc", "odd": True},
    {"table": "rows", "index": "by_ba", "where": [["gte", "b", 0.0]], "order": "desc"},
    {"table": "late", "index": "by_creation_time", "where": [], "order": "asc"},
    {"table": "docs", "index": "search_a", "search": "a b", "where": [], "order": "asc"},
    {
        "table": "docs",
        "index": "search_a",
        "search": "a",
        "where": [["eq", "b", "a"]],
        "order": "asc",
        "odd": True,
    },
]
_pages = st.fixed_dictionaries(
    {
        "query": st.sampled_from(PAGED),
        "mode": st.sampled_from(
            ["first", "first", "next", "next", "whole", "again", "left", "right", "foreign"]
        ),
        "page": _reference,
        "items": st.integers(1, 4),
        "rows_max": st.sampled_from([None, None, None, 1, 2, 4]),
    }
)
_in_docs, _in_late = (
    st.fixed_dictionaries({"table": st.just(table), "fields": _loose}) for table in ("docs", "late")
)
_in_rows = st.fixed_dictionaries({"table": st.just("rows"), "fields": _declared})
_inserted = st.one_of(_in_docs, _in_docs, _in_rows, _in_late)


# What they do to the model.


def _insert(replaying: Replaying, told: dict[str, Any], answer: Any) -> Any:
    fields = plain(told["fields"])
    # Told what was given only if something was: a refusal has given nothing.
    born = answer if isinstance(answer, dict) and "_id" in answer else _NOT_BORN
    document = replaying.model.insert(told["table"], fields, born)
    replaying.ids.append(document["_id"])
    return document


_NOT_BORN = {"_id": "(no id)", "_creationTime": float("inf")}


def _bump(replaying: Replaying, told: dict[str, Any], _: Any) -> Any:
    id_ = replaying.id(told)
    found = replaying.model.get(id_)
    if found is not None:
        replaying.model.patch(id_, {"n": found.get("n", 0.0) + 1.0}, [])
    return found


def _stamp(replaying: Replaying, told: dict[str, Any], _: Any) -> None:
    value: Any = {"alone": NOW, "array": ["a", NOW], "object": {"x": NOW}}[told["within"]]
    replaying.model.patch(replaying.id(told), {told["field"]: value}, [])


def _found(replaying: Replaying, told: dict[str, Any]) -> list[dict[str, Any]]:
    return replaying.model.accepted(_query(told))


def _query(told: dict[str, Any]) -> dict[str, Any]:
    return {**told, "where": plain(told["where"])}


def _unique_one(replaying: Replaying, told: dict[str, Any], _: Any) -> Any:
    found = _found(replaying, told)
    if len(found) > 1:
        raise Refused("NotUnique")
    return found[0] if found else None


def _search(replaying: Replaying, told: dict[str, Any], answer: Any) -> Any:
    query, model = _query(told), replaying.model
    may_be = [
        [document for _, document in model.ranked(query, each) if is_accepted(query, document)]
        for each in model.statistics(query)
    ]
    shown = [found[: told["count"]] for found in may_be]
    return next((each for each in shown if same(at(each, replaying.told), answer)), shown[0])


def _seen_by(replaying: Replaying, told: dict[str, Any], _: Any) -> Any:
    is_there = replaying.model.get(replaying.id(told)) is not None
    return _who(replaying, told, _) if is_there else None


def _sweep(replaying: Replaying, told: dict[str, Any], answer: Any) -> Any:
    if "search" in told:
        return _sweep_search(replaying, told, answer)
    return _sweep_index(replaying, told)


def _sweep_index(replaying: Replaying, told: dict[str, Any]) -> Any:
    """Each next document is the first one after the last, as things are by then."""
    seen: list[Any] = []
    position: Any = None
    query = _query(told)
    while True:
        rest = [
            (key, document)
            for key, document in replaying.model.rows(query)
            if position is None or follows(key, position, query["order"])
        ]
        accepted = [(k, d) for k, d in rest if is_accepted(query, d)]
        if not accepted:
            return seen
        position, document = accepted[0]
        seen.append(document)
        seen += _changed(replaying.model, document["_id"], told)
        if len(seen) >= told["count"]:
            return seen


def _changed(model: Model, id_: str, told: dict[str, Any]) -> list[Any]:
    """Change a document of a sweep; return what is seen of that."""
    try:
        if told["change"] == "delete":
            model.delete(id_)
        else:
            model.patch(id_, plain(told["fields"]), [])
    except Refused as refused:
        return [{"error": refused.code}]
    return []


def _sweep_search(replaying: Replaying, told: dict[str, Any], answer: Any) -> Any:
    """What is found is settled in the beginning, and given as it is by then."""
    model = replaying.model
    may_be: list[Any] = []
    before = model.saved()
    for statistics in model.statistics(told):
        model.undo(before)
        before = model.saved()
        seen = _swept(model, model.ranked(_query(told), statistics), told)
        if same(at(seen, replaying.told), answer):
            return seen
        may_be.append(seen)
    return may_be[0]


def _swept(model: Model, found: list[Any], told: dict[str, Any]) -> list[Any]:
    seen: list[Any] = []
    for _, document in found:
        now = model.get(document["_id"])
        if now is not None and is_accepted(told, now):
            seen.append(now)
            seen += _changed(model, now["_id"], told)
            if len(seen) >= told["count"]:
                break
    return seen


def _nested(replaying: Replaying, told: dict[str, Any], answer: Any) -> Any:
    saved = replaying.model.saved()
    inner = replace(
        replaying,
        ids=list(replaying.ids),
        pages=list(replaying.pages),
        told="now" if told["fails"] else replaying.told,
    )
    seen = answer["failed"] if told["fails"] and isinstance(answer, dict) else answer
    expected = replay(inner, told["steps"], seen)
    if told["fails"]:
        replaying.model.undo(saved)
        return {"failed": at(expected, "now")}
    replaying.ids, replaying.pages = inner.ids, inner.pages
    return expected


def _call(replaying: Replaying, told: dict[str, Any], answer: Any) -> Any:
    """What a call of a component does is undone as that of any other; its tables are its own."""
    model = replaying.model
    caller, model.component = model.component, PLACES[told["place"]]
    try:
        return _nested(replaying, told, answer)
    finally:
        model.component = caller


def _ask(replaying: Replaying, told: dict[str, Any], answer: Any) -> Any:
    """As `_call`; nothing that it learns is known outside."""
    model = replaying.model
    caller, model.component = model.component, PLACES[told["place"]]
    inner = replace(replaying, ids=list(replaying.ids), pages=list(replaying.pages))
    try:
        return replay(inner, told["steps"], answer)
    finally:
        model.component = caller


def _who(replaying: Replaying, told: dict[str, Any], _: Any) -> str | None:
    if replaying.model.component:
        raise Refused("AuthUnavailableInComponent")
    return replaying.who


def _page(replaying: Replaying, told: dict[str, Any], answer: Any) -> Any:
    spec, cursor, until, journal = _asked(replaying, told)
    query, cursors = _query(spec), replaying.model.cursors
    name = _name_of(replaying.model, query)
    pinned = until or journal or replaying.journals.next(cursors, name)
    begin, end = (_position(cursors, name, text) for text in (cursor, pinned))
    if "search" in query:
        items, end = _page_of_search(replaying, query, begin, end, told["items"], answer)
        split = status = None
    else:
        items, split, end, status = _page_of_index(replaying.model, query, begin, end, told)
    replaying.journals.has_read(cursors, name, end)
    if not isinstance(answer, dict) or "continueCursor" not in answer:
        return "a page"
    cursors.learn("cursor", answer["continueCursor"], name, end)
    if answer["journal"] is not None:
        cursors.learn("journal", answer["journal"], name, end)
    assert (answer["splitCursor"] is None) == (split is None), "a split where none can be"
    if split is not None:
        cursors.learn("cursor", answer["splitCursor"], name, split)
    replaying.pages.append(
        {
            "query": spec,
            "cursor": cursor,
            "end": answer["continueCursor"],
            "split": answer["splitCursor"],
            "journal": answer["journal"],
        }
    )
    return {
        "page": items,
        "isDone": end == END,
        "continueCursor": answer["continueCursor"],
        "splitCursor": answer["splitCursor"],
        "journal": answer["journal"],
        "pageStatus": status,
    }


def _page_of_search(
    replaying: Replaying, query: dict[str, Any], begin: Any, end: Any, items: int, answer: Any
) -> tuple[list[Any], Any]:
    """Return what a page of a search shows, and where it ends.

    Its scores are those of where it begins, or ends, or else of some moment.
    """
    if begin == END:
        return [], END if end is None else end
    first, last = ({} if bound in {None, END} else dict(bound) for bound in (begin, end))
    shown = answer.get("page") if isinstance(answer, dict) else None
    pages: list[tuple[list[Any], Any]] = []
    for statistics in first or last or replaying.model.statistics(query):
        rows = replaying.model.ranked(query, statistics)
        if first:
            rows = [row for row in rows if row[0] > first[statistics]]
        if last:
            if statistics not in last:
                continue
            rows = [row for row in rows if row[0] <= last[statistics]]
        accepted = [row for row in rows if is_accepted(query, row[1])]
        found = [document for _, document in accepted]
        if end is None and len(accepted) >= items:
            found = found[:items]
            pages.append((found, frozenset({(statistics, accepted[items - 1][0])})))
        else:
            pages.append((found, END if end is None else end))
    explaining = [page for page in pages if same(at(page[0], replaying.told), shown)] or pages[:1]
    found, ends = explaining[0]
    if isinstance(ends, frozenset) and end is None:
        ends = frozenset().union(*(each for _, each in explaining if each != END))
    return found, ends


def _page_of_index(
    model: Model, query: dict[str, Any], begin: Any, end: Any, told: dict[str, Any]
) -> tuple[list[Any], Any, Any, str | None]:
    """Return what a page shows, where it may be split and ends, and whether it is too large."""
    rows = model.rows(query)
    if begin is not None:
        rows = [row for row in rows if follows(row[0], begin, query["order"])]
    items: list[Any] = []
    keys: list[Any] = []
    stopped = exhausted = False
    if end is not None:
        if end != END:
            rows = [row for row in rows if not follows(row[0], end, query["order"])]
        for key, document in rows:
            if len(keys) == told["rows_max"]:
                stopped = True
                break
            keys.append(key)
            items += [document] if is_accepted(query, document) else []
        # It does not ask for one more either, unless it is full as it is.
        stopped = stopped or (len(keys) == told["rows_max"] and len(items) < told["items"])
    else:
        for key, document in rows:
            if len(items) == told["items"]:
                break
            if len(keys) == told["rows_max"]:
                stopped = True
                break
            keys.append(key)
            items += [document] if is_accepted(query, document) else []
        else:
            # It is known only by asking for one more, which a full page does not.
            exhausted = len(items) < told["items"] and len(keys) != told["rows_max"]
            stopped = len(items) < told["items"] and not exhausted
        no_more = exhausted or begin == END or _name_of(model, query) == _NO_TABLE
        end = END if no_more else keys[-1]
        if end != END and not _is_settled(query, rows, end):
            raise Refused("CommitTsUnknown")
    is_large = len(keys) * 4 > (told["rows_max"] or 32_000) * 3
    status = "SplitRequired" if stopped else "SplitRecommended" if is_large else None
    split = keys[(len(keys) - 1) // 2] if len(keys) > 2 else None
    if split is not None and not _is_settled(query, rows, split):
        split = None
    return items, split, end, status


def _is_settled(query: dict[str, Any], rows: list[tuple[Any, Any]], key: Any) -> bool:
    """Return whether a document stands where it will stand when the program has committed."""
    document = next(document for place, document in rows if place == key)
    fields = INDEXES.get(query["table"], {}).get(query["index"], [])
    return all("NOW" not in repr(document.get(name)) for name in fields)


_NO_TABLE = "a table that is not there"


def _asked(replaying: Replaying, told: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    """Return the query, cursor, end and journal with which a page is asked for."""
    if not replaying.pages or told["mode"] == "first":
        return told["query"], None, None, None
    known = replaying.pages[told["page"] % len(replaying.pages)]
    cursor, end, split = known["cursor"], known["end"], known["split"]
    match told["mode"]:
        case "next":
            return known["query"], end, None, None
        case "foreign":
            return told["query"], end, None, None
        case "whole":
            return known["query"], cursor, end, None
        case "again":
            return known["query"], cursor, None, known["journal"]
        case "left":
            return known["query"], cursor, split or end, None
        case "right":
            return known["query"], split or cursor, end, None
        case _:
            raise AssertionError(told)


def _name_of(model: Model, query: dict[str, Any]) -> str:
    """What tells a query's cursors from those of others: all but its filter."""
    if model.full(query["table"]) not in model.tables:
        return _NO_TABLE
    asked = [query.get(part) for part in ("table", "index", "search", "where", "order")]
    return repr([model.component, *asked])


def _position(cursors: Cursors, name: str, text: str | None) -> Any:
    """Return where a text points to in a query."""
    if text is None:
        return None
    made_for, position = cursors.positions[text]
    # Made before there was a table, it is the end of whatever the query is by now.
    if made_for == _NO_TABLE:
        return END
    if made_for != name:
        raise Refused("InvalidCursor")
    return position


_plain_steps: dict[str, Operation] = {
    "who": Operation(told=st.just({}), on_model=_who),
    "seen_by": Operation(told=st.fixed_dictionaries({"id": _reference}), on_model=_seen_by),
    "get": Operation(
        told=st.fixed_dictionaries({"id": _reference}),
        on_model=lambda r, told, _: r.model.get(r.id(told)),
    ),
    "insert": Operation(told=_inserted, on_model=_insert, writes=True),
    "patch": Operation(
        told=st.fixed_dictionaries(
            {
                "id": _reference,
                "fields": _loose,
                "removed": st.lists(st.sampled_from(["a", "b", "u", "v", "q"]), max_size=1),
            }
        ),
        on_model=lambda r, told, _: r.model.patch(
            r.id(told), plain(told["fields"]), told["removed"]
        ),
        writes=True,
    ),
    "replace": Operation(
        told=st.fixed_dictionaries({"id": _reference, "fields": _declared}),
        on_model=lambda r, told, _: r.model.replace(r.id(told), plain(told["fields"])),
        writes=True,
    ),
    "delete": Operation(
        told=st.fixed_dictionaries({"id": _reference}),
        on_model=lambda r, told, _: r.model.delete(r.id(told)),
        writes=True,
    ),
    "bump": Operation(told=st.fixed_dictionaries({"id": _reference}), on_model=_bump, writes=True),
    "stamp": Operation(
        told=st.fixed_dictionaries(
            {
                "id": _reference,
                "field": st.sampled_from(["a", "a", "b", "u"]),
                "within": st.sampled_from(["alone", "alone", "array", "object"]),
            }
        ),
        on_model=_stamp,
        writes=True,
    ),
    "collect": Operation(told=queries, on_model=lambda r, told, _: _found(r, told)),
    "take": Operation(told=_counted, on_model=lambda r, told, _: _found(r, told)[: told["count"]]),
    "first": Operation(told=queries, on_model=lambda r, told, _: next(iter(_found(r, told)), None)),
    "unique": Operation(told=queries, on_model=_unique_one),
    "count": Operation(told=queries, on_model=lambda r, told, _: float(len(_found(r, told)))),
    "search": Operation(told=_counted_searches, on_model=_search),
    "nearest": Operation(
        told=_nearest,
        on_model=lambda r, told, _: r.model.nearest(
            told["vector"], told["limit"], plain(told["b"])
        ),
    ),
    "sweep": Operation(
        told=st.tuples(
            st.one_of(queries, queries, _searches),
            st.sampled_from(["delete", "patch"]),
            _loose,
            st.integers(1, 5),
        ).map(lambda t: {**t[0], "change": t[1], "fields": t[2], "count": t[3]}),
        on_model=_sweep,
        writes=True,
    ),
    "page": Operation(told=_pages, on_model=_page),
}


def _named(name: str, operation: Operation) -> st.SearchStrategy[dict[str, Any]]:
    return operation.told.map(lambda told: {"op": name, **told})


# Scans that end early are what read sets are most easily wrong about, and searches the only reads
# that are not of intervals.
_looks = st.one_of(
    [_named(name, each) for name, each in _plain_steps.items() if not each.writes]
    + [_named("take", _plain_steps["take"])] * 3
    + [_named("search", _plain_steps["search"])] * 2
)
_places = st.sampled_from(sorted(PLACES))
_asks = st.fixed_dictionaries(
    {"op": st.just("ask"), "place": _places, "steps": st.lists(_looks, min_size=1, max_size=2)}
)
_reading_steps = st.one_of(_looks, _looks, _looks, _asks)
_writing_steps = st.one_of(
    [_named(name, each) for name, each in _plain_steps.items() if each.writes]
)
_flat = st.one_of(_reading_steps, _writing_steps)


def _nest(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    steps = {
        "steps": st.lists(st.one_of(_writing_steps, _reading_steps, inner), max_size=3),
        "fails": st.booleans(),
    }
    return st.one_of(
        st.fixed_dictionaries({"op": st.just("nested"), **steps}),
        st.fixed_dictionaries({"op": st.just("call"), "place": _places, **steps}),
    )


OPERATIONS: dict[str, Operation] = {
    **_plain_steps,
    "nested": Operation(told=st.nothing(), on_model=_nested, writes=True),
    "call": Operation(told=st.nothing(), on_model=_call, writes=True),
    "ask": Operation(told=st.nothing(), on_model=_ask),
}
for _name, _operation in OPERATIONS.items():
    _operation.bind(_name)

steps = st.one_of(_reading_steps, _writing_steps, _writing_steps, _nest(_nest(_flat)))
_paging = _named("page", _plain_steps["page"])
#: The same read before something is written, and after.
_around = st.tuples(_reading_steps, st.one_of(_writing_steps, _nest(_flat))).map(
    lambda both: [both[0], both[1], both[0]]
)
#: What a sub-transaction has failed to do is done after all.
_again = _writing_steps.map(lambda step: [{"op": "nested", "steps": [step], "fails": True}, step])
#: What is read while it is not known where it will stand.
_stamped = st.tuples(
    st.lists(_named("stamp", _plain_steps["stamp"]), min_size=1, max_size=3),
    st.lists(st.one_of(_paging, _paging, _reading_steps), min_size=1, max_size=3),
).map(lambda both: [*both[0], *both[1]])
#: A scan that is left open at its first document, before which others may come.
_left_open = st.tuples(
    st.sampled_from([("by_creation_time", "desc"), ("by_a", "asc"), ("by_a", "desc")]),
    st.sampled_from(["delete", "patch"]),
    _loose,
).map(
    lambda drawn: [
        {
            "op": "sweep",
            "table": "docs",
            "index": drawn[0][0],
            "where": [],
            "order": drawn[0][1],
            "change": drawn[1],
            "fields": drawn[2],
            "count": 1,
        }
    ]
)
#: What a call of a component has failed to do is done after all, or fails again; and what is found of it.
_again_in_a_place = st.tuples(
    st.lists(_writing_steps, min_size=1, max_size=2), _places, _places, _looks, st.booleans()
).map(
    lambda drawn: [
        {"op": "call", "place": drawn[1], "steps": drawn[0], "fails": True},
        {"op": "call", "place": drawn[1], "steps": drawn[0], "fails": drawn[4]},
        {"op": "ask", "place": drawn[2], "steps": [drawn[3]]},
    ]
)
#: Programs that write, and programs that only read; some of each go from page to page.
writing = st.one_of(
    _around,
    _again,
    _stamped,
    _again_in_a_place,
    _left_open,
    st.lists(steps, min_size=1, max_size=4),
    st.lists(steps, min_size=1, max_size=4),
    st.lists(st.one_of(_paging, _paging, _writing_steps), min_size=2, max_size=6),
)
reading = st.one_of(
    st.lists(_reading_steps, min_size=1, max_size=4),
    st.lists(_paging, min_size=1, max_size=4),
)
#: A program that makes documents.
inserting = st.lists(
    st.one_of(_in_docs, _in_docs, _in_rows).map(lambda told: {"op": "insert", **told}),
    min_size=1,
    max_size=6,
)
#: A program that only reads, and may be told who has asked.
asking = st.tuples(reading, st.sampled_from([[], [], [{"op": "who"}]])).map(
    lambda both: [*both[0], *both[1]]
)

# Programs about vectors alone: they are few, and near enough to one another to matter.

_placed = st.fixed_dictionaries(
    {"v": _vector}, optional={"b": st.sampled_from(["a", 0.0]), "n": st.sampled_from([0.0, 1.0])}
)
_placing_step = st.one_of(
    st.fixed_dictionaries({"op": st.just("insert"), "table": st.just("docs"), "fields": _placed}),
    st.fixed_dictionaries(
        {
            "op": st.just("patch"),
            "id": _reference,
            "fields": st.one_of(_placed, _placed.map(lambda fields: {"v": fields["v"]})),
            "removed": st.sampled_from([[], [], ["b"]]),
        }
    ),
    st.fixed_dictionaries({"op": st.just("delete"), "id": _reference}),
)
_seeking_step = st.fixed_dictionaries(
    {
        "op": st.just("nearest"),
        "vector": st.sampled_from([[1.0, 0.0], [2.0, 1.0], [-1.0, 3.0]]),
        "limit": st.sampled_from([1, 2, 3]),
        "b": st.sampled_from([[], [], [["a"]], [["a"], []]]),
    }
)
#: Documents with vectors, what writes them, and what looks for them.
placed = st.lists(
    st.fixed_dictionaries({"op": st.just("insert"), "table": st.just("docs"), "fields": _placed}),
    min_size=3,
    max_size=6,
)
placing = st.lists(_placing_step, min_size=1, max_size=2)
seeking = st.lists(_seeking_step, min_size=1, max_size=2)
seeking_and_placing = st.tuples(seeking, placing, seeking).map(
    lambda parts: [*parts[0], *parts[1], *parts[2]]
)
