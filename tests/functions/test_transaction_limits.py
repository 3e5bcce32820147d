"""`ctx.options(transaction_limits=…)`: a call that uses more than it is given fails, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from camber import FunctionError
from tests.components.test_components import write_component
from tests.functions.projects import project_app

CODE = """
    from typing import Any
    from camber import *

    class Thing(Table, table="things"):
        n: int = 0
        text: str = ""
        by_n = Index("n")

    METRICS = ["documents_read", "documents_written"]

    @mutation
    def run(ctx: MutationCtx, steps: list[Any], known: str) -> list[Any]:
        seen: list[Any] = []
        for step in steps:
            if step == "write":
                ctx.db.insert(Thing())
            elif step == "read":
                ctx.db.get(known)
            elif step == "look":
                found = ctx.meta.get_transaction_metrics()
                seen.append([getattr(found, name).remaining for name in METRICS])
            else:
                calls = ctx.options(transaction_limits=TransactionLimits(**step["most"]))
                try:
                    seen.append(calls.run_mutation(run, steps=step["steps"], known=known))
                except FunctionError:
                    seen.append("failed")
        return seen

    @mutation
    def fill(ctx: MutationCtx, count: int, size: int = 0) -> str:
        for n in range(count):
            last = ctx.db.insert(Thing(n=n, text="x" * size))
        return last

    @query
    def count(ctx: QueryCtx) -> int:
        return ctx.db.query(Thing).count()

    @query
    def all(ctx: QueryCtx) -> int:
        return len(ctx.db.query(Thing).collect())

    @query
    def ranges(ctx: QueryCtx, count: int) -> int:
        return sum(ctx.db.query(Thing).with_index("by_n", n=2 * n).first() is not None for n in range(count))

    @query
    def searched(ctx: QueryCtx, most: int) -> int:
        return ctx.options(transaction_limits=TransactionLimits(documents_read=most)).run_query(all)

    @query
    def page(ctx: QueryCtx, cursor: str | None) -> list[Any]:
        page = ctx.db.query(Thing).paginate(PaginationOpts(num_items=50, cursor=cursor))
        return [len(page.page), page.is_done, page.continue_cursor]

    @mutation
    def schedule(ctx: MutationCtx, text: str = "") -> None:
        ctx.scheduler.run_after(60, noted, text=text)
        ctx.scheduler.run_after(60, noted, text=text)

    @internal_mutation
    def noted(ctx: MutationCtx, text: str) -> None:
        pass

    @mutation
    def caught(ctx: MutationCtx, name: str, most: list[int], call: str) -> list[str]:
        told: list[str] = []
        for each in most:
            calls = ctx.options(transaction_limits=TransactionLimits(**{name: each}))
            try:
                eval(f"calls.{call}", {**globals(), "calls": calls})
                told.append("")
            except FunctionError as error:
                told.append(str(error))
        return told

    @mutation
    def script(ctx: MutationCtx, code: str) -> Any:
        scope = {**globals(), "ctx": ctx}
        *lines, last = code.split("; ")
        for line in lines:
            exec(line, scope)
        return eval(last, scope)
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with project_app(tmp_path_factory.mktemp("limits"), code=CODE) as app:
        yield app


@pytest.fixture
def script(app):
    app.mutation("code:script", code="[ctx.db.delete(t.id) for t in ctx.db.query(Thing)]; None")
    return lambda code: app.mutation("code:script", code=code)


class _Failed(Exception):
    """A call has used more than it may."""


class Model:
    """What calls use, counted beside what they may; written out on its own."""

    def __init__(self):
        self.used = {"read": 0, "write": 0}
        self.kept = 0

    def run(self, steps, ends):
        seen: list[Any] = []
        for step in steps:
            if isinstance(step, str) and step in self.used:
                self.used[step] += 1
                self._check(ends, [step])
                self.kept += step == "write"
            elif step == "look":
                seen.append([ends[kind] - self.used[kind] for kind in ("read", "write")])
            else:
                inner = dict(ends)
                for kind, name in (("read", "documents_read"), ("write", "documents_written")):
                    if name in step["most"]:
                        inner[kind] = min(ends[kind], self.used[kind] + step["most"][name])
                kept = self.kept
                try:
                    result = self.run(step["steps"], inner)
                    self._check(inner, inner)
                    seen.append(result)
                except _Failed:
                    self.kept = kept
                    seen.append("failed")
        return seen

    def _check(self, ends, kinds):
        if any(self.used[kind] > ends[kind] for kind in kinds):
            raise _Failed


_most = st.fixed_dictionaries(
    {},
    optional={"documents_read": st.integers(0, 4), "documents_written": st.integers(0, 4)},
)
_step = st.sampled_from(["read", "write", "look"])
_steps = st.recursive(
    st.lists(_step, max_size=4),
    lambda inner: st.lists(
        st.one_of(_step, st.fixed_dictionaries({"most": _most, "steps": inner})), max_size=4
    ),
    max_leaves=12,
)


@given(steps=_steps)
@example(
    steps=[
        {
            "most": {"documents_written": 2},
            "steps": ["write", {"most": {"documents_written": 9}, "steps": ["write"] * 3}, "look"],
        },
        "look",
    ]
)
def test_calls_use_what_they_are_given_of_what_is_left(app, steps):
    before = app.query("code:count")
    known = app.mutation("code:fill", count=1)
    model = Model()
    expected = model.run(steps, {"read": 32_000, "write": 16_000})
    assert app.mutation("code:run", steps=steps, known=known) == expected
    assert app.query("code:count") == before + 1 + model.kept


