"""Clients that take more than they may, or take in too little: each is told so, and others notice nothing."""

from __future__ import annotations

import json
import select
import socket
import threading
from urllib.parse import urlsplit

import httpx
import pytest

from camber import limits
from camber.deployment.settings import NetworkLimits
from camber.server import gate, sync_socket
from tests.fuzzing.raw_socket import BINARY, PING, RawSocket
from tests.server.in_thread import ServerInThread

MODULES = {
    "schema": """
        from camber import Table

        class Note(Table, table="notes"):
            text: str
    """,
    "code": """
        import asyncio
        from camber import *
        from .schema import Note

        @query
        def texts(ctx: QueryCtx) -> list[str]:
            return [note.text for note in ctx.db.query(Note).collect()]

        @query
        def echo(ctx: QueryCtx, text: str) -> str:
            return text

        @mutation
        def put(ctx: MutationCtx, text: str) -> str:
            for note in ctx.db.query(Note).collect():
                ctx.db.delete(note.id)
            ctx.db.insert(Note(text=text))
            return text

        @mutation
        def later(ctx: MutationCtx) -> None:
            ctx.scheduler.run_after(3600, put, text="late")

        @action
        async def repeated(ctx: ActionCtx, times: int) -> str:
            return "x" * times

        @action
        async def slow(ctx: ActionCtx, text: str) -> None:
            await asyncio.sleep(60)
    """,
}
_SESSION = "7d1a7a37-9a2e-4c3e-8a43-1f6b5f0f2b11"


@pytest.fixture
def fast_beats(monkeypatch):
    """Limits that are about seconds are about tenths of them."""
    monkeypatch.setattr(sync_socket, "_BEAT_S", 0.05)
    monkeypatch.setattr(gate, "_BEAT_S", 0.05)
    for name in ("stalled_s_max", "http_head_s_max", "socket_close_s_max"):
        monkeypatch.setattr(limits, name, 0.4)
    monkeypatch.setattr(limits, "slowest_bytes_per_s", 2**30)


@pytest.fixture
def serve(tmp_path):
    def serve(**network):
        return ServerInThread(tmp_path / "app", network=NetworkLimits(**network), **MODULES)

    return serve


def message(**fields):
    return json.dumps(fields).encode()


CONNECT = message(type="Connect", sessionId=_SESSION, connectionCount=0, clientTs=0)


def request(kind, number, path, **args):
    return message(type=kind, requestId=number, udfPath=path, args=[args])


def subscribed(*queries, base=0):
    return message(
        type="ModifyQuerySet",
        baseVersion=base,
        newVersion=base + 1,
        modifications=[
            {"type": "Add", "queryId": number, "udfPath": path, "args": [args]}
            for number, (path, args) in enumerate(queries)
        ],
    )


def told(server):
    """Wait until the server serves others, and return what a query says."""
    return server.call("query", "code:echo", {"text": "still here"}) == "still here"


# Floods.


@pytest.mark.parametrize(
    ("payload", "options"),
    [
        (message(type="Event", eventType="x", event=None), {}),
        (b"", {"opcode": PING}),
        (b"", {"opcode": BINARY, "fin": False}),
    ],
)
def test_more_messages_than_one_may_send_end_the_socket(serve, payload, options):
    with serve(messages_per_s=50) as server:
        client = RawSocket(server.url)
        client.send(CONNECT)
        for _ in range(50 * limits.socket_burst_s + 100):
            client.send(payload, **options)
        client.read_to_end()
        assert client.closed in {1013, 1002}
        assert client.closed == 1002 or server.refused("TooManyMessages") == 1
        assert told(server)


def test_many_bytes_count_as_many_messages(serve):
    event = message(type="Event", eventType="x" * 1024 * 1024, event=None)
    with serve(messages_per_s=50) as server:
        client = RawSocket(server.url)
        client.send(CONNECT)
        for _ in range(6):
            client.send(event)
        client.read_to_end()
        assert client.closed == 1013
        assert server.refused("TooManyMessages") == 1


