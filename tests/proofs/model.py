"""A database that runs one transaction after another: dicts of documents, and sorted lists.

Slow and obvious on purpose. It makes up nothing: ids and creation times are told to it as they
were given, and it holds them against the rules (semantics 1.3); cursors are positions to it, and
it learns which text stands for which.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.proofs.places import PLACES, full_name
from tests.proofs.plain import MISSING, place

#: Fields of the declared indexes of each table, without the tie-breaks, and which are unique.
INDEXES: dict[str, dict[str, list[str]]] = {
    "docs": {"by_a": ["a"], "by_ab": ["a", "b"], "by_u": ["u"]},
    "rows": {"by_ba": ["b", "a"], "by_u": ["u"]},
}
UNIQUE = {"by_u"}
#: The one search index: its table, what is searched, and its filter fields.
SEARCH_INDEX = ("docs", "search_a", ["a", "b"])
#: The one vector index: its table, the vector, its filter field, and how many numbers.
VECTOR_INDEX = ("docs", "by_v", ["v", "b"], 2)
_WORD = re.compile("[a-z]+")
Clause = Callable[[str], bool]
#: Fields that a document of a table cannot do without.
REQUIRED = {"rows": {"a", "b", "u"}}
#: All fields that it may have, where not any will do.
DECLARED = {"rows": {"a", "b", "u", "n"}}
_BUILT_IN = {"by_creation_time": ["_creationTime", "_id"], "by_id": ["_id"]}

#: The position after everything.
END = "end"

#: A table's documents by id. A table is there from its first insert on. Its name is the full one.
Tables = dict[str, dict[str, dict[str, Any]]]


def empty() -> Tables:
    """Return the tables that are declared, of every component."""
    return {full_name(component, name): {} for component in PLACES.values() for name in INDEXES}


class Statistics(NamedTuple):
    """What scores are made of: BM25 by the book."""

    texts: int
    words: int
    #: In how many texts each clause is.
    having: tuple[int, ...]

    def score(self, counts: Sequence[int], length: int) -> float:
        average = self.words / self.texts if self.words else 1.0
        score = 0.0
        for count, having in zip(counts, self.having, strict=True):
            rarity = math.log(1 + (self.texts - having + 0.5) / (having + 0.5))
            score += rarity * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / average))
        return score


class Refused(Exception):
    """A step that fails with a code, and changes nothing."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Cursors:
    """Which position of which query each text stands for; one text of a kind for each position.

    A position in a search is where a document stood by scores that are known to be of some moment,
    but not of which: a set of all that it may be, each with its statistics.
    """

    positions: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    #: The table of each id that was ever given.
    homes: dict[str, str] = field(default_factory=dict)

    def learn(self, kind: str, text: str, query: str, position: Any) -> None:
        if isinstance(position, frozenset):
            known_query, known = self.positions.get(text, (query, position))
            assert known_query == query, f"{text} is of {known_query}, and of {query}"
            assert isinstance(known, frozenset), f"{text} is the end of {query}, and is not"
            assert known & position, f"{text} stands for {known}, and for {position} of {query}"
            self.positions[text] = (query, known & position)
            return
        meaning = f"the {kind} {position} of {query}"
        assert self.positions.setdefault(text, (query, position)) == (query, position), (
            f"{text} stands for {self.positions[text]}, and for {meaning}"
        )
        assert self.texts.setdefault(meaning, text) == text, f"{meaning} has two texts"


