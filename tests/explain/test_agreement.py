"""What is told to invalidate a result is what does: explanations against live subscriptions.

The oracle knows the entries of an explanation, as a client of the HTTP API gets them, and documents as
Python has them before and after a write. It compares values by an order of its own, and shares nothing
with keys, read sets or subscriptions.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.explain.explaining import explained
from tests.functions.projects import project_app

MODULES = {
    "schema": """
        from typing import Any

        from camber import UNSET, Index, SearchIndex, Table, VectorIndex


        class Row(Table, table="rows"):
            a: Any = UNSET
            b: Any = UNSET
            text: str = ""
            at: Any = UNSET

            by_a = Index("a")
            by_a_b = Index("a", "b")
            find = SearchIndex("text", filter_fields=["a"])
            near = VectorIndex("at", dimensions=2, filter_fields=["a"])
    """,
    "rows": """
        from typing import Any

        from camber import UNSET, MutationCtx, QueryCtx, gt, gte, lt, lte, mutation, query

        from .schema import Row

        RANGES = {"gt": gt, "gte": gte, "lt": lt, "lte": lte}


        def value(given):
            return UNSET if given == ["missing"] else given


        @query
        def read(ctx: QueryCtx, plan: dict[str, Any]) -> int:
            found = 0
            for step in plan["steps"]:
                kind = step["kind"]
                if kind == "get":
                    found += ctx.db.get(step["id"]) is not None
                    continue
                if kind == "other":
                    found += len(ctx.db.query("others").take(3))
                    continue
                if kind == "near":
                    where = [{name: value(v) for name, v in each.items()} for each in step["where"]]
                    found += len(
                        ctx.vector_search(Row.near, step["vector"], limit=step["limit"], where=where or None)
                    )
                    continue
                rows = ctx.db.query(Row)
                if kind == "search":
                    rows = rows.with_search_index(
                        Row.find, step["text"], **{name: value(v) for name, v in step["equal"].items()}
                    )
                else:
                    conditions = {name: value(v) for name, v in step["equal"].items()}
                    if step["range"]:
                        name, *bounds = step["range"]
                        sides = [RANGES[sign](value(v)) for sign, v in bounds]
                        conditions[name] = sides[0] & sides[1] if len(sides) > 1 else sides[0]
                    rows = rows.with_index(step["index"], **conditions).order(step["order"])
                if step["filter"]:
                    rows = rows.filter(lambda row: row.b is not None)
                if step["take"] is None:
                    found += rows.count()
                else:
                    found += len(rows.take(step["take"]))
            return found


        @mutation
        def reset(ctx: MutationCtx, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
            for row in ctx.db.query(Row).collect():
                ctx.db.delete(row.id)
            ids = [ctx.db.insert("rows", document) for document in documents]
            return [ctx.db.get(id).to_dict() for id in ids]


        @mutation
        def write(ctx: MutationCtx, what: str, id: str, fields: dict[str, Any]) -> list[Any]:
            before = ctx.db.get(id) if id else None
            if what == "delete":
                ctx.db.delete(id)
            elif what == "replace":
                ctx.db.replace(id, fields)
            else:
                id = ctx.db.insert("rows", fields)
            after = ctx.db.get(id)
            return [None if each is None else each.to_dict() for each in (before, after)]
    """,
}

VALUES = [None, -1, 2.5, True, "ab\0"]
WORDS = ["red", "reed", "blue", "bl"]
#: Two of one direction, and one that is none.
VECTORS: list[list[float]] = [[1, 0], [0, 1], [1, 1], [2, 2], [3, 4], [-1, 0.5], [0, 0]]
MISSING = object()


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with project_app(tmp_path_factory.mktemp("rows"), **MODULES) as app:
        yield app


conditions = st.sampled_from([*VALUES, ["missing"]])
texts = st.lists(st.sampled_from(WORDS), max_size=3).map(" ".join)


def documents(*values):
    """Documents with these values, and some others: what lies at a bound is what can be told wrong."""
    known = [value for value in values if value != ["missing"]]
    some = st.sampled_from([*known, *known, *VALUES])
    return st.fixed_dictionaries(
        {"text": texts}, optional={"a": some, "b": some, "at": st.sampled_from(VECTORS)}
    )


def compared(step):
    """Yield the values that a step compares fields with."""
    yield from step.get("equal", {}).values()
    yield from (value for each in step.get("where", ()) for value in each.values())
    yield from (value for _, value in (step.get("range") or [""])[1:])


bounds = st.one_of(
    st.tuples(st.sampled_from(["gt", "gte", "lt", "lte"]), conditions).map(lambda b: [b]),
    st.tuples(conditions, conditions).map(lambda ends: [("gte", ends[0]), ("lt", ends[1])]),
)


#: An index, the fields that are equal, and the one that has a range: mostly one, whose ends are what
#: can be told wrong.
SHAPES = [
    *[("by_a", [], "a"), ("by_a_b", ["a"], "b")] * 3,
    ("by_a_b", [], "a"),
    ("by_a_b", ["a", "b"], None),
    ("by_a", ["a"], None),
    ("by_creation_time", [], None),
]


@st.composite
def scans(draw):
    index, equal, ranged = draw(st.sampled_from(SHAPES))
    return {
        "kind": "scan",
        "index": index,
        "equal": {name: draw(conditions) for name in equal},
        "range": [ranged, *draw(bounds)] if ranged else None,
        "order": draw(st.sampled_from(["asc", "desc"])),
        "filter": draw(st.booleans()),
        "take": draw(st.sampled_from([None, None, 0, 1, 9])),
    }


searches = st.fixed_dictionaries(
    {
        "kind": st.just("search"),
        "text": st.lists(st.sampled_from([*WORDS, "r", "b"]), max_size=2).map(" ".join),
        "equal": st.fixed_dictionaries({}, optional={"a": st.sampled_from(VALUES)}),
        "filter": st.booleans(),
        "take": st.sampled_from([1, 5]),
    }
)


nearest = st.fixed_dictionaries(
    {
        "kind": st.just("near"),
        "vector": st.sampled_from([vector for vector in VECTORS if any(vector)]),
        "limit": st.sampled_from([1, 2, 9]),
        "where": st.lists(st.fixed_dictionaries({"a": st.sampled_from(VALUES)}), max_size=2),
    }
)


# The oracle.


def rank(value):
    """Return what orders values: missing, null, numbers, false, true, strings."""
    if value is MISSING:
        return (0,)
    if value is None:
        return (1,)
    if isinstance(value, bool):
        return (4 if value else 3,)
    return (2, value) if isinstance(value, int | float) else (5, value)


def known(value):
    return MISSING if value == {"$missing": True} else value


def is_as_near(last, vector, document):
    """Return whether a document comes before the last one that was found, or is it."""
    at = document.get("at")
    if at is None or not any(at):
        return False
    has = f"a = {document['a']!r}" if "a" in document else "a is missing"
    if last["conditions"] and has not in last["conditions"]:
        return False
    if last["id"] is None:
        return True
    score = sum(x * y for x, y in zip(at, vector, strict=True))
    score /= math.hypot(*at) * math.hypot(*vector)
    # Rounded: those that differ at all differ by more.
    return (-round(score, 5), document["_id"]) <= (-round(last["score"], 5), last["id"])


def within(entry, document, steps):
    """Return whether a document lies in an entry, by its fields."""
    if entry["table"] != "rows":
        return False
    if entry["nearest"] is not None:
        (vector,) = [step["vector"] for step in steps if step["kind"] == "near"]
        return is_as_near(entry["nearest"], vector, document)
    if entry["search"] is not None:
        wanted, words = entry["search"], document.get("text", "").split()
        is_found = any(
            word in wanted["terms"]
            or (wanted["prefix"] is not None and word.startswith(wanted["prefix"]))
            for word in words
        )
        has = f"a = {document['a']!r}" if "a" in document else "a is missing"
        return is_found and all(each == has for each in wanted["conditions"])
    key = [rank(document.get(name, MISSING)) for name in entry["fields"]]
    for side in ("from", "to"):
        if entry[side] is None:
            continue
        bound = [rank(known(value)) for value in entry[side]["values"]]
        begin = key[: len(bound)]
        if begin == bound:
            if not entry[side]["inclusive"]:
                return False
        elif (begin > bound) is not (side == "from"):
            return False
    return True


@given(st.data())
def test_what_is_told_to_invalidate_does_and_nothing_else(app, data):
    before = data.draw(st.lists(documents(), max_size=6), label="documents")
    rows = app.mutation("rows:reset", documents=before)
    ids = [row["_id"] for row in rows]
    steps = [data.draw(st.one_of(scans(), scans(), scans(), searches, nearest), label="step")]
    if data.draw(st.integers(0, 2)) == 0:
        steps.append(data.draw(searches, label="step"))
    if ids and data.draw(st.integers(0, 2)) == 0:
        steps.append({"kind": "get", "id": data.draw(st.sampled_from(ids))})
    plan = {"steps": steps}
    found = explained(app, "rows:read", plan=plan)
    assert found["readsInAll"] == len(found["reads"])
    assert found["failure"] is None
    subscription = app.subscribe("rows:read", plan=plan)
    near = documents(*(value for step in steps for value in compared(step)))
    # What a write has not touched holds as it was told.
    for _ in range(8):
        what = data.draw(st.sampled_from(["insert", "replace", "delete"] if ids else ["insert"]))
        id_ = "" if what == "insert" else data.draw(st.sampled_from(ids))
        fields = data.draw(near, label="fields")
        was, became = app.mutation("rows:write", what=what, id=id_, fields=fields)
        told = was != became and any(
            within(entry, document, steps)
            for entry in found["reads"]
            for document in (was, became)
            if document is not None
        )
        assert told is subscription.is_stale, found["reads"]
        if told or what == "delete":
            break
    subscription.close()


def test_a_table_that_is_not_there_yet(app):
    plan = {"steps": [{"kind": "other"}]}
    (entry,) = [
        e for e in explained(app, "rows:read", plan=plan)["reads"] if e["table"] == "_tables"
    ]
    assert entry["words"] == "that there is no table others"
    assert entry["invalidatedBy"] == "table others comes into being"
