"""Vector searches as applications write them: what they find, when, and how they fail."""

from __future__ import annotations

import math

import pytest

from camber import FunctionError
from camber.testing import TestApp
from tests.explain.explaining import explained
from tests.search.nearest import Held, nearest

SCHEMA = """
from msgspec import Struct
from camber import Index, SearchIndex, Table, VectorIndex, field

class Meta(Struct):
    vector: list[float] | None = None

class Dish(Table, table="dishes"):
    name: str
    taste: list[float] | None
    cuisine: str = "a"
    cook_id: str | None = field(name="cookId", default=None)
    meta: Meta | None = None
    hot: bool | None = None
    by_name = Index("name")
    search_name = SearchIndex("name")
    by_taste = VectorIndex("taste", dimensions=2, filter_fields=["cuisine", "cookId", "hot"])
    by_meta = VectorIndex("meta.vector", dimensions=3)
    by_staged = VectorIndex("taste", dimensions=3, staged=True)

class Other(Table, table="others"):
    vector: list[float]
    by_vector = VectorIndex("vector", dimensions=2)
"""
DISHES = """
from typing import Any
from backend.schema import Dish, Meta, Other
from camber import (
    ActionCtx, Id, MutationCtx, QueryCtx, SyncActionCtx, UNSET, VectorHit, action, any_of, gt, mutation, query,
)

@mutation
def add(ctx: MutationCtx, name: str, taste: list[float] | None, cuisine: str = "a", hot: bool | None = None) -> Id[Dish]:
    return ctx.db.insert(Dish(name=name, taste=taste, cuisine=cuisine, hot=hot))

@mutation
def add_many(ctx: MutationCtx, tastes: list[list[float]]) -> list[Id[Dish]]:
    return [ctx.db.insert(Dish(name=str(n), taste=taste)) for n, taste in enumerate(tastes)]

@mutation
def add_meta(ctx: MutationCtx, vector: Any) -> Id[Dish]:
    return ctx.db.insert(Dish(name="meta", taste=None, meta=Meta(vector=vector)))

@mutation
def add_raw(ctx: MutationCtx, fields: dict[str, Any]) -> str:
    return ctx.db.insert("loose", fields)

@mutation
def change(ctx: MutationCtx, id: Id[Dish], fields: dict[str, Any]) -> None:
    ctx.db.patch(id, fields)

@mutation
def remove(ctx: MutationCtx, id: Id[Dish]) -> None:
    ctx.db.delete(id)

def _where(told: Any) -> Any:
    if isinstance(told, list):
        return [_where(each) for each in told]
    if told is None:
        return None
    return {name: any_of(*value) if isinstance(value, list) else value for name, value in told.items()}

@query
def found(ctx: QueryCtx, taste: list[float], limit: int = 10, where: Any = None) -> list[str]:
    hits = ctx.vector_search(Dish.by_taste, taste, limit=limit, where=_where(where))
    return [ctx.db.get(hit.id).name for hit in hits]

@query
def hits(ctx: QueryCtx, taste: list[float], limit: int = 10) -> list[VectorHit[Dish]]:
    return ctx.vector_search("dishes.by_taste", taste, limit=limit)

@query
def hits_of_a(ctx: QueryCtx, taste: list[float]) -> list[VectorHit[Dish]]:
    return ctx.vector_search(Dish.by_taste, taste, limit=3, where={"cuisine": "a"})

@query
def plain_hits(ctx: QueryCtx, taste: list[float]) -> Any:
    return {"hits": ctx.vector_search(Dish.by_taste, taste)}

@query
def by_meta(ctx: QueryCtx, vector: list[float]) -> int:
    return len(ctx.vector_search(Dish.by_meta, vector))

@action
async def hits_in_action(ctx: ActionCtx, taste: list[float], limit: int = 10, where: Any = None) -> list[VectorHit[Dish]]:
    return await ctx.vector_search(Dish.by_taste, taste, limit=limit, where=_where(where))

@action
def hits_in_plain_action(ctx: SyncActionCtx, taste: list[float]) -> list[VectorHit]:
    return ctx.vector_search(Dish.by_taste, taste)

@action
async def reads_what_it_wrote(ctx: ActionCtx) -> list[bool]:
    seen = []
    for n in range(3):
        id = await ctx.run_mutation(add, name=str(n), taste=[0.0, -1.0])
        seen.append(id in [hit.id for hit in await ctx.vector_search(Dish.by_taste, [0, -1])])
        await ctx.run_mutation(remove, id)
        seen.append(id in [hit.id for hit in await ctx.vector_search(Dish.by_taste, [0, -1])])
    return seen

@mutation
def own_writes(ctx: MutationCtx) -> list[Any]:
    def names(limit=10):
        return [ctx.db.get(hit.id).name for hit in ctx.vector_search(Dish.by_taste, [1, 0], limit=limit)]
    stored = ctx.db.query(Dish).first()
    seen = [names()]
    new = ctx.db.insert(Dish(name="new", taste=[1.0, 0.0]))
    seen += [names(), names(1)]
    ctx.db.patch(stored.id, taste=[-1.0, 0.0])
    seen.append(names())
    ctx.db.delete(new)
    seen.append(names())
    ctx.db.patch(stored.id, taste=None)
    seen.append(names())
    ctx.db.patch(stored.id, taste=[1.0, 0.0], name="again")
    return [*seen, names()]

@query
def unset(ctx: QueryCtx) -> list[str]:
    hits = ctx.vector_search(Dish.by_taste, [1, 0], where={"cookId": UNSET})
    return [ctx.db.get(hit.id).name for hit in hits]

def _wrong(how: str) -> tuple[tuple, dict]:
    one = [1.0, 0.0]
    match how:
        case "length": return (Dish.by_taste, [1.0]), {}
        case "zeros": return (Dish.by_taste, [0.0, -0.0]), {}
        case "nan": return (Dish.by_taste, [1.0, float("nan")]), {}
        case "inf": return (Dish.by_taste, [10**400, 1.0]), {}
        case "text": return (Dish.by_taste, "ab"), {}
        case "texts": return (Dish.by_taste, ["a", "b"]), {}
        case "bools": return (Dish.by_taste, [True, 1.0]), {}
        case "none": return (Dish.by_taste, None), {}
        case "limit 0": return (Dish.by_taste, one), {"limit": 0}
        case "limit 257": return (Dish.by_taste, one), {"limit": 257}
        case "limit 1.5": return (Dish.by_taste, one), {"limit": 1.5}
        case "limit true": return (Dish.by_taste, one), {"limit": True}
        case "field": return (Dish.by_taste, one), {"where": {"name": "x"}}
        case "bare": return (Dish.by_meta, [1, 2, 3]), {"where": {"cuisine": "x"}}
        case "range": return (Dish.by_taste, one), {"where": {"cuisine": gt("a")}}
        case "nothing": return (Dish.by_taste, one), {"where": {"cuisine": any_of()}}
        case "none of": return (Dish.by_taste, one), {"where": []}
        case "where": return (Dish.by_taste, one), {"where": "cuisine"}
        case "many": return (Dish.by_taste, one), {"where": {"cuisine": any_of(*map(str, range(65)))}}
        case "ordered": return ("dishes.by_name", one), {}
        case "search": return ("dishes.search_name", one), {}
        case "missing": return ("dishes.by_smell", one), {}
        case "no table": return ("by_taste", one), {}
        case "other": return (Dish, one), {}
        case "system": return ("_storage.by_taste", one), {}
        case "component": return ("ledger/dishes.by_taste", one), {}
        case "staged": return (Dish.by_staged, [1, 2, 3]), {}
    raise AssertionError(how)

@query
def wrong(ctx: QueryCtx, how: str) -> Any:
    args, kwargs = _wrong(how)
    return ctx.vector_search(*args, **kwargs)

@action
async def wrong_in_action(ctx: ActionCtx, how: str) -> Any:
    args, kwargs = _wrong(how)
    return await ctx.vector_search(*args, **kwargs)

@query
def as_other(ctx: QueryCtx, how: str) -> Any:
    match how:
        case "index": return ctx.db.query(Dish).with_index(Dish.by_taste).collect()
        case "name": return ctx.db.query(Dish).with_index("by_taste").collect()
        case "search": return ctx.db.query(Dish).with_search_index("by_taste", "a").collect()

@query
def absent(ctx: QueryCtx) -> list[Any]:
    return ctx.vector_search("never.by_taste", [1.0])
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors")
    (folder / "pyproject.toml").write_text('[tool.camber]\nfunctions = "backend"\n')
    (folder / "backend").mkdir()
    (folder / "backend" / "schema.py").write_text(SCHEMA)
    (folder / "backend" / "dishes.py").write_text(DISHES)
    return folder


@pytest.fixture
def app(project):
    with TestApp(project) as opened:
        yield opened


def _add(app, name, *taste, **more):
    return app.mutation("dishes:add", name=name, taste=list(taste) or None, **more)


def _found(app, *taste, **more):
    return app.query("dishes:found", taste=list(taste), **more)


def test_the_nearest_come_first_whatever_their_length(app):
    _add(app, "east", 1000.0, 0.0)
    _add(app, "north", 0.0, 0.001)
    _add(app, "north east", 2.0, 2.0)
    _add(app, "west", -1.0, 0.0)
    assert _found(app, 3.0, 1.0) == ["east", "north east", "north", "west"]
    assert _found(app, 0.0, 1.0, limit=2) == ["north", "north east"]
    assert _found(app, 1e-300, 0.0, limit=1) == ["east"]
    assert _found(app, 1e300, 1e300, limit=1) == ["north east"]


def test_hits_have_ids_and_cosines_and_are_called_so_on_the_wire(app):
    east = _add(app, "east", 5.0, 0.0)
    both = _add(app, "both", 2.0, 2.0)
    west = _add(app, "west", -7.0, 0.0)
    scores = [1.0, math.sqrt(0.5), -1.0]
    for function, call in (
        ("hits", app.query),
        ("hits_in_action", app.action),
        ("hits_in_plain_action", app.action),
    ):
        found = call(f"dishes:{function}", taste=[1.0, 0.0])
        assert [hit.id for hit in found] == [east, both, west]
        assert [hit.score for hit in found] == pytest.approx(scores)
    wire = app.query("dishes:plain_hits", taste=[1.0, 0.0])["hits"]
    assert [sorted(hit) for hit in wire] == [["_id", "_score"]] * 3
    assert [hit["_id"] for hit in wire] == [east, both, west]
    assert wire[0]["_score"] == 1


def test_equally_near_ones_are_in_the_order_of_their_ids(app):
    ids = app.mutation("dishes:add_many", tastes=[[3.0, 4.0]] * 40)
    found = app.query("dishes:hits", taste=[1.0, 0.0], limit=7)
    assert [hit.id for hit in found] == sorted(ids)[:7]


def test_documents_without_such_a_vector_are_not_found(app):
    for number, taste in enumerate(
        ([1.0], [1.0, 2.0, 3.0], [0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0])
    ):
        _add(app, str(number), *taste)
    _add(app, "none")
    _add(app, "one", 1.0, 0.0)
    assert _found(app, 1.0, 1.0) == ["one"]
    app.mutation("dishes:add_meta", vector=[1.0, 2.0, 3.0])
    assert app.query("dishes:by_meta", vector=[1.0, 2.0, 3.0]) == 1


def test_at_most_256_documents_are_given_and_ten_by_default(app):
    tastes = [[math.cos(n / 100), math.sin(n / 100)] for n in range(300)]
    ids = app.mutation("dishes:add_many", tastes=tastes)
    held = {id_: Held(tuple(taste), ()) for id_, taste in zip(ids, tastes, strict=True)}
    wanted = [math.cos(1.003), math.sin(1.003)]
    expected = [id_ for _, id_ in nearest(held, wanted)]
    for limit, most in (({}, 10), ({"limit": 1}, 1), ({"limit": 256}, 256)):
        for found in (
            app.query("dishes:hits", taste=wanted, **limit),
            app.action("dishes:hits_in_action", taste=wanted, **limit),
        ):
            assert [hit.id for hit in found] == expected[:most]


def test_filter_fields_are_compared_with_one_value_or_several(app):
    _add(app, "a", 1.0, 0.0)
    _add(app, "b", 1.0, 0.1, cuisine="b")
    _add(app, "c", 1.0, 0.2, cuisine="c", hot=True)
    _add(app, "d", 1.0, 0.3, cuisine="d", hot=False)
    for where, names in (
        ({}, "abcd"),
        ({"cuisine": "b"}, "b"),
        ({"cuisine": ["b", "d", "b"]}, "bd"),
        ({"cuisine": ["b", "c"], "hot": True}, "c"),
        ({"cuisine": "e"}, ""),
        ({"cuisine": 1}, ""),
        ([{"cuisine": "a"}, {"hot": False}], "ad"),
        ([{"cuisine": "a"}, {}], "abcd"),
        ([{"cuisine": "c"}, {"hot": True}], "c"),
        ({"hot": None}, "ab"),
        ({"cookId": None}, "abcd"),
    ):
        assert _found(app, 1.0, 0.0, where=where) == list(names), where
        hits = app.action("dishes:hits_in_action", taste=[1.0, 0.0], where=where)
        assert len(hits) == len(names), where
    # The insert has written the default: the field is null, and nowhere missing.
    assert app.query("dishes:unset") == []


def test_a_mutation_finds_what_it_has_written_itself(app):
    _add(app, "old", 1.0, 1.0)
    assert app.mutation("dishes:own_writes") == [
        ["old"],
        ["new", "old"],
        ["new"],
        ["new", "old"],
        ["old"],
        [],
        ["again"],
    ]
    assert _found(app, 1.0, 0.0) == ["again"]


def test_an_action_finds_what_has_been_committed(app):
    assert app.action("dishes:reads_what_it_wrote") == [True, False] * 3


WRONG = [
    ("length", "VectorDimensionsMismatch: the vectors of dishes.by_taste have 2 numbers, and .* has 1"),
    ("zeros", "a vector of zeros has no direction"),
    ("nan", "takes finite numbers: there is nan at 1"),
    ("inf", "takes finite numbers: there is 10+… at 0"),
    ("text", "takes a list of numbers, not str"),
    ("texts", "takes a list of numbers: 'a' at 0 is none"),
    ("bools", "takes a list of numbers: True at 0 is none"),
    ("none", "takes a list of numbers, not NoneType"),
    ("limit 0", "gives 1 to 256 documents: limit=0"),
    ("limit 257", "gives 1 to 256 documents: limit=257"),
    ("limit 1.5", "limit=1.5 is not possible"),
    ("limit true", "limit=True is not possible"),
    ("field", "IncorrectVectorFilterField: 'name' is no filter field of dishes.by_taste: they are cuisine"),
    ("bare", "'cuisine' is no filter field of dishes.by_meta: it has none"),
    ("range", "InvalidVectorSearchFilter: .* compares 'cuisine' with a value"),
    ("nothing", "InvalidVectorSearchFilter"),
    ("none of", "InvalidVectorSearchFilter: where is"),
    ("where", "InvalidVectorSearchFilter: where is .*'cuisine' is neither"),
    ("many", "name 65 values; they may name 64"),
    ("ordered", "dishes.by_name is no vector index"),
    ("search", "dishes.search_name is no vector index"),
    ("missing", "table 'dishes' has no index dishes.by_smell"),
    ("no table", "takes a vector index, Message.by_embedding or 'messages.by_embedding', not 'by_taste'"),
    ("other", "takes a vector index"),
    ("system", "_storage"),
    ("component", "ledger/dishes"),
    ("staged", "is staged"),
]  # fmt: skip


@pytest.mark.parametrize(("how", "says"), WRONG)
def test_what_a_vector_search_cannot_be_is_said(app, how, says):
    with pytest.raises(FunctionError, match=says):
        app.query("dishes:wrong", how=how)
    with pytest.raises(FunctionError, match=says):
        app.action("dishes:wrong_in_action", how=how)


def test_a_vector_index_is_read_by_vector_searches_alone(app):
    for how in ("index", "name", "search"):
        with pytest.raises(
            FunctionError, match=r"dishes\.by_taste is a vector index: use ctx\.vector"
        ):
            app.query("dishes:as_other", how=how)
    assert app.query("dishes:absent") == []


def test_only_what_could_change_the_answer_runs_a_search_again(app):
    east = _add(app, "east", 1.0, 0.0)
    north = _add(app, "north", 0.0, 1.0)
    _add(app, "foreign", 1.0, 0.0, cuisine="b")
    watched = app.subscribe("dishes:hits_of_a", taste=[1.0, 0.1])
    assert [hit.id for hit in watched.value] == [east, north]

    def is_told(function, **arguments):
        app.mutation(f"dishes:{function}", **arguments)
        stale = watched.is_stale
        assert watched.value == app.query("dishes:hits_of_a", taste=[1.0, 0.1])
        return stale

    # There are two, and both are found: the next one is as near as it may be.
    assert is_told("add", name="west", taste=[-1.0, 0.0])
    # Three of at most three: what is farther than the last changes nothing.
    assert not is_told("add", name="far west", taste=[-1.0, -0.1])
    assert not is_told("add", name="none", taste=None)
    assert not is_told("add", name="other cuisine", taste=[1.0, 0.1], cuisine="b")
    # What a hit holds is not what is found, and its vector is what it was.
    assert not is_told("change", id=east, fields={"name": "East"})
    assert not is_told("change", id=east, fields={"taste": [2.0, 0.0]})
    assert is_told("change", id=east, fields={"taste": [1.0, 0.1]})
    south = app.mutation("dishes:add", name="south", taste=[0.0, -1.0])
    assert watched.is_stale
    assert [hit.id for hit in watched.value] == [east, north, south]
    assert is_told("change", id=south, fields={"cuisine": "b"})
    assert not is_told("remove", id=south)
    assert is_told("remove", id=north)
    assert next(hit.id for hit in watched.value) == east


def test_a_document_that_a_query_gets_for_a_hit_is_read(app):
    east = _add(app, "east", 1.0, 0.0)
    watched = app.subscribe("dishes:found", taste=[1.0, 0.0])
    assert watched.value == ["east"]
    app.mutation("dishes:change", id=east, fields={"name": "East"})
    assert watched.value == ["East"]


def test_a_vector_search_is_explained(app):
    for _ in range(3):
        _add(app, "east", 1.0, 0.0)
    for taste, near in (([1.0, 0.0], "1.0000"), ([0.0, 1.0], "0.0000")):
        (entry,) = [
            entry
            for entry in explained(app, "dishes:hits_of_a", taste=taste)["reads"]
            if entry["kind"] == "search"
        ]
        assert entry["words"] == (
            "dishes.by_taste: nearest to a vector in taste, where cuisine = 'a'"
        )
        assert f"that is as near as the last hit, of a cosine of {near}," in entry["invalidatedBy"]
    # Where fewer are found than may be, any vector could be one more.
    found = explained(app, "dishes:hits", taste=[1.0, 0.0])["reads"]
    (entry,) = [entry for entry in found if entry["kind"] == "search"]
    assert entry["invalidatedBy"].endswith("which has, before or after, a vector in taste")
