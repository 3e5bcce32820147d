"""The checker, given histories with one thing wrong in each: it finds that, and by its name."""

from __future__ import annotations

import pytest

from tests.histories.anomalies import Append, Done, Read, anomalies


def done(name, *operations, asked=0.0, answered=None, outcome="committed"):
    """A transaction from `x+1` (append 1 to x) and `x=1,2` (x reads 1, 2)."""
    parsed: list[Append | Read] = []
    for text in operations:
        if "+" in text:
            key, value = text.split("+")
            parsed.append(Append(key=key, value=int(value)))
        else:
            key, values = text.split("=")
            read = tuple(int(value) for value in values.split(",") if value)
            parsed.append(Read(key=key, values=read))
    answered = asked + 100 if answered is None else answered
    return Done(
        name=name, operations=tuple(parsed), asked=asked, answered=answered, outcome=outcome
    )


HISTORIES = {
    "duplicate": [done("A", "x+1"), done("B", "x=1,1")],
    "garbage": [done("A", "x+1"), done("B", "x=1,7")],
    "internal": [done("A", "x+1", "x=")],
    "incompatible order": [
        done("A", "x+1"), done("B", "x+2"), done("C", "x=1,2"), done("D", "x=2,1"),
    ],
    "G1a": [done("A", "x+1", outcome="failed"), done("B", "x=1")],
    "G1b": [done("A", "x+1", "x+2"), done("B", "x=1")],
    # Each writes one list before the other.
    "G0": [
        done("A", "x+1", "y+1"), done("B", "x+2", "y+2"), done("C", "x=1,2"), done("D", "y=2,1"),
    ],
    # Each has read what the other wrote.
    "G1c": [done("A", "x+1", "y=1"), done("B", "y+1", "x=1")],
    # Read skew: B is seen in one list and not in the other; and a lost update.
    "G-single": [done("A", "x=1", "y="), done("B", "x+1", "y+1"), done("C", "y=1")],
    # Write skew.
    "G2": [done("A", "x=", "y+1"), done("B", "y=", "x+1"), done("C", "x=1", "y=1")],
    # Neither of two writers has seen the other, in spite of its answer.
    "G0-realtime": [
        done("A", "x+1", answered=1), done("B", "x+2", asked=2), done("C", "x=2,1", asked=3),
    ],
    # What was read was asked for later.
    "G1c-realtime": [done("A", "x=1", answered=1), done("B", "x+1", asked=2)],
    # A stale read: what was answered is not there.
    "G-single-realtime": [
        done("A", "x+1", answered=1), done("B", "x=", asked=2), done("C", "x=1", asked=200),
    ],
    # A saw D and not yet B, and C, who came after B, not yet D.
    "G2-realtime": [
        done("A", "x=", "y=1"), done("B", "x+1", answered=1), done("C", "y=", asked=2),
        done("D", "y+1"), done("E", "x=1", asked=200),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", HISTORIES)
def test_each_anomaly_is_found_by_its_name(name):
    found = {anomaly.name for anomaly in anomalies(HISTORIES[name])}
    assert found == {name}


GOOD = {
    "one after another": [
        done("A", "x+1", answered=1), done("B", "x=1", "x+2", asked=2, answered=3),
        done("C", "x=1,2", asked=4),
    ],
    "at the same time": [done("A", "x+1"), done("B", "x="), done("C", "x=1")],
    "its own writes": [done("A", "x=", "x+1", "x=1", "x+2", "x=1,2")],
    "a failure that nobody has seen": [
        done("A", "x+1", outcome="failed"), done("B", "x=", asked=2),
    ],
    "one that was never answered, and has committed": [
        done("A", "x+1", outcome="unknown"), done("B", "x=", asked=5, answered=6),
        done("C", "x=1", asked=7),
    ],
    "one that was never answered, and has not": [
        done("A", "x+1", outcome="unknown"), done("B", "x=", asked=5),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_history_without_anomalies_has_none(name):
    assert anomalies(GOOD[name]) == []


def test_the_shortest_way_of_time_is_enough():
    """Of those that were answered, only the latest are remembered: the others come before them."""
    chain = [done(f"T{n}", f"x+{n}", asked=10 * n, answered=10 * n + 5) for n in range(20)]
    stale = done("S", "x=", asked=1000, answered=1001)
    last = done("L", "x=" + ",".join(str(n) for n in range(20)), asked=2000)
    (found,) = anomalies([*chain, stale, last])
    assert found.name == "G-single-realtime"
    assert "S" in found.transactions
