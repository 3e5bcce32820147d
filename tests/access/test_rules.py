"""Row rules: each way to read and to write asks them, and what they forbid is as if it was not there."""

from __future__ import annotations

import re
from itertools import chain

import pytest

from camber.errors import AppError, FunctionError
from camber.functions.loading import LoadError
from camber.testing import TestApp
from tests.functions.projects import project_app, write_project

SCHEMA = """
    from camber import *

    class Note(Table, table="notes"):
        owner: str
        body: str
        shared: bool = False
        by_owner = Index("owner")
        by_body = Index("body", unique=True)
        search_body = SearchIndex("body")

    class Team(Table, table="teams"):
        name: str
        members: list[str]
        by_name = Index("name")

    class Plan(Table, table="plans"):
        team: str
        text: str

    class Secret(Table, table="secrets"):
        text: str

    class Forgotten(Table, table="forgotten"):
        text: str
"""
ACCESS = """
    from camber import *
    from .schema import Forgotten, Note, Plan, Secret, Team

    access = Access(default="deny")

    def caller(ctx: QueryCtx) -> str | None:
        user = ctx.auth.get_user_identity()
        return None if user is None else user.subject

    @guard
    def admin(ctx: QueryCtx) -> bool:
        return caller(ctx) == "admin"

    @row_rule
    def owner(ctx: QueryCtx, note: Note) -> bool:
        return note.owner == caller(ctx)

    @row_rule
    def shared(ctx: QueryCtx, note: Note) -> bool:
        return note.shared

    ASKED: list[str] = []

    @remembered
    def teams(ctx: QueryCtx, who: str | None) -> frozenset[str]:
        ASKED.append(str(who))
        return frozenset(team.name for team in ctx.db.query(Team) if who in team.members)

    def of_team(ctx: QueryCtx, plan: Plan) -> bool:
        return plan.team in teams(ctx, caller(ctx))

    def keeps_team(ctx: QueryCtx, old: Plan, new: Plan) -> bool:
        return of_team(ctx, old) and old.team == new.team and old.id == new.id

    access.table(Note, read=owner | shared | admin, write=owner | admin)
    access.table(Team, read=anyone, write=admin)
    access.table(Plan, read=of_team, insert=of_team, update=keeps_team)
    access.table(Secret, read=admin, write=admin)
    access.table("loose", read=lambda ctx, row: row.get("owner") == caller(ctx), insert=anyone)
"""
CODE = """
    from typing import Any
    from camber import *
    from .schema import Forgotten, Note, Plan, Secret, Team

    def dump(value: Any) -> Any:
        if isinstance(value, list):
            return [dump(item) for item in value]
        return value.to_dict() if isinstance(value, Table) else value

    @query
    def reading(ctx: QueryCtx, code: str, given: Any = None) -> Any:
        return dump(eval(code, {**globals(), "ctx": ctx, "db": ctx.db, "given": given}))

    @mutation
    def script(ctx: MutationCtx, code: str, given: Any = None) -> Any:
        scope = {**globals(), "ctx": ctx, "db": ctx.db, "given": given}
        *lines, last = code.split(";")
        for line in lines:
            exec(line.strip(), scope)
        return dump(eval(last.strip(), scope))

    @query
    def page(ctx: QueryCtx, opts: PaginationOpts) -> Page[Note]:
        return ctx.db.query(Note).paginate(opts)

    @query
    def stale(ctx: QueryCtx) -> list[str]:
        return [note.body for note in ctx.db.query(Note)]

    @action
    async def by_action(ctx: ActionCtx) -> list[str]:
        return await ctx.run_query(stale)
"""
FORBIDDEN = {"code": "Forbidden", "message": "You may not do this"}


def seeded(app: TestApp) -> dict[str, str]:
    code = """
    a1 = db.unrestricted.insert(Note(owner="ann", body="a1"));
    a2 = db.unrestricted.insert(Note(owner="ann", body="a2", shared=True));
    b1 = db.unrestricted.insert(Note(owner="bob", body="b1"));
    b2 = db.unrestricted.insert(Note(owner="bob", body="b2", shared=True));
    t = db.unrestricted.insert(Team(name="red", members=["ann"]));
    p = db.unrestricted.insert(Plan(team="red", text="p"));
    s = db.unrestricted.insert(Secret(text="s"));
    f = db.unrestricted.insert(Forgotten(text="f"));
    l = db.unrestricted.insert("loose", {"owner": "ann"});
    dict(a1=a1, a2=a2, b1=b1, b2=b2, t=t, p=p, s=s, f=f, l=l)
    """
    return app.mutation("code:script", code=code.replace("\n    ", " "))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    root = tmp_path_factory.mktemp("rules")
    with project_app(root, schema=SCHEMA, access=ACCESS, code=CODE) as app:
        yield app, seeded(app)


