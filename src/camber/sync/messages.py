"""What clients send (protocol 3.3)."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, assert_never
from uuid import UUID

import msgspec

from camber import limits
from camber.errors import BadRequest, Overloaded
from camber.values.packed import pack
from camber.values.paths import FunctionPath
from camber.values.timestamp import Timestamp
from camber.values.value import InvalidValue
from camber.values.wire import decode_timestamp, from_wire

U32 = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]


class MalformedMessage(BadRequest):
    """A frame that is no message; a client that sends one is broken."""

    code = "WSMessageInvalidJson"


class UnknownMessage(Exception):  # not an error: it is ignored
    """A message of a type that this server does not know."""


class _Wire(msgspec.Struct, frozen=True, rename="camel"):
    """A message as it is written. Unknown fields are ignored."""


class _Connect(_Wire, frozen=True, tag_field="type", tag="Connect"):
    session_id: UUID
    connection_count: U32 = 0
    last_close_reason: str | None = None
    max_observed_timestamp: str | None = None
    client_ts: int | float | None = None


class _Add(_Wire, frozen=True, tag_field="type", tag="Add"):
    query_id: U32
    udf_path: str
    args: list[Any]
    journal: str | None = None
    component_path: str | None = None


class _Remove(_Wire, frozen=True, tag_field="type", tag="Remove"):
    query_id: U32


class _ModifyQuerySet(_Wire, frozen=True, tag_field="type", tag="ModifyQuerySet"):
    base_version: U32
    new_version: U32
    modifications: list[_Add | _Remove]


class _Request(_Wire, frozen=True, tag_field="type"):
    request_id: U32
    udf_path: str
    args: list[Any]
    component_path: str | None = None


class _Mutation(_Request, frozen=True, tag="Mutation"):
    pass


class _Action(_Request, frozen=True, tag="Action"):
    pass


class _Authenticate(_Wire, frozen=True, tag_field="type", tag="Authenticate"):
    base_version: U32
    token_type: Literal["User", "Admin", "None"]
    value: str | None = None
    impersonating: dict[str, Any] | None = None
    acting_as: dict[str, Any] | None = msgspec.field(default=None, name="acting_as")


class _Event(_Wire, frozen=True, tag_field="type", tag="Event"):
    pass


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A function that a client names, with packed arguments.

    `path` is the function's key. Arguments that encode no value are empty, and `arguments_error`
    says why: the function's failure, not the client's breach of the protocol.
    """

    path: str
    arguments: bytes
    arguments_error: str | None
    component_path: str


class Connect(msgspec.Struct, frozen=True, kw_only=True):
    """The first message on a socket. `session_id` outlives sockets."""

    session_id: str
    max_observed_ts: Timestamp
    client_ms: float | None


class AddQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Subscribe to a query; `journal` is from an earlier subscription to it."""

    query_id: int
    call: Call
    journal: str | None


class RemoveQuery(msgspec.Struct, frozen=True, kw_only=True):
    """End a subscription."""

    query_id: int


class ModifyQuerySet(msgspec.Struct, frozen=True, kw_only=True):
    """Change what the client subscribes to, from one version of it to the next."""

    base_version: int
    new_version: int
    modifications: tuple[AddQuery | RemoveQuery, ...]


class RequestMutation(msgspec.Struct, frozen=True, kw_only=True):
    """Run a mutation, once for each (session id, request id)."""

    request_id: int
    call: Call


class RequestAction(msgspec.Struct, frozen=True, kw_only=True):
    """Run an action."""

    request_id: int
    call: Call


class Authenticate(msgspec.Struct, frozen=True, kw_only=True):
    """Change who the client is. `token` is None to sign out."""

    base_version: int
    kind: Literal["User", "Admin", "None"]
    token: str | None
    acting_as: dict[str, Any] | None


class Telemetry(msgspec.Struct, frozen=True):
    """An event that a client tells of; ignored."""


ClientMessage: TypeAlias = (
    Connect | ModifyQuerySet | RequestMutation | RequestAction | Authenticate | Telemetry
)


class _Typed(msgspec.Struct, frozen=True):
    type: str


_decoder = msgspec.json.Decoder(
    _Mutation | _ModifyQuerySet | _Action | _Authenticate | _Connect | _Event
)
_typed = msgspec.json.Decoder(_Typed)
_TYPES = frozenset({"Mutation", "ModifyQuerySet", "Action", "Authenticate", "Connect", "Event"})


def decode_message(text: str | bytes) -> ClientMessage:
    """Return the message of a frame.

    Raises:
        MalformedMessage: it is not JSON, lacks a field, or names no function.
        UnknownMessage: it is of a type that is not known.
        Overloaded: it has more changes of subscriptions than there may be.
    """
    try:
        return _decode(text)
    except msgspec.DecodeError as error:
        raise MalformedMessage(f"a malformed message: {error}") from None
    except (UnicodeError, RecursionError) as error:
        raise MalformedMessage(f"a malformed message: {error}") from None
    except BadRequest as error:
        raise MalformedMessage(f"a malformed message: {error.sentence}") from None


def _decode(text: str | bytes) -> ClientMessage:
    try:
        wire = _decoder.decode(text)
    except msgspec.ValidationError:
        kind = _typed.decode(text).type
        if kind not in _TYPES:
            raise UnknownMessage(kind) from None
        raise
    match wire:
        case _Mutation():
            return RequestMutation(request_id=wire.request_id, call=_call(wire))
        case _ModifyQuerySet():
            changes = len(wire.modifications)
            if changes > 2 * limits.subscriptions_max:
                # Each of them would be looked at while all others wait.
                msg = (
                    f"{changes} changes of subscriptions in one message; all that one socket may "
                    f"have and had are {2 * limits.subscriptions_max}"
                )
                raise Overloaded(msg, code="TooManySubscriptions")
            return ModifyQuerySet(
                base_version=wire.base_version,
                new_version=wire.new_version,
                modifications=tuple(map(_modification, wire.modifications)),
            )
        case _Action():
            return RequestAction(request_id=wire.request_id, call=_call(wire))
        case _Authenticate():
            return Authenticate(
                base_version=wire.base_version,
                kind=wire.token_type,
                token=wire.value,
                acting_as=wire.impersonating or wire.acting_as,
            )
        case _Connect():
            observed = wire.max_observed_timestamp
            return Connect(
                session_id=str(wire.session_id),
                max_observed_ts=0 if observed is None else decode_timestamp(observed),
                client_ms=wire.client_ts,
            )
        case _Event():
            return Telemetry()
        case _:
            assert_never(wire)


def _modification(wire: _Add | _Remove) -> AddQuery | RemoveQuery:
    if isinstance(wire, _Remove):
        return RemoveQuery(query_id=wire.query_id)
    return AddQuery(query_id=wire.query_id, call=_call(wire), journal=wire.journal)


def _call(wire: _Add | _Request) -> Call:
    arguments, error = packed_arguments(wire.args)
    return Call(
        path=FunctionPath.parse(wire.udf_path).key,
        arguments=arguments,
        arguments_error=error,
        component_path=wire.component_path or "",
    )


def packed_arguments(args: list[Any]) -> tuple[bytes, str | None]:
    """Return the packed arguments of a call, and what is wrong with them if they are no value."""
    if len(args) != 1:
        return (
            b"",
            f"a function takes one object of arguments, and the call has {len(args)} of them",
        )
    try:
        return pack(from_wire(args[0])), None
    except InvalidValue as error:
        return b"", error.sentence
