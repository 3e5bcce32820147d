"""Directions are those of vectors of any length: the smallest float64 has one, and so has the largest."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from camber.search.vectors import direction

_wholes = st.lists(st.integers(-8, 8), min_size=1, max_size=6).filter(any)


@given(_wholes, st.integers(-1074, 1020))
@example([1, 1, 1], -1074)
@example([8, 8], 1020)
def test_directions_do_not_depend_on_how_long_vectors_are(wholes, exponent):
    vector = [math.ldexp(float(each), exponent) for each in wholes]
    found = direction(vector, len(vector))
    assert found is not None
    kept = np.frombuffer(found, dtype="<f4").astype(np.float64)
    wanted = np.array(wholes) / np.linalg.norm(wholes)
    assert np.abs(kept - wanted).max() < 1e-7


def test_what_has_no_length_has_no_direction():
    assert direction([0.0, -0.0], 2) is None