def test_a_burst_that_is_allowed_is_served(serve):
    with serve(messages_per_s=50) as server:
        client = RawSocket(server.url)
        client.send(CONNECT)
        for _ in range(50 * limits.socket_burst_s - 10):
            client.send(message(type="Event", eventType="x", event=None))
        client.send(request("Mutation", 0, "code:put", text="done"))
        while not any(each["type"] == "MutationResponse" for each in client.messages):
            assert client._read_frame()
        client.close()
        assert server.refused("TooManyMessages") == 0


def test_no_bound_is_none(serve):
    with serve(messages_per_s=0) as server:
        client = RawSocket(server.url)
        client.send(CONNECT)
        for _ in range(20_000):
            client.send(message(type="Event", eventType="x", event=None))
        client.send(request("Mutation", 0, "code:put", text="done"))
        while not any(each["type"] == "MutationResponse" for each in client.messages):
            assert client._read_frame()
        client.close()


def test_a_giant_message_is_refused_by_its_head(serve):
    with serve(message_bytes=2**20) as server:
        client = RawSocket(server.url)
        client.send_raw(b"\x81\xff" + (2**20 + 1).to_bytes(8) + b"\0\0\0\0")
        client.read_to_end()
        assert client.closed == 1009
        assert told(server)


def test_more_subscriptions_than_one_may_have_end_the_socket(serve, monkeypatch):
    monkeypatch.setattr(limits, "subscriptions_max", 20)
    echoes = [("code:echo", {"text": str(number)}) for number in range(21)]
    with serve() as server:
        for sent in (
            [subscribed(*echoes)],
            [subscribed(*echoes[:20]), subscribed(echoes[20], base=1)],
        ):
            client = RawSocket(server.url)
            client.send(CONNECT)
            for each in sent:
                client.send(each)
            client.read_to_end()
            assert client.closed == 1013
        assert server.refused("TooManySubscriptions") == 2
        client = RawSocket(server.url)
        client.send(CONNECT)
        client.send(subscribed(*echoes[:20]))
        while not client.messages:
            assert client._read_frame()
        client.close()


def test_a_message_of_too_many_changes_is_not_looked_at(serve, monkeypatch):
    monkeypatch.setattr(limits, "subscriptions_max", 20)
    removed = [{"type": "Remove", "queryId": 0}] * 41
    with serve() as server:
        client = RawSocket(server.url)
        client.send(CONNECT)
        client.send(
            message(type="ModifyQuerySet", baseVersion=0, newVersion=1, modifications=removed)
        )
        client.read_to_end()
        assert client.closed == 1013
        assert server.refused("TooManySubscriptions") == 1


def test_large_arguments_of_subscriptions_are_bounded_together(serve, monkeypatch):
    monkeypatch.setattr(limits, "arguments_waiting_bytes_max", 500_000)
    with serve() as server:
        client = RawSocket(server.url)
        client.send(CONNECT)
        for number in range(12):
            added = {
                "type": "Add",
                "queryId": number,
                "udfPath": "code:echo",
                "args": [{"text": f"{number}" + "x" * 100_000}],
            }
            removed = [{"type": "Remove", "queryId": number - 1}] if 0 < number < 6 else []
            client.send(
                message(
                    type="ModifyQuerySet",
                    baseVersion=number,
                    newVersion=number + 1,
                    modifications=[*removed, added],
                )
            )
            while number < 6 and len(client.messages) <= number:
                assert client._read_frame()
        client.read_to_end()
        assert client.closed == 1013
        assert server.refused("TooManySubscriptions") == 1
        assert told(server)


def test_more_mutations_than_may_wait_end_the_socket(serve):
    with serve() as server:
        client = RawSocket(server.url)
        client.send(CONNECT)
        # In one piece, so that they come faster than they are done.
        client.send_raw(
            b"".join(
                _framed(request("Mutation", number, "code:put", text="x" * 50))
                for number in range(limits.mutations_queued_max * 4)
            )
        )
        client.read_to_end()
        assert client.closed == 1013
        assert server.refused("TooManyConcurrentMutations") == 1
        assert told(server)


