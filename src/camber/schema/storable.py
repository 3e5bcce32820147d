"""What a plan lets be stored, described exactly, and whether one description takes in another.

The JSON of a validator is for people and clients: it hides whether a number is an integer, bounds,
dates. A push that has to know whether every stored document fits a new schema asks here instead,
and reads no document where the answer is yes. The answer errs on the side of no.

A description is plain data that is stored and crosses processes:

    {"version": 1, "root": shape, "objects": {name: {"fields": ..., "extra": ...}}}

Objects are referred to by name, so that a type may hold itself. `opaque` is what cannot be
described: code of the application's that may refuse a value.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias, assert_never

from camber.schema.plan import (
    AnyPlan,
    ArrayPlan,
    BooleanPlan,
    BytesPlan,
    CommitTsPlan,
    ConstrainedPlan,
    ConvertedPlan,
    FloatPlan,
    IdPlan,
    Int64Plan,
    IntegerPlan,
    LiteralPlan,
    NullPlan,
    ObjectPlan,
    Plan,
    RecordPlan,
    StringPlan,
    UnionPlan,
)
from camber.values.value import FLOAT64_INTEGER_MAX, Int64

Shape: TypeAlias = dict[str, Any]

_VERSION: Final = 1
#: Comparisons after which two descriptions count as different: unions of unions multiply.
_STEPS_MAX: Final = 10_000

_NUMBERS: Final = frozenset({"integer", "float", "int64"})
_SIZED: Final = frozenset({"string", "bytes", "array", "record"})
_OPAQUE: Final[Shape] = {"kind": "opaque"}

#: Kinds that lie within others as they are.
_WITHIN: Final = frozenset(
    {("int64", "integer"), ("datetime", "float"), ("uuid", "string"), ("id", "string")}
)


def describe(plan: Plan) -> dict[str, Any]:
    """Return what can be stored where `plan` is declared."""
    description = _Description()
    root = description.shape(plan)
    return {"version": _VERSION, "root": root, "objects": description.objects}


def takes_in(new: dict[str, Any], old: dict[str, Any]) -> bool:
    """Return whether everything that `old` lets be stored fits `new` too. False if in doubt."""
    if new.get("version") != _VERSION or old.get("version") != _VERSION:
        return False
    # Where it may raise instead of refusing, it may raise before another member accepts.
    if _has_opaque(new):
        return False
    return _Comparison(new=new["objects"], old=old["objects"]).takes_in(
        new["root"], old["root"], frozenset()
    )


class _Description:
    """The shapes of one plan, and the objects in it."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self._names: dict[int, str] = {}

    def shape(self, plan: Plan) -> Shape:
        match plan:
            case AnyPlan():
                return {"kind": "any"}
            case NullPlan():
                return {"kind": "null"}
            case BooleanPlan():
                return {"kind": "boolean"}
            case StringPlan():
                return {"kind": "string"}
            case IntegerPlan():
                return {"kind": "integer"}
            case FloatPlan():
                return {"kind": "float"}
            case Int64Plan() | CommitTsPlan():
                return {"kind": "int64"}
            case BytesPlan():
                return {"kind": "bytes"}
            case IdPlan():
                return {"kind": "id", "table": plan.table}
            case LiteralPlan():
                return {"kind": "literal", **_literal(plan)}
            case ArrayPlan():
                return {"kind": "array", "item": self.shape(plan.item)}
            case RecordPlan():
                return {
                    "kind": "record",
                    "key": self.shape(plan.key),
                    "item": self.shape(plan.item),
                }
            case UnionPlan():
                return {"kind": "union", "members": [self.shape(m) for m in plan.members]}
            case ObjectPlan():
                return _OPAQUE if plan.may_refuse else self._object(plan)
            case ConvertedPlan():
                if plan.domain is None:
                    return self.shape(plan.wire)
                return {"kind": plan.domain}
            case ConstrainedPlan():
                return self._constrained(plan)
            case _:
                # Plans that are not of `schema` are not told apart by it.
                return _OPAQUE

    def _object(self, plan: ObjectPlan) -> Shape:
        name = self._names.get(id(plan))
        if name is None:
            name = self._names[id(plan)] = str(len(self._names))
            self.objects[name] = {
                "fields": {
                    f.name: {"shape": self.shape(f.plan), "required": f.required}
                    for f in plan.fields
                },
                "extra": plan.extra is not None,
            }
        return {"kind": "object", "name": name}

    def _constrained(self, plan: ConstrainedPlan) -> Shape:
        inner = self.shape(plan.inner)
        kinds = _kinds(inner)
        suits = all(kinds <= _suitable(bound) for bound in plan.bounds)
        if not suits:
            # Comparing a string with a number raises.
            return _OPAQUE
        return {"kind": "constrained", "inner": inner, "bounds": dict(plan.bounds)}


