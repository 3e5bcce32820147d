"""What runs an application's functions, as the rest of the server sees it.

An executor runs user code at a snapshot and answers with what came out: the result, what was read
and written, the log lines, and whether the identity was read. It never writes to the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from camber.engine.transaction import FinishedTransaction
from camber.functions.definition import FunctionKind
from camber.identity.identity import Identity
from camber.occ.read_set import ReadSet
from camber.runtime.results import ActionResult, Failure, QueryResult
from camber.values.timestamp import Timestamp


class Caller(Enum):
    """Who asks for a function, which decides which functions there are for them."""

    #: A client: public functions only.
    CLIENT = "client"
    #: An admin key: internal functions too.
    ADMIN = "admin"
    #: A function of the application itself, or the server.
    APPLICATION = "application"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRequest:
    """Which of a client's mutations this is, across all its sockets (semantics 4.7)."""

    session: str
    request: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionCall:
    """One function to run.

    `path` is a function's key (`messages:send`); `arguments` is a packed value, an object unless
    the caller got it wrong; `journal` only matters to queries. Arguments that encode no value at
    all are empty, and `arguments_error` says why.
    """

    path: str
    arguments: bytes
    identity: Identity
    caller: Caller
    request_id: str
    journal: str | None = None
    component_path: str = ""
    arguments_error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryExecuted:
    """A finished run of a query."""

    result: QueryResult
    reads: ReadSet
    read_identity: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MutationExecuted:
    """A finished run of a mutation, which has not committed.

    `value` is packed. `recorded_ts` is the commit of an earlier run of the same session request,
    whose result this is: there is nothing to commit then.
    """

    value: bytes | None
    failure: Failure | None
    log_lines: tuple[str, ...]
    transaction: FinishedTransaction
    recorded_ts: Timestamp | None = None


class Executor(Protocol):
    """Runs functions of one release, many at a time."""

    async def query(self, call: FunctionCall, ts: Timestamp) -> QueryExecuted:
        """Run a query at exactly `ts`.

        Raises:
            OutOfRetention: `ts` is older than the history that is kept.
        """

    async def mutation(
        self, call: FunctionCall, session: SessionRequest | None
    ) -> MutationExecuted:
        """Run a mutation at the newest snapshot; its record for `session` is part of its writes."""

    async def action(self, call: FunctionCall) -> ActionResult:
        """Run an action to its end."""

    def kind_of(self, call: FunctionCall) -> FunctionKind | None:
        """Return the kind of the function that is called, or None if there is none for the caller."""

    def close(self) -> None:
        """End the threads or processes; what still runs is lost."""