@pytest.fixture
def app(shared):
    return shared[0]


@pytest.fixture
def ids(shared):
    return shared[1]


@pytest.fixture
def ann(app):
    return app.with_identity(subject="ann")


def read(app, code, given=None):
    return app.query("code:reading", code=code, given=given)


def denial(call, *args, **kwargs):
    with pytest.raises(AppError) as raised:
        call(*args, **kwargs)
    return raised.value.data


# What ann sees of the notes is a1, a2 and b2; each way to read is a line.
WAYS_TO_READ = {
    "collect": ("db.query(Note).collect()", ["a1", "a2", "b2"]),
    "by name": ("db.query('notes').collect()", ["a1", "a2", "b2"]),
    "take": ("db.query(Note).take(3)", ["a1", "a2", "b2"]),
    "first": ("[db.query(Note).with_index(Note.by_owner, owner='bob').first()]", ["b2"]),
    "unique": ("[db.query(Note).with_index(Note.by_owner, owner='bob').unique()]", ["b2"]),
    "index": ("db.query(Note).with_index(Note.by_body, body=gt('a1')).collect()", ["a2", "b2"]),
    "descending": ("db.query(Note).order('desc').collect()", ["b2", "a2", "a1"]),
    "iteration": ("[note for note in db.query(Note)]", ["a1", "a2", "b2"]),
    "iteration, backwards": ("[note for note in db.query(Note).order('desc')]", ["b2", "a2", "a1"]),
    "filter": ("db.query(Note).filter(lambda note: note.body != 'a1').collect()", ["a2", "b2"]),
    "paginate": ("db.query(Note).paginate(PaginationOpts(num_items=9)).page", ["a1", "a2", "b2"]),
    "search": (
        "db.query(Note).with_search_index(Note.search_body, 'a2 a1 a').collect()",
        ["a2", "a1"],
    ),
    "nested": ("[{'body': body} for body in ctx.run_query(stale)]", ["a1", "a2", "b2"]),
}


@pytest.mark.parametrize("way", WAYS_TO_READ)
def test_a_way_to_read_shows_what_may_be_read(app, ann, ids, way):
    code, expected = WAYS_TO_READ[way]
    assert [row["body"] for row in read(ann, code)] == expected
    # In a mutation, where own writes are laid over.
    ids_of = ann.mutation("code:script", code=code)
    assert [row["body"] for row in ids_of] == expected


def test_a_count_counts_what_may_be_read(ann, app):
    assert read(ann, "db.query(Note).count()") == 3
    assert read(app, "db.query(Note).count()") == 2
    assert read(app, "db.query(Secret).count()") == 0


def test_a_search_shows_no_hidden_row(app, ann):
    # `b` begins b1, which is bob's, and b2, which he shares.
    search = "db.query(Note).with_search_index(Note.search_body, 'b')"
    bob = app.with_identity(subject="bob")
    for who, expected in ((ann, ["b2"]), (bob, ["b2", "b1"]), (app, ["b2"])):
        for way in ("collect()", "take(9)", "paginate(PaginationOpts(num_items=9)).page"):
            assert [row["body"] for row in read(who, f"{search}.{way}")] == expected
        assert read(who, f"{search}.first()")["body"] == expected[0]
        assert read(who, f"{search}.count()") == len(expected)
        # By its very words neither.
        hidden = read(who, "db.query(Note).with_search_index('search_body', 'b1').collect()")
        assert [row["body"] for row in hidden] == [body for body in expected if body == "b1"]


def test_get_finds_what_may_be_read(ann, ids):
    assert read(ann, "db.get(given)", ids["b2"])["body"] == "b2"
    assert read(ann, "db.get(given)", ids["b1"]) is None


