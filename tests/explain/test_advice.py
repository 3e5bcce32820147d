"""Which index is advised for which query: the code in the advice is what a person would have written."""

from __future__ import annotations

import pytest

from tests.explain.explaining import explained
from tests.functions.projects import project_app

MODULES = {
    "schema": """
        from camber import Index, SearchIndex, Table, field


        class Profile(Table, table="profiles"):
            pass


        class Message(Table, table="messages"):
            channel: str
            author: str
            body: str
            likes: int = 0
            pinned: bool = False
            mood: str | bool = ""
            kind: str = field(name="from", default="")
            meta: dict[str, str] = {}

            by_channel = Index("channel")
            by_channel_likes = Index("channel", "likes")
            by_author_pinned = Index("author", "pinned")
            find = SearchIndex("body", filter_fields=["channel"])
    """,
    "messages": """
        from camber import MutationCtx, QueryCtx, UNSET, gt, gte, lt, mutation, query

        from .schema import Message, Profile


        @mutation
        def fill(ctx: MutationCtx) -> None:
            for n in range(12):
                ctx.db.insert(Message(channel=f"c{n % 2}", author=f"a{n % 3}", body=f"hello {n}"))
                ctx.db.insert("loose", {"owner": "x", "deep": {"er": n}})


        @query
        def by_filter(ctx: QueryCtx, author: str) -> list[Message]:
            return ctx.db.query(Message).order("desc").filter(lambda m: m.author == author).take(20)


        @query
        def in_channel(ctx: QueryCtx, who: str) -> list[Message]:
            return (
                ctx.db.query(Message)
                .with_index(Message.by_channel, channel="c0")
                .filter(lambda m: m.author == who and "x" not in m.body)
                .collect()
            )


        @query
        def by_range(ctx: QueryCtx) -> list[Message]:
            return ctx.db.query(Message).filter(lambda m: 3 < m.likes <= 5).collect()


        @query
        def counted(ctx: QueryCtx, c: str) -> int:
            return ctx.db.query(Message).filter(lambda m: m.channel == c and m.likes >= 2).count()


        @query
        def by_flag(ctx: QueryCtx) -> list[Message]:
            return [m for m in ctx.db.query(Message).collect() if not m.pinned and m.author == "a1"]


        @query
        def no_flag(ctx: QueryCtx) -> list[Message]:
            return [m for m in ctx.db.query(Message).collect() if m.mood]


        @query
        def in_loop(ctx: QueryCtx, since: float) -> int:
            found = 0
            for m in ctx.db.query(Message).with_index(Message.by_channel, channel="c1"):
                if m.creation_time <= since:
                    continue
                found += m.likes
            return found


        @query
        def by_variable(ctx: QueryCtx, kind: str) -> list[str]:
            messages = ctx.db.query(Message).collect()
            return [m.body for m in messages if m.kind == kind]


        @query
        def twice_used(ctx: QueryCtx) -> int:
            messages = ctx.db.query(Message).collect()
            return len(messages) + len([m for m in messages if m.author == "a1"])


        @query
        def of_the_first(ctx: QueryCtx) -> list[Message]:
            return [m for m in ctx.db.query(Message).take(6) if m.author == "a1"]


        @query
        def highest(ctx: QueryCtx) -> int:
            most = 0
            for m in ctx.db.query(Message):
                if m.likes > most:
                    most = m.likes
            return most


        @query
        def either(ctx: QueryCtx) -> list[Message]:
            return ctx.db.query(Message).filter(lambda m: m.author == "a1" or m.likes == 3).collect()


        @query
        def neither(ctx: QueryCtx) -> list[Message]:
            return ctx.db.query(Message).filter(lambda m: not (m.author != "a1" or m.likes)).collect()


        @query
        def loose(ctx: QueryCtx) -> list[dict]:
            return (
                ctx.db.query("loose")
                .filter(lambda d: d["owner"] == "x" and d.get("deep")["er"] == 3)
                .collect()
            )


        def is_ada(message: Message) -> bool:
            \"\"\"Say so.\"\"\"
            return message.author == "Ada"


        @query
        def by_function(ctx: QueryCtx) -> list[Message]:
            return ctx.db.query(Message).filter(is_ada).collect()


        @query
        def searched(ctx: QueryCtx, author: str) -> list[Message]:
            found = ctx.db.query(Message).with_search_index(Message.find, "hel", channel="c0")
            return found.filter(lambda m: m.author == author).take(5)


        @query
        def fine(ctx: QueryCtx) -> list[Message]:
            return ctx.db.query(Message).with_index(Message.by_channel, channel="c0").take(5)


        @query
        def two_lambdas(ctx: QueryCtx) -> list[Message]:
            return ctx.db.query(Message).filter(lambda m: m.author == "ö").filter(lambda m: m.likes == 1).collect()
    """,
}


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with project_app(tmp_path_factory.mktemp("messages"), **MODULES) as app:
        app.mutation("messages:fill")
        yield app


