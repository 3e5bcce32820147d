"""Running what is compared by turns, and keeping what each run gave."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bench.loads import Load
from bench.scale import Scale
from bench.servers import alone, bare_sockets
from bench.summary import Measured, Series, Side

Say = Callable[[str], None]


class Turns:
    """The runs of one series: A B A B, each side's figures in the order of the pairs."""

    def __init__(self, scale: Scale, say: Say) -> None:
        self.scale = scale
        self.say = say
        self._sides: dict[str, tuple[str, str]] = {}
        self._figures: dict[str, dict[str, list[float]]] = {}
        self._checks: list[str] = []

    def pairs(self) -> Iterator[int]:
        """Count the pairs, and tell of each."""
        for pair in range(1, self.scale.pairs + 1):
            self.say(f"pair {pair} of {self.scale.pairs}")
            yield pair

    def note(self, side: str, *, durability: str, command: str, **figures: float) -> None:
        """Keep what one run of a side gave."""
        self._sides[side] = (durability, command)
        kept = self._figures.setdefault(side, {})
        for name, figure in figures.items():
            kept.setdefault(name, []).append(figure)
        shown = ", ".join(f"{name} {figure:,.4g}" for name, figure in figures.items())
        self.say(f"  {side}: {shown}")

    def checked(self, what: str) -> None:
        """Keep what was found to be so, once for all runs."""
        if what not in self._checks:
            self._checks.append(what)

    def figures(self, side: str, name: str) -> list[float]:
        """Return one figure of a side, a number for each pair."""
        return self._figures[side][name]

    def series(self, **keys: Measured) -> Series:
        """Return the series, once all has run."""
        sides = {
            name: Side(durability=durability, command=command, figures=self._figures[name])
            for name, (durability, command) in self._sides.items()
        }
        return Series(sides=sides, keys=keys, checks=self._checks)


def yardstick(scale: Scale) -> float:
    """Return how many echoes a second a bare server answers now."""
    load = Load("mutate", clients=64, path="messages:send", args='{"body":"{pad:200}"}')
    with alone(), bare_sockets() as server:
        return float(load.run(server, scale)["rate"])
