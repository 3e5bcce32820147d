"""Cosines by the book, over all vectors, in numpy, with nothing of Camber's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Held(NamedTuple):
    """A vector that there is, and what its filter fields hold."""

    vector: tuple[float, ...]
    filters: tuple[object, ...]


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    left, right = np.array(one, dtype=np.float64), np.array(other, dtype=np.float64)
    left, right = left / np.abs(left).max(), right / np.abs(right).max()
    return float(np.dot(left, right) / (np.linalg.norm(left) * np.linalg.norm(right)))


def nearest(
    vectors: Mapping[str, Held],
    wanted: Sequence[float],
    admits: Callable[[tuple[object, ...]], bool] = lambda _: True,
    digits: int = 6,
) -> list[tuple[float, str]]:
    """Score and id of all that may be found, nearest first.

    Scores are rounded to `digits`, by default to what float32 can tell apart: it is what is kept of a
    vector.
    """
    found = [
        (round(cosine(held.vector, wanted), digits), id_)
        for id_, held in vectors.items()
        if admits(held.filters)
    ]
    return sorted(found, key=lambda hit: (-hit[0], hit[1]))