def test_a_stale_snapshot_is_read_by_the_rules_too(ann):
    code = "ctx.options(stale_snapshot=True).run_query(stale)"
    assert ann.mutation("code:script", code=code) == ["a1", "a2", "b2"]


def test_an_action_sees_no_more_than_its_queries(ann):
    assert ann.action("code:by_action") == ["a1", "a2", "b2"]


def test_a_filter_of_the_author_is_not_shown_what_may_not_be_read(ann):
    code = "db.query(Note).filter(lambda note: {'b1': 1 / 0}[note.body]).collect()"
    with pytest.raises(FunctionError, match="ZeroDivisionError"):
        read(ann, code)
    code = "db.query(Note).filter(lambda note: note.body != 'b1' or 1 / 0).collect()"
    assert len(read(ann, code)) == 3


def test_default_deny_closes_tables_that_nobody_thought_of(app, ann, ids):
    admin = app.with_identity(subject="admin")
    for who in (app, ann, admin):
        assert read(who, "db.query(Forgotten).collect()") == []
        assert read(who, "db.get(given)", ids["f"]) is None
        assert (
            denial(who.mutation, "code:script", code="db.insert(Forgotten(text='x'))") == FORBIDDEN
        )
        assert denial(who.mutation, "code:script", code="db.insert('other', {})") == FORBIDDEN
        with pytest.raises(FunctionError, match="NonexistentDocument"):
            who.mutation("code:script", code="db.delete(given)", given=ids["f"])


def test_a_table_that_one_may_not_read_is_not_scanned(ann, app):
    assert read(ann, "db.query(Secret).collect()") == []
    used = "(db.query(Secret).collect(), ctx.meta.get_transaction_metrics().documents_read.used)"
    assert read(ann, used) == [[], 0]
    assert [
        s["text"] for s in read(app.with_identity(subject="admin"), "db.query(Secret).collect()")
    ] == ["s"]


def test_undeclared_tables_have_rules_by_their_name(app, ann):
    assert [row["owner"] for row in read(ann, "db.query('loose').collect()")] == ["ann"]
    assert read(app, "db.query('loose').collect()") == []


def test_unrestricted_is_the_way_around(ann, ids):
    assert len(read(ann, "db.unrestricted.query(Note).collect()")) == 4
    assert read(ann, "db.unrestricted.get(given)", ids["s"])["text"] == "s"
    assert read(ann, "ctx.unrestricted.db.get(given)", ids["s"])["text"] == "s"
    assert read(ann, "(ctx.unrestricted.db.query(Note).count(), ctx.db.query(Note).count())") == [
        4,
        3,
    ]
    code = "ctx.unrestricted.db.patch(given, body='b1'); db.unrestricted.query(Note).count()"
    assert ann.mutation("code:script", code=code, given=ids["b1"]) == 4
    code = "db.unrestricted.patch(given, body='b1'); db.unrestricted.query(Note).count()"
    assert ann.mutation("code:script", code=code, given=ids["b1"]) == 4


# What ann may not write, and what she is told. `hidden` rows are as if they were not there.
REFUSED = {
    "insert another's": ("db.insert(Note(owner='bob', body='x'))", "b2"),
    "insert another's, by name": ("db.insert('notes', {'owner': 'bob', 'body': 'x'})", "b2"),
    "patch another's": ("db.patch(given, body='x')", "b2"),
    "replace another's": ("db.replace(given, Note(owner='ann', body='x'))", "b2"),
    "delete another's": ("db.delete(given)", "b2"),
    "give away": ("db.patch(given, owner='bob')", "a1"),
    "give away by replace": ("db.replace(given, Note(owner='bob', body='x'))", "a1"),
    "patch in vain": ("db.patch(given, body='b2')", "b2"),
    "change a team's name": ("db.patch(given, name='x')", "t"),
    "move a plan": ("db.patch(given, team='blue')", "p"),
    "delete without a rule": ("db.delete(given)", "p"),
}


@pytest.mark.parametrize("write", REFUSED)
def test_a_write_that_may_not_be_is_refused(app, ann, ids, write):
    code, row = REFUSED[write]
    before = read(app, "db.unrestricted.get(given)", ids[row])
    assert denial(ann.mutation, "code:script", code=code, given=ids[row]) == FORBIDDEN
    assert read(app, "db.unrestricted.get(given)", ids[row]) == before
    assert read(app, "db.unrestricted.query(Note).count()") == 4


