"""Components: whose tables there are, what may be called from where, and what a push does to them."""

from __future__ import annotations

import textwrap

import pytest

from camber import AppError, ArgumentValidationError, FunctionError
from camber.functions.loading import LoadError, load_application
from camber.testing import TestApp
from tests.functions.projects import project_app, write_project

COMPONENT = {
    "app": "from camber import *\napp = App()\n",
    "schema": """
        from typing import Any
        from camber import *
        class Item(Table, table="items"):
            name: str
            by_name = Index("name")
    """,
    "items": """
        from typing import Any
        from camber import *
        from .schema import Item

        @mutation
        def add(ctx: MutationCtx, name: str) -> Id[Item]:
            return ctx.db.insert(Item(name=name))

        @mutation
        def add_and_fail(ctx: MutationCtx, name: str) -> None:
            ctx.db.insert(Item(name=name))
            raise AppError({"code": "NO"})

        @query
        def get(ctx: QueryCtx, id: Id[Item]) -> str | None:
            item = ctx.db.get(id)
            return None if item is None else item.name

        @query
        def get_any(ctx: QueryCtx, id: str) -> Any:
            return ctx.db.get(id)

        @query
        def names(ctx: QueryCtx) -> list[str]:
            return [item.name for item in ctx.db.query(Item).with_index(Item.by_name)]

        @mutation
        def remove(ctx: MutationCtx, name: str) -> None:
            ctx.db.delete(ctx.db.query(Item).with_index(Item.by_name, name=name).first().id)

        @query
        def page(ctx: QueryCtx, opts: PaginationOpts) -> Page[Item]:
            return ctx.db.query(Item).paginate(opts)

        @mutation
        def add_twice(ctx: MutationCtx, name: str) -> list[str]:
            ctx.run_mutation("items:add", name=name)          # a plain path is the component's own
            ctx.run_mutation(add, name=name + "'")
            return ctx.run_query(names)

        @internal_query
        def secret(ctx: QueryCtx) -> str:
            return "secret"

        @query
        def secret_handle(ctx: QueryCtx) -> str:
            return ctx.function_handle(secret)

        @query
        def run(ctx: QueryCtx, handle: str) -> Any:
            return ctx.run_query(handle)

        @query
        def peek(ctx: QueryCtx, table: str) -> list[Any]:
            return ctx.db.query(table).collect()

        @query
        def who(ctx: QueryCtx) -> Any:
            return ctx.auth.get_user_identity()

        @query
        def variable(ctx: QueryCtx, name: str) -> str | None:
            return ctx.env.get(name)

        @action
        async def add_by_action(ctx: ActionCtx, name: str) -> str:
            return await ctx.run_mutation(add, name=name)

        @action
        async def handle_in_action(ctx: ActionCtx) -> str:
            return ctx.function_handle(secret)
    """,
}

APP = """
    from typing import Any
    from camber import *
    app = App()
    one = app.use(Component("thing", path="{package}"), name="one", env={{"LEVEL": "1", "KEY": Env("SECRET_KEY")}})
    two = app.use(Component("thing", path="{package}"), name="two")
"""

