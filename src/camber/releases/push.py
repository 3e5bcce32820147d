"""Pushing a release: check what is stored, build indexes, then switch over in one commit.

Commits go on until the very end, when they wait while the push looks at what has changed since it
looked. A push that fails has changed nothing that a function can see, and says which table,
document and field stood in its way.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from camber.engine import system_tables
from camber.engine.catalog import IndexEntry, IndexState
from camber.engine.component_data import being_deleted
from camber.engine.engine import Engine, Hold
from camber.engine.transaction import Transaction
from camber.engine.variables import VariableChange, Variables, VariableUnreadable
from camber.errors import BadRequest
from camber.functions.analysis import Analysis
from camber.identity.signing_keys import (
    KEY_SET,
    PRIVATE_KEY,
    SigningKey,
    new_signing_key,
    variables_of,
)
from camber.jobs.crons import CronChanges, declare
from camber.releases.checks import Checks
from camber.releases.failures import PushFailed, VariablesLacking
from camber.releases.indexes import IndexBuilds, add_index, free_index_numbers, set_state
from camber.releases.plan import TablePlan, plan_tables
from camber.releases.providers import trusted
from camber.releases.records import (
    ReleaseChanges,
    ReleaseOrigin,
    changes_of,
    write_record,
)
from camber.releases.releases import RELEASE_ID, Releases, release_number
from camber.runtime.release import LoadedRelease
from camber.values.ids import encode_id
from camber.values.packed import unpack
from camber.values.value import Value

#: Beside the number: what stored documents are known to be (camber.schema.storable).
_STORABLE_ID = encode_id(system_tables.RELEASES_NUMBER, bytes(15) + b"\x01")


class PushMode(Enum):
    """How far a push goes."""

    #: Validate, build, and serve it.
    SWITCH = "switch"
    #: Validate and say what would be done; change nothing.
    DRY_RUN = "dry run"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushProgress:
    """How far a push has come, so far and of how many."""

    documents_checked: int
    documents_indexed: int
    indexes_built: int
    indexes_total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReport:
    """What a push did, or would do in a dry run. `release` is the number it serves under.

    Indexes are named `table.index`; those that are staged are built after the push.
    """

    analysis: Analysis
    mode: PushMode
    release: int
    changes: ReleaseChanges
    #: None in a dry run.
    crons: CronChanges | None
    tables_created: tuple[str, ...]
    indexes_built: tuple[str, ...]
    indexes_staged: tuple[str, ...]
    indexes_enabled: tuple[str, ...]
    indexes_dropped: tuple[str, ...]
    #: Tables whose documents were looked at: the others fit, whatever is in them.
    tables_validated: tuple[str, ...]
    #: What the author should know, though it stands in nobody's way.
    notes: tuple[str, ...]


Progress = Callable[[PushProgress], None]


def _not_told(progress: PushProgress) -> None:
    del progress


class Pushes:
    """The pushes of one deployment: of several at once the newest wins. Lives on the event loop."""

    def __init__(self, *, engine: Engine, releases: Releases, variables: Variables) -> None:
        self._engine = engine
        self._variables = variables
        self._releases = releases
        self._builds = IndexBuilds(engine)
        self._turn = asyncio.Lock()
        self._newest: _Push | None = None

    async def open(self) -> None:
        """Clear away what a push has left behind whose server ended; go on with staged indexes."""
        await self._builds.discard_pending()
        self._builds.go_on()

    async def push(
        self,
        release: LoadedRelease,
        *,
        origin: ReleaseOrigin,
        mode: PushMode = PushMode.SWITCH,
        progress: Progress | None = None,
    ) -> PushReport:
        """Make `release` the serving one, or see whether it could be.

        It is closed with the deployment or when it is superseded; at once if it does not serve.

        Raises:
            PushFailed: a stored document does not fit the new schema, or an index cannot be built;
                with code `RaceDetected`, a newer push has begun.
        """
        push = _Push(release=release, origin=origin, told=progress or _not_told)
        if mode is PushMode.DRY_RUN:
            try:
                return await self._try(push)
            finally:
                await release.close()
        if self._newest is not None:
            self._newest.give_up()
        self._newest = push
        task = push.task = self._engine.host.spawn("push", self._in_turn(push))
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            push.give_up()
            await asyncio.wait([task])
            # It may have been given up before it had begun, and had nobody to close it.
            await release.close()
            raise
        if task.cancelled():
            await release.close()
            raise _raced()
        return task.result()

    async def close(self) -> None:
        """Give up what goes on."""
        if self._newest is not None and self._newest.task is not None:
            self._newest.give_up()
            await asyncio.wait([self._newest.task])
        await self._builds.close()

    async def _in_turn(self, push: _Push) -> PushReport:
        try:
            async with self._turn, self._engine.structure:
                if push is not self._newest:
                    raise _raced()
                report = await self._carry_out(push)
        except BaseException:
            await push.release.close()
            raise
        self._builds.go_on()
        self._releases.close_superseded(self._engine.host)
        return report

    async def _carry_out(self, push: _Push) -> PushReport:
        await self._builds.discard_pending()
        checks = Checks(engine=self._engine, release=push.release, told=push.checked)
        stop = self._engine.on_publish(checks.published)
        try:
            while True:
                await self._get_ready(push, checks)
                report = await self._end(push, checks)
                if report is not None:
                    return report
        except BaseException:
            push.is_ending = True
            if push.switched is not None and await self._serves(push.switched):
                return push.switched
            await self._builds.discard_pending()
            raise
        finally:
            stop()

    async def _serves(self, report: PushReport) -> bool:
        """Return whether a switch that was reported as failed was made nevertheless."""
        await self._engine.committer.opened()
        with closing(self._engine.begin("push")) as transaction:
            serves = release_number(transaction) == report.release
        if serves:
            self._releases.switched(report.release)
        else:
            self._releases.withdraw(report.release)
        return serves

    async def _get_ready(self, push: _Push, checks: Checks) -> None:
        """Check and build while commits go on."""
        self._check_deletions(push)
        self._check_variables(push)
        if push.signing_key is None and self._lacks_signing_keys(push):
            push.signing_key = await asyncio.to_thread(new_signing_key)
        missing = [
            (plan.entry, index)
            for plan in self._plan(push)
            if plan.entry is not None
            for index in plan.build
            if all(pending.name != index.name for pending in plan.pending)
        ]
        await self._builds.enter(missing)
        plans = self._plan(push)
        checks.watch(plans)
        push.count(plans)
        for plan in plans:
            pending = [index for index in plan.pending if index.id not in push.built]
            if pending:
                assert plan.entry is not None
                is_built = await self._builds.build(plan.entry, pending, push.indexed)
                assert is_built, f"indexes of {plan.name} were given up by somebody else"
                push.has_built(pending)
        while any(plan.awaited for plan in self._plan(push)):
            await self._builds.staged_built()
        for plan in self._plan(push):
            await checks.look_at(plan)
        await checks.settle()

    async def _end(self, push: _Push, checks: Checks) -> PushReport | None:
        """Switch over while nobody commits; None if there is more to do first than may wait."""
        async with self._engine.hold() as hold:
            # From here on it ends by itself, and soon.
            push.is_ending = True
            plans = self._plan(push)
            if all(self._is_ready(push, checks, plan) for plan in plans):
                checks.watch(plans)
                await checks.look_again()
                return await self._switch(push, hold, checks, plans)
        push.is_ending = False
        push.check_wanted()
        return None

    def _is_ready(self, push: _Push, checks: Checks, plan: TablePlan) -> bool:
        if plan.entry is None:
            return True
        built = {index.name for index in plan.pending if index.id in push.built}
        all_built = all(index.name in built for index in plan.build)
        return all_built and not plan.awaited and checks.is_done(plan)

    async def _switch(
        self, push: _Push, hold: Hold, checks: Checks, plans: tuple[TablePlan, ...]
    ) -> PushReport:
        analysis = push.release.analysis
        with closing(self._engine.begin("push")) as transaction:
            number = release_number(transaction) + 1
            _change_tables(transaction, plans)
            _write_release(transaction, number, analysis)
            changes = write_record(
                transaction,
                number=number,
                time_ms=self._engine.host.now_ns() / 1e6,
                origin=push.origin,
                analysis=analysis,
            )
            made = self._keep_signing_key(push, transaction)
            crons = declare(transaction, analysis, self._engine.host.now_ns() / 1e6)
            finished = transaction.finish()
        report = _report(analysis, PushMode.SWITCH, number, changes, plans, checks, crons=crons)
        if made:
            note = f"the keys of access tokens were made: the variables {' and '.join(made)}"
            report = replace(report, notes=(*report.notes, note))
        push.switched = report
        self._releases.prepare(number, push.release)
        await hold.commit(finished)
        self._releases.switched(number)
        return report

    def _check_deletions(self, push: _Push) -> None:
        """Do nothing if nothing is being deleted of what the release mounts.

        None begins meanwhile: whoever pushes has `Engine.structure`.

        Raises:
            PushFailed: something is.
        """
        with closing(self._engine.begin("push")) as transaction:
            deleted = being_deleted(transaction, push.release.analysis.components)
        if deleted:
            raise PushFailed(
                f"component {deleted[0]!r} cannot be mounted while its data is being deleted. Push again when "
                "that is done"
            )

    def _check_variables(self, push: _Push) -> None:
        """Do nothing if all variables are such that components and identity providers can do with them.

        Raises:
            VariablesLacking: some are not.
        """
        analysis = push.release.analysis
        with closing(self._engine.begin("push")) as transaction:
            missing = sorted(
                {
                    each.variable
                    for each in analysis.variables
                    if not each.is_optional and transaction.environment(each.variable) is None
                }
            )
            wrong = list(self._wrong(analysis, transaction))
            problems = trusted(analysis.providers, transaction, self._variables).problems
        if missing:
            raise VariablesLacking(
                f"components need deployment variables that are not set: {', '.join(missing)}. "
                "Set them with `camber env set`, and push again"
            )
        if wrong:
            raise VariablesLacking(f"{'. '.join(wrong)}. Set it with `camber env set`")
        if problems:
            raise VariablesLacking(f"auth_config trusts what it cannot. {'. '.join(problems)}")

    def _wrong(self, analysis: Analysis, transaction: Transaction) -> Iterator[str]:
        """Yield what is wrong with variables that are set, and may not be what they are."""
        for each in analysis.variables:
            if each.choices is None or transaction.environment(each.variable) is None:
                continue
            try:
                value = self._variables.get(transaction, each.variable)
            except VariableUnreadable as error:
                yield error.sentence
                continue
            if value not in each.choices:
                yield (
                    f"the deployment variable {each.variable}, which component {each.component!r} has as "
                    f"{each.name}, is {value!r}; it may be {' or '.join(map(repr, each.choices))}"
                )

    def _lacks_signing_keys(self, push: _Push) -> bool:
        """Return whether the release trusts the deployment's own tokens, and nothing signs them."""
        with closing(self._engine.begin("push")) as transaction:
            found = trusted(push.release.analysis.providers, transaction, self._variables)
            return found.has_own and not _has_signing_keys(transaction)

    def _keep_signing_key(self, push: _Push, transaction: Transaction) -> tuple[str, ...]:
        """Set the variables of the key that was made, if nobody has set one since; return their names.

        Raises:
            PushFailed: there is no room for them.
        """
        if push.signing_key is None or _has_signing_keys(transaction):
            return ()
        made = variables_of(push.signing_key)
        changes = [VariableChange(name=name, value=value) for name, value in made.items()]
        try:
            self._variables.change(transaction, changes)
        except BadRequest as error:
            raise PushFailed(
                f"auth_config trusts tokens of this deployment, whose keys cannot be kept: "
                f"{error.sentence}"
            ) from None
        return tuple(made)

    async def _try(self, push: _Push) -> PushReport:
        self._check_deletions(push)
        self._check_variables(push)
        checks = Checks(engine=self._engine, release=push.release, told=push.checked)
        plans = self._plan(push)
        for plan in plans:
            await checks.look_at(replace(plan, pending=(), enable=()))
            if plan.declared is not None:
                await checks.find_equal(plan)
        with closing(self._engine.begin("push")) as transaction:
            number = release_number(transaction) + 1
            changes = changes_of(transaction, push.release.analysis)
        return _report(push.release.analysis, PushMode.DRY_RUN, number, changes, plans, checks)

    def _plan(self, push: _Push) -> tuple[TablePlan, ...]:
        with closing(self._engine.begin("push")) as transaction:
            known = _known(transaction)
            return plan_tables(transaction.catalog, push.release.analysis, known)


