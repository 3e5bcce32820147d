"""What one call within a transaction may use of it, where its caller gives it less than there is left.

What a transaction uses is counted in one place, whoever uses it; an allowance says between which
counts the call may go. A call within the call may go no further.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from camber import limits
from camber.errors import DeveloperError

#: What is counted, the code of the error when it is too much, and its words.
_COUNTED: Final = {
    "bytes_read": ("TooManyBytesRead", "bytes read"),
    "bytes_written": ("TooManyBytesWritten", "bytes written"),
    "database_queries": ("TooManyReads", "index ranges read"),
    "documents_read": ("TooManyDocumentsRead", "documents read"),
    "documents_written": ("TooManyWrites", "documents written"),
    "functions_scheduled": ("TooManyFunctionsScheduled", "functions scheduled"),
    "scheduled_function_args_bytes": (
        "ScheduledFunctionsArgumentsTooLarge",
        "bytes of arguments of scheduled functions",
    ),
}


class _Span(NamedTuple):
    """From what count a call began, up to what it may go."""

    begin: int
    end: int


class Allowance:
    """What a call may use, by what is counted. What it says nothing of is bounded by the limits."""

    __slots__ = ("_spans",)

    def __init__(self, spans: Mapping[str, _Span]) -> None:
        self._spans = spans

    def within(self, given: Mapping[str, int], used: Mapping[str, int]) -> Allowance:
        """Return what a call in this one may use: so much of what is left, and no more than that."""
        spans = dict(self._spans)
        for name, most in given.items():
            begin = used[name]
            end = begin + most
            if name in spans:
                end = min(end, spans[name].end)
            spans[name] = _Span(begin, end)
        return Allowance(spans)

    def beside(self, used: Mapping[str, int]) -> Allowance:
        """Return the same for what is read beside the transaction, where queries count from 0."""
        spans = dict(self._spans)
        queries = spans.get("database_queries")
        if queries is not None:
            spans["database_queries"] = _Span(0, queries.end - used["database_queries"])
        return Allowance(spans)

    def end(self, name: str, most: int) -> int:
        """Return up to what count it goes, where the transaction's own limit is `most`."""
        span = self._spans.get(name)
        return most if span is None else min(span.end, most)

    def check(self, name: str, used: int, source: str) -> None:
        """Do nothing if so much may be used.

        Raises:
            DeveloperError: it may not.
        """
        span = self._spans.get(name)
        if span is None or used <= span.end:
            return
        code, words = _COUNTED[name]
        msg = (
            f"a call within {source} came to {used - span.begin} {words}; the limits that it was "
            f"called with leave it {max(0, span.end - span.begin)}. Give it more, or have it do less at once"
        )
        raise DeveloperError(msg, code=code)

    def check_all(self, used: Mapping[str, int], source: str) -> None:
        """Check all that is bounded."""
        for name in self._spans:
            self.check(name, used[name], source)

    def may_read_on(self, used: Mapping[str, int], share: int) -> bool:
        """Return whether a page may read one more row: 1/`share` of what is allowed is the page's.

        A row may be as large as a document, which is more than some calls are given at all; a
        quarter is kept for it then, and one that is larger fails the call.
        """
        for name in ("bytes_read", "documents_read", "database_queries"):
            span = self._spans.get(name)
            if span is None:
                continue
            given = span.end - span.begin
            spent = used[name] - span.begin
            if name == "bytes_read":
                spent += min(2 * limits.document_bytes_max, given // 4)
            if spent >= max(1, given // share):
                return False
        return True


#: What bounds nothing beyond the limits.
UNBOUNDED: Final = Allowance({})
