"""Scheduled functions as documents: what is to run and when, and what has become of it.

`_scheduled_functions` is what applications read: one document for each function that was scheduled,
with its state. `_jobs` is what the scheduler reads: a small document for each that has not come to
its end, and one for each cron job, in the order in which they are due. The two of a scheduled
function have the same internal id, so that each leads to the other. Both change in one commit,
always: when a mutation runs as scheduled, in the commit of the mutation itself.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import msgspec

from camber.engine import system_tables
from camber.engine.catalog import TableEntry
from camber.engine.transaction import Scan, Transaction
from camber.errors import DeveloperError
from camber.occ.interval import Interval, Order
from camber.values.ids import InvalidId, decode_id, encode_id
from camber.values.keys import encode_key
from camber.values.packed import pack, unpack
from camber.values.size import value_size
from camber.values.value import Value, canonical, canonical_float


class Lane(Enum):
    """Where a job stands: it waits for its time, it runs, or it has run and waits for its next time.

    Mutations and actions wait in lanes of their own, so that actions that take long keep no
    mutation from its time. Which of them a job is turns out when it runs; until then it is what its
    function was when it was scheduled.
    """

    MUTATION = "mutation"
    ACTION = "action"
    #: An action that has begun. A mutation is never seen so: it is done in the commit that ends it.
    RUNNING = "running"
    #: A mutation of a cron job that has committed, and of which nothing is noted yet.
    COMMITTED = "committed"


class State(Enum):
    """What has become of a scheduled function, as applications see it."""

    PENDING = "pending"
    IN_PROGRESS = "inProgress"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"


#: From these it comes to no other.
_FINAL = frozenset({State.SUCCESS.value, State.FAILED.value, State.CANCELED.value})


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often an action is tried in all, and the pauses between, in seconds: each twice the last."""

    max_attempts: int
    backoff_s: float
    backoff_s_max: float


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One document of `_jobs`, with its own id. `due` is in milliseconds since the Unix epoch.

    `of` is the id of the scheduled function or of the cron job. `attempt` counts runs that came to
    nothing, through no fault of the function's if it is a mutation.
    """

    id: str = msgspec.field(name="_id")
    of: str
    lane: Lane
    due: float
    component: str
    path: str
    attempt: int = 0
    retry: RetryPolicy | None = None
    #: Of a cron job that was postponed: when it was to run.
    planned: float | None = None

    @property
    def planned_ms(self) -> float:
        """Return when it was to run at first."""
        return self.due if self.planned is None else self.planned

    @property
    def is_cron(self) -> bool:
        """Return whether it is a cron job's."""
        return decode_id(self.of).table_number == system_tables.CRON_JOBS_NUMBER


class _Due(msgspec.Struct, frozen=True):
    due: float


_DUE: Final = msgspec.msgpack.Decoder(_Due)
#: Jobs that are read at once where few are due.
_AT_ONCE: Final = 4


def job_id(of: str) -> str:
    """Return the id of the job of a scheduled function or a cron job."""
    return encode_id(system_tables.JOBS_NUMBER, decode_id(of).internal)


def put_job(
    transaction: Transaction,
    *,
    of: str,
    lane: Lane,
    due_ms: float,
    component: str,
    path: str,
    attempt: int = 0,
    retry: RetryPolicy | None = None,
    planned_ms: float | None = None,
) -> None:
    """Add a job, or give it another place."""
    id_ = job_id(of)
    fields: dict[str, Value] = {
        "of": of,
        "lane": lane.value,
        "due": canonical_float(due_ms),
        "component": component,
        "path": path,
    }
    if attempt:
        fields["attempt"] = attempt
    if retry is not None:
        fields["retry"] = canonical(msgspec.to_builtins(retry))
    if planned_ms is not None:
        fields["planned"] = canonical_float(planned_ms)
    if transaction.get(id_) is None:
        transaction.insert(system_tables.JOBS, fields, id=id_)
    else:
        transaction.replace(id_, fields)


def move_job(transaction: Transaction, job: Job, lane: Lane, due_ms: float, attempt: int) -> None:
    """Give a job another lane, time or count of attempts."""
    put_job(
        transaction,
        of=job.of,
        lane=lane,
        due_ms=due_ms,
        component=job.component,
        path=job.path,
        attempt=attempt,
        retry=job.retry,
        planned_ms=job.planned_ms if job.is_cron and due_ms != job.planned_ms else None,
    )


