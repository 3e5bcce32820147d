"""What an identity sees and may write, in any way, is what a plain filter over all rows says.

Rules are data here, a tree for each operation. The application evaluates them as row rules, with
lookups of their own; the test keeps its own rows, and evaluates them over those.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from camber.errors import AppError, FunctionError
from camber.functions.database import DatabaseReader, DatabaseWriter, Query
from camber.functions.row_rules import RowRules
from camber.testing import TestApp
from tests.functions.projects import project_app
from tests.search.brute import Held, ranked

SCHEMA = """
    from camber import *

    class Row(Table, table="rows"):
        owner: str
        group: str
        level: int
        number: int
        text: str
        by_group = Index("group", "level")
        search_text = SearchIndex("text", filter_fields=["group"])

    class Member(Table, table="members"):
        who: str
        group: str
        by_who = Index("who", "group")

    class Policy(Table, table="policies"):
        operation: str
        tree: str
        by_operation = Index("operation")
"""
ACCESS = """
    import json
    from camber import *
    from .schema import Member, Policy, Row

    access = Access(default="deny")

    def holds(ctx: QueryCtx, row: Row, tree) -> bool:
        user = ctx.auth.get_user_identity()
        who = user.subject if user else "nobody"
        match tree:
            case ["owner"]:
                return row.owner == who
            case ["member"]:
                found = ctx.db.query(Member).with_index(Member.by_who, who=who, group=row.group)
                return found.first() is not None
            case ["upto", level]:
                return row.level <= level
            case ["not", inner]:
                return not holds(ctx, row, inner)
            case ["and", first, second]:
                return holds(ctx, row, first) and holds(ctx, row, second)
            case ["or", first, second]:
                return holds(ctx, row, first) or holds(ctx, row, second)
            case ["all"]:
                return True
        raise AssertionError(tree)

    def rule(operation: str):
        def asked(ctx: QueryCtx, row: Row) -> bool:
            found = ctx.db.query(Policy).with_index(Policy.by_operation, operation=operation)
            return holds(ctx, row, json.loads(found.unique().tree))
        return asked

    access.table(
        Row, read=rule("read"), insert=rule("insert"), update=rule("update"), delete=rule("delete")
    )
    access.table(Member, read=anyone)
"""
CODE = """
    from typing import Any
    from camber import *
    from .schema import Member, Policy, Row

    @mutation
    def reset(ctx: MutationCtx, rows: list[Any], members: list[Any], policies: Any) -> list[str]:
        db = ctx.db.unrestricted
        for table in (Row, Member, Policy):
            for old in db.query(table).collect():
                db.delete(old.id)
        for who, group in members:
            db.insert(Member(who=who, group=group))
        for operation, tree in policies.items():
            db.insert(Policy(operation=operation, tree=tree))
        return [db.insert(Row, row) for row in rows]

    def built(ctx: QueryCtx, group: str | None, low: int, order: str) -> Any:
        query = ctx.db.query(Row)
        if group is not None:
            query = query.with_index(Row.by_group, group=group, level=gte(low))
        return query.order(order)

    @query
    def read(ctx: QueryCtx, how: str, most: int, group: str | None, low: int, order: str) -> list[int]:
        found = built(ctx, group, low, order)
        match how:
            case "collect":
                rows = found.collect()
            case "take":
                rows = found.take(most)
            case "first":
                rows = [row for row in [found.first()] if row]
            case "iterate":
                rows = list(found)
            case "filter":
                return [row.number for row in found.filter(lambda row: row.number % 2 == 0).take(most)]
            case "count":
                return [found.count()]
            case "nested":
                return ctx.run_query(read, how="take", most=most, group=group, low=low, order=order)
        return [row.number for row in rows]

    @query
    def page(
        ctx: QueryCtx, opts: PaginationOpts, group: str | None, low: int, order: str
    ) -> Page[int]:
        return built(ctx, group, low, order).paginate(opts).map(lambda row: row.number)

    def sought(ctx: QueryCtx, text: str, group: str | None) -> Any:
        where = {} if group is None else {"group": group}
        return ctx.db.query(Row).with_search_index(Row.search_text, text, where)

    @query
    def search(ctx: QueryCtx, text: str, group: str | None, how: str, most: int) -> list[int]:
        found = sought(ctx, text, group)
        match how:
            case "collect":
                rows = found.collect()
            case "take":
                rows = found.take(most)
            case "first":
                rows = [row for row in [found.first()] if row]
            case "iterate":
                rows = list(found)
            case "count":
                return [found.count()]
        return [row.number for row in rows]

    @query
    def search_page(
        ctx: QueryCtx, opts: PaginationOpts, text: str, group: str | None
    ) -> Page[int]:
        return sought(ctx, text, group).paginate(opts).map(lambda row: row.number)

    @query
    def get(ctx: QueryCtx, id: Id[Row]) -> int | None:
        row = ctx.db.get(id)
        return None if row is None else row.number

    @query
    def all(ctx: QueryCtx) -> list[int]:
        return [row.number for row in ctx.db.query(Row)]

    @mutation
    def insert(ctx: MutationCtx, fields: Any) -> Id[Row]:
        return ctx.db.insert(Row, fields)

    @mutation
    def patch(ctx: MutationCtx, id: Id[Row], fields: Any) -> None:
        ctx.db.patch(id, fields)

    @mutation
    def replace(ctx: MutationCtx, id: Id[Row], fields: Any) -> None:
        ctx.db.replace(id, fields)

    @mutation
    def delete(ctx: MutationCtx, id: Id[Row]) -> None:
        ctx.db.delete(id)

    @mutation
    def join(ctx: MutationCtx, who: str, group: str) -> None:
        ctx.db.unrestricted.insert(Member(who=who, group=group))