LIMITED = "ctx.options(transaction_limits=TransactionLimits({}))"


@pytest.mark.parametrize(
    ("most", "call", "told"),
    [
        ("documents_read=5", "run_query(all)", "came to 6 documents read; the limits that it was called with leave it 5"),
        ("bytes_read=700", "run_query(all)", "TooManyBytesRead"),
        ("database_queries=3", "run_query(ranges, count=6)", "TooManyReads"),
        ("documents_written=2", "run_mutation(fill, count=3)", "TooManyWrites"),
        ("bytes_written=1000", "run_mutation(fill, count=3, size=900)", "TooManyBytesWritten"),
        ("functions_scheduled=1", "run_mutation(schedule)", "TooManyFunctionsScheduled"),
        ("scheduled_function_args_bytes=300", "run_mutation(schedule, text='x' * 200)",
         "ScheduledFunctionsArgumentsTooLarge"),
        ("documents_read=0", "run_query(searched, most=3)", "came to 1 documents read"),
    ],
)  # fmt: skip
def test_each_of_the_limits_holds(app, script, most, call, told):
    app.mutation("code:fill", count=10, size=100)
    with pytest.raises(FunctionError, match=told):
        script(f"{LIMITED.format(most)}.{call}")
    # It may be caught, and all else goes on.
    name, _, few = most.partition("=")
    told = app.mutation("code:caught", name=name, most=[int(few), 100_000], call=call)
    assert ["leave it" in each for each in told] == [True, "searched" in call]
    assert app.query("code:count") == 10 + 3 * ("fill" in call)


def test_queries_give_limits_too(app, script):
    app.mutation("code:fill", count=4)
    assert app.query("code:searched", most=4) == 4
    with pytest.raises(FunctionError, match="TooManyDocumentsRead"):
        app.query("code:searched", most=3)


def test_a_stale_snapshot_is_read_within_limits(app, script):
    app.mutation("code:fill", count=6)
    stale = "ctx.options(stale_snapshot=True, transaction_limits=TransactionLimits({}))"
    assert script(f"{stale.format('documents_read=6')}.run_query(all)") == 6
    assert script(f"{stale.format('database_queries=6')}.run_query(ranges, count=6)") == 3
    for most in ("documents_read=5", "database_queries=2"):
        call = "all" if "documents" in most else "ranges, count=6"
        with pytest.raises(FunctionError, match="leave it"):
            script(f"{stale.format(most)}.run_query({call})")
    # A call that reads beside its transaction has used that of what it was given.
    outer = "ctx.options(transaction_limits=TransactionLimits(documents_read=8))"
    inner = "ctx.options(stale_snapshot=True).run_query(all) + ctx.run_query(all)"
    with pytest.raises(FunctionError, match="came to 9 documents read"):
        script(f"{outer}.run_mutation(script, code='{inner}')")


def test_pages_end_before_a_limit_does(app, script):
    app.mutation("code:fill", count=30, size=1000)

    def pages(most):
        cursor, sizes, done = None, [], False
        while not done:
            size, done, cursor = script(
                f"{LIMITED.format(most)}.run_query(page, cursor={cursor!r})"
            )
            sizes.append(size)
        return sizes

    assert pages("documents_read=12") == [12, 12, 6]
    sizes = pages("bytes_read=10_000")
    assert sum(sizes) == 30
    assert 5 <= sizes[0] <= 9
    assert pages("documents_read=100, bytes_read=1_000_000") == [30]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("TransactionLimits(documents_read=-1)", "a limit is an int from 0 on, or None"),
        ("TransactionLimits(documents_read=True)", "TransactionLimits(documents_read=True)"),
        ("TransactionLimits(bytes_read=1.5)", "TransactionLimits(bytes_read=1.5)"),
        ("{'documents_read': 3}", "give such as TransactionLimits(documents_read=100)"),
        ("3", "InvalidTransactionLimits"),
    ],
)
def test_what_is_no_limit_is_refused(script, given, told):
    with pytest.raises(FunctionError) as raised:
        script(f"ctx.options(transaction_limits={given}).run_query(all)")
    assert told in str(raised.value)


def test_a_component_is_held_to_what_it_is_given(tmp_path):
    package = f"limited_{tmp_path.name}"
    write_component(tmp_path, package)
    modules = {
        "app": f"""
            from camber import *
            app = App()
            things = app.use(Component("things", path="{package}"))
        """,
        "code": f"""
            from camber import *
            from {package} import items
            from .app import things

            @mutation
            def add(ctx: MutationCtx, most: int) -> list[bool]:
                calls = ctx.options(transaction_limits=TransactionLimits(documents_written=most))
                added = []
                for name in "ab":
                    try:
                        calls.run_mutation(things[items.add], name=name)
                        added.append(True)
                    except FunctionError:
                        added.append(False)
                return added
        """,
    }
    with project_app(tmp_path, **modules) as app:
        # Each call is given so much.
        assert app.mutation("code:add", most=1) == [True, True]
        assert app.mutation("code:add", most=0) == [False, False]
