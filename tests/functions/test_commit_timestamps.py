"""`ctx.db.vars.commit_ts`: where it may be, what it is until the commit, and what it becomes.

All of it in the process of the server with a store in memory, and in a process of its own with SQLite.
"""

from __future__ import annotations

import pytest

from camber import AppError, FunctionError, Int64
from camber.runtime.executor import SessionRequest
from camber.values.packed import unpack
from tests.components.test_components import write_component
from tests.functions.projects import project_app
from tests.runtime.test_executors import Running, call_of

SCHEMA = """
    from typing import Any
    from camber import CommitTs, Index, Int64, SearchIndex, Table

    class Entry(Table, table="entries"):
        name: str
        at: CommitTs
        more: Any = None
        seen: CommitTs | None = None
        by_at = Index("at")
        by_more = Index("more", "at")
        by_seen = Index("seen", unique=True)
        search = SearchIndex("name", filter_fields=["at", "more"])

    class Wrong(Table, table="wrong"):
        at: Int64 = Int64(0)
        ms: float = 0.0
        count: int = 0
"""
CODE = """
    from typing import Any
    from camber import *
    {schema}

    @mutation
    def script(ctx: MutationCtx, code: str, given: Any = None) -> Any:
        db, now = ctx.db, ctx.db.vars.commit_ts
        scope = {{**globals(), "ctx": ctx, "db": db, "now": now, "given": given}}
        *lines, last = code.split(";")
        for line in lines:
            exec(line.strip(), scope)
        return eval(last.strip(), scope)

    @query
    def names(ctx: QueryCtx, after: Int64 = Int64(0)) -> list[Any]:
        found = ctx.db.query(Entry).with_index(Entry.by_at, at=gt(after))
        return [[entry.name, entry.at] for entry in found]

    @query
    def loose(ctx: QueryCtx) -> list[Any]:
        return [[row["name"], row["v"]] for row in ctx.db.query("loose").with_index("by_creation_time")]

    @internal_mutation
    def add(ctx: MutationCtx, name: str, at: CommitTs) -> CommitTs:
        ctx.db.insert(Entry(name=name, at=at))
        return at

    @internal_mutation
    def add_and_fail(ctx: MutationCtx, name: str) -> None:
        ctx.db.insert(Entry(name=name, at=ctx.db.vars.commit_ts))
        raise AppError("no")

    @internal_query
    def behind(ctx: QueryCtx, after: CommitTs, inclusive: bool = False) -> list[str]:
        bound = gte(after) if inclusive else gt(after)
        return [entry.name for entry in ctx.db.query(Entry).with_index(Entry.by_at, at=bound)]

    @internal_query
    def page(ctx: QueryCtx, opts: PaginationOpts, index: str) -> Page[Entry]:
        return ctx.db.query(Entry).with_index(index).paginate(opts)

    @action
    async def acts(ctx: ActionCtx, code: str) -> Any:
        return await ctx.run_mutation(script, code=code)
"""
SOURCE = CODE.format(schema=SCHEMA.replace("from typing import Any\n", "\n"))


class InProcess:
    def __init__(self, app):
        self._app = app
        self.deployment, self.wait = app._core.deployment, app._core.wait

    def query(self, path, **args):
        return self._app.query(f"code:{path}", **args)

    def run(self, code, given=None):
        return self._app.mutation("code:script", code=code, given=given)

    def act(self, code):
        return self._app.action("code:acts", code=code)

    def failure(self, code):
        with pytest.raises((FunctionError, AppError)) as caught:
            self.run(code)
        return str(caught.value)


class InProcesses:
    def __init__(self, running):
        self._running = running
        self.deployment, self.wait = running.deployment, running.wait

    def query(self, path, **args):
        return self.wait(self._running.value("query", path, **args))

    def run(self, code, given=None):
        return self.wait(self._running.value("mutation", "script", code=code, given=given))

    def act(self, code):
        return self.wait(self._running.value("action", "acts", code=code))

    def failure(self, code):
        return self.wait(self._running.failure("mutation", "script", code=code))


