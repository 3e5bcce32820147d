"""Guards and row rules: predicates that say who may call a function, and who may do what with a row.

A guard looks at a context, a row rule at a context and rows. Both are combined with `&`, `|` and
`~`; a guard in a combination with a row rule asks the same whatever the row is. What they answer
is True or False and nothing else: a query that nobody has run, or a coroutine that nobody has
awaited, would be as good as True.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, NoReturn, TypeAlias, TypeVar, overload

from camber.errors import CamberError, DeveloperError

Row_contra = TypeVar("Row_contra", contravariant=True)

_NOTHING: Final[Mapping[str, Any]] = {}
_POSITIONAL: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
_STARRED: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class PredicateError(CamberError):
    """A guard or a rule that cannot be declared as it is."""

    code = "DeclarationError"


class Guard:
    """Says whether whoever calls may: `signed_in & ~role("guest")`.

    Made by `@guard` of a function of a context. Further parameters of that function are arguments
    of the functions that it guards, by their names.
    """

    def __init__(
        self, holds: Callable[..., object], *, name: str, parameters: tuple[str, ...] = ()
    ) -> None:
        self._holds = holds
        self._name = name
        #: Arguments of the guarded function that it looks at.
        self.parameters = parameters

    @staticmethod
    def of(handler: Callable[..., object]) -> Guard:
        """Return the guard that a function is.

        Raises:
            PredicateError: it is no plain function of a context and arguments.
        """
        name = name_of(handler)
        _, *others = checked_parameters(handler, name, what="a guard", takes="a context")
        return Guard(handler, name=name, parameters=tuple(others))

    def __repr__(self) -> str:
        return self._name

    def __call__(self, ctx: Any, /, **arguments: Any) -> bool:
        """Return whether it lets the caller in."""
        return self.holds(ctx, arguments)

    def holds(self, ctx: Any, arguments: Mapping[str, Any] = _NOTHING) -> bool:
        """Return whether it lets the caller in, given the arguments of what it guards."""
        given = {name: arguments[name] for name in self.parameters}
        return checked_answer(self._holds(ctx, **given), self._name)

    @overload
    def __and__(self, other: Guard) -> Guard: ...

    @overload
    def __and__(self, other: RowRule[Row_contra]) -> RowRule[Row_contra]: ...

    def __and__(self, other: Any) -> Any:
        """Return what holds where both do; the other is not asked where this one does not."""
        if isinstance(other, RowRule):
            return RowRule.by(self) & other
        return _joined(self, other, "&") if isinstance(other, Guard) else NotImplemented

    @overload
    def __or__(self, other: Guard) -> Guard: ...

    @overload
    def __or__(self, other: RowRule[Row_contra]) -> RowRule[Row_contra]: ...

    def __or__(self, other: Any) -> Any:
        """Return what holds where either does; the other is not asked where this one does."""
        if isinstance(other, RowRule):
            return RowRule.by(self) | other
        return _joined(self, other, "|") if isinstance(other, Guard) else NotImplemented

    def __invert__(self) -> Guard:
        """Return what holds where this one does not."""

        def holds(ctx: Any, **arguments: Any) -> bool:
            return not self.holds(ctx, arguments)

        return Guard(holds, name=f"~{_in_brackets(self)}", parameters=self.parameters)

    def __bool__(self) -> NoReturn:
        """Refuse: `a and b` would be `b` alone."""
        refuse_truth(self)


#: What `allow=` takes: a guard, or a function that is one.
Allow: TypeAlias = Guard | Callable[..., bool]


def guard_of(allow: Allow) -> Guard:
    """Return the guard that `allow=` was given.

    Raises:
        PredicateError: it is none.
    """
    return allow if isinstance(allow, Guard) else Guard.of(allow)


class RowRule(Generic[Row_contra]):
    """Says whether whoever calls may do something with a row: `owner | role("admin")`.

    Made by `@row_rule` of a function of a context and a row.
    """

    def __init__(self, holds: Callable[[Any, Row_contra], object], *, name: str) -> None:
        self._holds = holds
        self._name = name

    @staticmethod
    def of(handler: Callable[[Any, Row_contra], object]) -> RowRule[Row_contra]:
        """Return the rule that a function is.

        Raises:
            PredicateError: it is no plain function of a context and a row.
        """
        name = name_of(handler)
        checked_parameters(handler, name, what="a row rule", takes="a context and a row", count=2)
        return RowRule(handler, name=name)

    @staticmethod
    def by(guard: Guard) -> RowRule[Any]:
        """Return the rule that asks a guard, whatever the row is.

        Raises:
            PredicateError: the guard looks at arguments, and rows have none.
        """
        refuse_arguments(guard, "a row rule")
        return RowRule(lambda ctx, _: guard.holds(ctx), name=repr(guard))

    def __repr__(self) -> str:
        return self._name

    def __call__(self, ctx: Any, row: Row_contra, /) -> bool:
        """Return whether it lets the caller do it."""
        return checked_answer(self._holds(ctx, row), self._name)

    def __and__(self, other: RowRule[Row_contra] | Guard) -> RowRule[Row_contra]:
        """Return what holds where both do; the other is not asked where this one does not."""
        joined: RowRule[Row_contra] = self._joined(other, "&")
        return joined

    def __or__(self, other: RowRule[Row_contra] | Guard) -> RowRule[Row_contra]:
        """Return what holds where either does; the other is not asked where this one does."""
        joined: RowRule[Row_contra] = self._joined(other, "|")
        return joined

    def __invert__(self) -> RowRule[Row_contra]:
        """Return what holds where this one does not."""
        return RowRule(lambda ctx, row: not self(ctx, row), name=f"~{_in_brackets(self)}")

    def __bool__(self) -> NoReturn:
        """Refuse: `a and b` would be `b` alone."""
        refuse_truth(self)

    def _joined(self, other: Any, sign: str) -> Any:
        if isinstance(other, Guard):
            other = RowRule.by(other)
        if not isinstance(other, RowRule):
            return NotImplemented

        def both(ctx: Any, row: Any) -> bool:
            return self(ctx, row) and other(ctx, row)

        def either(ctx: Any, row: Any) -> bool:
            return self(ctx, row) or other(ctx, row)

        name = f"{_in_brackets(self)} {sign} {_in_brackets(other)}"
        return RowRule(both if sign == "&" else either, name=name)


def _joined(first: Guard, second: Guard, sign: str) -> Guard:
    def both(ctx: Any, **arguments: Any) -> bool:
        return first.holds(ctx, arguments) and second.holds(ctx, arguments)

    def either(ctx: Any, **arguments: Any) -> bool:
        return first.holds(ctx, arguments) or second.holds(ctx, arguments)

    return Guard(
        both if sign == "&" else either,
        name=f"{_in_brackets(first)} {sign} {_in_brackets(second)}",
        parameters=tuple(dict.fromkeys((*first.parameters, *second.parameters))),
    )


def refuse_arguments(guard: Guard, what: str) -> None:
    """Do nothing if a guard needs no arguments of the function that it guards.

    Raises:
        PredicateError: it does; `what` has none.
    """
    if guard.parameters:
        names = ", ".join(guard.parameters)
        msg = f"guard {guard!r} looks at arguments ({names}), and {what} has none"
        raise PredicateError(msg)


def refuse_truth(predicate: object) -> NoReturn:
    """Refuse to say whether a predicate is true: it is asked later.

    Raises:
        TypeError: always.
    """
    msg = (
        f"{predicate!r} is asked later: combine guards and rules with &, | and ~, not and, or, not"
    )
    raise TypeError(msg)


def name_of(handler: object) -> str:
    """Return what a function is called in errors and logs."""
    return str(getattr(handler, "__qualname__", repr(handler))).rpartition("<locals>.")[2]


def checked_answer(answer: object, name: str) -> bool:
    """Return what a predicate has answered.

    Raises:
        DeveloperError: neither True nor False.
    """
    if answer is True or answer is False:
        return answer
    msg = f"{name} answered {answer!r:.100}; a guard or rule answers True or False"
    raise DeveloperError(msg, code="InvalidRule")


def checked_parameters(
    handler: object, name: str, *, what: str, takes: str, count: int | None = None
) -> list[str]:
    """Return the names of the parameters of a function that is a predicate.

    Raises:
        PredicateError: it is no plain function, or has not `count` parameters.
    """
    if not callable(handler):
        raise PredicateError(f"{handler!r} is no {what.removeprefix('a ')}: it cannot be called")
    called = getattr(handler, "__call__", None)  # noqa: B004  # what it is, not whether it can be called
    if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(called):
        msg = (
            f"{name} is an `async def`; {what} waits for nothing: write `def` and delete the awaits"
        )
        raise PredicateError(msg)
    parameters = list(inspect.signature(handler).parameters.values())
    positional = [each for each in parameters if each.kind in _POSITIONAL]
    starred = [each for each in parameters if each.kind in _STARRED]
    wrong = len(parameters) != count if count is not None else not positional or bool(starred)
    if wrong:
        told = ", ".join(str(each) for each in parameters)
        raise PredicateError(f"{name}({told}): {what} is a function of {takes}")
    return [each.name for each in parameters]


def _in_brackets(predicate: object) -> str:
    text = repr(predicate)
    return f"({text})" if " & " in text or " | " in text else text
