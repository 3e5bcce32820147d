"""Some thousand inputs for each decoder, the same each time; `make fuzz` looks for more."""

from __future__ import annotations

import random

import pytest

from tests.fuzzing.mutating import mutated
from tests.fuzzing.targets import TARGETS

_INPUTS = 3000


@pytest.mark.parametrize("name", TARGETS)
def test_a_decoder_keeps_its_word(name):
    target = TARGETS[name]
    dice = random.Random(name)
    for seed in target.seeds:
        target.run(seed)
    for number in range(_INPUTS):
        data = mutated(target.seeds, dice)
        try:
            target.run(data)
        except Exception as error:
            error.add_note(f"input {number}: {data!r}")
            raise
