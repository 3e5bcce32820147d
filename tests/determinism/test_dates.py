"""What user modules have in place of `datetime` is, but for its clock, the real thing."""

from __future__ import annotations

import copy
import datetime as real
import functools
import pickle
import sys
import typing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber.functions.definition import FunctionKind
from camber.functions.determinism import dates
from camber.functions.determinism.conditions import Conditions
from camber.functions.loading import Freshness, load_application
from camber.schema.compiler import AnnotationError, Compiler
from tests.functions.projects import project_app, write_project

MOMENT = real.datetime(2030, 5, 17, 12, 30, 59, 123456, tzinfo=real.UTC)
NOW_NS = 1_905_251_459_123_456_789


def frozen():
    return Conditions(now_ns=NOW_NS, seed=lambda: bytes(32), kind=FunctionKind.QUERY)


class Derived(dates.datetime):  # type: ignore[misc, valid-type]
    """What user code may make of it."""


class DerivedDate(dates.date):  # type: ignore[misc, valid-type]
    """Likewise."""


@pytest.mark.parametrize("name", ["datetime", "date"])
def test_it_is_taken_for_the_real_class(name):
    ours, theirs = getattr(dates, name), getattr(real, name)
    value = theirs(2020, 1, 2)
    assert isinstance(value, ours)
    assert isinstance(ours(2020, 1, 2), theirs)
    assert issubclass(ours, theirs)
    assert issubclass(theirs, ours)
    assert (ours == theirs, theirs == ours, ours != theirs) == (True, True, False)
    assert ({ours: 1}[theirs], {theirs: 1}[ours]) == (1, 1)
    assert type(value) == ours  # noqa: E721  # on purpose
    assert repr(ours) == repr(theirs)
    assert not isinstance("2020", ours)
    assert not issubclass(str, ours)


def test_the_two_are_to_each_other_as_the_real_ones_are():
    assert issubclass(dates.datetime, dates.date)
    assert not issubclass(dates.date, dates.datetime)
    assert dates.datetime != dates.date
    assert isinstance(MOMENT, dates.date)
    assert not isinstance(MOMENT.date(), dates.datetime)


def test_what_is_derived_from_it_is_a_class_like_any_other():
    value = Derived(2020, 1, 2)
    assert type(value) is Derived
    assert isinstance(value, real.datetime)
    assert not isinstance(MOMENT, Derived)
    assert not issubclass(real.datetime, Derived)
    assert issubclass(Derived, dates.datetime)
    assert Derived not in (dates.datetime, real.datetime)
    assert type(value + real.timedelta(1)) is Derived
    assert pickle.loads(pickle.dumps(value)) == value
    assert pickle.loads(pickle.dumps(Derived)) is Derived
    with frozen():
        assert (type(Derived.now()), type(DerivedDate.today())) == (Derived, DerivedDate)
    assert (type(Derived.now()), type(DerivedDate.today())) == (Derived, DerivedDate)
    with pytest.raises(AnnotationError, match="Derived has no wire form"):
        Compiler().compile(Derived, "here")


@given(value=st.datetimes(timezones=st.sampled_from([None, real.UTC])))
def test_every_way_to_make_one_makes_what_the_real_class_makes(value):
    ours, value = dates.datetime, value.replace(fold=0)
    parts = (value.year, value.month, value.day, value.hour, value.minute, value.second)
    for made in (
        ours(*parts, value.microsecond, value.tzinfo),
        ours(*parts, microsecond=value.microsecond, tzinfo=value.tzinfo),
        ours.combine(value.date(), value.timetz()),
        ours.fromisoformat(value.isoformat()),
        ours.strptime(value.isoformat(), f"%Y-%m-%dT%H:%M:%S{'.%f' * bool(value.microsecond)}%z")
        if value.tzinfo
        else value,
        copy.deepcopy(ours(*parts, value.microsecond, value.tzinfo)),
    ):
        assert made == value
        assert type(made) is real.datetime
        assert repr(made) == repr(value)
        assert pickle.loads(pickle.dumps(made)) == value
    assert dates.date(*parts[:3]) == value.date() == dates.date.fromordinal(value.toordinal())


def test_now_is_the_moment_of_the_run():
    with frozen() as conditions:
        assert not conditions.observed_time
        assert dates.datetime.now(real.UTC) == MOMENT
        assert conditions.observed_time
        tokyo = real.timezone(real.timedelta(hours=9))
        assert dates.datetime.now(tz=tokyo).isoformat() == "2030-05-17T21:30:59.123456+09:00"
        assert dates.datetime.now() == MOMENT.astimezone().replace(tzinfo=None)
        assert dates.datetime.today() == dates.datetime.now()
        assert dates.datetime.utcnow() == MOMENT.replace(tzinfo=None)
        assert dates.date.today() == dates.datetime.now().date()
    assert abs(dates.datetime.now(real.UTC) - real.datetime.now(real.UTC)) < real.timedelta(60)


