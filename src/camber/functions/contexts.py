"""The contexts: what a function may do, by its kind."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, ParamSpec, Self, TypeVar, overload

from camber.functions.calls import ActionCalls, Callee, TransactionCalls
from camber.functions.database import DatabaseReader, DatabaseWriter
from camber.functions.environment import Environment
from camber.functions.file_storage import (
    ActionStorage,
    FileAccess,
    FileCalls,
    StorageReader,
    StorageWriter,
    SyncActionStorage,
)
from camber.functions.logs import Log
from camber.functions.metadata import Meta, MutationMeta, QueryMeta
from camber.functions.scheduling import (
    ActionScheduler,
    ActionSchedules,
    Scheduler,
    Schedules,
    SyncActionScheduler,
)
from camber.functions.transaction_limits import TransactionLimits
from camber.functions.vector_search import VectorHit, Where
from camber.identity.identity import UserIdentity
from camber.schema.table import VectorIndex

P = ParamSpec("P")
R = TypeVar("R")


class Auth:
    """Who calls; `ctx.auth`."""

    #: Whether `Users` has looked for the caller and found that the session, or its user, is gone.
    session_is_over = False

    def __init__(self, read: Callable[[], UserIdentity | None]) -> None:
        self._read = read

    def get_user_identity(self) -> UserIdentity | None:
        """Return the signed-in user, or None."""
        return self._read()


class QueryCalls:
    """Queries within the transaction, with options: `ctx.options(…)`."""

    def __init__(self, calls: TransactionCalls, most: TransactionLimits | None) -> None:
        self._calls = calls
        self._most = most

    def run_query(self, callee: Callee[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a query, as `ctx.run_query` does, within its limits.

        Raises:
            AppError: the query raised one.
            FunctionError: it failed otherwise, or came beyond a limit.
        """
        return self._calls.query(callee, args, kwargs, self._most)  # type: ignore[no-any-return]