@pytest.fixture(scope="module", params=["in process", "in processes"])
def it(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("timestamps")
    if request.param == "in process":
        with project_app(root, code=SOURCE) as app:
            yield InProcess(app)
    else:
        running = Running(root, executors=1, code=SOURCE)
        yield InProcesses(running)
        running.close()


@pytest.fixture
def run(it):
    it.run("[db.delete(entry.id) for entry in db.query(Entry)]; None")
    it.run("[db.delete(row['_id']) for row in db.query('loose')]; None")
    return it.run


INSERT = "db.insert(Entry(name='{}', at=now))"


def test_what_was_written_has_the_timestamp_of_its_commit(it, run):
    ts = [run(f"{INSERT.format(name)}; now") for name in "abc"]
    assert all(isinstance(each, Int64) for each in ts)
    assert ts == sorted(set(ts))
    assert it.query("names") == [["a", ts[0]], ["b", ts[1]], ["c", ts[2]]]
    assert it.query("names", after=ts[0]) == [["b", ts[1]], ["c", ts[2]]]
    assert it.query("names", after=ts[2]) == []
    # It is the timestamp of the commit, by which all else is ordered.
    assert it.deployment.engine.newest_ts == ts[2]


def test_all_of_one_mutation_have_one_wherever_they_are(it, run):
    ts = run(
        "db.insert('loose', {'name': 'a', 'v': [now, {'x': [1, now]}]}); "
        "db.insert('loose', {'name': 'b', 'v': now}); "
        f"{INSERT.format('a')}; {{'deep': [now, {{'a': now}}]}}"
    )["deep"]
    stamp = ts[0]
    assert ts == [stamp, {"a": stamp}]
    assert it.query("loose") == [["a", [stamp, {"x": [1, stamp]}]], ["b", stamp]]
    assert it.query("names") == [["a", stamp]]


def test_what_looks_like_it_stays_as_it_is(it, run):
    fake = "bytes.fromhex('d7020000000000000000')"
    stamp = run(f"db.insert('loose', {{'name': 'a', 'v': [{fake}, now, {fake}]}}); [{fake}, now]")
    raw = bytes.fromhex("d7020000000000000000")
    assert stamp[0] == raw
    assert it.query("loose") == [["a", [raw, stamp[1], raw]]]


def test_in_its_transaction_it_is_itself_and_comes_last(it, run):
    run(INSERT.format("before"))
    listed = (
        "[[e.name, e.at is now, e.at == now] for e in db.query(Entry).with_index(Entry.by_at{})]"
    )
    run_all = f"{INSERT.format('own')}; "
    assert run(run_all + listed.format("") + " + [[e.name for e in "
               "db.query(Entry).with_index(Entry.by_at).order('desc')]]") == [
        ["before", False, False], ["own", True, True], ["own", "before"]
    ]  # fmt: skip
    run("db.delete(db.query(Entry).order('desc').first().id)")
    # Those that are pending can be asked for.
    assert run(run_all + listed.format(", at=now")) == [["own", True, True]]
    assert run(run_all + "ctx.run_query(behind, after=now, inclusive=True)") == ["own"]
    assert run(run_all + "ctx.run_query(behind, after=now)") == []
    assert run(run_all + "db.query(Entry).with_index(Entry.by_at, at=lt(now)).count()") == 4
    assert run("str(now)") == "commit_ts"


def test_writing_it_again_is_no_write(it, run):
    ts = run(f"given = {INSERT.format('a')}; [given, now]")
    before = it.deployment.engine.newest_ts
    again = "db.patch(given[0], at=given[1]); None"
    run(again, ts)
    assert it.deployment.engine.newest_ts == before
    later = run("db.patch(given[0], at=now); db.patch(given[0], at=now); now", ts)
    assert later > ts[1]
    assert it.query("names") == [["a", later]]
    changed = run("db.patch(given[0], seen=now, name='b'); db.patch(given[0], name='c'); now", ts)
    assert it.query("names") == [["c", later]]
    assert run("[db.get(given[0]).seen, db.get(given[0]).at]", ts) == [changed, later]
    assert run("db.replace(given[0], Entry(name='r', at=now)); now", ts) > changed
    # What a timestamp was may be written.
    run("db.patch(given[0], at=5)", ts)
    assert it.query("names") == [["r", 5]]


def test_calls_within_the_mutation_pass_it_on(it, run):
    stamp = run(
        "own = ctx.run_mutation(add, name='a', at=now); [own is now, "
        "ctx.run_mutation(add, name='b', at=own), ctx.run_query(behind, after=Int64(3))]"
    )
    assert stamp[0] is True
    assert stamp[2] == ["a", "b"]
    assert it.query("names") == [["a", stamp[1]], ["b", stamp[1]]]


def test_a_call_that_fails_leaves_nothing_of_it(it, run):
    assert run(
        f"{INSERT.format('kept')};\ntry:\n    ctx.run_mutation(add_and_fail, name='lost')\n"
        "except AppError:\n    pass\n; [e.name for e in db.query(Entry)]"
    ) == ["kept"]
    assert [name for name, _ in it.query("names")] == ["kept"]


def test_stale_queries_see_nothing_of_it(run):
    stale = "ctx.options(stale_snapshot=True).run_query(behind, after={})"
    assert run(f"{INSERT.format('a')}; {stale.format('Int64(3)')}") == []
    assert run(f"{INSERT.format('a')}; {stale.format('now')}") == []


def test_searches_are_filtered_by_it(it, run):
    found = "[e.at for e in db.query(Entry).with_search_index(Entry.search, 'word'{})]"
    write = "db.insert(Entry(name='word a', at=now, more=[now, 1])); "
    own = run(write + found.format(", at=now") + " + " + found.format(", more=[now, 1]"))
    first, second = own
    assert isinstance(first, Int64)
    assert first == second
    later = run(write + "now")
    assert run(found.format(f", at=Int64({first})")) == [first]
    assert run(found.format(f", more=[Int64({later}), 1]")) == [later]
    # Those that do not depend on when it was, too.
    assert sorted(run(found.format(""))) == [first, later]
    # What it was found by leads nowhere once it is another.
    run(f"db.patch(db.query(Entry).with_index(Entry.by_at, at=Int64({first})).unique().id, at=now)")
    assert run(found.format(f", at=Int64({first})")) == []
    assert len(run(found.format(""))) == 2
    run("[db.delete(entry.id) for entry in db.query(Entry)]; None")
    assert run(found.format("")) == []


def test_a_unique_index_takes_one_in_each_mutation(it, run):
    add = "db.insert(Entry(name='a', at=now, seen=now))"
    run(add)
    run(add)
    assert "UniqueIndexViolation" in it.failure(f"{add}; {add}")
    assert len(it.query("names")) == 2


def test_actions_and_resends_are_told_what_it_became(it, run):
    stamp = it.act(f"{INSERT.format('a')}; now")
    assert it.query("names") == [["a", stamp]]

    async def twice():
        call = call_of("script", code=f"{INSERT.format('b')}; [now, 'x']", given=None)
        session = SessionRequest(session=f"session {stamp}", request=1)
        runtime = it.deployment.runtime
        return [await runtime.mutation(call, session=session) for _ in range(2)]

    first, second = it.wait(twice())
    assert first.value == second.value
    assert unpack(first.value) == [Int64(first.ts), "x"]
    assert first.ts == second.ts
    assert it.query("names") == [["a", stamp], ["b", first.ts]]


def test_a_mutation_that_changes_nothing_returns_the_moment_that_it_saw(it, run):
    assert run("now") == it.deployment.engine.newest_ts


PAGE = "ctx.run_query(page, opts=PaginationOpts(num_items={}), index='{}')"


def test_no_cursor_says_where_it_will_be(it, run):
    run(INSERT.format("a"))
    two = f"{INSERT.format('b')}; {INSERT.format('c')}; "
    told = it.failure(two + PAGE.format(2, "by_at"))
    assert "a page of entries.by_at ends at a document whose place there is known when the" in told
    # Where its place is known, or the page goes to the end or stops before, all is well.
    assert run(f"{two}len({PAGE.format(2, 'by_creation_time')}.page)") == 2
    assert run(f"{two}len({PAGE.format(1, 'by_at')}.page)") == 1
    assert run(f"{two}len({PAGE.format(20, 'by_at')}.page)") == 7
    many = "[db.insert(Entry(name='d', at=now)) for _ in range(20)]; "
    assert run(f"{many}{PAGE.format(50, 'by_at')}.split_cursor is None") is True
    assert run(f"{many}{PAGE.format(80, 'by_creation_time')}.split_cursor is None") is False


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("db.insert(Wrong(at=now))", "declare what may hold it as CommitTs"),
        ("db.insert(Wrong(ms=now))", "declare what may hold it as CommitTs"),
        ("db.insert('wrong', {'count': now})", "Path: .count"),
        ("ctx.scheduler.run_after(0, add, name='a', at=now)", "commit_ts is not known before"),
        ("raise_ = AppError({'at': now});\nraise raise_\n; 1", "commit_ts is not known before"),
        ("now + 1", "CommitTsUnknown"),
        ("now > 3", "is no number before the mutation has committed"),
        ("db.query(Entry).filter(lambda e: e.at > 3).collect() if db.insert(Entry(name='a', at=now)) "
         "else 0", "is no number before the mutation has committed"),
        ("ctx.run_mutation(add, name=now, at=now)", "Path: .name"),
        ("db.get(now)", "InvalidArgument"),
        ("db.insert('loose', {now: 1})", "field names are strings"),
    ],
)  # fmt: skip
def test_where_it_cannot_be_is_said(it, run, code, told):
    assert told in it.failure(code)
    assert it.query("names") == []


