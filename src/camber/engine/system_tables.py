"""The tables that Camber keeps for itself, stored and read like any other.

Their numbers and indexes are fixed, so that they can be read before anything else is known. What
is written here is written through transactions, so whoever reads it is invalidated by it.
"""

from __future__ import annotations

from typing import Final

from camber.engine.catalog import Catalog, IndexEntry, IndexState, TableEntry, table_entry
from camber.values.ids import encode_id
from camber.values.value import COMMIT_TS, Int64, Value

#: Numbers from 512 to 10,000 are for system tables, user tables start above (protocol 2.4).
USER_TABLE_NUMBER_MIN: Final = 10_001
#: Ids of declared indexes of user tables start here; those of system tables lie below.
USER_INDEX_ID_MIN: Final = 2**33 + 1000

#: name, number of each user table.
TABLES: Final = "_tables"
#: The declared indexes of user tables.
INDEXES: Final = "_indexes"
#: Results of clients' mutations, kept so that a resend runs nothing (semantics 4.7).
SESSION_REQUESTS: Final = "_session_requests"
#: Deployment variables, one document per name.
ENVIRONMENT_VARIABLES: Final = "_environment_variables"
#: The release that serves; one document, replaced by each push.
RELEASES: Final = "_releases"
#: Files and scheduled functions, which applications may read.
STORAGE: Final = "_storage"
SCHEDULED_FUNCTIONS: Final = "_scheduled_functions"
#: What is to run and when: one small document for each function that is scheduled and each cron job.
JOBS: Final = "_jobs"
#: Cron jobs as the serving release declares them, with their last runs.
CRON_JOBS: Final = "_cron_jobs"
#: Admin keys that were issued; of their secrets only hashes.
ADMIN_KEYS: Final = "_admin_keys"
#: Snapshot exports and imports: one document each, with its state (protocol 8.3).
EXPORTS: Final = "_exports"
IMPORTS: Final = "_snapshot_imports"
#: What is kept of each file beside its `_storage` document: `engine.file_ledger`.
FILE_LEDGER: Final = "_file_ledger"
#: Components whose data is being deleted: `engine.component_data`.
COMPONENT_DELETIONS: Final = "_component_deletions"

#: Whose a document of a readable table is, where it is a component's; nobody is shown the field.
COMPONENT_FIELD: Final = "component"
BY_COMPONENT: Final = "by_component"

_NUMBERS: Final = {
    TABLES: 512,
    INDEXES: 513,
    SESSION_REQUESTS: 514,
    ENVIRONMENT_VARIABLES: 515,
    RELEASES: 516,
    STORAGE: 517,
    SCHEDULED_FUNCTIONS: 518,
    JOBS: 519,
    ADMIN_KEYS: 520,
    CRON_JOBS: 521,
    EXPORTS: 530,
    IMPORTS: 531,
    FILE_LEDGER: 540,
    COMPONENT_DELETIONS: 545,
}

_INDEXES: Final = {
    TABLES: [IndexEntry(id=2**33 + 1, name="by_name", fields=("name",))],
    INDEXES: [IndexEntry(id=2**33 + 2, name="by_table", fields=("table",))],
    ENVIRONMENT_VARIABLES: [IndexEntry(id=2**33 + 3, name="by_name", fields=("name",))],
    JOBS: [IndexEntry(id=2**33 + 4, name="by_due", fields=("lane", "due"))],
    SCHEDULED_FUNCTIONS: [
        IndexEntry(id=2**33 + 5, name="by_completed_time", fields=("completedTime",)),
        IndexEntry(id=2**33 + 6, name=BY_COMPONENT, fields=(COMPONENT_FIELD,)),
    ],
    STORAGE: [IndexEntry(id=2**33 + 7, name=BY_COMPONENT, fields=(COMPONENT_FIELD,))],
    FILE_LEDGER: [
        IndexEntry(id=2**33 + 20, name="by_url", fields=("url",)),
        IndexEntry(id=2**33 + 21, name="by_state", fields=("state",)),
    ],
}

