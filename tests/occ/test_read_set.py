"""Read sets against an oracle that knows only sets of keys."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber import limits
from camber.occ.interval import Interval
from camber.occ.read_set import ReadSet
from camber.occ.subscriptions import Subscriptions
from camber.occ.write_log import WriteLog
from camber.occ.write_set import EVERY_KEY

# All keys of up to two letters over three, or with FF, which begins none, as the second.
ALPHABET = b"\x00am"
KEYS = [b"", *(bytes([a]) for a in ALPHABET)] + [
    bytes(pair) for pair in itertools.product(ALPHABET, ALPHABET + b"\xff")
]
keys = st.sampled_from(KEYS)
indexes = st.integers(1, 2)


@st.composite
def intervals(draw):
    return Interval(draw(keys), draw(st.one_of(st.none(), keys)))


@st.composite
def prefixed(draw):
    """An interval whose keys all start with a prefix, and the prefix."""
    prefix = draw(st.sampled_from([b"", b"a", b"m"]))
    whole = Interval.prefix(prefix)
    return draw(intervals()).intersect(whole), prefix


def _scan(table, interval):
    """What a scan finds; written without `Interval.contains` on purpose."""
    end = interval.end
    return [k for k in sorted(table) if interval.start <= k and (end is None or k < end)]


@given(table=st.sets(keys), read=intervals(), written=keys)
def test_a_write_that_changes_the_answer_overlaps_the_read(table, read, written):
    """Soundness: running a scan again may only differ if the read set said so."""
    reads = ReadSet()
    reads.record(1, read)
    if _scan(table, read) != _scan(table ^ {written}, read):
        assert reads.overlaps({1: [written]}) is not None


@given(st.lists(st.tuples(indexes, prefixed()), max_size=8), indexes, keys)
def test_a_read_set_covers_exactly_what_was_recorded(recorded, index, key):
    reads = ReadSet()
    for each, (interval, prefix) in recorded:
        reads.record(each, interval, prefix=prefix)
    covered = any(each == index and _scan({key}, read) for each, (read, _) in recorded)
    assert (reads.overlaps({index: [key]}) is not None) == covered
    assert (ReadSet.from_rows(reads.rows()).overlaps({index: [key]}) is not None) == covered


@given(st.lists(prefixed(), max_size=8))
def test_intervals_that_touch_are_one(recorded):
    reads = ReadSet()
    for interval, prefix in recorded:
        reads.record(1, interval, prefix=prefix)
    found = [(read.prefix, read.interval) for _, read in reads.items()]
    assert reads.interval_count == len(found)
    for (p, one), (q, other) in itertools.permutations(found, 2):
        if p == q and one.end is not None and one.start <= other.start:
            assert one.end < other.start


# No index key is a prefix of another, and subscriptions count on it: here all have two letters.
whole_keys = st.sampled_from([key for key in KEYS if len(key) == 2])
points = whole_keys.map(lambda key: (Interval.point(key), key))
watched_reads = st.one_of(
    points, prefixed().filter(lambda read: read[0] != Interval.point(read[1]))
)


@given(
    st.dictionaries(st.integers(0, 9), st.lists(st.tuples(indexes, watched_reads), max_size=4)),
    st.lists(st.integers(0, 9), max_size=4),
    st.lists(st.tuples(indexes, st.one_of(whole_keys, st.just(EVERY_KEY))), max_size=4),
)
def test_subscriptions_find_what_asking_each_would_find(watched, removed, written):
    subscriptions: Subscriptions[int] = Subscriptions()
    read_sets = {}
    for name, recorded in watched.items():
        reads = read_sets[name] = ReadSet()
        for index, (interval, prefix) in recorded:
            reads.record(index, interval, prefix=prefix)
        subscriptions.add(name, reads)
    for name in set(removed) & watched.keys():
        subscriptions.remove(name)
        del read_sets[name]
    writes: dict[int, Any] = {}
    for index, key in written:
        if key is EVERY_KEY or writes.get(index) is EVERY_KEY:
            writes[index] = EVERY_KEY
        else:
            writes.setdefault(index, []).append(key)
    expected = {
        name
        for name in read_sets
        for index, (interval, _) in watched[name]
        if _touches(writes.get(index, ()), interval)
    }
    assert set(subscriptions.stale(writes)) == expected
    assert {name for name, reads in read_sets.items() if reads.overlaps(writes)} == expected


def _touches(keys, interval):
    return not interval.is_empty if keys is EVERY_KEY else bool(_scan(set(keys), interval))


@given(
    st.lists(st.lists(st.tuples(indexes, st.one_of(keys, st.just(EVERY_KEY))), max_size=3)),
    st.lists(st.tuples(indexes, prefixed()), max_size=3),
    st.lists(
        st.one_of(
            st.tuples(st.just("ask"), st.integers(-1, 12), st.integers(0, 12)),
            st.tuples(st.just("retract"), st.integers(0, 12), st.just(0)),
        ),
        max_size=6,
    ),
    st.integers(1, 4),
)
def test_the_write_log_names_the_first_conflict(commits, reads, steps, generation):
    """The oracle walks over all commits."""
    asked = ReadSet()
    for index, (interval, prefix) in reads:
        asked.record(index, interval, prefix=prefix)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "write_log_generation_commits", generation)
        log = WriteLog(floor=-1)
        there: list[tuple[int, list[tuple[int, Any]]]] = []
        newest = -1
        waiting = list(commits)
        for step, at, upto in [*steps, ("ask", -1, 99)]:
            for _ in range(2):
                if waiting:
                    newest += 1
                    written = waiting.pop(0)
                    writes: dict[int, Any] = {}
                    for index, key in written:
                        if key is EVERY_KEY or writes.get(index) is EVERY_KEY:
                            writes[index] = EVERY_KEY
                        else:
                            writes.setdefault(index, set()).add(key)
                    log.append(newest, writes, f"commit {newest}")
                    there.append((newest, written))
            if step == "retract":
                log.retract(after=at)
                there = [each for each in there if each[0] <= at]
                continue
            touching = [
                ts
                for ts, written in there
                if ts > at
                and any(
                    index == each and _touches(key if key is EVERY_KEY else {key}, interval)
                    for index, key in written
                    for each, (interval, _) in reads
                )
            ]
            conflict = log.conflict(asked, since=at, upto=upto)
            if touching and touching[0] <= upto:
                assert conflict is not None
                assert (conflict.ts, conflict.source) == (touching[0], f"commit {touching[0]}")
                if conflict.key is not None:
                    assert (conflict.index, conflict.key) in dict(there)[conflict.ts]
            else:
                assert conflict is None


def test_a_trimmed_log_cannot_say_that_nothing_happened():
    log = WriteLog(floor=0)
    second = 10**9
    for ts in range(1, 1000):
        log.append(ts * second, {1: [b"x"]}, "writer")
    log.trim(now=999 * second)
    assert not log.holds_since(100 * second)
    assert log.holds_since(990 * second)
    reads = ReadSet()
    reads.record(2, Interval.point(b"never written"))
    assert log.conflict(reads, since=990 * second) is None
    assert log.conflict(reads, since=100 * second) is not None
