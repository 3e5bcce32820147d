"""Log lines: what callers read, and what the operator's log gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber import limits
from camber.functions.logs import Log, LogLine, capturing, install_print

#: 2026-11-25 00:00 UTC and a bit.
_NOW_NS = 1_795_564_800_123_456_789


def _log(tell=None) -> Log:
    return Log(lambda: _NOW_NS, tell)


def _printed(*values, **options) -> LogLine:
    log = _log()
    install_print()
    with capturing(log):
        print(*values, **options)
    return log.lines[0]


def test_print_is_one_line_of_several_messages():
    line = _printed("sent", 3, None)
    assert line == LogLine(
        level="LOG", messages=("'sent'", "3", "None"), timestamp_ms=_NOW_NS // 1_000_000
    )
    assert line.text == "[LOG] 'sent' 3 None"


def test_another_separator_is_part_of_the_message():
    assert _printed("a", "b", sep=", ").messages == ("'a', 'b'",)
    assert _printed("a", "b", sep=None).text == "[LOG] 'a' 'b'"


@pytest.mark.parametrize("level", ["debug", "info", "warn", "error"])
def test_levels_and_fields(level):
    log = _log()
    getattr(log, level)("m", 1.5, key="v", n=2)
    assert log.texts == [f"[{level.upper()}] 'm' 1.5 key='v' n=2"]
    assert log.lines[0].messages == ("'m'", "1.5", "key='v'", "n=2")


@given(st.lists(st.text(st.sampled_from("a\u00e9\u20ac\U0001f600 "), max_size=9), max_size=4))
def test_a_line_is_cut_where_its_bytes_end(parts):
    """Near the bound, with characters of every width."""
    log = _log()
    log.line("LOG", ["x" * (limits.log_line_bytes_max - 12), *parts])
    whole = " ".join(["x" * (limits.log_line_bytes_max - 12), *parts])
    text = log.texts[0].removeprefix("[LOG] ")
    line = log.lines[0]
    if len(whole.encode()) <= limits.log_line_bytes_max:
        assert text == whole
        assert not line.is_truncated
    else:
        assert line.is_truncated
        assert len(text.encode()) <= limits.log_line_bytes_max
        kept = text.removesuffix(" (truncated due to length)")
        assert kept != text
        assert whole.startswith(kept)
        assert line.messages == (kept,)


def test_half_a_surrogate_pair_can_be_sent():
    class Odd:
        def __repr__(self) -> str:
            return "\ud800"

    assert _printed(Odd()).text == "[LOG] ?"


def test_too_many_lines_end_with_a_warning():
    log = _log()
    for number in range(limits.log_lines_max + 5):
        log.info(number)
    assert len(log.lines) == len(log.texts) == limits.log_lines_max
    assert log.texts[-2] == f"[INFO] {limits.log_lines_max - 2}"
    assert log.texts[-1] == "[WARN] Log overflow: further lines of this execution are dropped"
    assert log.lines[-1].text == log.texts[-1]


def test_lines_of_a_call_within_the_execution_are_its_own():
    outer, inner = _log(), _log()
    inner.info("in")
    outer.include(inner)
    assert outer.lines == inner.lines
    assert outer.texts == ["[INFO] 'in'"]


def test_lines_of_another_execution_are_only_shown():
    log = _log()
    log.info("mine")
    log.show(["[LOG] 'theirs'"] * limits.log_lines_max)
    assert [line.text for line in log.lines] == ["[INFO] 'mine'"]
    assert log.texts[:2] == ["[INFO] 'mine'", "[LOG] 'theirs'"]
    assert len(log.texts) == limits.log_lines_max
    assert "overflow" in log.texts[-1]


def test_each_line_is_told_as_it_is_logged():
    told: list[LogLine] = []
    log = _log(told.append)
    log.info("one")
    assert [line.text for line in told] == ["[INFO] 'one'"]
    log.warn("two")
    assert [line.text for line in told] == ["[INFO] 'one'", "[WARN] 'two'"]
