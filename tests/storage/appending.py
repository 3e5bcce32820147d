"""A process that appends until it is killed, and says what the store has acknowledged.

What commit `ts` does follows from `ts` alone, so whoever knows the newest one knows all that the
store must hold. A second thread makes checkpoints meanwhile.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from camber import limits
from camber.storage.sqlite.store import SqliteStore
from camber.storage.store import Commit, DocumentChange, EntryChange
from camber.values.ids import encode_id
from camber.values.keys import encode_key

TABLE = 10001
INDEX = 2**33 + 1000


def id_of(number: int) -> str:
    return encode_id(TABLE, number.to_bytes(16, "big"))


def steps(ts: int) -> list[tuple[int, int | None, int | None]]:
    """What commit `ts` makes of documents: number, the commit that wrote it last, and the new one."""
    made: list[tuple[int, int | None, int | None]] = [(ts, None, ts)]
    if ts % 3 == 0 and ts > 5:
        made.append((ts - 1, ts - 1, ts))
    if ts % 5 == 0 and ts > 10:
        victim = ts - 7
        made.append((victim, victim + 1 if (victim + 1) % 3 == 0 else victim, None))
    return made


def commit(ts: int) -> Commit:
    return Commit(ts=ts, changes=tuple(_change(*step) for step in steps(ts)), source="appending")


def value(number: int, written: int) -> bytes:
    return b"%d by %d " % (number, written) * 40


def key(number: int, written: int) -> bytes:
    return encode_key([f"{written % 7}", id_of(number)])


def _change(number: int, was: int | None, now: int | None) -> DocumentChange:
    entry = EntryChange(
        index=INDEX,
        removed=None if was is None else key(number, was),
        added=None if now is None else key(number, now),
    )
    return DocumentChange(
        table=TABLE,
        id=id_of(number),
        before=None if was is None else value(number, was),
        after=None if now is None else value(number, now),
        entries=(entry,),
    )


def main(path: Path) -> None:
    limits.store_log_pages = 200  # type: ignore[misc]  # so that one is always going on
    store = SqliteStore(path)
    due = threading.Event()

    def check() -> None:
        while True:
            if store.checkpoint():
                due.set()

    threading.Thread(target=check, daemon=True).start()
    ts = store.newest_ts()
    while True:
        group = [commit(ts + n) for n in range(1, ts % 20 + 2)]
        store.append(group)
        ts = group[-1].ts
        print(ts, flush=True)
        if due.is_set():
            due.clear()
            store.finish_checkpoint()
        if ts % 50 < 3:
            store.trim(before=ts - 100, commits_max=50)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