CODE = """
    from typing import Any
    from camber import *
    from .app import one, two
    from {package} import items

    @mutation
    def call(ctx: MutationCtx, mount: str, path: str, args: dict[str, Any]) -> Any:
        return ctx.run_mutation({{"one": one, "two": two}}[mount][path], **args)

    @query
    def ask(ctx: QueryCtx, mount: str, path: str, args: dict[str, Any]) -> Any:
        return ctx.run_query({{"one": one, "two": two}}[mount][path], **args)

    @action
    async def act(ctx: ActionCtx, mount: str, path: str, args: dict[str, Any]) -> Any:
        return await ctx.run_action({{"one": one, "two": two}}[mount][path], **args)

    @query
    def by_function(ctx: QueryCtx) -> list[str]:
        return ctx.run_query(one[items.names])

    @mutation
    def insert(ctx: MutationCtx, table: str, fields: dict[str, Any]) -> str:
        return ctx.db.insert(table, fields)

    @query
    def get(ctx: QueryCtx, id: str) -> Any:
        return ctx.db.get(id)

    @query
    def all(ctx: QueryCtx, table: str) -> list[Any]:
        return ctx.db.query(table).collect()

    @query
    def all_of_class(ctx: QueryCtx) -> list[Any]:
        return ctx.db.query(items.Item).collect()

    @query
    def unmounted_function(ctx: QueryCtx) -> Any:
        return ctx.run_query(items.names)

    @mutation
    def caught(ctx: MutationCtx) -> list[str]:
        ctx.run_mutation(one[items.add], name="kept")
        try:
            ctx.run_mutation(one[items.add_and_fail], name="gone")
        except AppError as error:
            assert error.data == {{"code": "NO"}}
        return ctx.run_query(one[items.names])

    @mutation
    def not_caught(ctx: MutationCtx) -> None:
        ctx.run_mutation(one[items.add], name="gone too")
        ctx.run_mutation(two[items.add_and_fail], name="gone")

    @internal_query
    def ours(ctx: QueryCtx) -> str:
        return "ours"

    @query
    def our_handle(ctx: QueryCtx) -> str:
        return ctx.function_handle(ours)

    @query
    def same_handle(ctx: QueryCtx, handle: str) -> str:
        return ctx.function_handle(handle)

    @query
    def by_handle(ctx: QueryCtx, handle: str) -> Any:
        return ctx.run_query(handle)

    @action
    async def act_by_handle(ctx: ActionCtx, handle: str) -> Any:
        return await ctx.run_query(handle)

    @mutation
    def schedule_by_handle(ctx: MutationCtx, handle: str) -> str:
        return ctx.scheduler.run_after(1, handle)

    @action
    async def schedule_by_handle_in_action(ctx: ActionCtx, handle: str) -> str:
        return await ctx.scheduler.run_after(1, handle)

    @query
    def by_checked_handle(ctx: QueryCtx, handle: FunctionHandle) -> Any:
        return ctx.run_query(handle)
"""


def write_component(root, package, **modules):
    for name, text in {**COMPONENT, **modules}.items():
        file = root / package.replace(".", "/") / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))


@pytest.fixture
def app(tmp_path):
    package = f"thing_{tmp_path.name}"
    write_component(tmp_path, package)
    modules = {"app": APP.format(package=package), "code": CODE.format(package=package)}
    with project_app(tmp_path, **modules) as app:
        yield app


def add(app, mount, name):
    return app.mutation("code:call", mount=mount, path="items:add", args={"name": name})


def names(app, mount):
    return app.query("code:ask", mount=mount, path="items:names", args={})


def test_each_mount_has_its_own_documents(app):
    add(app, "one", "a")
    add(app, "two", "b")
    assert names(app, "one") == app.query("code:by_function") == ["a"]
    assert names(app, "two") == ["b"]


def test_an_id_of_another_mount_is_refused(app):
    of_two = add(app, "two", "b")
    assert app.query("code:ask", mount="two", path="items:get", args={"id": of_two}) == "b"
    for path, told in (("items:get", "not of 'items'"), ("items:get_any", "no table here")):
        with pytest.raises(FunctionError, match=told):
            app.query("code:ask", mount="one", path=path, args={"id": of_two})


def test_the_application_and_its_components_do_not_see_each_others_tables(app):
    of_one = add(app, "one", "a")
    ours = app.mutation("code:insert", table="items", fields={"name": "ours"})
    assert [item["name"] for item in app.query("code:all", table="items")] == ["ours"]
    assert names(app, "one") == ["a"]
    with pytest.raises(FunctionError, match="no table here"):
        app.query("code:get", id=of_one)
    with pytest.raises(FunctionError, match="no table here"):
        app.query("code:ask", mount="one", path="items:get_any", args={"id": ours})
    for table in ("one/items", "two/items"):
        with pytest.raises(FunctionError, match="through their functions"):
            app.query("code:all", table=table)
        with pytest.raises(FunctionError, match="through their functions"):
            app.mutation("code:insert", table=table, fields={})
        with pytest.raises(FunctionError, match="through their functions"):
            app.query("code:ask", mount="one", path="items:peek", args={"table": table})
    with pytest.raises(FunctionError, match="not declared here"):
        app.query("code:all_of_class")


