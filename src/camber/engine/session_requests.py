"""What a client's mutation leaves, so that a resend runs nothing (semantics 4.7).

Its record is a document whose id is made from the session and the request: one point read finds it,
and two records of one request cannot both commit. Whoever runs a mutation looks for its record in the
same transaction; whoever commits it adds the record. That is made as the change that it is in the
end: there is one for every mutation of a client, and a transaction of its own would cost as much
as an insert does.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, NamedTuple, cast

from camber.engine import system_tables
from camber.engine.catalog import CREATION_TIME_FIELD, ID_FIELD, TableEntry
from camber.engine.stamps import Stamp
from camber.engine.transaction import FinishedTransaction, Transaction
from camber.storage.store import DocumentChange, EntryChange, id_key
from camber.values.ids import encode_id
from camber.values.keys import encode_part
from camber.values.packed import pack, unpack
from camber.values.pending import PACKED_COMMIT_TS, Places, places_in
from camber.values.timestamp import Timestamp
from camber.values.value import Int64, Value

#: Sessions whose part of the ids is kept: those that are active.
_SESSIONS: Final = 16_384


class Recorded(NamedTuple):
    """What came of a mutation that has committed at `ts`."""

    ts: Timestamp
    result: bytes
    log_lines: tuple[str, ...]


def record_id(session: str, request: int) -> str:
    """Return the id of the record of a client's mutation. Those of one session are neighbours."""
    internal = _session_part(session) + request.to_bytes(4, "big")
    return encode_id(system_tables.SESSION_REQUESTS_NUMBER, internal)


@lru_cache(maxsize=_SESSIONS)
def _session_part(session: str) -> bytes:
    return sha256(session.encode()).digest()[:12]


def find(transaction: Transaction, id: str) -> Recorded | None:
    """Return what a record says, or None if there is none; its absence is recorded as read."""
    packed = transaction.get_of(_TABLE, id)
    if packed is None:
        return None
    document = cast("dict[str, Any]", unpack(packed))
    return Recorded(
        ts=int(document["_commitTs"]),
        result=document["result"],
        log_lines=tuple(document["logLines"]),
    )


def with_record(
    finished: FinishedTransaction,
    *,
    id: str,
    session: str,
    request: int,
    result: bytes,
    result_places: Places = (),
    log_lines: tuple[str, ...],
    now_ns: int,
) -> FinishedTransaction:
    """Return a transaction, in which no record was found, with one among its changes.

    `result_places` are where the result has the commit timestamp.
    """
    # Never older than what it has read, as with all documents (semantics 1.3).
    creation_time = max(finished.begin_ts + 1, now_ns) / 1e6
    document: dict[str, Value] = {
        "_commitTs": PACKED_COMMIT_TS,
        CREATION_TIME_FIELD: creation_time,
        ID_FIELD: id,
        "session": session,
        "request": Int64(request),
        "result": result,
        "logLines": list(log_lines),
    }
    time_part, id_part = encode_part(creation_time), id_key(id)
    after = pack(document)
    stamp = Stamp(len(finished.changes), _TS_PLACES)
    if result_places:
        result_at = len(after) - len(result) - len(_packed_member("session", session))
        within = [result_at + at for at in result_places]
        stamp = Stamp(len(finished.changes), (*_TS_PLACES, *within))
    record = DocumentChange(
        table=_TABLE.number,
        id=id,
        before=None,
        after=after,
        entries=tuple(
            EntryChange(
                index=index.id, removed=None, added=index.key_before(document, time_part, id_part)
            )
            for index in _TABLE.stored
        ),
    )
    return FinishedTransaction(
        begin_ts=finished.begin_ts,
        reads=finished.reads,
        changes=(*finished.changes, record),
        source=finished.source,
        scheduled=finished.scheduled,
        staged=finished.staged,
        stamps=(*finished.stamps, stamp),
    )


def _packed_member(name: str, value: Value) -> bytes:
    """Return a member of an object as it is packed."""
    return pack(name) + pack(value)


def _table() -> TableEntry:
    table = system_tables.system_catalog().by_number(system_tables.SESSION_REQUESTS_NUMBER)
    assert table is not None
    return table


#: As in every deployment: tables of the system do not change while it runs.
_TABLE: Final = _table()
#: Records have their timestamp first, since members of objects are sorted.
_TS_PLACES: Final = places_in(pack({"_commitTs": PACKED_COMMIT_TS}))
