"""RFC 6455 on our own connections, against the client side of `websockets`."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from camber import limits
from camber.deployment.settings import NetworkLimits
from camber.server.gate import Gate, Place
from camber.server.websocket_connection import LoopTurn, WebSocketConnection
from camber.sync.frames import framed, text_of

TEXTS = st.text(max_size=300) | st.sampled_from(["x" * 125, "x" * 126, "é" * 40_000])


class Receiver:
    """Who takes in what comes, and may hold it."""

    def __init__(self):
        self.connection: Any = None
        self.got = []
        self.room = asyncio.Event()
        self.gone = asyncio.Event()
        self.holds = False
        self.more = asyncio.Event()

    def received(self, text):
        self.got.append(text)
        self.more.set()
        if self.holds:
            self.connection.hold()

    def received_binary(self):
        self.got.append(b"")

    def has_room(self):
        self.room.set()

    def lost(self):
        self.gone.set()

    def stalled(self):
        self.connection.close(1013, "SlowReader")

    def flooded(self):
        self.connection.close(1013, "TooManyMessages")


class Client:
    """The other end of the socket: bytes out, bytes in."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    def send(self, *frames):
        for frame in frames:
            self.writer.write(frame.serialize(mask=True))

    async def frame(self):
        head, length = await self.reader.readexactly(2)
        if length == 126:
            (length,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
        return head & 0x0F, await self.reader.readexactly(length)

    async def closed(self):
        """Return the code with which the server closes, after which there is nothing."""
        opcode, payload = await self.frame()
        assert opcode == Opcode.CLOSE
        return struct.unpack("!H", payload[:2])[0]


def entered(gate):
    place = gate.enter("127.0.0.1")
    assert isinstance(place, Place)
    return place


def connected(test, network=None):
    """Run `test` with both ends of a connection."""
    network = network or NetworkLimits()

    async def main():
        gate = Gate(network, Counter())
        place = entered(gate)
        ours, theirs = socket.socketpair()
        receiver = Receiver()
        connections: set[Any] = set()
        loop = asyncio.get_running_loop()

        def made():
            class Opening(asyncio.Protocol):
                def connection_made(self, transport):
                    receiver.connection = WebSocketConnection(
                        transport, receiver, connections, LoopTurn(), 0.0, network, place
                    )
                    transport.set_protocol(receiver.connection)

            return Opening()

        await loop.create_connection(made, sock=ours)
        client = Client(*await asyncio.open_connection(sock=theirs))
        try:
            await test(receiver, client)
        finally:
            client.writer.close()
            await receiver.gone.wait()
            assert not connections
            assert gate.connections == 0

    asyncio.run(asyncio.wait_for(main(), 30))


@given(TEXTS)
def test_a_frame_holds_its_text(text):
    assert text_of(framed(text.encode())).decode() == text


@settings(max_examples=60)
@given(st.data())
def test_messages_come_whole_and_in_order_however_they_are_cut(data):
    """Fragments with pings between them, cut anywhere on their way."""
    texts = data.draw(st.lists(TEXTS, max_size=5))
    wire = b""
    pings = 0
    for text in texts:
        raw = text.encode()
        cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=3)))
        pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
        for at, piece in enumerate(pieces):
            opcode = Opcode.CONT if at else Opcode.TEXT
            wire += Frame(opcode, piece, fin=at == len(pieces) - 1).serialize(mask=True)
            if data.draw(st.booleans()):
                pings += 1
                wire += Frame(Opcode.PING, b"%d" % pings).serialize(mask=True)
    wire += Frame(Opcode.PING, b"end").serialize(mask=True)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))

    async def test(receiver, client):
        for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True):
            client.writer.write(wire[a:b])
            await client.writer.drain()
            await asyncio.sleep(0)
        answers: list[tuple[int, bytes]] = []
        while not answers or answers[-1] != (Opcode.PONG, b"end"):
            answers.append(await client.frame())
        assert len(answers) == pings + 1
        assert receiver.got == texts

    connected(test)


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (b"\x81\x01x", 1002),
        (b"\x80\x80\0\0\0\0", 1002),
        (b"\xc1\x80\0\0\0\0", 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\x89\xfe\x01\x00\0\0\0\0", 1002),
        (b"\x09\x80\0\0\0\0", 1002),
        (b"\x01\x80\0\0\0\0" + b"\x81\x80\0\0\0\0", 1002),
        (b"\x88\x81\0\0\0\0\x03", 1002),
        (b"\x88\x82\0\0\0\0\x03\xe7", 1002),
        (b"\x81\x81\0\0\0\0\xff", 1007),
        (b"\x81\xff" + struct.pack("!Q", limits.socket_message_bytes_max + 1), 1009),
        (b"\x81\xff" + struct.pack("!Q", 2**63), 1009),
    ],
)
def test_who_breaks_the_rules_is_cut_off(wire, code):
    async def test(receiver, client):
        client.writer.write(wire)
        assert await client.closed() == code
        await receiver.gone.wait()
        assert receiver.got == []
        assert await client.reader.read() == b""

    connected(test)


