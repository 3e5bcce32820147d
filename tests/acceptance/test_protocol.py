"""The sync protocol on a real socket, where official clients do not go (protocol 3 and 10)."""

from __future__ import annotations

import hashlib
import json
import uuid

import pytest
from websockets.exceptions import InvalidStatus

from tests.acceptance.sockets import raw_client
from tests.servers import ADMIN_KEY
from tests.sync.client import ts_of


@pytest.fixture
def board():
    return str(uuid.uuid4())


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/1.48.0/sync", {}),
        ("/api/1.48.0-alpha.1/sync", {}),
        ("/api/sync", {"Convex-Client": "python-0.8.1"}),
        ("/api/sync", {}),
    ],
)
def test_both_addresses_are_served(kitchen, path, headers):
    with raw_client(kitchen, path, **headers) as client:
        client.connect()
        client.subscribe()
        client.until(lambda: client.version["querySet"] == 1)


def test_a_version_that_is_none_is_refused(kitchen):
    for path, headers in (("/api/abc/sync", {}), ("/api/sync", {"Convex-Client": "x"})):
        with pytest.raises(InvalidStatus) as refused, raw_client(kitchen, path, **headers):
            pass
        assert refused.value.response.status_code == 400
        assert json.loads(refused.value.response.body)["code"] == "InvalidClientVersion"


def test_a_mutation_sent_again_runs_once(kitchen, board):
    """Killed after the commit and before the reply: the client cannot tell, and asks again."""
    session = str(uuid.uuid4())
    with raw_client(kitchen) as client:
        client.connect(session)
        client.mutate(0, "counters:increment", {"name": board})
        client.until(lambda: 0 in client.responses)
        first = client.responses[0]
    for _ in range(2):
        with raw_client(kitchen) as client:
            client.connect(session)
            client.mutate(0, "counters:increment", {"name": board})
            client.until(lambda: 0 in client.responses)
            assert client.responses[0] == first
    assert kitchen.value("query", "counters:read", {"name": board}) == 1


def test_the_record_of_a_mutation_survives_a_restart(own_kitchen, board):
    session = str(uuid.uuid4())
    with raw_client(own_kitchen) as client:
        client.connect(session)
        client.mutate(0, "notes:add", {"board": board, "rank": 1})
        client.until(lambda: 0 in client.responses)
        first = client.responses[0]
        assert first["logLines"] == ["[LOG] 'adding' 1.0"]
    own_kitchen.kill()
    own_kitchen.start()
    with raw_client(own_kitchen) as client:
        client.connect(session, observed=ts_of(first["ts"]))
        client.mutate(0, "notes:add", {"board": board, "rank": 1})
        client.until(lambda: 0 in client.settled)
        assert client.responses[0] == first
    assert own_kitchen.value("query", "notes:count", {"board": board}) == 1


def test_a_failed_mutation_is_not_recorded(kitchen, board):
    session = str(uuid.uuid4())
    for _ in range(2):
        with raw_client(kitchen) as client:
            client.connect(session)
            client.mutate(0, "notes:add_then_fail", {"board": board})
            client.until(lambda: 0 in client.responses)
            assert client.responses[0]["errorData"] == {"code": "CHANGED_MIND"}
            client.mutate(1, "notes:add", {"board": board, "rank": 1})
            client.until(lambda: 1 in client.responses)
    assert kitchen.value("query", "notes:count", {"board": board}) == 1


def test_another_session_is_another_client(kitchen, board):
    for _ in range(2):
        with raw_client(kitchen) as client:
            client.connect()
            client.mutate(0, "counters:increment", {"name": board})
            client.until(lambda: 0 in client.responses)
    assert kitchen.value("query", "counters:read", {"name": board}) == 2


def test_the_request_id_of_a_mutation_is_the_same_on_every_retry(kitchen):
    session = str(uuid.uuid4())
    expected = hashlib.sha256(f"{session}|7".encode()).hexdigest()[:16]
    with raw_client(kitchen) as client:
        client.connect(session)
        client.mutate(7, "nowhere:nothing", {})
        client.until(lambda: 7 in client.responses)
    first, headline, end = client.responses[7]["result"].split("\n")
    assert first == f"[Request ID: {expected}] Server Error"
    assert headline.startswith("Could not find public function for 'nowhere:nothing'")
    assert end == ""