def test_a_call_that_fails_and_is_caught_has_written_nothing(app):
    assert app.mutation("code:caught") == ["kept"]
    assert names(app, "one") == ["kept"]


def test_a_call_that_fails_takes_the_whole_mutation_with_it(app):
    with pytest.raises(AppError):
        app.mutation("code:not_caught")
    assert names(app, "one") == names(app, "two") == []


def test_a_plain_path_is_the_callers_own(app):
    called = app.mutation("code:call", mount="two", path="items:add_twice", args={"name": "x"})
    assert called == ["x", "x'"] == names(app, "two")


def test_a_function_of_a_component_is_named_by_a_mount(app):
    with pytest.raises(FunctionError, match=r"mount\[function\]"):
        app.query("code:unmounted_function")
    with pytest.raises(FunctionError, match="two/items:add was executed as a query, but it is"):
        app.query("code:ask", mount="two", path="items:add", args={"name": "x"})


def test_internal_functions_are_reached_by_their_handle_alone(app):
    with pytest.raises(FunctionError, match="internal to its component"):
        app.query("code:ask", mount="one", path="items:secret", args={})
    handle = app.query("code:ask", mount="one", path="items:secret_handle", args={})
    assert handle.startswith("function://")
    assert app.query("code:by_handle", handle=handle) == "secret"
    assert app.query("code:same_handle", handle=handle) == handle
    assert app.action("code:act", mount="one", path="items:handle_in_action", args={}) == handle


def test_a_component_runs_what_it_was_handed(app):
    handle = app.query("code:our_handle")
    ran = app.query("code:ask", mount="two", path="items:run", args={"handle": handle})
    assert ran == "ours"


@pytest.mark.parametrize(
    "made_up",
    [
        "function://one;items:secret",
        "function://;code:ours",
        "function://;code:ours;",
        "function://;code:ours;AAAAAAAAAAAAAAAAAAAAAA",
        "function://one",
        "function://",
        "function://../one;items:names",
        "function://" + "x" * 5000,
    ],
)
def test_nobody_makes_up_a_handle(app, made_up):
    for call in (
        lambda: app.query("code:by_handle", handle=made_up),
        lambda: app.query("code:same_handle", handle=made_up),
        lambda: app.query("code:ask", mount="two", path="items:run", args={"handle": made_up}),
        lambda: app.action("code:act_by_handle", handle=made_up),
        lambda: app.mutation("code:schedule_by_handle", handle=made_up),
        lambda: app.action("code:schedule_by_handle_in_action", handle=made_up),
    ):
        with pytest.raises(FunctionError, match="is no function handle of this deployment"):
            call()


def test_what_is_to_be_a_handle_is_no_path(app):
    assert app.query("code:by_checked_handle", handle=app.query("code:our_handle")) == "ours"
    with pytest.raises(ArgumentValidationError, match="must match"):
        app.query("code:by_checked_handle", handle="code:ours")


def test_a_changed_handle_is_another_ones(app):
    handle = app.query("code:our_handle")
    renamed = handle.replace("code:ours", "code:our_handle")
    assert renamed != handle
    for changed in (renamed, handle[:-1], handle + "A", handle + "=", handle.upper()):
        with pytest.raises(FunctionError, match="handle"):
            app.query("code:by_handle", handle=changed)


def test_a_component_is_not_told_who_calls(app):
    with pytest.raises(FunctionError, match=r"ctx\.auth is not available in component 'one'"):
        app.with_identity(subject="ada").query("code:ask", mount="one", path="items:who", args={})


def test_actions_of_components_call_their_own_functions(app):
    app.action("code:act", mount="two", path="items:add_by_action", args={"name": "z"})
    assert names(app, "two") == ["z"]
    assert names(app, "one") == []


