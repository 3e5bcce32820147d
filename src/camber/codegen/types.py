"""TypeScript types of plans: flat and concrete, so that editors show what is there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from enum import Enum

from camber.functions.application import Application
from camber.schema.plan import (
    AnyPlan,
    ArrayPlan,
    BooleanPlan,
    BytesPlan,
    CommitTsPlan,
    ConstrainedPlan,
    ConvertedPlan,
    FieldPlan,
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
from camber.values.value import Int64

_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*\Z")
_SIMPLE: Mapping[type[Plan], str] = {
    AnyPlan: "any",
    NullPlan: "null",
    BooleanPlan: "boolean",
    StringPlan: "string",
    IntegerPlan: "number",
    FloatPlan: "number",
    Int64Plan: "bigint",
    CommitTsPlan: "bigint",
    BytesPlan: "ArrayBuffer",
}


class Direction(Enum):
    """Whether a type is of what clients send, or of what they get.

    A field with a default may be left out of arguments and is always there in results.
    """

    ARGUMENT = "argument"
    RESULT = "result"


class Types:
    """Writes the types of one application; collects the interfaces that recursive types need."""

    def __init__(self, application: Application) -> None:
        self._tables = application.tables
        self._documents = {
            id(table.document_plan()): name for name, table in application.tables.items()
        }
        self._open: list[tuple[int, Direction]] = []
        self._recursive: dict[tuple[int, Direction], str] = {}
        self.interfaces: dict[str, str] = {}
        #: Names imported from `convex/server`.
        self.imports: set[str] = set()
        self.uses_generic_id = False

    def type_of(self, plan: Plan, direction: Direction) -> str:
        """Return the type of a plan's values."""
        simple = _SIMPLE.get(type(plan))
        if simple is not None:
            return simple
        match plan:
            case IdPlan():
                return self._id(plan.table)
            case LiteralPlan():
                return _literal(plan.value)
            case ArrayPlan():
                return f"Array<{self.type_of(plan.item, direction)}>"
            case RecordPlan():
                return f"Record<string, {self.type_of(plan.item, direction)}>"
            case UnionPlan():
                members = [self.type_of(member, direction) for member in plan.members]
                return " | ".join(dict.fromkeys(members)) or "never"
            case ConvertedPlan():
                return self.type_of(plan.wire, direction)
            case ConstrainedPlan():
                return self.type_of(plan.inner, direction)
            case ObjectPlan():
                return self._object(plan, direction)
            case _:
                msg = f"{type(plan).__name__} has no TypeScript type"
                raise AssertionError(msg)

    def fields(
        self, fields: Iterable[FieldPlan], direction: Direction, rest: Plan | None = None
    ) -> str:
        """Return the type of an object with these fields, `rest` being that of any other."""
        parts = [self._field(field, direction) for field in fields]
        if rest is not None:
            # An index signature must allow for every field.
            parts.append("[name: string]: any")
        return f"{{ {'; '.join(parts)} }}" if parts else "{}"

    def _field(self, field: FieldPlan, direction: Direction) -> str:
        optional = not field.required
        if direction is Direction.RESULT and field.has_default:
            optional = False
        mark = "?" if optional else ""
        return f"{_name(field.name)}{mark}: {self.type_of(field.plan, direction)}"

    def _object(self, plan: ObjectPlan, direction: Direction) -> str:
        table = self._documents.get(id(plan))
        if table is not None:
            return f"Doc<{json.dumps(table)}>"
        if plan.client_type is not None:
            self.imports.add(plan.client_type)
            if plan.client_item is None:
                return plan.client_type
            return f"{plan.client_type}<{self.type_of(plan.client_item, direction)}>"
        key = (id(plan), direction)
        if key in self._open:
            return self._recursive.setdefault(key, f"{plan.title}{direction.name.title()}")
        self._open.append(key)
        text = self.fields(plan.fields, direction, AnyPlan() if plan.extra else None)
        self._open.pop()
        name = self._recursive.get(key)
        if name is None:
            return text
        self.interfaces[name] = text
        return name

    def _id(self, table: str) -> str:
        if table in self._tables:
            return f"Id<{json.dumps(table)}>"
        self.uses_generic_id = True
        return f"GenericId<{json.dumps(table)}>"


def _literal(value: object) -> str:
    if isinstance(value, Int64):
        return f"{int(value)}n"
    return json.dumps(value)


def _name(name: str) -> str:
    return name if _IDENTIFIER.match(name) else json.dumps(name)