class _Push:
    """One push: how far it has come, and whether it may still be given up."""

    def __init__(self, *, release: LoadedRelease, origin: ReleaseOrigin, told: Progress) -> None:
        self.release = release
        self.origin = origin
        self.task: asyncio.Task[PushReport] | None = None
        #: Whether it switches over or clears up: it must not be interrupted then.
        self.is_ending = False
        #: What it reports, from when it begins to switch on.
        self.switched: PushReport | None = None
        self.built: set[int] = set()
        #: What signs the tokens of users, if that is made with this push.
        self.signing_key: SigningKey | None = None
        self._told = told
        self._progress = PushProgress(
            documents_checked=0, documents_indexed=0, indexes_built=0, indexes_total=0
        )
        self._is_given_up = False

    def give_up(self) -> None:
        """End it before it has switched over, if that is possible; once."""
        if not self._is_given_up:
            self._is_given_up = True
            if not self.is_ending and self.task is not None:
                self.task.cancel()

    def check_wanted(self) -> None:
        """Do nothing unless it was given up when it could not be interrupted.

        Raises:
            PushFailed: it was.
        """
        if self._is_given_up:
            raise _raced()

    def checked(self, documents: int) -> None:
        now = self._progress
        self._tell(replace(now, documents_checked=now.documents_checked + documents))

    def indexed(self, documents: int) -> None:
        now = self._progress
        self._tell(replace(now, documents_indexed=now.documents_indexed + documents))

    def count(self, plans: tuple[TablePlan, ...]) -> None:
        total = sum(len(plan.pending) for plan in plans)
        self._tell(replace(self._progress, indexes_total=total))

    def has_built(self, indexes: list[IndexEntry]) -> None:
        self.built.update(index.id for index in indexes)
        self._tell(replace(self._progress, indexes_built=len(self.built)))

    def _tell(self, progress: PushProgress) -> None:
        self._progress = progress
        self._told(progress)


