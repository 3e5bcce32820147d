"""The plot: how far each figure is from its target, as horizontal bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.keys import Better, Key

_WIDTH = 960
_LEFT = 250
_RIGHT = 210
_ROW = 34
_TOP = 74
_BAR = 16
#: The axis: how many times better or worse than the target, from a quarter to four times.
_FACTOR_MAX = 4.0
_TICKS = (0.25, 0.5, 1.0, 2.0, 4.0)
_MET = "#2a7f62"
_MISSED = "#c4622d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One figure: its value, and the best and worst of its pairs."""

    key: Key
    value: float
    minimum: float
    maximum: float


def svg(bars: Sequence[Bar], *, caption: str) -> str:
    """Return the plot. Right of the line is better than the target, whichever way that is."""
    height = _TOP + _ROW * len(bars) + 46
    font = "font-family='system-ui, sans-serif'"
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height}' {font}>",
        f"<rect width='{_WIDTH}' height='{height}' fill='white'/>",
        _text(20, 28, "Camber against its targets", size=17, weight="600"),
        _text(20, 48, caption, size=12, fill="#555"),
    ]
    bottom = _TOP + _ROW * len(bars)
    for tick in _TICKS:
        x = _x(tick)
        stroke = "#222" if tick == 1 else "#ddd"
        parts.append(
            f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{_TOP - 6}' y2='{bottom}' stroke='{stroke}'/>"
        )
        label = "target" if tick == 1 else f"{tick:g} times"
        parts.append(_text(x, bottom + 16, label, size=11, fill="#555", anchor="middle"))
    parts.append(
        _text(
            _x(1),
            bottom + 34,
            "times as good as the target; whiskers: worst and best pair",
            size=11,
            fill="#555",
            anchor="middle",
        )
    )
    for row, bar in enumerate(bars):
        parts += _bar(bar, _TOP + _ROW * row)
    return "\n".join([*parts, "</svg>", ""])


def goodness(key: Key, value: float) -> float:
    """Return how many times as good as its target a figure is; above 1 it is met."""
    if value <= 0:
        return 0.0 if key.better is Better.HIGHER else math.inf
    return value / key.target if key.better is Better.HIGHER else key.target / value


def _bar(bar: Bar, top: float) -> list[str]:
    key = bar.key
    is_met = key.is_met_by(bar.value)
    fill = _MET if is_met else _MISSED
    middle = top + _ROW / 2
    start, end = sorted((_x(1.0), _x(goodness(key, bar.value))))
    low, high = sorted(_x(goodness(key, value)) for value in (bar.minimum, bar.maximum))
    found = f"{_number(bar.value)}  ({key.better.value.replace('<', '&lt;').replace('>', '&gt;')} {key.target:g})"
    return [
        _text(_LEFT - 12, middle - 2, key.name, size=12, anchor="end", weight="600"),
        _text(
            _LEFT - 12,
            middle + 11,
            key.what.replace("&", "&amp;"),
            size=9.5,
            fill="#666",
            anchor="end",
        ),
        f"<rect x='{start:.1f}' y='{middle - _BAR / 2}' width='{max(end - start, 1):.1f}' height='{_BAR}' "
        f"fill='{fill}' rx='2'/>",
        f"<line x1='{low:.1f}' x2='{high:.1f}' y1='{middle}' y2='{middle}' stroke='#222' stroke-opacity='.55'/>",
        _text(_WIDTH - _RIGHT + 14, middle + 4, found, size=12),
        _text(
            _WIDTH - 20,
            middle + 4,
            "met" if is_met else "missed",
            size=12,
            fill=fill,
            anchor="end",
            weight="600",
        ),
    ]


def _x(factor: float) -> float:
    """Return where a factor lies: the axis is logarithmic, and what lies beyond it is at its end."""
    bounded = min(max(factor, 1 / _FACTOR_MAX), _FACTOR_MAX)
    share = (math.log(bounded) / math.log(_FACTOR_MAX) + 1) / 2
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: float,
    fill: str = "#222",
    anchor: str = "start",
    weight: str = "400",
) -> str:
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' fill='{fill}' text-anchor='{anchor}' "
        f"font-weight='{weight}'>{text}</text>"
    )
