"""What is fuzzed: each decoder with what it may answer, and what must hold of what it accepts.

A target takes any bytes and raises only if the decoder breaks its word. Its seeds are examples that
it accepts; all are ours.
"""

from __future__ import annotations

import base64
import contextlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from camber import limits
from camber.errors import AuthenticationFailed, BadRequest
from camber.functions.analysis import AnalysedRoute
from camber.functions.routing import RouteTable
from camber.identity.admin_keys import AdminKeys, root_key
from camber.identity.authorization import (
    AdminKey,
    acting_as_of,
    credentials_of_header,
    identity_of_admin_key,
)
from camber.identity.identity import Anonymous, User, identity_key
from camber.identity.key_sets import KeySet, KeySetError
from camber.identity.providers import JwtIssuer, OidcIssuer
from camber.identity.tokens import NotVerified, check_claims, read_token, user_of_token
from camber.occ.cursors import Cursor, CursorCipher, InvalidCursor, cursor_key
from camber.runtime import frames
from camber.runtime.executor import Caller, FunctionCall
from camber.server.client_version import parse_client_header
from camber.sync.messages import MalformedMessage, UnknownMessage, decode_message
from camber.values.ids import InvalidId, decode_id, encode_id
from camber.values.keys import encode_key
from camber.values.packed import pack, unpack
from camber.values.paths import FunctionPath
from camber.values.size import nesting, value_size
from camber.values.value import InvalidValue, Value, canonical
from camber.values.wire import (
    BadJson,
    Format,
    decode_json,
    decode_timestamp,
    encode_format,
    encode_timestamp,
    encode_value,
    from_export,
    from_wire,
)
from tests.identity import issuing

_SECRET = bytes(32)


@dataclass(frozen=True, slots=True)
class Target:
    """A decoder under fuzzing."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


def _text(data: bytes) -> str:
    """Return text as it may reach a decoder, with lone surrogates too."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")


# Values.


def _values(data: bytes) -> None:
    try:
        value = from_wire(decode_json(data))
    except (BadJson, InvalidValue):
        return
    _holds(value)
    # Written and read again it is the same, to the bit.
    again = from_wire(decode_json(encode_value(value)))
    assert pack(again) == pack(value)
    dotted = from_wire(decode_json(encode_format(value, Format.ENCODED)))
    assert pack(dotted) == pack(value)
    encode_format(value, Format.CLEAN)


def _exported(data: bytes) -> None:
    try:
        value = from_export(decode_json(data))
    except (BadJson, InvalidValue):
        return
    _holds(value)
    again = from_export(decode_json(encode_format(value, Format.EXPORT)))
    assert pack(again) == pack(value)


def _holds(value: Value) -> None:
    packed = pack(value)
    assert pack(unpack(packed)) == packed
    assert value_size(value) >= 0
    assert nesting(value) <= limits.value_nesting_max + 1
    key = encode_key([value])
    assert key == encode_key([unpack(packed)])


def _packed(data: bytes) -> None:
    """Bytes of a store whose disk has changed some: an error, or a value; never worse."""
    try:
        value = unpack(data)
    except (msgspec.DecodeError, AssertionError, struct.error, UnicodeDecodeError, RecursionError):
        return
    repr(value)


_VALUES = (
    b'{"a":[1,2.5,null,true,"text",{"b":{"$integer":"AQAAAAAAAAA="}}]}',
    b'{"$bytes":"aGVsbG8="}',
    b'{"$float":"AAAAAAAA+H8="}',
    b'[-0.0,1e308,9007199254740991,"\\u0000\\ud83d\\ude00"]',
)
_PACKED = tuple(pack(from_wire(decode_json(each))) for each in _VALUES)


# Names.


def _ids(data: bytes) -> None:
    text = _text(data)
    try:
        found = decode_id(text)
    except InvalidId:
        return
    assert encode_id(found.table_number, found.internal) == text


def _paths(data: bytes) -> None:
    try:
        found = FunctionPath.parse(_text(data))
    except BadRequest:
        return
    for name in (found.key, found.canonical, found.display):
        assert FunctionPath.parse(name) == found


