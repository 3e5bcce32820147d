"""Which keys a mutation is going to want, foretold from its arguments.

A mutation that lost to another has wanted keys that start with some prefix. If that consists of
values of its arguments, the next call of the function is going to want those that its own arguments
make; else the same ones. It is foretold only where it helps, for functions that are in each other's
way, and only decides who waits for whom: if it is wrong, somebody has waited for nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from camber import limits
from camber.occ.interval import IndexId
from camber.occ.turns import Claim
from camber.values.keys import encode_key
from camber.values.packed import unpack
from camber.values.value import Value

#: A function is contended while one of so many of its calls meets another.
_CALLS_PER_MEETING: Final = 16
#: Meetings in a window before it is over that are enough to say so.
_MEETINGS: Final = 4
#: For how long calls are counted, in seconds.
_WINDOW_S: Final = 1.0
#: How far a pattern is trusted at first and at most, and what it loses when it is wrong.
_TRUST: Final = 4
_TRUST_MAX: Final = 16
_WRONG: Final = 2


class Pattern:
    """How calls of a function make a claim: of values of these arguments, or always this one."""

    __slots__ = ("_always", "_arguments", "_index", "trust")

    def __init__(self, index: IndexId, arguments: tuple[str, ...], always: bytes) -> None:
        self._index = index
        self._arguments = arguments
        self._always = always
        self.trust = _TRUST

    def claim(self, arguments: Mapping[str, Any]) -> Claim | None:
        """Return what a call with these arguments claims; None if one of them is not there."""
        if not self._arguments:
            return self._index, self._always
        values = [arguments[name] for name in self._arguments if name in arguments]
        if len(values) < len(self._arguments):
            return None
        return self._index, encode_key(values)

    def judge(self, *, was_right: bool) -> None:
        """Note whether a call has wanted what was foretold."""
        self.trust = min(_TRUST_MAX, self.trust + 1) if was_right else self.trust - _WRONG


class _Function:
    """What is known of one function."""

    __slots__ = ("_calls", "_meetings", "_since_s", "is_contended", "patterns")

    def __init__(self, now_s: float) -> None:
        self.patterns: list[Pattern] = []
        self.is_contended = False
        self._since_s = now_s
        self._calls = 0
        self._meetings = 0

    def called(self, now_s: float) -> None:
        """Note a call."""
        if now_s - self._since_s > _WINDOW_S:
            self.is_contended = self._meetings * _CALLS_PER_MEETING > self._calls
            self._since_s, self._calls, self._meetings = now_s, 0, 0
        self._calls += 1

    def met(self) -> None:
        """Note that a call had to wait for another, or has lost to it."""
        self._meetings += 1
        if self._meetings > _MEETINGS and self._meetings * _CALLS_PER_MEETING > self._calls:
            self.is_contended = True


class Foresight:
    """What is known of the functions that were last in each other's way."""

    def __init__(self) -> None:
        self._functions: OrderedDict[str, _Function] = OrderedDict()

    def called(self, path: str, packed: bytes, now_s: float) -> dict[Claim, Pattern]:
        """Note a call; return what it is going to claim, if its function is contended."""
        function = self._functions.get(path)
        if function is None:
            return {}
        function.called(now_s)
        if not function.is_contended:
            return {}
        arguments = _arguments(packed)
        function.patterns = [each for each in function.patterns if each.trust > 0]
        claims = {each.claim(arguments): each for each in function.patterns}
        return {claim: each for claim, each in claims.items() if claim is not None}

    def waited(self, path: str) -> None:
        """Note that a call had to wait for its turn."""
        function = self._functions.get(path)
        if function is not None:
            function.met()

    def lost(self, path: str, packed: bytes, claim: Claim, now_s: float) -> None:
        """Note that a call has lost to another over a claim that was not foretold."""
        function = self._functions.setdefault(path, _Function(now_s))
        self._functions.move_to_end(path)
        if len(self._functions) > limits.foreseen_functions_max:
            self._functions.popitem(last=False)
        function.met()
        arguments = _arguments(packed)
        if any(each.claim(arguments) == claim for each in function.patterns):
            return
        index, prefix = claim
        function.patterns.append(Pattern(index, _made_of(prefix, arguments), prefix))
        del function.patterns[: -limits.foreseen_patterns_max]


def _arguments(packed: bytes) -> dict[str, Value]:
    """Return the arguments of a call that may make a key."""
    if not packed or len(packed) > limits.foreseen_arguments_bytes_max:
        return {}
    arguments = unpack(packed)
    if not isinstance(arguments, dict):
        return {}
    return {name: value for name, value in arguments.items() if not isinstance(value, list | dict)}


def _made_of(prefix: bytes, arguments: Mapping[str, Value]) -> tuple[str, ...]:
    """Return the arguments whose values, one after another, are a prefix; none if it is not so."""
    parts = {name: encode_key([value]) for name, value in arguments.items()}
    found: list[str] = []
    rest = prefix
    while rest:
        # No value's bytes are a prefix of another's: at most one value fits.
        name = next((name for name, part in parts.items() if rest.startswith(part)), None)
        if name is None:
            return ()
        found.append(name)
        rest = rest[len(parts[name]) :]
    return tuple(found)
