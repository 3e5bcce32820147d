"""How many scheduled functions and cron jobs there are that have not come to their end."""

from __future__ import annotations

from camber import limits
from camber.engine import system_tables
from camber.engine.engine import Engine
from camber.engine.transaction import FinishedTransaction
from camber.errors import ScheduleFull
from camber.storage.store import DocumentChange


class Backlog:
    """The count of jobs as published. Lives on the event loop.

    It is read from the store once; from then on whoever looks at commits anyway counts them.
    """

    def __init__(self, engine: Engine) -> None:
        table = engine.catalog.by_number(system_tables.JOBS_NUMBER)
        assert table is not None
        with engine.store.snapshot() as snapshot:
            self.jobs = snapshot.count(table.indexes["by_due"].id)

    def count(self, change: DocumentChange) -> None:
        """Count a published change of a job."""
        self.jobs += _growth(change)

    def admit(self, transaction: FinishedTransaction) -> None:
        """Let a transaction commit that schedules something, unless there are too many then.

        One that ends as many as it schedules always may: a chain goes on, and so does what cancels.

        Raises:
            ScheduleFull: there are too many.
        """
        most = limits.functions_waiting_max
        if self.jobs + transaction.scheduled <= most:
            return
        growth = sum(
            _growth(change)
            for change in transaction.changes
            if change.table == system_tables.JOBS_NUMBER
        )
        if growth > 0 and self.jobs + growth > most:
            functions = "a function" if growth == 1 else f"{growth} functions"
            raise ScheduleFull(
                f"{transaction.source} cannot schedule {functions} more: {self.jobs} wait for their "
                f"time or run, and {most} may. Nothing was written. Try again when some have run, or "
                "cancel some (POST /api/cancel_all_jobs)"
            )


def _growth(change: DocumentChange) -> int:
    return (change.after is not None) - (change.before is not None)
