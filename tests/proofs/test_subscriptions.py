"""Clients see one moment at a time, what there is at that moment, and in the end the newest.

Real sockets' state machines and shells on a real runtime, stepped by a seed; every query of every
client is run again on the model at the timestamp of every Transition.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.proofs.effort import one_in
from tests.proofs.judging import Program
from tests.proofs.operations import PAGED, asking, inserting, placed, placing, seeking, writing
from tests.proofs.serving import Client, served
from tests.proofs.stepping import SteppedHost
from tests.proofs.watching import judge_shown, watch
from tests.storage.stores import STORES

_pages = st.fixed_dictionaries({"query": st.sampled_from(PAGED), "items": st.integers(1, 3)})
_inserts = inserting.map(lambda steps: Program(steps=steps[:2], writes=True))
_writes = st.builds(
    Program, steps=writing, writes=st.just(True), raises=st.sampled_from([False] * 5 + [True])
)


#: Most sign in with tokens of their own; admins may act as anybody.
_token_types = st.sampled_from(["User", "User", "User", "Admin"])


@st.composite
def scripts(draw):
    """What each client does. Queries are of few, so that they are shared."""
    queries = draw(st.lists(asking, min_size=1, max_size=3))
    watched = st.sampled_from([Program(steps=steps, writes=False) for steps in queries])
    command = st.one_of(
        st.tuples(st.just("watch"), watched),
        st.tuples(st.just("watch"), watched),
        st.tuples(st.just("scroll"), _pages),
        st.tuples(st.just("more")),
        st.tuples(st.just("more")),
        st.tuples(st.just("split"), st.integers(0, 3)),
        st.tuples(st.just("do"), _writes),
        st.tuples(st.just("do"), _inserts),
        st.tuples(st.just("do"), _inserts),
        st.tuples(st.just("forget"), st.integers(0, 3)),
        st.tuples(st.just("become"), st.sampled_from(["ada", "grace"]), _token_types),
        st.tuples(st.just("become"), st.none(), st.just("None")),
        st.tuples(st.just("drop")),
    )
    return draw(st.lists(st.lists(command, min_size=1, max_size=10), min_size=1, max_size=3))


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@one_in(8)
@given(documents=inserting, scripts=scripts(), seed=st.integers(0, 2**16))
def test_each_transition_shows_what_there_is(store, documents, scripts, seed):
    watch_and_judge(store, documents, scripts, seed)


@st.composite
def scripts_about_vectors(draw):
    """Clients that watch what is nearest, and others that write vectors."""
    queries = draw(st.lists(seeking, min_size=1, max_size=3))
    watched = st.sampled_from([Program(steps=steps, writes=False) for steps in queries])
    command = st.one_of(
        st.tuples(st.just("watch"), watched),
        st.tuples(st.just("do"), st.builds(Program, steps=placing, writes=st.just(True))),
        st.tuples(st.just("do"), st.builds(Program, steps=placing, writes=st.just(True))),
    )
    return draw(st.lists(st.lists(command, min_size=1, max_size=6), min_size=1, max_size=3))


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@one_in(16)
@given(documents=placed, scripts=scripts_about_vectors(), seed=st.integers(0, 2**16))
def test_each_transition_shows_what_is_nearest(store, documents, scripts, seed):
    watch_and_judge(store, documents, scripts, seed)


_texts = st.sampled_from(["a", "b", "a b", "b b a", "c", "c c c c c c", "ab c c", 1.0])


def _text(text: object) -> dict[str, object]:
    return {"op": "insert", "table": "docs", "fields": {"a": text}}


@st.composite
def search_scripts(draw):
    """Clients that scroll through a search, while texts come, go and change that it finds or does not."""
    pages = {"query": next(each for each in PAGED if "search" in each)}
    step = st.one_of(
        _texts.map(_text),
        st.integers(0, 9).map(lambda id_: {"op": "delete", "id": id_}),
        st.tuples(st.integers(0, 9), _texts).map(
            lambda told: {"op": "patch", "id": told[0], "fields": {"a": told[1]}, "removed": []}
        ),
    )
    writes = st.lists(step, min_size=1, max_size=3).map(
        lambda steps: ("do", Program(steps=steps, writes=True))
    )
    command = st.one_of(st.just(("more",)), st.just(("more",)), writes, st.just(("drop",)))

    def script():
        items = draw(st.integers(1, 2))
        rest = draw(st.lists(command, min_size=2, max_size=8))
        return [("scroll", {**pages, "items": items}), *rest]

    return [script() for _ in range(draw(st.integers(1, 2)))]


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@one_in(10)
@given(
    texts=st.lists(_texts, min_size=3, max_size=6),
    scripts=search_scripts(),
    seed=st.integers(0, 2**16),
)
def test_pages_of_a_search_have_no_gap_whatever_becomes_of_scores(store, texts, scripts, seed):
    watch_and_judge(store, [_text(text) for text in texts], scripts, seed)


@pytest.mark.parametrize("seed", range(135, 147))
def test_what_one_client_asks_for_twice_settles(seed):
    """The second run takes the place of the first's result, which nobody watches yet."""
    by_a = {"table": "docs", "index": "by_a", "where": [], "order": "asc"}
    page = {"op": "page", "query": by_a, "mode": "first", "page": 0, "items": 1, "rows_max": None}
    twice = [("watch", Program(steps=[page], writes=False))] * 2
    scroll = ("scroll", {"query": by_a, "items": 1})
    writes = [
        ("do", Program(steps=[{"op": "nested", "steps": [step], "fails": True}, step], writes=True))
        for step in ({"op": "bump", "id": 1}, {"op": "delete", "id": 0})
    ]
    who = ("watch", Program(steps=[{"op": "who"}], writes=False))
    row = {"op": "insert", "table": "rows", "fields": {"a": 0.0, "b": 0.0, "u": None, "n": 0.0}}
    document = {"op": "insert", "table": "docs", "fields": {}}
    script = [who, scroll, scroll, writes[0], *twice, writes[1]]
    watch_and_judge("memory", [row, document, document], [script], seed)


def watch_and_judge(store, documents, scripts, seed):
    async def main(folder):
        host = SteppedHost(seed)
        async with served(STORES[store](folder), folder, host) as serving:
            first = Client(serving, [Program(steps=documents, writes=True)], None)
            await serving.run([first])
            host.hold()
            clients = await watch(serving, scripts)
            judge_shown(serving.judged(), clients, serving.newest_ts)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))