def test_related_queries_never_show_different_moments(kitchen, board):
    """One writer adds notes; the list and the count of another client always agree."""
    with raw_client(kitchen) as reader, raw_client(kitchen) as writer:
        reader.connect()
        reader.subscribe(
            (0, "notes:list", {"board": board}, {}), (1, "notes:count", {"board": board}, {})
        )
        writer.connect()
        for rank in range(60):
            writer.mutate(rank, "notes:add", {"board": board, "rank": rank})

        def consistent():
            if 0 not in reader.results:
                return False
            assert len(reader.results[0]) == reader.results[1]
            return reader.results[1] == 60

        reader.until(consistent)
        ids = [note["_id"] for note in reader.results[0]]
        assert len(set(ids)) == 60


def test_a_mutation_settles_with_its_own_result_on_the_screen(kitchen, board):
    with raw_client(kitchen) as client:
        client.connect()
        client.subscribe((0, "notes:count", {"board": board}, {}))
        client.until(lambda: 0 in client.results)
        for request in range(20):
            client.mutate(request, "notes:add", {"board": board, "rank": request})
        client.until(lambda: len(client.settled) == 20)
        for request, results in client.settled.items():
            assert results[0] >= request + 1
        kinds = [f["type"] for f in client.frames]
        # The result may not be shown before the response has arrived.
        for at, frame in enumerate(client.frames):
            if frame["type"] == "Transition" and frame["modifications"] and at:
                shown = max((m["value"] for m in frame["modifications"]), default=0)
                assert kinds[:at].count("MutationResponse") >= shown


def test_a_query_that_fails_stays_subscribed(kitchen, board):
    with raw_client(kitchen) as client:
        client.connect()
        client.subscribe((0, "counters:strict", {"name": board}, {}))
        client.until(lambda: 0 in client.results)
        assert client.results[0][0] == "failed"
        client.mutate(0, "counters:increment", {"name": board})
        client.until(lambda: client.results[0] == 1)


def test_a_journal_pins_the_page_across_connections(kitchen, board):
    args = {"board": board, "paginationOpts": {"numItems": 2, "cursor": None, "id": 0}}
    for rank in range(4):
        kitchen.value("mutation", "notes:add", {"board": board, "rank": rank})
    with raw_client(kitchen) as client:
        client.connect()
        client.subscribe((0, "notes:page", args, {}))
        client.until(lambda: 0 in client.results)
        journal, page = client.journals[0], client.results[0]
        assert isinstance(journal, str)
        assert len(page["page"]) == 2
    kitchen.value("mutation", "notes:add", {"board": board, "rank": 0.5})
    with raw_client(kitchen) as client:
        client.connect()
        client.subscribe(
            (0, "notes:page", args, {"journal": journal}),
            (1, "notes:page", args, {}),
            (2, "notes:page", args, {"journal": "forged"}),
        )
        client.until(lambda: 2 in client.results)
        assert [n["rank"] for n in client.results[0]["page"]] == [0, 0.5, 1]
        assert client.results[0]["continueCursor"] == page["continueCursor"]
        assert [n["rank"] for n in client.results[1]["page"]] == [0, 0.5]
        assert client.results[2][2]["paginationError"] == "InvalidCursor"
        assert (client.journals[0], client.closed) == (journal, None)


def test_a_no_op_patch_invalidates_nothing(kitchen, board):
    id_ = kitchen.value("mutation", "notes:add", {"board": board, "rank": 1, "text": "x"})
    with raw_client(kitchen) as client:
        client.connect()
        client.subscribe((0, "notes:list", {"board": board}, {}))
        client.until(lambda: 0 in client.results)
        before = client.transitions
        kitchen.value("mutation", "notes:edit", {"id": id_, "text": "x"})
        kitchen.value("mutation", "notes:add", {"board": f"{board}-other", "rank": 1})
        kitchen.value("mutation", "notes:edit", {"id": id_, "text": "y"})
        client.until(lambda: client.results[0][0]["text"] == "y")
        assert client.transitions == before + 1


