"""From where a request comes: nobody can say so but who is trusted to."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber.deployment.settings import NetworkLimits
from camber.errors import RateLimited
from camber.server.gate import Gate, Place
from camber.server.proxies import Proxies

CLIENT = "203.0.113.7"


def sender(peer, *lines, proxies=("127.0.0.1", "10.0.0.0/8"), header="X-Forwarded-For", name=None):
    network = NetworkLimits(proxies=frozenset(proxies), client_address_header=header)
    said = (name or header or "x-forwarded-for").lower().encode()
    scope = {
        "client": None if peer is None else (peer, 4711),
        "headers": [(b"host", b"x"), *((said, line.encode()) for line in lines)],
    }
    return Proxies(network).sender_of(scope).ip


def test_who_asks_directly_is_where_the_connection_comes_from():
    assert sender(CLIENT) == CLIENT
    # Whatever is written into the header.
    assert sender(CLIENT, "198.51.100.1") == CLIENT
    assert sender("2001:DB8::1") == "2001:db8::1"
    assert sender(f"::ffff:{CLIENT}") == CLIENT
    assert sender("fe80::1%eth0") == "fe80::1"


def test_a_proxy_is_believed_in_the_header_that_is_named_and_in_no_other():
    assert sender("127.0.0.1", CLIENT) == CLIENT
    assert sender("127.0.0.1", CLIENT, name="X-Real-IP") is None
    assert sender("127.0.0.1", CLIENT, header=None) is None
    assert sender("127.0.0.1") is None
    assert sender(None, CLIENT) is None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("198.51.100.1, 203.0.113.7",), CLIENT),
        (("198.51.100.1", "203.0.113.7, 10.1.2.3"), CLIENT),
        (("203.0.113.7,10.1.2.3 , 127.0.0.1",), CLIENT),
        (("203.0.113.7:51234",), CLIENT),
        (('"203.0.113.7:51234"',), CLIENT),
        (("[2001:db8::1]:51234",), "2001:db8::1"),
        (("2001:db8::1",), "2001:db8::1"),
        (("203.0.113.7, unknown",), None),
        (("203.0.113.7, ",), None),
        (("10.1.2.3",), None),
        (("",), None),
        (("203.0.113.7, 999.1.1.1",), None),
    ],
)
def test_the_last_address_that_is_no_proxys_is_the_clients(lines, expected):
    assert sender("127.0.0.1", *lines) == expected


def test_forwarded_is_read_as_the_standard_has_it():
    said = 'for=198.51.100.1, for="[2001:db8::1]:4711";proto=https;by=10.0.0.1, For=10.1.2.3'
    assert sender("127.0.0.1", said, header="Forwarded") == "2001:db8::1"
    assert sender("127.0.0.1", "for=_hidden", header="Forwarded") is None


@given(written=st.lists(st.ip_addresses().map(str) | st.text(max_size=12), max_size=4))
def test_a_client_cannot_say_where_it_is(written):
    """Whatever it writes, a proxy adds the truth behind it."""
    lines = [line.encode("latin-1", "replace").decode("latin-1") for line in written]
    network = NetworkLimits(
        proxies=frozenset({"10.0.0.0/8"}), client_address_header="x-forwarded-for"
    )
    headers = [(b"x-forwarded-for", line.encode("latin-1")) for line in [*lines, CLIENT]]
    scope = {"client": ("10.0.0.1", 1), "headers": headers}
    assert Proxies(network).sender_of(scope).ip == CLIENT


def test_connections_from_a_network_of_proxies_are_those_of_many():
    network = NetworkLimits(connections_per_address=1, proxies=frozenset({"10.0.0.0/8"}))
    gate = Gate(network, Counter())
    for _ in range(3):
        assert isinstance(gate.enter("10.1.2.3"), Place)
    assert isinstance(gate.enter(CLIENT), Place)
    assert isinstance(gate.enter(CLIENT), RateLimited)


def test_what_a_client_says_it_is_is_cut_off():
    network = NetworkLimits()
    scope = {"client": (CLIENT, 1), "headers": [(b"user-agent", b"x" * 10_000)]}
    assert Proxies(network).sender_of(scope).user_agent == "x" * 512