def test_who_watches_a_component_is_told_of_its_changes_alone(app):
    watched = app.subscribe("code:ask", mount="one", path="items:names", args={})
    add(app, "two", "b")
    assert not watched.is_stale
    add(app, "one", "a")
    assert watched.value == ["a"]


# What cannot be declared.


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ('app.use(Component("x", path="nowhere"))', "there is no folder 'nowhere'"),
        ('app.use(Component("x", package="nowhere.at.all"))', "Is it installed"),
        ('app.use(Component("x", path="../x"))', "relative to the project's root"),
        ('app.use(Component("x", path="/etc"))', "relative to the project's root"),
        ('app.use(Component("x"))', "path=, or an installed"),
        ('app.use(Component("_x", path="{package}"))', "cannot name a component"),
        ('app.use(Component("x", path="{package}"), name="a/b")', "cannot name a component"),
        ('app.use(Component("x", path="{package}"), http_prefix="x")', "a prefix is a path"),
        ('app.use(Component("x", path="{package}"), http_prefix="/a/../b")', "a prefix is a path"),
        ('app.use(Component("x", path="{package}"), env={{"A": 3}})', "is a text or Env"),
        (
            'app.use(Component("x", path="{package}"), env={{"CONVEX_SITE_URL": "x"}})',
            "cannot name a component's variable",
        ),
        (
            'app.use(Component("x", path="{package}")); app.use(Component("x", path="{package}"))',
            "in use as 'x' already",
        ),
        (
            'app.use(Component("x", path="{package}"), http_prefix="/p");'
            'app.use(Component("x", path="{package}"), name="y", http_prefix="/p/")',
            "routes under '/p' already",
        ),
        ("app.use('acme.meter')", "such as Component.*and not 'acme.meter'"),
        ("app.use(object())", "which has a `component` and `mounted"),
        (
            'app.use(Component("x", path="{package}"), http_prefix="/p")',
            "http_prefix='/p', and has no routes to serve there. Declare them in its module http",
        ),
    ],
)
def test_what_cannot_be_mounted_is_told(tmp_path, declared, told):
    package = f"bad_{tmp_path.name.replace('-', '_')}"
    write_component(tmp_path, package)
    write_project(
        tmp_path, app=f"from camber import *\napp = App()\n{declared.format(package=package)}\n"
    )
    with pytest.raises(LoadError, match=told):
        _load(tmp_path)


def _load(root):
    return load_application(root, (root / "pyproject.toml").read_text().split('"')[1])


def test_a_component_cannot_be_mounted_within_itself(tmp_path):
    inner = "from camber import *\napp = App()\napp.use(Component('{0}', path='{0}'))\n"
    first, second = f"first_{tmp_path.name}", f"second_{tmp_path.name}"
    write_component(tmp_path, first, app=inner.format(second))
    write_component(tmp_path, second, app=inner.format(first))
    write_project(tmp_path, app=inner.format(first))
    with pytest.raises(LoadError, match="mounted within itself"):
        _load(tmp_path)


def test_more_components_than_may_be_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr("camber.limits.components_max", 3)
    package = f"many_{tmp_path.name}"
    write_component(tmp_path, package)
    outer = f"outer_{tmp_path.name}"
    mounts = "from camber import *\napp = App()\n" + "".join(
        f"app.use(Component('c', path='{package}'), name='c{n}')\n" for n in range(2)
    )
    write_component(tmp_path, outer, app=mounts)
    write_project(tmp_path, app=mounts + f"app.use(Component('o', path='{outer}'))\n")
    with pytest.raises(LoadError, match="one too many"):
        _load(tmp_path)


# Mounts within mounts, and packages.


