"""BM25 by the book, over all texts, with nothing of Camber's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Held(NamedTuple):
    """A text that there is: what is searched, when it was made, and what its filter fields hold."""

    words: tuple[str, ...]
    time: float
    filters: tuple[object, ...]


def ranked(
    texts: Mapping[str, Held],
    terms: Sequence[str],
    prefix: str | None,
    filters: Mapping[int, object],
) -> list[tuple[float, str]]:
    """Score and id of all that is found, best first."""
    clauses: list[Callable[[str], bool]] = [term.__eq__ for term in dict.fromkeys(terms)]
    if prefix is not None:
        clauses.append(lambda word: word.startswith(prefix))
    total = sum(len(text.words) for text in texts.values())
    average = total / len(texts) if total else 1.0
    found = []
    for id_, text in texts.items():
        if any(text.filters[place] != value for place, value in filters.items()):
            continue
        score, is_found = 0.0, False
        for clause in clauses:
            count = sum(map(clause, text.words))
            if not count:
                continue
            is_found = True
            having = sum(any(map(clause, other.words)) for other in texts.values())
            rarity = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
            length = 0.25 + 0.75 * len(text.words) / average
            score += rarity * count * 2.2 / (count + 1.2 * length)
        if is_found:
            found.append((score, id_))
    # Rounded, since there are several orders in which to add up.
    return sorted(found, key=lambda hit: (-round(hit[0], 9), -texts[hit[1]].time, hit[1]))