def test_a_message_in_many_frames_has_a_limit_too():

    async def test(receiver, client):
        client.send(Frame(Opcode.TEXT, b"x" * 60, fin=False), Frame(Opcode.CONT, b"x" * 41))
        assert await client.closed() == 1009

    connected(test, NetworkLimits(message_bytes=100))


def test_binary_messages_are_told_apart():
    async def test(receiver, client):
        client.send(
            Frame(Opcode.BINARY, b"\xff"),
            Frame(Opcode.BINARY, b"a", fin=False),
            Frame(Opcode.CONT, b"b"),
            Frame(Opcode.TEXT, b"x"),
            Frame(Opcode.PING, b""),
        )
        await client.frame()
        assert receiver.got == [b"", b"", "x"]

    connected(test)


def test_a_client_that_closes_is_answered():
    async def test(receiver, client):
        client.send(Frame(Opcode.CLOSE, struct.pack("!H", 1000) + b"bye"))
        assert await client.frame() == (Opcode.CLOSE, struct.pack("!H", 1000) + b"bye")
        await receiver.gone.wait()

    connected(test)


def test_we_close_after_what_was_written_and_take_in_nothing_more():
    async def test(receiver, client):
        receiver.connection.write(framed(b"last"))
        receiver.connection.close(1013, "Reason")
        receiver.connection.write(framed(b"too late"))
        client.send(Frame(Opcode.TEXT, b"too late"))
        assert await client.frame() == (Opcode.TEXT, b"last")
        assert await client.frame() == (Opcode.CLOSE, struct.pack("!H", 1013) + b"Reason")
        assert not receiver.gone.is_set()
        client.send(Frame(Opcode.CLOSE, struct.pack("!H", 1013)))
        await receiver.gone.wait()
        assert receiver.got == []

    connected(test)


def test_a_client_that_does_not_answer_the_close_is_cut_off():
    async def test(receiver, client):
        receiver.connection.close(1000, "")
        receiver.connection.beat(1.0)
        receiver.connection.beat(1.0 + limits.socket_close_s_max)
        assert not receiver.gone.is_set()
        receiver.connection.beat(1.1 + limits.socket_close_s_max)
        await receiver.gone.wait()

    connected(test)


def test_one_who_says_nothing_is_pinged_and_then_cut_off():
    async def test(receiver, client):
        at = limits.socket_ping_frame_s
        receiver.connection.beat(at)
        assert await client.frame() == (Opcode.PING, b"")
        client.send(Frame(Opcode.PONG, b""), Frame(Opcode.PING, b"x"))
        await client.frame()
        receiver.connection.beat(at + 1)
        silent_s = limits.socket_ping_frame_s + limits.socket_pong_s_max
        receiver.connection.beat(at + 1 + silent_s)
        assert not receiver.gone.is_set()
        receiver.connection.beat(at + 2 + silent_s)
        await receiver.gone.wait()

    connected(test)


def test_nothing_is_taken_in_while_it_is_held():
    async def test(receiver, client):
        receiver.holds = True
        client.send(*(Frame(Opcode.TEXT, b"%d" % n) for n in range(5)))
        await client.writer.drain()
        for expected in range(1, 6):
            await receiver.more.wait()
            receiver.more.clear()
            for _ in range(5):
                await asyncio.sleep(0)
            assert len(receiver.got) == expected
            receiver.connection.release()
        assert receiver.got == ["0", "1", "2", "3", "4"]

    connected(test)


def test_many_messages_at_once_leave_turns_to_others(monkeypatch):
    monkeypatch.setattr(limits, "messages_per_turn", 3)

    async def test(receiver, client):
        client.send(*(Frame(Opcode.TEXT, b"%d" % n) for n in range(20)))
        seen = []
        while len(receiver.got) < 20:
            seen.append(len(receiver.got))
            await asyncio.sleep(0)
        assert max(b - a for a, b in zip([0, *seen], [*seen, 20], strict=True)) <= 3
        assert receiver.got == [str(n) for n in range(20)]

    connected(test)


def test_a_reader_that_is_slow_is_noticed():
    async def test(receiver, client):
        frame = framed(b"x" * 100_000)
        written = 0
        while not receiver.connection.is_full:
            receiver.connection.write(frame)
            written += 1
        for _ in range(written):
            assert (await client.frame())[1] == b"x" * 100_000
        await receiver.room.wait()
        assert not receiver.connection.is_full

    connected(test)
