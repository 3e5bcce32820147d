"""What is foretold of mutations that are in each other's way."""

from __future__ import annotations

from camber import limits
from camber.runtime.foresight import Foresight
from camber.values.keys import encode_key
from camber.values.packed import pack


def _contended(path="f", **arguments):
    """A foresight that has seen calls of `path` lose over keys made of `a` and of `b`."""
    foresight = Foresight()
    for n in range(8):
        packed = pack({"a": f"x{n}", "b": f"y{n}", "n": 3, **arguments})
        foresight.called(path, packed, 0.1)
        foresight.lost(path, packed, (1, encode_key([f"x{n}"])), 0.1)
        foresight.lost(path, packed, (2, encode_key([f"y{n}", 3])), 0.1)
    return foresight


def test_keys_are_foretold_from_the_arguments_that_they_are_made_of():
    foresight = _contended()
    found = foresight.called("f", pack({"a": "p", "b": "q", "n": 5}), 0.2)
    assert set(found) == {(1, encode_key(["p"])), (2, encode_key(["q", 5]))}
    # One that lacks an argument does not get there.
    assert set(foresight.called("f", pack({"a": "p"}), 0.2)) == {(1, encode_key(["p"]))}
    assert foresight.called("g", pack({"a": "p"}), 0.2) == {}


def test_a_key_that_no_argument_is_part_of_is_foretold_for_every_call():
    foresight = Foresight()
    claim = (1, encode_key(["the counter"]))
    for _ in range(8):
        foresight.called("count", pack({}), 0.1)
        foresight.lost("count", pack({}), claim, 0.1)
    assert set(foresight.called("count", pack({"a": "p"}), 0.2)) == {claim}


def test_nothing_is_foretold_where_few_meet():
    foresight = _contended()
    packed = pack({"a": "p", "b": "q", "n": 5})
    # A window in which hardly anybody meets another.
    for _ in range(100):
        foresight.called("f", packed, 1.2)
    foresight.waited("f")
    assert foresight.called("f", packed, 2.4) == {}
    # Until they do again.
    for _ in range(20):
        foresight.called("f", packed, 2.5)
        foresight.waited("f")
    assert len(foresight.called("f", packed, 2.6)) == 2


def test_what_is_wrong_too_often_is_forgotten():
    foresight = _contended()
    packed = pack({"a": "p", "b": "q", "n": 5})
    right = (1, encode_key(["p"]))
    for _ in range(20):
        for claim, pattern in foresight.called("f", packed, 0.2).items():
            pattern.judge(was_right=claim == right)
    assert set(foresight.called("f", packed, 0.2)) == {right}


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(limits, "foreseen_functions_max", 3)
    foresight = Foresight()
    for n in range(8):
        for _ in range(8):
            foresight.lost(f"f{n}", pack({}), (1, bytes([n])), 0.1)
            foresight.lost(f"f{n}", pack({}), (2, bytes([n])), 0.1)
    assert [n for n in range(8) if foresight.called(f"f{n}", pack({}), 0.2)] == [5, 6, 7]
    for n in range(100):
        foresight.lost("f7", pack({}), (3, bytes([n])), 0.1)
    found = foresight.called("f7", pack({}), 0.2)
    assert len(found) == limits.foreseen_patterns_max


def test_large_arguments_are_not_looked_at():
    foresight = _contended(text="x" * limits.foreseen_arguments_bytes_max)
    large = pack({"a": "p", "b": "x" * limits.foreseen_arguments_bytes_max, "n": 1})
    claims = foresight.called("f", large, 0.2)
    assert all(prefix != encode_key(["p"]) for _, prefix in claims)
