"""Rules of `StoredFile`: which files queries and mutations know of, and may delete."""

from __future__ import annotations

import pytest

from camber.errors import AppError, FunctionError
from tests.functions.projects import project_app

ACCESS = """
    from camber import *

    access = Access(default="deny")

    def own(ctx: QueryCtx, file: StoredFile) -> bool:
        user = ctx.auth.get_user_identity()
        held = ctx.db.query("held").filter(lambda each: each["file"] == file.id).first()
        return user is not None and held is not None and user.subject in held["by"]

    access.table(StoredFile, read=own, delete=lambda ctx, file: file.size < 5)
"""
CODE = """
    from typing import Any
    from camber import *

    @mutation
    def upload_url(ctx: MutationCtx) -> str:
        return ctx.storage.generate_upload_url()

    @mutation
    def hold(ctx: MutationCtx, file: str, by: list[str]) -> None:
        ctx.db.unrestricted.insert("held", {"file": file, "by": by})

    @query
    def known(ctx: QueryCtx, file: Id[StoredFile]) -> Any:
        found = ctx.storage.get_metadata(file)
        return [
            found and found.size,
            ctx.storage.get_url(file) is not None,
            ctx.db.system.get(file) is not None,
            file in [each.id for each in ctx.db.system.query(StoredFile)],
        ]

    @query
    def known_to_trusted_code(ctx: QueryCtx, file: Id[StoredFile]) -> list[bool]:
        return [
            ctx.db.unrestricted.system.get(file) is not None,
            ctx.db.system.unrestricted.get(file) is not None,
        ]

    @query
    def jobs(ctx: QueryCtx) -> int:
        return ctx.db.system.query(ScheduledFunction).count()

    @mutation
    def schedule(ctx: MutationCtx) -> None:
        ctx.scheduler.run_after(1000, hold, file="", by=[])

    @mutation
    def delete(ctx: MutationCtx, file: Id[StoredFile]) -> None:
        ctx.storage.delete(file)
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    root = tmp_path_factory.mktemp("ruled_files")
    with project_app(root, code=CODE, access=ACCESS) as opened:
        yield opened


def stored(app, content, *by):
    file = app.upload(app.mutation("code:upload_url"), content)
    app.mutation("code:hold", file=file, by=list(by))
    return file


def test_a_file_is_known_to_who_may_read_it(app):
    file = stored(app, b"content", "ann")
    ann, bob = app.with_identity(subject="ann"), app.with_identity(subject="bob")
    assert ann.query("code:known", file=file) == [7, True, True, True]
    assert bob.query("code:known", file=file) == [None, False, False, False]
    assert bob.query("code:known_to_trusted_code", file=file) == [True, True]


def test_a_file_is_deleted_by_who_may(app):
    small, large = stored(app, b"tiny", "ann"), stored(app, b"larger", "ann")
    ann, bob = app.with_identity(subject="ann"), app.with_identity(subject="bob")
    with pytest.raises(FunctionError, match="StorageIdNotFound"):
        bob.mutation("code:delete", file=small)
    with pytest.raises(AppError, match="Forbidden"):
        ann.mutation("code:delete", file=large)
    ann.mutation("code:delete", file=small)
    assert ann.query("code:known", file=small) == [None, False, False, False]


def test_default_deny_is_of_the_applications_own_tables(app):
    app.mutation("code:schedule")
    assert app.query("code:jobs") == 1
