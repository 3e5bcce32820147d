"""What clients do, and what it means: a model of the application that shares no code with it.

A feature is simulated by adding to the tables at the end of this file: a mutation is drawn, and
applied to the model; a query is drawn, and answered from the model.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_ACCOUNTS = ("ann", "ben", "cat", "dan", "eve", "fay")
_LOGS = ("x", "y", "z")
_BOARDS = ("p", "q", "r")
_FIRST_BALANCE = 100

Arguments = dict[str, Any]


@dataclass
class Model:
    """The whole state of the application, as plain values."""

    accounts: dict[str, int] = field(default_factory=dict)
    logs: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, set[str]] = field(default_factory=dict)
    #: Notes that are scheduled, and have neither run nor been cancelled.
    plans: dict[str, set[str]] = field(default_factory=dict)

    def planned(self, name: str) -> list[str]:
        return sorted(self.plans.get(name, ()))

    def board(self, name: str) -> list[str]:
        return sorted(self.notes.get(name, ()))

    @property
    def state(self) -> Any:
        """Return what can be compared with the documents that are stored."""
        notes = {name: sorted(texts) for name, texts in self.notes.items() if texts}
        plans = {name: sorted(texts) for name, texts in self.plans.items() if texts}
        return (self.accounts, self.logs, notes, plans)


@dataclass(frozen=True)
class Draw:
    """Arguments are drawn from here. `marker` is no other call's; few names are hot documents."""

    chance: random.Random
    marker: str
    names: int

    @property
    def accounts(self) -> list[str]:
        """Return two of them."""
        return self.chance.sample(_ACCOUNTS[: 2 * self.names], 2)

    @property
    def log(self) -> str:
        return self.chance.choice(_LOGS[: self.names])

    @property
    def board(self) -> str:
        return self.chance.choice(_BOARDS[: self.names])


@dataclass(frozen=True)
class Mutation:
    """A function that changes the state, and returns something of it."""

    draw: Callable[[Draw], Arguments]
    apply: Callable[[Model, Arguments], Any]
    weight: int = 10
    always_fails: bool = False


@dataclass(frozen=True)
class Query:
    """A function that returns something of the state."""

    draw: Callable[[Draw], Arguments]
    answer: Callable[[Model, Arguments], Any]
    #: Whether a value may be the answer. Most are compared with it.
    fits: Callable[[Any, Any], bool] = operator.eq


def _transfer(model: Model, args: Arguments) -> list[int]:
    source, target, amount = args["source"], args["target"], args["amount"]
    model.accounts.setdefault(source, _FIRST_BALANCE)
    moved = min(amount, model.accounts[source])
    model.accounts[source] -= moved
    model.accounts.setdefault(target, _FIRST_BALANCE)
    model.accounts[target] += moved
    return [model.accounts[source], model.accounts[target]]


def _append(model: Model, args: Arguments) -> list[str]:
    model.logs.setdefault(args["name"], []).append(args["item"])
    return list(model.logs[args["name"]])


def _write(model: Model, args: Arguments) -> int:
    model.notes.setdefault(args["board"], set()).add(args["text"])
    return len(model.notes[args["board"]])


def _wipe(model: Model, args: Arguments) -> int:
    texts = model.board(args["board"])
    model.notes.setdefault(args["board"], set()).difference_update(texts[:3])
    return len(texts)


def _nested(model: Model, args: Arguments) -> int:
    """Two notes, of which the second is undone."""
    return _write(model, args)


def _is_page(shown: Any, board: Any) -> bool:
    """Return whether a first page begins the board: neither a gap in it nor anything twice.

    Where it ends was settled when it was first asked for.
    """
    page = shown["page"]
    return bool(page == board[: len(page)]) and (not shown["isDone"] or page == board)


def _blind(model: Model, args: Arguments) -> None:
    _write(model, args)


def _later(model: Model, args: Arguments) -> int:
    model.plans.setdefault(args["board"], set()).add(args["text"])
    return len(model.plans[args["board"]])


def _post(model: Model, args: Arguments) -> None:
    """What was planned and not called off, once: a second time there is nothing to remove."""
    model.plans.get(args["board"], set()).remove(args["text"])
    _write(model, args)