def test_mounts_within_mounts_are_told_apart(tmp_path):
    package, outer = f"deep_{tmp_path.name}", f"outer_{tmp_path.name}"
    write_component(tmp_path, package)
    write_component(
        tmp_path,
        outer,
        app=f"""
            from camber import *
            app = App()
            inner = app.use(Component("inner", path="{package}"), env={{"A": Env("B")}})
        """,
        relay=f"""
            from typing import Any
            from camber import *
            from {package} import items
            from .app import inner

            @mutation
            def add(ctx: MutationCtx, name: str) -> str:
                return ctx.run_mutation(inner[items.add], name=name)

            @query
            def names(ctx: QueryCtx) -> list[str]:
                return ctx.run_query(inner["items:names"])

            @query
            def variable(ctx: QueryCtx, name: str) -> str | None:
                return ctx.run_query(inner[items.variable], name=name)

            @query
            def handle(ctx: QueryCtx) -> str:
                return ctx.function_handle(inner[items.names])
        """,
    )
    modules = {
        "app": f"""
            from camber import *
            app = App()
            left = app.use(Component("o", path="{outer}"), name="left", env={{"B": "literal"}})
            right = app.use(Component("o", path="{outer}"), name="right", env={{"B": Env("C")}})
            direct = app.use(Component("i", path="{package}"), name="inner")
        """,
        "code": """
            from typing import Any
            from camber import *
            from .app import left, right, direct

            @mutation
            def add(ctx: MutationCtx, mount: str, name: str) -> str:
                return ctx.run_mutation({"left": left, "right": right}[mount]["relay:add"], name=name)

            @query
            def ask(ctx: QueryCtx, mount: str, path: str, args: dict[str, Any]) -> Any:
                return ctx.run_query({"left": left, "right": right, "inner": direct}[mount][path], **args)

            @query
            def by_handle(ctx: QueryCtx, handle: str) -> Any:
                return ctx.run_query(handle)
        """,
    }
    root = write_project(tmp_path, **modules)
    with TestApp(root, environment={"C": "of the deployment", "A": "hidden"}) as app:
        app.mutation("code:add", mount="left", name="l")
        app.mutation("code:add", mount="right", name="r")

        def ask(mount, path, **args):
            return app.query("code:ask", mount=mount, path=path, args=args)

        assert (ask("left", "relay:names"), ask("right", "relay:names")) == (["l"], ["r"])
        assert ask("inner", "items:names") == []
        handle = ask("right", "relay:handle")
        assert handle.startswith("function://")
        assert app.query("code:by_handle", handle=handle) == ["r"]
        # A variable is passed on from mount to mount, and there are no others.
        assert ask("left", "relay:variable", name="A") == "literal"
        assert ask("right", "relay:variable", name="A") == "of the deployment"
        assert ask("right", "relay:variable", name="C") is None
        assert ask("inner", "items:variable", name="A") is None


def test_an_installed_package_is_a_component(tmp_path, monkeypatch):
    site = tmp_path / "site"
    package = f"installed_{tmp_path.name}"
    write_component(site, f"{package}.thing")
    (site / package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(site))
    modules = {
        "app": f"""
            from camber import *
            app = App()
            thing = app.use(Component("thing", package="{package}.thing"))
        """,
        "code": f"""
            from camber import *
            from {package}.thing import items
            from .app import thing

            @mutation
            def add(ctx: MutationCtx, name: str) -> list[str]:
                ctx.run_mutation(thing[items.add], name=name)
                return ctx.run_query(thing[items.names])
        """,
    }
    with project_app(tmp_path / "project", **modules) as app:
        assert app.mutation("code:add", name="a") == ["a"]
        assert list(app._core.application.tables) == []


def test_a_client_in_front_of_a_component_is_what_use_returns(tmp_path):
    package = f"client_{tmp_path.name}"
    write_component(tmp_path, package)
    modules = {
        "app": f"""
            from camber import *
            from {package} import items

            class Things:
                component = Component("things", path="{package}")

                def __init__(self, prefix: str) -> None:
                    self.prefix = prefix

                def mounted(self, mount: Mount) -> "Things":
                    self.mount = mount
                    return self

                def add(self, ctx: MutationCtx, name: str) -> list[str]:
                    ctx.run_mutation(self.mount[items.add], name=self.prefix + name)
                    return ctx.run_query(self.mount[items.names])

            app = App()
            things = app.use(Things("x-"))
        """,
        "code": """
            from camber import *
            from .app import things

            @mutation
            def add(ctx: MutationCtx, name: str) -> list[str]:
                return things.add(ctx, name)
        """,
    }
    with project_app(tmp_path, **modules) as app:
        assert app.mutation("code:add", name="a") == ["x-a"]


