"""Which number each table has after an import. Pure.

Ids carry the number of their table, so a table that brings ids must get their number. Tables that
lose or have no documents give way; those that keep documents do not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from camber.engine.system_tables import USER_TABLE_NUMBER_MIN
from camber.transfer.sources import ImportRefused

#: The numbers of index keys in the store are twice this at most (storage.index_ids).
_NUMBER_MAX: Final = 2**31


def number_tables(
    *,
    existing: Mapping[str, int],
    keeping: Collection[str],
    imported: Mapping[str, int | None],
) -> dict[str, int]:
    """Return the number of every table after the import, existing and new.

    `keeping` are the existing tables that will hold documents of before; `imported` has the number
    that each imported table brings, or None.

    Raises:
        ImportRefused: two tables would need one number, or it is none for a table (InvalidId).
    """
    numbers: dict[str, int] = {}
    owner: dict[int, str] = {}

    def give(name: str, number: int) -> None:
        numbers[name] = number
        owner[number] = name

    for name in keeping:
        give(name, existing[name])
    for name, number in imported.items():
        if number is None:
            continue
        if not USER_TABLE_NUMBER_MIN <= number < _NUMBER_MAX:
            msg = (
                f"table {name!r} brings ids of table number {number}; those of applications begin "
                f"at {USER_TABLE_NUMBER_MIN}"
            )
            raise _clash(msg)
        if name in keeping and existing[name] != number:
            msg = (
                f"table {name!r} has documents under the number {existing[name]}, and those to "
                f"import have ids of number {number}. Leave out their _id, or replace the table"
            )
            raise _clash(msg)
        if owner.get(number, name) != name:
            msg = (
                f"table {name!r} brings ids of table number {number}, which is the number of "
                f"{owner[number]!r}. Leave out their _id, or replace all tables"
            )
            raise _clash(msg)
        give(name, number)
    fresh = max([*existing.values(), *owner, USER_TABLE_NUMBER_MIN - 1]) + 1
    for name in [*imported, *existing]:
        if name in numbers:
            continue
        number = existing.get(name)
        if number is None or number in owner:
            number, fresh = fresh, fresh + 1
        give(name, number)
    return numbers


def _clash(sentence: str) -> ImportRefused:
    return ImportRefused(sentence, code="InvalidId")
