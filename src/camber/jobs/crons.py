"""The cron jobs of the serving release: what a push makes of them, and what follows a run.

Each is a document of `_cron_jobs` with its schedule and last runs, and a job that waits for its next
time. Whoever ends a run gives the job its next place in the same commit, so that there is one run
at a time and the next is never lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from camber import limits
from camber.engine import system_tables
from camber.engine.scheduled import Job, Lane, find_job, job_id, move_job, put_job
from camber.engine.transaction import Transaction
from camber.functions.analysis import AnalysedCron, Analysis
from camber.jobs.occurrences import changed, first, following
from camber.occ.interval import ALL, Order
from camber.runtime.scheduling import lane_of
from camber.values.ids import encode_id
from camber.values.packed import unpack
from camber.values.value import Value, canonical

_WAITING: Final = frozenset({Lane.MUTATION, Lane.ACTION})


class CronRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a cron job; or, `skipped`, how many were passed over when one ended too late.

    `due_ms` is when it was to begin. `result` is what it returned, as JSON; long ones are cut off,
    and so are log lines.
    """

    due_ms: float
    duration_s: float = 0.0
    error: str | None = None
    result: str | None = None
    log_lines: tuple[str, ...] = ()
    skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CronChanges:
    """What a push has changed, by name; that of a component has its path before it."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


def declare(transaction: Transaction, analysis: Analysis, now_ms: float) -> CronChanges:
    """Make the cron jobs those of a release, in the transaction that switches to it.

    One whose schedule stays the same keeps its next time, and its last runs.
    """
    stored = {str(document["_id"]): document for document in documents(transaction)}
    added, altered = [], []
    wanted = [
        (cron, lane_of(analysis.everywhere()[cron.target].functions[cron.path]))
        for declared in analysis.everywhere().values()
        for cron in declared.crons
    ]
    for cron, lane in wanted:
        id_ = cron_id(cron)
        known = stored.pop(id_, None)
        fields = _fields(cron)
        if known is None:
            transaction.insert(system_tables.CRON_JOBS, {**fields, "runs": []}, id=id_)
            _arm(transaction, cron, lane, first(cron.schedule, now_ms))
            added.append(_shown(cron.component, cron.name))
            continue
        is_same_schedule = known["schedule"] == fields["schedule"]
        if fields != _declared_fields(known):
            transaction.replace(id_, {**fields, "runs": known["runs"]})
            altered.append(_shown(cron.component, cron.name))
        job = find_job(transaction, id_)
        if job is None or (job.lane in _WAITING and not is_same_schedule):
            _arm(transaction, cron, lane, changed(cron.schedule, now_ms))
        elif job.lane in _WAITING and (job.lane, job.component, job.path) != (
            lane,
            cron.target,
            cron.path,
        ):
            # One that is tried again keeps its times, too.
            renamed = replace(job, component=cron.target, path=cron.path)
            move_job(transaction, renamed, lane, job.due, job.attempt)
    for id_ in stored:
        transaction.delete(id_)
        if transaction.get(job_id(id_)) is not None:
            transaction.delete(job_id(id_))
    removed = [
        _shown(str(document["component"]), str(document["name"])) for document in stored.values()
    ]
    return CronChanges(added=tuple(added), changed=tuple(altered), removed=tuple(removed))


def _shown(component: str, name: str) -> str:
    return f"{component}/{name}" if component else name


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Runs of a cron job that are left out, since an earlier one ended too late."""

    name: str
    count: int


def ended(
    transaction: Transaction, job: Job, run: CronRun, lane: Lane, now_ms: float
) -> PassedOver | None:
    """Remember a run and let the next one wait for its time; return what was passed over, if any.

    A cron job that a push has removed meanwhile has nothing more to come.
    """
    current = find_job(transaction, job.of)
    packed = transaction.get(job.of)
    if current is None or packed is None:
        return None
    document: Any = unpack(packed)
    occurrence = following(document["schedule"], current.planned_ms, now_ms)
    runs = [canonical(msgspec.to_builtins(run))]
    if occurrence.skipped:
        passed_over = CronRun(due_ms=current.planned_ms, skipped=occurrence.skipped)
        runs.insert(0, canonical(msgspec.to_builtins(passed_over)))
    fields = {name: value for name, value in document.items() if not name.startswith("_")}
    fields["runs"] = [*runs, *document["runs"]][: limits.cron_runs_kept]
    transaction.replace(job.of, fields)
    put_job(
        transaction,
        of=job.of,
        lane=lane,
        due_ms=occurrence.due_ms,
        component=target_of(document),
        path=document["path"],
    )
    return PassedOver(document["name"], occurrence.skipped) if occurrence.skipped else None


def documents(transaction: Transaction) -> Iterator[dict[str, Any]]:
    """Yield the cron jobs that there are."""
    table = transaction.table(system_tables.CRON_JOBS)
    assert table is not None
    with closing(transaction.scan(table, table.indexes["by_id"], ALL, Order.ASC)) as rows:
        for row in rows:
            document: Any = unpack(row.packed)
            yield document


def target_of(document: dict[str, Any]) -> str:
    """Return the component whose function a cron job runs: its own, unless another is named."""
    return str(document.get("target", document["component"]))


def cron_id(cron: AnalysedCron) -> str:
    """Return the id of a cron job, which follows from its name."""
    digest = sha256(f"{cron.component}\0{cron.name}".encode()).digest()
    return encode_id(system_tables.CRON_JOBS_NUMBER, digest[:16])


def shortened_lines(lines: Iterable[str]) -> tuple[str, ...]:
    """Return log lines up to the bytes that are remembered."""
    kept: list[str] = []
    left = limits.cron_log_bytes_max
    for line in lines:
        size = len(line.encode())
        if size > left:
            kept.append("…")
            break
        kept.append(line)
        left -= size
    return tuple(kept)


def _arm(transaction: Transaction, cron: AnalysedCron, lane: Lane, due_ms: float) -> None:
    put_job(
        transaction,
        of=cron_id(cron),
        lane=lane,
        due_ms=due_ms,
        component=cron.target,
        path=cron.path,
    )


def _fields(cron: AnalysedCron) -> dict[str, Value]:
    fields: dict[str, Value] = {
        "name": cron.name,
        "component": cron.component,
        "path": cron.path,
        "args": [unpack(cron.arguments)],
        "schedule": canonical(cron.schedule),
    }
    if cron.target != cron.component:
        fields["target"] = cron.target
    return fields


def _declared_fields(document: dict[str, Any]) -> dict[str, Value]:
    """Return what a release has said of a cron job, which is all but its runs."""
    return {
        name: value
        for name, value in document.items()
        if name != "runs" and not name.startswith("_")
    }