# Variables.


def test_a_component_has_the_variables_that_it_was_given(tmp_path, app):
    def variable(mount, name):
        return app.query("code:ask", mount=mount, path="items:variable", args={"name": name})

    assert variable("one", "LEVEL") == "1"
    assert variable("two", "LEVEL") is None
    assert variable("one", "KEY") is None  # nobody has set SECRET_KEY
    assert variable("one", "SECRET_KEY") is None
    assert variable("one", "CONVEX_CLOUD_URL") is not None


@pytest.mark.parametrize(
    ("declared", "given", "told"),
    [
        ('{"A": str}', "{}", "is not given its variable 'A'"),
        ('{"A": str | None}', '{"B": "x"}', "has no variable 'B'"),
        ('{"A": Literal["a", "b"]}', '{"A": "c"}', "is 'c'; it may be 'a' or 'b'"),
        ('{"A": int}', "{}", "is a str or Literal"),
    ],
)
def test_variables_that_are_not_as_declared_are_told(tmp_path, declared, given, told):
    package = f"env_{tmp_path.name.replace('-', '_')}"
    write_component(
        tmp_path,
        package,
        app=f"from typing import Literal\nfrom camber import *\napp = App(env={declared})\n",
    )
    write_project(
        tmp_path,
        app=f"from camber import *\napp = App()\napp.use(Component('c', path='{package}'), env={given})",
    )
    with pytest.raises(LoadError, match=told):
        _load(tmp_path)


# What Camber keeps for components.


def test_a_component_sees_what_it_has_scheduled_and_nothing_else(tmp_path):
    package = f"jobs_{tmp_path.name}"
    jobs = """
        from typing import Any
        from camber import *

        @mutation
        def later(ctx: MutationCtx, what: str) -> str:
            return ctx.scheduler.run_after(10, what)

        @mutation
        def cancel(ctx: MutationCtx, id: str) -> None:
            ctx.scheduler.cancel(id)

        @query
        def jobs(ctx: QueryCtx) -> list[Any]:
            return [[job.id, job.state.kind] for job in ctx.db.system.query(ScheduledFunction)]

        @query
        def job(ctx: QueryCtx, id: str) -> str | None:
            found = ctx.db.system.get(id)
            return None if found is None else found.state.kind

        @mutation
        def run(ctx: MutationCtx) -> None:
            ctx.db.insert("ran", {})

        @query
        def ran(ctx: QueryCtx) -> int:
            return ctx.db.query("ran").count()

        @query
        def handle(ctx: QueryCtx) -> str:
            return ctx.function_handle(run)
    """
    write_component(tmp_path, package, jobs=jobs)
    with project_app(
        tmp_path, app=APP.format(package=package), code=CODE.format(package=package), jobs=jobs
    ) as app:

        def one(path, **args):
            return app.mutation("code:call", mount="one", path=f"jobs:{path}", args=args)

        def ask(path, **args):
            return app.query("code:ask", mount="one", path=f"jobs:{path}", args=args)

        ours = app.mutation("jobs:later", what="jobs:run")
        theirs = one("later", what="jobs:run")
        # Theirs, though it is ours that will run: who schedules has the job.
        crossing = one("later", what=app.query("jobs:handle"))
        assert ask("jobs") == [[theirs, "pending"], [crossing, "pending"]]
        assert app.query("jobs:jobs") == [[ours, "pending"]]
        assert (ask("job", id=ours), app.query("jobs:job", id=theirs)) == (None, None)
        for cancel in (
            lambda: one("cancel", id=ours),
            lambda: app.mutation("jobs:cancel", id=theirs),
        ):
            with pytest.raises(FunctionError, match="another component"):
                cancel()
        app.advance(seconds=11)
        assert (ask("ran"), app.query("jobs:ran")) == (1, 2)
        assert ask("job", id=theirs) == ask("job", id=crossing) == "success"