def _routes(data: bytes) -> None:
    path = "/" + data.decode("latin-1")
    found = _ROUTES.find("GET", path)
    assert found is None or found.route.method in {"GET", "*"}
    for value in () if found is None else found.parameters.values():
        value.encode()
    _ROUTES.find_socket(path)


_ROUTES = RouteTable(
    AnalysedRoute(method=method, path=path)
    for method, path in (("GET", "/a/{x}"), ("GET", "/a/b"), ("GET", "/a/*"), ("*", "/m/*"))
)


def _timestamps(data: bytes) -> None:
    text = _text(data)
    try:
        ts = decode_timestamp(text)
    except BadRequest:
        return
    assert decode_timestamp(encode_timestamp(ts)) == ts


_CIPHER = CursorCipher(cursor_key(_SECRET))


def _cursors(data: bytes) -> None:
    text = _text(data)
    for open_, seal in (
        (_CIPHER.open, _CIPHER.seal),
        (_CIPHER.open_journal, _CIPHER.seal_journal),
    ):
        try:
            found = open_(text)
        except InvalidCursor:
            continue
        assert seal(found) == text


# Messages.


def _messages(data: bytes) -> None:
    for frame in (data, _text(data)):
        try:
            decode_message(frame)
        except (MalformedMessage, UnknownMessage):
            continue


_CONNECT = b"""{"type":"Connect","sessionId":"9cbcd2d1-2a1a-4b0c-8d5e-0f7c2a7a3b55","connectionCount":0,
"lastCloseReason":"InitialConnect","maxObservedTimestamp":"AAAAAAAAAAA=","clientTs":1700000000000}"""
_MODIFY = b"""{"type":"ModifyQuerySet","baseVersion":0,"newVersion":1,"modifications":[{"type":"Add",
"queryId":0,"udfPath":"notes:list","args":[{"board":"b"}],"journal":null},{"type":"Remove","queryId":1}]}"""
_MUTATION = b"""{"type":"Mutation","requestId":0,"udfPath":"notes.js:add","args":[{"board":"b","rank":1.5}]}"""
_ACTION = (
    b"""{"type":"Action","requestId":1,"udfPath":"actions:echo","args":[{}],"componentPath":null}"""
)
_AUTHENTICATE = b"""{"type":"Authenticate","baseVersion":0,"tokenType":"Admin","value":"kitchen|0123",
"impersonating":{"tokenIdentifier":"a|b","issuer":"a","subject":"b"}}"""
MESSAGES = (
    _CONNECT, _MODIFY, _MUTATION, _ACTION, _AUTHENTICATE, b'{"type":"Event","eventType":"x"}',
)  # fmt: skip


# Headers.

_KEYS = AdminKeys(instance_name="kitchen", secret=_SECRET, now_ms=lambda: 0.0, configured=None)


_PROVIDERS = (
    OidcIssuer.of(issuer="https://a", application_id="a", own_site=""),
    JwtIssuer.of(
        issuer="https://a", jwks="https://a/k", algorithm="EdDSA", application_id=None, own_site=""
    ),
)


def _headers(data: bytes) -> None:
    text = data.decode("latin-1")  # as ASGI has them
    with contextlib.suppress(BadRequest, AuthenticationFailed):
        credentials = credentials_of_header(text)
        if isinstance(credentials, AdminKey):
            identity_of_admin_key(credentials.text, _KEYS)
    with contextlib.suppress(BadRequest):
        parse_client_header(text)


def _tokens(data: bytes) -> None:
    with contextlib.suppress(AuthenticationFailed):
        read_token(data.decode("latin-1"))


def _claims(data: bytes) -> None:
    """Whatever a token says, its user is one that can be told apart and shown."""
    text = issuing.assemble({"alg": "EdDSA"}, data, lambda _: b"")
    for provider in _PROVIDERS:
        with contextlib.suppress(AuthenticationFailed, NotVerified):
            token = read_token(text)
            check_claims(token, provider, 0.0)
            identity = User(user_of_token(token, provider))
            assert identity_key(identity)
            assert unpack(pack(canonical(identity.user.to_dict())))


