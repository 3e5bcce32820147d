"""A database that runs one transaction after another: dicts of documents, and sorted lists.

Slow and obvious on purpose. It makes up nothing: ids and creation times are told to it as they
were given, and it holds them against the rules (semantics 1.3); cursors are positions to it, and
it learns which text stands for which.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from typing import Any

from tests.proofs.plain import MISSING, place

#: Fields of the declared indexes of each table, without the tie-breaks, and which are unique.
INDEXES: dict[str, dict[str, list[str]]] = {
    "docs": {"by_a": ["a"], "by_ab": ["a", "b"], "by_u": ["u"]},
    "rows": {"by_ba": ["b", "a"], "by_u": ["u"]},
}
UNIQUE = {"by_u"}
#: The one search index: its table, what is searched, and its filter fields.
SEARCH_INDEX = ("docs", "search_a", ["a", "b"])
_WORD = re.compile("[a-z]+")
#: Fields that a document of a table cannot do without.
REQUIRED = {"rows": {"a", "b", "u"}}
_BUILT_IN = {"by_creation_time": ["_creationTime", "_id"], "by_id": ["_id"]}

#: The position after everything.
END = "end"

#: A table's documents by id. A table is there from its first insert on.
Tables = dict[str, dict[str, dict[str, Any]]]


class Refused(Exception):
    """A step that fails with a code, and changes nothing."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Cursors:
    """Which position of which query each text stands for; one text of a kind for each position."""

    positions: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def learn(self, kind: str, text: str, query: str, position: Any) -> None:
        meaning = f"the {kind} {position} of {query}"
        assert self.positions.setdefault(text, (query, position)) == (query, position), (
            f"{text} stands for {self.positions[text]}, and for {meaning}"
        )
        assert self.texts.setdefault(meaning, text) == text, f"{meaning} has two texts"


class Model:
    """One transaction over `tables`, which it changes."""

    def __init__(self, tables: Tables, cursors: Cursors, *, born_after: float) -> None:
        self.tables = copy.deepcopy(tables)
        self.cursors = cursors
        self._born_after = born_after

    # Reads.

    def get(self, id_: str) -> dict[str, Any] | None:
        table = self._table_of(id_)
        return None if table is None else copy.deepcopy(self.tables[table][id_])

    def rows(self, query: dict[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
        """Return what a query finds, with its places in the index, in the query's order."""
        fields = self._fields_of(query["table"], query["index"])
        found = []
        for document in self.tables.get(query["table"], {}).values():
            if all(_holds(document, condition) for condition in query["where"]):
                found.append((_key(document, fields), copy.deepcopy(document)))
        found.sort(key=lambda row: row[0], reverse=query["order"] == "desc")
        return found

    def accepted(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        return [document for _, document in self.rows(query) if is_accepted(query, document)]

    def searched(self, text: str, where: list[list[Any]]) -> list[dict[str, Any]]:
        """Return the documents that have one of the words, or begin one like the last of them."""
        table, _, (field_, *_) = SEARCH_INDEX
        wanted = _WORD.findall(text)
        if not wanted:
            return []
        found = []
        for document in self.tables[table].values():
            content = document.get(field_)
            words = _WORD.findall(content) if isinstance(content, str) else []
            is_found = any(word in wanted or word.startswith(wanted[-1]) for word in words)
            if is_found and all(_holds(document, ["eq", *condition]) for condition in where):
                found.append(copy.deepcopy(document))
        return sorted(found, key=lambda each: (each["_creationTime"], each["_id"]))

    def _fields_of(self, table: str, index: str) -> list[str]:
        if table not in self.tables:
            return ["_id"]
        declared = INDEXES.get(table, {})
        if index in _BUILT_IN:
            return _BUILT_IN[index]
        if index not in declared:
            raise Refused("IndexNotFoundError")
        return [*declared[index], "_creationTime", "_id"]

    def _table_of(self, id_: str) -> str | None:
        return next((name for name, rows in self.tables.items() if id_ in rows), None)

    # Writes.

    def insert(self, table: str, fields: dict[str, Any], born: Any) -> dict[str, Any]:
        """Add a document, which was given an id and a creation time."""
        self._check_unique(table, fields, None)
        id_, time = born["_id"], born["_creationTime"]
        assert all(id_ not in rows for rows in self.tables.values()), f"{id_} is given twice"
        assert time > self._born_after, f"{time} is not after {self._born_after}"
        self._born_after = time
        document = {**fields, "_id": id_, "_creationTime": time}
        self.tables.setdefault(table, {})[id_] = document
        return copy.deepcopy(document)

    def patch(self, id_: str, fields: dict[str, Any], removed: list[str]) -> None:
        table, document = self._existing(id_)
        if set(removed) & REQUIRED.get(table, set()):
            raise Refused("SchemaEnforcementError")
        changed = {**document, **fields}
        for name in removed:
            changed.pop(name, None)
        self._put(table, changed)

    def replace(self, id_: str, fields: dict[str, Any]) -> None:
        table, document = self._existing(id_)
        kept = {name: document[name] for name in ("_id", "_creationTime")}
        self._put(table, {**fields, **kept})

    def delete(self, id_: str) -> None:
        table, _ = self._existing(id_)
        del self.tables[table][id_]

    def _existing(self, id_: str) -> tuple[str, dict[str, Any]]:
        table = self._table_of(id_)
        if table is None:
            raise Refused("NonexistentDocument")
        return table, self.tables[table][id_]

    def _put(self, table: str, document: dict[str, Any]) -> None:
        self._check_unique(table, document, document["_id"])
        self.tables[table][document["_id"]] = document

    def _check_unique(self, table: str, fields: dict[str, Any], own: str | None) -> None:
        for index, names in INDEXES.get(table, {}).items():
            if index not in UNIQUE:
                continue
            wanted = [fields.get(name, MISSING) for name in names]
            if any(value is MISSING or value is None for value in wanted):
                continue
            for id_, other in self.tables.get(table, {}).items():
                there = [place(other.get(name, MISSING)) for name in names]
                if id_ != own and there == [place(value) for value in wanted]:
                    raise Refused("UniqueIndexViolation")

    # Sub-transactions.

    def saved(self) -> Tables:
        return copy.deepcopy(self.tables)

    def undo(self, saved: Tables) -> None:
        self.tables = saved


def is_accepted(query: dict[str, Any], document: dict[str, Any]) -> bool:
    return not query.get("odd") or document.get("n", 0.0) % 2 == 1


def follows(key: Any, position: Any, order: str) -> bool:
    """Return whether a key comes after a position in an order."""
    if position == END:
        return False
    return bool(key > position if order == "asc" else key < position)


def _key(document: dict[str, Any], fields: list[str]) -> Any:
    return tuple(_freeze(place(document.get(name, MISSING))) for name in fields)


def _freeze(value: Any) -> Any:
    return tuple(_freeze(item) for item in value) if isinstance(value, list | tuple) else value


def _holds(document: dict[str, Any], condition: list[Any]) -> bool:
    relation, name, *wanted = condition
    own = place(document.get(name, MISSING))
    other = place(wanted[0] if wanted else MISSING)
    match relation:
        case "eq":
            return bool(own == other)
        case "gt":
            return bool(own > other)
        case "gte":
            return bool(own >= other)
        case "lt":
            return bool(own < other)
        case "lte":
            return bool(own <= other)
        case _:
            raise AssertionError(relation)
