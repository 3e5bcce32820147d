"""The state machine of one client, alone (protocol 3 and 10)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber import limits
from camber.errors import ErrorKind, RequestError
from camber.sync.effects import Close
from tests.sync.client import text_of, ts_of
from tests.sync.world import connected

steps = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(["a", "b", "me"])),
    st.tuples(st.just("remove"), st.integers(0, 9)),
    st.tuples(st.just("write"), st.sampled_from(["a", "b", "c"])),
    st.tuples(st.just("mutate"), st.sampled_from(["a", "b", "c"])),
    st.tuples(st.just("authenticate"), st.sampled_from(["ada", "grace"])),
    st.tuples(st.just("query"), st.integers(0, 9)),
    st.tuples(st.just("mutation"), st.booleans()),
    st.tuples(st.just("commit"), st.none()),
    st.tuples(st.just("deliver"), st.integers(1, 3)),
    st.tuples(st.just("know"), st.booleans()),
    st.tuples(st.just("prompt"), st.booleans()),
    st.tuples(st.just("renew"), st.integers(0, 3)),
)


@given(st.lists(steps, max_size=40))
def test_any_history_leads_to_what_a_fresh_client_would_see(history):
    """Whatever happens in whatever order: one moment at a time, and in the end the newest."""
    world = connected()
    next_id = 0
    for what, how in history:
        if world.verify is not None:
            # Nothing is taken in while it is found out who the client is.
            world.finish_verify()
        match what:
            case "add":
                world.subscribe((next_id, how))
                next_id += 1
            case "remove" if world.subscribed:
                world.subscribe(remove=[sorted(world.subscribed)[how % len(world.subscribed)]])
            case "write":
                world.write(how)
            case "mutate":
                world.mutate(how)
            case "authenticate":
                world.authenticate(how)
            case "query":
                world.finish_query(how)
            case "mutation":
                world.finish_mutation(how)
            case "commit":
                world.commit_mutation()
            case "deliver":
                for _ in range(how):
                    world.deliver()
            case "know":
                world.knows = how
            case "prompt":
                world.prompt = how
            case "renew":
                # Somebody else's run has landed, a while ago.
                world.renew(max(0, world.newest - how))
            case _:
                assert not world.subscribed
    world.settle()
    assert world.closed is None
    assert set(world.books.results) == set(world.subscribed)
    assert world.books.version["querySet"] == world.query_set
    assert world.books.version["identity"] == world.identity
    who = world.session._identity
    for id_, name in world.subscribed.items():
        assert world.books.results[id_] == world.value(name, world.newest, who)
    for request, response in world.books.responses.items():
        assert not response["success"] or request in world.books.settled
    assert len(world.books.responses) == world.sent_requests


def test_the_first_transition_starts_at_zero_and_answers_even_an_empty_set():
    world = connected()
    world.subscribe()
    world.settle()
    assert world.books.version == {"querySet": 1, "identity": 0, "ts": text_of(world.newest)}


def test_a_mutation_is_answered_before_the_transition_that_shows_it():
    world = connected()
    world.subscribe((0, "a"), (1, "b"))
    world.settle()
    world.mutate("a")
    # The commit is visible, and its invalidation arrives, before the response is written.
    world.commit_mutation()
    while world.finish_query():
        pass
    world.finish_mutation()
    kinds = [json.loads(send.frames[0])["type"] for send in world.outbox]
    assert kinds == ["MutationResponse"]
    world.settle()
    assert world.books.settled[0][0] == ["a", 1, None]


def test_every_response_is_followed_by_a_transition():
    world = connected()
    world.subscribe((0, "a"))
    world.settle()
    for succeeds in (True, False):
        before = world.books.transitions
        world.mutate("elsewhere")
        world.finish_mutation(succeeds)
        world.settle()
        assert world.books.transitions == before + 1


def test_mutations_run_one_after_another():
    world = connected()
    for name in ("a", "b", "c"):
        world.mutate(name)
    order = []
    while world.running_mutation is not None:
        order.append(world.running_mutation.request_id)
        world.finish_mutation()
    assert order == [0, 1, 2]


def test_a_slow_client_skips_states():
    world = connected()
    world.subscribe((0, "a"))
    world.settle()
    for _ in range(50):
        world.write("a")
        world.finish_query()
    transitions = [s for s in world.outbox if s.is_transition]
    assert len(transitions) == limits.transitions_unsent_max
    world.settle()
    assert world.books.results[0][1] == 50
    assert world.books.transitions < 10


def test_a_result_that_is_the_same_is_not_sent_again():
    world = connected()
    world.subscribe((0, "a"), (1, "b"))
    world.settle()
    world.write("a")
    world.finish_query()
    (send,) = world.outbox
    assert [m["queryId"] for m in json.loads(send.frames[0])["modifications"]] == [0]
    world.settle()
    world.authenticate("ada")
    world.finish_verify()
    while world.finish_query():
        pass
    (send,) = world.outbox
    message = json.loads(send.frames[0])
    assert message["modifications"] == []
    assert message["endVersion"]["identity"] == 1
    assert message["clientClockSkew"] == 1 - 10**12
    assert isinstance(message["serverTs"], int)


def test_a_removed_query_id_may_be_used_again():
    world = connected()
    world.subscribe((0, "a"))
    world.settle()
    world.subscribe(remove=[0])
    world.subscribe((0, "b"))
    world.settle()
    assert world.books.results == {0: ["b", 0, None]}


def test_a_query_added_and_removed_before_it_was_sent():
    world = connected()
    world.subscribe((0, "a"))
    world.subscribe((1, "b"))
    world.subscribe(remove=[1])
    world.settle()
    assert set(world.books.results) == {0}


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        '{"no": "type"}',
        '{"type": 3}',
        '{"type":"Mutation","requestId":0,"udfPath":"a:b"}',
        '{"type":"Mutation","requestId":-1,"udfPath":"a:b","args":[]}',
        '{"type":"Mutation","requestId":0,"udfPath":"../a:b","args":[{}]}',
        '{"type":"Mutation","requestId":0,"udfPath":"a:b","args":{}}',
        '{"type":"Connect","sessionId":"not a uuid"}',
        '{"type":"ModifyQuerySet","baseVersion":0,"newVersion":1}',
        '{"type":"ModifyQuerySet","baseVersion":5,"newVersion":6,"modifications":[]}',
        '{"type":"ModifyQuerySet","baseVersion":0,"newVersion":0,"modifications":[]}',
        '{"type":"Authenticate","baseVersion":0,"tokenType":"Magic"}',
        "[" * 100_000,
    ],
)
def test_a_broken_client_is_told_and_stopped(message):
    world = connected()
    world.carry_out(world.session.receive(message, world.moment()))
    assert world.closed == Close()
    world.deliver()
    assert world.books.fatal
    # Nothing is taken in any more.
    world.subscribe((0, "a"))
    assert world.outbox == []


@given(st.text(max_size=60))
def test_any_text_is_taken_or_refused(text):
    world = connected()
    world.carry_out(world.session.receive(text, world.moment()))


def test_unknown_messages_and_telemetry_are_ignored():
    world = connected()
    for _ in range(3):
        world.send(type="FromTheFuture", x=1)
        world.send(type="Event", eventType="ClientConnect", event={})
    assert (world.closed, world.outbox) == (None, [])


@pytest.mark.parametrize(
    "changes",
    [
        [{"type": "Remove", "queryId": 7}],
        [{"type": "Add", "queryId": 0, "udfPath": "q:get", "args": [{"name": "a"}]}],
    ],
)
def test_a_client_whose_books_are_wrong_reconnects(changes):
    world = connected()
    world.subscribe((0, "a"))
    world.send(type="ModifyQuerySet", baseVersion=1, newVersion=2, modifications=changes)
    assert world.closed == Close(code=1011, reason="InternalServerError")


def test_a_client_that_has_seen_more_than_the_server_waits():
    from tests.sync.world import World

    world = World()
    world.send(
        type="Connect",
        sessionId="7d1a7a37-9a2e-4c3e-8a43-1f6b5f0f2b11",
        connectionCount=3,
        lastCloseReason=None,
        maxObservedTimestamp=text_of(99),
    )
    assert world.closed == Close(code=1011, reason="InternalServerError")


def test_arguments_that_are_no_value_fail_the_function_not_the_client():
    world = connected()
    wrong: Any = ([{"$integer": 3}], [], [{}, {}], [{"$x": 1}])
    for args in wrong:
        world.send(type="Mutation", requestId=0, udfPath="m:add", args=args)
        assert world.closed is None
    assert world.running_mutation.call.arguments_error


def test_too_many_mutations_close_the_socket(monkeypatch):
    monkeypatch.setattr(limits, "mutations_queued_max", 3)
    world = connected()
    for _ in range(4):
        world.mutate("a")
    assert world.closed == Close(code=1013, reason="TooManyConcurrentMutations")


def test_too_many_actions_close_the_socket(monkeypatch):
    monkeypatch.setattr(limits, "actions_in_flight_max", 3)
    world = connected()
    for request in range(4):
        world.send(type="Action", requestId=request, udfPath="a:b", args=[{}])
    assert world.closed == Close(code=1013, reason="TooManyInflightActionsForSingleClient")


@pytest.mark.parametrize(
    ("kind", "closed", "message"),
    [
        (ErrorKind.BAD_REQUEST, Close(), "FatalError"),
        (ErrorKind.CONFLICT, Close(), "FatalError"),
        (ErrorKind.FORBIDDEN, Close(code=1000, reason="TheCode"), "FatalError"),
        (ErrorKind.PAGINATION_LIMIT, Close(code=1000, reason="TheCode"), "FatalError"),
        (ErrorKind.UNAUTHENTICATED, Close(), "AuthError"),
        (ErrorKind.AUTH_UPDATE_FAILED, Close(), "AuthError"),
        (ErrorKind.NOT_FOUND, Close(code=1000, reason="TheCode"), None),
        (ErrorKind.OVERLOADED, Close(code=1013, reason="TheCode"), None),
        (ErrorKind.WRITE_CONFLICT, Close(code=1013, reason="TheCode"), None),
        (ErrorKind.OUT_OF_RETENTION, Close(code=1013, reason="TheCode"), None),
        (ErrorKind.INTERNAL, Close(code=1011, reason="InternalServerError"), None),
    ],
)
def test_errors_end_a_connection_as_the_protocol_says(kind, closed, message):
    world = connected()
    world.carry_out(world.session.fail(RequestError("why", code="TheCode", kind=kind)))
    assert world.closed == closed
    assert [json.loads(s.frames[0])["type"] for s in world.outbox] == ([message] if message else [])


def test_a_refused_token_names_the_version_before_it():
    world = connected()
    world.authenticate("ada")
    world.finish_verify()
    world.settle()
    world.authenticate("forged")
    world.carry_out(
        world.session.authentication_failed(RequestError("forged", kind=ErrorKind.UNAUTHENTICATED))
    )
    world.deliver()
    assert world.books.auth_error == {
        "type": "AuthError",
        "error": "forged",
        "baseVersion": 1,
        "authUpdateAttempted": True,
    }


def test_large_transitions_come_in_chunks_to_clients_that_know_them(monkeypatch):
    monkeypatch.setattr(limits, "transition_chunk_bytes_max", 100)
    for understands in (True, False):
        world = connected(chunks=understands)
        world.subscribe(*((n, f"naïve-𝄞-{n}") for n in range(20)))
        while world.finish_query():
            pass
        (send,) = world.outbox
        assert (len(send.frames) > 10) == understands
        world.deliver()
        assert len(world.books.results) == 20


def test_a_result_that_lands_late_takes_nobody_back():
    world = connected()
    world.knows = True
    world.subscribe((0, "a"))
    for name in "bbba":
        world.write(name)
    world.settle()
    assert ts_of(world.books.version["ts"]) == 4
    world.prompt = False
    world.write("a")
    world.renew(3)
    world.deliver()
    assert ts_of(world.books.version["ts"]) == 5
    # One that is late, but not too late, will do: the client sees that moment first.
    world.write("a")
    world.write("a")
    world.renew(6)
    world.deliver()
    assert ts_of(world.books.version["ts"]) == 6
    world.settle()
    assert world.books.results[0] == ["a", 4, None]


def test_timestamps_of_transitions_do_not_go_back():
    world = connected()
    world.subscribe((0, "a"))
    last = 0
    for _ in range(5):
        world.write("a")
        world.settle()
        assert ts_of(world.books.version["ts"]) > last
        last = ts_of(world.books.version["ts"])
