"""What clients do, and what it means: a model of the application that shares no code with it.

A feature is simulated by adding to the tables at the end of this file: a mutation is drawn, and
applied to the model; a query is drawn, and answered from the model.
"""

from __future__ import annotations

import operator
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_ACCOUNTS = ("ann", "ben", "cat", "dan", "eve", "fay")
_LOGS = ("x", "y", "z")
_BOARDS = ("p", "q", "r")
#: What the application has mounted twice; and all the places that components have notes in.
_MOUNTS = ("left", "right")
_PLACES = ("left", "left/box", "right", "right/box")
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
    #: Notes of components, by place and board; and those that a component has scheduled.
    stowed: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    expected: dict[str, set[str]] = field(default_factory=dict)

    def planned(self, name: str) -> list[str]:
        return sorted(self.plans.get(name, ()))

    def board(self, name: str) -> list[str]:
        return sorted(self.notes.get(name, ()))

    def place(self, place: str, name: str) -> set[str]:
        """Return the notes of a board in a component, to be changed."""
        return self.stowed.setdefault(place, {}).setdefault(name, set())

    def shelf(self, mount: str, name: str) -> list[list[str]]:
        """Return the notes of a board on a shelf, and in its box."""
        return [sorted(self.place(place, name)) for place in (mount, f"{mount}/box")]

    @property
    def awaited(self) -> list[str]:
        """Return what is scheduled and has not run."""
        return [
            f"{text} was scheduled for {where}"
            for scheduled in (self.plans, self.expected)
            for where, texts in scheduled.items()
            for text in sorted(texts)
        ]

    @property
    def state(self) -> Any:
        """Return what can be compared with the documents that are stored."""
        notes = {name: sorted(texts) for name, texts in self.notes.items() if texts}
        plans = {name: sorted(texts) for name, texts in self.plans.items() if texts}
        stowed = {
            place: {name: sorted(texts) for name, texts in boards.items() if texts}
            for place, boards in self.stowed.items()
        }
        return (self.accounts, self.logs, notes, plans, {k: v for k, v in stowed.items() if v})


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

    @property
    def mount(self) -> str:
        return self.chance.choice(_MOUNTS)


@dataclass(frozen=True)
class Mutation:
    """A function that changes the state, and returns something of it."""

    draw: Callable[[Draw], Arguments]
    apply: Callable[[Model, Arguments], Any]
    weight: int = 10
    #: Asked for in worlds that have the whole platform alone: see `Repertoire`.
    whole: bool = False
    always_fails: bool = False


@dataclass(frozen=True)
class Query:
    """A function that returns something of the state."""

    draw: Callable[[Draw], Arguments]
    answer: Callable[[Model, Arguments], Any]
    #: Whether a value may be the answer. Most are compared with it.
    fits: Callable[[Any, Any], bool] = operator.eq
    #: As of mutations.
    whole: bool = False


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


def _stow(model: Model, args: Arguments) -> list[Any]:
    """What a failing call has written is gone, what its caller has written stays."""
    board, mount, text, fails = args["board"], args["mount"], args["text"], args["fails"]
    _write(model, args)
    places = {place: model.place(place, board) for place in (mount, f"{mount}/box")}
    for place, texts in places.items():
        if not (place.endswith("/box") and fails == "box"):
            texts.add(text)
    seen = model.shelf(mount, board)
    if fails == "shelf":
        for texts in places.values():
            texts.discard(text)
    return [seen, model.shelf(mount, board)]


def _move(model: Model, args: Arguments) -> str | None:
    source = model.place(args["source"], args["board"])
    if not source:
        return None
    first = min(source)
    source.remove(first)
    model.place(args["target"], args["board"]).add(first)
    return first


def _stow_later(model: Model, args: Arguments) -> None:
    model.expected.setdefault(f"{args['mount']} {args['board']}", set()).add(args["text"])


def _arrive(model: Model, args: Arguments) -> None:
    """As `_post`: a second time there is nothing to remove."""
    model.expected.get(f"{args['mount']} {args['board']}", set()).remove(args["text"])
    model.place(args["mount"], args["board"]).add(args["text"])


def _found(model: Model, board: str, words: str) -> list[str]:
    """Return the notes of a board that have one of the words, or begin one like the last of them."""
    wanted = _words_of(words)
    return [
        text
        for text in model.board(board)
        if any(word in wanted or word.startswith(wanted[-1]) for word in _words_of(text))
    ]


def _words_of(text: str) -> list[str]:
    return re.findall("[a-z0-9]+", text)


def _write_found(model: Model, args: Arguments) -> list[str]:
    _write(model, args)
    return _found(model, args["board"], args["text"])


def _wipe_found(model: Model, args: Arguments) -> list[str]:
    board, words = args["board"], args["words"]
    gone = _found(model, board, words)[:3]
    model.notes.setdefault(board, set()).difference_update(gone)
    return _found(model, board, words)


def _is_some(shown: Any, found: Any) -> bool:
    """Return whether a first page shows some of what is found, each once; all, if it is the last."""
    page = sorted(shown["page"])
    some = set(page) <= set(found) and len(set(page)) == len(page)
    return some and (not shown["isDone"] or page == found)


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