def test_conflicts_that_do_not_end_close_the_socket(kitchen):
    with raw_client(kitchen) as client:
        client.connect()
        client.mutate(0, "errors:conflict", {})
        assert client.until_closed() == (1013, "OptimisticConcurrencyControlFailure")
        assert client.responses == {}


def test_an_admin_key_that_is_wrong_is_told(kitchen):
    with raw_client(kitchen) as client:
        client.connect()
        client.send(type="Authenticate", baseVersion=0, tokenType="Admin", value="kitchen|no")
        client.until_closed()
        assert client.auth_error["baseVersion"] == 0
        assert client.auth_error["authUpdateAttempted"] is True


def test_an_admin_runs_internal_functions_and_acts_as_a_user(kitchen):
    with raw_client(kitchen) as client:
        client.connect()
        client.send(
            type="Authenticate",
            baseVersion=0,
            tokenType="Admin",
            value=ADMIN_KEY,
            acting_as={"issuer": "i", "subject": "s"},
        )
        client.subscribe(
            (0, "notes:secret", {}, {"componentPath": ""}), (1, "users/profile:get", {}, {})
        )
        client.until(lambda: 1 in client.results)
        assert client.results[0] == "hidden"
        assert client.results[1]["tokenIdentifier"] == "i|s"
        client.send(type="Authenticate", baseVersion=1, tokenType="None")
        client.until(lambda: client.version["identity"] == 2)
        assert client.results[1] is None
        assert client.results[0][0] == "failed"


@pytest.mark.parametrize("frame", ["", "{", '{"type":"Mutation"}', b"\x00\x01", "\ud7ff{"])
def test_malformed_frames_end_one_connection_and_no_other(kitchen, board, frame):
    with raw_client(kitchen) as bystander, raw_client(kitchen) as client:
        bystander.connect()
        bystander.subscribe((0, "notes:count", {"board": board}, {}))
        client.socket.send(frame)
        client.until_closed()
        assert client.fatal
        kitchen.value("mutation", "notes:add", {"board": board, "rank": 1})
        bystander.until(lambda: bystander.results.get(0) == 1)


def test_a_large_result_reaches_clients_in_the_form_they_know(kitchen):
    text = "ü" * 3_000_000
    for path, in_chunks in (("/api/1.48.0/sync", True), ("/api/1.20.0/sync", False)):
        with raw_client(kitchen, path) as client:
            client.connect()
            client.subscribe((0, "values:echo", {"value": text}, {}))
            client.until(lambda client=client: 0 in client.results)
            assert client.results[0] == text
            assert ("TransitionChunk" in {f["type"] for f in client.frames}) == in_chunks


def test_two_users_never_see_each_others_results(kitchen):
    """Single flight and the cache share only what did not read the identity."""
    clients = []
    for subject in ("ada", "grace", None):
        context = raw_client(kitchen)
        client = context.__enter__()
        client.context = context
        client.connect()
        if subject:
            client.send(
                type="Authenticate",
                baseVersion=0,
                tokenType="Admin",
                value=ADMIN_KEY,
                impersonating={"issuer": "i", "subject": subject},
            )
        clients.append((subject, client))
    for _, client in clients:
        client.subscribe((0, "users/profile:get", {}, {}), (1, "users/profile:default", {}, {}))
    for subject, client in clients:
        client.until(lambda client=client: 1 in client.results)
        shown = client.results[0]
        assert (None if shown is None else shown["subject"]) == subject
        client.context.__exit__(None, None, None)


def test_actions_run_beside_mutations(kitchen, board):
    with raw_client(kitchen) as client:
        client.connect()
        client.send(type="Action", requestId=0, udfPath="actions:slow", args=[{"seconds": 1}])
        client.mutate(1, "notes:add", {"board": board, "rank": 1})
        client.until(lambda: 1 in client.responses)
        assert 0 not in client.responses
        client.until(lambda: 0 in client.responses)
        assert client.responses[0]["success"] is True
        assert "ts" not in client.responses[0]
