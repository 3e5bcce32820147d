"""Row rules at work: which rows of its tables the function that runs may read and write.

`camber.functions.access` declares them, `camber.functions.database` asks here: for each row that
is read, and before each write. What a rule reads itself is not subject to rules, so that rules
need not be afraid of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from camber.errors import AccessDenied
from camber.functions.predicates import Guard, RowRule

#: What may be done with the rows of a table: whatever the row is, or by the row. Any row if None.
RowPredicate: TypeAlias = Guard | RowRule[Any] | None

nobody: Final = Guard(lambda _: False, name="nobody")


@dataclass(frozen=True, slots=True)
class Update:
    """A rule that is asked once, for a row as it was and as it would become."""

    holds: Callable[[Any, Any, Any], bool]
    name: str

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRules:
    """The rules of one table; what has none is for everybody."""

    read: RowPredicate = None
    insert: RowPredicate = None
    update: Update | RowPredicate = None
    delete: RowPredicate = None


#: What default deny says of a table that has no rules.
CLOSED: Final = TableRules(read=nobody, insert=nobody, update=nobody, delete=nobody)
_OPEN: Final = TableRules()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredRules:
    """The rules of an application or a component: of its tables, and of all others that it has.

    System tables, which other ways lead to as well, have rules only where some are declared.
    """

    tables: Mapping[str, TableRules]
    others: TableRules

    def of(self, table: str) -> TableRules:
        """Return the rules of a table."""
        found = self.tables.get(table)
        if found is None:
            return _OPEN if table.startswith("_") else self.others
        return found


class RowRules:
    """The rules of one run of a function; `context` makes what they are asked with, once."""

    __slots__ = ("_declared", "_made", "_make")

    def __init__(self, declared: DeclaredRules, make: Callable[[], Any]) -> None:
        self._declared = declared
        self._make = make
        self._made: Any = None

    def reading(self, table: str) -> Callable[[Any], bool] | None:
        """Return what says of each row of a table whether it may be read; None if all may.

        `hides_all` if none may: nothing needs to be read to know that.
        """
        rule = self._declared.of(table).read
        if isinstance(rule, Guard):
            return None if rule.holds(self._context()) else hides_all
        if rule is None:
            return None
        context = self._context()
        return lambda row: rule(context, row)

    def may_read(self, table: str, row: Any) -> bool:
        """Return whether one row may be read."""
        return self._holds(self._declared.of(table).read, row)

    def check_insert(self, table: str, row: Callable[[], Any]) -> None:
        """Do nothing if a row may be inserted.

        Raises:
            AccessDenied: it may not.
        """
        rule = self._declared.of(table).insert
        if rule is not None and not self._holds(rule, row()):
            raise self._refused("insert into", table, rule)

    def check_update(self, table: str, old: Callable[[], Any], new: Callable[[], Any]) -> None:
        """Do nothing if a row may become another: a rule of one row must hold for both.

        Raises:
            AccessDenied: it may not.
        """
        rule = self._declared.of(table).update
        if rule is None:
            return
        if isinstance(rule, Update):
            may = rule.holds(self._context(), old(), new())
        else:
            may = self._holds(rule, old()) and self._holds(rule, new())
        if not may:
            raise self._refused("update", table, rule)

    def check_delete(self, table: str, row: Callable[[], Any]) -> None:
        """Do nothing if a row may be deleted.

        Raises:
            AccessDenied: it may not.
        """
        rule = self._declared.of(table).delete
        if rule is not None and not self._holds(rule, row()):
            raise self._refused("delete from", table, rule)

    def _holds(self, rule: RowPredicate, row: Any) -> bool:
        if rule is None:
            return True
        return (
            rule.holds(self._context()) if isinstance(rule, Guard) else rule(self._context(), row)
        )

    def _refused(self, operation: str, table: str, rule: object) -> AccessDenied:
        # For the author: the caller is told that it may not, and neither which table nor why.
        self._context().log.warn(f"{operation} {table!r} is refused by its rule: {rule!r}")
        return AccessDenied.forbidden()

    def _context(self) -> Any:
        if self._made is None:
            self._made = self._make()
        return self._made


def hides_all(row: object) -> bool:
    """Let no row be read."""
    del row
    return False
