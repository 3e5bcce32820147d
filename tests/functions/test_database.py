"""`ctx.db`: what it returns, and which error each misuse gets (semantics 1.6, 1.7, 3.1, 3.2)."""

from __future__ import annotations

import pytest

from camber.errors import AppError, FunctionError
from tests.functions.projects import project_app

SCHEMA = """
    from camber import Id, Index, Int64, Table, field

    class Person(Table, table="people"):
        name: str
        age: int = 0
        email: str | None = None
        friend: "Id[Person] | None" = None
        tag: str = field(name="from", default="")

        by_name = Index("name", "age")
        by_email = Index("email", unique=True)
        later = Index("age", staged=True)

    class Event(Table, table="events", strict=False):
        kind: str
"""
FUNCTIONS = """
    from typing import Any
    from camber import *
    from .schema import Event, Person

    DEAD = "j57000820c20a1g7104gm2rc1m70ynr8"

    @mutation
    def script(ctx: MutationCtx, code: str, given: Any = None) -> Any:
        scope = {**globals(), "ctx": ctx, "db": ctx.db, "given": given}
        *lines, last = code.split(";")
        for line in lines:
            exec(line.strip(), scope)
        return eval(last.strip(), scope)

    @query
    def reading(ctx: QueryCtx, code: str, given: Any = None) -> Any:
        return eval(code, {**globals(), "ctx": ctx, "db": ctx.db, "given": given})
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    root = tmp_path_factory.mktemp("database")
    with project_app(root, schema=SCHEMA, code=FUNCTIONS) as opened:
        yield opened


@pytest.fixture
def run(app):
    return lambda code, given=None: app.mutation("code:script", code=code, given=given)


def person(name):
    return f'db.insert(Person(name="{name}"))'


def test_a_document_is_read_as_it_was_written(run):
    assert run(
        'id = db.insert(Person(name="a", age=3, tag="t")); p = db.get(id);'
        "[p.name, p.age, p.tag, p.email, p.id == id, type(p.creation_time).__name__]"
    ) == ["a", 3, "t", None, True, "float"]


def test_wire_names_reach_documents_of_other_fields(run):
    assert run('id = db.insert("people", {"name": "a", "from": "x"}); db.get(id).tag') == "x"
    assert run('id = db.insert(Person, {"name": "a", "tag": "x"}); db.get(id).tag') == "x"
    patched = 'id = db.insert(Person(name="a")); db.patch(id, {"from": "y"}); db.get(id).tag'
    assert run(patched) == "y"
    assert run('id = db.insert(Person(name="a")); db.patch(id, tag="z"); db.get(id).tag') == "z"


def test_patch_merges_and_unset_removes(run):
    made = 'id = db.insert("loose", {"a": 1, "b": {"c": 2}})'
    assert run(f'{made}; db.patch(id, b={{"d": 3}}); db.get(id)["b"]') == {"d": 3}
    assert run(f'{made}; db.patch(id, a=UNSET); "a" in db.get(id)') is False
    assert run(f"{made}; db.patch(id, a=None); db.get(id)['a']") is None
    assert (
        run('id = db.insert(Person(name="a", age=9)); db.patch(id, age=UNSET); db.get(id).age') == 0
    )


def test_replace_keeps_id_and_creation_time_only(run):
    made = 'id = db.insert("loose", {"a": 1}); before = db.get(id)'
    after = run(f'{made}; db.replace(id, {{"b": 2}}); [before, db.get(id)]')
    assert after[1] == {"_id": after[0]["_id"], "_creationTime": after[0]["_creationTime"], "b": 2}
    # The stored document itself may be given back.
    assert run(f'{made}; db.replace(id, {{**before, "a": 5}}); db.get(id)["a"]') == 5


def test_tables_that_keep_undeclared_fields(run):
    made = 'id = db.insert(Event, {"kind": "k", "x": 1}); e = db.get(id)'
    assert run(f'{made}; [e.kind, e.extra, e["x"]]') == ["k", {"x": 1}, 1]
    assert run(f"{made}; db.patch(id, y=2); db.get(id).to_dict()['y']") == 2


def test_normalize_id(run):
    made = 'id = db.insert(Person(name="a"))'
    assert run(f'{made}; [db.normalize_id("people", id) == id, db.normalize_id("loose", id)]') == [
        True,
        None,
    ]
    for text in ('""', '"x"', "None", "3"):
        assert run(f"db.normalize_id(Person, {text})") is None
    assert run('db.normalize_id("never_made", DEAD)') is None


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("db.get(3)", "InvalidArgument.*argument `id`"),
        ('db.get("nonsense")', "InvalidArgument.*argument `id`.*is not a document id"),
        ('db.query("_storage")', "SystemTableError"),
        ('db.query("_tables")', "SystemTableError"),
        ('db.system.query("people")', "SystemTableError"),
        ("db.system.get(given)", "SystemTableError"),
        ('db.insert("_mine", {})', "SystemTableError"),
        ('db.insert("1st", {})', "InvalidTableName"),
        ('db.insert("loose", 3)', "InvalidArgument.*not int"),
        ('db.insert("loose", {"_id": given})', "InvalidIdError"),
        ('db.insert("loose", {"_creationTime": 1})', "InvalidCreationTimeError"),
        ('db.insert("loose", {"_x": 1})', "InvalidFieldName"),
        ('db.insert("loose", {"a": {1}})', "is not a supported Convex type"),
        ('db.insert("loose", {"$a": 1})', "starts with"),
        ("db.insert(db.get(given))", "InvalidIdError"),
        ('db.insert("people", {})', "SchemaEnforcementError.*required field `name`"),
        ('db.insert("people", {"name": 3})', "SchemaEnforcementError.*Path: .name"),
        (
            'db.insert("people", {"name": "a", "nope": 3})',
            "SchemaEnforcementError.*extra field `nope`",
        ),
        ('db.insert(Person(name="a", friend="x"))', "SchemaEnforcementError"),
        (
            'db.insert(Person(name="a", friend=db.insert("loose", {})))',
            "of table 'loose', not of 'people'",
        ),
        ("db.patch(DEAD, a=1)", "NonexistentDocument|InvalidArgument"),
        ("db.patch(given, name=3)", "SchemaEnforcementError.*Path: .name"),
        ("db.patch(given, nope=3)", "SchemaEnforcementError.*extra field"),
        ("db.patch(given, name=UNSET)", "SchemaEnforcementError.*required field `name`"),
        ('db.patch(given, {"_id": DEAD})', "InvalidIdError"),
        ('db.patch(given, {"_creationTime": 1})', "InvalidCreationTimeError"),
        ("db.delete(given); db.delete(given)", "NonexistentDocument.*delete"),
        ("db.delete(given); db.replace(given, Person(name='x'))", "NonexistentDocument.*replace"),
        ('db.replace(given, Event(kind="x"))', "InvalidTable"),
        ("db.query(Person).take(-1)", "InvalidArgument"),
        ("db.query(Person).take(1.5)", "InvalidArgument"),
        ('db.query(Person).order("up")', "InvalidArgument"),
        ('db.query(Person).order("asc").order("asc")', "InvalidQuery"),
        ("db.query(Person).unique()", "NotUnique.*j"),
        ('db.query(Person).with_index("nope").first()', "IndexNotFoundError.*people.nope"),
        ("db.query(Person).with_index(Person.later).first()", "IndexStagedError"),
        ("db.query(Event).with_index(Person.by_name).first()", "IndexNotFoundError"),
        (
            "db.query(Person).with_index(Person.by_name, age=1).first()",
            "InvalidIndexRange.*name, age",
        ),
        (
            "db.query(Person).with_index(Person.by_name, name=gt(1), age=1).first()",
            "InvalidIndexRange",
        ),
        (
            "db.query(Person).with_index(Person.by_name, name=gt(1), age=lt(1)).first()",
            "BoundsOnMultipleFields",
        ),
        (
            "db.query(Person).with_index(Person.by_name, nope=1).first()",
            "FieldNotInIndex.*by_name.*nope",
        ),
        ("gt(1) & gte(2)", "AlreadyDefinedBound"),
        ("q = db.query(Person); q.first(); q.first()", "InvalidQuery"),
        ("q = db.query(Person); q.order('asc'); q.first()", "InvalidQuery"),
        ("db.query(Person).paginate(PaginationOpts(num_items=0))", "NoDocumentsForPagination"),
        ("db.query(Person).paginate(PaginationOpts(num_items=32001))", "PageSizeTooLarge"),
        (
            "db.query(Person).paginate(PaginationOpts(num_items=1, maximum_rows_read=0))",
            "InvalidPaginationLimit",
        ),
        ("db.get(given).nope", "AttributeError"),
        ("setattr(db.get(given), 'name', 'x')", "frozen.*ctx.db.patch"),
        ("Person(name='x').id", "has not been inserted"),
        ("ctx.env['NOPE']", "KeyError.*NOPE"),
        ("ctx.run_query('code:nothing')", "FunctionNotFound"),
        ("ctx.run_query('code:script', code='1')", "InvalidFunctionCall"),
        ("ctx.run_mutation('code:script', nope=1)", "Uncaught Error: code:script failed: Argument"),
    ],
)
def test_misuse_is_told(run, code, told):
    run(person("somebody"))
    given = run(person("else"))
    with pytest.raises(FunctionError, match=f"(?s){told}"):
        run(code, given)


def test_ids_of_nothing_are_none(run):
    assert run('id = db.insert(Person(name="a")); db.delete(id); db.get(id)') is None


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ('name="m"', [1, 2, 3]),
        ('name="m", age=2', [2]),
        ('name="m", age=gt(1)', [2, 3]),
        ('name="m", age=gte(2)', [2, 3]),
        ('name="m", age=lt(2)', [1]),
        ('name="m", age=lte(2)', [1, 2]),
        ('name="m", age=gt(1) & lt(3)', [2]),
        ('name="m", age=gt(3) & lt(1)', []),
        ('name="m", age=gt(2.5)', [3]),
        ('name="m", age=gt("text")', []),
        ('name="m", age=lt("text")', [1, 2, 3]),
        ('name="m", age=UNSET', []),
        ('{"name": "m", "age": 3}', [3]),
        ('name="m", age=2, creation_time=gt(0)', [2]),
        ('name="m", age=2, creation_time=lt(0)', []),
    ],
)
def test_conditions_select(app, run, conditions, expected):
    if (
        app.query("code:reading", code='db.query(Person).with_index("by_name", name="m").count()')
        == 0
    ):
        run("[db.insert(Person(name='m', age=n)) for n in (3, 1, 2)]")
    code = f"[p.age for p in db.query(Person).with_index(Person.by_name, {conditions})]"
    assert app.query("code:reading", code=code) == expected
    descending = code.replace(")]", ').order("desc")]')
    assert app.query("code:reading", code=descending) == expected[::-1]


def test_filters_and_ends(app, run):
    run("[db.insert('numbers', {'n': n}) for n in range(10)]")
    read = lambda code: app.query("code:reading", code=code)  # noqa: E731
    even = "db.query('numbers').filter(lambda d: d['n'] % 2 == 0)"
    assert read(f"[d['n'] for d in {even}.take(3)]") == [0, 2, 4]
    assert read(f"{even}.filter(lambda d: d['n'] > 4).first()['n']") == 6
    assert read(f"{even}.count()") == 5
    assert read("db.query('numbers').filter(lambda d: d['n'] == 3).unique()['n']") == 3
    assert read("db.query('numbers').filter(lambda d: False).first()") is None
    assert read("[d['n'] for d in db.query('numbers').order('desc')][:2]") == [9, 8]
    assert read("db.query('never').collect()") == []
    assert read("db.query('never').with_index('any', x=1).first()") is None
    assert read("db.system.query('_storage').collect()") == []


def test_unique_indexes_are_kept(run):
    run('db.insert(Person(name="a", email="a@x"))')
    with pytest.raises(FunctionError, match=r"UniqueIndexViolation.*people\.by_email"):
        run('db.insert(Person(name="b", email="a@x"))')
    other = run('db.insert(Person(name="c", email="c@x"))')
    with pytest.raises(FunctionError, match="UniqueIndexViolation"):
        run('db.patch(given, email="a@x")', other)
    run('db.patch(given, name="cc")', other)
    run('db.replace(given, Person(name="d", email="c@x"))', other)
    # What has none is exempt.
    run('[db.insert(Person(name="e")) for _ in range(2)]')


def test_sub_transactions_within_a_mutation(tmp_path):
    with project_app(
        tmp_path,
        code="""
            from camber import *

            @mutation
            def deep(ctx: MutationCtx, left: int) -> int:
                ctx.db.insert("steps", {"left": left})
                return ctx.run_mutation(deep, left=left - 1) + 1 if left else 0

            @mutation
            def fails(ctx: MutationCtx, how: str) -> None:
                ctx.db.insert("steps", {"left": -1})
                if how == "app":
                    raise AppError({"code": 1})
                raise ValueError("inner")

            @mutation
            def catches(ctx: MutationCtx, how: str) -> list:
                try:
                    ctx.run_mutation(fails, how=how)
                except AppError as error:
                    return ["app", error.data]
                except Exception as error:
                    return [type(error).__name__, str(error)]

            @query
            def steps(ctx: QueryCtx) -> int:
                return ctx.db.query("steps").count()
        """,
    ) as app:
        assert app.mutation("code:deep", left=8) == 8
        with pytest.raises(FunctionError, match="MaximumCallDepthExceeded"):
            app.mutation("code:deep", left=9)
        assert app.query("code:steps") == 9
        assert app.mutation("code:catches", how="app") == ["app", {"code": 1}]
        kind, text = app.mutation("code:catches", how="other")
        assert kind == "FunctionError"
        assert "code:fails failed: ValueError: inner" in text
        assert app.query("code:steps") == 9
        with pytest.raises(AppError):
            app.mutation("code:fails", how="app")


def test_variables_and_identity(tmp_path):
    with project_app(
        tmp_path,
        code="""
            from camber import *

            @query
            def read(ctx: QueryCtx, name: str) -> str | None:
                return ctx.env.get(name)

            @query
            def me(ctx: QueryCtx) -> str | None:
                user = ctx.auth.get_user_identity()
                return user and f"{user.subject} {user.name} {user.claims.get('role')}"
        """,
    ) as app:
        assert app.query("code:read", name="KEY") is None
        assert app.query("code:read", name="CONVEX_CLOUD_URL").startswith("http://")
        assert app.query("code:me") is None
        ada = app.with_identity(subject="ada", name="Ada", role="owner")
        assert ada.query("code:me") == "ada Ada owner"
        assert app.query("code:me") is None


def test_pages_end_before_a_limit_does(app, run, monkeypatch):
    from camber import limits

    run("[db.insert('wide', {'n': n}) for n in range(40)]")
    monkeypatch.setattr(limits, "documents_read_max", 20)
    page = "db.query('wide').paginate(PaginationOpts(num_items=30))"
    found = app.query("code:reading", code=page)
    assert (len(found["page"]), found["pageStatus"], found["isDone"]) == (
        20,
        "SplitRequired",
        False,
    )
    rest = "db.query('wide').paginate(PaginationOpts(num_items=4, cursor=given))"
    found = app.query("code:reading", code=rest, given=found["continueCursor"])
    assert [d["n"] for d in found["page"]] == [20, 21, 22, 23]
    # A page whose end is given is cut short as well, and says so: the client splits it.
    end = found["continueCursor"]
    for items in (4, 30):
        opts = f"PaginationOpts(num_items={items}, end_cursor=given, maximum_rows_read=8)"
        part = app.query("code:reading", code=f"db.query('wide').paginate({opts})", given=end)
        assert (len(part["page"]), part["pageStatus"]) == (8, "SplitRequired")
        assert part["continueCursor"] == end
    few = "db.query('wide').paginate(PaginationOpts(num_items=30, maximum_rows_read=8))"
    found = app.query("code:reading", code=few)
    assert (len(found["page"]), found["pageStatus"]) == (8, "SplitRequired")
    exact = "db.query('wide').filter(lambda d: d['n'] < 3).paginate(PaginationOpts(num_items=3))"
    found = app.query("code:reading", code=exact)
    assert (len(found["page"]), found["isDone"]) == (3, False)


def test_a_function_that_nears_a_limit_says_so(app, run, monkeypatch):
    from camber import limits
    from camber.functions.definition import FunctionKind

    run("[db.insert('near', {'n': n}) for n in range(9)]")
    monkeypatch.setattr(limits, "documents_read_max", 10)
    _, call = app._core.call(
        "code:reading", (), {"code": "db.query('near').count()"}, app._identity
    )
    done = app._core.wait(app._core.deployment.runtime.run(call, FunctionKind.QUERY))
    assert done.log_lines == (
        "[WARN] warning:TooManyDocumentsRead code:reading used 9 of 10; beyond that it fails",
    )


def test_a_function_that_goes_beyond_a_limit_fails_and_is_told_so(app, run, monkeypatch):
    from camber import limits

    ids = run("[db.insert('far', {'n': n}) for n in range(9)]")
    monkeypatch.setattr(limits, "read_intervals_max", 5)
    with pytest.raises(FunctionError, match="TooManyReads: code:reading read 6 index ranges"):
        app.query("code:reading", code="[db.get(each) for each in given]", given=ids)


def test_whose_an_id_is_may_change_when_a_table_comes(app, run):
    id_ = run('db.insert("loose", {})')
    watched = app.subscribe("code:reading", 'db.normalize_id("comes_later", given)', id_)
    assert watched.value is None
    run('db.insert("comes_later", {})')
    assert watched.is_stale
