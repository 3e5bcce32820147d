"""Searches as applications write them: what they find, when, and how they fail (semantics 7.1)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camber import FunctionError, PaginationOpts
from camber.errors import AppError
from camber.testing import TestApp

SCHEMA = """
from msgspec import Struct
from camber import Id, Index, SearchIndex, Table, field

class Meta(Struct):
    language: str | None = None

class Note(Table, table="notes"):
    body: str | None
    channel: str = "a"
    author_id: str | None = field(name="authorId", default=None)
    meta: Meta | None = None
    draft: bool | None = None
    by_channel = Index("channel")
    search_body = SearchIndex("body", filter_fields=["channel", "authorId", "meta.language", "draft"])
    search_all = SearchIndex("body", tokenizer="multilingual")
    search_staged = SearchIndex("channel", staged=True)

class Other(Table, table="others"):
    text: str
    search_text = SearchIndex("text")
"""
NOTES = """
from typing import Any
from backend.schema import Meta, Note, Other
from camber import UNSET, Id, MutationCtx, Page, PaginationOpts, QueryCtx, gt, mutation, query

@mutation
def add(ctx: MutationCtx, body: str | None, channel: str = "a", language: str | None = None) -> Id[Note]:
    meta = None if language is None else Meta(language=language)
    return ctx.db.insert(Note(body=body, channel=channel, meta=meta))

@mutation
def add_raw(ctx: MutationCtx, fields: dict[str, Any]) -> Id[Note]:
    return ctx.db.insert("loose", fields)

@mutation
def add_many(ctx: MutationCtx, bodies: list[str]) -> None:
    for body in bodies:
        ctx.db.insert(Note(body=body))

@mutation
def change(ctx: MutationCtx, id: Id[Note], fields: dict[str, Any]) -> None:
    ctx.db.patch(id, fields)

@mutation
def remove(ctx: MutationCtx, id: Id[Note]) -> None:
    ctx.db.delete(id)

@query
def found(ctx: QueryCtx, text: str, where: dict[str, Any] | None = None) -> list[Any]:
    notes = ctx.db.query(Note).with_search_index(Note.search_body, text, where or {}).collect()
    return [note.body for note in notes]

@query
def everywhere(ctx: QueryCtx, text: str) -> list[Any]:
    return [n.body for n in ctx.db.query("notes").with_search_index("search_all", text).collect()]

@query
def pages(ctx: QueryCtx, text: str, opts: PaginationOpts) -> Page[Note]:
    return ctx.db.query(Note).with_search_index(Note.search_body, text).paginate(opts)

@query
def even(ctx: QueryCtx, text: str, opts: PaginationOpts) -> Page[Note]:
    chosen = ctx.db.query(Note).with_search_index(Note.search_body, text)
    return chosen.filter(lambda note: int(note.body.split()[1]) % 2 == 0).paginate(opts)

@query
def ways(ctx: QueryCtx, text: str) -> dict[str, Any]:
    def search():
        return ctx.db.query(Note).with_search_index(Note.search_body, text)
    some = search().filter(lambda note: note.body != "one")
    return {
        "take": [n.body for n in search().take(2)],
        "first": [n.body for n in search().take(1)] == [search().first().body],
        "iterated": [n.body for n in search()],
        "filtered": [n.body for n in some.take(2)],
        "count": search().count(),
        "nothing": search().take(0),
    }

@query
def unique(ctx: QueryCtx, text: str) -> str:
    note = ctx.db.query(Note).with_search_index(Note.search_body, text).unique()
    return "none" if note is None else note.body

@mutation
def own_writes(ctx: MutationCtx) -> list[Any]:
    def bodies(text):
        notes = ctx.db.query(Note).with_search_index(Note.search_body, text).collect()
        return sorted(note.body for note in notes)
    stored = ctx.db.query(Note).first()
    seen = [bodies("tree")]
    new = ctx.db.insert(Note(body="tree two"))
    seen.append(bodies("tree"))
    ctx.db.patch(stored.id, body="leaf")
    seen.append(bodies("tree") + bodies("leaf"))
    ctx.db.delete(new)
    seen.append(bodies("tree"))
    ctx.db.patch(stored.id, body=None)
    seen.append(bodies("leaf"))
    ctx.db.patch(stored.id, body="tree again")
    return [*seen, bodies("tree")]