def advised(app, function, /, **arguments):
    (scan,) = explained(app, f"messages:{function}", **arguments)["scans"]
    return scan["advice"]


DECLARED = [
    (
        "by_filter",
        {"author": "a1"},
        'by_author = Index("author")',
        'ctx.db.query(Message).with_index(Message.by_author, author=author).order("desc").take(20)',
        [],
    ),
    (
        "in_channel",
        {"who": "a1"},
        'by_channel_author = Index("channel", "author")',
        'ctx.db.query(Message).with_index(Message.by_channel_author, channel="c0", author=who)'
        '.filter(lambda m: m.author == who and "x" not in m.body).collect()',
        ['no index answers "x" not in m.body: that stays a filter'],
    ),
    (
        "by_range",
        {},
        'by_likes = Index("likes")',
        "ctx.db.query(Message).with_index(Message.by_likes, likes=gt(3) & lte(5)).collect()",
        ["the documents then come in the order of likes"],
    ),
    (
        "neither",
        {},
        'by_author = Index("author")',
        None,
        ["no index answers not likes: that stays a filter"],
    ),
    ("by_variable", {"kind": "x"}, 'by_from = Index("from")', None, []),
    (
        "loose",
        {},
        'by_owner_deep_er = Index("owner", "deep.er")',
        'ctx.db.query("loose").with_index("by_owner_deep_er", {"deep.er": 3}, owner="x").collect()',
        [],
    ),
    ("by_function", {}, 'by_author = Index("author")', None, []),
    (
        "searched",
        {"author": "a1"},
        'find = SearchIndex("body", filter_fields=["channel", "author"])',
        ".with_search_index(…, author=author)",
        [],
    ),
    (
        "two_lambdas",
        {},
        'by_author_likes = Index("author", "likes")',
        'ctx.db.query(Message).with_index(Message.by_author_likes, author="ö", likes=1).collect()',
        [],
    ),
]


@pytest.mark.parametrize(("function", "arguments", "declaration", "query", "notes"), DECLARED)
def test_an_index_to_declare(app, function, arguments, declaration, query, notes):
    found = advised(app, function, **arguments)
    assert found["declaration"] == declaration
    assert found["notes"] == notes
    if query is not None:
        assert found["query"] == query


THERE = [
    (
        "counted",
        {"c": "c0"},
        "by_channel_likes",
        "ctx.db.query(Message).with_index(Message.by_channel_likes, channel=c, likes=gte(2)).count()",
    ),
    (
        "by_flag",
        {},
        "by_author_pinned",
        'ctx.db.query(Message).with_index(Message.by_author_pinned, pinned=False, author="a1").collect()',
    ),
    (
        "in_loop",
        {"since": 0.0},
        "by_channel",
        'ctx.db.query(Message).with_index(Message.by_channel, channel="c1", creation_time=gt(since))',
    ),
]


@pytest.mark.parametrize(("function", "arguments", "index", "query"), THERE)
def test_an_index_that_is_there(app, function, arguments, index, query):
    found = advised(app, function, **arguments)
    assert (found["declaration"], found["index"], found["query"]) == (None, index, query)


@pytest.mark.parametrize(
    "function", ["no_flag", "twice_used", "either", "fine", "of_the_first", "highest"]
)
def test_nothing_is_advised_that_would_not_help(app, function):
    assert advised(app, function) is None


def test_code_that_has_changed_since_it_was_loaded_is_not_guessed_at(tmp_path):
    with project_app(tmp_path, **MODULES) as app:
        app.mutation("messages:fill")
        (file,) = tmp_path.glob("*/messages.py")
        text = file.read_text()
        file.write_text(text.replace("m.author == author", "m.body == author"))
        assert advised(app, "by_filter", author="a1") is None
        file.unlink()
        assert advised(app, "by_filter", author="a1") is None
        file.write_text(text)
        assert advised(app, "by_filter", author="a1") is not None


def test_counts_of_what_was_read_and_what_came_of_it(app):
    (scan,) = explained(app, "messages:in_channel", who="a1")["scans"]
    assert (scan["documents"], scan["passed"], scan["filtered"]) == (6, 2, True)
    assert scan["where"].startswith("functions")
    assert ":" in scan["where"]
    found = explained(app, "messages:fine")
    assert (found["documentsRead"], found["scans"][0]["documents"]) == (5, 5)
    assert found["bytesRead"] == found["scans"][0]["bytes"] > 0
    assert found["functions"][0]["items"] == 5
