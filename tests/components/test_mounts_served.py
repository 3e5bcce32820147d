"""Components as their authors meet them: a server, mounts within mounts, an installed package, pushes."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import httpx
import pytest

from tests.cli import commands
from tests.cli.commands import camber, said
from tests.servers import ADMIN_KEY, Server

ADMIN = {"Authorization": f"Convex {ADMIN_KEY}"}
#: The functions of the application and of each component.
THINGS = """
    from typing import Any
    from camber import *

    @action
    async def store(ctx: ActionCtx, text: str) -> str:
        return await ctx.storage.store(text.encode(), content_type="text/plain")

    @action
    async def read(ctx: ActionCtx, id: str) -> str | None:
        found = await ctx.storage.get(id)
        return None if found is None else (await found.read()).decode()

    @action
    async def remove_in_action(ctx: ActionCtx, id: str) -> None:
        await ctx.storage.delete(id)

    @mutation
    def upload_url(ctx: MutationCtx) -> str:
        return ctx.storage.generate_upload_url()

    @mutation
    def remove(ctx: MutationCtx, id: str) -> None:
        ctx.storage.delete(id)

    @query
    def url(ctx: QueryCtx, id: str) -> str | None:
        return ctx.storage.get_url(id)

    @query
    def metadata(ctx: QueryCtx, id: str) -> Any:
        return ctx.storage.get_metadata(id)

    @query
    def site(ctx: QueryCtx) -> str:
        return ctx.env["CONVEX_SITE_URL"]

    @action
    async def cancels(ctx: ActionCtx, id: str) -> None:
        await ctx.scheduler.cancel(id)

    @mutation
    def later(ctx: MutationCtx, name: str) -> str:
        ctx.db.insert("things", {"name": name})
        return ctx.scheduler.run_after(3600, "things:later", name=name)

    @mutation
    def fail(ctx: MutationCtx, what: str) -> None:
        if what == "data":
            raise AppError("no")
        raise ValueError("no")

    @action
    async def act(ctx: ActionCtx, handle: str) -> str:
        return await ctx.run_query(handle)

    @query
    def ask(ctx: QueryCtx, handle: str) -> str:
        return ctx.run_query(handle)

    @internal_query
    def secret(ctx: QueryCtx) -> str:
        return "secret"

    @query
    def handle(ctx: QueryCtx) -> str:
        return ctx.function_handle(secret)
"""
APP = """
    from camber import App, Component

    app = App()
    red = app.use(Component("box", path="box"), name="red", http_prefix="/red")
    shelf = app.use(Component("shelf", path="shelf"), http_prefix="/shelf/")
    packed = app.use(Component("packed", package="acme_mounted.packed"))
"""
SHELF = """
    from camber import App, Component

    app = App()
    box = app.use(Component("box", path="box"), http_prefix="/box")
    hidden = app.use(Component("box", path="box"), name="hidden")
"""
ROUTER = """
    from camber import HttpRouter

    http = HttpRouter()
"""
CALLS = """
    from acme_mounted.packed import things as packed_things
    from box import things
    from camber import ActionCtx, FunctionError, MutationCtx, action, mutation
    from .app import packed, red

    @mutation
    def fail(ctx: MutationCtx, what: str) -> None:
        ctx.run_mutation(red[things.fail], what=what)

    @action
    async def fail_in_action(ctx: ActionCtx, what: str) -> None:
        await ctx.run_mutation(red[things.fail], what=what)

    @mutation
    def fail_in_package(ctx: MutationCtx, what: str) -> None:
        ctx.run_mutation(packed[packed_things.fail], what=what)

    @mutation
    def said(ctx: MutationCtx, what: str) -> str:
        try:
            ctx.run_mutation(red[things.fail], what=what)
        except FunctionError as error:
            return str(error)
        return "nothing"