def test_moments_given_do_not_observe_the_time():
    with frozen() as conditions:
        assert dates.datetime.fromtimestamp(0, real.UTC).year == 1970
        assert dates.datetime(2020, 1, 1) < dates.datetime.max
        assert not conditions.observed_time


def test_it_dispatches_and_matches():
    @functools.singledispatch
    def kind(value):
        return "other"

    @kind.register(dates.datetime)
    def _(value):
        return "datetime"

    assert kind(MOMENT) == kind(dates.datetime(2020, 1, 1)) == "datetime"
    match MOMENT:
        case dates.date(year=year):
            assert year == 2030
        case _:
            raise AssertionError


def test_it_can_be_pickled_as_a_class():
    assert pickle.loads(pickle.dumps(dates.datetime)) is real.datetime
    assert copy.deepcopy(dates.date) is dates.date


def test_validators_know_it():
    assert Compiler().compile(dates.datetime, "here") is Compiler().compile(real.datetime, "here")

    class Event(msgspec.Struct):
        when: dates.datetime  # type: ignore[valid-type]
        day: dates.date | None = None  # type: ignore[valid-type]

    assert typing.get_type_hints(Event)["when"] == real.datetime
    event = msgspec.json.decode(
        b'{"when": "2030-05-17T12:30:59.123456Z", "day": "2030-05-17"}', type=Event
    )
    assert event == Event(when=MOMENT, day=real.date(2030, 5, 17))
    # What pydantic asks a class for; its handler makes the schema of what it is given.
    schema = dates.datetime.__get_pydantic_core_schema__
    assert schema(dates.datetime, lambda given: given) is real.datetime
    assert not hasattr(Derived, "__get_pydantic_core_schema__")


CODE = """
    from __future__ import annotations
    import datetime
    import datetime as dt
    from datetime import *
    from datetime import date as day, datetime as moment, UTC
    from typing import Any
    from camber import *

    class Event(Table, table="events"):
        when: moment
        made: moment = field(default_factory=lambda: moment.now(UTC))

    def plain() -> list[moment]:
        return [dt.datetime.now(UTC), moment.now(tz=UTC)]

    def lazily() -> list[Any]:
        import datetime
        from datetime import datetime as later
        return [datetime.datetime.now(UTC), later.now(UTC)]

    @query
    def look(ctx: QueryCtx) -> list[moment]:
        return plain() + lazily()

    @mutation
    def echo(ctx: MutationCtx, when: moment, maybe: moment | None = None) -> moment:
        assert isinstance(when, moment) and isinstance(when, day)
        id = ctx.db.insert(Event(when=when))
        event = ctx.db.get(id)
        assert event.when == when and isinstance(event.when, dt.datetime)
        assert event.made == moment.now(UTC).replace(microsecond=event.made.microsecond)
        return event.when
"""


def test_user_modules_get_it_however_they_import_it(tmp_path):
    with project_app(tmp_path, m=CODE) as app:
        seen = app.query("m:look")
        assert len(set(seen)) == 1
        assert seen[0].year == 2026  # as the clock of an application under test has it
        assert app.mutation("m:echo", when=MOMENT).timestamp() == pytest.approx(MOMENT.timestamp())
        module = sys.modules[app._core.application.package + ".m"]
        assert module.dt is dates.module
        assert module.moment is module.datetime is dates.datetime
    assert sys.modules["datetime"] is real
    assert real.datetime is not dates.datetime


def test_modules_that_were_imported_before_get_it_too(tmp_path):
    """As by a test runner that knows nothing of Camber: names at the top of a module, that is."""
    write_project(
        tmp_path,
        m="""
            import datetime, random, uuid
            from datetime import datetime as moment
            from random import random as draw
            from time import time
            from camber import *
            @query
            def look(ctx: QueryCtx) -> list[float]:
                return [time(), moment.now().timestamp(), datetime.datetime.now().timestamp()]
        """,
    )
    package = (tmp_path / "pyproject.toml").read_text().split('"')[1]
    sys.path.insert(0, str(tmp_path))
    try:
        before = __import__(f"{package}.m").m
        assert before.moment is real.datetime
        application = load_application(tmp_path, package, Freshness.SHARED)
        assert sys.modules[f"{package}.m"] is before
        assert before.moment is dates.datetime
        assert before.datetime is dates.module
        with frozen():
            seen = application.functions["m:look"].handler(None)
        assert seen == pytest.approx([MOMENT.timestamp()] * 3, abs=1e-5)
    finally:
        sys.path.remove(str(tmp_path))
        for name in [name for name in sys.modules if name.partition(".")[0] == package]:
            del sys.modules[name]
