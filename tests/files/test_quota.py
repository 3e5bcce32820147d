"""What all files together may have: counted as they are committed, whoever is there to hear of it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest

from camber.deployment.deployment import Deployment
from camber.deployment.settings import MEMORY, DeploymentSettings
from camber.engine import file_ledger
from camber.engine.file_ledger import BlobState
from camber.engine.writing import write
from camber.errors import RequestError, StorageFull
from camber.runtime.files import BroughtFile, Expected
from tests.files.serving import PHOTOS

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


@asynccontextmanager
async def bounded(data, files_bytes_max, store=None):
    deployment = await Deployment.open(
        DeploymentSettings(
            root=PHOTOS,
            functions="backend",
            data=data,
            store=store,
            files_bytes_max=files_bytes_max,
        )
    )
    try:
        yield deployment
    finally:
        await deployment.close()


async def stored(deployment, content):
    arrival = await deployment.files.arrive_from_action("", Expected())
    try:
        await arrival.write(content)
        return await arrival.finish()
    finally:
        await arrival.abandon()


async def deleted(deployment, file):
    def change(transaction):
        entry = file_ledger.stored_entry(transaction, file, "")
        assert entry is not None
        file_ledger.leaving(transaction, entry)

    await write(deployment.engine, "test", change)


def entries(deployment):
    with closing(deployment.engine.begin("test")) as transaction:
        return [
            entry for state in BlobState for entry in file_ledger.entries_in(transaction, state)
        ]


async def until(deployment, holds):
    committed = asyncio.Event()
    stop = deployment.engine.on_publish(lambda commits: committed.set())
    while not holds():
        committed.clear()
        await committed.wait()
    stop()


async def test_a_store_that_is_cancelled_is_counted_if_there_is_a_file(tmp_path):
    async with bounded(tmp_path, 10**6, store=MEMORY) as deployment:
        files = deployment.files
        outcomes = set()
        for turns in range(40):
            arrival = await files.arrive_from_action("", Expected())
            await arrival.write(b"content")
            finishing = asyncio.ensure_future(arrival.finish())
            for _ in range(turns):
                await asyncio.sleep(0)
            finishing.cancel()
            await asyncio.gather(finishing, return_exceptions=True)
            await arrival.abandon()
            await until(
                deployment, lambda: {e.state for e in entries(deployment)} <= {BlobState.STORED}
            )
            there = len(entries(deployment))
            outcomes.add(there)
            assert (files._there, files.arriving_bytes) == (7 * there, 0), turns
        assert len(outcomes) > 2, "some became files, and some did not"


async def test_what_is_deleted_makes_room_once_its_content_is_gone(tmp_path):
    async with bounded(tmp_path, 20) as deployment:
        first = await stored(deployment, b"0123456789")
        await stored(deployment, b"01234567")
        with pytest.raises(StorageFull) as refused:
            await stored(deployment, b"012")
        assert refused.value.code == "FileQuotaExceeded"
        await deleted(deployment, first)
        await until(deployment, lambda: len(entries(deployment)) == 1)
        await stored(deployment, b"012345678901")
    async with bounded(tmp_path, 20) as deployment:
        assert deployment.files._there == 20
        with pytest.raises(StorageFull):
            await stored(deployment, b"0")


async def test_what_an_import_has_taken_in_takes_room_before_its_commit(tmp_path):
    async with bounded(tmp_path, 20, store=MEMORY) as deployment:
        files = deployment.files

        async def brought(number):
            arrival: Any = await files.arrive_from_import(
                BroughtFile(internal=bytes([number] * 16), component="", url=None), Expected()
            )
            try:
                await arrival.write(b"012345678")
                return await arrival.settle(None)
            finally:
                await arrival.abandon()

        settled = [await brought(1), await brought(2)]
        with pytest.raises(RequestError) as refused:
            await brought(3)
        assert refused.value.code == "FileQuotaExceeded"
        assert (files._there, files.arriving_bytes) == (0, 18)

        def enter(transaction):
            settled[0].enter(transaction)

        await write(deployment.engine, "test", enter)
        files.entered(settled[:1])
        assert (files._there, files.arriving_bytes) == (9, 9)
        await files.give_up(settled[1].entry)
        await until(
            deployment, lambda: {e.state for e in entries(deployment)} <= {BlobState.STORED}
        )
        assert (files._there, files.arriving_bytes) == (9, 0)


async def test_two_that_come_to_their_end_at_once_leave_each_others_room_alone(tmp_path):
    async with bounded(tmp_path, 100, store=MEMORY) as deployment:
        for _ in range(20):
            one = await deployment.files.arrive_from_action("", Expected())
            other = await deployment.files.arrive_from_action("", Expected())
            await one.write(b"0" * 60)
            finishing = asyncio.ensure_future(one.finish())
            while not finishing.done():
                await other.write(b"")
                deployment.files.check_room(40)
                await asyncio.sleep(0)
            await other.abandon()
            await deleted(deployment, finishing.result())
            await until(deployment, lambda: not entries(deployment))
