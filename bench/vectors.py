"""Vector search: the ten nearest of 100,000 vectors of 384 dimensions, and numpy with as many in memory.

Each query is for another vector, over HTTP, one after another: what is measured is how long one takes,
from request to answer, documents of the hits included. numpy looks at a matrix of the same vectors.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from statistics import median
from typing import Any

import numpy as np

from bench.servers import CouldNotMeasure, Http, alone, camber
from bench.summary import Measured, Series, ratios
from bench.turns import Turns

_VECTORS = 100_000
_DIMENSIONS = 384
_NEAREST = 10
#: Vectors of one mutation.
_SEEDED = 500
_SEARCHES = 30
#: Until every process that runs queries has read the vectors.
_WARMUPS = 20
_READS = "FULL, but nothing is written"
_NONE = "nothing is stored"


def measure(turns: Turns) -> Series:
    """Search in Camber and in numpy, by turns."""
    count = turns.scale.of(_VECTORS)
    matrix = np.array([_vector(number) for number in range(count)], dtype=np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    with camber() as server, Http(server) as http:
        for first in range(0, count, _SEEDED):
            http.call("mutation", "points:seed", first=first, count=min(_SEEDED, count - first))
        wanted = count
        for _ in range(_WARMUPS):
            _check(http, matrix, _vector(wanted))
            wanted += 1
        for _ in turns.pairs():
            vectors = [_vector(wanted + n) for n in range(_SEARCHES)]
            wanted += _SEARCHES
            with alone():
                ours = _median_ms(lambda v: http.call("query", "points:nearest", vector=v), vectors)
                bare = _median_ms(lambda v: _nearest(matrix, v), vectors)
            command = f"points:nearest over HTTP, {_SEARCHES} vectors one after another"
            turns.note("camber", durability=_READS, command=command, ms=ours)
            command = "matrix @ vector, argpartition, in the process of the benchmark"
            turns.note("numpy", durability=_NONE, command=command, ms=bare)
    turns.checked("both find the same ten, in the same order")
    took = ratios(turns.figures("camber", "ms"), turns.figures("numpy", "ms"))
    return turns.series(vectors_vs_numpy=Measured(values=took))


def _vector(number: int) -> list[float]:
    draw = Random(number).random
    return [draw() - 0.5 for _ in range(_DIMENSIONS)]


def _nearest(matrix: Any, vector: list[float]) -> list[int]:
    wanted = np.array(vector, dtype=np.float32)
    wanted /= np.linalg.norm(wanted)
    scores = matrix @ wanted
    found = np.argpartition(scores, -_NEAREST)[-_NEAREST:]
    ordered: list[int] = found[np.argsort(-scores[found])].tolist()
    return ordered


def _check(http: Http, matrix: Any, vector: list[float]) -> None:
    found = http.call("query", "points:nearest", vector=vector)
    expected = _nearest(matrix, vector)
    if found != expected:
        raise CouldNotMeasure(f"found {found}, and numpy {expected}")


def _median_ms(search: Callable[[list[float]], object], vectors: list[list[float]]) -> float:
    took = []
    for vector in vectors:
        began = time.perf_counter()
        search(vector)
        took.append((time.perf_counter() - began) * 1000)
    return median(took)