class MutationCalls(QueryCalls):
    """Queries and mutations within the transaction, with options."""

    def run_mutation(self, callee: Callee[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a mutation, as `ctx.run_mutation` does, within its limits.

        Raises:
            AppError: the mutation raised one.
            FunctionError: it failed otherwise, or came beyond a limit; nothing of it is written.
        """
        return self._calls.mutation(callee, args, kwargs, self._most)  # type: ignore[no-any-return]


class StaleSnapshot(QueryCalls):
    """Queries that see the moment at which the mutation began: `ctx.options(stale_snapshot=True)`."""

    def run_query(self, callee: Callee[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a query on the snapshot, without the mutation's writes, and return its result.

        What it reads may change before the mutation commits, and that is no conflict: for counts,
        samples and queues where an answer of a moment ago will do.

        Raises:
            AppError: the query raised one.
            FunctionError: it failed otherwise.
        """
        return self._calls.stale_query(  # type: ignore[no-any-return]
            callee, args, kwargs, self._most
        )


class QueryCtx:
    """What a query may do: read."""

    db: DatabaseReader

    def __init__(
        self,
        *,
        db: DatabaseReader,
        auth: Auth,
        env: Environment,
        log: Log,
        calls: TransactionCalls,
        files: Callable[[], FileAccess],
    ) -> None:
        self.db = db
        self.auth = auth
        self.env = env
        self.log = log
        self._calls = calls
        self._files = files

    @property
    def unrestricted(self) -> Self:
        """Return the same context, whose `db` asks no row rules: for helpers that take a context.

        What it runs by `run_query` and the like is asked as ever.
        """
        other = copy.copy(self)
        other.db = self.db.unrestricted
        return other

    @property
    def storage(self) -> StorageReader:
        """Return the files."""
        return StorageReader(self._files())

    def run_query(self, callee: Callee[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run another query in this transaction and return its result, by value.

        Raises:
            AppError: the query raised one.
            FunctionError: it failed otherwise.
        """
        return self._calls.query(callee, args, kwargs)  # type: ignore[no-any-return]

    def options(self, *, transaction_limits: TransactionLimits | None = None) -> QueryCalls:
        """Return what runs queries with options.

        `transaction_limits` is how much of the transaction each of them may use. One that uses
        more fails, and the caller may go on; what it has used is used.
        """
        return QueryCalls(self._calls, transaction_limits)

    def vector_search(
        self,
        index: VectorIndex | str,
        vector: Sequence[float],
        /,
        *,
        limit: int = 10,
        where: Where | None = None,
    ) -> list[VectorHit[Any]]:
        """Return the documents whose vectors are nearest by cosine, nearest first.

        Among those that `where` admits: `{"channel": c}`, `{"cuisine": any_of("a", "b")}`, or a list
        of such conditions, of which one must hold. A write runs the query again if it could change
        what is found. What the documents hold is not read: `ctx.db.get(hit.id)` does that.

        Raises:
            DeveloperError: the vector is none of the index, `limit` is not 1 to 256, or `where` is
                on no filter field.
        """
        return self.db.vector_search(index, vector, limit, where)

    def function_handle(self, callee: Callee[..., Any], /) -> str:
        """Return a text that names a function for good: it may be stored, passed on and run later.

        Whoever has it may run the function, internal ones too, in whatever release serves then.

        Raises:
            FunctionNotFound: there is none such.
        """
        return self._calls.handle(callee)

    @property
    def meta(self) -> QueryMeta:
        """Return what the function may know of itself and of what it has used."""
        return QueryMeta(self._calls)


class MutationCtx(QueryCtx):
    """What a mutation may do: read, write and schedule, all or nothing."""

    db: DatabaseWriter

    def __init__(
        self,
        *,
        db: DatabaseWriter,
        auth: Auth,
        env: Environment,
        log: Log,
        calls: TransactionCalls,
        files: Callable[[], FileAccess],
        schedules: Schedules,
    ) -> None:
        super().__init__(db=db, auth=auth, env=env, log=log, calls=calls, files=files)
        self._schedules = schedules

    @property
    def storage(self) -> StorageWriter:
        """Return the files."""
        return StorageWriter(self._files())

    @property
    def scheduler(self) -> Scheduler:
        """Return what runs functions later."""
        return Scheduler(self._schedules)

    @property
    def meta(self) -> MutationMeta:
        """Return what the function may know of itself, of its request and of what it has used."""
        return MutationMeta(self._calls)

    @overload
    def options(self, *, transaction_limits: TransactionLimits | None = None) -> MutationCalls: ...

    @overload
    def options(
        self,
        *,
        stale_snapshot: Literal[True],
        transaction_limits: TransactionLimits | None = None,
    ) -> StaleSnapshot: ...

    def options(
        self,
        *,
        stale_snapshot: bool = False,
        transaction_limits: TransactionLimits | None = None,
    ) -> QueryCalls:
        """Return what runs queries and mutations with options.

        `transaction_limits` is how much of the transaction each of them may use. One that uses
        more fails, and the caller may go on; what it has used is used. `stale_snapshot` is for
        queries that the mutation shall not depend on: they see the moment at which it began.
        """
        if stale_snapshot:
            return StaleSnapshot(self._calls, transaction_limits)
        return MutationCalls(self._calls, transaction_limits)

    def run_mutation(self, callee: Callee[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run another mutation as a sub-transaction: if it raises, its writes are undone.

        Raises:
            AppError: the mutation raised one.
            FunctionError: it failed otherwise.
        """
        return self._calls.mutation(callee, args, kwargs)  # type: ignore[no-any-return]


class _ActionContext:
    def __init__(
        self,
        *,
        auth: Auth,
        env: Environment,
        log: Log,
        calls: ActionCalls,
        schedules: ActionSchedules,
        files: FileCalls,
    ) -> None:
        self.auth = auth
        self.env = env
        self.log = log
        self._calls = calls
        self._schedules = schedules
        self._files = files

    @property
    def meta(self) -> Meta:
        """Return what the function may know of itself and of its request."""
        return Meta(self._calls)

    def function_handle(self, callee: Callee[..., Any], /) -> str:
        """Return a text that names a function for good: it may be stored, passed on and run later.

        Whoever has it may run the function, internal ones too, in whatever release serves then.

        Raises:
            FunctionNotFound: there is none such.
        """
        return self._calls.handle(callee)


class ActionCtx(_ActionContext):
    """What an action may do: anything; the database only through queries and mutations."""

    @property
    def storage(self) -> ActionStorage:
        """Return the files."""
        return ActionStorage(self._files)

    @property
    def scheduler(self) -> ActionScheduler:
        """Return what runs functions later."""
        return ActionScheduler(self._schedules)

    async def run_query(self, callee: Callee[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a query at the newest snapshot and return its result.

        Raises:
            AppError: the query raised one.
            FunctionError: it failed otherwise.
        """
        return await self._calls.query(callee, args, kwargs)  # type: ignore[no-any-return]

    async def run_mutation(self, callee: Callee[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a mutation until it has committed and return its result.

        Raises:
            AppError: the mutation raised one.
            FunctionError: it failed otherwise.
        """
        return await self._calls.mutation(callee, args, kwargs)  # type: ignore[no-any-return]

    @overload
    async def run_action(
        self, callee: Callee[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...

    @overload
    async def run_action(self, callee: Callee[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    async def run_action(self, callee: Callee[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run another action and return its result.

        Raises:
            AppError: the action raised one.
            FunctionError: it failed otherwise.
        """
        return await self._calls.action(callee, args, kwargs)

    async def vector_search(
        self,
        index: VectorIndex | str,
        vector: Sequence[float],
        /,
        *,
        limit: int = 10,
        where: Where | None = None,
    ) -> list[VectorHit[Any]]:
        """Return the documents whose vectors are nearest by cosine, nearest first.

        Among those that `where` admits: `{"channel": c}`, `{"cuisine": any_of("a", "b")}`, or a list
        of such conditions, of which one must hold. A document may have changed, or be gone, by the
        time that a query reads it; and no row rule was asked.

        Raises:
            DeveloperError: the vector is none of the index, `limit` is not 1 to 256, or `where` is
                on no filter field.
        """
        return await self._calls.nearest(index, vector, limit, where)


class SyncActionCtx(_ActionContext):
    """What a plain `def` action may do: the same, blocking its own thread."""

    @property
    def storage(self) -> SyncActionStorage:
        """Return the files."""
        return SyncActionStorage(self._files)

    @property
    def scheduler(self) -> SyncActionScheduler:
        """Return what runs functions later."""
        return SyncActionScheduler(self._schedules)

    def run_query(self, callee: Callee[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a query at the newest snapshot and return its result."""
        return self._calls.block(  # type: ignore[no-any-return]
            self._calls.query(callee, args, kwargs)
        )

    def run_mutation(self, callee: Callee[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a mutation until it has committed and return its result."""
        return self._calls.block(  # type: ignore[no-any-return]
            self._calls.mutation(callee, args, kwargs)
        )

    @overload
    def run_action(
        self, callee: Callee[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...

    @overload
    def run_action(self, callee: Callee[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def run_action(self, callee: Callee[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run another action and return its result."""
        return self._calls.block(self._calls.action(callee, args, kwargs))

    def vector_search(
        self,
        index: VectorIndex | str,
        vector: Sequence[float],
        /,
        *,
        limit: int = 10,
        where: Where | None = None,
    ) -> list[VectorHit[Any]]:
        """Return the documents whose vectors are nearest by cosine, nearest first."""
        return self._calls.block(  # type: ignore[no-any-return]
            self._calls.nearest(index, vector, limit, where)
        )
