"""Which index a query lacks that reads far more than it needs, as code to paste.

What the query and the code around it ask of its documents is known (`source_conditions`). Equalities
come first in an index, in the order in which the query has them; what orders the documents stays
behind them, so that they come in the order in which they came before. A range takes its place only
where that keeps the order, or nobody sees it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any, Final

import msgspec

from camber import limits
from camber.engine.catalog import (
    CREATION_TIME_FIELD,
    ID_FIELD,
    IndexEntry,
    IndexState,
    TableEntry,
)
from camber.functions.conditions import Range
from camber.functions.source_conditions import Chain, Condition, Conditions
from camber.schema.plan import BooleanPlan
from camber.schema.table import DeclaredTable
from camber.values.paths import is_identifier

_SYSTEM_NAMES: Final = {
    "id": ID_FIELD,
    "creation_time": CREATION_TIME_FIELD,
    ID_FIELD: ID_FIELD,
    CREATION_TIME_FIELD: CREATION_TIME_FIELD,
}


class IndexAdvice(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """An index that would help. `declaration` is None if it is there and only has to be used."""

    table: str
    name: str
    fields: tuple[str, ...]
    declaration: str | None
    #: The query with it, or what to add to the query.
    use: str
    #: What has to be known before it is done.
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A query as it was run, and what is asked of its documents beyond its index."""

    table: TableEntry
    declared: DeclaredTable | None
    index: IndexEntry
    #: What the index was given, by wire path.
    given: Mapping[str, Any]
    conditions: Conditions
    chain: Chain | None
    #: Whether somebody sees in which order the documents come.
    is_ordered: bool


def advice(asked: Asked) -> IndexAdvice | None:
    """Return the index that would answer more of what is asked, if there can be one."""
    known = _by_path(asked)
    new = [
        path
        for path, found in known.items()
        if path not in asked.given and path not in _BUILT_IN and _equality(found) is not None
    ]
    if asked.index.tokenizer is not None:
        return _search_advice(asked, known, new) if new else None
    before = [path for path in asked.index.fields if _is_equality(asked.given.get(path))]
    if CREATION_TIME_FIELD in before:
        return None
    # What orders the documents, after all that is equal in them.
    rest = [path for path in asked.index.fields[len(before) :] if path not in {*new, *_BUILT_IN}]
    equal, fields = [*before, *new], [*before, *new, *rest]
    range_before = next((p for p, v in asked.given.items() if isinstance(v, Range)), None)
    ranged = range_before
    if ranged is None:
        following = rest[0] if rest else CREATION_TIME_FIELD
        if _has_range(known, following):
            ranged = following
        elif not rest and not (asked.is_ordered and equal):
            ranged = next((p for p in known if p not in _BUILT_IN and _has_range(known, p)), None)
            fields += [] if ranged is None else [ranged]
    if not new and ranged == range_before:
        return None
    return _made(asked, known, equal, fields, ranged)


def _made(
    asked: Asked,
    known: Mapping[str, list[Condition]],
    equal: list[str],
    fields: list[str],
    ranged: str | None,
) -> IndexAdvice:
    there = _there(asked, equal, fields)
    name = _new_name(asked, fields) if there is None else there.name
    values = {path: _equal_to(asked, known, path) for path in equal}
    if ranged is not None:
        values[ranged] = _between(asked, known, ranged)
    left = _left(asked, [each for path in values for each in _answered(asked, known, path)])
    notes = [f"no index answers {' and '.join(left)}: that stays a filter"] if left else []
    is_new_order = ranged in fields and ranged not in asked.index.fields
    if is_new_order and asked.is_ordered:
        notes.append(f"the documents then come in the order of {ranged}")
    return IndexAdvice(
        table=asked.table.own_name,
        name=name,
        fields=tuple(fields if there is None else there.fields),
        declaration=None if there is not None else f"{name} = Index({_quoted(fields)})",
        use=_use(asked, name, values, is_whole=not left),
        notes=tuple(notes),
    )


def _search_advice(
    asked: Asked, known: Mapping[str, list[Condition]], new: list[str]
) -> IndexAdvice | None:
    """Return the search index with more filter fields."""
    index = asked.index
    searched, *filters = index.fields
    if len(asked.given) + len(new) > limits.search_filters_max:
        return None
    added = [path for path in new if path not in filters]
    fields = [*filters, *added]
    declaration = None
    if added:
        kind = "" if index.tokenizer == "words" else f', tokenizer="{index.tokenizer}"'
        declaration = (
            f'{index.name} = SearchIndex("{searched}", filter_fields=[{_quoted(fields)}]{kind})'
        )
    values = {path: _equal_to(asked, known, path) for path in new}
    left = _left(asked, [each for path in new for each in _answered(asked, known, path)])
    notes = [f"no index answers {' and '.join(left)}: that stays a filter"] if left else []
    shown = ", ".join(_arguments(asked, values))
    return IndexAdvice(
        table=asked.table.own_name,
        name=index.name,
        fields=(searched, *fields),
        declaration=declaration,
        use=f".with_search_index(…, {shown})",
        notes=tuple(notes),
    )


_BUILT_IN: Final = frozenset({ID_FIELD, CREATION_TIME_FIELD})


def _by_path(asked: Asked) -> dict[str, list[Condition]]:
    """Return the comparisons with fields that an index may have, by wire path."""
    found: dict[str, list[Condition]] = {}
    for condition in asked.conditions.comparisons:
        path = _wire_path(asked.declared, condition.path)
        if path is not None and not (condition.is_truth and not _is_flag(asked.declared, path)):
            found.setdefault(path, []).append(condition)
    return found


