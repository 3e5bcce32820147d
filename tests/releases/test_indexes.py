"""An index that is built while documents come, change and go leads to exactly those there are."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camber import limits
from camber.engine.catalog import IndexState
from camber.functions.analysis import AnalysedIndex
from camber.host import RealHost
from camber.occ.interval import ALL, Order
from camber.releases.indexes import IndexBuilds, add_index, free_index_numbers
from camber.search.ranking import EVERYTHING
from camber.search.texts import TextQuery
from camber.search.vectors import VectorQuery, direction
from tests.engine.harness import fields_of, write
from tests.storage.stores import STORES

names = st.sampled_from("abc")
operations = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.just(0), names),
        st.tuples(st.just("replace"), st.integers(0, 9), names),
        st.tuples(st.just("delete"), st.integers(0, 9), names),
        st.just(("step", 0, "")),
    ),
    max_size=16,
)


class SteppingHost(RealHost):
    """A host on which the build takes a step whenever the test lets it."""

    def __init__(self):
        super().__init__()
        self.steps: asyncio.Queue[None] = asyncio.Queue()
        self.waits = asyncio.Event()

    async def sleep(self, seconds):
        self.waits.set()
        await self.steps.get()


def _in_order(snapshot, table, index):
    found = snapshot.scan(table.number, index.id, ALL, Order.ASC, 99)
    return [fields_of(row.packed)["_id"] for row in found]


def _by_search(snapshot, table, index):
    """What searches find, word by word: all that there is, and no more of it than there is."""
    found, texts = [], 0
    for word in "abc":
        query = TextQuery(terms=(word,), prefix=None, filters=())
        statistics = snapshot.text_statistics(index.id, query)
        hits = snapshot.text_hits(index.id, query, statistics, EVERYTHING, 99)
        assert statistics.frequencies == (len(hits),)
        texts = statistics.documents
        found += sorted(hits, key=lambda hit: (hit.time, hit.id))
    assert texts == len(found)
    return [hit.id for hit in found]


def _by_vectors(snapshot, table, index):
    """What is found from the nearest to the farthest: an "a" is nearest, and a "c" farthest."""
    kept = direction([1.0, 0.0], 2)
    assert kept is not None
    hits = snapshot.vector_hits(index.id, VectorQuery(direction=kept), 99)
    born = {hit.id: fields_of(snapshot.get(table.number, hit.id))["_creationTime"] for hit in hits}
    return [hit.id for hit in sorted(hits, key=lambda hit: (-hit.score, born[hit.id], hit.id))]


_VECTORS = {"a": [2.0, 0.0], "b": [1.0, 1.0], "c": [0.0, 3.0]}
_KINDS = {
    "entries": (AnalysedIndex(name="by_n", fields=("n",)), _in_order),
    "vectors": (AnalysedIndex(name="by_v", fields=("v", "n"), dimensions=2), _by_vectors),
    "texts": (AnalysedIndex(name="search_n", fields=("n",), tokenizer="words"), _by_search),
}


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("name", STORES)
@settings(max_examples=30)
@given(before=st.lists(names, max_size=5), operations=operations, start=st.integers(0, 16))
def test_an_index_leads_to_what_is_there(kind, name, before, operations, start):
    declared, led_to = _KINDS[kind]

    async def main(folder):
        from camber.engine.engine import Engine

        host = SteppingHost()
        engine = Engine(host=host, store=STORES[name](folder))
        try:
            await check(engine, host)
        finally:
            await engine.close()

    async def check(engine, host):
        ids: list[str] = []

        async def apply(operation, at, value):
            fields = {"n": value, "v": _VECTORS[value or "a"]}
            if operation == "insert" or not ids:
                ids.append((await write(engine, lambda tx: tx.insert("t", fields)))[0])
            elif operation == "replace":
                id_ = ids[at % len(ids)]
                await write(engine, lambda tx: tx.replace(id_, fields))
            else:
                id_ = ids.pop(at % len(ids))
                await write(engine, lambda tx: tx.delete(id_))

        for value in (*before, "a"):
            await apply("insert", 0, value)
        build = None
        for number, (operation, at, value) in enumerate(operations):
            if number == start:
                build = await begin(engine, host)
            if operation != "step":
                await apply(operation, at, value)
            elif build is not None and not build.done():
                host.waits.clear()
                host.steps.put_nowait(None)
                await asyncio.wait(
                    [build, asyncio.create_task(host.waits.wait())],
                    return_when=asyncio.FIRST_COMPLETED,
                )
        build = build or await begin(engine, host)
        while not build.done():
            host.steps.put_nowait(None)
            await asyncio.sleep(0)
        await build
        with closing(engine.begin("test")) as tx:
            table = tx.catalog.by_name("t")
            (index,) = table.pending
            by_id = tx.snapshot.scan(table.number, table.indexes["by_id"].id, ALL, Order.ASC, 99)
            found = led_to(tx.snapshot, table, index)
        documents = [fields_of(row.packed) for row in by_id]
        expected = sorted((d["n"], d["_creationTime"], d["_id"]) for d in documents)
        assert found == [id_ for _, _, id_ in expected]

    async def begin(engine, host):
        def enter(tx):
            number = next(free_index_numbers(tx))
            add_index(tx, tx.table("t"), declared, IndexState.BACKFILLING, number=number)

        await write(engine, enter)
        table = engine.catalog.by_name("t")
        return asyncio.create_task(
            IndexBuilds(engine).build(table, table.pending, lambda count: None)
        )

    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(limits, "push_batch_documents", 1),
    ):
        asyncio.run(main(Path(folder)))