def _suitable(bound: str) -> frozenset[str]:
    """Return the kinds that a bound can be asked of."""
    if bound in {"min_length", "max_length"}:
        return _SIZED
    return frozenset({"string"}) if bound == "pattern" else _NUMBERS


def _kinds(shape: Shape) -> set[str]:
    """Return the kinds of values beside null, which no bound applies to."""
    match shape["kind"]:
        case "union":
            return set().union(*(_kinds(member) for member in shape["members"]))
        case "constrained":
            return _kinds(shape["inner"])
        case "null":
            return set()
        case kind:
            return {kind}


def _literal(plan: LiteralPlan) -> dict[str, str]:
    """Return the type and the text of a literal: equal ones are the same value."""
    value = plan.value
    if isinstance(value, bool):
        return {"type": "boolean", "value": str(bool(value))}
    if isinstance(value, str):
        return {"type": "string", "value": str.__str__(value)}
    if isinstance(value, Int64):
        return {"type": "int64", "value": str(int(value))}
    if isinstance(value, float):
        return {"type": "number", "value": str(int(value)) if value.is_integer() else repr(value)}
    if isinstance(value, int):
        return {"type": "number", "value": str(int(value))}
    assert_never(value)


def _has_opaque(description: dict[str, Any]) -> bool:
    def opaque(part: Any) -> bool:
        if isinstance(part, dict):
            return part.get("kind") == "opaque" or any(opaque(each) for each in part.values())
        return isinstance(part, list) and any(opaque(each) for each in part)

    shapes = [f["shape"] for o in description["objects"].values() for f in o["fields"].values()]
    return opaque(description["root"]) or any(opaque(shape) for shape in shapes)


#: Pairs of objects that are being compared: within them the answer is yes until shown otherwise,
#: since values are finite.
_Assumed: TypeAlias = frozenset[tuple[str, str]]


