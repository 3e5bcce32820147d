"""Annotations as validators: what crosses the wire in which form (api.md, "Tables")."""

from __future__ import annotations

import datetime

import pytest

from camber import Int64
from camber.errors import FunctionError
from tests.functions.projects import project_app

MODULE = """
    from __future__ import annotations
    import dataclasses, datetime, enum, uuid
    from typing import Annotated, Any, Literal, NotRequired, Optional, TypedDict
    import msgspec
    from camber import *

    class Color(enum.Enum):
        RED = "red"
        BLUE = "blue"

    @dataclasses.dataclass
    class Data:
        a: int
        b: list[str] = dataclasses.field(default_factory=list)

    class Node(msgspec.Struct):
        value: int
        children: list[Node] = []

    class Shape(TypedDict):
        sides: int
        name: NotRequired[str]

    @query
    def color(ctx: QueryCtx, x: Color) -> Color: return x
    @query
    def data(ctx: QueryCtx, x: Data) -> Data: return x
    @query
    def node(ctx: QueryCtx, x: Node) -> int: return 1 + sum(node(ctx, c) for c in x.children)
    @query
    def shape(ctx: QueryCtx, x: Shape) -> Shape: return x
    @query
    def when(ctx: QueryCtx, x: datetime.datetime) -> datetime.datetime:
        return x + datetime.timedelta(seconds=1)
    @query
    def naive(ctx: QueryCtx) -> datetime.datetime: return datetime.datetime(2026, 1, 1)
    @query
    def unique(ctx: QueryCtx, x: uuid.UUID) -> uuid.UUID: return x
    @query
    def union(ctx: QueryCtx, x: int | str | None | list[int]) -> str: return type(x).__name__
    @query
    def literal(ctx: QueryCtx, x: Literal["a", 3, True]) -> Any: return x
    @query
    def int_literal(ctx: QueryCtx, x: Int64Literal[1]) -> Int64: return x
    @query
    def bounded(ctx: QueryCtx, x: Annotated[int, msgspec.Meta(ge=1, le=9)]) -> int: return x
    @query
    def renamed(ctx: QueryCtx, sender: Annotated[str, Arg("from")]) -> str: return sender
    @query
    def rest(ctx: QueryCtx, a: int, **more: str) -> dict[str, str]: return {**more, "a": str(a)}
    @query
    def optional(ctx: QueryCtx, x: str = UNSET, y: Optional[str] = None, z: int = 5) -> list[Any]:
        return [x is UNSET, y, z]
    @query
    def whole(ctx: QueryCtx, x: int) -> str: return f"{type(x).__name__} {x}"
    @query
    def real(ctx: QueryCtx, x: float) -> str: return f"{type(x).__name__} {x}"
    @query
    def untyped(ctx: QueryCtx, x) -> str: return f"{type(x).__name__} {x}"
    @query
    def too_big(ctx: QueryCtx) -> int: return 2**53 + 1
    @query
    def record(ctx: QueryCtx, x: dict[str, float]) -> dict[str, float]: return x
    @query
    def odd_keys(ctx: QueryCtx): return {1: 2}
    @query
    def context_name(ctx: QueryCtx, /, **given: Any) -> list[str]: return sorted(given)
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with project_app(tmp_path_factory.mktemp("values"), code=MODULE) as opened:
        yield opened


@pytest.fixture
def wire(app):
    """Call a function with arguments as they are on the wire; return its wire result."""
    from camber.identity.identity import Anonymous
    from camber.runtime.executor import Caller, FunctionCall
    from camber.values.packed import pack, unpack

    def call(path, **args):
        result = app._core.wait(
            app._core.deployment.runtime.query(
                FunctionCall(
                    path=f"code:{path}",
                    arguments=pack(args),
                    identity=Anonymous(),
                    caller=Caller.CLIENT,
                    request_id="",
                )
            )
        )
        if result.failure is not None:
            raise FunctionError(result.failure.message)
        return unpack(result.packed)

    return call


@pytest.mark.parametrize(
    ("path", "sent", "returned"),
    [
        ("color", "red", "red"),
        ("data", {"a": 1}, {"a": 1, "b": []}),
        ("data", {"a": 1, "b": ["x"]}, {"a": 1, "b": ["x"]}),
        ("node", {"value": 1, "children": [{"value": 2}, {"value": 3}]}, 3),
        ("shape", {"sides": 3}, {"sides": 3}),
        ("shape", {"sides": 3, "name": "x"}, {"sides": 3, "name": "x"}),
        ("when", 1000, 2000),
        ("unique", "12345678-1234-5678-1234-567812345678", "12345678-1234-5678-1234-567812345678"),
        ("union", 3, "int"),
        ("union", "x", "str"),
        ("union", None, "NoneType"),
        ("union", [1], "list"),
        ("literal", "a", "a"),
        ("literal", 3, 3),
        ("literal", True, True),
        ("int_literal", Int64(1), Int64(1)),
        ("bounded", 9, 9),
        ("whole", 3, "int 3"),
        ("whole", Int64(3), "int 3"),
        ("real", 3, "float 3.0"),
        ("untyped", 3, "int 3"),
        ("untyped", 3.5, "float 3.5"),
        ("untyped", -0.0, "float -0.0"),
        ("untyped", Int64(3), "Int64 3"),
        ("record", {"a": 1, "b c": 2.5}, {"a": 1, "b c": 2.5}),
    ],
)
def test_values_arrive_as_their_annotation_says(wire, path, sent, returned):
    found = wire(path, x=sent)
    assert found == returned
    assert type(found) is type(returned)


@pytest.mark.parametrize(
    ("path", "sent", "told"),
    [
        ("color", "green", "does not match"),
        ("data", {"a": "x"}, r"Path: \.x\.a"),
        ("data", {"a": 1, "c": 1}, "extra field `c`"),
        ("node", {"value": 1, "children": [{"value": "x"}]}, r"Path: \.x\.children\[0\]\.value"),
        ("shape", {"name": "x"}, "required field `sides`"),
        ("union", 1.5, "Validator: v.union"),
        ("literal", "b", "does not match"),
        ("literal", False, "does not match"),
        ("literal", 1, "does not match"),
        ("int_literal", 1, "does not match"),
        ("int_literal", Int64(2), "does not match"),
        ("bounded", 10, "at most 9"),
        ("whole", 3.5, "3.5 is not an integer"),
        ("whole", "3", "does not match"),
        ("whole", True, "does not match"),
        ("real", Int64(3), "does not match"),
        ("unique", "x", "badly formed"),
        ("record", {"a": "x"}, r"Path: \.x\.a"),
    ],
)
def test_values_that_do_not_fit_are_refused(wire, path, sent, told):
    with pytest.raises(FunctionError, match=f"(?s)ArgumentValidationError.*{told}"):
        wire(path, x=sent)


def test_results_that_do_not_fit_are_refused(wire):
    with pytest.raises(FunctionError, match=r"ReturnsValidationError.*Int64"):
        wire("too_big")
    with pytest.raises(FunctionError, match=r"ReturnsValidationError.*naive"):
        wire("naive")
    with pytest.raises(FunctionError, match="is not a supported Convex type"):
        wire("odd_keys")


def test_names_on_the_wire(wire, app):
    assert wire("renamed", **{"from": "x"}) == "x"
    with pytest.raises(FunctionError, match="required field `from`"):
        wire("renamed", sender="x")
    assert app.query("code:renamed", sender="x") == "x"
    assert wire("rest", a=1, b="x") == {"a": "1", "b": "x"}
    with pytest.raises(FunctionError, match=r"Path: \.b"):
        wire("rest", a=1, b=2)
    assert wire("context_name", ctx=1, self=2) == ["ctx", "self"]


def test_optional_arguments(wire):
    assert wire("optional") == [True, None, 5]
    assert wire("optional", x="x", y="y", z=6) == [False, "y", 6]
    assert wire("optional", y=None) == [True, None, 5]
    with pytest.raises(FunctionError, match=r"Path: \.x"):
        wire("optional", x=None)


def test_python_values_go_in_and_come_out(app):
    at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    assert app.query("code:when", at) == at + datetime.timedelta(seconds=1)
    color = app.query("code:color", x="red")
    assert app.query("code:color", color) is color


def test_a_type_that_holds_itself_is_described_once(app):
    inner = {"type": "array", "value": {"type": "any"}}
    function = app._core.application.functions["code:node"]
    (field,) = function.arguments.json["value"].values()
    assert field["fieldType"]["value"]["children"]["fieldType"] == inner
    assert "children: v.optional(v.array(v.any()))" in function.arguments.fields[0].plan.builder