def find_job(transaction: Transaction, of: str) -> Job | None:
    """Return the job of a scheduled function or a cron job, or None if there is none any more."""
    packed = transaction.get(job_id(of))
    return None if packed is None else _job(packed)


def jobs_due(transaction: Transaction, lane: Lane, now_ms: float, most: int) -> list[Job]:
    """Return the jobs of a lane that are due, in order, and the next one; at most so many.

    Nothing beyond is read, but for what the store reads at once.
    """
    found: list[Job] = []
    with closing(_lane(transaction, lane, _AT_ONCE)) as rows:
        for row in rows:
            job = _job(row.packed)
            found.append(job)
            if job.due > now_ms or len(found) == most:
                break
    return found


def jobs_in(transaction: Transaction, lane: Lane, most: int) -> list[Job]:
    """Return the first jobs of a lane in the order in which they are due."""
    with closing(_lane(transaction, lane, most)) as rows:
        return [_job(row.packed) for row in rows.take(most)]


def due_of(packed: bytes) -> float:
    """Return when the job of a packed document is due."""
    return _DUE.decode(packed).due


def _lane(transaction: Transaction, lane: Lane, rows: int) -> Scan:
    prefix = encode_key([lane.value])
    table = _table(transaction, system_tables.JOBS_NUMBER)
    return transaction.scan(
        table,
        table.indexes["by_due"],
        Interval.prefix(prefix),
        Order.ASC,
        prefix=prefix,
        rows=rows,
    )


# What functions do.


def schedule(
    transaction: Transaction,
    *,
    component: str,
    path: str,
    name: str,
    arguments: Value,
    due_ms: float,
    lane: Lane,
    retry: RetryPolicy | None = None,
    parent: str | None = None,
    owner: str = "",
) -> str:
    """Schedule a function of a component and return the id of its document.

    `owner` is the component that does so, which alone sees the document; `parent` is the scheduled
    function that does so: once that is cancelled, what it schedules comes into being cancelled.

    Raises:
        DeveloperError: the transaction schedules too much.
    """
    transaction.count_scheduled(value_size(arguments))
    fields: dict[str, Value] = {
        "name": name,
        "args": [arguments],
        "scheduledTime": canonical_float(due_ms),
        "state": {"kind": State.PENDING.value},
    }
    if owner:
        fields[system_tables.COMPONENT_FIELD] = owner
    is_canceled = parent is not None and _state(transaction, parent) == State.CANCELED.value
    if is_canceled:
        fields["state"] = {"kind": State.CANCELED.value}
        fields["completedTime"] = _now_ms(transaction)
    id_ = transaction.insert(system_tables.SCHEDULED_FUNCTIONS, fields)
    if not is_canceled:
        put_job(
            transaction,
            of=id_,
            lane=lane,
            due_ms=due_ms,
            component=component,
            path=path,
            retry=retry,
        )
    return id_


def check_scheduled_id(id: object) -> str:
    """Return an id that may be cancelled.

    Raises:
        DeveloperError: it is no id of a scheduled function.
    """
    try:
        if isinstance(id, str):
            number = decode_id(id).table_number
            if number == system_tables.SCHEDULED_FUNCTIONS_NUMBER:
                return id
            reason = "it is the id of another table's document"
        else:
            reason = "an id is a text"
    except InvalidId as error:
        reason = error.sentence
    msg = (
        f"{id!r} is not the id of a scheduled function, as run_after and run_at return it: {reason}"
    )
    raise DeveloperError(msg, code="InvalidScheduledFunctionId")


def cancel_own(transaction: Transaction, id: str, owner: str) -> None:
    """Cancel a scheduled function of a component.

    Raises:
        DeveloperError: somebody else has scheduled it.
    """
    document = _scheduled(transaction, id)
    if document is not None and document.get(system_tables.COMPONENT_FIELD, "") != owner:
        msg = (
            f"{id} was scheduled by another component: what one schedules, it alone cancels. Have "
            "it offer a function that does"
        )
        raise DeveloperError(msg, code="InvalidScheduledFunctionId")
    cancel(transaction, id)