def test_a_mutation_that_may_schedule_no_more_fails_and_the_socket_goes_on(serve, monkeypatch):
    monkeypatch.setattr(limits, "functions_waiting_max", 1)
    with serve() as server:
        client = RawSocket(server.url)
        client.send(CONNECT)
        for number, path in enumerate(("code:later", "code:later")):
            client.send(request("Mutation", number, path))
        client.send(request("Mutation", 2, "code:put", text="done"))
        while sum(each["type"] == "MutationResponse" for each in client.messages) < 3:
            assert client._read_frame()
        client.close()
        answers = [each for each in client.messages if each["type"] == "MutationResponse"]
        assert [each["success"] for each in answers] == [True, False, True]
        assert "code:later cannot schedule a function more" in answers[1]["result"]
        assert server.metric("camber_scheduled_waiting") == 1


@pytest.mark.parametrize(
    ("kind", "path", "code"),
    [
        ("Mutation", "code:put", "TooManyConcurrentMutations"),
        ("Action", "code:slow", "TooManyInflightActionsForSingleClient"),
    ],
)
def test_large_arguments_that_wait_are_bounded_together(serve, monkeypatch, kind, path, code):
    monkeypatch.setattr(limits, "arguments_waiting_bytes_max", 500_000)
    with serve() as server:
        client = RawSocket(server.url)
        client.send(CONNECT)
        client.send_raw(
            b"".join(_framed(request(kind, each, path, text="x" * 100_000)) for each in range(12))
        )
        client.read_to_end()
        assert client.closed == 1013
        assert server.refused(code) == 1
        assert told(server)


def _framed(payload):
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    else:
        length = b"\xfe" + size.to_bytes(2) if size < 2**16 else b"\xff" + size.to_bytes(8)
    return b"\x81" + length + b"\0\0\0\0" + payload


# Connections.


def connected(server):
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port), 10)


def head_of(connection, request):
    connection.sendall(request)
    return _all_of(connection)


def _all_of(connection):
    """Return what comes until the server hangs up, however it does."""
    answer = b""
    try:
        while part := connection.recv(65536):
            answer += part
    except ConnectionResetError:
        pass
    return answer


