"""Growth: what an insert and an indexed read cost once a table is large.

Two servers hold the same table, one with a thousandth of the documents. Each channel has a hundred
messages, which came one at a time while all others got theirs: an insert goes to a channel that is
somewhere in the index, and a list of 50 messages is from all over the file. They are filled through
the store, as commits, in large groups; that takes about three minutes for ten million.
"""

from __future__ import annotations

import contextlib
import gc
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from bench.loads import Load
from bench.servers import CouldNotMeasure, Http, Server, alone, camber
from bench.summary import Measured, Series, ratios
from bench.turns import Turns
from camber.engine.catalog import TableEntry
from camber.engine.engine import load_catalog
from camber.storage.sqlite.store import Durability, SqliteStore
from camber.storage.store import Commit, DocumentChange, EntryChange
from camber.values.ids import encode_id, new_internal_id
from camber.values.keys import encode_key
from camber.values.packed import pack
from camber.values.value import Value

_LARGE = 10_000_000
_FACTOR = 1000
_CLIENTS = 16
_CHANNEL_MESSAGES = 100
_BODY = "x" * 200
#: Messages of one commit, and how far apart in time they were sent.
_COMMIT = 2000
_APART_NS = 100_000
#: Commits of them that are forgotten at once.
_TRIMMED = 10
_FULL = "FULL"
_READS = "FULL, but nothing is written"


def measure(turns: Turns) -> Series:
    """Insert into both tables, and list 50 messages of each, by turns."""
    large = turns.scale.of(_LARGE)
    sizes = {"small": large // _FACTOR, "large": large}
    with contextlib.ExitStack() as stack:
        servers = {side: stack.enter_context(_filled(size)) for side, size in sizes.items()}
        for pair in turns.pairs():
            for side, server in servers.items():
                channel = f"c{{rand:0-{_channels(sizes[side]) - 1}}}"
                insert = Load(
                    "mutate",
                    clients=_CLIENTS,
                    path="messages:send",
                    args=f'{{"channel":"{channel}","author":"a","body":"{{pad:200}}"}}',
                )
                read = Load(
                    "query",
                    clients=_CLIENTS,
                    path="messages:list",
                    args=f'{{"channel":"{channel}","fresh":{{i}}}}',
                )
                for kind, load, durability in (
                    ("insert", insert, _FULL),
                    ("read", read, _READS),
                ):
                    with alone():
                        report = load.run(server, turns.scale, seed=pair)
                    turns.note(
                        f"{kind}, {side}",
                        durability=durability,
                        command=load.command,
                        p50_ms=report["latency_ms"]["p50"],
                        p99_ms=report["latency_ms"]["p99"],
                        rate=report["rate"],
                    )
    turns.checked(
        f"the large table was filled with {large:,} documents, the small with {large // _FACTOR:,}"
    )
    inserts, reads = (
        ratios(turns.figures(f"{kind}, large", "p50_ms"), turns.figures(f"{kind}, small", "p50_ms"))
        for kind in ("insert", "read")
    )
    return turns.series(growth=Measured(values=inserts, also=reads))


def _channels(documents: int) -> int:
    return max(1, documents // _CHANNEL_MESSAGES)


@contextlib.contextmanager
def _filled(documents: int) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="camber-bench-") as folder:
        data = Path(folder)
        with camber(data=data):
            # It has made its tables; nothing else is needed of it.
            pass
        fill(data / "camber.sqlite", documents)
        with camber(data=data) as server, Http(server) as http:
            held = len(http.call("query", "messages:list", channel="c0"))
            if held != min(50, documents, _CHANNEL_MESSAGES):
                raise CouldNotMeasure(f"channel c0 shows {held} messages")
            yield server


def fill(path: Path, documents: int) -> None:
    """Put messages into the store of a server that is not running."""
    with (
        _without_collections(),
        contextlib.closing(SqliteStore(path, durability=Durability.NORMAL)) as store,
    ):
        with store.snapshot() as snapshot:
            (table,) = (t for t in load_catalog(snapshot).tables() if t.name == "messages")
        channels = _channels(documents)
        # As if they had come until now.
        ts = max(store.newest_ts() + 1, time.time_ns() - documents * _APART_NS)
        chance = Random(documents)
        for first in range(0, documents, _COMMIT):
            count = min(_COMMIT, documents - first)
            changes = tuple(
                _message(table, ts + n * _APART_NS, (first + n) % channels, chance)
                for n in range(count)
            )
            ts += count * _APART_NS
            store.append([Commit(ts=ts, changes=changes, source="bench")])
            if store.checkpoint():
                store.finish_checkpoint()
        # All but the newest: what was filled in is no history.
        while store.trim(before=ts, commits_max=_TRIMMED):
            pass


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Keep Python from looking for cycles: there are none, and it would look at every message."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _message(table: TableEntry, sent_ns: int, channel: int, chance: Random) -> DocumentChange:
    id_ = encode_id(table.number, new_internal_id(chance.randbytes(10), sent_ns))
    sent_ms = sent_ns / 1e6
    name = f"c{channel}"
    fields: dict[str, Value] = {
        "channel": name,
        "author": "a",
        "body": _BODY,
        "_id": id_,
        "_creationTime": sent_ms,
    }
    by_channel, by_time = table.indexes["by_channel"].id, table.indexes["by_creation_time"].id
    end = encode_key([sent_ms, id_])
    return DocumentChange(
        table=table.number,
        id=id_,
        before=None,
        after=pack(fields),
        entries=(
            EntryChange(index=by_time, removed=None, added=end),
            EntryChange(index=by_channel, removed=None, added=encode_key([name]) + end),
        ),
    )
