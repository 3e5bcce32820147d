"""Records of clients' mutations: made without a transaction, and what one would have made."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber.engine import session_requests, system_tables
from camber.engine.committer import CommitConflict
from camber.engine.engine import Engine
from camber.host import RealHost
from camber.storage.memory import MemoryStore
from camber.values.packed import pack, unpack
from camber.values.pending import PLACEHOLDER, pack_pending, places_in
from camber.values.value import COMMIT_TS, Int64
from tests.engine.harness import opened, read, run, write
from tests.strategies import text, values

LINES = st.lists(text, max_size=3).map(tuple)


def recorded(transaction, request, result=b"\xc0", lines=(), now_ns=0):
    return session_requests.with_record(
        transaction.finish(),
        id=session_requests.record_id("s", request),
        session="s",
        request=request,
        result=result,
        log_lines=lines,
        now_ns=now_ns,
    )


@given(request=st.integers(0, 2**32 - 1), result=values.map(pack), lines=LINES)
def test_a_record_is_the_change_that_an_insert_makes(request, result, lines):
    async def main():
        engine = Engine(host=RealHost(), store=MemoryStore())
        transaction = engine.begin("test")
        made = recorded(transaction, request, result, lines, transaction.now_ns).changes
        transaction.insert(
            system_tables.SESSION_REQUESTS,
            {
                "_commitTs": COMMIT_TS,
                "session": "s",
                "request": Int64(request),
                "result": result,
                "logLines": list(lines),
            },
            id=session_requests.record_id("s", request),
        )
        assert made == transaction.finish().changes
        transaction.close()
        await engine.close()

    asyncio.run(main())


# What looks like the placeholder is what the mutation returned.
@pytest.mark.parametrize("result", [pack(1), pack(PLACEHOLDER), PLACEHOLDER])
def test_a_record_is_found_with_the_timestamp_of_its_commit(tmp_path, result):
    async def main():
        async with opened(tmp_path, "sqlite") as engine:
            transaction = engine.begin("test")
            assert session_requests.find(transaction, session_requests.record_id("s", 7)) is None
            finished = recorded(transaction, 7, result, ("[LOG] 'sent'",))
            transaction.close()
            ts = await engine.committer.commit(finished)
            for request, found in ((7, (ts, result, ("[LOG] 'sent'",))), (8, None)):
                id_ = session_requests.record_id("s", request)
                assert read(engine, lambda tx, id_=id_: session_requests.find(tx, id_)) == found

    run(main())


@given(
    result=values,
    other=values,
    lines=LINES,
    session=text.filter(bool),
    ts=st.integers(1, 2**63 - 1),
)
def test_a_timestamp_goes_into_the_result_where_it_is_told(result, other, lines, session, ts):
    async def main():
        engine = Engine(host=RealHost(), store=MemoryStore())
        transaction = engine.begin("test")
        packed = pack_pending([other, COMMIT_TS, result, COMMIT_TS])
        finished = session_requests.with_record(
            transaction.finish(),
            id=session_requests.record_id(session, 1),
            session=session,
            request=1,
            result=packed,
            result_places=places_in(packed),
            log_lines=lines,
            now_ns=0,
        )
        after = finished.stamped(ts)[0].after
        assert after is not None
        document: Any = unpack(after)
        assert document["result"] == pack([other, Int64(ts), result, Int64(ts)])
        assert document["_commitTs"] == Int64(ts)
        assert (document["session"], document["logLines"]) == (session, list(lines))
        transaction.close()
        await engine.close()

    asyncio.run(main())


def test_of_two_runs_of_one_request_one_commits(tmp_path):
    async def main():
        async with opened(tmp_path, "sqlite") as engine:
            runs = [engine.begin("first"), engine.begin("second")]
            finished = []
            for transaction in runs:
                session_requests.find(transaction, session_requests.record_id("s", 7))
                finished.append(recorded(transaction, 7))
                transaction.close()
            await engine.committer.commit(finished[0])
            with pytest.raises(CommitConflict):
                await engine.committer.commit(finished[1])
            # Nobody else is held up by it.
            await write(engine, lambda tx: tx.insert("notes", {}))

    run(main())
