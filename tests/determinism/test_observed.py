"""What a query has observed decides for whom, and how long, its result will do."""

from __future__ import annotations

import pytest

from camber import limits
from camber.engine.variables import VariableChange
from tests.functions.projects import project_app

MODULE = """
    import random, time
    from datetime import datetime
    from camber import *

    @query
    def clock(ctx: QueryCtx) -> float:
        return time.time()

    @query
    def counter(ctx: QueryCtx) -> float:
        return time.perf_counter()

    @query
    def date(ctx: QueryCtx) -> datetime:
        return datetime.now(UTC)

    @query
    def default(ctx: QueryCtx, at: float = 0, seen: Stamp | None = None) -> float:
        return Stamp().at

    @query
    def nested(ctx: QueryCtx) -> float:
        return ctx.run_query(clock)

    @query
    def chance(ctx: QueryCtx) -> float:
        return random.random()

    @query
    def stored(ctx: QueryCtx) -> list[float]:
        return [note["_creationTime"] for note in ctx.db.query("notes")]

    @query
    def processor(ctx: QueryCtx) -> list[float]:
        time.gmtime(0), datetime.fromtimestamp(0, UTC)
        return [time.process_time(), random.random()]

    @query
    def foo(ctx: QueryCtx) -> list[Any]:
        return [ctx.env.get("FOO"), random.random()]

    @query
    def has_foo(ctx: QueryCtx) -> list[Any]:
        return ["FOO" in ctx.env, random.random()]

    @query
    def bar(ctx: QueryCtx) -> list[Any]:
        return [ctx.env.get("BAR"), random.random()]

    @query
    def url(ctx: QueryCtx) -> list[Any]:
        return [ctx.env["CONVEX_CLOUD_URL"], random.random()]

    @mutation
    def note(ctx: MutationCtx) -> None:
        ctx.db.insert("notes", {})
"""
HEAD = """
    from __future__ import annotations
    from dataclasses import dataclass, field
    from datetime import UTC
    from time import time as now
    from typing import Any

    @dataclass
    class Stamp:
        at: float = field(default_factory=now)
"""


@pytest.fixture
def app(tmp_path):
    with project_app(tmp_path, m=HEAD + MODULE) as app:
        yield app


def wait(app, seconds):
    app._core.deployment.host._now_ns += int(seconds * 1e9)


@pytest.mark.parametrize("name", ["clock", "counter", "date", "default", "nested"])
def test_a_result_that_shows_the_time_is_soon_too_old_to_be_given_out(app, name):
    first = app.query(f"m:{name}")
    assert app.query(f"m:{name}") == first
    wait(app, limits.observed_time_s_max - 1)
    assert app.query(f"m:{name}") == first
    wait(app, 1)
    assert app.query(f"m:{name}") != first


@pytest.mark.parametrize("name", ["chance", "stored", "processor", "foo"])
def test_chance_and_creation_times_and_what_stands_still_are_given_out_for_ever(app, name):
    app.mutation("m:note")
    first = app.query(f"m:{name}")
    wait(app, 1_000_000)
    assert app.query(f"m:{name}") == first


def test_who_watches_is_not_told_that_time_passes(app):
    watched = app.subscribe("m:clock")
    first = watched.value
    wait(app, 1000)
    assert app.query("m:clock") != first
    assert not watched.is_stale
    assert watched.value == first
    assert app.subscribe("m:clock").value != first


def test_a_variable_that_changes_concerns_those_who_read_it(app):
    readers = {name: app.subscribe(f"m:{name}") for name in ("foo", "has_foo", "bar", "url")}
    deployment = app._core.deployment

    def stale_after(name, value):
        seen = {each: reader.value for each, reader in readers.items()}
        app._core.wait(deployment.change_variables([VariableChange(name=name, value=value)]))
        stale = {each for each, reader in readers.items() if reader.is_stale}
        changed = {each for each, reader in readers.items() if reader.value != seen[each]}
        assert changed == stale
        return stale

    # Absent at first: that is something to read too.
    assert stale_after("FOO", "1") == {"foo", "has_foo"}
    assert readers["foo"].value[0] == "1"
    assert stale_after("FOO", "2") == {"foo", "has_foo"}
    assert stale_after("FOOT", "3") == set()
    assert stale_after("BAR", "4") == {"bar"}
    assert stale_after("FOO", None) == {"foo", "has_foo"}
    assert readers["has_foo"].value[0] is False
