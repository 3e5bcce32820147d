"""What a search of 100,000 texts takes, and what texts cost those who write them.

Searches are run by turns with a bare FTS5 table of the same words, which ranks by its own `bm25()`:
it knows neither filters nor timestamps. Inserts go by turns to a table with a search index and to
one without. All is processor time.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import msgspec

from camber.deployment.deployment import Deployment
from camber.deployment.settings import DeploymentSettings
from camber.identity.identity import Anonymous
from camber.runtime.executor import Caller, FunctionCall
from camber.storage.store import Placement, StagedRow, StagedTable, id_key
from camber.values.ids import encode_id
from camber.values.packed import pack

_MODULE = """
from camber import Index, MutationCtx, Page, PaginationOpts, QueryCtx, SearchIndex, Table, mutation, query

class Text(Table, table="texts"):
    body: str
    channel: str
    search_body = SearchIndex("body", filter_fields=["channel"])

class Plain(Table, table="plains"):
    body: str
    channel: str
    by_channel = Index("channel")

@mutation
def fill(ctx: MutationCtx, bodies: list[str], first: int) -> None:
    for number, body in enumerate(bodies, first):
        ctx.db.insert(Text(body=body, channel=str(number % 100)))

@mutation
def add(ctx: MutationCtx, table: str, body: str) -> None:
    ctx.db.insert(table, {"body": body, "channel": "1"})

@query
def search(ctx: QueryCtx, text: str, where: dict[str, str], turn: int) -> int:
    return len(ctx.db.query(Text).with_search_index(Text.search_body, text, where).take(20))

@query
def page(ctx: QueryCtx, text: str, opts: PaginationOpts, turn: int) -> Page[Text]:
    return ctx.db.query(Text).with_search_index(Text.search_body, text).paginate(opts)

@mutation
def change(ctx: MutationCtx, text: str, count: int, words: str) -> None:
    for found in ctx.db.query(Text).with_search_index(Text.search_body, text).take(count):
        ctx.db.patch(found.id, body=f"{found.body} {words}")