def _has_signing_keys(transaction: Transaction) -> bool:
    """Return whether either variable is set: a half is somebody's, and nothing is put beside it."""
    return any(transaction.environment(name) is not None for name in (PRIVATE_KEY, KEY_SET))


def _raced() -> PushFailed:
    return PushFailed("a newer push has begun meanwhile, and takes its place", code="RaceDetected")


def _change_tables(transaction: Transaction, plans: tuple[TablePlan, ...]) -> None:
    """Create tables and put indexes into the states that the release declares."""
    numbers = free_index_numbers(transaction)
    for plan in plans:
        table = plan.entry
        if table is None:
            table = transaction.create_table(plan.name)
            # There is nothing to build in it.
            for state, indexes in (
                (IndexState.ENABLED, plan.build),
                (IndexState.STAGED, plan.stage),
            ):
                for index in indexes:
                    add_index(transaction, table, index, state, number=next(numbers))
            continue
        for index in plan.stage:
            state = IndexState.STAGED_BACKFILLING
            add_index(transaction, table, index, state, number=next(numbers))
        for state, entries in (
            (IndexState.DROPPED, plan.drop),
            (IndexState.STAGED, plan.disable),
            (IndexState.ENABLED, (*plan.enable, *plan.pending)),
        ):
            for entry in entries:
                set_state(transaction, table, entry, state)


