"""Some order of the transactions explains all that they saw: the order of their timestamps.

Programs run at once on the engine, interleaved step by step as a failure needs it; a model that
shares no code with the engine runs the same programs one after another.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber.engine.engine import Engine
from tests.proofs.effort import one_in
from tests.proofs.judging import Judge, Program
from tests.proofs.operations import (
    inserting,
    placed,
    placing,
    reading,
    seeking,
    seeking_and_placing,
    writing,
)
from tests.proofs.serial import Driver, Failing, everything, set_up
from tests.proofs.stepping import SteppedHost
from tests.storage.stores import STORES

programs = st.lists(
    st.one_of(
        st.builds(Program, steps=writing, writes=st.just(True)),
        st.builds(Program, steps=writing, writes=st.just(True), ahead=st.just(True)),
        st.builds(Program, steps=writing, writes=st.just(True), raises=st.booleans()),
        st.builds(Program, steps=reading, writes=st.just(False), age=st.integers(0, 4)),
    ),
    min_size=2,
    max_size=7,
)
seeds = st.integers(0, 2**16)
fates = st.lists(
    st.sampled_from(["lands", "lands", "lands", "is lost", "lands and complains"]), max_size=4
)
on_every_store = pytest.mark.parametrize("store", STORES)


@on_every_store
@one_in(5)
@given(documents=inserting, programs=programs, seed=seeds, trims=st.booleans())
def test_timestamps_are_an_order_that_explains_every_read(store, documents, programs, seed, trims):
    _judge(store, documents, programs, seed, trims=trims)


@on_every_store
@one_in(5)
@given(documents=inserting, programs=programs, seed=seeds, fates=fates)
def test_so_they_are_when_the_store_fails(store, documents, programs, seed, fates):
    """What failed without a trace has left none; what has landed is there for all."""
    _judge(store, documents, programs, seed, fates=fates)


about_vectors = st.lists(
    st.one_of(
        st.builds(Program, steps=seeking_and_placing, writes=st.just(True)),
        st.builds(Program, steps=seeking_and_placing, writes=st.just(True), ahead=st.just(True)),
        st.builds(Program, steps=placing, writes=st.just(True)),
        st.builds(Program, steps=seeking, writes=st.just(False), age=st.integers(0, 4)),
    ),
    min_size=2,
    max_size=6,
)


@on_every_store
@one_in(12)
@given(documents=placed, programs=about_vectors, seed=seeds)
def test_they_explain_what_was_nearest(store, documents, programs, seed):
    _judge(store, documents, programs, seed)


def _judge(store, documents, programs, seed, *, trims=False, fates=()):
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_run(store, Path(folder), documents, programs, seed, trims, fates))


async def _run(store, folder, documents, programs, seed, trims, fates):
    host = SteppedHost(seed)
    # The tables, and the documents that there are in the beginning, always land.
    failing = Failing(STORES[store](folder), ["lands", "lands", *fates])
    engine = Engine(host=host, store=failing)
    await set_up(engine)
    host.hold()
    driver = Driver(engine, host)
    judge = Judge(engine.newest_ts)
    await driver.run([Program(steps=documents, writes=True)])
    await driver.run(programs, trims=trims)
    judge.judge(driver.events)
    kept = driver.kept_timestamps
    _look_at_everything(engine, kept, judge)
    host.free()
    await engine.close()
    if store != "memory":
        await _open_again(store, folder, host, kept, judge)


def _look_at_everything(engine, timestamps, judge):
    for ts in timestamps:
        judge.replay(everything(engine, ts, judge.at(ts)), judge.at(ts))


async def _open_again(store, folder, host, kept, judge):
    """It is all there, and time goes on although the clock was set back."""
    host.set_back(3600)
    engine = Engine(host=host, store=STORES[store](folder))
    assert engine.newest_ts == kept[-1]
    _look_at_everything(engine, kept, judge)
    driver = Driver(engine, host)
    await driver.run([Program(steps=_ONE_MORE, writes=True)])
    judge.judge(driver.events)
    _look_at_everything(engine, driver.timestamps, judge)
    await engine.close()


_ONE_MORE = [{"op": "insert", "table": "docs", "fields": {"a": "a"}}]
