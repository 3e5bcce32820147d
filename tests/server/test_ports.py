"""Ports move as pairs."""

from __future__ import annotations

import socket

import pytest

from camber.server.ports import PortsTaken, bind_next_free_pair, bind_pair


@pytest.fixture
def taken():
    """A port that another program listens on, with the next ones most likely free."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def _number(bound):
    return bound.getsockname()[1]


def test_a_pair_is_taken_whole_or_not_at_all(taken):
    with pytest.raises(PortsTaken, match=f"127.0.0.1:{taken}"):
        bind_pair("127.0.0.1", taken, 0)
    with pytest.raises(PortsTaken, match=f"127.0.0.1:{taken}"):
        bind_pair("127.0.0.1", 0, taken)


@pytest.mark.parametrize("which", ["api", "site"])
def test_the_next_free_pair_is_two_further(taken, which):
    port = taken if which == "api" else taken - 1
    api, site = bind_next_free_pair("127.0.0.1", port, port + 1)
    with api, site:
        assert _number(site) == _number(api) + 1
        assert _number(api) > port
        assert (_number(api) - port) % 2 == 0