SESSION_REQUESTS_NUMBER: Final = _NUMBERS[SESSION_REQUESTS]
RELEASES_NUMBER: Final = _NUMBERS[RELEASES]
INDEXES_BY_TABLE: Final = _INDEXES[INDEXES][0].id
TABLES_NUMBER: Final = _NUMBERS[TABLES]
INDEXES_NUMBER: Final = _NUMBERS[INDEXES]
ADMIN_KEYS_NUMBER: Final = _NUMBERS[ADMIN_KEYS]
ENVIRONMENT_VARIABLES_NUMBER: Final = _NUMBERS[ENVIRONMENT_VARIABLES]
SCHEDULED_FUNCTIONS_NUMBER: Final = _NUMBERS[SCHEDULED_FUNCTIONS]
JOBS_NUMBER: Final = _NUMBERS[JOBS]
CRON_JOBS_NUMBER: Final = _NUMBERS[CRON_JOBS]
STORAGE_NUMBER: Final = _NUMBERS[STORAGE]
STORAGE_BY_COMPONENT: Final = _INDEXES[STORAGE][0].id
FILE_LEDGER_NUMBER: Final = _NUMBERS[FILE_LEDGER]

#: Tables of Camber's whose documents may hold the timestamp of their commit.
STAMPED: Final = frozenset({SESSION_REQUESTS_NUMBER, INDEXES_NUMBER, _NUMBERS[IMPORTS]})

#: System tables that `ctx.db.system` may read.
READABLE: Final = frozenset({STORAGE, SCHEDULED_FUNCTIONS})


def system_catalog() -> Catalog:
    """Return the catalog of an empty deployment."""
    return Catalog(
        table_entry(number, name, _INDEXES.get(name, ())) for name, number in _NUMBERS.items()
    )


def table_document(number: int, name: str) -> dict[str, Value]:
    """Return the fields of a `_tables` document."""
    return {"number": number, "name": name}


def index_document(table: TableEntry, index: IndexEntry) -> dict[str, Value]:
    """Return the fields of an `_indexes` document.

    `since` becomes the commit's timestamp, but for a dropped index that nobody has ever read.
    """
    unread = index.state is IndexState.DROPPED and index.since == 0
    kind: dict[str, Value] = {}
    if index.tokenizer is not None:
        kind["tokenizer"] = index.tokenizer
    if index.dimensions is not None:
        kind["dimensions"] = index.dimensions
    return {
        **kind,
        "since": Int64(0) if unread else COMMIT_TS,
        "table": table.number,
        "index": index.id,
        "name": index.name,
        "fields": list(index.fields),
        "unique": index.unique,
        "state": index.state.value,
    }


def index_entry(document: dict[str, Value]) -> IndexEntry:
    """Return the index that an `_indexes` document describes."""
    number, name, fields = document["index"], document["name"], document["fields"]
    since, tokenizer = document["since"], document.get("tokenizer")
    dimensions = document.get("dimensions")
    assert isinstance(since, Int64)
    assert tokenizer is None or isinstance(tokenizer, str)
    assert dimensions is None or isinstance(dimensions, int)
    assert isinstance(number, int)
    assert isinstance(name, str)
    assert isinstance(fields, list)
    return IndexEntry(
        id=number,
        name=name,
        fields=tuple(str(path) for path in fields),
        unique=document["unique"] is True,
        state=IndexState(document["state"]),
        since=int(since),
        tokenizer=tokenizer,
        dimensions=dimensions,
    )


def index_document_id(index: int) -> str:
    """Return the id of the document of an index."""
    return encode_id(INDEXES_NUMBER, index.to_bytes(16, "big"))


def singleton_id(table: str) -> str:
    """Return the id of the only document of a table that holds one."""
    return encode_id(_NUMBERS[table], bytes(16))


#: The document that says which release serves.
RELEASE_ID: Final = singleton_id(RELEASES)