def _key_sets(data: bytes) -> None:
    with contextlib.suppress(KeySetError):
        for key in KeySet.parse(data).keys:
            assert not key.has_signed(b"message", data)


def _acting_as(data: bytes) -> None:
    with contextlib.suppress(BadRequest):
        acting_as_of(decode_json(data))


# Between the server and its executors.


def _frames(data: bytes) -> None:
    whole = frames.FrameBuffer().feed(data)
    pieces = frames.FrameBuffer()
    in_pieces = [body for at in range(len(data)) for body in pieces.feed(data[at : at + 1])]
    assert whole == in_pieces
    for decoder in (frames.to_executor, frames.from_executor):
        for body in (data, *whole):
            _decoded(decoder, body)


def _decoded(decoder: msgspec.msgpack.Decoder[Any], body: bytes) -> None:
    try:
        message = decoder.decode(body)
    except (msgspec.DecodeError, AssertionError, struct.error, UnicodeDecodeError, RecursionError):
        return
    frames.frame(message)


_CALL = FunctionCall(
    path="notes:list",
    arguments=_PACKED[0],
    identity=Anonymous(),
    caller=Caller.CLIENT,
    request_id="0" * 16,
)
_FRAMES = tuple(
    frames.frame(message)
    for message in (
        frames.RunQuery(id=1, call=_CALL, moment=frames.Moment(ts=5, catalog_since=1, now_ns=7)),
        frames.Forget(ids=[1, 2]),
        frames.Stop(grace_s=1.0),
        frames.Exhausted(id=3),
    )
)

_CLAIMS = (
    b'{"iss":"https://a","sub":"s","aud":"a","exp":9,"iat":0,"nbf":0}',
    b'{"iss":"a","sub":"s","aud":["a"],"exp":9,"a":{"b":{"c":[1,2.5,null,1e300]}},"d":12345678901234567890}',
    b'{"iss":"a","sub":"s","aud":"a","exp":9,"updated_at":1,"address":{"formatted":"f"},"email_verified":true}',
)

TARGETS = {
    "values": Target(_values, _VALUES),
    "exported": Target(_exported, (b'{"a":[1,2.5,null,-9223372036854775808]}', *_VALUES)),
    "packed": Target(_packed, _PACKED),
    "ids": Target(
        _ids, (encode_id(10001, bytes(16)).encode(), encode_id(1, b"\xff" * 16).encode())
    ),
    "paths": Target(_paths, (b"notes:list", b"users/admin.js:default", b"a_b.c/d:e1")),
    "routes": Target(_routes, (b"/a/b", b"/a/{x}", b"/%C3%A9/..//", b"/m/x/y?z")),
    "timestamps": Target(_timestamps, (encode_timestamp(2**63).encode(),)),
    "cursors": Target(
        _cursors,
        (
            _CIPHER.seal(Cursor(b"key", b"fingerprint")).encode(),
            _CIPHER.seal_journal(Cursor(None, b"fingerprint")).encode(),
        ),
    ),
    "messages": Target(_messages, MESSAGES),
    "headers": Target(
        _headers,
        (
            b"Bearer token",
            b"Convex " + root_key("kitchen", _SECRET).encode(),
            b"Convex kitchen|0:" + base64.b64encode(b'{"issuer":"a","subject":"b"}'),
            b"npm-cli-1.48.0-alpha.1",
        ),
    ),
    "tokens": Target(_tokens, (issuing.token(issuing.key("EdDSA"), {"iss": "a"}).encode(),)),
    "claims": Target(_claims, _CLAIMS),
    "key_sets": Target(
        _key_sets, tuple(issuing.key_set(issuing.key(each)) for each in issuing.ALGORITHMS)
    ),
    "acting_as": Target(
        _acting_as, (b'{"tokenIdentifier":"a|b","issuer":"a","subject":"b","name":"n"}',)
    ),
    "frames": Target(_frames, _FRAMES),
}