"""
PEOPLE = ("ann", "bob", "nobody")
GROUPS = ("red", "blue")
WORDS = ("tree", "trees", "leaf")
OPERATIONS = ("read", "insert", "update", "delete")

trees = st.recursive(
    st.one_of(
        st.sampled_from([["owner"], ["member"], ["all"]]),
        st.integers(0, 2).map(lambda level: ["upto", level]),
    ),
    lambda inner: st.one_of(
        inner.map(lambda one: ["not", one]),
        st.tuples(st.sampled_from(["and", "or"]), inner, inner).map(list),
    ),
    max_leaves=4,
)
bodies = st.fixed_dictionaries(
    {
        "owner": st.sampled_from(PEOPLE[:2]),
        "group": st.sampled_from(GROUPS),
        "level": st.integers(0, 2),
        "number": st.integers(0, 99),
        "text": st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join),
    }
)
policies = st.fixed_dictionaries(dict.fromkeys(OPERATIONS, trees))
people = st.sampled_from(PEOPLE)
reads = st.tuples(
    # Calls within calls more often: it takes two contexts to confuse them.
    st.sampled_from(
        ["collect", "take", "first", "iterate", "filter", "count", "nested", "nested", "pages"]
    ),
    st.integers(1, 4),
    st.sampled_from([None, *GROUPS]),
    st.integers(0, 2),
    st.sampled_from(["asc", "desc"]),
)
searches = st.tuples(
    st.sampled_from(["collect", "take", "first", "iterate", "count", "pages"]),
    st.integers(1, 4),
    st.sampled_from([None, *GROUPS]),
    st.sampled_from(["tree", "trees", "leaf tree", "le", "stone"]),
)
changes = bodies.flatmap(
    lambda body: st.sets(st.sampled_from(sorted(body)), min_size=1).map(
        lambda names: {name: body[name] for name in names}
    )
)
steps = st.one_of(
    st.tuples(st.just("read"), people, reads),
    st.tuples(st.just("read"), people, reads),
    st.tuples(st.just("search"), people, searches),
    st.tuples(st.just("get"), people, st.integers(0, 30)),
    st.tuples(st.just("insert"), people, bodies),
    st.tuples(st.just("patch"), people, st.tuples(st.integers(0, 30), changes)),
    st.tuples(st.just("replace"), people, st.tuples(st.integers(0, 30), bodies)),
    st.tuples(st.just("delete"), people, st.integers(0, 30)),
    st.tuples(st.just("join"), people, st.sampled_from(GROUPS)),
)


@dataclass
class Model:
    """All rows, in the order in which they were made, and who may do what with them."""

    policies: dict[str, Any]
    members: set[tuple[str, str]] = field(default_factory=set)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def may(self, operation, who, row):
        return self._is(self.policies[operation], who, row)

    def _is(self, tree, who, row):
        name, *rest = tree
        if name == "owner":
            return who == row["owner"]
        if name == "member":
            return (who, row["group"]) in self.members
        if name == "upto":
            return rest[0] >= row["level"]
        if name == "all":
            return True
        if name == "not":
            return not self._is(rest[0], who, row)
        return {"and": all, "or": any}[name](self._is(each, who, row) for each in rest)

    def seen(self, who):
        return [row for row in self.rows if self.may("read", who, row)]

    def answer(self, who, read):
        how, most, group, low, order = read
        found = self.seen(who)
        if group is not None:
            found = [row for row in found if row["group"] == group and row["level"] >= low]
            found.sort(key=lambda row: row["level"])
        if order == "desc":
            # Equal levels are in the order of creation, which turns round as well.
            found.reverse()
        numbers = [row["number"] for row in found]
        match how:
            case "count":
                return [len(numbers)]
            case "first":
                return numbers[:1]
            case "take" | "nested":
                return numbers[:most]
            case "filter":
                return [number for number in numbers if number % 2 == 0][:most]
            case _:
                return numbers

    def found(self, who, search):
        how, most, group, text = search
        texts = {
            row["id"]: Held(tuple(row["text"].split()), place, (row["group"],))
            for place, row in enumerate(self.rows)
        }
        terms = text.split()
        filters = {} if group is None else {0: group}
        seen = {row["id"]: row["number"] for row in self.seen(who)}
        hits = ranked(texts, terms, terms[-1], filters)
        numbers = [seen[id] for _, id in hits if id in seen]
        return {"count": [len(numbers)], "first": numbers[:1], "take": numbers[:most]}.get(
            how, numbers
        )


class World:
    """The application and its model, side by side."""

    def __init__(self, app, rows, members, rules):
        self.app = app
        self.model = Model(rules, set(members))
        trees_ = {name: json.dumps(tree) for name, tree in rules.items()}
        members = [list(each) for each in sorted(self.model.members)]
        ids = app.mutation("code:reset", rows=rows, members=members, policies=trees_)
        self.model.rows = [{**row, "id": id} for row, id in zip(rows, ids, strict=True)]
        self.watched = {who: self.as_(who).subscribe("code:all") for who in PEOPLE}
        search = {"text": "tree", "group": None, "how": "collect", "most": 1}
        self.searching = {who: self.as_(who).subscribe("code:search", **search) for who in PEOPLE}

    def as_(self, who):
        return self.app if who == "nobody" else self.app.with_identity(subject=who)

    def close(self):
        for watched in (*self.watched.values(), *self.searching.values()):
            watched.close()

    def check_watchers(self):
        for who, watched in self.watched.items():
            assert watched.value == [row["number"] for row in self.model.seen(who)], who
        # Scores that others' writes have changed do not run a search again: its order may be older.
        for who, searching in self.searching.items():
            found = self.model.found(who, ("collect", 1, None, "tree"))
            assert sorted(searching.value) == sorted(found), who

    def step(self, kind, who, what):
        getattr(self, f"_{kind}")(who, what)

    def _read(self, who, read):
        how, most, group, low, order = read
        rest = {"group": group, "low": low, "order": order}
        if how == "pages":
            found = self._pages("code:page", who, most, rest)
        else:
            found = self.as_(who).query("code:read", how=how, most=most, **rest)
        assert found == self.model.answer(who, read)

    def _search(self, who, search):
        how, most, group, text = search
        rest = {"group": group, "text": text}
        if how == "pages":
            found = self._pages("code:search_page", who, most, rest)
        else:
            found = self.as_(who).query("code:search", how=how, most=most, **rest)
        assert found == self.model.found(who, search)

    def _pages(self, path, who, most, rest):
        found, cursor = [], None
        for _ in range(2 * len(self.model.rows) + 2):
            # Fewer rows than items: pages end where they have read enough.
            opts = {"numItems": most, "cursor": cursor, "maximumRowsRead": max(1, most - 1)}
            page = self.as_(who).query(path, paginationOpts=opts, **rest)
            assert len(page.page) <= most
            found += page.page
            if page.is_done:
                return found
            assert page.continue_cursor != cursor, "a page that makes no progress"
            cursor = page.continue_cursor
        raise AssertionError("pages without end")

    def _get(self, who, at):
        if self.model.rows:
            row = self.model.rows[at % len(self.model.rows)]
            expected = row["number"] if self.model.may("read", who, row) else None
            assert self.as_(who).query("code:get", id=row["id"]) == expected

    def _insert(self, who, body):
        if not self.model.may("insert", who, body):
            return self._is_refused(who, "insert", fields=body)
        id = self.as_(who).mutation("code:insert", fields=body)
        self.model.rows.append({**body, "id": id})
        return None

    def _patch(self, who, what):
        self._change(who, "patch", *what)

    def _replace(self, who, what):
        self._change(who, "replace", *what)

    def _change(self, who, path, at, fields):
        if not self.model.rows:
            return
        row = self.model.rows[at % len(self.model.rows)]
        new = {**row, **fields}
        if not self.model.may("read", who, row):
            self._is_hidden(who, path, id=row["id"], fields=fields)
        elif not (self.model.may("update", who, row) and self.model.may("update", who, new)):
            self._is_refused(who, path, id=row["id"], fields=fields)
        else:
            self.as_(who).mutation(f"code:{path}", id=row["id"], fields=fields)
            row.update(fields)

    def _delete(self, who, at):
        if not self.model.rows:
            return
        row = self.model.rows[at % len(self.model.rows)]
        if not self.model.may("read", who, row):
            self._is_hidden(who, "delete", id=row["id"])
        elif not self.model.may("delete", who, row):
            self._is_refused(who, "delete", id=row["id"])
        else:
            self.as_(who).mutation("code:delete", id=row["id"])
            self.model.rows.remove(row)

    def _join(self, who, group):
        self.app.mutation("code:join", who=who, group=group)
        self.model.members.add((who, group))

    def _is_refused(self, who, path, **arguments):
        with pytest.raises(AppError) as raised:
            self.as_(who).mutation(f"code:{path}", **arguments)
        assert raised.value.data["code"] == "Forbidden"

    def _is_hidden(self, who, path, **arguments):
        with pytest.raises(FunctionError, match="NonexistentDocument"):
            self.as_(who).mutation(f"code:{path}", **arguments)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    root = tmp_path_factory.mktemp("rules_hold")
    with project_app(root, schema=SCHEMA, access=ACCESS, code=CODE) as opened:
        yield opened


#: For leaks that are planted: the first example that finds one will do, as large as it is.
TO_FIND = settings(
    max_examples=300,
    phases=[Phase.generate],
    derandomize=True,
    report_multiple_bugs=False,
    print_blob=False,
)


def judge(app: TestApp, effort: settings) -> None:
    """Hold the application against the model."""

    @settings(effort, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(
        rows=st.lists(bodies, max_size=12),
        members=st.sets(st.tuples(people, st.sampled_from(GROUPS))),
        rules=policies,
        done=st.lists(steps, max_size=8),
    )
    def run(rows, members, rules, done):
        world = World(app, rows, members, rules)
        try:
            for step in done:
                world.step(*step)
                world.check_watchers()
        finally:
            world.close()

    run()


def test_what_is_seen_and_written_is_what_a_plain_filter_says(app):
    judge(app, settings(max_examples=120))


def _shows_all(self, table, packed):
    (document,) = self._access.documents(table, [packed])
    return document


def _asks_nothing(*_):
    return None


#: One check each, taken away.
LEAKS = {
    "queries": (Query, "restricted", lambda self: self),
    "get": (DatabaseReader, "_got", _shows_all),
    "hidden rows are written": (DatabaseWriter, "_may_read", lambda *_: True),
    "chained queries": (
        Query,
        "accepts",
        lambda self, row: all(predicate(row) for predicate in self._filters[1:]),
    ),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_planted_leak_is_found(app, monkeypatch, leak):
    where, name, broken = LEAKS[leak]
    monkeypatch.setattr(where, name, broken)
    with pytest.raises((AssertionError, pytest.fail.Exception, AppError, FunctionError)):
        judge(app, TO_FIND)


@pytest.mark.parametrize("check", ["check_insert", "check_update", "check_delete"])
def test_a_write_that_is_not_checked_is_found(app, monkeypatch, check):
    monkeypatch.setattr(RowRules, check, _asks_nothing)
    with pytest.raises((AssertionError, pytest.fail.Exception, AppError, FunctionError)):
        judge(app, TO_FIND)