_GET = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
_HANDSHAKE = (
    b"GET /api/1.48.0/sync HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.mark.parametrize("asked", [_GET, _HANDSHAKE])
@pytest.mark.parametrize(
    ("network", "status", "code"),
    [
        ({"connections": 3}, b"503", "TooManyConnections"),
        (
            {"connections_per_address": 3, "proxies": frozenset()},
            b"429",
            "TooManyConnectionsFromAddress",
        ),
    ],
)
def test_one_connection_too_many_is_told_so(serve, asked, network, status, code):
    with serve(**network) as server:
        held = [RawSocket(server.url) for _ in range(2)] + [connected(server)]
        held[2].sendall(_GET)
        assert held[2].recv(65536).startswith(b"HTTP/1.1 200")
        with connected(server) as refused:
            answer = head_of(refused, asked)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == code
        assert b"3 connections" in answer
        for each in held:
            each.close()
        # Those that are gone make room, sockets too.
        _wait_for(lambda: _is_let_in(server))
        assert server.refused(code) >= 1


def _is_let_in(server):
    with connected(server) as client:
        client.sendall(_HANDSHAKE)
        return client.recv(65536).startswith(b"HTTP/1.1 101")


def test_a_proxy_is_not_one_client(serve):
    with serve(connections_per_address=2) as server:
        held = [RawSocket(server.url) for _ in range(5)]
        assert told(server)
        for each in held:
            each.close()


def test_more_than_can_be_told_are_cut_off(serve, monkeypatch):
    monkeypatch.setattr(limits, "connections_refused_max", 2)
    with serve(connections=1) as server, connected(server) as held:
        held.sendall(_GET)
        assert held.recv(65536).startswith(b"HTTP/1.1 200")
        waiting = [connected(server) for _ in range(2)]
        with connected(server) as cut_off:
            assert cut_off.recv(1) == b""
        for each in waiting:
            assert head_of(each, _GET).startswith(b"HTTP/1.1 503")
            each.close()


# HTTP.


def test_a_body_that_is_too_large_is_refused(serve):
    with serve(body_bytes=10_000) as server:
        url = f"{server.url}/api/query"
        call = {"path": "code:echo", "args": {"text": "x" * 10_000}}
        whole = httpx.post(url, json=call)
        assert (whole.status_code, whole.json()["code"]) == (413, "BodyTooLarge")
        assert "10000 bytes" in whole.json()["message"]
        # Before it is sent, where its size is told.
        with connected(server) as early:
            head = b"POST /api/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            early.sendall(head + b"Content-Length: 99999999999999999999\r\n\r\n")
            assert early.recv(65536).split()[1] in {b"413", b"400"}
        with connected(server) as early:
            early.sendall(head + b"Content-Length: 10001\r\n\r\n")
            assert early.recv(65536).startswith(b"HTTP/1.1 413")
        pieces = httpx.post(
            url,
            content=(b" " * 1000 for _ in range(20)),
            headers={"Content-Type": "application/json"},
        )
        assert pieces.status_code == 413
        assert server.refused("BodyTooLarge") >= 3
        assert told(server)


def test_all_bodies_together_are_bounded(serve, monkeypatch):
    monkeypatch.setattr(limits, "http_bodies_bytes_max", 250_000)
    head = (
        b"POST /api/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: 200000\r\n\r\n"
    )
    with serve() as server:
        first, second = connected(server), connected(server)
        first.sendall(head + b" " * 150_000)
        second.sendall(head + b" " * 150_000)
        # Whichever came second is refused; the other goes on.
        (refused,), _, _ = select.select([first, second], [], [], 10)
        other = second if refused is first else first
        answer = refused.recv(65536)
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"TooManyBytesAtOnce" in answer
        other.sendall(b" " * 50_000)
        assert other.recv(65536).startswith(b"HTTP/1.1 400")
        for each in (first, second):
            each.close()
        assert server.refused("TooManyBytesAtOnce") == 1
        assert told(server)


@pytest.mark.parametrize("more", [b"/" * 10_000, b" HTTP/1.1\r\nX: " + b"x" * 10_000])
def test_a_handshake_that_is_too_long_is_told_so(serve, more):
    with serve() as server:
        with connected(server) as client:
            line, _, rest = _HANDSHAKE.partition(b" HTTP/1.1\r\n")
            head = line + more + (b" HTTP/1.1" if more.startswith(b"/") else b"") + b"\r\n" + rest
            answer = head_of(client, head)
        assert answer.split()[1] in {b"404", b"414", b"431"}, answer
        assert told(server)


@pytest.mark.parametrize("sent", [b"", b"GET /ver", b"GET / HTTP/1.1\r\nX: ", _GET + b"GET /x"])
def test_a_head_that_does_not_come_ends_the_connection(serve, fast_beats, sent):
    with serve() as server:
        with connected(server) as slow:
            slow.sendall(sent)
            answer = _all_of(slow)
        assert answer.count(b"HTTP/1.1 408") == bool(sent)
        assert server.refused("RequestTimeout") >= 1


def test_a_head_without_end_ends_the_connection(serve):
    with serve() as server:
        with connected(server) as endless:
            endless.sendall(b"GET / HTTP/1.1\r\n")
            lines = b"".join(b"x-%d: y\r\n" % each for each in range(30_000))
            try:
                endless.sendall(lines)
                answer = _all_of(endless)
            except ConnectionError:
                answer = None
            assert answer is None or answer.startswith(b"HTTP/1.1 431")
        assert server.refused("HeadersTooLarge") == 1
        assert told(server)


def test_a_body_that_does_not_come_ends_the_connection(serve, fast_beats):
    with serve() as server:
        with connected(server) as slow:
            slow.sendall(
                b"POST /api/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: 100\r\n\r\n{"
            )
            assert _all_of(slow).startswith(b"HTTP/1.1 408")
        assert server.refused("RequestTimeout") >= 1


def test_an_answer_that_is_not_taken_in_ends_the_connection(serve, fast_beats):
    with serve() as server:
        with connected(server) as slow:
            body = b"x" * (12 * 2**20)
            head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
            slow.sendall(head % len(body) + body)
            _wait_for(lambda: server.refused("SlowReader") == 1)
        assert told(server)


def test_answers_that_are_not_taken_in_are_bounded_together(serve, fast_beats, monkeypatch):
    monkeypatch.setattr(limits, "stalled_s_max", 60.0)
    monkeypatch.setattr(limits, "http_answers_bytes_max", 20 * 2**20)
    with serve() as server:
        held = [connected(server) for _ in range(3)]
        body = b"x" * (12 * 2**20)
        for each in held:
            each.sendall(
                b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
            )
            each.sendall(body)
        _wait_for(lambda: server.refused("SlowReader") >= 1)
        assert told(server)
        for each in held:
            each.close()


def _wait_for(condition):
    done = threading.Event()
    for _ in range(400):
        if condition():
            return
        done.wait(0.025)
    raise AssertionError("it did not come to be")


# Slow readers.


def test_a_client_that_reads_nothing_skips_states_and_is_then_dropped(
    serve, fast_beats, monkeypatch
):
    monkeypatch.setattr(limits, "stalled_s_max", 60.0)
    with serve() as server:
        # Others look at the same and read: what is pushed to all of them at once is skipped here, too.
        client, *others = [RawSocket(server.url) for _ in range(4)]
        for each in (client, *others):
            each.send(CONNECT)
            each.send(subscribed(("code:texts", {})))
            while not each.messages:
                assert each._read_frame()
        readers = [threading.Thread(target=each.read_to_end, daemon=True) for each in others]
        for reader in readers:
            reader.start()
        states = 30
        for number in range(states):
            server.call("mutation", "code:put", {"text": f"{number:03}" + "x" * 900_000})
        # What waits is two states and what the network holds, not thirty.
        held = server.metric("camber_sync_held_bytes")
        assert 0 < held < 6 * 2**20, held
        while not _shows(client, states - 1):
            assert client._read_frame()
        shown = sum(message["type"] == "Transition" for message in client.messages)
        assert shown < states
        # Once more, and it never reads again.
        monkeypatch.setattr(limits, "stalled_s_max", 0.3)
        for number in range(states, 2 * states):
            server.call("mutation", "code:put", {"text": f"{number:03}" + "x" * 900_000})
        _wait_for(lambda: server.refused("SlowReader") == 1)
        _wait_for(lambda: server.metric("camber_sync_sockets") == len(others))
        client.close()
        _wait_for(lambda: all(_shows(each, 2 * states - 1) for each in others))
        assert told(server)
    for reader in readers:
        reader.join(10)


def _shows(client, number):
    changes = client.messages[-1].get("modifications", ())
    return any(text.startswith(f"{number:03}") for each in changes for text in each["value"])


def test_answers_to_a_client_that_reads_nothing_are_bounded(serve, fast_beats, monkeypatch):
    monkeypatch.setattr(limits, "stalled_s_max", 60.0)
    monkeypatch.setattr(limits, "socket_close_s_max", 10.0)
    monkeypatch.setattr(limits, "answers_unsent_bytes_max", 8 * 2**20)
    with serve() as server:
        client = RawSocket(server.url)
        client.send(CONNECT)
        for number in range(30):
            client.send(request("Action", number, "code:repeated", times=2**20))
        _wait_for(lambda: server.refused("SlowReader") == 1)
        client.read_to_end()
        assert client.closed == 1013
        assert told(server)


def test_what_is_held_for_all_sockets_is_bounded(serve, fast_beats, monkeypatch):
    monkeypatch.setattr(limits, "stalled_s_max", 60.0)
    monkeypatch.setattr(limits, "sockets_bytes_max", 3 * 2**20)
    half = b"\x81\xff" + (4 * 2**20).to_bytes(8) + b"\0\0\0\0"
    with serve() as server:
        small, large = RawSocket(server.url), RawSocket(server.url)
        small.send_raw(half + b" " * 2**20)
        large.send_raw(half + b" " * (3 * 2**20))
        large.read_to_end()
        assert large.closed == 1013
        assert server.refused("TooManyBytesHeld") == 1
        small.send(b"", PING)
        assert server.metric("camber_sync_sockets") == 1
        small.close()