class Model:
    """One transaction over `tables`, which it changes. `component` is whose function runs.

    Scores may be those of any of the moments `scored`, own writes included: commits that a search
    could not find do not run it again.
    """

    def __init__(
        self,
        tables: Tables,
        cursors: Cursors,
        *,
        born_after: float,
        scored: Sequence[Tables] | None = None,
    ) -> None:
        self.component = ""
        self.tables = copy.deepcopy(tables)
        self.cursors = cursors
        self._born_after = born_after
        self._scored = [tables] if scored is None else scored
        #: What it has written to the tables that are searched; None was deleted.
        self._written: dict[str, dict[str, dict[str, Any] | None]] = {}

    # Reads.

    def full(self, table: str) -> str:
        """Return the full name of a table of the component's."""
        return full_name(self.component, table)

    def get(self, id_: str) -> dict[str, Any] | None:
        table = self._table_of(id_)
        return None if table is None else copy.deepcopy(self.tables[table][id_])

    def rows(self, query: dict[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
        """Return what a query finds, with its places in the index, in the query's order."""
        fields = self._fields_of(query["table"], query["index"])
        found = []
        for document in self.tables.get(self.full(query["table"]), {}).values():
            if all(_holds(document, condition) for condition in query["where"]):
                found.append((_key(document, fields), copy.deepcopy(document)))
        found.sort(key=lambda row: row[0], reverse=query["order"] == "desc")
        return found

    def accepted(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        return [document for _, document in self.rows(query) if is_accepted(query, document)]

    def ranked(self, query: dict[str, Any], statistics: Statistics) -> list[Any]:
        """Return what a search finds, with its places in the order of these statistics."""
        filters = [["eq", *condition[1:]] for condition in query["where"]]
        clauses = _clauses(query["search"])
        found = []
        for document in self.tables[self.full(SEARCH_INDEX[0])].values():
            words = _words_of(document)
            counts = [sum(map(clause, words)) for clause in clauses]
            if any(counts) and all(_holds(document, condition) for condition in filters):
                score = round(statistics.score(counts, len(words)), 9)
                rank = (-score, -document["_creationTime"], document["_id"])
                found.append((rank, copy.deepcopy(document)))
        return sorted(found, key=lambda row: row[0])

    def statistics(self, query: dict[str, Any]) -> list[Statistics]:
        """Return the statistics that scores of a search may be made with, the newest first."""
        clauses = _clauses(query["search"])
        found: dict[Statistics, None] = {}
        table = self.full(SEARCH_INDEX[0])
        for tables in self._scored:
            documents = {**tables[table], **self._written.get(table, {})}
            texts = [_words_of(each) for each in documents.values() if _is_searched(each)]
            having = tuple(sum(any(map(clause, text)) for text in texts) for clause in clauses)
            found[Statistics(len(texts), sum(map(len, texts)), having)] = None
        return list(found)

    def nearest(self, wanted: list[float], limit: int, values: list[list[Any]]) -> list[list[Any]]:
        """Return id and cosine of what is nearest, equals by id."""
        table, _, (vector, filtered), dimensions = VECTOR_INDEX
        found = []
        for id_, document in self.tables[self.full(table)].items():
            own = document.get(vector)
            if not isinstance(own, list) or len(own) != dimensions:
                continue
            if not all(isinstance(each, float) for each in own) or not any(own):
                continue
            if values and not any(_holds(document, ["eq", filtered, *each]) for each in values):
                continue
            dot = sum(one * other for one, other in zip(own, wanted, strict=True))
            cosine = dot / math.hypot(*own) / math.hypot(*wanted)
            found.append([id_, round(cosine, 4)])
        return sorted(found, key=lambda hit: (-hit[1], hit[0]))[:limit]

    def _fields_of(self, table: str, index: str) -> list[str]:
        if self.full(table) not in self.tables:
            return ["_id"]
        declared = INDEXES.get(table, {})
        if index in _BUILT_IN:
            return _BUILT_IN[index]
        if index not in declared:
            raise Refused("IndexNotFoundError")
        return [*declared[index], "_creationTime", "_id"]

    def _table_of(self, id_: str) -> str | None:
        """Return the table that a document is in, if it is there; one of others is not named."""
        home = self.cursors.homes.get(id_)
        if home is None or home not in self.tables:
            return None
        if home.rpartition("/")[0] != self.component:
            raise Refused("InvalidArgument")
        return home if id_ in self.tables[home] else None

    # Writes.

    def insert(self, table: str, fields: dict[str, Any], born: Any) -> dict[str, Any]:
        """Add a document, which was given an id and a creation time."""
        self._check_unique(table, fields, None)
        id_, time = born["_id"], born["_creationTime"]
        assert all(id_ not in rows for rows in self.tables.values()), f"{id_} is given twice"
        assert time > self._born_after, f"{time} is not after {self._born_after}"
        self._born_after = time
        document = {**fields, "_id": id_, "_creationTime": time}
        home = self.full(table)
        self.cursors.homes[id_] = home
        self._write(home, id_, document)
        return copy.deepcopy(document)

    def patch(self, id_: str, fields: dict[str, Any], removed: list[str]) -> None:
        table, document = self._existing(id_)
        if set(removed) & REQUIRED.get(_own(table), set()):
            raise Refused("SchemaEnforcementError")
        if not set(fields) - set(removed) <= DECLARED.get(table, set(fields)):
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
        self._write(table, id_, None)

    def _existing(self, id_: str) -> tuple[str, dict[str, Any]]:
        table = self._table_of(id_)
        if table is None:
            raise Refused("NonexistentDocument")
        return table, self.tables[table][id_]

    def _put(self, table: str, document: dict[str, Any]) -> None:
        self._check_unique(_own(table), document, document["_id"])
        self._write(table, document["_id"], document)

    def _write(self, table: str, id_: str, document: dict[str, Any] | None) -> None:
        rows = self.tables.setdefault(table, {})
        if document is None:
            del rows[id_]
        else:
            rows[id_] = document
        if _own(table) == SEARCH_INDEX[0]:
            self._written = {
                **self._written,
                table: {**self._written.get(table, {}), id_: document},
            }

    def _check_unique(self, table: str, fields: dict[str, Any], own: str | None) -> None:
        for index, names in INDEXES.get(table, {}).items():
            if index not in UNIQUE:
                continue
            wanted = [fields.get(name, MISSING) for name in names]
            if any(value is MISSING or value is None for value in wanted):
                continue
            for id_, other in self.tables.get(self.full(table), {}).items():
                there = [place(other.get(name, MISSING)) for name in names]
                if id_ != own and there == [place(value) for value in wanted]:
                    raise Refused("UniqueIndexViolation")

    # Sub-transactions.

    def saved(self) -> Any:
        return copy.deepcopy(self.tables), self._written

    def undo(self, saved: Any) -> None:
        self.tables, self._written = saved


def _own(table: str) -> str:
    """Return what a table is called in its component."""
    return table.rpartition("/")[2]


def is_accepted(query: dict[str, Any], document: dict[str, Any]) -> bool:
    return not query.get("odd") or document.get("n", 0.0) % 2 == 1


def _clauses(text: str) -> list[Clause]:
    """Return what a text looks for: each word, and all that begin like the last."""
    words = _WORD.findall(text)
    clauses: list[Clause] = [word.__eq__ for word in dict.fromkeys(words)]
    return [*clauses, lambda word: word.startswith(words[-1])] if words else []


def _is_searched(document: dict[str, Any] | None) -> bool:
    return document is not None and isinstance(document.get(SEARCH_INDEX[2][0]), str)


def _words_of(document: dict[str, Any] | None) -> list[str]:
    if document is None or not _is_searched(document):
        return []
    return _WORD.findall(document[SEARCH_INDEX[2][0]])


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
