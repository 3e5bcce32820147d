"""What unrelated subscriptions cost a commit: the engine with 10 of them, and with 100,000.

Each subscription reads one channel's messages through an index, or one document, or a range of
times; commits go to a channel that nobody watches. Both engines run in turns within one process,
so that the machine's moods hit both.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from contextlib import closing

from camber.engine.engine import Engine
from camber.engine.transaction import Transaction
from camber.host import RealHost
from camber.identity.identity import Anonymous
from camber.occ.interval import Interval, Order
from camber.runtime.executor import Caller, FunctionCall, QueryExecuted
from camber.runtime.function_log import FunctionLog
from camber.runtime.queries import Queries
from camber.runtime.results import QueryResult
from camber.storage.memory import MemoryStore
from camber.values.ids import encode_id
from camber.values.keys import encode_key
from camber.values.packed import pack
from camber.values.timestamp import Timestamp

_FEW = 10
_MANY = 100_000
_ROUNDS = 40
_COMMITS = 50


class _Reader:
    """An executor of one query: what it reads follows from its number."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def query(self, call: FunctionCall, ts: Timestamp) -> QueryExecuted:
        number = int(call.path)
        with closing(self._engine.begin(call.path, ts=ts)) as transaction:
            _read(transaction, number)
            result = QueryResult(
                ts=ts, packed=pack(number), failure=None, log_lines=(), journal=None
            )
            reads = transaction.finish().reads
        return QueryExecuted(result=result, reads=reads, read_identity=False, observed_time=False)


def _read(transaction: Transaction, number: int) -> None:
    table = transaction.table("messages")
    assert table is not None
    match number % 10:
        case 0:
            transaction.get(encode_id(table.number, number.to_bytes(16, "big")))
        case 1:
            index = table.indexes["by_creation_time"]
            # Ranges of a millisecond each, long past.
            span = Interval(encode_key([float(number)]), encode_key([float(number + 1)]))
            list(transaction.scan(table, index, span, Order.ASC))
        case _:
            prefix = encode_key([f"channel {number}"])
            index = table.indexes["by_channel"]
            list(transaction.scan(table, index, Interval.prefix(prefix), Order.DESC, prefix=prefix))


class _Watcher:
    def invalidated(self, result: QueryResult) -> None:
        msg = f"a commit elsewhere made {result} stale"
        raise AssertionError(msg)

    def renew(self, at: Timestamp | None = None, landed: object = None) -> None:
        """Do nothing: there is nothing new."""


async def _prepare(subscriptions: int) -> Engine:
    from camber.engine import system_tables
    from camber.engine.catalog import IndexEntry

    engine = Engine(host=RealHost(), store=MemoryStore())
    with closing(engine.begin("prepare")) as transaction:
        transaction.create_table("messages")
        table = transaction.table("messages")
        assert table is not None
        index = IndexEntry(
            id=system_tables.USER_INDEX_ID_MIN, name="by_channel", fields=("channel",)
        )
        transaction.insert(
            system_tables.INDEXES,
            system_tables.index_document(table, index),
            id=encode_id(system_tables.INDEXES_NUMBER, index.id.to_bytes(16, "big")),
        )
        finished = transaction.finish()
    await engine.committer.commit(finished)
    queries = Queries(
        engine=engine,
        executor=_Reader(engine),  # type: ignore[arg-type]
        log=FunctionLog(engine.host),
    )
    watcher = _Watcher()
    for number in range(subscriptions):
        call = FunctionCall(
            path=str(number),
            arguments=b"",
            identity=Anonymous(),
            caller=Caller.APPLICATION,
            request_id="",
        )
        (await queries.run(call, engine.newest_ts)).watch(watcher)
    return engine


async def _commit_some(engine: Engine) -> float:
    """Return the seconds of one commit, all of a transaction included."""
    began = time.perf_counter()
    for number in range(_COMMITS):
        with closing(engine.begin("send")) as transaction:
            transaction.insert("messages", {"channel": "quiet", "body": f"message {number}"})
            finished = transaction.finish()
        await engine.committer.commit(finished)
    return (time.perf_counter() - began) / _COMMITS


async def _measure() -> None:
    few, many = await _prepare(_FEW), await _prepare(_MANY)
    # The collector's walks over 100,000 subscriptions are not the commit's cost.
    gc.collect()
    gc.freeze()
    await _commit_some(few)
    await _commit_some(many)
    seconds: dict[int, list[float]] = {_FEW: [], _MANY: []}
    for _ in range(_ROUNDS):
        seconds[_FEW].append(await _commit_some(few))
        seconds[_MANY].append(await _commit_some(many))
    for count, measured in seconds.items():
        print(f"  {count:>7,} subscriptions: {statistics.median(measured) * 1e6:8.1f} µs a commit")
    ratio = statistics.median(seconds[_MANY]) / statistics.median(seconds[_FEW])
    print(f"  ratio: {ratio:.2f}")
    await few.close()
    await many.close()


def main() -> None:
    """Measure and print."""
    asyncio.run(_measure())
