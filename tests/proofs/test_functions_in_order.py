"""The same for functions: through the runtime, its retries, its cache, and records of requests."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.proofs.effort import one_in
from tests.proofs.judging import Program
from tests.proofs.operations import asking, inserting, writing
from tests.proofs.serial import Failing
from tests.proofs.serving import Client, served
from tests.proofs.stepping import SteppedHost
from tests.storage.stores import STORES

whos = st.sampled_from([None, "ada", "grace"])
mutations = st.builds(
    Program,
    steps=writing,
    writes=st.just(True),
    who=whos,
    raises=st.sampled_from([False] * 4 + [True]),
)
_ages = st.integers(0, 2)


@st.composite
def clients(draw):
    """What each client runs; queries are of few, so that results are shared."""
    queries = st.sampled_from(draw(st.lists(asking, min_size=1, max_size=2)))
    asked = st.builds(Program, steps=queries, writes=st.just(False), age=_ages, who=whos)
    programs = st.lists(st.one_of(mutations, asked), min_size=1, max_size=4)
    return draw(st.lists(programs, min_size=2, max_size=4))


@pytest.mark.parametrize("store", ["memory", "sqlite"])
@one_in(8)
@given(
    documents=inserting,
    clients=clients(),
    seed=st.integers(0, 2**16),
    fates=st.lists(st.sampled_from(["lands"] * 4 + ["is lost", "lands and complains"]), max_size=6),
)
def test_functions_are_explained_by_the_order_of_their_commits(
    store, documents, clients, seed, fates
):
    async def main(folder):
        host = SteppedHost(seed)
        failing = Failing(STORES[store](folder), [])
        async with served(failing, folder, host) as serving:
            first = Client(serving, [Program(steps=documents, writes=True)], None)
            await serving.run([first])
            failing.fates = iter(fates)
            host.hold()
            await serving.run(
                # Who cannot ask again never learns what a store that fails has done.
                Client(serving, programs, f"session {at}" if at or fates else None)
                for at, programs in enumerate(clients)
            )
            serving.judged()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))