class _Comparison:
    """One comparison of two descriptions."""

    def __init__(self, *, new: dict[str, Any], old: dict[str, Any]) -> None:
        self._new = new
        self._old = old
        self._steps = 0

    def takes_in(self, new: Shape, old: Shape, assumed: _Assumed) -> bool:
        self._steps += 1
        if self._steps > _STEPS_MAX:
            return False
        if new["kind"] == "any":
            return True
        if old["kind"] == "union":
            return all(self.takes_in(new, member, assumed) for member in old["members"])
        if new["kind"] == "union" and any(
            self.takes_in(member, old, assumed) for member in new["members"]
        ):
            return True
        if new["kind"] == "constrained":
            return self._constrained_takes_in(new, old, assumed)
        if old["kind"] == "constrained":
            return self.takes_in(new, old["inner"], assumed)
        return self._plain_takes_in(new, old, assumed)

    def _constrained_takes_in(self, new: Shape, old: Shape, assumed: _Assumed) -> bool:
        if old["kind"] == "null":
            return self.takes_in(new["inner"], old, assumed)
        if old["kind"] != "constrained":
            return False
        # Bounds are asked of what a value is read as, which must not change under them.
        alike = _reads_alike(new["inner"], old["inner"])
        return (
            alike
            and _follow(new["bounds"], old["bounds"])
            and self.takes_in(new["inner"], old["inner"], assumed)
        )

    def _plain_takes_in(self, new: Shape, old: Shape, assumed: _Assumed) -> bool:
        match (old["kind"], new["kind"]):
            case ("literal", "literal"):
                return old == new
            case ("literal", kind):
                return kind in _kinds_of_literal(old)
            case ("id", "id"):
                return bool(old["table"] == new["table"])
            case ("array", "array"):
                return self.takes_in(new["item"], old["item"], assumed)
            case ("record", "record"):
                return self.takes_in(new["key"], old["key"], assumed) and self.takes_in(
                    new["item"], old["item"], assumed
                )
            case ("object", "record"):
                return self._record_takes_in(new, self._old[old["name"]], assumed)
            case ("object", "object"):
                pair = (old["name"], new["name"])
                return pair in assumed or self._object_takes_in(
                    self._new[new["name"]], self._old[old["name"]], assumed | {pair}
                )
            case ("any" | "opaque" | "union" | "constrained", _):
                return False
            case (mine, theirs):
                return mine == theirs or (mine, theirs) in _WITHIN

    def _record_takes_in(self, new: Shape, old: dict[str, Any], assumed: _Assumed) -> bool:
        if old["extra"] or new["key"]["kind"] != "string":
            return False
        return all(self.takes_in(new["item"], f["shape"], assumed) for f in old["fields"].values())

    def _object_takes_in(self, new: dict[str, Any], old: dict[str, Any], assumed: _Assumed) -> bool:
        if not new["extra"] and (old["extra"] or not old["fields"].keys() <= new["fields"].keys()):
            return False
        for name, wanted in new["fields"].items():
            known = old["fields"].get(name)
            if known is None:
                if wanted["required"]:
                    return False
                if old["extra"] and not self.takes_in(wanted["shape"], {"kind": "any"}, assumed):
                    return False
                continue
            if wanted["required"] and not known["required"]:
                return False
            if not self.takes_in(wanted["shape"], known["shape"], assumed):
                return False
        return True


def _kinds_of_literal(literal: Shape) -> set[str]:
    """Return the kinds that hold a literal's value as it is stored."""
    if literal["type"] != "number":
        return {literal["type"]} | ({"integer"} if literal["type"] == "int64" else set())
    # Minus zero equals zero and is stored as a float, as is what an integer cannot hold exactly.
    text = literal["value"]
    integral = text.lstrip("-").isdigit() and 0 < abs(int(text)) <= FLOAT64_INTEGER_MAX
    return {"float", "integer"} if integral else {"float"}


def _reads_alike(new: Shape, old: Shape) -> bool:
    """Return whether a value that both accept is read as the same thing by both."""
    same = new["kind"] == old["kind"] and new["kind"] in _NUMBERS | _SIZED
    return same or (new == old and not _mentions_objects(new))


def _mentions_objects(part: Any) -> bool:
    if isinstance(part, dict):
        return part.get("kind") == "object" or any(_mentions_objects(p) for p in part.values())
    return isinstance(part, list) and any(_mentions_objects(each) for each in part)


def _follow(new: dict[str, Any], old: dict[str, Any]) -> bool:
    """Return whether every bound of `new` follows from those of `old`."""
    return all(_follows(name, bound, old) for name, bound in new.items())


def _follows(name: str, bound: Any, old: dict[str, Any]) -> bool:
    match name:
        case "gt":
            return ("gt" in old and old["gt"] >= bound) or ("ge" in old and old["ge"] > bound)
        case "ge":
            return any(side in old and old[side] >= bound for side in ("gt", "ge"))
        case "lt":
            return ("lt" in old and old["lt"] <= bound) or ("le" in old and old["le"] < bound)
        case "le":
            return any(side in old and old[side] <= bound for side in ("lt", "le"))
        case "min_length":
            return "min_length" in old and bool(old["min_length"] >= bound)
        case "max_length":
            return "max_length" in old and bool(old["max_length"] <= bound)
        case _:
            return name in old and bool(old[name] == bound)