"""


def line_of(module: str, text: str) -> int:
    lines = textwrap.dedent(module).splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("mounts")
    project, site = root / "project", root / "site"
    modules = {
        "backend/app": APP,
        "backend/things": THINGS,
        "backend/calls": CALLS,
        "box/things": THINGS,
        "box/http": ROUTER,
        "shelf/app": SHELF,
        "shelf/things": THINGS,
    }
    for name, text in modules.items():
        file = project / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    (project / "pyproject.toml").write_text(
        '[tool.camber]\nfunctions = "backend"\ngenerated = []\n'
    )
    package = site / "acme_mounted" / "packed"
    package.mkdir(parents=True)
    (package / "things.py").write_text(textwrap.dedent(THINGS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(site))
        with Server(project, root / "data", "--executors", "1") as server:
            yield server


def called(server, path, component="", **args) -> Any:
    body = {"path": path, "args": args, "componentPath": component}
    return server.post("/api/function", body, **ADMIN).json()


def value(server, path, component="", **args) -> Any:
    answer = called(server, path, component, **args)
    assert answer["status"] == "success", answer
    return answer["value"]


def shown(server, table, *options):
    target = ("--url", server.url, "--admin-key", ADMIN_KEY, "--format", "json")
    return json.loads(said(camber("data", table, *options, *target)))


MOUNTS = ("", "red", "shelf", "shelf/box", "packed")


def test_system_tables_are_shown_as_each_component_has_them(server):
    files = {at: value(server, "things:store", at, text=f"of {at}") for at in MOUNTS}
    jobs = {at: value(server, "things:later", at, name=at) for at in MOUNTS}
    for at in MOUNTS:
        options = ("--component", at) if at else ()
        stored = shown(server, "_storage", *options)
        assert [row["_id"] for row in stored] == [files[at]]
        assert "component" not in stored[0]
        scheduled = shown(server, "_scheduled_functions", *options)
        assert [(row["_id"], row["args"]) for row in scheduled] == [(jobs[at], [{"name": at}])]
        count = value(server, "_system/cli/tableSize", at, tableName="_storage")
        assert count == 1
    refused = called(server, "things:cancels", id=jobs["red"])
    assert "another component" in refused["errorMessage"]
    cancelled = server.post("/api/cancel_all_jobs", {"componentPath": "shelf"}, **ADMIN).json()
    assert cancelled == {"canceled": 1}
    states = {
        at: shown(server, "_scheduled_functions", *(("--component", at) if at else ()))
        for at in MOUNTS
    }
    assert {at: row[0]["state"]["kind"] for at, row in states.items()} == {
        **dict.fromkeys(MOUNTS, "pending"),
        "shelf": "canceled",
    }


@pytest.mark.parametrize(("owner", "reader"), [("red", ""), ("", "red"), ("shelf/box", "red")])
def test_a_file_of_another_component_is_refused_by_all_that_takes_files(server, owner, reader):
    id = value(server, "things:store", owner, text="theirs")
    whose = f"component '{owner}'" if owner else "the application"
    for path in ("url", "metadata", "remove", "read", "remove_in_action"):
        answer = called(server, f"things:{path}", reader, id=id)
        assert f"{id} is a file of {whose}" in answer["errorMessage"], (path, answer)
    assert value(server, "things:read", owner, id=id) == "theirs"


def test_the_site_of_a_mount_within_a_mount_has_both_prefixes(server):
    site = server.site_url
    assert {at: value(server, "things:site", at) for at in (*MOUNTS, "shelf/hidden")} == {
        "": site,
        "red": f"{site}/red",
        "shelf": f"{site}/shelf",
        "shelf/box": f"{site}/shelf/box",
        # Their routes are served nowhere.
        "shelf/hidden": site,
        "packed": site,
    }


def test_errors_of_components_say_where_in_the_authors_files_they_were_raised(server):
    line = line_of(THINGS, 'ValueError("no")')
    places = {
        "calls:fail": "box/things.py",
        "calls:fail_in_action": "box/things.py",
        "calls:fail_in_package": "acme_mounted/packed/things.py",
    }
    for path, place in places.items():
        told = called(server, path, what="error")["errorMessage"].splitlines()
        caller = path.removeprefix("calls:")
        assert told[2] == f"    at {place}:{line} in fail", told
        assert told[-1].startswith("    at backend/calls.py:"), told
        assert told[-1].endswith(f" in {caller}"), told
        assert len(told) == 4
        assert ".camber" not in "".join(told)
    data = called(server, "calls:fail", what="data")
    assert data["errorData"] == "no"
    raised = line_of(THINGS, "raise AppError")
    assert f"box/things.py:{raised}" in data["errorMessage"]


def test_the_text_of_an_error_names_the_function_and_its_error_once(server):
    assert value(server, "calls:said", what="error") == "red/things:fail failed: ValueError: no"
    told = called(server, "calls:fail", what="error")["errorMessage"].splitlines()[1]
    assert told == "Uncaught Error: red/things:fail failed: ValueError: no"


def test_handles_are_good_in_every_process_and_after_a_restart(server):
    handle = value(server, "things:handle", "shelf/box")
    forged = "function://shelf/box;things:secret"
    for _ in range(2):
        for path in ("things:ask", "things:act"):
            assert value(server, path, handle=handle) == "secret"
            assert value(server, path, "red", handle=handle) == "secret"
            told = called(server, path, handle=forged)["errorMessage"]
            assert "is no function handle of this deployment" in told
        server.restart()
        assert value(server, "things:handle", "shelf/box") == handle


def test_what_is_wrong_with_a_component_is_said_of_the_authors_files(server):
    box = server.project / "box" / "things.py"
    text = box.read_text()
    for written, told in (
        (f"from .nowhere import x\n{text}", "box/things.py:1"),
        (f"from . import nothing_there\n{text}", "box/things.py:1"),
        (f"{text}\n\nraise ValueError('at import')\n", "at import"),
    ):
        box.write_text(written)
        output = server.wait_for_push()
        while told not in output:
            output += server.lines.get(timeout=10)
        assert ".camber" not in output
    box.write_text(text)
    server.wait_for_push()
    server.save("app.py", 'path="box"', 'path="nowhere"')
    said_so = "".join(server.output[-5:])
    assert "there is no folder 'nowhere' in the project" in said_so
    assert ".camber" not in said_so
    server.save("app.py", 'path="nowhere"', 'path="box"')


def test_what_is_unmounted_keeps_its_files_and_takes_no_more(server):
    id = value(server, "things:store", "red", text="kept")
    url = value(server, "things:url", "red", id=id)
    upload = value(server, "things:upload_url", "red")
    before = shown(server, "_storage", "--component", "red")

    server.save("app.py", "red = app.", "red = App().")
    # Whoever has its URL sees it: there is nobody who could take it back.
    assert httpx.get(url).text == "kept"
    answer = httpx.post(upload, content=b"more")
    assert (answer.status_code, answer.json()["code"]) == (400, "UnmountedComponent")
    assert "'red', which is not mounted" in answer.json()["message"]
    # Operators see it, and what they export has it.
    assert shown(server, "_storage", "--component", "red") == before

    server.save("app.py", "red = App().", "red = app.")
    assert value(server, "things:read", "red", id=id) == "kept"
    answer = httpx.post(upload, content=b"more")
    assert value(server, "things:read", "red", id=answer.json()["storageId"]) == "more"


def test_what_is_unmounted_is_deleted_for_good_by_operators(server):
    target = ("--url", server.url, "--admin-key", ADMIN_KEY)
    kept = shown(server, "_storage", "--component", "packed")
    before = {
        each["path"]: each
        for each in json.loads(said(camber("components", "list", "--json", *target)))
    }
    assert {path: each["state"] for path, each in before.items()} == dict.fromkeys(
        ("red", "shelf", "shelf/box", "shelf/hidden", "packed"), "mounted"
    )
    assert before["shelf/box"]["documents"] == {"things": 1}
    assert before["shelf/box"]["files"] >= 1
    assert before["shelf/box"]["fileBytes"] > before["shelf/box"]["files"]
    assert before["shelf/box"]["scheduledFunctions"] == 1
    refused = commands.told(camber("components", "delete", "shelf", "--yes", *target))
    assert "component 'shelf' is mounted: push a release that does not mount it first" in refused
    answer = server.post("/api/delete_component", {"componentId": "shelf"}, **ADMIN)
    assert (answer.status_code, answer.json()["code"]) == (400, "ComponentMounted")

    url = value(
        server,
        "things:url",
        "shelf/box",
        id=shown(server, "_storage", "--component", "shelf/box")[0]["_id"],
    )
    server.save("app.py", "shelf = app.", "shelf = App().")
    assert httpx.get(url).status_code == 200
    for id, code in (("nowhere", "ComponentPathNotFound"), ("../red", "ComponentPathNotFound"),
                     ("", "BadJsonBody"), (None, "BadJsonBody"), (3, "BadJsonBody"),
                     ("red", "ComponentMounted")):  # fmt: skip
        answer = server.post("/api/delete_component", {"componentId": id}, **ADMIN)
        assert (answer.status_code, answer.json()["code"]) == (400, code), id
    assert server.post("/api/delete_component", {"componentId": "shelf"}).status_code == 403
    unsure = camber("components", "delete", "shelf", *target)
    assert (unsure.returncode, "nobody is there to confirm it" in unsure.stderr) == (1, True)
    assert "there is no component 'shel'" in commands.told(
        camber("components", "delete", "shel", *target)
    )
    listed = said(camber("components", "list", *target))
    assert "unmounted" in listed

    done = said(camber("components", "delete", "shelf", "--yes", *target))
    assert "shelf/box: tables things (1); " in done
    assert done.splitlines()[-1].startswith("Deleted ")
    left = json.loads(said(camber("components", "list", "--json", *target)))
    assert [each["path"] for each in left] == ["packed", "red"]
    assert httpx.get(url).status_code == 404
    assert shown(server, "_storage", "--component", "packed") == kept
    assert "No component is mounted at 'shelf'" in commands.told(
        camber("data", "--component", "shelf", *target)
    )
    server.save("app.py", "shelf = App().", "shelf = app.")
    assert shown(server, "_storage", "--component", "shelf/box") == []
    value(server, "things:later", "shelf/box", name="new")
    assert [each["name"] for each in shown(server, "things", "--component", "shelf/box")] == ["new"]
