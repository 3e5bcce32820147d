"""Vector searches of actions, which have no transaction: the server makes one for each.

It is run as a query is, at the newest snapshot, where queries run. It is in no cache and in no log:
vectors are seldom searched for twice, and it is part of what the action does.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias, cast

import msgspec

from camber.errors import DeveloperError, FunctionError
from camber.functions.database import DatabaseAccess, nearest_documents
from camber.functions.vector_search import VectorHit, VectorSearch
from camber.runtime.executor import Caller, FunctionCall, Origin
from camber.schema.annotations import Id

#: What actions ask of the server. No client reaches it: it is no function.
_SEARCH: Final = "_system/vectors:search"


class _Found(msgspec.Struct, frozen=True, tag="found"):
    """Ids and scores."""

    hits: list[tuple[str, float]]


class _Refused(msgspec.Struct, frozen=True, tag="refused"):
    """Why nothing could be looked for."""

    code: str
    sentence: str


_Answer: TypeAlias = _Found | _Refused
_ASKED: Final = msgspec.msgpack.Decoder(VectorSearch)
_ANSWER: Final = msgspec.msgpack.Decoder(_Answer)


def search_call(asking: FunctionCall, asked: VectorSearch) -> FunctionCall:
    """Return the call by which an action searches."""
    return FunctionCall(
        path=_SEARCH,
        component=asking.component,
        # Plain numbers, finite ones: as values they would be made canonical first.
        arguments=msgspec.msgpack.encode(asked),
        identity=asking.identity,
        caller=Caller.APPLICATION,
        request_id=asking.request_id,
        origin=Origin.ACTION,
        parent_execution_id=asking.execution_id,
        traceparent=asking.traceparent,
        job=asking.job,
    )


def is_vector_search(call: FunctionCall) -> bool:
    """Return whether an action asks the server to search."""
    return call.origin is Origin.ACTION and call.path == _SEARCH


def carry_out(access: DatabaseAccess, call: FunctionCall) -> bytes:
    """Do what an action asks; return the packed answer."""
    answer: _Answer
    try:
        hits = nearest_documents(access, _ASKED.decode(call.arguments))
        answer = _Found([(hit.id, hit.score) for hit in hits])
    except DeveloperError as error:
        answer = _Refused(error.code, error.sentence)
    return msgspec.msgpack.encode(answer)


def hits_of(packed: bytes | None) -> list[VectorHit[Any]]:
    """Return what was found.

    Raises:
        DeveloperError: nothing could be looked for.
        FunctionError: it was not looked for.
    """
    if packed is None:
        msg = "the server could not search: the release that has the action serves no more"
        raise FunctionError(msg)
    answer = _ANSWER.decode(packed)
    if isinstance(answer, _Refused):
        raise DeveloperError(answer.sentence, code=answer.code)
    return [VectorHit(cast("Id[Any]", id_), score) for id_, score in answer.hits]