def _call_off(model: Model, args: Arguments) -> str | None:
    planned = model.planned(args["board"])
    if not planned:
        return None
    model.plans[args["board"]].remove(planned[0])
    return planned[0]


def _fail(model: Model, args: Arguments) -> None:
    msg = "a mutation that fails has committed"
    raise AssertionError(msg)


def _total(model: Model, args: Arguments) -> list[int]:
    return [len(model.accounts), sum(model.accounts.values())]


def _draw_transfer(draw: Draw) -> Arguments:
    source, target = draw.accounts
    return {"source": source, "target": target, "amount": draw.chance.randint(1, 40)}


def _draw_plan(draw: Draw) -> Arguments:
    return {**_draw_note(draw), "delay": draw.chance.choice((0.0, 0.0, 0.05, 0.5, 5.0))}


def _draw_note(draw: Draw) -> Arguments:
    return {"board": draw.board, "text": draw.marker}


MUTATIONS: Mapping[str, Mutation] = {
    "transfer": Mutation(_draw_transfer, _transfer),
    "append": Mutation(lambda draw: {"name": draw.log, "item": draw.marker}, _append),
    "write": Mutation(_draw_note, _write),
    "blind": Mutation(_draw_note, _blind),
    "nested": Mutation(_draw_note, _nested),
    "wipe": Mutation(lambda draw: {"board": draw.board}, _wipe, weight=4),
    "later": Mutation(_draw_plan, _later, weight=8),
    "call_off": Mutation(lambda draw: {"board": draw.board}, _call_off, weight=3),
    # Nobody asks for it: the scheduler runs it.
    "post": Mutation(_draw_note, _post, weight=0),
    "fail": Mutation(
        lambda draw: {"board": draw.board},
        _fail,
        weight=2,
        always_fails=True,
    ),
}

QUERIES: Mapping[str, Query] = {
    "balance": Query(
        lambda draw: {"name": draw.accounts[0]},
        lambda model, args: model.accounts.get(args["name"]),
    ),
    "total": Query(lambda draw: {}, _total),
    "items": Query(
        lambda draw: {"name": draw.log},
        lambda model, args: list(model.logs.get(args["name"], ())),
    ),
    "board": Query(
        lambda draw: {"name": draw.board},
        lambda model, args: model.board(args["name"]),
    ),
    "texts": Query(
        lambda draw: {},
        lambda model, args: sorted(text for texts in model.notes.values() for text in texts),
    ),
    "planned": Query(
        lambda draw: {"name": draw.board},
        lambda model, args: model.planned(args["name"]),
    ),
    "pending": Query(
        lambda draw: {},
        lambda model, args: sum(len(texts) for texts in model.plans.values()),
    ),
    "page": Query(
        lambda draw: {
            "name": draw.board,
            "paginationOpts": {"numItems": draw.chance.randint(1, 5), "cursor": None},
        },
        lambda model, args: model.board(args["name"]),
        _is_page,
    ),
    "first": Query(
        lambda draw: {"name": draw.board, "count": draw.chance.randint(1, 4)},
        lambda model, args: model.board(args["name"])[: args["count"]],
    ),
}


def drawn_mutation(chance: random.Random) -> str:
    """Return the name of a mutation, some more often than others."""
    (name,) = chance.choices(list(MUTATIONS), [each.weight for each in MUTATIONS.values()])
    return name


def state_of(documents: Mapping[str, list[dict[str, Any]]]) -> Any:
    """Return the state that stored documents amount to, in the model's terms.

    Raises:
        AssertionError: there are two documents where there should be one.
    """
    accounts = _by_name(documents.get("accounts", []), "balance")
    logs = _by_name(documents.get("logs", []), "items")
    notes: dict[str, list[str]] = {}
    for note in documents.get("notes", []):
        notes.setdefault(note["board"], []).append(note["text"])
    plans: dict[str, list[str]] = {}
    for plan in documents.get("plans", []):
        plans.setdefault(plan["board"], []).append(plan["text"])
    return (
        accounts,
        logs,
        {name: sorted(texts) for name, texts in notes.items()},
        {name: sorted(texts) for name, texts in plans.items()},
    )


def _by_name(documents: list[dict[str, Any]], of: str) -> dict[str, Any]:
    found = {each["name"]: each[of] for each in documents}
    assert len(found) == len(documents), f"two documents of one name: {documents}"
    return found
