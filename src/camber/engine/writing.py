"""Small transactions of the server's own, run until they commit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TypeVar

from camber import limits
from camber.engine.committer import CommitConflict
from camber.engine.engine import Engine
from camber.engine.transaction import FinishedTransaction, Transaction
from camber.errors import WriteConflict

R = TypeVar("R")


def _anything(transaction: FinishedTransaction) -> None:
    del transaction


async def write(
    engine: Engine,
    source: str,
    change: Callable[[Transaction], R],
    *,
    admit: Callable[[FinishedTransaction], None] = _anything,
) -> R:
    """Run `change` in a transaction and return what it returns, once that is durable.

    It runs where it is called, again after a conflict, and must be quick. Whatever it raises ends
    the transaction, which then has changed nothing; so does what `admit` raises of one that is
    about to commit.

    Raises:
        WriteConflict: it lost each of its attempts to another commit.
    """
    for _ in range(limits.conflict_retries_max + 1):
        with closing(engine.begin(source)) as transaction:
            result = change(transaction)
            finished = transaction.finish()
        if not finished.changes:
            return result
        admit(finished)
        try:
            await engine.committer.commit(finished)
        except CommitConflict as conflict:
            await engine.committer.published(conflict.ts)
        else:
            return result
    raise WriteConflict(f"{source} lost to other commits each time it was tried; try again")
