"""What user modules have in place of `datetime`.

`datetime.now` reads the clock in C, so there is no door to put in its way. User modules, and only
they, import a module whose `datetime` and `date` know the moment of the run. They make instances
of the real classes and are equal to them: `isinstance`, dictionaries keyed by type, validators and
`pickle` see one class. Only `type(value) is datetime` tells them apart.
"""

from __future__ import annotations

import copyreg
import datetime as real
from types import ModuleType
from typing import Any

from camber.functions.determinism.conditions import current


class _StandIn(type):
    """The class of both stand-ins and of what user code derives from them.

    A derived class is one like any other: all that is said here is of the stand-ins alone.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        original = vars(cls).get("__original__")
        return (super().__call__ if original is None else original)(*args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        original = vars(cls).get("__original__")
        if original is None:
            return super().__instancecheck__(instance)
        return isinstance(instance, original)

    def __subclasscheck__(cls, subclass: type) -> bool:
        original = vars(cls).get("__original__")
        if original is None:
            return super().__subclasscheck__(subclass)
        return issubclass(subclass, original)

    def __eq__(cls, other: object) -> bool:
        return other is cls or other is vars(cls).get("__original__", cls)

    def __hash__(cls) -> int:
        return hash(vars(cls).get("__original__")) if _is_one(cls) else super().__hash__()

    @property
    def __supertype__(cls) -> type:
        """Return the real class: msgspec takes it for what an alias stands for."""
        return _original(cls)

    @property
    def __get_pydantic_core_schema__(cls) -> Any:
        """Return what makes the schema of the real class, for pydantic."""
        original = _original(cls)
        return lambda _source, handler: handler(original)


def _is_one(cls: type) -> bool:
    return "__original__" in vars(cls)


def _original(cls: type) -> type:
    if not _is_one(cls):
        raise AttributeError("only a stand-in has one")
    original: type = vars(cls)["__original__"]
    return original


def _reduce(cls: type) -> Any:
    """Let `pickle` take a stand-in for the real class, and a derived one by its name."""
    if not _is_one(cls):
        return cls.__qualname__
    return _real_class, (cls.__name__,)


def _real_class(name: str) -> Any:
    return getattr(real, name)


class _Date(real.date, metaclass=_StandIn):
    __original__ = real.date

    @classmethod
    def today(cls) -> Any:
        conditions = current.conditions
        if conditions is None:
            return super().today()
        return cls.fromtimestamp(_seconds(conditions.now_ns()))


class _Datetime(real.datetime, metaclass=_StandIn):
    __original__ = real.datetime

    @classmethod
    def now(cls, tz: real.tzinfo | None = None) -> Any:
        conditions = current.conditions
        if conditions is None:
            return super().now(tz)
        return cls.fromtimestamp(_seconds(conditions.now_ns()), tz)

    @classmethod
    def today(cls) -> Any:
        return cls.now()

    @classmethod
    def utcnow(cls) -> Any:
        conditions = current.conditions
        if conditions is None:
            return super().utcnow()  # type: ignore[deprecated]
        return cls.fromtimestamp(_seconds(conditions.now_ns()), real.UTC).replace(tzinfo=None)


def _seconds(ns: int) -> float:
    # Cut to what a datetime can hold, as the real clock is: rounding could show the future.
    return ns // 1000 / 1e6


for _class, _name in ((_Date, "date"), (_Datetime, "datetime")):
    _class.__name__ = _class.__qualname__ = _name
    _class.__module__ = "datetime"
copyreg.pickle(_StandIn, _reduce)

date, datetime = _Date, _Datetime

#: What `import datetime` gives to user modules.
module = ModuleType("datetime", real.__doc__)
vars(module).update(vars(real))
vars(module).update(date=date, datetime=datetime)