def _wire_path(declared: DeclaredTable | None, path: tuple[str, ...]) -> str | None:
    first = path[0]
    if len(path) == 1 and first in _SYSTEM_NAMES and not _has_field(declared, first):
        return _SYSTEM_NAMES[first]
    name = first if declared is None else declared.wire_name(first)
    if declared is not None and declared.strict and not _has_field(declared, name):
        return None
    return ".".join((name, *path[1:]))


def _has_field(declared: DeclaredTable | None, name: str) -> bool:
    return declared is not None and any(
        name in {each.name, each.attribute} for each in declared.plan.fields
    )


def _is_flag(declared: DeclaredTable | None, path: str) -> bool:
    """Return whether a field is a bool: only then being true is being equal to True."""
    return declared is not None and any(
        each.name == path and isinstance(each.plan, BooleanPlan) for each in declared.plan.fields
    )


def _is_equality(value: Any) -> bool:
    return value is not None and not isinstance(value, Range)


def _equality(found: list[Condition]) -> Condition | None:
    return next((each for each in found if each.comparison == "eq"), None)


def _has_range(known: Mapping[str, list[Condition]], path: str) -> bool:
    return any(each.comparison != "eq" for each in known.get(path, ()))


def _there(asked: Asked, equal: list[str], fields: list[str]) -> IndexEntry | None:
    """Return an index of the table that does it already, and keeps the order if somebody sees it."""
    for index in asked.table.indexes.values():
        if not index.is_ordered or index.state is not IndexState.ENABLED:
            continue
        if not fields and index.fields == (CREATION_TIME_FIELD,):
            return index
        first, then = index.fields[: len(equal)], index.fields[len(equal) : len(fields)]
        if asked.is_ordered and len(index.fields) != len(fields):
            continue
        if fields and set(first) == set(equal) and list(then) == fields[len(equal) :]:
            return index
    return None


def _new_name(asked: Asked, fields: list[str]) -> str:
    taken = {each.name for each in asked.table.declared}
    if asked.declared is not None:
        taken |= {each.attribute for each in asked.declared.plan.fields}
    base = "by_" + "_".join(path.replace(".", "_") for path in fields)
    if not is_identifier(base):
        base = f"by_{len(fields)}_fields"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    return name


def _use(asked: Asked, name: str, values: Mapping[str, str], *, is_whole: bool) -> str:
    """Return the query with the index; without its filters if the index answers all of them."""
    cls = None if asked.declared is None else asked.declared.cls.__name__
    first = f'"{name}"' if cls is None else f"{cls}.{name}"
    call = f".with_index({', '.join([first, *_arguments(asked, values)])})"
    chain = asked.chain
    if chain is None:
        return call
    for method, arguments in chain.calls:
        is_answered = method == "filter" and is_whole
        if method != "with_index" and not is_answered:
            call += f".{method}({arguments})"
    return f"{chain.begin}{call}"


def _arguments(asked: Asked, values: Mapping[str, str]) -> list[str]:
    """Return conditions as arguments: dotted names in a dict, and then all others by name."""
    dotted: list[str] = []
    named: list[str] = []
    for path, value in values.items():
        attribute = _attribute(asked.declared, path)
        if attribute.isidentifier() and not iskeyword(attribute):
            named.append(f"{attribute}={value}")
        else:
            dotted.append(f'"{path}": {value}')
    return [*([f"{{{', '.join(dotted)}}}"] if dotted else []), *named]


def _quoted(fields: Sequence[str]) -> str:
    return ", ".join(f'"{path}"' for path in fields)


def _attribute(declared: DeclaredTable | None, path: str) -> str:
    if path in _BUILT_IN:
        return {ID_FIELD: "id", CREATION_TIME_FIELD: "creation_time"}[path]
    fields = [] if declared is None else declared.plan.fields
    return next((each.attribute for each in fields if each.name == path), path)


# Values, as source: what the query was given, or is asked of its documents.


def _equal_to(asked: Asked, known: Mapping[str, list[Condition]], path: str) -> str:
    return _given(asked, path) or _shortened(_answered(asked, known, path)[0].value)


def _between(asked: Asked, known: Mapping[str, list[Condition]], path: str) -> str:
    bounds = _answered(asked, known, path)
    return _given(asked, path) or " & ".join(
        f"{each.comparison}({_shortened(each.value)})" for each in bounds
    )


def _given(asked: Asked, path: str) -> str | None:
    if path not in asked.given:
        return None
    given = {} if asked.chain is None else asked.chain.given
    return given.get(_attribute(asked.declared, path)) or given.get(path) or "…"


def _answered(asked: Asked, known: Mapping[str, list[Condition]], path: str) -> list[Condition]:
    """Return the comparisons of a field that the index answers: one that it equals, or a range."""
    if path in asked.given:
        return []
    found = known[path]
    equality = _equality(found)
    if equality is not None:
        return [equality]
    lower = [each for each in found if each.comparison in {"gt", "gte"}][:1]
    upper = [each for each in found if each.comparison in {"lt", "lte"}][:1]
    return [*lower, *upper]


def _left(asked: Asked, answered: list[Condition]) -> list[str]:
    """Return what is asked beyond what the index answers."""
    conditions = asked.conditions
    left = [each.text for each in conditions.comparisons if not any(each is a for a in answered)]
    return [*left, *conditions.others]


def _shortened(source: str) -> str:
    most = limits.explained_text_length_max
    return source if len(source) <= most else "…"