def test_clients_cannot_send_one(tmp_path):
    with project_app(tmp_path, code=SOURCE) as app:
        core = app._core
        url = core.deployment.settings.cloud_url

        def ask(value):
            body = {"path": "code:names", "args": {"after": value}}
            return core.wait(core.request("POST", f"{url}/api/query", json=body))

        assert ask({"$integer": "BQAAAAAAAAA="}).json()["status"] == "success"
        refused = ask({"$commitTs": None})
        assert "exists only within the mutation that commits" in refused.text


def test_components_write_it_too(tmp_path):
    entries = """
        from typing import Any
        from camber import *

        class Line(Table, table="lines"):
            at: CommitTs
            by_at = Index("at")

        @mutation
        def add(ctx: MutationCtx, at: CommitTs, fails: bool = False) -> list[CommitTs]:
            ctx.db.insert(Line(at=at))
            ctx.db.insert(Line(at=ctx.db.vars.commit_ts))
            if fails:
                raise AppError("no")
            return [line.at for line in ctx.db.query(Line).with_index(Line.by_at)]

        @query
        def lines(ctx: QueryCtx) -> list[CommitTs]:
            return [line.at for line in ctx.db.query(Line).with_index(Line.by_at)]
    """
    write_component(tmp_path, "lines", entries=entries)
    code = """
        from typing import Any
        from camber import *
        from .app import lines

        @mutation
        def add(ctx: MutationCtx) -> Any:
            now = ctx.db.vars.commit_ts
            try:
                ctx.run_mutation(lines["entries:add"], at=now, fails=True)
            except AppError:
                pass
            found = ctx.run_mutation(lines["entries:add"], at=now)
            return [found, [each is now for each in found]]

        @query
        def all_lines(ctx: QueryCtx) -> Any:
            return ctx.run_query(lines["entries:lines"])
    """
    app = """
        from camber import *
        app = App()
        lines = app.use(Component("lines", path="lines"))
    """
    with project_app(tmp_path, code=code, app=app) as opened:
        first, own = opened.mutation("code:add")
        second, also_own = opened.mutation("code:add")
        assert own == [True, True]
        assert also_own == [False, False, True, True]
        assert first[0] == first[1] < second[2] == second[3]
        assert opened.query("code:all_lines") == second == [*first, *second[2:]]
