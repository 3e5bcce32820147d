"""What a context does not have, and which has it: told in place of a bare AttributeError.

Looked up when a function has failed, so that contexts that are used as they should be pay nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from camber.functions.contexts import ActionCtx, MutationCtx, QueryCtx, SyncActionCtx
from camber.functions.database import DatabaseReader, DatabaseWriter, SystemReader
from camber.functions.file_storage import (
    ActionStorage,
    StorageReader,
    StorageWriter,
    SyncActionStorage,
)
from camber.functions.scheduling import ActionScheduler, Scheduler, SyncActionScheduler

_QUERY: Final = "a query"
_MUTATION: Final = "a mutation"
_ACTION: Final = "an async def action"
_SYNC_ACTION: Final = "a plain def action"

#: What a context has under one name, by the kind of function.
_PARTS: Final[dict[str, dict[str, type]]] = {
    "ctx": {
        _QUERY: QueryCtx,
        _MUTATION: MutationCtx,
        _ACTION: ActionCtx,
        _SYNC_ACTION: SyncActionCtx,
    },
    "ctx.db": {_QUERY: DatabaseReader, _MUTATION: DatabaseWriter},
    "ctx.db.system": {"any function": SystemReader},
    "ctx.storage": {
        _QUERY: StorageReader,
        _MUTATION: StorageWriter,
        _ACTION: ActionStorage,
        _SYNC_ACTION: SyncActionStorage,
    },
    "ctx.scheduler": {
        _MUTATION: Scheduler,
        _ACTION: ActionScheduler,
        _SYNC_ACTION: SyncActionScheduler,
    },
}
#: What each context is given when it is made.
_GIVEN: Final[dict[type, frozenset[str]]] = {
    QueryCtx: frozenset({"auth", "db", "env", "log"}),
    MutationCtx: frozenset({"auth", "db", "env", "log"}),
    ActionCtx: frozenset({"auth", "env", "log"}),
    SyncActionCtx: frozenset({"auth", "env", "log"}),
}
#: What to do instead.
_INSTEAD: Final = {
    ("ctx", "db"): "Read and write by ctx.run_query and ctx.run_mutation",
    ("ctx", "run_action"): (
        "A mutation has one run once it has committed: ctx.scheduler.run_after(0, …)"
    ),
    ("ctx.storage", "store"): (
        "A client may upload to what ctx.storage.generate_upload_url returns in a mutation, which "
        "may also schedule an action that stores"
    ),
    ("ctx.storage", "get"): (
        "Queries and mutations have no content of files: ctx.storage.get_url says where clients "
        "find it, ctx.storage.get_metadata what is known of it"
    ),
}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a part of a context was asked: its name, and the kind of function."""

    part: str
    kind: str


_PLACES: Final = {
    kind: _Place(part, function)
    for part, kinds in _PARTS.items()
    for function, kind in kinds.items()
}


def where_it_is(error: BaseException) -> str | None:
    """Return what to tell of an attribute that a context does not have; None of any other error."""
    if not isinstance(error, AttributeError) or error.name is None:
        return None
    kind = type(error.obj)
    place = _PLACES.get(kind)
    if place is None:
        return None
    name = error.name
    own = _names(kind)
    others = [
        function
        for function, other in _PARTS[place.part].items()
        if other is not kind and name in _names(other)
    ]
    told = f"{place.part} of {place.kind} has no {name!r}"
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    if snake != name and snake in own:
        return f"{told}: it is {snake!r} in Python"
    if others:
        told += f": {_listed(others, 'and')} {'has' if len(others) == 1 else 'have'} it"
    sentences = [told]
    if others:
        only_reads = "Queries only read" if place.kind == _QUERY else None
        instead = _INSTEAD.get((place.part, name), only_reads)
        sentences += [instead] if instead else []
    return ". ".join([*sentences, f"Here there are {_listed(sorted(own), 'and')}"])


def _names(kind: type) -> frozenset[str]:
    """Return what may be used of a part of a context."""
    public = frozenset(name for name in dir(kind) if not name.startswith("_"))
    return public | _GIVEN.get(kind, frozenset())


def _listed(words: Iterable[str], joined: str) -> str:
    *others, last = words
    return f"{', '.join(others)} {joined} {last}" if others else last
