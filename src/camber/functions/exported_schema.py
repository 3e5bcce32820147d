"""Declared tables in the form of Convex's exported schema, which tools read (protocol 8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from camber.functions.analysis import AnalysedIndex, AnalysedTable


def exported_schema(tables: Mapping[str, AnalysedTable]) -> dict[str, Any]:
    """Return the schema as JSON, its tables by name."""
    return {
        "tables": [_table(table) for _, table in sorted(tables.items())],
        "schemaValidation": True,
    }


def _table(table: AnalysedTable) -> dict[str, Any]:
    vectors = [index for index in table.indexes if index.dimensions is not None]
    searched = [index for index in table.indexes if index.tokenizer is not None]
    ordinary = [i for i in table.indexes if i.tokenizer is None and i.dimensions is None]
    return {
        "tableName": table.name,
        "indexes": [_index(index) for index in ordinary if not index.staged],
        "stagedDbIndexes": [_index(index) for index in ordinary if index.staged],
        "searchIndexes": [_search_index(index) for index in searched if not index.staged],
        "stagedSearchIndexes": [_search_index(index) for index in searched if index.staged],
        "vectorIndexes": [_vector_index(index) for index in vectors if not index.staged],
        "stagedVectorIndexes": [_vector_index(index) for index in vectors if index.staged],
        "documentType": table.validator,
    }


def _index(index: AnalysedIndex) -> dict[str, Any]:
    return {"indexDescriptor": index.name, "fields": list(index.fields)}


def _search_index(index: AnalysedIndex) -> dict[str, Any]:
    return {"indexDescriptor": index.name, **search_fields(index.fields)}


def _vector_index(index: AnalysedIndex) -> dict[str, Any]:
    assert index.dimensions is not None
    return {"indexDescriptor": index.name, **vector_fields(index.fields, index.dimensions)}


def search_fields(fields: tuple[str, ...]) -> dict[str, Any]:
    """Return how tools are told the fields of a search index."""
    return {"searchField": fields[0], "filterFields": list(fields[1:])}


def vector_fields(fields: tuple[str, ...], dimensions: int) -> dict[str, Any]:
    """Return how tools are told the fields of a vector index."""
    return {
        "vectorField": fields[0],
        "dimensions": dimensions,
        "filterFields": list(fields[1:]),
    }
