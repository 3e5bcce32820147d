import asyncio
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from camber.server.http_connection import JoinedWrites


class Wire:
    """A transport that keeps what it is told."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.closed_after: int | None = None

    def write(self, data: bytes) -> None:
        assert self.closed_after is None
        self.pieces.append(data)

    def is_closing(self) -> bool:
        return self.closed_after is not None

    def close(self) -> None:
        self.closed_after = len(self.pieces)


async def written(turns: list[list[bytes]]) -> Wire:
    """Return what arrives of the pieces that are written in each turn of the loop."""
    wire = Wire()
    transport = JoinedWrites(cast("Any", wire), asyncio.get_running_loop())
    for pieces in turns:
        for piece in pieces:
            transport.write(piece)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    transport.close()
    assert transport.is_closing()
    return wire


@given(turns=st.lists(st.lists(st.binary(min_size=1, max_size=3), max_size=4), max_size=4))
def test_all_that_is_written_arrives_in_order_and_before_the_end(turns):
    wire = asyncio.run(written(turns))
    assert b"".join(wire.pieces) == b"".join(b"".join(pieces) for pieces in turns)
    assert wire.closed_after == len(wire.pieces)


def test_a_head_and_its_body_are_one_piece():
    assert asyncio.run(written([[b"head", b"body", b"more"]])).pieces == [b"headbody", b"more"]


def test_a_head_whose_body_is_not_there_yet_does_not_wait_for_it():
    assert asyncio.run(written([[b"head"], [b"body"]])).pieces == [b"head", b"body"]


def test_a_head_without_a_body_is_written_before_the_connection_closes():
    async def closed() -> Wire:
        wire = Wire()
        transport = JoinedWrites(cast("Any", wire), asyncio.get_running_loop())
        transport.write(b"head")
        transport.close()
        return wire

    wire = asyncio.run(closed())
    assert (wire.pieces, wire.closed_after) == ([b"head"], 1)
