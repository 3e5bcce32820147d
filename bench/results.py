"""The file of results: one number for each key, and beside them how each came about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.keys import KEYS
from bench.plot import Bar, svg
from bench.summary import Series, details_of, rounded_value

#: What says that results were taken on one machine: others are not mixed with them.
_MACHINE = ("cores", "cpu", "memory_gib")


def joined(
    kept: Mapping[str, Any], series: Mapping[str, Series], environment: Mapping[str, Any]
) -> dict[str, Any]:
    """Return results with those of new series in the place of their older ones.

    What was measured on another machine is left out.
    """
    before = kept.get("environment", {})
    same = all(before.get(name) == environment[name] for name in _MACHINE)
    details: dict[str, Any] = dict(kept.get("details", {})) if same else {}
    numbers = {name: kept[name] for name in details}
    for key in KEYS:
        if key.series in series:
            numbers[key.name] = rounded_value(key, series[key.series])
            details[key.name] = {
                **details_of(key, series[key.series]),
                "date": environment["date"],
                "commit": environment["commit"],
            }
    names = [key.name for key in KEYS if key.name in numbers]
    return {
        **{name: numbers[name] for name in names},
        "details": {name: details[name] for name in names},
        "environment": dict(environment),
    }


def read(path: Path) -> dict[str, Any]:
    """Return the results that there are."""
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def write(results: Mapping[str, Any], path: Path, plot: Path) -> None:
    """Write results, and their plot."""
    path.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    plot.write_text(_plot(results))


def table(results: Mapping[str, Any]) -> str:
    """Return results as lines for people."""
    lines = [f"{'':28}{'median':>10}   {'min':>8} {'max':>8}   target"]
    for key in KEYS:
        if key.name not in results:
            lines.append(f"{key.name:28}{'-':>10}   not measured")
            continue
        value, details = results[key.name], results["details"][key.name]
        verdict = "met" if details["met"] else "MISSED"
        moved = "   the machine did not hold still" if details["yardstick"]["moved"] else ""
        lines.append(
            f"{key.name:28}{value:>10.4g}   {details['min']:>8.4g} {details['max']:>8.4g}   "
            f"{details['target']:8} {verdict}{moved}"
        )
    return "\n".join(lines)


def _plot(results: Mapping[str, Any]) -> str:
    bars = [
        Bar(
            key=key,
            value=results[key.name],
            minimum=results["details"][key.name]["min"],
            maximum=results["details"][key.name]["max"],
        )
        for key in KEYS
        if key.name in results
    ]
    environment = results["environment"]
    caption = f"{environment['cores']} cores, {environment['cpu']}; {environment['date'][:10]}"
    return svg(bars, caption=caption)
