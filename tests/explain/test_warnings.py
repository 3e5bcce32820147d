"""Warnings of queries that read far more than they return: in development, each once."""

from __future__ import annotations

import re

import pytest

from camber import limits
from tests.functions.projects import write_project
from tests.servers import Server

COUNT = limits.scan_warning_documents_min
MODULES = {
    "schema": """
        from camber import Index, Table


        class Task(Table, table="tasks"):
            owner: str
            number: int
            by_number = Index("number")
    """,
    "tasks": """
        from camber import MutationCtx, QueryCtx, gte, mutation, query

        from .schema import Task


        @mutation
        def fill(ctx: MutationCtx, count: int) -> None:
            for n in range(count):
                ctx.db.insert(Task(owner=f"o{n % 50}", number=n))


        @query
        def of_owner(ctx: QueryCtx, owner: str) -> list[Task]:
            return ctx.db.query(Task).filter(lambda task: task.owner == owner).collect()


        @query
        def kept(ctx: QueryCtx, owner: str) -> list[Task]:
            return [task for task in ctx.db.query(Task).collect() if task.owner == owner]


        @query
        def everything(ctx: QueryCtx) -> list[Task]:
            return ctx.db.query(Task).collect()


        @query
        def total(ctx: QueryCtx) -> int:
            return sum(task.number for task in ctx.db.query(Task).collect())


        @query
        def most(ctx: QueryCtx) -> list[Task]:
            return ctx.db.query(Task).filter(lambda task: task.owner != "o1").collect()


        @query
        def odd(ctx: QueryCtx) -> list[Task]:
            return ctx.db.query(Task).filter(lambda task: task.number % 50 == 1).collect()


        @mutation
        def close(ctx: MutationCtx, owner: str) -> int:
            found = ctx.db.query(Task).filter(lambda task: task.owner == owner and task.number >= 0)
            return len([ctx.db.delete(task.id) for task in found.take(1)]) + len(
                ctx.db.query(Task).filter(lambda task: task.owner == "nobody").collect()
            )


        @query
        def last(ctx: QueryCtx) -> list[Task]:
            return ctx.db.query(Task).filter(lambda task: task.number == 7).collect()
    """,
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp("warned") / "project", **MODULES)


def ask_all(server):
    """Call everything, several times; return what the server has said of it."""
    server.value("mutation", "tasks:fill", {"count": COUNT})
    for owner in ("o1", "o2", "o1"):
        server.value("query", "tasks:of_owner", {"owner": owner})
        server.value("query", "tasks:kept", {"owner": owner})
    for path in ("everything", "total", "most", "odd", "odd"):
        server.value("query", f"tasks:{path}", {})
    server.value("mutation", "tasks:fill", {"count": COUNT})
    for owner in ("o3", "o4"):
        server.value("mutation", "tasks:close", {"owner": owner})
    server.value("query", "tasks:of_owner", {"owner": "o5"})


def test_development_says_each_once(project, tmp_path):
    with Server(project, tmp_path / "data", "--executors", "2") as server:
        ask_all(server)
        answer = server.call("query", "tasks:last", {})
        # Not to clients: what they are told would differ from one run to the next.
        assert "logLines" not in answer
        server.wait_for(re.compile(r"by_number, number=7"))
    output = "".join(server.output)
    assert output.count("Declare in table 'tasks':\n") == 3
    assert output.count("read 100 documents by tasks.by_creation_time") == 3
    assert output.count('by_owner = Index("owner")') == 3
    assert "ctx.db.query(Task).with_index(Task.by_owner, owner=owner).collect()" in output
    assert "Use the index tasks.by_number, which is there" in output
    for function, times in {
        "of_owner": 1, "kept": 1, "odd": 1, "close": 1, "last": 1, "everything": 0, "total": 0, "most": 0,
    }.items():  # fmt: skip
        warned = re.findall(rf"tasks:{function}\b.*read \d+ documents", output)
        assert len(warned) == times, (function, output)


def test_production_says_nothing_unless_it_is_asked(project, tmp_path):
    options = ("--executors", "1", "--tail-logs")
    with Server(project, tmp_path / "quiet", *options, command="start") as server:
        ask_all(server)
    assert "documents by tasks" not in "".join(server.output)
    with Server(project, tmp_path / "warned", *options, "--warn-scans", command="start") as server:
        server.value("mutation", "tasks:fill", {"count": COUNT})
        server.value("query", "tasks:of_owner", {"owner": "o1"})
        server.wait_for(re.compile(r"read 100 documents by tasks\.by_creation_time"))


def test_in_the_servers_own_process_too(project, tmp_path):
    with Server(project, tmp_path / "data", "--executors", "0") as server:
        server.value("mutation", "tasks:fill", {"count": COUNT - 1})
        server.value("query", "tasks:of_owner", {"owner": "o1"})
        server.value("mutation", "tasks:fill", {"count": 1})
        server.value("query", "tasks:of_owner", {"owner": "o2"})
        server.wait_for(re.compile(rf"read {COUNT} documents by tasks\.by_creation_time"))
    assert "".join(server.output).count("Declare in table") == 1
