"""JSON Schemas (draft 7) of tables, as systems that follow a deployment want them (protocol 8.9)."""

from __future__ import annotations

from typing import Any, Final

from camber.values.wire import Format

#: What is said of each row beside its fields.
_ROW_FIELDS: Final = {
    "_table": {"type": "string"},
    "_component": {"type": "string"},
    "_ts": {"type": "integer"},
    "_deleted": {"type": "boolean"},
}
_SYSTEM_FIELDS: Final = {"_id": {"type": "string"}, "_creationTime": {"type": "number"}}
_PLAIN: Final = {
    "Null": {"type": "null"},
    "Float64": {"type": "number"},
    "Boolean": {"type": "boolean"},
    "String": {"type": "string"},
    "Id": {"type": "string"},
}


def document_schema(shape: dict[str, Any], form: Format) -> dict[str, Any]:
    """Return the schema of a table's documents, from its shape."""
    properties: dict[str, Any] = {}
    for field in fields_of(shape):
        schema = _of_shape(field["shape"], form)
        known = properties.setdefault(field["fieldName"], schema)
        if known != schema:
            properties[field["fieldName"]] = _any_of([known, schema])
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": properties | _SYSTEM_FIELDS,
        "required": ["_id"],
        "additionalProperties": False,
    }


def delta_schema(shape: dict[str, Any], form: Format) -> dict[str, Any]:
    """Return the schema of a table's rows, with what is said of each beside its fields."""
    schema = document_schema(shape, form)
    return {**schema, "properties": schema["properties"] | _ROW_FIELDS}


def fields_of(shape: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the fields of a table's documents; of a union, those of every part."""
    match shape["type"]:
        case "Object":
            fields: list[dict[str, Any]] = shape["fields"]
            return fields
        case "Union":
            return [field for part in shape["shapes"] for field in fields_of(part)]
        case _:
            return []


def _of_shape(shape: dict[str, Any], form: Format) -> dict[str, Any]:
    kind: str = shape["type"]
    match kind:
        case "Int64":
            return {"type": "string"} if form is Format.CLEAN else _tagged("$integer")
        case "Bytes":
            return {"type": "string"} if form is Format.CLEAN else _tagged("$bytes")
        case "Array":
            return {"type": "array", "items": _of_shape(shape["shape"], form)}
        case "Object":
            fields = shape["fields"]
            return {
                "type": "object",
                "properties": {f["fieldName"]: _of_shape(f["shape"], form) for f in fields},
                "required": sorted(f["fieldName"] for f in fields if not f["optional"]),
                "additionalProperties": False,
            }
        case "Record":
            values = _of_shape(shape["valueShape"]["shape"], form)
            return {"type": "object", "additionalProperties": values}
        case "Union":
            return _any_of([_of_shape(part, form) for part in shape["shapes"]])
        case _:
            # What may be anything, and what was never there.
            return dict(_PLAIN.get(kind, {}))


def _tagged(name: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": "string"}},
        "required": [name],
        "additionalProperties": False,
    }


def _any_of(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    for schema in schemas:
        for each in schema["anyOf"] if list(schema) == ["anyOf"] else [schema]:
            if each not in found:
                found.append(each)
    return found[0] if len(found) == 1 else {"anyOf": found}
