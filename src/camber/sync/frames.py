"""What the server sends (protocol 3.4): JSON, in text frames of the WebSocket protocol.

Parts that many clients share arrive here as bytes and are joined, never decoded again. A frame
that many clients get is one `bytes`, header included.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import msgspec

from camber import limits
from camber.values.timestamp import Timestamp
from camber.values.wire import encode_json, encode_timestamp

_TEXT = 0x81  # RFC 6455 5.2: a whole message, of text
_HEADER_16 = struct.Struct("!BBH")
_HEADER_64 = struct.Struct("!BBQ")


def framed(text: bytes) -> bytes:
    """Return a message as a server sends it: not masked, in one frame."""
    length = len(text)
    if length < 126:
        return bytes((_TEXT, length)) + text
    if length < 2**16:
        return _HEADER_16.pack(_TEXT, 126, length) + text
    return _HEADER_64.pack(_TEXT, 127, length) + text


def text_of(frame: bytes) -> bytes:
    """Return the message in a frame that `framed` has made."""
    return frame[{126: 4, 127: 10}.get(frame[1], 2) :]


PING = framed(b'{"type":"Ping"}')


class Version(msgspec.Struct, frozen=True, gc=False):
    """What a client's view reflects: its query set, its identity, and the snapshot."""

    query_set: int
    identity: int
    ts: Timestamp

    def at(self, ts: Timestamp) -> Version:
        """Return the version of the same queries and identity at another timestamp."""
        return Version(self.query_set, self.identity, ts)

    def json(self) -> bytes:
        """Return the version as clients have it."""
        return b'{"querySet":%d,"identity":%d,"ts":"%b"}' % (
            self.query_set,
            self.identity,
            _timestamp(self.ts),
        )


@lru_cache(maxsize=64)
def _timestamp(ts: Timestamp) -> bytes:
    # The few newest ones, again and again.
    return encode_timestamp(ts).encode()


#: Where every socket starts.
INITIAL = Version(query_set=0, identity=0, ts=0)


class FailedCall(Protocol):
    """A failed function, as its caller is told."""

    @property
    def message(self) -> str:
        """Return the text."""

    @property
    def data_json(self) -> bytes | None:
        """Return the JSON of an application error's data; None for other errors."""


@dataclass(frozen=True, slots=True)
class ClockReport:
    """How far the client's clock is ahead in milliseconds, and the server's in nanoseconds."""

    skew_ms: int
    server_ns: int


def transition(
    start: Version, end: Version, modifications: list[bytes], clock: ClockReport | None
) -> bytes:
    """Return a Transition. `clock` goes only into those that raise the identity."""
    parts = [
        b'{"type":"Transition","startVersion":',
        start.json(),
        b',"endVersion":',
        end.json(),
        b',"modifications":[',
        b",".join(modifications),
    ]
    if clock is None:
        parts.append(b"]}")
    else:
        parts.append(b'],"clientClockSkew":%d,"serverTs":%d}' % (clock.skew_ms, clock.server_ns))
    return b"".join(parts)


def query_removed(query_id: int) -> bytes:
    """Return the acknowledgement of a removed query."""
    return b'{"type":"QueryRemoved","queryId":%d}' % query_id


def mutation_succeeded(
    request_id: int, result: bytes, ts: Timestamp, log_lines: tuple[str, ...]
) -> bytes:
    """Return the response to a mutation that committed at `ts` with the JSON `result`."""
    return (
        b'{"type":"MutationResponse","requestId":%d,"success":true,"result":%b,"ts":"%b",'
        b'"logLines":%b}' % (request_id, result, _timestamp(ts), _lines(log_lines))
    )


def action_succeeded(request_id: int, result: bytes, log_lines: tuple[str, ...]) -> bytes:
    """Return the response to an action that ended with the JSON `result`."""
    return b'{"type":"ActionResponse","requestId":%d,"success":true,"result":%b,"logLines":%b}' % (
        request_id,
        result,
        _lines(log_lines),
    )


def mutation_failed(request_id: int, failure: FailedCall, log_lines: tuple[str, ...]) -> bytes:
    """Return the response to a mutation that changed nothing."""
    return _failed(b"MutationResponse", request_id, failure, b',"ts":null', log_lines)


def action_failed(request_id: int, failure: FailedCall, log_lines: tuple[str, ...]) -> bytes:
    """Return the response to an action that failed."""
    return _failed(b"ActionResponse", request_id, failure, b"", log_lines)


def _failed(
    kind: bytes, request_id: int, failure: FailedCall, ts: bytes, log_lines: tuple[str, ...]
) -> bytes:
    data = failure.data_json
    return b'{"type":"%b","requestId":%d,"success":false,"result":%b%b,"logLines":%b%b}' % (
        kind,
        request_id,
        encode_json(failure.message),
        ts,
        _lines(log_lines),
        b"" if data is None else b',"errorData":' + data,
    )


def _lines(lines: tuple[str, ...]) -> bytes:
    return encode_json(lines) if lines else b"[]"


def fatal_error(message: str) -> bytes:
    """Return the message after which a client stops for good."""
    return encode_json({"type": "FatalError", "error": message})


def auth_error(message: str, *, base_version: int, attempted: bool) -> bytes:
    """Return the message that makes a client fetch a new token."""
    return encode_json(
        {
            "type": "AuthError",
            "error": message,
            "baseVersion": base_version,
            "authUpdateAttempted": attempted,
        }
    )


def chunks(text: bytes) -> tuple[bytes, ...]:
    """Return the message, or its TransitionChunks if it is large (protocol 3.13)."""
    most = limits.transition_chunk_bytes_max
    if len(text) <= most:
        return (text,)
    parts: list[str] = []
    at = 0
    while at < len(text):
        end = min(at + most, len(text))
        # Back to the start of a character: continuation bytes are 10xxxxxx.
        while end < len(text) and text[end] & 0xC0 == 0x80:
            end -= 1
        parts.append(text[at:end].decode())
        at = end
    return tuple(
        encode_json(
            {
                "type": "TransitionChunk",
                "chunk": part,
                "partNumber": number,
                "totalParts": len(parts),
                "transitionId": str(len(text)),
            }
        )
        for number, part in enumerate(parts)
    )
