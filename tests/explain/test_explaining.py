"""`camber explain` and its route on a real server: what is told of queries and mutations, and bad input."""

from __future__ import annotations

import json
import textwrap

import httpx
import pytest

from tests.cli.commands import camber, said, told
from tests.functions.projects import write_project
from tests.servers import ADMIN_KEY, Server

ROOT = {"Authorization": f"Convex {ADMIN_KEY}"}
USER = '{"subject": "ada"}'

MODULES = {
    "schema": """
        from camber import Index, SearchIndex, Table, VectorIndex


        class Message(Table, table="messages"):
            channel: str
            author: str
            body: str
            by_channel = Index("channel")
            place: list[float] = []
            find = SearchIndex("body", filter_fields=["channel"])
            near = VectorIndex("place", dimensions=2, filter_fields=["channel"])


        class Note(Table, table="notes"):
            owner: str
            text: str
            by_owner = Index("owner")
    """,
    "app": """
        from camber import App, Component

        app = App()
        ledger = app.use(Component("ledger", path="parts/ledger"))
    """,
    "access": """
        from camber import Access, QueryCtx, row_rule
        from .schema import Note

        access = Access(default="allow")


        @row_rule
        def owner(ctx: QueryCtx, note: Note) -> bool:
            user = ctx.auth.get_user_identity()
            return user is not None and note.owner == user.subject


        access.table(Note, read=owner, write=owner)
    """,
    "messages": """
        import ctypes
        from datetime import datetime

        from camber import (
            ActionCtx, Id, MutationCtx, Page, PaginationOpts, QueryCtx, action, internal_query, mutation, query, signed_in,
        )
        from .app import ledger
        from .schema import Message, Note


        @mutation
        def fill(ctx: MutationCtx) -> None:
            for n in range(30):
                ctx.db.insert(Message(channel=f"c{n % 3}", author=f"a{n % 10}", body=f"hello {n}", place=[n, 1.0]))
            for owner in ("ada", "bob"):
                ctx.db.unrestricted.insert(Note(owner=owner, text=owner))
            for n in range(3):
                ctx.run_mutation(ledger["entries:add"], amount=n)


        @query
        def recent(ctx: QueryCtx, channel: str) -> list[Message]:
            return ctx.db.query(Message).with_index(Message.by_channel, channel=channel).order("desc").take(3)


        @query
        def of_author(ctx: QueryCtx, author: str) -> list[Message]:
            print("looking")
            return ctx.db.query(Message).filter(lambda m: m.author == author).collect()


        @query
        def found(ctx: QueryCtx, text: str) -> list[Message]:
            return ctx.db.query(Message).with_search_index(Message.find, text, channel="c1").take(2)


        @query
        def close_by(ctx: QueryCtx) -> int:
            return len(ctx.vector_search(Message.near, [1.0, 0.0], limit=4, where={"channel": "c1"}))


        @query
        def page(ctx: QueryCtx, opts: PaginationOpts) -> Page[Message]:
            return ctx.db.query(Message).paginate(opts)


        @query
        def several(ctx: QueryCtx, ids: list[str]) -> int:
            return sum(ctx.db.get(id) is not None for id in ids)


        @query
        def all_ids(ctx: QueryCtx) -> list[str]:
            return [m.id for m in ctx.db.query(Message)]


        @query(allow=signed_in)
        def notes(ctx: QueryCtx) -> list[Note]:
            return ctx.db.query(Note).collect()


        @query
        def totals(ctx: QueryCtx) -> int:
            return ctx.run_query(ledger["entries:total"]) + ctx.run_query(ledger["entries:total"])


        @query
        def clock(ctx: QueryCtx) -> str:
            return ctx.env["GREETING"] + str(datetime.now())


        @query
        def huge(ctx: QueryCtx) -> str:
            return "x" * 8_000_000


        @query
        def long_key(ctx: QueryCtx) -> list[Message]:
            return ctx.db.query(Message).with_index(Message.by_channel, channel="k" * 100_000).collect()


        @query
        def breaks(ctx: QueryCtx) -> None:
            ctx.db.query(Message).take(2)
            raise ValueError("broken\x1b[2J")


        @query
        def runs_away(ctx: QueryCtx) -> None:
            while True:
                pass


        @query
        def crashes(ctx: QueryCtx) -> None:
            ctypes.string_at(0)


        @internal_query
        def hidden(ctx: QueryCtx) -> int:
            return 1


        @mutation
        def rename(ctx: MutationCtx, author: str, to: str) -> int:
            changed = 0
            for message in ctx.db.query(Message).filter(lambda m: m.author == author):
                ctx.db.patch(message.id, author=to)
                changed += 1
            ctx.db.insert(Message(channel="log", author="x", body="renamed"))
            ctx.db.insert("fresh", {"n": 1})
            ctx.scheduler.run_after(60, rename, author=to, to=author)
            return changed


        @action
        async def act(ctx: ActionCtx) -> int:
            return 1
    """,
}
LEDGER = {
    "app": "from camber import App\napp = App()\n",
    "schema": """
        from camber import Index, Table


        class Entry(Table, table="entries"):
            amount: int
            by_amount = Index("amount")
    """,
    "entries": """
        from camber import MutationCtx, QueryCtx, gt, mutation, query
        from .schema import Entry


        @mutation
        def add(ctx: MutationCtx, amount: int) -> None:
            ctx.db.insert(Entry(amount=amount))


        @query
        def total(ctx: QueryCtx) -> int:
            return sum(e.amount for e in ctx.db.query(Entry).with_index(Entry.by_amount, amount=gt(0)))
    """,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = write_project(tmp_path_factory.mktemp("explain") / "project", **MODULES)
    for name, text in LEDGER.items():
        file = root / "parts" / "ledger" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    with Server(root, root.parent / "data", "--executors", "1") as server:
        server.value("mutation", "messages:fill", {})
        yield server


def run(server, *arguments):
    return camber(
        "explain", *arguments, "--url", server.url, "--admin-key", ADMIN_KEY, TERMINAL_WIDTH="200"
    )


def of(server, *arguments):
    return json.loads(said(run(server, *arguments, "--json")))


def test_a_query_in_words(server):
    lines = said(run(server, "messages:recent", '{"channel": "c1"}')).splitlines()
    assert lines[0].startswith("messages:recent, a query, read 3 documents (")
    assert lines[1].startswith("and returned 3 items, ")
    text = "\n".join(lines)
    assert "messages.by_channel: channel = 'c1', descending, take(3)\n" in text
    assert "3 documents (" in text
    assert "messages.py:" in text
    assert '  messages.by_channel: channel = "c1" and _creationTime >= ' in text
    assert "  which release serves\n" in text
    assert (
        'a document of messages is inserted, changed or deleted, which has, before or after, channel = "c1"'
        in text
    )
    assert "\nCache\n  nothing is kept: who asks next runs it" in text


def test_a_query_as_json(server):
    found = of(server, "messages:recent", '{"channel": "c2"}')
    assert (found["path"], found["type"], found["documentsRead"]) == ("messages:recent", "query", 3)
    (scan,) = found["scans"]
    assert (scan["index"], scan["fields"], scan["order"]) == ("by_channel", ["channel"], "desc")
    assert (scan["documents"], scan["bytes"], scan["advice"]) == (3, found["bytesRead"], None)
    first, release = found["reads"]
    assert first["from"]["values"][0] == "c2"
    assert first["to"] == {"values": ["c2"], "inclusive": True}
    assert (first["kind"], release["kind"], found["readsInAll"]) == ("index", "system", 2)
    assert (found["readsIdentity"], found["readsClock"]) == (False, False)
    assert found["cache"]["kept"] is False


def test_the_state_of_the_cache(server):
    args = {"author": "a7"}
    server.value("query", "messages:of_author", args)
    found = of(server, "messages:of_author", json.dumps(args))
    assert found["cache"]["kept"] is True
    assert found["cache"]["watchers"] == 0
    assert found["cache"]["bytes"] > 0
    assert int(found["cache"]["holdsSince"]) <= int(found["ts"])
    assert "is kept that holds since" in said(run(server, "messages:of_author", json.dumps(args)))
    assert found["logLines"] == ["[LOG] 'looking'"]


def test_an_index_that_would_help(server):
    text = said(run(server, "messages:of_author", '{"author": "a1"}'))
    assert "30 documents (" in text
    assert "3 passed its filters" in text
    assert 'by_author = Index("author")' in text
    assert "ctx.db.query(Message).with_index(Message.by_author, author=author).collect()" in text


def test_a_search(server):
    found = of(server, "messages:found", '{"text": "hello wor"}')
    (search,) = [entry for entry in found["reads"] if entry["kind"] == "search"]
    assert search["search"] == {
        "terms": ["hello", "wor"],
        "prefix": "wor",
        "conditions": ["channel = 'c1'"],
    }
    assert search["words"].endswith(
        '"hello" or "wor" or a word that begins with "wor" in body and channel = \'c1\''
    )
    (scan,) = found["scans"]
    assert (scan["search"], scan["index"], scan["documents"]) == ("hello wor", "find", 2)


def test_a_search_of_vectors(server):
    found = of(server, "messages:close_by")
    (scan,) = found["scans"]
    assert (scan["index"], scan["hits"], scan["documents"], scan["ending"]) == (
        "near",
        4,
        0,
        "limit 4",
    )
    (search,) = [entry for entry in found["reads"] if entry["kind"] == "search"]
    assert search["nearest"]["conditions"] == ["channel = 'c1'"]
    text = said(run(server, "messages:close_by"))
    assert "messages.near: nearest to a vector, where channel = 'c1', limit 4\n      4 hits" in text
    assert "that is as near as the last hit, of a cosine of 0.9" in text


def test_a_page(server):
    found = of(server, "messages:page", '{"paginationOpts": {"numItems": 4, "cursor": null}}')
    (scan,) = found["scans"]
    assert (scan["ending"], scan["documents"], found["functions"][0]["items"]) == (
        "paginate()",
        4,
        4,
    )


def test_documents_by_their_ids(server):
    ids = json.loads(
        said(camber("run", "messages:all_ids", "--url", server.url, "--admin-key", ADMIN_KEY))
    )
    found = of(server, "messages:several", json.dumps({"ids": ids}))
    assert found["documentsById"] == [{"componentPath": "", "table": "messages", "documents": 30}]
    assert {
        entry["from"]["values"][0] for entry in found["reads"] if entry["kind"] == "document"
    } == {*ids}
    text = said(run(server, "messages:several", json.dumps({"ids": ids})))
    assert "messages.by_id: 30 documents by id" in text
    assert "one of these 30 documents of messages is inserted, changed or deleted" in text


def test_calls_into_a_component(server):
    found = of(server, "messages:totals")
    total = {"path": "entries:total", "componentPath": "ledger", "type": "query", "caller": 0}
    assert [f for f in found["functions"] if f["path"] != "messages:totals"] == [
        {**total, "times": 2, "items": None}
    ]
    (scan,) = found["scans"]
    assert (scan["componentPath"], scan["table"], scan["conditions"], scan["times"]) == (
        "ledger", "entries", ["amount > 0"], 2,
    )  # fmt: skip
    assert scan["documents"] == 4
    text = said(run(server, "messages:totals"))
    assert "ledger/entries.by_amount: amount > 0, a loop, 2 times" in text
    assert "    ledger/entries:total, a query, 2 times" in text
    assert "a document of ledger/entries is inserted" in text
    inside = of(server, "entries:total", "--component", "ledger")
    assert (inside["componentPath"], inside["documentsRead"]) == ("ledger", 2)
    assert said(run(server, "entries:total", "--component", "ledger")).startswith(
        "ledger/entries:total"
    )


def test_row_rules_and_guards_go_by_who_asks(server):
    found = of(server, "messages:notes", "--identity", USER)
    (scan,) = found["scans"]
    assert (scan["documents"], scan["withheldByRules"], scan["passed"]) == (2, 1, 1)
    assert found["readsIdentity"] is True
    text = said(run(server, "messages:notes", "--identity", USER))
    assert "1 withheld by its row rule" in text
    assert "somebody else asks: it read who calls" in text
    # Nobody has signed in: the rule holds for no row.
    assert of(server, "messages:notes")["scans"][0]["withheldByRules"] == 2


def test_what_is_not_a_document(server):
    server_said = camber(
        "env", "set", "GREETING", "hi", "--url", server.url, "--admin-key", ADMIN_KEY
    )
    assert server_said.returncode == 0
    found = of(server, "messages:clock")
    assert found["readsClock"] is True
    words = {entry["words"]: entry["invalidatedBy"] for entry in found["reads"]}
    assert words == {
        "which release serves": "a push",
        "the variable GREETING": "GREETING is set or removed",
    }


def test_a_mutation_is_run_and_not_committed(server):
    args = '{"author": "a1", "to": "renamed"}'
    before = server.value("query", "messages:of_author", {"author": "renamed"})
    found = of(server, "messages:rename", args)
    assert found["written"] == [
        {"componentPath": "", "table": "messages", "inserted": 1, "changed": 3, "deleted": 0},
        {"componentPath": "", "table": "fresh", "inserted": 1, "changed": 0, "deleted": 0},
    ]
    assert (found["type"], found["scheduled"], found["cache"]) == ("mutation", 1, None)
    assert found["scans"][0]["advice"]["declaration"] == 'by_author = Index("author")'
    text = said(run(server, "messages:rename", args))
    assert "messages: 1 inserted, 3 changed" in text
    assert "1 scheduled function" in text
    assert server.value("query", "messages:of_author", {"author": "renamed"}) == before == []
    tables = json.loads(
        said(camber("data", "--format", "json", "--url", server.url, "--admin-key", ADMIN_KEY))
    )
    assert "fresh" not in tables


def test_functions_that_fail_are_explained_as_far_as_they_came(server):
    text = said(run(server, "messages:breaks"))
    assert "and failed:\n  Uncaught ValueError: broken\\x1b[2J" in text
    assert "take(2)" in text
    assert "UserTimeout" in said(run(server, "messages:runs_away"))
    assert of(server, "messages:hidden")["documentsRead"] == 0


def test_what_is_huge_is_told_by_its_size(server):
    found = of(server, "messages:huge")
    assert found["resultBytes"] > 8_000_000
    text = said(run(server, "messages:long_key"))
    assert len(text) < 3000
    assert "(100002 characters)" in text  # in quotes
    assert {"$tooLong": 100002} in of(server, "messages:long_key")["reads"][0]["from"]["values"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("messages:act",), "messages:act is an action, which reads nothing itself"),
        (("messages:crashes",), "TransactionLost: messages:crashes ended its process, 3 times"),
        (("messages:recnt",), "There are: messages:recent"),
        (("messages:recent",), "missing the required field `channel`"),
        (("messages:recent", '{"channel": 1}'), "ArgumentValidationError"),
        (("messages:recent", "{"), "the arguments are not JSON"),
        (("messages:recent", "[]"), "a JSON object"),
        (("messages:recent", "{}", "--identity", "x"), "the identity is not JSON"),
        (("messages:recent", '{"channel": {"$bytes": 1}}'), "$bytes"),
        (("entries:total", "--component", "nowhere"), "nowhere"),
        (("_system/cli/tables",), "the server's own"),
        (("../x:y",), "is no function path"),
        (("",), "is no function path"),
    ],
)
def test_what_cannot_be_explained_is_told_in_a_line(server, arguments, message):
    assert message in told(run(server, *arguments))


