"""Servers that are killed while files come and go: nothing acknowledged is lost, nothing is left."""

from __future__ import annotations

import functools
import os
import random
import threading

import httpx
import pytest

from tests.files.serving import PHOTOS, content_files, eventually, upload
from tests.servers import Server

SEEDS = int(os.environ.get("CRASH_SEEDS", "2"))
OPTIONS = ["--executors", "1", "--no-tail-logs"]


def new_url(server):
    return server.value("mutation", "files:upload_url", {})


def listed(server):
    return {file["_id"]: file for file in server.value("query", "files:listed", {})}


def downloaded(server, id):
    return httpx.get(server.value("query", "files:url", {"id": id})).content


def test_an_upload_that_is_killed_leaves_nothing_and_its_url_good(tmp_path):
    with Server(PHOTOS, tmp_path, *OPTIONS) as server:
        kept = upload(server, b"kept" * 100_000)
        url = new_url(server)
        half = threading.Event()

        def body():
            yield b"x" * 2_000_000
            half.wait()
            yield b"x" * 2_000_000

        failed: list[Exception] = []

        def send():
            try:
                httpx.post(url, content=body(), timeout=60)
            except httpx.TransportError as error:
                failed.append(error)

        sending = threading.Thread(target=send)
        sending.start()
        eventually(lambda: sum(path.stat().st_size for path in content_files(tmp_path)) > 1_500_000)
        server.kill()
        half.set()
        sending.join()
        assert failed

        server.start()
        assert list(listed(server)) == [kept]
        eventually(lambda: len(content_files(tmp_path)) == 1)
        again = httpx.post(url, content=b"after all")
        assert again.status_code == 200, again.text
        assert downloaded(server, again.json()["storageId"]) == b"after all"
        assert downloaded(server, kept) == b"kept" * 100_000


def test_an_action_that_is_killed_while_it_stores_leaves_nothing(tmp_path):
    with Server(PHOTOS, tmp_path, "--executors", "1") as server:

        def call():
            with pytest.raises(httpx.TransportError):
                server.value("action", "files:store_and_hang", {})

        calling = threading.Thread(target=call)
        calling.start()
        eventually(lambda: len(content_files(tmp_path)) == 1)
        server.kill()
        calling.join()
        server.start()
        assert listed(server) == {}
        eventually(lambda: content_files(tmp_path) == [])


class Client:
    """Uploads and deletes until the server is gone; keeps what it was told."""

    def __init__(self, server, seed):
        self.server = server
        self.chance = random.Random(seed)
        self.stored: dict[str, bytes] = {}
        self.deleted: set[str] = set()
        #: What nobody knows: the server was killed before it answered.
        self.doubtful: set[str] = set()
        self.steps = 0

    def run(self):
        try:
            while True:
                self.step()
                self.steps += 1
        except httpx.TransportError:
            return

    def step(self):
        if self.stored and self.chance.random() < 0.45:
            id = self.chance.choice(sorted(self.stored))
            self.doubtful.add(id)
            content = self.stored.pop(id)
            self.server.value("mutation", "files:delete", {"id": id})
            del content
            self.doubtful.discard(id)
            self.deleted.add(id)
        else:
            content = self.chance.randbytes(self.chance.choice([0, 10, 5_000, 700_000]))
            self.stored[upload(self.server, content)] = content


def have_done(clients, steps):
    return sum(client.steps for client in clients) >= steps


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_is_said_of_files_holds_whenever_the_server_is_killed(tmp_path, seed):
    chance = random.Random(seed)
    with Server(PHOTOS, tmp_path, *OPTIONS) as server:
        told: dict[str, bytes] = {}
        gone: set[str] = set()
        for _ in range(2):
            clients = [Client(server, chance.random()) for _ in range(3)]
            threads = [threading.Thread(target=client.run) for client in clients]
            for thread in threads:
                thread.start()
            eventually(functools.partial(have_done, clients, chance.randrange(3, 25)))
            server.kill()
            for thread in threads:
                thread.join()
            server.start()
            for client in clients:
                told |= client.stored
                gone |= client.deleted
            there = listed(server)
            doubtful = set().union(*(client.doubtful for client in clients))
            # What was acknowledged is as it was said, and every file that is there is whole.
            assert told.keys() <= there.keys() | doubtful
            assert not gone & there.keys()
            for id, content in told.items():
                if id in there:
                    assert downloaded(server, id) == content
            for id, file in there.items():
                assert len(downloaded(server, id)) == file["size"]
            # And there is nothing else.
            eventually(lambda: len(content_files(tmp_path)) == len(listed(server)))
            assert not [path for path in content_files(tmp_path) if path.suffix]