@mutation
def while_iterating(ctx: MutationCtx) -> list[str]:
    seen = []
    for note in ctx.db.query(Note).with_search_index(Note.search_body, "tree"):
        seen.append(note.body)
        for other in ctx.db.query(Note).collect():
            if other.id != note.id:
                ctx.db.delete(other.id)
    return seen

@query
def wrong(ctx: QueryCtx, how: str) -> Any:
    notes = ctx.db.query(Note)
    match how:
        case "range": return notes.with_search_index(Note.search_body, "a", channel=gt("a")).collect()
        case "field": return notes.with_search_index(Note.search_body, "a", nothing=1).collect()
        case "time": return notes.with_search_index(Note.search_body, "a", creation_time=1).collect()
        case "bare": return notes.with_search_index(Note.search_all, "a", channel="a").collect()
        case "text": return notes.with_search_index(Note.search_body, 3).collect()
        case "order": return notes.with_search_index(Note.search_body, "a").order("desc").collect()
        case "twice": return notes.with_search_index(Note.search_body, "a").with_index(Note.by_channel)
        case "index": return notes.with_search_index("by_channel", "a").collect()
        case "search": return notes.with_index(Note.search_body).collect()
        case "name": return notes.with_index("search_body").collect()
        case "missing": return notes.with_search_index("search_title", "a").collect()
        case "other": return notes.with_search_index(Other.search_text, "a").collect()
        case "staged": return notes.with_search_index(Note.search_staged, "a").collect()
        case "both": return notes.with_search_index(Note.search_body, "a", {"channel": "a"}, channel="b").collect()
        case "many": return notes.with_search_index(Note.search_body, "a", {f"f{n}": 1 for n in range(9)}).collect()

@query
def absent(ctx: QueryCtx) -> list[Any]:
    return ctx.db.query("never").with_search_index("search", "a").collect()

@query
def ids(ctx: QueryCtx) -> list[str]:
    return [note.id for note in ctx.db.query(Note)]

@query
def unset(ctx: QueryCtx, text: str) -> list[Any]:
    return [n.body for n in ctx.db.query(Note).with_search_index(Note.search_body, text, draft=UNSET)]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    (folder / "pyproject.toml").write_text('[tool.camber]\nfunctions = "backend"\n')
    (folder / "backend").mkdir()
    (folder / "backend" / "schema.py").write_text(SCHEMA)
    (folder / "backend" / "notes.py").write_text(NOTES)
    return folder


@pytest.fixture
def app(project):
    with TestApp(project) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared_app(project):
    with TestApp(project) as opened:
        yield opened


def _add(app, *bodies, **more):
    return [app.mutation("notes:add", body=body, **more) for body in bodies]


def _found(app, text, **where):
    return app.query("notes:found", text=text, where=where)


def test_any_word_will_do_and_the_last_may_have_only_begun(app):
    _add(app, "hello world", "the world is wide", "worlds apart", "goodbye", None, "")
    assert sorted(_found(app, "hello wor")) == ["hello world", "the world is wide", "worlds apart"]
    assert sorted(_found(app, "wor hello")) == ["hello world"]
    assert _found(app, "WORLDS") == ["worlds apart"]
    for nothing in ("", "  ", "?!", "orld"):
        assert _found(app, nothing) == []


def test_rare_words_short_texts_and_whole_words_come_first_and_then_the_newest(app):
    _add(app, "red apple", "red pear", "red plum", "red cherry pie with cream", "apple apple tree")
    assert _found(app, "red apple")[:2] == ["apple apple tree", "red apple"]
    assert _found(app, "red") == ["red plum", "red pear", "red apple", "red cherry pie with cream"]
    _add(app, "cherries", "cherry")
    assert _found(app, "cherr")[-1] == "red cherry pie with cream"
    assert _found(app, "cherry")[0] == "cherry"


def test_filter_fields_are_compared(app):
    _add(app, "tree one")
    _add(app, "tree two", channel="b", language="en")
    assert _found(app, "tree", channel="b") == ["tree two"]
    assert _found(app, "tree", **{"meta.language": "en"}) == ["tree two"]
    assert _found(app, "tree", **{"meta.language": "en", "channel": "a"}) == []
    assert sorted(_found(app, "tree", authorId=None, draft=None)) == ["tree one", "tree two"]
    assert _found(app, "tree", channel=1) == []
    # The insert has written the default: the field is null, and nowhere missing.
    assert app.query("notes:unset", text="tree") == []


