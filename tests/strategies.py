"""Values for property tests: small alphabets, so that they collide."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from camber.values.value import Int64

text = st.text(alphabet="ab\0ü𝄞\uffff", max_size=3)
names = st.text(alphabet="abz_ ", max_size=2)
floats = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 0.5, 1e300, 5e-324]),
    st.floats(width=64),
)
integers = st.integers(-(2**53), 2**53)
int64s = st.one_of(
    st.sampled_from([0, 1, -1, 127, 128, -128, -129, 300, 2**63 - 1, -(2**63)]),
    st.integers(-(2**63), 2**63 - 1),
).map(Int64)
scalars = st.one_of(st.none(), st.booleans(), integers, floats, int64s, text, st.binary(max_size=3))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3)),
    max_leaves=6,
)
