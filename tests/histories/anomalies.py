"""Which anomalies a history of list-appends has (Adya; Elle).

Each transaction appends values to lists and reads whole lists. No value is appended twice, so a
read tells who wrote before it, and in which order: of two reads of a list, one begins the other.
From that follow the edges of a graph of transactions:

- ww: one appended to a list right after the other,
- wr: one has read what the other appended last,
- rw: one has read a list to which the other appended next,
- rt: one was answered before the other was asked.

A serializable history has no cycle of the first three; a strictly serializable one has none at
all. What a cycle is called depends on the edges that it needs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import networkx as nx

Edge = Literal["ww", "wr", "rw", "rt"]


@dataclass(frozen=True, kw_only=True)
class Append:
    """A value at the end of a list."""

    key: str
    value: int


@dataclass(frozen=True, kw_only=True)
class Read:
    """A whole list."""

    key: str
    values: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Done:
    """One transaction: what it did, and when it was asked and answered.

    `outcome` is unknown where no answer came; it may have committed then.
    """

    name: str
    operations: tuple[Append | Read, ...]
    asked: float = 0.0
    answered: float = math.inf
    outcome: Literal["committed", "failed", "unknown"] = "committed"


@dataclass(frozen=True, kw_only=True)
class Anomaly:
    """What is wrong, by its name in the literature, and with which transactions."""

    name: str
    transactions: tuple[str, ...]
    detail: str


@dataclass
class _Lists:
    """What reads and appends say of every list."""

    #: Who appended a value, and whether it was the last of theirs to that list.
    writers: dict[tuple[str, int], Done] = field(default_factory=dict)
    last: dict[tuple[str, str], int] = field(default_factory=dict)
    #: The longest read of each list: the order of its values.
    order: dict[str, tuple[int, ...]] = field(default_factory=dict)


def anomalies(history: Iterable[Done]) -> list[Anomaly]:
    """Return all that a strictly serializable history would not have, the plain ones first."""
    transactions = list(history)
    lists = _Lists()
    found: list[Anomaly] = []
    for each in transactions:
        for operation in each.operations:
            if isinstance(operation, Append):
                assert (operation.key, operation.value) not in lists.writers, "appended twice"
                lists.writers[operation.key, operation.value] = each
                lists.last[operation.key, each.name] = operation.value
    for each in transactions:
        if each.outcome == "committed":
            found += _judge_reads(each, lists)
    if found:
        # Without an order of each list there are no edges to speak of.
        return found
    graph = _graph(_took_place(transactions, lists), lists)
    return _cycles(graph)


def _judge_reads(transaction: Done, lists: _Lists) -> list[Anomaly]:
    """Look at each read by itself, and learn the order of its list."""
    found: list[Anomaly] = []
    known: dict[str, tuple[int, ...]] = {}
    own: dict[str, tuple[int, ...]] = {}

    def wrong(name: str, others: Iterable[str], detail: object) -> None:
        found.append(
            Anomaly(name=name, transactions=(transaction.name, *others), detail=str(detail))
        )

    for operation in transaction.operations:
        key = operation.key
        mine = own.get(key, ())
        if isinstance(operation, Append):
            own[key] = (*mine, operation.value)
            if key in known:
                known[key] = (*known[key], operation.value)
            continue
        values = operation.values
        if len(set(values)) != len(values):
            wrong("duplicate", (), operation)
        if key in known and values != known[key]:
            wrong("internal", (), f"{operation}, and it knew {known[key]}")
        if mine and values[-len(mine) :] != mine:
            wrong("internal", (), f"{operation} without its own {mine}")
        known[key] = values
        foreign = values[: len(values) - len(mine)]
        for value in foreign:
            writer = lists.writers.get((key, value))
            if writer is None:
                wrong("garbage", (), f"{value} in {operation}, which nobody appended")
            elif writer.outcome == "failed":
                wrong("G1a", (writer.name,), f"{value} in {operation}")
        if foreign and not found:
            writer = lists.writers[key, foreign[-1]]
            if writer is not transaction and lists.last[key, writer.name] != foreign[-1]:
                wrong("G1b", (writer.name,), f"{operation} ends within {writer.name}")
        longest = lists.order.get(key, ())
        shorter, longer = sorted((values, longest), key=len)
        if longer[: len(shorter)] != shorter:
            wrong("incompatible order", (), f"{operation}, and {longest} was read too")
        lists.order[key] = longer
    return found


def _took_place(transactions: list[Done], lists: _Lists) -> list[Done]:
    """Return those that have committed: for certain, or because somebody has read of it."""
    seen = {
        lists.writers[key, value].name for key, values in lists.order.items() for value in values
    }
    return [each for each in transactions if each.outcome == "committed" or each.name in seen]


def _graph(transactions: list[Done], lists: _Lists) -> nx.MultiDiGraph:
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(each.name for each in transactions)

    def add(before: str, after: str, kind: Edge) -> None:
        if before != after:
            graph.add_edge(before, after, key=kind)

    for key, values in lists.order.items():
        writers = [lists.writers[key, value].name for value in values]
        for before, after in itertools.pairwise(writers):
            add(before, after, "ww")
    for each in transactions:
        for key, length in _external_reads(each).items():
            order = lists.order[key]
            if length:
                add(lists.writers[key, order[length - 1]].name, each.name, "wr")
            if length < len(order):
                add(each.name, lists.writers[key, order[length]].name, "rw")
    for before, after in _real_time(transactions):
        add(before, after, "rt")
    return graph


def _external_reads(transaction: Done) -> dict[str, int]:
    """Return how long each list was that it read, without what it had appended itself."""
    found: dict[str, int] = {}
    own: dict[str, int] = {}
    for operation in transaction.operations:
        if isinstance(operation, Append):
            own[operation.key] = own.get(operation.key, 0) + 1
        else:
            length = len(operation.values) - own.get(operation.key, 0)
            found.setdefault(operation.key, length)
    return found


def _real_time(transactions: list[Done]) -> Iterable[tuple[str, str]]:
    """Yield who was answered before whom was asked, leaving out what follows from others."""
    ends = sorted(transactions, key=lambda each: each.answered)
    ended: list[Done] = []
    at = 0
    for each in sorted(transactions, key=lambda each: each.asked):
        while at < len(ends) and ends[at].answered < each.asked:
            last = ends[at]
            ended = [other for other in ended if other.answered >= last.asked]
            ended.append(last)
            at += 1
        for other in ended:
            yield other.name, each.name


#: Which edges a cycle of each name is made of, and how many of them are rw.
_NAMES: tuple[tuple[str, frozenset[Edge], int], ...] = (
    ("G0", frozenset({"ww"}), 0),
    ("G1c", frozenset({"ww", "wr"}), 0),
    ("G-single", frozenset({"ww", "wr"}), 1),
    ("G2", frozenset({"ww", "wr", "rw"}), 0),
)


def _cycles(graph: nx.MultiDiGraph) -> list[Anomaly]:
    """Name each knot of transactions by the least edges that make it one."""
    found: list[Anomaly] = []
    named: set[str] = set()
    for suffix, more in (("", frozenset[Edge]()), ("-realtime", frozenset[Edge]({"rt"}))):
        for name, kinds, rw in _NAMES:
            for cycle in _cycles_of(_only(graph, kinds | more), graph, rw):
                if named.isdisjoint(cycle):
                    named.update(cycle)
                    found.append(
                        Anomaly(
                            name=name + suffix,
                            transactions=tuple(cycle),
                            detail=" ".join(_steps(graph, cycle)),
                        )
                    )
    return found


def _cycles_of(part: nx.MultiDiGraph, whole: nx.MultiDiGraph, rw: int) -> Iterable[list[str]]:
    """Yield cycles of `part`; with one rw edge of `whole` besides, if that is asked for."""
    if rw:
        for reader, writer, kind in whole.edges(keys=True):
            if kind == "rw" and nx.has_path(part, writer, reader):
                path = nx.shortest_path(part, writer, reader)
                yield [reader, *path[:-1]]
        return
    for knot in nx.strongly_connected_components(part):
        if len(knot) > 1:
            yield [edge[0] for edge in nx.find_cycle(part.subgraph(knot))]


def _only(graph: nx.MultiDiGraph, kinds: frozenset[Edge]) -> nx.MultiDiGraph:
    edges = [edge for edge in graph.edges(keys=True) if edge[2] in kinds]
    kept = nx.MultiDiGraph()
    kept.add_nodes_from(graph)
    kept.add_edges_from(edges)
    return kept


def _steps(graph: nx.MultiDiGraph, cycle: list[str]) -> Iterable[str]:
    for before, after in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
        kinds = sorted(graph.get_edge_data(before, after, default={}))
        yield f"{before} -{'/'.join(kinds)}->"
