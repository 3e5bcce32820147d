"""Running queries and mutations: user code within one transaction."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from camber import limits
from camber.engine import scheduled, session_requests
from camber.engine.catalog import TableNumbers, tables_of
from camber.engine.component_data import components_with_data
from camber.engine.transaction import Transaction
from camber.engine.variables import CLOUD_URL, Variables
from camber.errors import (
    AccessDenied,
    AppError,
    ArgumentValidationError,
    CamberError,
    DeveloperError,
    FunctionError,
    FunctionNotFound,
    IdentityUnverified,
    InjectedError,
    Interrupted,
    OutOfMemory,
    RequestError,
)
from camber.files.capabilities import Capabilities
from camber.functions.accounts import Account, Placed, ScanReport, accounted
from camber.functions.application import Application, Resolved
from camber.functions.calls import Callee
from camber.functions.components import not_mounted
from camber.functions.contexts import Auth, MutationCtx, QueryCtx
from camber.functions.database import DatabaseAccess, DatabaseReader, DatabaseWriter
from camber.functions.definition import Function, FunctionKind
from camber.functions.determinism.conditions import Conditions
from camber.functions.environment import Environment
from camber.functions.file_storage import FileAccess
from camber.functions.logs import Log, capturing
from camber.functions.metadata import (
    FunctionMetadata,
    Metric,
    RequestMetadata,
    TransactionMetrics,
)
from camber.functions.pagination import PaginationState
from camber.functions.predicates import Guard
from camber.functions.row_rules import RowRules
from camber.functions.transaction_limits import TransactionLimits, given_limits
from camber.host import Host
from camber.identity.identity import Identity, UserIdentity, user_of
from camber.occ.cursors import CursorCipher
from camber.runtime.executor import (
    Caller,
    Explained,
    FunctionCall,
    MutationExecuted,
    QueryExecuted,
    Written,
)
from camber.runtime.failures import FailureTexts
from camber.runtime.handles import Handles
from camber.runtime.invocation import (
    Serving,
    admitted,
    application_of,
    bound,
    check_may_call,
    encoded_arguments,
    encoded_result,
    function_metadata,
    guarded,
    handle_of,
    not_admitted,
    request_metadata,
    resolve,
)
from camber.runtime.release import LoadedRelease
from camber.runtime.results import Failure, QueryResult, Run
from camber.runtime.scheduling import TransactionSchedules
from camber.runtime.system_functions.declaring import SYSTEM_PREFIX, SystemCall, SystemQuery
from camber.runtime.system_functions.registry import find_system_query
from camber.runtime.vector_searches import carry_out, is_vector_search
from camber.schema.table import StoredDocuments
from camber.storage.store import DocumentChange
from camber.values.packed import pack, unpack
from camber.values.pending import Places, places_in

_log = logging.getLogger("camber.executor")


@dataclass(frozen=True, kw_only=True)
class TransactionRunner:
    """Runs a query or mutation in a transaction that it is handed. Blocking, on any one thread."""

    host: Host
    releases: Serving
    cursors: CursorCipher
    texts: FailureTexts
    variables: Variables
    capabilities: Capabilities
    handles: Handles
    #: Whether tests may raise system errors.
    test_hooks: bool = False
    #: What looks for scans that read far too much; None where nobody is warned of them.
    watch: ScanWatch | None = None

    def query(self, call: FunctionCall, transaction: Transaction) -> QueryExecuted:
        """Run a query and return its result with what it read."""
        account = None if self.watch is None else self.watch.begin()
        release = self.releases.serving(transaction)
        pagination = PaginationState(journal_in=call.journal)
        outcome = self._run(call, transaction, release, FunctionKind.QUERY, pagination, account)
        result = QueryResult(
            ts=transaction.begin_ts,
            packed=outcome.value,
            failure=outcome.failure,
            log_lines=self.texts.log_lines(outcome.log.texts),
            journal=pagination.journal_out,
            logged=tuple(outcome.log.lines),
        )
        return QueryExecuted(
            result=result,
            reads=transaction.finish().reads,
            read_identity=outcome.read_identity,
            observed_time=outcome.observed_time,
            run=outcome.run(transaction),
        )

    def mutation(
        self, call: FunctionCall, record_id: str | None, transaction: Transaction
    ) -> MutationExecuted:
        """Run a mutation and return its result with what it wants to write.

        One that has committed before is answered from its record, which this transaction has then
        read: one that commits meanwhile is a conflict.
        """
        account = None if self.watch is None else self.watch.begin()
        release = self.releases.serving(transaction)
        if record_id is not None:
            recorded = session_requests.find(transaction, record_id)
            if recorded is not None:
                return MutationExecuted(
                    value=recorded.result,
                    failure=None,
                    log_lines=recorded.log_lines,
                    transaction=transaction.finish(),
                    recorded_ts=recorded.ts,
                )
        if call.runs_job:
            assert call.job is not None
            arguments = scheduled.begin(transaction, call.job)
            if arguments is None:
                # It was cancelled, or has run: nothing to do is done.
                return _nothing_done(transaction)
            call = replace(call, arguments=arguments)
        pagination = PaginationState()
        outcome = self._run(call, transaction, release, FunctionKind.MUTATION, pagination, account)
        log_lines = self.texts.log_lines(outcome.log.texts)
        if call.runs_job and outcome.value is not None:
            assert call.job is not None
            scheduled.succeed(transaction, call.job)
        places: Places = ()
        if transaction.awaits_commit_ts and outcome.value is not None:
            places = places_in(outcome.value)
        return MutationExecuted(
            value=outcome.value,
            failure=outcome.failure,
            log_lines=log_lines,
            transaction=transaction.finish(),
            value_places=places,
            run=outcome.run(transaction),
        )

    def noted(self, executed: Executed) -> Executed:
        """Return the run that has just ended with those of its scans that read far too much.

        Looked for after the function, not on its time.
        """
        if self.watch is None:
            return executed
        scans = self.watch.wasteful(self.texts.place)
        return replace(executed, run=replace(executed.run, scans=scans)) if scans else executed

    def look(self, call: FunctionCall, kind: FunctionKind, transaction: Transaction) -> LookedAt:
        """Run a query or mutation to be looked at: whoever has the transaction forgets it."""
        release = self.releases.serving(transaction)
        pagination = PaginationState()
        account = Account()
        outcome = self._run(call, transaction, release, kind, pagination, account)
        return LookedAt(
            kind=kind,
            outcome=outcome,
            transaction=transaction,
            account=account,
            placed=self.texts.place,
        )

    def interrupted(
        self, call: FunctionCall, transaction: Transaction, error: Interrupted
    ) -> QueryExecuted:
        """Return what a run comes to that was interrupted after its user code had ended."""
        failure = self.texts.thrown(error, call.request_id)
        result = QueryResult(
            ts=transaction.begin_ts, packed=None, failure=failure, log_lines=(), journal=None
        )
        return QueryExecuted(
            result=result, reads=transaction.reads, read_identity=True, observed_time=True
        )

    def _run(
        self,
        call: FunctionCall,
        transaction: Transaction,
        release: LoadedRelease,
        kind: FunctionKind,
        pagination: PaginationState,
        account: Account | None,
    ) -> _Outcome:
        began_s, started_s = self.host.monotonic(), self.host.thread_seconds()
        outcome = self._outcome(call, transaction, release, kind, pagination, account)
        outcome.began_s = began_s
        outcome.user_s = self.host.thread_seconds() - started_s
        return outcome

    def _seed(self) -> bytes:
        return self.host.random_bytes(limits.seed_bytes)

    def _outcome(
        self,
        call: FunctionCall,
        transaction: Transaction,
        release: LoadedRelease,
        kind: FunctionKind,
        pagination: PaginationState,
        account: Account | None,
    ) -> _Outcome:
        system = system_query_of(call, kind)
        if system is not None:
            return self._system(system, call, transaction, release, pagination)
        application = application_of(release)
        execution = _Execution(
            transaction=transaction,
            conditions=Conditions(
                now_ns=transaction.now_ns,
                seed=self._seed,
                kind=kind,
            ),
            application=application,
            cursors=self.cursors,
            identity=call.identity,
            variables=self.variables,
            capabilities=self.capabilities,
            handles=self.handles,
            test_hooks=self.test_hooks,
            call=call,
            account=account,
        )
        # A transaction has one moment, and its lines are of that.
        log = Log(lambda: transaction.now_ns)
        if is_vector_search(call):
            return execution.vector_search(log)
        try:
            if call.caller is Caller.GUARD:
                function, guard = guarded(application, call)
            else:
                function = admitted(application, call, kind)
                guard = function.guard if call.asks_guard else None
            scope = execution.scope(call.component)
            # Defaults of arguments are user code too.
            with execution.conditions:
                keywords = bound(function, call.arguments, scope.names)
        except DeveloperError as error:
            failure = not_admitted(self.texts, error, call)
            return _Outcome(log, execution, failure=failure, is_refused=True)
        try:
            with execution.conditions:
                denied = None
                if guard is not None:
                    denied = execution.denial(scope, guard, function, keywords, log)
                if call.caller is Caller.GUARD:
                    value = pack(None if denied is None else denied.code)
                elif denied is not None:
                    raise denied
                else:
                    value = execution.invoke(scope, function, keywords, log, pagination, depth=0)
            # The last reads may have gone beyond a limit.
            transaction.check_limits()
            for warning in transaction.warnings():
                log.line("WARN", [warning])
        except _Refused as refused:
            failure = self.texts.refused(refused.error, call.request_id)
            return _Outcome(log, execution, failure=failure)
        except RequestError as error:
            if execution.is_system(error):
                raise
            return _Outcome(log, execution, failure=self.texts.thrown(error, call.request_id))
        except MemoryError as error:
            msg = f"{call.path} found no memory"
            raise OutOfMemory(msg) from error
        # Whatever user code raises is its failure, SystemExit too: it must not end the server.
        except BaseException as error:  # noqa: BLE001
            execution.raise_system_error()
            return _Outcome(log, execution, failure=self.texts.thrown(error, call.request_id))
        execution.raise_system_error()
        return _Outcome(log, execution, value=value)

    def _system(
        self,
        query: SystemQuery,
        call: FunctionCall,
        transaction: Transaction,
        release: LoadedRelease,
        pagination: PaginationState,
    ) -> _Outcome:
        given = SystemCall(
            transaction=transaction,
            analysis=release.analysis,
            component=call.component,
            variables=self.variables,
            cursors=self.cursors,
            pagination=pagination,
        )
        log = Log(lambda: transaction.now_ns)
        try:
            if call.arguments_error is not None:
                raise ArgumentValidationError(call.arguments_error)
            _check_component(given)
            return _Outcome(log, value=query.run(given, call.arguments))
        except DeveloperError as error:
            return _Outcome(log, failure=not_admitted(self.texts, error, call))
        except AppError as error:
            return _Outcome(log, failure=self.texts.thrown(error, call.request_id))


def _check_component(given: SystemCall) -> None:
    """Do nothing if a system query asks about a component that there is, or has been.

    Raises:
        FunctionNotFound: there is none.
    """
    if given.component and given.analysis.in_component(given.component) is None:
        there = components_with_data(given.transaction)
        if given.component not in there:
            raise FunctionNotFound(
                not_mounted(given.component, there | {*given.analysis.components})
            )


def system_query_of(call: FunctionCall, kind: FunctionKind) -> SystemQuery | None:
    """Return the system query that a call names; for who is no admin there is none."""
    if not call.path.startswith(SYSTEM_PREFIX) or call.caller is not Caller.ADMIN:
        return None
    if kind is not FunctionKind.QUERY:
        return None
    return find_system_query(call.path)


@dataclass(slots=True)
class _Outcome:
    log: Log
    execution: _Execution | None = None
    value: bytes | None = None
    failure: Failure | None = None
    began_s: float = 0.0
    user_s: float = 0.0
    #: It was not let in: nothing has run.
    is_refused: bool = False

    @property
    def read_identity(self) -> bool:
        """Return whether the result depends on who asked."""
        return self.execution is not None and self.execution.read_identity

    @property
    def observed_time(self) -> bool:
        """Return whether the result depends on when it was asked for."""
        return self.execution is not None and self.execution.conditions.observed_time

    def run(self, transaction: Transaction) -> Run:
        """Return how it went, for the operator."""
        lines = tuple(self.log.lines)
        return Run(
            log_lines=lines,
            usage=transaction.usage,
            user_s=self.user_s,
            began_s=self.began_s,
        )


Executed = TypeVar("Executed", bound=QueryExecuted | MutationExecuted)


class ScanWatch:
    """The account of the run that goes on, and what was told of those before it."""

    def __init__(self) -> None:
        self._account = Account()
        self._told: set[object] = set()

    def begin(self) -> Account:
        """Return the account of a run that begins."""
        self._account = Account()
        return self._account

    def wasteful(self, placed: Placed) -> tuple[ScanReport, ...]:
        """Return the scans of the last run that read far too much, and were not told before."""
        try:
            return self._account.wasteful(placed, self._told)
        # Our own bug: the function has run, and its caller is not to suffer from it.
        except Exception:  # noqa: BLE001
            _log.exception("what the last function has scanned cannot be told")
            return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedAt:
    """A run that was only to be looked at."""

    kind: FunctionKind
    outcome: _Outcome
    transaction: Transaction
    account: Account
    placed: Placed

    def explained(self) -> Explained:
        """Return what it did; nothing of the transaction is needed afterwards."""
        outcome, account = self.outcome, self.account
        finished = self.transaction.finish()
        return Explained(
            ts=self.transaction.begin_ts,
            kind=self.kind,
            failure=outcome.failure,
            is_refused=outcome.is_refused,
            result_bytes=len(outcome.value or b""),
            reads=finished.reads.rows(),
            searches=finished.reads.searches,
            read_identity=outcome.read_identity,
            observed_time=outcome.observed_time,
            functions=account.functions,
            scans=account.scans(self.placed),
            scans_dropped=account.dropped,
            searched=account.searched,
            written=tuple(_written(self.transaction, finished.changes)),
            scheduled=finished.scheduled,
            run=outcome.run(self.transaction),
        )


def _written(transaction: Transaction, changes: Iterable[DocumentChange]) -> Iterator[Written]:
    """Yield what changes do to each user table."""
    tables: dict[int, Counter[str]] = {}
    for change in changes:
        what = "changed" if change.before and change.after else "inserted"
        tables.setdefault(change.table, Counter())["deleted" if not change.after else what] += 1
    for number, counts in tables.items():
        table = transaction.table_by_number(number)
        assert table is not None, "what is written has a table"
        if not table.is_system:
            yield Written(
                component=table.component,
                table=table.own_name,
                inserted=counts["inserted"],
                changed=counts["changed"],
                deleted=counts["deleted"],
            )


class _Refused(Exception):  # carries an error to where it is told
    """A result that was refused after the function had run."""

    def __init__(self, error: DeveloperError) -> None:
        super().__init__(str(error))
        self.error = error


class _Scope(msgspec.Struct, frozen=True):
    """What the functions of one component see of the tables, within one execution."""

    component: Application
    names: TableNumbers
    stored: StoredDocuments


@dataclass(slots=True, kw_only=True)
class _Execution:
    """One top-level run and the calls nested in it."""

    transaction: Transaction
    conditions: Conditions
    application: Application
    cursors: CursorCipher
    identity: Identity
    variables: Variables
    capabilities: Capabilities
    handles: Handles
    test_hooks: bool
    #: What was asked for from outside.
    call: FunctionCall
    #: Where it is noted what is read, if somebody asks.
    account: Account | None = None
    read_identity: bool = False
    #: A system error that user code may have swallowed: the run fails with it nevertheless.
    system_error: RequestError | None = None
    _scopes: dict[str, _Scope] = field(default_factory=dict)

    def scope(self, component: str) -> _Scope:
        """Return what functions of a component that is mounted see."""
        found = self._scopes.get(component)
        if found is None:
            mounted = self.application.in_component(component)
            assert mounted is not None, component
            names = tables_of(self.transaction, component)
            found = self._scopes[component] = _Scope(mounted, names, StoredDocuments(names))
        return found

    def invoke(
        self,
        scope: _Scope,
        function: Function[..., Any],
        keywords: dict[str, Any],
        log: Log,
        pagination: PaginationState,
        *,
        depth: int,
    ) -> bytes:
        """Run a function and return its packed result."""
        context = self._context(scope, function, log, pagination, depth)
        handler = function.handler
        if self.account is not None:
            handler = self.account.following(function, scope.component.component)
        with capturing(log):
            try:
                result = handler(context, **keywords)
            except RequestError as error:
                if self.is_system(error):
                    self.system_error = self.system_error or error
                raise
        try:
            if depth == 0 and function.kind is FunctionKind.QUERY:
                return encoded_result(function, result, scope.stored)
            return encoded_result(function, result, scope.stored, self.transaction)
        except DeveloperError as error:
            raise _Refused(error) from None

    def vector_search(self, log: Log) -> _Outcome:
        """Search for the action that asks; no row rule is asked."""
        if self.application.in_component(self.call.component) is None:
            # It was mounted in the release of the action.
            return _Outcome(log, self)
        access = self._access(self.scope(self.call.component), PaginationState(), None)
        return _Outcome(log, self, value=carry_out(access, self.call))

    def denial(
        self,
        scope: _Scope,
        guard: Guard,
        function: Function[..., Any],
        keywords: dict[str, Any],
        log: Log,
    ) -> AccessDenied | None:
        """Return why a guard does not let the caller in, or None if it does."""
        asked: list[UserIdentity | None] = []

        def user() -> UserIdentity | None:
            asked.append(self._user())
            return asked[-1]

        context = self._reading(scope, function, log, PaginationState(), 0, user)
        try:
            with capturing(log):
                if guard.holds(context, function.guard_arguments(keywords)):
                    return None
        except IdentityUnverified:
            return AccessDenied.unauthenticated()
        except RequestError as error:
            if self.is_system(error):
                self.system_error = self.system_error or error
            raise
        log.warn(f"{self.call.path} was refused by its guard: {guard!r}")
        is_nobody = None in asked or context.auth.session_is_over
        return AccessDenied.unauthenticated() if is_nobody else AccessDenied.forbidden()

    def beside(self, transaction: Transaction) -> _Execution:
        """Return an execution of the same in another transaction."""
        return dataclasses.replace(self, transaction=transaction, _scopes={})

    def is_system(self, error: RequestError) -> bool:
        """Return whether an error fails the run itself, rather than being user code's own."""
        return self.test_hooks or not isinstance(error, InjectedError)

    def raise_system_error(self) -> None:
        """Raise the system error that user code met, if it met one."""
        if self.system_error is not None:
            raise self.system_error

    def _context(
        self,
        scope: _Scope,
        function: Function[..., Any],
        log: Log,
        pagination: PaginationState,
        depth: int,
    ) -> QueryCtx:
        component = scope.component
        rules = None
        if component.rules is not None:
            # Before what they are asked about is read there is nothing to make.
            make = partial(self._reading, scope, function, log, pagination, depth, self._user)
            rules = RowRules(component.rules, make)
        access = self._access(scope, pagination, rules)
        calls = _NestedCalls(self, component, function, log, pagination, depth)
        # Held by the context alone: what refers to itself is only found by a collection.
        auth = Auth(self._user) if not component.component else Auth(component.no_identity)
        env = self._environment(component)
        files = partial(self._files, access)
        if function.kind is FunctionKind.QUERY:
            return QueryCtx(
                db=DatabaseReader(access), auth=auth, env=env, log=log, calls=calls, files=files
            )
        schedules = TransactionSchedules(
            self.transaction, self.handles, self.application, component, self.call, log
        )
        return MutationCtx(
            db=DatabaseWriter(access),
            auth=auth,
            env=env,
            log=log,
            calls=calls,
            files=files,
            schedules=schedules,
        )

    def _reading(
        self,
        scope: _Scope,
        function: Function[..., Any],
        log: Log,
        pagination: PaginationState,
        depth: int,
        user: Callable[[], UserIdentity | None],
    ) -> QueryCtx:
        """Return what guards and row rules are asked with: it reads all, and writes nothing."""
        component = scope.component
        access = self._access(scope, pagination, None, is_rule=True)
        return QueryCtx(
            db=DatabaseReader(access),
            auth=Auth(component.no_identity if component.component else user),
            env=self._environment(component),
            log=log,
            calls=_NestedCalls(self, component, function, log, pagination, depth),
            files=partial(self._files, access),
        )

    def _access(
        self,
        scope: _Scope,
        pagination: PaginationState,
        rules: RowRules | None,
        *,
        is_rule: bool = False,
    ) -> DatabaseAccess:
        component = scope.component
        access = DatabaseAccess(
            transaction=self.transaction,
            tables=component.tables,
            component=component.component,
            names=scope.names,
            cursors=self.cursors,
            stored=scope.stored,
            pagination=pagination,
            rules=rules,
        )
        return access if self.account is None else accounted(access, self.account, is_rule=is_rule)

    def _environment(self, component: Application) -> Environment:
        return Environment(
            self._variable
            if not component.component
            else lambda name: component.variable(name, self._variable)
        )

    def _files(self, access: DatabaseAccess) -> FileAccess:
        return FileAccess(
            transaction=self.transaction,
            capabilities=self.capabilities,
            component=access.component,
            origin=self._origin,
            observe_time=self.conditions.now_ns,
            ruled=access if access.rules is not None else None,
        )

    def _origin(self) -> str:
        origin = self.variables.get(self.transaction, CLOUD_URL)
        assert origin is not None
        return origin

    def _user(self) -> UserIdentity | None:
        self.read_identity = True
        return user_of(self.identity)

    def _variable(self, name: str) -> str | None:
        return self.variables.get(self.transaction, name)


