"""An engine on a store, for tests of transactions."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

from camber.engine.engine import Engine
from camber.host import RealHost
from camber.occ.interval import ALL, Order
from camber.values.packed import unpack
from tests.storage.stores import STORES


@asynccontextmanager
async def opened(folder, store="memory"):
    engine = Engine(host=RealHost(), store=STORES[store](folder))
    try:
        yield engine
    finally:
        await engine.close()


async def write(engine, function):
    """Run a function in a transaction and commit it; return its result and the timestamp."""
    transaction = engine.begin("test")
    try:
        result = function(transaction)
        finished = transaction.finish()
    finally:
        transaction.close()
    return result, await engine.committer.commit(finished)


def read(engine, function, ts=None):
    transaction = engine.begin("test", ts=ts)
    try:
        return function(transaction)
    finally:
        transaction.close()


def fields_of(packed) -> Any:
    return unpack(packed)


def rows(transaction, table, index="by_creation_time", order=Order.ASC, interval=ALL):
    entry = transaction.table(table)
    if entry is None:
        return []
    return [
        fields_of(row.packed)
        for row in transaction.scan(entry, entry.indexes[index], interval, order)
    ]


def run(coroutine):
    return asyncio.run(coroutine)
