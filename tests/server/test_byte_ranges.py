"""Ranges of bytes, against an oracle that marks each byte for itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber.server.byte_ranges import ByteRange, Unsatisfiable, asked_range

numbers = st.one_of(st.just(""), st.integers(0, 12).map(str))


def wanted_bytes(first: str, last: str, size: int) -> list[int]:
    """Return the positions that a range asks for and that there are, one by one."""
    if first:
        return [at for at in range(size) if at >= int(first) and (not last or at <= int(last))]
    return list(range(size))[-int(last) :] if int(last) else []


@given(first=numbers, last=numbers, size=st.integers(1, 10))
def test_a_range_is_the_bytes_that_it_names(first, last, size):
    header = f"bytes={first}-{last}"
    if not (first or last) or (first and last and int(last) < int(first)):
        assert asked_range(header, size) is None
        return
    wanted = wanted_bytes(first, last, size)
    if not wanted:
        with pytest.raises(Unsatisfiable):
            asked_range(header, size)
        return
    found = asked_range(header, size)
    assert found is not None
    assert list(range(found.start, found.end)) == wanted


@given(st.text(max_size=20), st.integers(0, 10))
def test_no_header_is_too_strange(header, size):
    try:
        found = asked_range(header, size)
    except Unsatisfiable:
        return
    assert found is None or 0 <= found.start < found.end <= size


_HUGE = "9" * 5000


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=4), st.integers(1, 10))
def test_of_several_ranges_the_one_that_is_there_counts(ranges, size):
    header = "bytes=" + ", ".join(f"{first}-{last}" for first, last in ranges)
    if any(
        not (first or last) or (first and last and int(last) < int(first)) for first, last in ranges
    ):
        assert asked_range(header, size) is None
        return
    wanted = [wanted_bytes(first, last, size) for first, last in ranges]
    there = [each for each in wanted if each]
    if len(there) != 1:
        with pytest.raises(Unsatisfiable):
            asked_range(header, size)
        return
    found = asked_range(header, size)
    assert found is not None
    assert list(range(found.start, found.end)) == there[0]


@pytest.mark.parametrize(
    "header",
    [
        None, "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=3-1", "bytes=0-1,x",
        "bytes=0-1,3-2", "bytes=1-2-3", "bytes=+1-2", "bytes=1_0-", "bytes=\u0661-",
        f"bytes={_HUGE}9-{_HUGE}",
    ],
)  # fmt: skip
def test_what_is_no_range_asks_for_everything(header):
    assert asked_range(header, 10) is None


@pytest.mark.parametrize(
    "header",
    [
        "bytes=10-", "bytes=0-1,4-5", "bytes=-0", "bytes=99-100", "bytes=99-100,77-",
        f"bytes={_HUGE}-", f"bytes={_HUGE}-{_HUGE}9",
    ],
)  # fmt: skip
def test_several_ranges_and_those_beyond_the_end_cannot_be(header):
    with pytest.raises(Unsatisfiable):
        asked_range(header, 10)


def test_an_empty_file_has_no_ranges():
    assert asked_range("bytes=0-5", 0) is None


def test_spaces_and_letters_of_the_unit_do_not_matter():
    assert asked_range("Bytes = 2-4", 10) == ByteRange(start=2, end=5)
    assert asked_range("bytes=0-999999999999999999", 10) == ByteRange(start=0, end=10)


def test_numbers_may_be_longer_than_any_file_is():
    assert asked_range(f"bytes=3-{_HUGE}", 10) == ByteRange(start=3, end=10)
    assert asked_range(f"bytes=-{_HUGE}", 10) == ByteRange(start=0, end=10)
    assert asked_range(f"bytes={'0' * 5000}3-{'0' * 5000}4", 10) == ByteRange(start=3, end=5)