class _NestedCalls(msgspec.Struct, frozen=True):
    """The calls of one function within its transaction."""

    execution: _Execution
    component: Application
    caller: Function[..., Any]
    log: Log
    pagination: PaginationState
    depth: int

    def query(
        self,
        callee: Callee[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        most: TransactionLimits | None = None,
    ) -> Any:
        return self._call(FunctionKind.QUERY, callee, args, kwargs, most)

    def mutation(
        self,
        callee: Callee[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        most: TransactionLimits | None = None,
    ) -> Any:
        return self._call(FunctionKind.MUTATION, callee, args, kwargs, most)

    def stale_query(
        self,
        callee: Callee[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        most: TransactionLimits | None = None,
    ) -> Any:
        with self.execution.transaction.beside() as beside:
            execution = self.execution.beside(beside)
            calls = _NestedCalls(
                execution, self.component, self.caller, self.log, PaginationState(), self.depth
            )
            try:
                return calls.query(callee, args, kwargs, most)
            finally:
                self.execution.system_error = self.execution.system_error or execution.system_error

    def function(self) -> FunctionMetadata:
        return function_metadata(self.component, self.caller)

    def request(self) -> RequestMetadata:
        return request_metadata(self.execution.call, self.component)

    def metrics(self) -> TransactionMetrics:
        amounts = self.execution.transaction.amounts
        return TransactionMetrics(
            **{
                name: Metric(used=used, remaining=most - used)
                for name, (used, most) in amounts.items()
            }
        )

    def snapshot_ts(self) -> int:
        return self.execution.transaction.begin_ts

    def handle(self, callee: Callee[..., Any]) -> str:
        return handle_of(self.execution.handles, self._resolved(callee))

    def _resolved(self, callee: Callee[..., Any]) -> Resolved:
        execution = self.execution
        return resolve(execution.handles, execution.application, self.component, callee)

    def _call(
        self,
        kind: FunctionKind,
        callee: Callee[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        most: TransactionLimits | None,
    ) -> Any:
        transaction = self.execution.transaction
        resolved = self._resolved(callee)
        function = resolved.function
        check_may_call(self.caller.kind, resolved, kind)
        if self.depth >= limits.call_depth_max:
            msg = (
                f"{resolved.display} would run {self.depth + 1} calls deep; calls may be nested "
                f"{limits.call_depth_max} deep"
            )
            raise DeveloperError(msg, code="MaximumCallDepthExceeded")
        scope = self.execution.scope(resolved.component.component)
        log = Log(lambda: transaction.now_ns)
        is_mutation = kind is FunctionKind.MUTATION
        try:
            packed = encoded_arguments(function, args, kwargs, scope.names, transaction)
            with (
                transaction.sub_transaction() if is_mutation else nullcontext(),
                nullcontext() if most is None else transaction.limited(given_limits(most)),
            ):
                keywords = bound(function, packed, scope.names)
                pagination = self.pagination.of_nested_call()
                value = self.execution.invoke(
                    scope, function, keywords, log, pagination, depth=self.depth + 1
                )
        except Exception as error:
            # With its frames, so that who is told of it is told where it was raised.
            nested = nested_error(error, resolved.display).with_traceback(error.__traceback__)
            raise nested from error
        finally:
            self.log.include(log)
        return function.returns.decode(unpack(value), scope.names)


def nested_error(error: Exception, path: str) -> Exception:
    """Return what the caller of a failed nested call sees."""
    if isinstance(error, AppError):
        return AppError(error.data)
    if isinstance(error, RequestError):
        return error
    if isinstance(error, _Refused):
        return FunctionError(f"{path} failed: {error.error}")
    if isinstance(error, CamberError):
        return FunctionError(f"{path} failed: {error}")
    name = "Error" if type(error) is Exception else type(error).__name__
    return FunctionError(f"{path} failed: {name}: {error}")


def _nothing_done(transaction: Transaction) -> MutationExecuted:
    return MutationExecuted(
        value=pack(None), failure=None, log_lines=(), transaction=transaction.finish()
    )
