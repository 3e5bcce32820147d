"""Any calls between components, held against dictionaries.

A program is a tree of steps: each adds or removes a name in the tables of whoever runs it, or calls
another component by its handle, which may fail in the end and is caught. The oracle is a dictionary of
sorted lists for each component, copied before each call; it shares no code with what it judges.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camber import AppError
from camber.runtime.handles import NamedFunction
from camber.values.paths import FunctionPath
from tests.components.test_components import write_component
from tests.functions.projects import project_app

WHERE = ("", "one", "two", "two/inner")

PROGRAM = """
    from typing import Any
    from camber import *

    @mutation
    def run(
        ctx: MutationCtx, steps: list[Any], handles: dict[str, str], fails: bool
    ) -> list[Any]:
        seen: list[Any] = []
        for step in steps:
            if step["op"] == "add":
                ctx.db.insert("names", {"name": step["name"]})
            elif step["op"] == "remove":
                for document in ctx.db.query("names").collect():
                    if document["name"] == step["name"]:
                        ctx.db.delete(document["_id"])
            else:
                handle = handles["at " + step["to"]]
                try:
                    inner = ctx.run_mutation(
                        handle, steps=step["steps"], handles=handles, fails=step["fails"]
                    )
                except AppError as error:
                    inner = error.data
                seen.append(inner)
            seen.append(ctx.run_query("program:names"))
        if fails:
            raise AppError("failed")
        return seen

    @query
    def names(ctx: QueryCtx) -> list[str]:
        return sorted(document["name"] for document in ctx.db.query("names"))

    @query
    def handle(ctx: QueryCtx) -> str:
        return ctx.function_handle(run)

    @query
    def ask(ctx: QueryCtx, handle: str) -> Any:
        return ctx.run_query(handle)
"""

_names = st.sampled_from("ab")
_steps: st.SearchStrategy[list[Any]] = st.deferred(lambda: st.lists(_step, max_size=4))
_step: st.SearchStrategy[Any] = st.one_of(
    st.fixed_dictionaries({"op": st.sampled_from(["add", "remove"]), "name": _names}),
    st.fixed_dictionaries(
        {
            "op": st.just("call"),
            "to": st.sampled_from(WHERE),
            "steps": _steps,
            "fails": st.booleans(),
        }
    ),
)


def expected(state: dict[str, list[str]], at: str, steps: list[Any]) -> list[Any]:
    """What a component sees; `state` is what there is afterwards."""
    seen: list[Any] = []
    for step in steps:
        if step["op"] == "add":
            state[at] = sorted([*state[at], step["name"]])
        elif step["op"] == "remove":
            state[at] = [name for name in state[at] if name != step["name"]]
        else:
            before = copy.deepcopy(state)
            inner: Any = expected(state, step["to"], step["steps"])
            if step["fails"]:
                state.clear()
                state.update(before)
                inner = "failed"
            seen.append(inner)
        seen.append(state[at])
    return seen


def depth(steps: list[Any]) -> int:
    return 1 + max((depth(step["steps"]) for step in steps if step["op"] == "call"), default=0)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    root = tmp_path_factory.mktemp("oracle")
    write_component(root, "oracle_inner", program=PROGRAM)
    write_component(
        root,
        "oracle_outer",
        program=PROGRAM,
        app="""
            from camber import *
            app = App()
            inner = app.use(Component("inner", path="oracle_inner"))
        """,
    )
    modules = {
        "program": PROGRAM,
        "app": """
            from camber import *
            app = App()
            one = app.use(Component("one", path="oracle_outer"))
            two = app.use(Component("two", path="oracle_outer"))
        """,
    }
    with project_app(root, **modules) as app:
        yield app


def handle(app, component, path):
    """The handle that a component makes of a function of its own."""
    named = NamedFunction(component, FunctionPath.parse(path))
    return app._core.deployment.handles.handle(named)


@settings(max_examples=60, deadline=None)
@given(program=_steps.filter(lambda steps: depth(steps) <= 5), fails=st.booleans())
def test_calls_between_components_do_what_dictionaries_do(app, program, fails):
    handles = {f"at {at}": handle(app, at, "program:run") for at in WHERE}
    names = {at: handle(app, at, "program:names") for at in WHERE}

    def stored():
        return {at: app.query("program:ask", handle=names[at]) for at in WHERE}

    before = stored()
    state = copy.deepcopy(before)
    wanted = expected(state, "", program)
    arguments = {"steps": program, "handles": handles, "fails": fails}
    if fails:
        with pytest.raises(AppError):
            app.mutation("program:run", **arguments)
        assert stored() == before
    else:
        assert app.mutation("program:run", **arguments) == wanted
        assert stored() == state


def test_the_handles_are_those_that_functions_make(app):
    assert app.query("program:handle") == handle(app, "", "program:run")
    made = app.query("program:ask", handle=handle(app, "two/inner", "program:handle"))
    assert made == handle(app, "two/inner", "program:run")
