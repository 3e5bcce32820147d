"""The PyPI package `convex`, unmodified: WebSocket and HTTP."""

from __future__ import annotations

import uuid

import pytest
from convex import ConvexClient, ConvexError, ConvexInt64
from convex.http_client import ConvexHttpClient

from tests.servers import ADMIN_KEY


@pytest.fixture
def board():
    return str(uuid.uuid4())


@pytest.fixture
def client(kitchen):
    return ConvexClient(kitchen.url)


@pytest.fixture
def http(kitchen):
    return ConvexHttpClient(kitchen.url)


def test_the_socket_client_queries_and_mutates(client, board):
    id_ = client.mutation("notes:add", {"board": board, "rank": 1, "text": "one"})
    (note,) = client.query("notes:list", {"board": board})
    assert note["_id"] == id_
    assert note["text"] == "one"
    assert note["rank"] == 1.0
    assert isinstance(note["_creationTime"], float)


def test_the_socket_client_is_told_of_changes(client, http, board):
    # The client holds Python's lock while it waits, so nothing else may run in this process then.
    subscription = client.subscribe("notes:count", {"board": board})
    assert next(subscription) == 0
    for rank in range(3):
        http.mutation("notes:add", {"board": board, "rank": rank})
        assert next(subscription) == rank + 1


def test_the_socket_client_runs_actions(client, board):
    assert client.action("actions:double", {"value": 4}) == 8
    assert client.action("actions:increment_twice", {"name": board}) == [1, 2]


def test_errors_reach_the_socket_client(client, board):
    with pytest.raises(ConvexError) as raised:
        client.query("errors:app_error")
    assert raised.value.data == {"code": "FULL", "seats": 3}
    with pytest.raises(ConvexError) as raised:
        client.mutation("notes:add_then_fail", {"board": board})
    assert raised.value.data == {"code": "CHANGED_MIND"}
    with pytest.raises(Exception, match="Uncaught ValueError: not that"):
        client.query("errors:value_error")
    with pytest.raises(Exception, match="Could not find public function for 'notes:secret'"):
        client.query("notes:secret")


def test_values_survive_the_socket_client(client):
    value = {
        "big": ConvexInt64(2**62),
        "bytes": b"\x00\xff",
        "float": 1.5,
        "list": [None, True, "ü𝄞"],
    }
    assert client.query("values:echo", {"value": value}) == value
    assert client.query("values:big", {"value": ConvexInt64(41)}) == ConvexInt64(42)


def test_admin_keys_open_internal_functions(kitchen):
    admin = ConvexClient(kitchen.url)
    admin.set_admin_auth(ADMIN_KEY)
    assert admin.query("notes:secret") == "hidden"


def test_the_http_client_queries_and_mutates(http, board):
    id_ = http.mutation("notes:add", {"board": board, "rank": 1, "text": "one"})
    (note,) = http.query("notes:list", {"board": board})
    assert note["_id"] == id_
    assert note["rank"] == 1.0
    assert http.query("notes:count", {"board": board}) == 1.0
    assert http.action("actions:double", {"value": 4}) == 8.0


def test_values_survive_the_http_client(http):
    value = {"big": ConvexInt64(-(2**63)), "bytes": b"\x00\xff", "whole": 3.0, "list": [None]}
    assert http.query("values:echo", {"value": value}) == value


def test_errors_reach_the_http_client(http):
    with pytest.raises(ConvexError) as raised:
        http.query("errors:app_error")
    assert raised.value.data == {"code": "FULL", "seats": 3}
    with pytest.raises(Exception, match="Uncaught ValueError: not that"):
        http.query("errors:value_error")


def test_the_http_client_is_refused_with_a_code(kitchen):
    user = ConvexHttpClient(kitchen.url)
    user.set_auth("not-a-token")
    with pytest.raises(Exception, match="InvalidAuthHeader"):
        user.query("values:all", {"table": "nothing"})