def _draw_errand(draw: Draw) -> Arguments:
    return {**_draw_plan(draw), "pause": _draw_pause(draw)}


def draw_go(draw: Draw) -> Arguments:
    """Return the arguments of an action that a client runs."""
    return {**_draw_note(draw), "pause": _draw_pause(draw)}


def _draw_page(draw: Draw) -> Arguments:
    return {"numItems": draw.chance.randint(1, 5), "cursor": None}


def _draw_pause(draw: Draw) -> float:
    """How long an action takes before it has done its work, and again after that."""
    return draw.chance.choice((0.0, 0.01, 0.1, 1.0))


def _draw_stowed(draw: Draw) -> Arguments:
    fails = draw.chance.choice(("nobody", "nobody", "box", "shelf"))
    return {**_draw_note(draw), "mount": draw.mount, "fails": fails}


def _draw_move(draw: Draw) -> Arguments:
    return {"board": draw.board, "source": draw.mount, "target": draw.mount}


def _draw_shelf(draw: Draw) -> Arguments:
    return {"name": draw.board, "mount": draw.mount}


def _draw_words(draw: Draw) -> str:
    """Return words of notes, which are their authors' names and a number."""
    return draw.chance.choice(("1", "0002", "001", "2 0004", "0001 00", "client 9"))


def _draw_search(draw: Draw) -> Arguments:
    return {"name": draw.board, "words": _draw_words(draw)}


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
    "send": Mutation(_draw_errand, lambda model, args: None, whole=True),
    # Nor for this one: an action that was sent does.
    "deliver": Mutation(_draw_note, _blind, weight=0),
    "stow": Mutation(_draw_stowed, _stow, whole=True, weight=14),
    "move": Mutation(_draw_move, _move, whole=True, weight=6),
    "stow_later": Mutation(
        lambda draw: {**_draw_plan(draw), "mount": draw.mount}, _stow_later, whole=True, weight=6
    ),
    # Nor for this: a component that was scheduled calls it by its handle.
    "arrive": Mutation(_draw_note, _arrive, weight=0),
    "write_found": Mutation(_draw_note, _write_found, whole=True, weight=8),
    "wipe_found": Mutation(
        lambda draw: {"board": draw.board, "words": _draw_words(draw)},
        _wipe_found,
        whole=True,
        weight=4,
    ),
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
            "paginationOpts": _draw_page(draw),
        },
        lambda model, args: model.board(args["name"]),
        _is_page,
    ),
    "first": Query(
        lambda draw: {"name": draw.board, "count": draw.chance.randint(1, 4)},
        lambda model, args: model.board(args["name"])[: args["count"]],
    ),
    "found": Query(
        _draw_search,
        lambda model, args: _found(model, args["name"], args["words"]),
        whole=True,
    ),
    "found_page": Query(
        lambda draw: {**_draw_search(draw), "paginationOpts": _draw_page(draw)},
        lambda model, args: _found(model, args["name"], args["words"]),
        _is_some,
        whole=True,
    ),
    "shelf": Query(
        _draw_shelf,
        lambda model, args: model.shelf(args["mount"], args["name"]),
        whole=True,
    ),
    "shelves": Query(
        lambda draw: {"name": draw.board},
        lambda model, args: sorted(
            text for mount in _MOUNTS for text in model.place(mount, args["name"])
        ),
        whole=True,
    ),
    "shelf_page": Query(
        lambda draw: {**_draw_shelf(draw), "paginationOpts": _draw_page(draw)},
        lambda model, args: sorted(model.place(args["mount"], args["name"])),
        _is_page,
        whole=True,
    ),
}


@dataclass(frozen=True)
class Repertoire:
    """What the clients of a world may ask for: of the whole platform, or of the plain part of it.

    Worlds without the rest are as they were before there was one, so that it stays known in which of
    them planted bugs are found.
    """

    has_all: bool

    def mutation(self, chance: random.Random) -> str:
        """Return the name of a mutation, some more often than others."""
        names = [name for name, each in MUTATIONS.items() if self.has_all or not each.whole]
        (name,) = chance.choices(names, [MUTATIONS[name].weight for name in names])
        return name

    def query(self, chance: random.Random) -> str:
        """Return the name of a query."""
        return chance.choice(
            [name for name, each in QUERIES.items() if self.has_all or not each.whole]
        )


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
    stowed: dict[str, dict[str, list[str]]] = {}
    for place in _PLACES:
        for note in documents.get(f"{place}/notes", []):
            stowed.setdefault(place, {}).setdefault(note["board"], []).append(note["text"])
    return (
        accounts,
        logs,
        {name: sorted(texts) for name, texts in notes.items()},
        {name: sorted(texts) for name, texts in plans.items()},
        {
            place: {name: sorted(texts) for name, texts in boards.items()}
            for place, boards in stowed.items()
        },
    )


def _by_name(documents: list[dict[str, Any]], of: str) -> dict[str, Any]:
    found = {each["name"]: each[of] for each in documents}
    assert len(found) == len(documents), f"two documents of one name: {documents}"
    return found