def test_all_ways_to_read_are_ways_to_read_a_search(app):
    _add(app, "one", "one two", "one two three")
    assert app.query("notes:ways", text="one") == {
        "take": ["one", "one two"],
        "first": True,
        "iterated": ["one", "one two", "one two three"],
        "filtered": ["one two", "one two three"],
        "count": 3,
        "nothing": [],
    }
    assert app.query("notes:unique", text="three") == "one two three"
    assert app.query("notes:unique", text="four") == "none"
    with pytest.raises(FunctionError, match="more than one document"):
        app.query("notes:unique", text="two")
    assert app.query("notes:absent") == []


def test_a_multilingual_index_is_searched_without_accents_and_within_what_has_no_spaces(app):
    _add(app, "Résumé", "東京都の天気")
    assert app.query("notes:everywhere", text="resume") == ["Résumé"]
    assert app.query("notes:everywhere", text="京都") == ["東京都の天気"]
    assert _found(app, "resume") == []


def test_a_mutation_finds_what_it_has_written_itself(app):
    _add(app, "tree one")
    assert app.mutation("notes:own_writes") == [
        ["tree one"],
        ["tree one", "tree two"],
        ["tree two", "leaf"],
        [],
        [],
        ["tree again"],
    ]
    assert _found(app, "tree") == ["tree again"]


def test_what_is_deleted_while_a_search_is_read_is_not_given(app):
    _add(app, "tree a b", "tree a", "tree")
    assert app.mutation("notes:while_iterating") == ["tree"]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("range", "compares 'channel' with one value"),
        ("field", "'nothing' is no filter field of index notes.search_body: they are channel, "),
        ("time", "'_creationTime' is no filter field"),
        ("bare", "'channel' is no filter field of index notes.search_all: it has none"),
        ("text", "takes the text to search for, not 3"),
        ("order", "a search is in the order of relevance"),
        ("twice", "with_index\\(\\) may be called once"),
        ("index", "notes.by_channel is no search index: use with_index"),
        ("search", "notes.search_body is a search index: use with_search_index"),
        ("name", "notes.search_body is a search index: use with_search_index"),
        ("missing", "table 'notes' has no index notes.search_title; it has by_channel"),
        ("other", "table 'notes' has no index others.search_text"),
        ("staged", "is staged"),
        ("both", "two conditions on 'channel', one in the mapping and one by keyword"),
        ("many", "compares 9 filter fields; one may compare 8"),
    ],
)
def test_what_a_search_cannot_be_is_said(app, how, says):
    with pytest.raises(FunctionError, match=says):
        app.query("notes:wrong", how=how)


def test_only_what_may_be_found_runs_a_search_again(app):
    (first,) = _add(app, "tree one")
    _add(app, "tree", channel="b")
    watched = app.subscribe("notes:found", text="tree lea", where={"channel": "a"})
    assert watched.value == ["tree one"]

    def is_told(function, **arguments):
        app.mutation(f"notes:{function}", **arguments)
        stale = watched.is_stale
        assert watched.value == _found(app, "tree lea", channel="a")
        return stale

    assert not is_told("add", body="leaf", channel="b")
    assert not is_told("add", body="trees and lianas")
    assert not is_told("add", body=None)
    assert is_told("add", body="a leaf")
    assert is_told("change", id=first, fields={"draft": True})
    assert is_told("change", id=first, fields={"body": "stone"})
    assert not is_told("change", id=first, fields={"body": "pebble"})
    assert is_told("change", id=first, fields={"body": "LEAVES"})
    assert is_told("change", id=first, fields={"channel": "b"})
    assert not is_told("remove", id=first)
    nothing = app.subscribe("notes:found", text="…")
    assert nothing.value == []
    _add(app, "…", "tree")
    assert not nothing.is_stale


_bodies = st.sampled_from([None, "", "a", "a b", "ab", "B, a!", "abc c", "d"])
_channels = st.sampled_from("xy")
_watched = st.tuples(
    st.sampled_from(["a", "ab", "b a", "c", "b ", "d a", ""]),
    st.sampled_from([{}, {}, {"channel": "x"}, {"draft": True}]),
)
_writes = st.one_of(
    st.tuples(st.just("add"), _bodies, _channels),
    st.tuples(st.just("add"), _bodies, _channels),
    st.tuples(
        st.just("change"),
        st.integers(0, 9),
        st.fixed_dictionaries(
            {},
            optional={
                "body": _bodies,
                "channel": _channels,
                "draft": st.booleans(),
                "authorId": st.sampled_from(["ada", None]),
            },
        ),
    ),
    st.tuples(st.just("remove"), st.integers(0, 9)),
)


