"""The log of functions: keys, cursors, bounds, readers, and what a run is told as."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber import limits
from camber.errors import WriteConflict
from camber.functions.definition import FunctionKind
from camber.functions.logs import LogLine
from camber.host import RealHost
from camber.identity.identity import Admin, Anonymous, Identity, User, UserIdentity
from camber.runtime.executor import Caller, FunctionCall, Origin
from camber.runtime.function_log import (
    Completion,
    Conflict,
    FunctionLog,
    Outcome,
    Progress,
)
from camber.runtime.results import Failure, QueryResult, Request, Run

_ADA = UserIdentity(token_identifier="i|ada", subject="ada", issuer="i")


class Clock(RealHost):
    """A wall clock that a test sets, backwards too."""

    def __init__(self) -> None:
        super().__init__()
        self.ns = 10**18

    def now_ns(self) -> int:
        return self.ns


def _call(path="messages:list", identity=Anonymous(), **more):  # noqa: B008
    return FunctionCall(
        path=path,
        arguments=b"",
        identity=identity,
        caller=Caller.CLIENT,
        request_id="0123456789abcdef",
        **more,
    )


def _result(**more):
    return QueryResult(ts=1, packed=b"12345", failure=None, log_lines=(), journal=None, **more)


def _line(text="'x'"):
    return LogLine(level="LOG", messages=(text,), timestamp_ms=5)


def _failed():
    return Failure(
        message="[Request ID: r] Server Error",
        data=None,
        headline="Error: no",
        frames=("a:1 in f",),
    )


def _entries(log: FunctionLog) -> list[Any]:
    return list(log.after(0))


_STEPS = st.lists(
    st.one_of(
        st.sampled_from(["hit", "run", "fail", "push", "push", "push", "other"]),
        st.integers(-2000, 2000),  # the clock moves by so many nanoseconds
        st.just(20_000_000),
    ),
    max_size=40,
)


@given(_STEPS, st.integers(-1, 41))
def test_a_cursor_finds_what_came_after_it(steps, at):
    """Whatever the clock does; the oracle keeps everything in a plain list."""
    clock = Clock()
    log = FunctionLog(clock)
    everything: list[tuple[str, str]] = []
    told: list[str] = []
    results = {"push": _result(), "other": _result()}
    for step in steps:
        if isinstance(step, int):
            clock.ns += step
            continue
        path = f"m:f{len(everything)}"
        if step == "hit":
            log.hit(_call(path), _result())
        elif step in results:
            # What many sockets are sent is kept together, and read one by one.
            path = f"m:{step}"
            who, name = (Anonymous(), "unknown") if len(everything) % 2 else (User(_ADA), "user")
            request = Request(path, b"", None, "client", "")
            together: list[Identity] = [who] * (1 + len(steps) % 3)
            told += [name] * len(together)
            log.answered(request, Origin.SYNC_WORKER, together, results[step], clock.ns)
            everything += [(path, step)] * (len(together) - 1)
        else:
            failure = _failed() if step == "fail" else None
            log.begin(_call(path), FunctionKind.QUERY).ended(Run(), failure, 1)
        everything.append((path, step))
    entries = _entries(log)
    assert [entry.path for entry in entries] == [path for path, _ in everything]
    cached = {"hit", *results}
    assert [entry.cached for entry in entries] == [step in cached for _, step in everything]
    assert [entry.identity_type for entry in entries if entry.path in {"m:push", "m:other"}] == told
    keys = [entry.key / 1000 for entry in entries]
    assert all(one < other for one, other in itertools.pairwise(keys))
    if -1 < at < len(keys):
        following = [path for path, _ in everything[at + 1 :]]
        assert [entry.path for entry in log.after(keys[at])] == following
    assert len({log.execution_id(entry) for entry in entries}) == len(entries)
    assert log.hits == sum(step in cached for _, step in everything)
    assert sum(log.runs.values()) == len(everything) - log.hits


def test_the_oldest_are_forgotten_and_hits_do_not_push_out_runs(monkeypatch):
    monkeypatch.setattr(limits, "function_log_entries_max", 10)
    log = FunctionLog(RealHost())
    for number in range(12):
        log.begin(_call(f"m:run{number}"), FunctionKind.MUTATION).ended(Run(), None, 0)
    for number in range(500):
        log.hit(_call(f"m:hit{number}"), _result())
    entries = _entries(log)
    assert [entry.path for entry in entries] == [
        *(f"m:run{number}" for number in range(2, 12)),
        *(f"m:hit{number}" for number in range(490, 500)),
    ]


def test_entries_are_bounded_in_bytes(monkeypatch):
    monkeypatch.setattr(limits, "function_log_bytes_max", 10_000)
    log = FunctionLog(RealHost())
    for number in range(8):
        run = Run(log_lines=(_line("x" * 4000),))
        log.begin(_call(f"m:run{number}"), FunctionKind.QUERY).ended(run, None, 0)
        log.hit(_call(f"m:hit{number}"), _result(logged=run.log_lines))
    assert [entry.path for entry in _entries(log)] == ["m:run6", "m:hit6", "m:run7", "m:hit7"]
    huge = Run(log_lines=(_line("x" * 20_000),))
    log.begin(_call("m:huge"), FunctionKind.QUERY).ended(huge, None, 0)
    assert [entry.path for entry in _entries(log)] == ["m:hit6", "m:hit7"]


def test_a_failure_is_whole_and_a_system_error_has_its_code():
    log = FunctionLog(RealHost())
    log.begin(_call(), FunctionKind.QUERY).ended(Run(), _failed(), 7)
    execution = log.begin(_call(), FunctionKind.MUTATION)
    for _ in range(2):
        execution.lost_to(Conflict(table="counters", source="counters:increment"))
    execution.raised(WriteConflict("lost twice"))
    log.begin(_call(), FunctionKind.QUERY).raised(AssertionError("secret of ours"))
    failed, lost, bug = _entries(log)
    assert failed.error == "Error: no\n    at a:1 in f"
    assert (failed.outcome, failed.return_bytes) == (Outcome.FAILURE, 0)
    assert lost.error == "OptimisticConcurrencyControlFailure: lost twice"
    assert (lost.retries, lost.conflict.table) == (2, "counters")
    assert log.retries == 2
    assert bug.outcome is Outcome.ERROR
    assert "secret" not in bug.error


@pytest.mark.parametrize(
    ("identity", "named"),
    [
        (Anonymous(), "unknown"),
        (User(_ADA), "user"),
        (Admin(), "instance_admin"),
        (Admin(_ADA), "member_acting_user"),
    ],
)
def test_identities_are_named_and_not_told(identity, named):
    log = FunctionLog(RealHost())
    log.hit(_call(identity=identity, origin=Origin.SYNC_WORKER), _result())
    (entry,) = _entries(log)
    assert entry.identity_type == named
    assert "ada" not in repr(entry)


def test_system_queries_are_no_entries():
    log = FunctionLog(RealHost())
    log.hit(_call("_system/cli/tables:default"), _result())
    log.begin(_call("_system/cli/tables:default"), FunctionKind.QUERY).ended(Run(), None, 0)
    assert _entries(log) == []
    assert log.hits == 0


def test_lines_of_one_turn_are_one_entry_and_all_precede_the_end():
    async def main():
        log = FunctionLog(RealHost())
        call = _call("ai:reply", execution_id="e1")
        execution = log.begin(call, FunctionKind.ACTION)
        execution.progress(_line("1"))
        execution.progress(_line("2"))
        await asyncio.sleep(0)
        execution.progress(_line("3"))
        execution.ended(Run(), None, 3)
        first, second, end = _entries(log)
        assert isinstance(first, Progress)
        assert [line.messages for line in first.lines] == [("1",), ("2",)]
        assert [line.messages for line in second.lines] == [("3",)]
        assert isinstance(end, Completion)
        assert end.lines == ()
        assert [log.execution_id(each) for each in (first, second, end)] == ["e1"] * 3
        await asyncio.sleep(0)
        assert len(_entries(log)) == 3

    asyncio.run(main())


def test_listeners_hear_of_runs_and_not_of_hits():
    log = FunctionLog(RealHost())
    heard: list[Any] = []
    log.listen(heard.append)
    log.hit(_call(), _result())
    log.begin(_call(), FunctionKind.QUERY).ended(Run(), None, 0)
    assert [entry.cached for entry in heard] == [False]


def test_a_reader_waits_for_what_comes_next():
    async def main():
        log = FunctionLog(RealHost())
        for happen in (
            lambda: log.hit(_call(), _result()),
            lambda: log.begin(_call(), FunctionKind.QUERY).ended(Run(), None, 0),
            log.close,
        ):
            waiting = [asyncio.ensure_future(log.more(60)) for _ in range(3)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not any(each.done() for each in waiting)
            happen()
            await asyncio.gather(*waiting)
        await log.more(60)
        assert log.is_closed

    asyncio.run(main())


def test_a_reader_that_gave_up_is_forgotten():
    async def main():
        log = FunctionLog(RealHost())
        await log.more(0.001)
        log.hit(_call(), _result())
        waiting = asyncio.ensure_future(log.more(60))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        log.hit(_call(), _result())

    asyncio.run(main())
