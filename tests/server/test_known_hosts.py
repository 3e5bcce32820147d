"""A page that makes its own name lead to a developer's machine gets nothing from it."""

from __future__ import annotations

import httpx
import pytest

from camber.server.known_hosts import is_loopback, known_names
from tests.servers import KITCHEN, Server

_HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Version": "13",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    data = tmp_path_factory.mktemp("hosts")
    with Server(KITCHEN, data, "--executors", "0", "--allow-hosts", "Mine.example, two") as server:
        yield server


@pytest.fixture(scope="module")
def http():
    with httpx.Client(timeout=30) as client:
        yield client


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:3210", "localhost", "LOCALHOST:1", "app.localhost:5", "[::1]:7",
     "192.168.0.5", "mine.example", "mine.example.:80", "two:1"],
)  # fmt: skip
def test_it_answers_for_itself(server, http, host):
    for url in (f"{server.url}/metrics", f"{server.url}/version"):
        assert http.get(url, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:3210", "127.0.0.1.evil.example", "localhost.evil.example",
             "notlocalhost", "one.mine.example", "[", "0x7f.1", "evil.example\x7f"],
)  # fmt: skip
def test_it_does_not_answer_for_others(server, http, host):
    for url in (
        f"{server.url}/metrics",
        f"{server.url}/api/1.48.0/sync",
        f"{server.site_url}/hook",
    ):
        for more in ({}, _HANDSHAKE):
            answer = http.get(url, headers={"Host": host, **more})
            assert answer.status_code in {421, 400}
            if answer.status_code == 421:
                assert answer.json()["code"] == "UnknownHost"
                assert "--allow-hosts" in answer.json()["message"]


def test_a_production_server_answers_for_all_names_unless_it_is_told_which(tmp_path):
    for options, status in (((), 200), (("--allow-hosts", "api.example"), 421)):
        data = tmp_path / str(status)
        with Server(KITCHEN, data, "--executors", "0", *options, command="start") as server:
            answer = httpx.get(f"{server.url}/version", headers={"Host": "any.example"})
            assert answer.status_code == status
            answer = httpx.get(f"{server.url}/version", headers={"Host": "api.example"})
            assert answer.status_code == 200


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("192.168.0.5", False), ("example.com", False), ("", False)],
)  # fmt: skip
def test_who_listens_for_this_machine_alone(host, loopback):
    assert is_loopback(host) is loopback


def test_the_names_of_urls_are_known():
    names = known_names(["A.example"], "https://api.example:8443/x", "http://127.0.0.1:3211")
    assert names == {"localhost", "a.example", "api.example", "127.0.0.1"}
