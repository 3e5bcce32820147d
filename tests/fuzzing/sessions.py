"""Sessions as clients hold them, and what may become of them on their way to the server.

A session is a list of frames. Each is played to its end: the last frame is always one that no
server may accept, so a server that still listens has to close.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from tests.fuzzing.mutating import mutated
from tests.fuzzing.raw_socket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawSocket

_HUGE: tuple[Any, ...] = (
    2**32, 2**32 - 1, -1, 2**53 + 1, 2**63, 2**64, 2**70, 1.5, 1e308, True, None, "", "0", [], {},
    "x" * 70_000, [[]] * 9000, {"$integer": "AA=="}, {"$bytes": 1}, {"$undefined": None},
)  # fmt: skip
_FLOOD = 60
_DEEP = 3000

Frames = list[bytes]


def recorded(dice: random.Random) -> Frames:
    """Return what a client sends that subscribes, writes, calls, signs in and leaves."""
    session = f"{dice.getrandbits(128):032x}"
    board = f"board {dice.randrange(5)}"
    return [
        json.dumps(message).encode()
        for message in (
            {
                "type": "Connect",
                "sessionId": f"{session[:8]}-{session[8:12]}-4{session[13:16]}-8{session[17:20]}-"
                f"{session[20:]}",
                "connectionCount": 0,
                "lastCloseReason": "InitialConnect",
                "maxObservedTimestamp": "AAAAAAAAAAA=",
                "clientTs": 1_700_000_000_000,
            },
            _modify(0, {"type": "Add", "queryId": 0, "udfPath": "notes:list", "args": [{"board": board, "limit": 3}]}),
            _request("Mutation", 0, "notes:add", {"board": board, "rank": 1.5, "text": "t"}),
            _modify(1, {"type": "Add", "queryId": 1, "udfPath": "counters:read", "args": [{"name": "c"}], "journal": None}),
            _request("Mutation", 1, "notes:add_then_fail", {"board": board}),
            _request("Action", 2, "actions:add_twice", {"board": board}),
            {"type": "Event", "eventType": "ClientConnect", "event": [{"name": "x"}]},
            _modify(2, {"type": "Remove", "queryId": 0}),
            {"type": "Authenticate", "baseVersion": 0, "tokenType": "None"},
            _request("Mutation", 3, "notes:clear", {"board": board}),
        )
    ]  # fmt: skip


def _modify(base: int, *modifications: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "ModifyQuerySet",
        "baseVersion": base,
        "newVersion": base + 1,
        "modifications": list(modifications),
    }


def _request(kind: str, number: int, path: str, args: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "requestId": number, "udfPath": path, "args": [args]}


# What happens to the messages.


def _flip(frames: Frames, dice: random.Random) -> None:
    at = dice.randrange(len(frames))
    frames[at] = mutated([frames[at]], dice)


def _duplicate(frames: Frames, dice: random.Random) -> None:
    frames.insert(dice.randint(0, len(frames)), dice.choice(frames))


def _reorder(frames: Frames, dice: random.Random) -> None:
    one, other = dice.randrange(len(frames)), dice.randrange(len(frames))
    frames[one], frames[other] = frames[other], frames[one]


def _drop(frames: Frames, dice: random.Random) -> None:
    if len(frames) > 1:
        del frames[dice.randrange(len(frames))]


def _wrong_type(frames: Frames, dice: random.Random) -> None:
    """Put something else for one of a message's fields, at any depth."""
    at = dice.randrange(len(frames))
    try:
        message = json.loads(frames[at])
    except (ValueError, RecursionError):
        return
    place = message
    while isinstance(place, dict | list) and place:
        key = dice.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not isinstance(place[key], dict | list) or not place[key] or dice.random() < 0.4:
            place[key] = dice.choice(_HUGE)
            break
        place = place[key]
    frames[at] = json.dumps(message).encode()


def _nest(frames: Frames, dice: random.Random) -> None:
    deep = b"[" * _DEEP + b"]" * _DEEP
    at = dice.randrange(len(frames))
    frames[at] = frames[at].replace(b'"args": [', b'"args": [' + deep + b"," * dice.randint(0, 1))


def _flood(frames: Frames, dice: random.Random) -> None:
    frames.extend([dice.choice(frames)] * dice.randrange(_FLOOD))


_CHANGES: tuple[Callable[[Frames, random.Random], None], ...] = (
    _flip, _duplicate, _reorder, _drop, _wrong_type, _wrong_type, _nest, _flood,
)  # fmt: skip


# What happens to the frames.


def _as_text(socket: RawSocket, data: bytes, dice: random.Random) -> None:
    socket.send(data)


def _as_binary(socket: RawSocket, data: bytes, dice: random.Random) -> None:
    socket.send(data, BINARY)


def _in_fragments(socket: RawSocket, data: bytes, dice: random.Random) -> None:
    """In pieces, with pings between, as RFC 6455 allows; sometimes in an order that it does not."""
    at = dice.randint(0, len(data))
    socket.send(data[:at], fin=False)
    if dice.random() < 0.5:
        socket.send(b"between", PING)
    socket.send(data[at:], CONTINUATION if dice.random() < 0.8 else TEXT)


def _as_no_text(socket: RawSocket, data: bytes, dice: random.Random) -> None:
    socket.send(data[:-1] + dice.choice((b"\xed\xa0\x80", b"\xff", b"\xc3")))


def _against_the_rules(socket: RawSocket, data: bytes, dice: random.Random) -> None:
    dice.choice(
        (
            lambda: socket.send(data, masked=False),
            lambda: socket.send(data, reserved=4),
            lambda: socket.send(data, 3),
            lambda: socket.send(bytes(200), PING),
            lambda: socket.send(b"", CONTINUATION),
            lambda: socket.send(b"\x03", CLOSE),
            lambda: socket.send(b"\x00\x01bad", CLOSE),
            lambda: socket.send(b"", PONG),
            # A frame that says it is larger than any may be.
            lambda: socket.send_raw(b"\x81\xff" + (2**62).to_bytes(8, "big") + bytes(4)),
        )
    )()


_SENDINGS: tuple[Callable[[RawSocket, bytes, random.Random], None], ...] = (
    _as_binary, _in_fragments, _in_fragments, _as_no_text, _against_the_rules,
)  # fmt: skip


def play(url: str, dice: random.Random) -> RawSocket:
    """Play one session with a few things gone wrong; return the socket, read to its end."""
    frames = recorded(dice)
    for _ in range(dice.randint(0, 3)):
        dice.choice(_CHANGES)(frames, dice)
    odd = dice.randrange(len(frames)) if dice.random() < 0.4 else None
    socket = RawSocket(url, dice.choice(("/api/1.48.0/sync", "/api/sync", "/api/1.0.0/sync")))
    for at, data in enumerate(frames):
        send = dice.choice(_SENDINGS) if at == odd else _as_text
        send(socket, data, dice)
    if dice.random() < 0.1:
        # It goes without a word, perhaps half way through one.
        socket.send_raw(b"\x81\xfe\x10"[: dice.randint(0, 3)])
        socket.close()
        return socket
    socket.send(b"{")
    socket.read_to_end()
    return socket
