"""Whether a schema takes in all that another let be stored.

The oracle is the plans themselves, run on values: what the old one accepts, the new one must.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import sys
import uuid
from types import ModuleType
from typing import Annotated, Any, Literal, Union

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camber.schema.annotations import Id, Int64Literal
from camber.schema.compiler import Compiler
from camber.schema.storable import describe, takes_in
from camber.values.ids import encode_id
from camber.values.packed import pack, unpack
from camber.values.value import UNSET, Int64

_NUMBERS = {"a": 10_001, "b": 10_002}
_ID = {name: encode_id(number, bytes(16)) for name, number in _NUMBERS.items()}
_UUID = "12345678-1234-5678-1234-567812345678"


class Names:
    def number(self, name):
        return _NUMBERS.get(name)

    def name(self, number):
        return next((n for n, of in _NUMBERS.items() if of == number), None)


class Color(enum.Enum):
    RED = "red"
    ONE = 1


class Checked(msgspec.Struct):
    x: int

    def __post_init__(self):
        if self.x > 3:
            raise ValueError(self.x)


# To a type checker these are no types.
IDS: Any = Id
ID_A, ID_B = IDS["a"], IDS["b"]
INT64S: Any = Int64Literal
INT64_ONE = INT64S[1]

# A type is a tuple: its kind and what it is made of.

_SIMPLE = {
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "bytes": bytes,
    "null": None,
    "int64": Int64,
    "any": Any,
    "date": datetime.datetime,
    "uuid": uuid.UUID,
    "enum": Color,
    "checked": Checked,
    "int64 literal": INT64_ONE,
}
_LITERALS = ("a", "ab", 1, 0, 2, True, False, "red")
_BOUNDS: dict[str, list[dict[str, Any]]] = {
    "int": [{"ge": 0}, {"gt": 0}, {"ge": -1}, {"le": 2}, {"lt": 2}, {"multiple_of": 2}],
    "float": [{"ge": 0}, {"gt": 0}, {"gt": -0.5}, {"le": 2}, {"ge": 0, "le": 2}],
    "str": [{"min_length": 1}, {"min_length": 2}, {"max_length": 2}, {"pattern": "^a"}],
    "bytes": [{"max_length": 1}, {"max_length": 2}],
}


def annotation(of) -> Any:
    """The Python type; made from values, so it is no type to a type checker."""
    match of:
        case ("literal", value):
            return Literal.__getitem__(value)
        case ("id", table):
            return IDS[table]
        case ("bound", inner, bounds):
            return Annotated[annotation(inner), msgspec.Meta(**dict(bounds))]
        case ("list", item):
            return list[annotation(item)]  # type: ignore[misc]
        case ("dict", item):
            return dict[str, annotation(item)]  # type: ignore[misc]
        case ("union", members):
            return Union[tuple(annotation(member) for member in members)]  # noqa: UP007
        case ("object", fields):
            return msgspec.defstruct(
                "Made",
                [
                    (name, annotation(item))
                    if required
                    else (name, annotation(item), msgspec.field(default=UNSET))
                    for name, item, required in fields
                ],
                kw_only=True,
            )
        case _:
            return _SIMPLE[of[0]]


def bounded(kind):
    return st.sampled_from(_BOUNDS[kind]).map(
        lambda bounds: ("bound", (kind,), tuple(sorted(bounds.items())))
    )


def objects(item):
    return st.lists(
        st.tuples(st.sampled_from("xyz"), item, st.booleans()), max_size=3, unique_by=lambda f: f[0]
    ).map(lambda fields: ("object", tuple(fields)))


leaves = st.one_of(
    st.sampled_from([(kind,) for kind in _SIMPLE]),
    st.sampled_from(_LITERALS).map(lambda value: ("literal", value)),
    st.sampled_from(["a", "b"]).map(lambda table: ("id", table)),
    st.sampled_from(list(_BOUNDS)).flatmap(bounded),
    st.sampled_from([{"ge": 0}, {"ge": 1}]).map(
        lambda b: ("bound", ("union", (("int",), ("null",))), tuple(b.items()))
    ),
)
types = st.recursive(
    leaves,
    lambda item: st.one_of(
        item.map(lambda t: ("list", t)),
        item.map(lambda t: ("dict", t)),
        st.lists(item, min_size=1, max_size=3).map(lambda ts: ("union", tuple(ts))),
        objects(item),
    ),
    max_leaves=5,
)


@st.composite
def widened(draw, of):
    """A type that is often, and not always, wider than `of`."""
    if draw(st.integers(0, 11)) == 0:
        return draw(types)
    match of:
        case ("literal", value):
            other = draw(st.sampled_from(_LITERALS))
            plain = {str: "str", bool: "bool", int: "int"}[type(value)]
            return draw(st.sampled_from([of, (plain,), ("union", (of, ("literal", other)))]))
        case ("bound", inner, _):
            kind = inner[0]
            return draw(bounded(kind) if kind in _BOUNDS else st.one_of(st.just(inner), leaves))
        case ("list", item):
            return ("list", draw(perhaps_widened(item)))
        case ("dict", item):
            return ("dict", draw(perhaps_widened(item)))
        case ("union", members):
            more = draw(st.lists(types, max_size=1))
            return ("union", (*more, *[draw(perhaps_widened(m)) for m in members]))
        case ("object", fields):
            if draw(st.integers(0, 4)) == 0:
                return ("dict", draw(types))
            kept = [
                (
                    name,
                    draw(widened(item)),
                    draw(st.sampled_from([required, required, True, False])),
                )
                for name, item, required in fields
                if draw(st.integers(0, 9))
            ]
            new = draw(st.lists(st.tuples(st.just("new"), types, st.booleans()), max_size=1))
            return ("object", tuple(kept + new))
        case ("int",):
            return draw(st.sampled_from([of, ("float",), ("any",), ("int64",)]))
        case _:
            return draw(st.sampled_from([of, ("any",), ("str",), ("float",), ("union", (of,))]))


def perhaps_widened(of):
    return st.one_of(st.just(of), st.just(of), widened(of))


_STRINGS = ["", "a", "ab", "abc", "b", "red", _UUID, *_ID.values()]
_PLAIN_NUMBERS = [-1, 0, 1, 2, 3, 0.5, -0.0, 1e300, float("inf"), float("nan"), 2**53, 2.0**60]
_LEAVES = [*_STRINGS, *_PLAIN_NUMBERS, Int64(0), Int64(1), Int64(2), None, True, False, b"", b"ab"]
_ANYTHING = [*_LEAVES, [], ["a"], [1], {}, {"x": 1}, {"x": "a", "y": 1}, {"new": 1}, {"other": 1}]


def samples(of):
    """Values that `of` is likely to accept, and some that lie just beside them."""
    match of:
        case ("list", item):
            return [[], *([value] for value in samples(item))]
        case ("dict", item):
            return [{}, *({"x": value} for value in samples(item)), {"new": samples(item)[0]}]
        case ("union", members):
            return [value for member in members for value in samples(member)]
        case ("object", fields):
            found: list[Any] = [{}]
            for name, item, required in fields:
                some = samples(item)
                each = [{**other, name: value} for other in found[:3] for value in some]
                found = each + ([] if required else found)
            return found
        case ("any",):
            return _ANYTHING
        case _:
            return _LEAVES


def accepts(plan, value):
    try:
        plan.decode(value, Names())
    except Exception:  # noqa: BLE001  # whatever it is, a push would fail with it
        return False
    return True


@settings(max_examples=2000)
@given(st.data())
def test_what_fitted_before_fits_a_schema_that_takes_it_in(data):
    old_type = data.draw(types)
    new_type = data.draw(widened(old_type))
    compiler = Compiler()
    old = compiler.compile(annotation(old_type), "old")
    new = compiler.compile(annotation(new_type), "new")
    # Both travel and are stored as text.
    described = [json.loads(json.dumps(describe(plan))) for plan in (new, old)]
    if not takes_in(*described):
        return
    for value in [*samples(old_type), *samples(new_type), *_ANYTHING]:
        stored = unpack(pack(value))
        if accepts(old, stored):
            assert accepts(new, stored), (old_type, new_type, stored)


def answer(old, new):
    compiler = Compiler()
    return takes_in(describe(compiler.compile(new, "new")), describe(compiler.compile(old, "old")))


class Base(msgspec.Struct):
    a: int


class WithDefault(msgspec.Struct):
    a: int
    b: str = "new"


class WithRequired(msgspec.Struct):
    a: int
    b: str


class Tree(msgspec.Struct):
    value: int
    children: list[Tree]


class WiderTree(msgspec.Struct):
    value: int | str
    children: list[WiderTree]
    note: str = ""


class NarrowerTree(msgspec.Struct):
    value: bool
    children: list[NarrowerTree]


@dataclasses.dataclass
class Guarded:
    a: int

    def __post_init__(self):
        assert self.a


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (int, int),
        (int, int | None),
        (int, int | str),
        (int | None, str | None | int),
        (Int64, int),
        (Literal["a"], Literal["a", "b"]),
        (Literal["a"], str),
        (Literal["a", "b"] | None, str | None),
        (Literal[1], int),
        (Color, Literal["red"] | int),
        (datetime.datetime, float),
        (uuid.UUID, str),
        (ID_A, str),
        (list[int], list[int | None]),
        (dict[str, int], dict[str, Any]),
        (Base, WithDefault),
        (WithRequired, WithDefault),
        (Base, dict[str, int]),
        (Tree, WiderTree),
        (Tree, Any),
        (Annotated[int, msgspec.Meta(ge=0)], int),
        (Annotated[int, msgspec.Meta(gt=0)], Annotated[int, msgspec.Meta(ge=0)]),
        (Annotated[int, msgspec.Meta(ge=1, le=5)], Annotated[int, msgspec.Meta(ge=0, lt=6)]),
        (Annotated[str, msgspec.Meta(max_length=3)], Annotated[str, msgspec.Meta(max_length=4)]),
        (
            Annotated[int | None, msgspec.Meta(ge=2)],
            Annotated[int | None, msgspec.Meta(ge=1)],
        ),
        (Guarded, Any),
    ],
)
def test_widening_reads_no_document(old, new):
    assert answer(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # An int field takes int64s that were stored before it was declared.
        (int, float),
        (float, int),
        # Minus zero equals zero, and an int field refuses it.
        (Literal[0], int),
        (int | None, int),
        (str, Literal["a"]),
        (Literal["a", "b"], Literal["a"]),
        (float, datetime.datetime),
        (str, uuid.UUID),
        (str, ID_A),
        (ID_A, ID_B),
        (Any, int),
        (WithDefault, Base),
        (WithDefault, WithRequired),
        (Base, WithRequired),
        (Tree, NarrowerTree),
        (int, Annotated[int, msgspec.Meta(ge=0)]),
        (Annotated[int, msgspec.Meta(ge=0)], Annotated[int, msgspec.Meta(gt=0)]),
        (Annotated[str, msgspec.Meta(pattern="a")], Annotated[str, msgspec.Meta(pattern="b")]),
        # Code of the application's decides, and may have changed.
        (Guarded, Guarded),
        (Guarded, Guarded | Any),
        (str, Annotated[str | int, msgspec.Meta(ge=0)] | str),
    ],
)
def test_what_may_not_fit_is_looked_at(old, new):
    assert not answer(old, new)


def test_another_versions_description_is_not_trusted():
    described = describe(Compiler().compile(int, "x"))
    assert takes_in(described, described)
    assert not takes_in(described, {**described, "version": 0})
    assert not takes_in(described, {})


def test_a_document_is_told_whatever_module_has_the_name_of_its_own_by_now(monkeypatch):
    """Another release's has, where `Any` may not be imported any more."""
    module = ModuleType("a_release_of_before")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    source = (
        "from __future__ import annotations\nfrom typing import Any\nfrom camber import Table\n"
        "class Told(Table, table='told'):\n    a: Any\n"
    )
    exec(compile(source, "a_release_of_before.py", "exec"), module.__dict__)
    document = module.Told(a=[1])
    monkeypatch.setitem(sys.modules, module.__name__, ModuleType(module.__name__))
    assert document.to_dict() == {"a": [1]}