"""
_TEXTS = 100_000
_WORDS_EACH = 20
_VOCABULARY = 30_000
_AT_ONCE = 1_000
_ROUNDS = 15
_INSERTS = 200
_TOGETHER = 64
_SHOWN = 20


def _texts(dice: random.Random) -> list[str]:
    """Texts whose words are as frequent as those of languages are: one in so many as its rank."""
    words = [_word(number) for number in range(_VOCABULARY)]
    weights = [1 / (rank + 1) for rank in range(_VOCABULARY)]
    drawn = iter(dice.choices(words, weights, k=_TEXTS * _WORDS_EACH))
    return [" ".join([next(drawn) for _ in range(_WORDS_EACH)]) for _ in range(_TEXTS)]


def _word(number: int) -> str:
    """Return a word of letters; those of neighbours begin alike."""
    letters = ""
    for _ in range(4):
        number, rest = divmod(number, 20)
        letters = "bcdfghjklmnpqrstvwxz"[rest] + "aeiou"[rest % 5] + letters
    return letters


class _Bench:
    def __init__(self, deployment: Deployment, bare: apsw.Connection) -> None:
        self._deployment = deployment
        self._bare = bare
        self._turn = 0

    async def run(self, path: str, **arguments: Any) -> None:
        call = FunctionCall(
            path=path,
            arguments=pack(arguments),
            identity=Anonymous(),
            caller=Caller.APPLICATION,
            request_id="bench",
        )
        result = await self._deployment.runtime.mutation(call)
        assert result.failure is None, result.failure

    async def query(self, path: str, ts: int | None = None, **arguments: Any) -> None:
        """Run a query that no cache has."""
        self._turn += 1
        call = FunctionCall(
            path=path,
            arguments=pack({**arguments, "turn": float(self._turn)}),
            identity=Anonymous(),
            caller=Caller.APPLICATION,
            request_id="bench",
        )
        runtime = self._deployment.runtime
        result = await runtime.query(call, ts=ts or runtime.newest_ts)
        assert result.failure is None, result.failure

    async def bare(self, match: str) -> None:
        rows = self._bare.execute(
            "SELECT rowid FROM bare WHERE bare MATCH ? ORDER BY bm25(bare) LIMIT ?",
            (match, _SHOWN),
        )
        list(rows)


async def _ms(run: Callable[[], Awaitable[None]]) -> float:
    """Return the milliseconds of processor time, of all threads."""
    began = time.process_time()
    await run()
    return (time.process_time() - began) * 1e3


async def _by_turns(runs: Sequence[Callable[[], Awaitable[None]]], rounds: int) -> list[float]:
    """Return the median milliseconds of each."""
    measured: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, found in zip(runs, measured, strict=True):
            found.append(await _ms(run))
    return [statistics.median(found) for found in measured]


async def _searches(bench: _Bench) -> None:
    common, middle, rare = _word(0), _word(60), _word(9_000)
    for what, text, where, match in (
        ("a rare word", f"{rare} ", {}, rare),
        ("a word in 1 of 30", middle, {}, middle),
        ("the most common word", common, {}, common),
        ("the same, of 1 in 100", common, {"channel": "7"}, common),
        ("three words", f"{rare} {middle} {_word(200)}", {}, f"{rare} OR {middle} OR {_word(200)}"),
        ("one letter", "b", {}, "b*"),
    ):
        ours, bare = await _by_turns(
            (
                partial(bench.query, "m:search", text=text, where=where),
                partial(bench.bare, match),
            ),
            _ROUNDS,
        )
        print(f"  {what + ':':24}{ours:8.2f} ms   bare FTS5 {bare:8.2f} ms   {ours / bare:5.1f} x")
    opts = {"numItems": float(_SHOWN), "cursor": None}
    (paged,) = await _by_turns(
        (lambda: bench.query("m:page", text=middle, paginationOpts=opts),), _ROUNDS
    )
    print(f"  {'a page of 1 of 30:':24}{paged:8.2f} ms")


async def _older(bench: _Bench, deployment: Deployment) -> None:
    """Searches at a timestamp since which more and more texts have changed."""
    then = deployment.runtime.newest_ts
    changed = 0
    for wanted in (0, 100, 1_000, 10_000):
        while changed < wanted:
            step = min(wanted - changed, 500)
            # Each of them gets a word that it did not have, and is not found the next time.
            await bench.run(
                "m:change", text=_word(changed // 500), count=float(step), words="so on"
            )
            changed += step
        (ms,) = await _by_turns(
            (lambda: bench.query("m:search", ts=then, text=_word(60), where={}),), _ROUNDS
        )
        print(f"  {changed:6,} changed since:    {ms:8.2f} ms at the older timestamp")


async def _inserts(bench: _Bench, texts: Sequence[str]) -> None:
    bodies = iter(texts)

    def one(table: str) -> Callable[[], Awaitable[None]]:
        return lambda: bench.run("m:add", table=table, body=next(bodies))

    async def many(table: str) -> None:
        await asyncio.gather(*(one(table)() for _ in range(_TOGETHER)))

    searched, plain = await _by_turns((one("texts"), one("plains")), _INSERTS)
    print(
        f"  an insert, one at a time:   {searched:6.2f} ms with a search index, {plain:6.2f} without"
    )
    searched, plain = await _by_turns(
        (lambda: many("texts"), lambda: many("plains")), _INSERTS // 10
    )
    print(
        f"  one of {_TOGETHER} at a time:        {searched / _TOGETHER:6.2f} ms with a search index, "
        f"{plain / _TOGETHER:6.2f} without"
    )


async def _import(deployment: Deployment, texts: Sequence[str]) -> None:
    """How long commits wait while a table is replaced by as many texts."""
    engine = deployment.engine
    with closing(engine.begin("bench")) as transaction:
        table = transaction.table("texts")
    assert table is not None
    rows = []
    for number, body in enumerate(texts):
        id_ = encode_id(table.number, (1 << 100 | number).to_bytes(16, "big"))
        document: dict[str, Any] = {
            "_id": id_,
            "_creationTime": float(number),
            "body": body,
            "channel": "1",
        }
        keys = [(index.id, index.key(document)) for index in table.stored]
        entries = tuple((index, key) for index, key in keys if key is not None)
        rows.append(StagedRow(id_key(id_), pack(document), entries))
    staged = StagedTable(
        table=table.number,
        indexes=tuple(index.id for index in table.stored),
        placement=Placement.REPLACE,
        documents=len(rows),
    )
    began = time.process_time()
    for at in range(0, len(rows), _AT_ONCE):
        engine.store.stage(table.number, rows[at : at + _AT_ONCE])
    staging = time.process_time() - began
    with closing(engine.begin("bench")) as transaction:
        finished = msgspec.structs.replace(transaction.finish(), staged=(staged,))
    began = time.process_time()
    await engine.committer.commit(finished)
    seconds = time.process_time() - began
    print(
        f"  an import of {_TEXTS:,}: {staging:.1f} s while commits go on; they wait for {seconds:.2f} s"
    )


async def _run(root: Path) -> None:
    (root / "pyproject.toml").write_text('[tool.camber]\nfunctions = "backend"\n')
    (root / "backend").mkdir()
    (root / "backend" / "m.py").write_text(_MODULE)
    settings = DeploymentSettings(root=root, functions="backend", data=root / "data")
    deployment = await Deployment.open(settings)
    await deployment.push()
    texts = _texts(random.Random(1))
    bare = apsw.Connection(str(root / "bare.sqlite"))
    bare.execute("CREATE VIRTUAL TABLE bare USING fts5 (words, content = '')")
    with bare:
        for number, text in enumerate(texts):
            bare.execute("INSERT INTO bare (rowid, words) VALUES (?, ?)", (number, text))
    bench = _Bench(deployment, bare)
    began = time.perf_counter()
    for at in range(0, _TEXTS, _AT_ONCE):
        await bench.run("m:fill", bodies=texts[at : at + _AT_ONCE], first=float(at))
    print(
        f"  {_TEXTS:,} texts of {_WORDS_EACH} words, inserted in {time.perf_counter() - began:.0f} s"
    )
    await _searches(bench)
    await _inserts(bench, texts)
    await _older(bench, deployment)
    await _import(deployment, texts)
    await deployment.close()


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_run(Path(folder)))