def _is_found(note, text, where):
    """Whether a search finds a note, told word by word."""
    wanted = re.findall("[a-z]+", text.lower())
    words = re.findall("[a-z]+", (note["body"] or "").lower()) if note else []
    has_word = any(word in wanted or word.startswith(wanted[-1]) for word in words if wanted)
    return has_word and all(note[field] == value for field, value in where.items())


@settings(max_examples=100)
@given(watched=st.lists(_watched, min_size=1, max_size=4), writes=st.lists(_writes, max_size=10))
def test_a_write_runs_a_search_again_if_and_only_if_it_could_find_it(shared_app, watched, writes):
    app = shared_app
    notes: dict[str, Any] = {}
    ids: list[str] = []
    for id_ in app.query("notes:ids"):
        app.mutation("notes:remove", id=id_)
    searches = [
        (text, where, app.subscribe("notes:found", text=text, where=where))
        for text, where in watched
    ]
    for _, _, search in searches:
        assert search.value == []
    for kind, *what in writes:
        before: Any = None
        after: Any = None
        if kind == "add":
            body, channel = what
            ids.append(app.mutation("notes:add", body=body, channel=channel))
            id_ = ids[-1]
            after = {"body": body, "channel": channel, "draft": None, "authorId": None}
        elif ids:
            id_ = ids[what[0] % len(ids)]
            before = after = notes[id_]
            if kind == "change":
                after = {**before, **what[1]}
                app.mutation("notes:change", id=id_, fields=what[1])
            else:
                after = None
                ids.remove(id_)
                app.mutation("notes:remove", id=id_)
        else:
            continue
        notes[id_] = after
        for text, where, search in searches:
            could = before != after and any(_is_found(n, text, where) for n in (before, after))
            assert search.is_stale == could, (text, where, before, after)
            there = sorted(n["body"] for n in notes.values() if _is_found(n, text, where))
            assert sorted(search.value) == there


def test_no_more_than_1024_documents_are_given_at_once(app):
    app.mutation("notes:add_many", bodies=[f"tree {n}" for n in range(1024)])
    assert len(_found(app, "tree")) == 1024
    app.mutation("notes:add", body="tree 1024")
    with pytest.raises(FunctionError, match="found more than 1024 documents"):
        _found(app, "tree")
    assert app.query("notes:ways", text="1024 zzz")["count"] == 1
    # Pages go on beyond.
    seen, cursor = [], None
    while True:
        opts = PaginationOpts(num_items=1000, cursor=cursor)
        page = app.query("notes:pages", text="tree", opts=opts)
        seen += [note.body for note in page.page]
        cursor = page.continue_cursor
        if page.is_done:
            break
    assert seen == [f"tree {n}" for n in reversed(range(1025))]
    large = app.query("notes:pages", text="tree", opts=PaginationOpts(num_items=5000))
    assert (len(large.page), large.is_done, large.page_status) == (1024, False, None)
    # A filter that lets little through ends a page before it is full.
    thin = app.query("notes:even", text="tree", opts=PaginationOpts(num_items=600))
    assert (len(thin.page), thin.is_done, thin.page_status) == (512, False, None)


def test_pages_neither_lose_nor_repeat_a_text_whatever_is_written_meanwhile(app):
    _add(app, *(f"tree {'x ' * n}" for n in range(6)))

    def page(cursor, **more):
        opts = PaginationOpts(num_items=2, cursor=cursor, **more)
        return app.query("notes:pages", text="tree", opts=opts)

    first = page(None)
    second = page(first.continue_cursor)
    # Statistics change, and with them all scores; the order of old texts does not.
    _add(app, *("stone " * 30 for _ in range(20)), *("tree" for _ in range(3)))
    third = page(second.continue_cursor)
    bodies = [note.body for each in (first, second, third) for note in each.page]
    assert bodies == [f"tree {'x ' * n}" for n in range(6)]
    # New texts are where they belong by the statistics of the first page.
    again = page(None, end_cursor=first.continue_cursor)
    assert [note.body for note in again.page] == ["tree"] * 3 + ["tree ", "tree x "]
    assert page(third.continue_cursor).is_done
    with pytest.raises(AppError) as error:
        app.query(
            "notes:pages",
            text="bush",
            opts=PaginationOpts(num_items=2, cursor=first.continue_cursor),
        )
    assert error.value.data == {"isConvexSystemError": True, "paginationError": "InvalidCursor"}
