"""Warnings of scans that read far more than came of them: in words, each once.

What was told is known by function and by the shape of the query, not by its values: so the log has a
line for each thing to mend, and not for each call.
"""

from __future__ import annotations

from msgspec.structs import replace

from camber import limits
from camber.functions.accounts import ScanReport
from camber.functions.logs import LogLine
from camber.runtime.results import Run


class ScanWarnings:
    """What was told. Lives on the event loop."""

    def __init__(self) -> None:
        self._told: set[object] = set()

    def with_lines(self, run: Run, path: str, component: str, now_ms: int) -> Run:
        """Return a run whose log says what it has read too much, as far as nobody knows yet."""
        lines: list[LogLine] = []
        for scan in run.scans:
            advised = None if scan.advice is None else scan.advice.fields
            paths = tuple(each.partition(" ")[0] for each in scan.conditions)
            shape = (path, component, scan.component, scan.table, scan.index, paths, advised)
            if shape in self._told or len(self._told) >= limits.scan_warnings_kept:
                continue
            self._told.add(shape)
            lines.append(LogLine(level="WARN", messages=(in_words(scan),), timestamp_ms=now_ms))
        return replace(run, log_lines=(*run.log_lines, *lines), scans=())


def in_words(scan: ScanReport) -> str:
    """Return a warning: what was read for how much, and what to do about it."""
    what = f"{scan.table}.{scan.index}"
    where = "" if scan.where is None else f" at {scan.where}"
    came = (
        f"{scan.given} passed its filters" if scan.has_filters else "most of them are not returned"
    )
    lines = [f"read {scan.documents} documents by {what}{where}, and {came}"]
    return "\n".join([*lines, *advice_lines(scan)])


def advice_lines(scan: ScanReport) -> list[str]:
    """Return what to do about a scan, as lines; nothing if nobody knows."""
    advised = scan.advice
    if advised is None:
        if not scan.has_filters:
            return []
        return [
            "Its filters are not plain comparisons of fields with values: an index that narrows the query first "
            "has to be found by hand"
        ]
    lines = []
    if advised.declaration is None:
        lines.append(f"Use the index {advised.table}.{advised.name}, which is there:")
    else:
        lines.append(f"Declare in table {advised.table!r}:")
        lines += [f"    {advised.declaration}", "and read"]
    lines.append(f"    {advised.use}")
    return [*lines, *(f"({note})" for note in advised.notes)]
