"""What must hold of the test application `bank`, read from its store as the next server would.

An oracle: it knows what clients were told, and works the rest out of the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from camber.engine.catalog import ID_FIELD
from camber.engine.engine import load_catalog
from camber.occ.interval import ALL, Order
from camber.occ.write_set import EveryKey
from camber.storage.index_ids import by_id_index
from camber.storage.sqlite.store import SqliteStore
from camber.storage.store import Snapshot, Store
from camber.values.keys import encode_key
from camber.values.packed import unpack
from tests.servers import REPOSITORY

BANK = REPOSITORY / "tests" / "applications" / "bank"
ACCOUNTS = [f"account {number}" for number in range(6)]
BALANCE = 1000
TOTAL = len(ACCOUNTS) * BALANCE
OPEN = "bank:open_accounts"
TRANSFER = "bank:transfer"
_ALL = 10**6

#: The client and the number of a transfer.
Transfer = tuple[str, int]


def check_bank(
    path: Path,
    *,
    acknowledged: Mapping[Transfer, int],
    sent: Iterable[Transfer],
    newest_before: int = 0,
) -> int:
    """Check a store that nobody has open; return its newest timestamp.

    `acknowledged` has the timestamps that clients were told, `sent` all that they asked for.
    """
    if not path.exists():
        assert not acknowledged
        assert not newest_before
        return 0
    store = SqliteStore(path)
    try:
        with store.snapshot() as snapshot:
            newest = snapshot.ts
            assert newest >= max([newest_before, *acknowledged.values()])
            accounts, transfers = (_documents(snapshot, name) for name in ("accounts", "transfers"))
            _check_rows(accounts, transfers, acknowledged, sent)
            _check_log(store, snapshot, transfers, acknowledged)
            return newest
    finally:
        store.close()


def _check_rows(accounts, transfers, acknowledged, sent):
    done = Counter((each["client"], each["number"]) for each in transfers)
    twice = [each for each, count in done.items() if count > 1]
    assert not twice, f"done twice: {twice}"
    lost = acknowledged.keys() - done.keys()
    assert not lost, f"acknowledged and lost: {lost}"
    assert done.keys() <= set(sent)
    if not accounts:
        assert not transfers
        return
    balances = dict.fromkeys(ACCOUNTS, BALANCE)
    for each in transfers:
        balances[each["source"]] -= each["amount"]
        balances[each["target"]] += each["amount"]
    assert {each["name"]: each["balance"] for each in accounts} == balances
    assert sum(balances.values()) == TOTAL


def _documents(snapshot: Snapshot, name: str) -> list[dict[str, Any]]:
    """Return a table's documents, after checking that each of its indexes has them all."""
    table = load_catalog(snapshot).by_name(name)
    if table is None:
        return []
    by_id = [
        row.packed
        for row in snapshot.scan(table.number, by_id_index(table.number), ALL, Order.ASC, _ALL)
    ]
    for index in table.indexes.values():
        rows = snapshot.scan(table.number, index.id, ALL, Order.ASC, _ALL)
        assert sorted(row.packed for row in rows) == sorted(by_id), f"{name}.{index.name}"
        assert [row.key for row in rows] == sorted({row.key for row in rows})
    documents: list[Any] = [unpack(packed) for packed in by_id]
    assert len({each[ID_FIELD] for each in documents}) == len(documents)
    return documents


def _check_log(store: Store, snapshot: Snapshot, transfers, acknowledged) -> None:
    """The log has each transfer once, when its client was told; followed, it leads to the rows."""
    assert store.history_floor() == 0, "the log is cut, so it tells less"
    log = store.tail(0)
    times = [commit.ts for commit in log]
    assert times == sorted(set(times))
    table = load_catalog(snapshot).by_name("transfers")
    if table is None:
        return
    by_id = by_id_index(table.number)
    places = {(each["client"], each["number"]): encode_key([each[ID_FIELD]]) for each in transfers}
    logged = {commit.ts: commit for commit in log if commit.source == TRANSFER}
    assert len(logged) == len(transfers)
    for transfer, ts in acknowledged.items():
        assert ts in logged, f"{transfer} was acknowledged at {ts}, and no commit is of then"
        touched = logged[ts].writes[by_id]
        assert not isinstance(touched, EveryKey)
        assert set(touched) == {places[transfer]}
    assert _followed(store, table.number, snapshot.ts) == {
        each[ID_FIELD]: each for each in transfers
    }


def _followed(store: Store, table: int, upto: int) -> dict[str, Any]:
    """Return the documents that all revisions since the beginning lead to."""
    documents: dict[str, Any] = {}
    through = 0
    while through < upto:
        told = store.revisions(
            since=through,
            upto=upto,
            wanted=lambda number: number == table,
            rows_max=_ALL,
            commits_max=1000,
            commit_rows_max=_ALL,
        )
        for revision in told.rows:
            if revision.packed is None:
                del documents[revision.id]
            else:
                documents[revision.id] = unpack(revision.packed)
        through = told.through
    return documents
