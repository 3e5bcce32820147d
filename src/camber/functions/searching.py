"""What a search of a text index asks for, made of what user code gives (semantics 7.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from camber import limits
from camber.engine.catalog import IndexEntry
from camber.errors import DeveloperError
from camber.functions.conditions import AnyOf, Range
from camber.search.texts import TextQuery, filter_digest
from camber.search.tokens import search_words
from camber.values.keys import encode_part
from camber.values.value import Value


def checked_text(text: object) -> str:
    """Return the text to search for.

    Raises:
        DeveloperError: it is none.
    """
    if not isinstance(text, str):
        msg = f"with_search_index() takes the text to search for, not {text!r}"
        raise DeveloperError(msg, code="InvalidArgument")
    return text


def text_query(
    index: IndexEntry,
    text: str,
    equalities: Mapping[str, Any],
    *,
    shown: str,
    encode: Callable[[str, Any], Value],
) -> TextQuery:
    """Return what to look for in a text index; `equalities` are by wire path.

    `encode` makes the stored form of a value. `shown` names the index in errors.

    Raises:
        DeveloperError: there are too many equalities, or one is no equality, or on no filter field.
    """
    assert index.tokenizer is not None
    if len(equalities) > limits.search_filters_max:
        msg = (
            f"a search of {shown} compares {len(equalities)} filter fields; one may compare "
            f"{limits.search_filters_max}"
        )
        raise DeveloperError(msg, code="TooManyFilterConditionsInSearchQueryError")
    filter_fields = index.fields[1:]
    filters: list[tuple[int, bytes]] = []
    for path, value in equalities.items():
        if path not in filter_fields:
            known = f"they are {', '.join(filter_fields)}" if filter_fields else "it has none"
            msg = f"{path!r} is no filter field of {shown}: {known}"
            raise DeveloperError(msg, code="IncorrectFilterFieldError")
        if isinstance(value, Range | AnyOf):
            msg = f"a search of {shown} compares {path!r} with one value; filter() does the rest"
            raise DeveloperError(msg, code="InvalidArgument")
        digest = filter_digest(encode_part(encode(path, value)))
        filters.append((filter_fields.index(path), digest))
    words = search_words(text, index.tokenizer)
    # Whoever has written more than is looked for has not just begun the last word of it.
    is_whole = len(words) <= limits.search_terms_max
    terms = words[: limits.search_terms_max]
    return TextQuery(
        terms=tuple(dict.fromkeys(terms)),
        prefix=terms[-1] if terms and is_whole else None,
        filters=tuple(sorted(filters)),
    )