@pytest.mark.parametrize(
    "code", ["db.patch(given, body='x')", "db.replace(given, {})", "db.delete(given)"]
)
def test_a_hidden_row_is_told_of_like_one_that_is_not_there(app, ann, ids, code):
    def told(who, id):
        with pytest.raises(FunctionError) as raised:
            who.mutation("code:script", code=code, given=id)
        return re.sub(r"Request ID: \w+", "", str(raised.value)).replace(id, "…")

    gone = app.mutation(
        "code:script",
        code="i = db.unrestricted.insert(Note(owner='x', body='x')); db.unrestricted.delete(i); i",
    )
    assert told(ann, ids["b1"]) == told(ann, gone)


def test_what_may_be_written_is(ann, ids):
    code = "i = db.insert(Note(owner='ann', body='n')); db.patch(i, body='m'); n = db.get(i); db.delete(i); n"
    assert ann.mutation("code:script", code=code)["body"] == "m"
    assert ann.mutation("code:script", code="db.patch(given, text='q')", given=ids["p"]) is None
    ann.mutation("code:script", code="db.patch(given, text='p')", given=ids["p"])


def test_a_denied_write_undoes_the_mutation_unless_it_is_caught(app, ann):
    code = "db.insert(Note(owner='ann', body='n1')); db.insert(Note(owner='bob', body='n2'))"
    denial(ann.mutation, "code:script", code=code)
    assert read(app, "db.unrestricted.query(Note).count()") == 4


def test_a_unique_index_does_not_tell_which_hidden_row_it_was(ann, ids):
    def told(body):
        with pytest.raises(FunctionError, match="UniqueIndexViolation") as raised:
            ann.mutation("code:script", code=f"db.insert(Note(owner='ann', body='{body}'))")
        return str(raised.value)

    assert ids["b2"] in told("b2")
    assert ids["b1"] not in told("b1")


def test_own_writes_change_who_may(app, ann):
    """What a rule remembers is forgotten with the next write, and with its undoing."""
    code = """
    seen = [db.query(Plan).count()];
    team = db.query(Team).first();
    db.unrestricted.patch(team.id, members=[]);
    seen.append(db.query(Plan).count());
    db.unrestricted.patch(team.id, members=["ann"]);
    seen + [db.query(Plan).count()]
    """
    assert ann.mutation("code:script", code=code.replace("\n    ", " ")) == [1, 0, 1]


def test_what_is_the_same_for_many_rows_is_asked_once(app, tmp_path):
    with project_app(tmp_path, schema=SCHEMA, access=ACCESS, code=CODE) as own:
        code = "[db.unrestricted.insert(Plan(team='red', text=str(i))) for i in range(20)]"
        own.mutation("code:script", code=f"x = {code}; 1")
        asked = "(db.query(Plan).collect(), db.query(Plan).count(), __import__('importlib').import_module(Note.__module__.replace('schema', 'access')).ASKED)"
        assert read(own.with_identity(subject="cat"), asked) == [[], 0, ["cat"]]


def test_a_watched_query_follows_what_its_rules_have_read(app, tmp_path):
    with project_app(tmp_path, schema=SCHEMA, access=ACCESS, code=CODE) as own:
        ids = seeded(own)
        dan = own.with_identity(subject="dan")
        watched = dan.subscribe("code:reading", code="[p.text for p in db.query(Plan)]")
        assert watched.value == []
        code = "db.unrestricted.patch(given, members=['ann', 'dan'])"
        own.mutation("code:script", code=code, given=ids["t"])
        assert watched.value == ["p"]
        own.mutation(
            "code:script", code="db.unrestricted.patch(given, team='blue')", given=ids["p"]
        )
        assert watched.value == []
        watched.close()


def test_two_callers_never_share_what_they_see(app, ann):
    code = "[n.body for n in db.query(Note)]"
    assert read(ann, code) == ["a1", "a2", "b2"]
    assert read(app.with_identity(subject="bob"), code) == ["a2", "b1", "b2"]
    assert read(app, code) == ["a2", "b2"]


# Pages.