def cancel(transaction: Transaction, id: str) -> None:
    """Cancel a scheduled function that has not come to its end.

    What runs goes on running, but schedules nothing any more. What has ended, or is so long ago
    that it is forgotten, stays as it is.
    """
    document = _scheduled(transaction, id)
    if document is None or _kind(document) in _FINAL:
        return
    # Read, so that this is in conflict with whoever puts the job off: its document stays the same.
    job = find_job(transaction, id)
    if job is not None and job.lane is not Lane.RUNNING:
        transaction.delete(job.id)
    _end(transaction, id, document, State.CANCELED)


# What a mutation does that runs as scheduled, within its own transaction.


def begin(transaction: Transaction, of: str) -> bytes | None:
    """Return the packed arguments of a job that is about to run; None if it is not to any more.

    To the mutation itself it is in progress from here on; nobody else sees that.
    """
    job = find_job(transaction, of)
    if job is None or job.lane in {Lane.RUNNING, Lane.COMMITTED}:
        return None
    document = _scheduled(transaction, of)
    if document is None:
        # Nobody but an import can have removed it.
        transaction.delete(job.id)
        return None
    if not job.is_cron:
        fields = _fields(document)
        fields["state"] = {"kind": State.IN_PROGRESS.value}
        transaction.replace(of, fields)
    return _arguments(document)


def succeed(transaction: Transaction, of: str) -> None:
    """Note, in the commit of what it has written, that a mutation has run."""
    job = find_job(transaction, of)
    assert job is not None, f"the job of {of} has vanished while it ran"
    if job.is_cron:
        move_job(transaction, job, Lane.COMMITTED, job.due, job.attempt)
        return
    transaction.delete(job.id)
    _end(transaction, of, _document(transaction, of), State.SUCCESS)


# What the scheduler does.


def start(transaction: Transaction, job: Job) -> bytes | None:
    """Note that an action begins; return its packed arguments, None if it is not to run any more.

    Once this is durable it is never begun again, whatever happens to it.
    """
    current = find_job(transaction, job.of)
    if current != job:
        return None
    document = _scheduled(transaction, job.of)
    if document is None:
        transaction.delete(job.id)
        return None
    move_job(transaction, job, Lane.RUNNING, job.due, job.attempt)
    if not job.is_cron:
        fields = _fields(document)
        fields["state"] = {"kind": State.IN_PROGRESS.value}
        transaction.replace(job.of, fields)
    return _arguments(document)


def begun(transaction: Transaction, job: Job) -> bytes | None:
    """Return the packed arguments of a job if it is noted that it has begun, else None."""
    current = find_job(transaction, job.of)
    document = _scheduled(transaction, job.of)
    if current is None or current.lane is not Lane.RUNNING or document is None:
        return None
    return _arguments(document)


def postpone(transaction: Transaction, job: Job, lane: Lane, due_ms: float) -> bool:
    """Let a job that came to nothing run again later, unless it has been cancelled meanwhile.

    Return whether the mutation of a cron job has run after all: what was reported as failed may
    have been made.
    """
    current = find_job(transaction, job.of)
    if current is None:
        return False
    if current.lane is Lane.COMMITTED:
        return True
    if not job.is_cron:
        document = _scheduled(transaction, job.of)
        if document is None or _kind(document) in _FINAL:
            transaction.delete(job.id)
            return False
        fields = _fields(document)
        fields["state"] = {"kind": State.PENDING.value}
        transaction.replace(job.of, fields)
    move_job(transaction, job, lane, due_ms, job.attempt + 1)
    return False


def finish(transaction: Transaction, job: Job, error: str | None) -> None:
    """Note how a scheduled function has ended; one that was cancelled meanwhile stays so."""
    if find_job(transaction, job.of) is None:
        return
    transaction.delete(job.id)
    document = _scheduled(transaction, job.of)
    if document is not None and _kind(document) not in _FINAL:
        state = State.SUCCESS if error is None else State.FAILED
        _end(transaction, job.of, document, state, error)


