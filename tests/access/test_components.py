"""A component's rules are its own, of its own tables."""

from __future__ import annotations

import textwrap

import pytest

from camber.errors import AppError
from camber.functions.loading import LoadError
from camber.testing import TestApp
from tests.functions.projects import write_project

PART = """
    from camber import *

    class Note(Table, table="notes"):
        body: str
        public: bool = False

    @mutation
    def add(ctx: MutationCtx, body: str, public: bool = False) -> None:
        ctx.db.insert(Note(body=body, public=public))

    @query
    def all(ctx: QueryCtx) -> list[str]:
        return [note.body for note in ctx.db.query(Note)]
"""
RULES = """
    from camber import *
    from .entries import Note

    access = Access()
    access.table(Note, read=lambda ctx, note: note.public)
"""
CODE = """
    from camber import *
    from .app import part

    class Note(Table, table="notes"):
        body: str

    @mutation
    def add(ctx: MutationCtx, body: str) -> None:
        ctx.db.insert(Note(body=body))

    @mutation
    def add_inside(ctx: MutationCtx, body: str, public: bool) -> None:
        ctx.run_mutation(part["entries:add"], body=body, public=public)

    @query
    def inside(ctx: QueryCtx) -> list[str]:
        return ctx.run_query(part["entries:all"])

    @query
    def outside(ctx: QueryCtx) -> list[str]:
        return [note.body for note in ctx.db.query(Note)]
"""
APP = """
    from camber import App, Component

    app = App()
    part = app.use(Component("part", path="PLACE"))
"""
OWN = """
    from camber import *
    from .code import Note

    access = Access(default="deny")
    access.table(Note, read=anyone)
"""


def project(root, place, rules, **modules):
    """A project with a component in a folder of a name that no other test has."""
    write_project(root, code=CODE, app=APP.replace("PLACE", place), **modules)
    folder = root / place
    folder.mkdir()
    (folder / "entries.py").write_text(textwrap.dedent(PART))
    if rules is not None:
        (folder / "access.py").write_text(textwrap.dedent(rules))
    return root


def test_each_component_has_the_rules_of_its_own_tables(tmp_path):
    with TestApp(project(tmp_path, "ruled_part", RULES, access=OWN)) as app:
        # Its table is called like the application's, whose default is deny.
        app.mutation("code:add_inside", body="shown", public=True)
        app.mutation("code:add_inside", body="hidden", public=False)
        assert app.query("code:inside") == ["shown"]
        with pytest.raises(AppError, match="Forbidden"):
            app.mutation("code:add", body="x")
        assert app.query("code:outside") == []


def test_a_component_without_rules_is_not_asked_the_applications(tmp_path):
    with TestApp(project(tmp_path, "open_part", None, access=OWN)) as app:
        app.mutation("code:add_inside", body="kept", public=False)
        assert app.query("code:inside") == ["kept"]


def test_the_rules_of_a_component_reach_nothing_outside(tmp_path):
    with TestApp(project(tmp_path, "closed_part", RULES)) as app:
        app.mutation("code:add", body="open")
        assert app.query("code:outside") == ["open"]


def test_a_component_has_no_identity_to_ask_about(tmp_path):
    rules = RULES.replace("note.public", "ctx.auth.get_user_identity() is None")
    with TestApp(project(tmp_path, "asking_part", rules)) as app:
        app.mutation("code:add_inside", body="x", public=True)
        with pytest.raises(Exception, match="AuthUnavailableInComponent"):
            app.query("code:inside")


def test_rules_of_a_components_table_are_not_the_applications(tmp_path):
    access = """
    from camber import *
    from foreign_part.entries import Note

    access = Access()
    access.table(Note, read=nobody)
    """
    with pytest.raises(LoadError, match="is not declared here"):
        TestApp(project(tmp_path, "foreign_part", None, access=access))