def pages(app, num_items, **options):
    found, cursor, steps = [], None, 0
    while True:
        opts = {"numItems": num_items, "cursor": cursor, **options}
        page = app.query("code:page", paginationOpts=opts)
        found.append([note.body for note in page.page])
        steps += 1
        assert steps < 100
        if page.is_done:
            return found
        cursor = page.continue_cursor


def test_pages_go_on_over_what_is_hidden(tmp_path):
    with project_app(tmp_path, schema=SCHEMA, access=ACCESS, code=CODE) as own:
        code = """
        rows = [db.unrestricted.insert(Note(owner="ann" if i % 10 == 0 else "bob", body=f"{i:04}")) for i in range(200)];
        1
        """
        own.mutation("code:script", code=code.replace("\n        ", " "))
        ann = own.with_identity(subject="ann")
        expected = [f"{i:04}" for i in range(0, 200, 10)]
        assert pages(ann, 7)[:2] == [expected[:7], expected[7:14]]
        assert list(chain.from_iterable(pages(ann, 7))) == expected
        # Rows that are hidden count as read: such a page may be empty, and goes on all the same.
        few = pages(ann, 7, maximumRowsRead=4)
        assert [] in few
        assert list(chain.from_iterable(few)) == expected


# Rules that fail.


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("lambda ctx, note: ctx.db.query(Note)", "InvalidRule"),
        ("lambda ctx, note: note.owner", "InvalidRule"),
        ("lambda ctx, note: None", "InvalidRule"),
        ("lambda ctx, note: note.nothing == 1", "AttributeError"),
        ("lambda ctx, note: ctx.db.insert(note)", "AttributeError"),
    ],
)
def test_a_rule_that_fails_shows_nothing(tmp_path, rule, told):
    access = f"""
    from camber import *
    from .schema import Note
    access = Access()
    access.table(Note, read={rule})
    """
    with project_app(tmp_path, schema=SCHEMA, access=access, code=CODE) as own:
        own.mutation("code:script", code="db.insert(Note(owner='a', body='b'))")
        with pytest.raises(FunctionError, match=told):
            read(own, "db.query(Note).collect()")


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ("Access(default='open')", '"allow" or "deny"'),
        ("access.table(Note, read=signed_in and anyone)", "with &, | and ~"),
        (
            "access.table(Note, read=lambda note: True)",
            "a row rule is a function of a context and a row",
        ),
        ("access.table(Note, update=lambda ctx: True)", "an update's rule is a function of"),
        ("access.table(Note, read=3)", "3 is no row rule"),
        ("access.table(Note); access.table('notes')", "has rules already"),
        ("access.table(Table)", "is no table"),
        ("access.table('a b')", "cannot name a table"),
        ("access.table('_tables', read=anyone)", "Camber's own"),
        ("access.table(StoredFile, insert=nobody)", "insert= of '_storage'"),
        ("access.table(ScheduledFunction, delete=nobody)", "delete= of '_scheduled_functions'"),
        (
            "access.table(Note, read=guard(lambda ctx, room: True))",
            "looks at arguments .room., and read= of table 'notes' has none",
        ),
        (
            "access.table(Note, read=row_rule(lambda c, n: True) & guard(lambda ctx, room: True))",
            "looks at arguments .room., and a row rule has none",
        ),
    ],
)
def test_what_cannot_be_a_rule_is_refused_when_it_loads(tmp_path, declared, told):
    access = f"""
    from camber import *
    from .schema import Note
    access = Access()
    {declared}
    """
    with pytest.raises(LoadError, match=told):
        TestApp(write_project(tmp_path, schema=SCHEMA, access=access))


@pytest.mark.parametrize("module", ["rules", "_rules", "schema2"])
def test_rules_that_would_never_be_asked_are_refused(tmp_path, module):
    modules = {module: "from camber import *\nanything = Access(default='deny')\n"}
    code = f"from . import {module}"
    with pytest.raises(LoadError, match="an attribute of the module `access`"):
        TestApp(write_project(tmp_path, code=code, **modules))


def test_an_async_rule_is_refused(tmp_path):
    access = """
    from camber import *
    from .schema import Note
    access = Access()
    async def later(ctx, note): return False
    access.table(Note, read=later)
    """
    with pytest.raises(LoadError, match="later is an `async def`"):
        TestApp(write_project(tmp_path, schema=SCHEMA, access=access))
