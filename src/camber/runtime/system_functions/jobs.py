"""Cron jobs: when they run next, and how they went."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Final

from camber.engine import system_tables
from camber.engine.scheduled import Lane, find_job
from camber.identity.operations import Operation
from camber.occ.interval import ALL, Order
from camber.runtime.system_functions.declaring import SystemCall, SystemQuery, system_query
from camber.values.packed import unpack
from camber.values.paths import FunctionPath


@system_query("_system/frontend/listCronJobs:default", Operation.VIEW_DATA)
def cron_jobs(call: SystemCall) -> list[dict[str, Any]]:
    """The cron jobs of the serving release, by name, each with its last runs, the newest first.

    Those of a component, if one is asked about; else of all.
    Times are milliseconds since the Unix epoch; `nextRun` is null while one runs.
    """
    table = call.transaction.table(system_tables.CRON_JOBS)
    assert table is not None
    with closing(call.transaction.scan(table, table.indexes["by_id"], ALL, Order.ASC)) as rows:
        documents: list[Any] = [unpack(row.packed) for row in rows]
    return sorted(
        (
            _shown(call, document)
            for document in documents
            if call.component in {"", document["component"]}
        ),
        key=lambda shown: (shown["component"], shown["name"]),
    )


def _shown(call: SystemCall, document: dict[str, Any]) -> dict[str, Any]:
    job = find_job(call.transaction, document["_id"])
    waits = job is not None and job.lane in {Lane.MUTATION, Lane.ACTION}
    return {
        "name": document["name"],
        "component": document["component"],
        # Whose function it runs.
        "functionComponent": document.get("target", document["component"]),
        "function": FunctionPath.parse(document["path"]).canonical,
        "args": document["args"],
        "schedule": document["schedule"],
        "nextRun": job.due if job is not None and waits else None,
        "runs": [
            {
                "time": run["due_ms"],
                "durationS": run["duration_s"],
                "error": run["error"],
                "result": run["result"],
                "logLines": run["log_lines"],
                "skipped": run["skipped"],
            }
            for run in document["runs"]
        ],
    }


QUERIES: Final[tuple[SystemQuery, ...]] = (cron_jobs,)