def forget_finished(transaction: Transaction, *, before_ms: float, most: int) -> int:
    """Delete documents of functions that ended before a time; return how many."""
    table = _table(transaction, system_tables.SCHEDULED_FUNCTIONS_NUMBER)
    # A document without a time sorts before all that have one: it has not ended.
    ended = Interval(encode_key([None]), encode_key([canonical_float(before_ms)]))
    rows = transaction.scan(table, table.indexes["by_completed_time"], ended, Order.ASC, rows=most)
    with closing(rows):
        ids = [str(_unpacked(row.packed)["_id"]) for row in rows.take(most)]
    for id_ in ids:
        transaction.delete(id_)
    return len(ids)


def forget(transaction: Transaction, id_: str) -> None:
    """Delete the document of a scheduled function, and its job if it has not come to its end."""
    job = find_job(transaction, id_)
    if job is not None:
        transaction.delete(job.id)
    if transaction.get(id_) is not None:
        transaction.delete(id_)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a look at all that waits goes on: in a lane, above a key of its index."""

    lane: Lane
    above: bytes = b""


@dataclass(frozen=True, slots=True)
class Cancelled:
    """How many were cancelled, and where to look on; None if all have been looked at."""

    count: int
    rest: Place | None


#: Where a look at all that waits begins.
FIRST_PLACE: Final = Place(Lane.MUTATION)


def cancel_some(
    transaction: Transaction, path: str | None, component: str, place: Place, most: int
) -> Cancelled:
    """Look at the next `most` jobs, and cancel functions of a component, of a path or of any.

    What is looked at is not recorded as read, or each job that begins meanwhile were a conflict: what
    is cancelled is.
    """
    table = _table(transaction, system_tables.JOBS_NUMBER)
    lane = Interval.prefix(encode_key([place.lane.value]))
    rest = Interval(max(lane.start, place.above + b"\0"), lane.end)
    index = table.indexes["by_due"].id
    rows = transaction.snapshot.scan(table.number, index, rest, Order.ASC, most)
    jobs = [_job(row.packed) for row in rows]
    wanted = [
        job.of
        for job in jobs
        if job.component == component and path in {None, job.path} and not job.is_cron
    ]
    for of in wanted:
        cancel(transaction, of)
    if len(rows) == most:
        return Cancelled(len(wanted), Place(place.lane, rows[-1].key))
    after = None if place.lane is Lane.ACTION else Place(Lane.ACTION)
    return Cancelled(len(wanted), after)


# Documents.


def _end(
    transaction: Transaction,
    id_: str,
    document: dict[str, Value],
    state: State,
    error: str | None = None,
) -> None:
    fields = _fields(document)
    ended: dict[str, Value] = {"kind": state.value}
    if error is not None:
        ended["error"] = error
    fields["state"] = ended
    fields["completedTime"] = _now_ms(transaction)
    transaction.replace(id_, fields)


def _now_ms(transaction: Transaction) -> Value:
    return canonical_float(transaction.now_ns / 1e6)


def _table(transaction: Transaction, number: int) -> TableEntry:
    table = transaction.table_by_number(number)
    assert table is not None
    return table


def _scheduled(transaction: Transaction, id_: str) -> dict[str, Value] | None:
    packed = transaction.get(id_)
    return None if packed is None else _unpacked(packed)


def _document(transaction: Transaction, id_: str) -> dict[str, Value]:
    document = _scheduled(transaction, id_)
    assert document is not None, f"there is a job of {id_}, and no document"
    return document


def _state(transaction: Transaction, id_: str) -> str | None:
    document = _scheduled(transaction, id_)
    return None if document is None or "state" not in document else _kind(document)


def _kind(document: dict[str, Value]) -> str:
    state = document["state"]
    assert isinstance(state, dict)
    return str(state["kind"])


def _arguments(document: dict[str, Value]) -> bytes:
    arguments = document["args"]
    assert isinstance(arguments, list)
    return pack(arguments[0])


def _fields(document: dict[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in document.items() if not name.startswith("_")}


def _job(packed: bytes) -> Job:
    document: Any = unpack(packed)
    return msgspec.convert(document, Job)


def _unpacked(packed: bytes) -> dict[str, Value]:
    document = unpack(packed)
    assert isinstance(document, dict)
    return document
