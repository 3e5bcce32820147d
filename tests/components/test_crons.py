"""Cron jobs that run functions of what is mounted: declared by whoever mounts it, diffed like all others."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from camber.engine import system_tables
from camber.engine.scheduled import find_job
from camber.functions.loading import LoadError, load_application
from camber.identity.identity import Admin
from camber.jobs.crons import documents
from camber.runtime.executor import Caller, FunctionCall
from camber.runtime.release import InProcessRelease
from camber.testing import TestApp
from camber.values.packed import pack, unpack
from tests.components.test_components import write_component
from tests.engine.harness import read, rows
from tests.functions.projects import write_project

APP = """
    from camber import *
    app = App()
    one = app.use(Component("thing", path="{package}"), name="one")
    two = app.use(Component("thing", path="{package}"), name="two")
"""
CODE = """
    from camber import *
    from {package} import items
    from .app import one, two

    @query
    def names(ctx: QueryCtx) -> dict[str, list[str]]:
        return {{
            "one": ctx.run_query(one[items.names]),
            "two": ctx.run_query(two[items.names]),
        }}

    @mutation
    def own(ctx: MutationCtx, name: str) -> None:
        ctx.run_mutation(two[items.add], name=name)
"""
CRONS = """
    from camber import Crons
    from {package} import items
    from .app import one, two
    from .code import own
    crons = Crons()