def _known(transaction: Transaction) -> dict[str, dict[str, Any]]:
    """Return what the documents of tables are known to be, by name of the table."""
    packed = transaction.get(_STORABLE_ID)
    if packed is None:
        return {}
    document = unpack(packed)
    assert isinstance(document, dict)
    # What earlier versions of Camber stored there says less.
    described = document.get("storable", {})
    assert isinstance(described, dict)
    return {name: json.loads(str(text)) for name, text in described.items()}


def _write_release(transaction: Transaction, number: int, analysis: Analysis) -> None:
    storable: dict[str, Value] = {
        table.name: json.dumps(table.storable, sort_keys=True)
        for table in analysis.all_tables().values()
    }
    documents: tuple[tuple[str, dict[str, Value]], ...] = (
        (RELEASE_ID, {"number": number}),
        (_STORABLE_ID, {"storable": storable}),
    )
    for id_, fields in documents:
        if transaction.get(id_) is None:
            transaction.insert(system_tables.RELEASES, fields, id=id_)
        else:
            transaction.replace(id_, fields)


def _report(
    analysis: Analysis,
    mode: PushMode,
    number: int,
    changes: ReleaseChanges,
    plans: tuple[TablePlan, ...],
    checks: Checks,
    *,
    crons: CronChanges | None = None,
) -> PushReport:
    def names(indexes: Callable[[TablePlan], tuple[Any, ...]]) -> tuple[str, ...]:
        return tuple(f"{plan.name}.{index.name}" for plan in plans for index in indexes(plan))

    return PushReport(
        analysis=analysis,
        mode=mode,
        release=number,
        changes=changes,
        crons=crons,
        tables_created=tuple(plan.name for plan in plans if plan.entry is None),
        indexes_built=names(lambda plan: plan.build),
        indexes_staged=names(lambda plan: (*plan.stage, *plan.disable)),
        indexes_enabled=names(lambda plan: plan.enable),
        indexes_dropped=names(lambda plan: plan.drop),
        tables_validated=tuple(plan.name for plan in plans if plan.validate),
        notes=tuple(note for plan in plans for note in checks.notes(plan)),
    )
