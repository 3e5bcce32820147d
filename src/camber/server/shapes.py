"""Shapes: what documents of a table look like, as the dashboard and MCP tools read it."""

from __future__ import annotations

from typing import Any, Final

from camber.engine.catalog import TableEntry
from camber.engine.transaction import Transaction
from camber.functions.analysis import AnalysedTable
from camber.occ.interval import ALL, Order
from camber.values.packed import unpack
from camber.values.value import Int64, Value

#: Documents of an undeclared table that its shape is taken from: the newest ones.
_SAMPLE: Final = 256

_SIMPLE: Final = {
    "any": "Unknown",
    "null": "Null",
    "number": "Float64",
    "bigint": "Int64",
    "commitTs": "Int64",
    "boolean": "Boolean",
    "string": "String",
    "bytes": "Bytes",
}


def shape_of_table(table: AnalysedTable) -> dict[str, Any]:
    """Return the shape that a table's declaration says."""
    shape = _of_validator(table.validator)
    if shape["type"] != "Object":
        return shape
    system = [
        _field("_creationTime", {"type": "Float64"}),
        _field("_id", {"type": "Id", "tableName": table.name}),
    ]
    return {**shape, "fields": [*system, *shape["fields"]]}


def shape_of_documents(transaction: Transaction, table: TableEntry) -> dict[str, Any]:
    """Return the shape that the newest documents of an undeclared table have."""
    rows = transaction.snapshot.scan(
        table.number, table.indexes["by_creation_time"].id, ALL, Order.DESC, _SAMPLE
    )
    shape: dict[str, Any] = {"type": "Never"}
    for row in rows:
        shape = _union(shape, _of_value(unpack(row.packed)))
    if shape["type"] == "Object":
        for each in shape["fields"]:
            if each["fieldName"] == "_id":
                each["shape"] = {"type": "Id", "tableName": table.name}
    return shape


def _of_validator(validator: dict[str, Any]) -> dict[str, Any]:
    kind: str = validator["type"]
    inner: Any = validator.get("value")
    match kind:
        case "id":
            return {"type": "Id", "tableName": validator["tableName"]}
        case "array":
            return {"type": "Array", "shape": _of_validator(inner)}
        case "record":
            value = validator["values"]["fieldType"]
            return {
                "type": "Record",
                "keyShape": _of_validator(validator["keys"]),
                "valueShape": {"optional": False, "shape": _of_validator(value)},
            }
        case "union":
            return _joined([_of_validator(each) for each in inner])
        case "object":
            return {
                "type": "Object",
                "fields": [
                    _field(name, _of_validator(field["fieldType"]), optional=field["optional"])
                    for name, field in sorted(inner.items())
                ],
            }
        case "literal":
            return _of_value(inner)
        case _:
            return {"type": _SIMPLE[kind]}


def _of_value(value: Value) -> dict[str, Any]:
    match value:
        case None:
            return {"type": "Null"}
        case bool():
            return {"type": "Boolean"}
        case Int64():
            return {"type": "Int64"}
        case int() | float():
            return {"type": "Float64"}
        case str():
            return {"type": "String"}
        case bytes():
            return {"type": "Bytes"}
        case list():
            shape: dict[str, Any] = {"type": "Never"}
            for item in value:
                shape = _union(shape, _of_value(item))
            return {"type": "Array", "shape": shape}
        case dict():
            fields = [_field(name, _of_value(item)) for name, item in sorted(value.items())]
            return {"type": "Object", "fields": fields}


def _union(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return the shape of values that have either one."""
    if one["type"] == "Object" and other["type"] == "Object":
        return _merged(one, other)
    if one["type"] == "Array" and other["type"] == "Array":
        return {"type": "Array", "shape": _union(one["shape"], other["shape"])}
    return _joined([one, other])


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    left = {each["fieldName"]: each for each in one["fields"]}
    right = {each["fieldName"]: each for each in other["fields"]}
    fields = []
    for name in sorted(left | right):
        found = [side[name] for side in (left, right) if name in side]
        shape = found[0]["shape"] if len(found) == 1 else _union(*(f["shape"] for f in found))
        optional = len(found) == 1 or any(f["optional"] for f in found)
        fields.append(_field(name, shape, optional=optional))
    return {"type": "Object", "fields": fields}


def _joined(shapes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a union without what is in it twice."""
    flat: list[dict[str, Any]] = []
    for shape in shapes:
        for each in shape["shapes"] if shape["type"] == "Union" else [shape]:
            if each["type"] != "Never" and each not in flat:
                flat.append(each)
    if not flat:
        return {"type": "Never"}
    return flat[0] if len(flat) == 1 else {"type": "Union", "shapes": flat}


def _field(name: str, shape: dict[str, Any], *, optional: bool = False) -> dict[str, Any]:
    return {"fieldName": name, "optional": optional, "shape": shape}