"""


class Project:
    """An application of two mounts of one component, whose cron jobs change."""

    def __init__(self, root, declared, **component):
        self.root = root
        self.package = f"thing_{root.name}".replace("-", "_")
        write_component(root, self.package, **component)
        package = {"package": self.package}
        write_project(root, app=APP.format(**package), code=CODE.format(**package), crons="")
        (self.folder,) = [each for each in root.iterdir() if (each / "code.py").exists()]
        self._write(declared)
        self.app = TestApp(root)
        self.deployment = self.app._core.deployment

    def _write(self, declared):
        text = textwrap.dedent(CRONS.format(package=self.package)) + textwrap.dedent(declared)
        (self.folder / "crons.py").write_text(text)

    def push(self, declared):
        """Push other cron jobs; return how they differ."""
        self._write(declared)
        release = InProcessRelease(load_application(self.root, self.folder.name))
        return self.app._core.wait(self.deployment.push_release(release)).crons

    def names(self) -> Any:
        return self.app.query("code:names")

    def jobs(self):
        """What waits, by the name of the cron job: where its function is, and when it is due."""
        found = read(self.deployment.engine, lambda tx: list(documents(tx)))
        jobs = read(
            self.deployment.engine,
            lambda tx: {each["name"]: find_job(tx, each["_id"]) for each in found},
        )
        return {name: (job.component, job.path, job.due) for name, job in jobs.items()}


@pytest.fixture
def project(tmp_path):
    made = []

    def make(declared, **component):
        made.append(Project(tmp_path, declared, **component))
        return made[0]

    yield make
    for each in made:
        each.app.close()


def test_functions_of_mounts_run_each_over_its_own_data(project):
    it = project("""
        crons.interval("typed", one[items.add], minutes=10, args={"name": "a"})
        crons.interval("by path", two["items:add"], minutes=20, args={"name": "b"})
        crons.interval("own", own, minutes=30, args={"name": "c"})
    """)
    it.app.advance(minutes=25)
    assert it.names() == {"one": ["a", "a", "a"], "two": ["b", "b", "c"]}


def test_operators_see_whose_function_a_cron_runs(project):
    it = project("crons.hourly('a', two[items.add], args={'name': 'x'})\n")
    it.app.advance(minutes=61)
    call = FunctionCall(
        path="_system/frontend/listCronJobs:default",
        arguments=pack({}),
        identity=Admin(),
        caller=Caller.ADMIN,
        request_id="test",
    )
    result = it.app._core.wait(it.deployment.runtime.query(call))
    found: Any = unpack(result.packed)
    (shown,) = found
    assert (shown["component"], shown["functionComponent"], shown["function"]) == (
        "",
        "two",
        "items.js:add",
    )
    assert [run["error"] for run in shown["runs"]] == [None]


def test_a_push_keeps_what_has_not_changed_and_moves_what_names_another_mount(project):
    it = project("""
        crons.interval("same", one[items.add], hours=1, args={"name": "s"})
        crons.interval("moved", one[items.add], hours=2, args={"name": "m"})
        crons.interval("gone", one[items.add], hours=1, args={"name": "g"})
        crons.interval("own", own, hours=1, args={"name": "o"})
    """)
    it.app.advance(minutes=30)
    before = it.jobs()
    changes = it.push("""
        crons.interval("same", one[items.add], hours=1, args={"name": "s"})
        crons.interval("moved", two[items.add], hours=2, args={"name": "m"})
        crons.interval("own", two[items.add], hours=1, args={"name": "o"})
        crons.interval("new", two[items.add], hours=1, args={"name": "n"})
    """)
    assert (changes.added, changes.removed) == (("new",), ("gone",))
    assert sorted(changes.changed) == ["moved", "own"]
    after = it.jobs()
    assert after["same"] == before["same"]
    # Neither lost its time: the schedule is what it was.
    assert after["moved"] == ("two", "items:add", before["moved"][2])
    assert after["own"] == ("two", "items:add", before["own"][2])
    again = it.push("""
        crons.interval("same", one[items.add], hours=1, args={"name": "s"})
        crons.interval("moved", two[items.add], hours=2, args={"name": "m"})
        crons.interval("own", own, hours=1, args={"name": "o"})
        crons.interval("new", two[items.add], hours=1, args={"name": "n"})
    """)
    assert (again.added, again.changed, again.removed) == ((), ("own",), ())
    assert it.jobs()["own"] == ("", "code:own", before["own"][2])
    it.app.advance(hours=2)
    assert it.names()["two"].count("m") == 1
    assert it.names()["one"].count("m") == 1


def test_components_run_functions_of_what_they_have_mounted(tmp_path, project):
    inner = f"inner_{tmp_path.name}".replace("-", "_")
    write_component(tmp_path, inner)
    it = project(
        "",
        app=f"from camber import *\napp = App()\ninside = app.use(Component('in', path='{inner}'))\n",
        crons="""
            from camber import Crons
            from .app import inside
            crons = Crons()
            crons.interval("inner", inside["items:add"], hours=1, args={"name": "i"})
        """,
    )
    assert {each[:2] for each in it.jobs().values()} <= {
        ("one/in", "items:add"),
        ("two/in", "items:add"),
    }
    it.app.advance(minutes=1)
    stored = read(
        it.deployment.engine,
        lambda tx: [len(rows(tx, f"{mount}/in/items")) for mount in ("one", "two")],
    )
    assert stored == [1, 1]
    assert read(it.deployment.engine, lambda tx: len(rows(tx, system_tables.CRON_JOBS))) == 2


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ("crons.hourly('a', one['items:nothing'])", "function for 'items:nothing' of component 'one'"),
        ("crons.hourly('a', one['nowhere'])", "function for 'nowhere' of component 'one'"),
        ("crons.hourly('a', one['../x:y'])", "no function path"),
        ("crons.hourly('a', one[items.secret])", "one/items:secret is internal to its component"),
        ("crons.hourly('a', one[own])", "no function of component 'one'"),
        ("crons.hourly('a', one[3])", r"one\[3\] names no function"),
        ("crons.hourly('a', items.add, args={'name': 'x'})", "is named by a mount of it"),
        ("crons.hourly('a', one[items.add])", "items:add does not take its args"),
        ("crons.hourly('a', one[items.add], args={'name': 3})", "v.string"),
        ("crons.hourly('a', one)", "is no function, and no path of one"),
        ("crons.hourly('a', 'one/items:add', args={'name': 'x'})", "Could not find function for 'one/items:add'"),
        ("crons.hourly('a', 'function://one;items:add;x')", r"a handle is of one deployment.*mount\[function\]"),
        ("from camber import App, Component\n"
         "other = App().use(Component('x', path='{package}'), name='three')\n"
         "crons.hourly('a', other[items.add])", "the application has mounted no 'three'; its mounts are: one, two"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_said_when_it_is_pushed(project, declared, told):
    it = project("crons.interval('good', one[items.add], hours=1, args={'name': 'x'})\n")
    it.app.advance(minutes=1)
    before = it.jobs()
    with pytest.raises(LoadError, match=told) as refused:
        it.push(declared.replace("{package}", it.package) + "\n")
    assert "crons.py" in str(refused.value)
    assert it.jobs() == before


OF_EACH_MOUNT = """
    from camber import *
    from .items import add

    crons = Crons()
    crons.interval("{}", add, hours=1, args={{"name": "x"}})
"""


def test_a_push_says_of_which_mount_a_cron_job_is(project):
    it = project("", crons=OF_EACH_MOUNT.format("old"))
    file = it.root / it.package / "crons.py"
    file.write_text(textwrap.dedent(OF_EACH_MOUNT.format("new")))
    changes = it.push("")
    assert sorted(changes.added) == ["one/new", "two/new"]
    assert sorted(changes.removed) == ["one/old", "two/old"]