def post(server, body, headers):
    return httpx.post(f"{server.url}/api/camber/explain", json=body, headers=headers, timeout=30)


def test_only_holders_of_keys_who_may_run_and_look(server):
    body = {"path": "messages:recent", "args": {"channel": "c1"}}
    assert post(server, body, {}).json()["code"] == "BadDeployKey"
    assert post(server, body, {"Authorization": "Bearer x.y.z"}).status_code == 403
    assert post(server, body, {"Authorization": "Convex kitchen|0"}).status_code == 401
    assert post(server, body, ROOT).json()["status"] == "success"
    for allows, status in (
        (["functions:run"], 403),
        (["data:view"], 403),
        (["functions:run", "data:view"], 200),
    ):
        made = httpx.post(
            f"{server.url}/api/camber/keys",
            json={"name": "-".join(allows).replace(":", "_"), "allows": allows},
            headers=ROOT,
            timeout=30,
        ).json()
        answer = post(server, body, {"Authorization": f"Convex {made['key']}"})
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"path": 1},
        {"path": "messages:recent", "componentPath": 1},
        {"path": "x" * 5000},
    ],
)
def test_bodies_that_are_none(server, body):
    answer = post(server, body, ROOT)
    assert answer.status_code == 400
    assert {"code", "message"} == set(answer.json())


def test_arguments_that_are_none(server):
    wrong: list[object] = [None, [], [1], [{}, {}], "x"]
    for args in wrong:
        answer = post(server, {"path": "messages:recent", "args": args}, ROOT)
        assert (answer.status_code, answer.json()["status"]) == (200, "error"), args
