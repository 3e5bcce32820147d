"""Loading a functions folder: what is found, and what is told with its file and line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from camber.functions.loading import LoadError, load_application
from tests.functions.projects import project_app, write_project

HEAD = "from camber import *\n"


def load(root: Path, **modules: str):
    write_project(root, **modules)
    folder = (root / "pyproject.toml").read_text().split('"')[1]
    return load_application(root, folder)


def test_functions_have_the_paths_of_their_modules(tmp_path):
    application = load(
        tmp_path,
        a="""
            from camber import *
            @query
            def one(ctx: QueryCtx): ...
            @query(name="getTwo")
            def two(ctx: QueryCtx): ...
            @query
            def default(ctx: QueryCtx): ...
        """,
        users__profile="""
            from camber import *
            from ..a import one            # not exported again
            @internal_mutation
            def get(ctx: MutationCtx): ...
            alias = get
        """,
        _private="""
            from camber import *
            @query
            def hidden(ctx: QueryCtx): ...
        """,
    )
    assert sorted(application.functions) == ["a:default", "a:getTwo", "a:one", "users/profile:get"]


def test_modules_shadow_nothing(tmp_path):
    application = load(
        tmp_path,
        http=HEAD + "import http, logging\nrouter = HttpRouter()\nassert http.HTTPStatus.OK == 200",
        logging=HEAD + "import logging\nassert logging.getLogger",
    )
    assert application.http is not None


def test_annotations_may_look_ahead(tmp_path):
    with project_app(
        tmp_path,
        schema="""
            from __future__ import annotations
            from camber import *

            class Left(Table, table="lefts"):
                right: Id[Right] | None = None

            class Right(Table, table="rights"):
                left: Id["Left"]
                other: Id["lefts"] | None = None
        """,
        code="""
            from __future__ import annotations
            from camber import *
            from .schema import Left, Right

            @mutation
            def make(ctx: MutationCtx) -> Right:
                left = ctx.db.insert(Left())
                return ctx.db.get(ctx.db.insert(Right(left=left, other=left)))
        """,
    ) as app:
        right = app.mutation("code:make")
        assert right.left == right.other
        assert type(right).__name__ == "Right"


@pytest.mark.parametrize(
    ("modules", "place", "told"),
    [
        ({"a": "x = 1\nimport nothing_such\n"}, "a.py:2", "ModuleNotFoundError"),
        ({"a": "def f(:\n"}, "a.py:1", "SyntaxError"),
        ({"a": "\n\n1/0"}, "a.py:3", "ZeroDivisionError"),
        ({"a": "import sys\nsys.exit(1)"}, "a.py:2", "SystemExit"),
        ({"a": HEAD + "@query\nasync def f(ctx): ..."}, "a.py:2", "async def.*delete the awaits"),
        ({"a": HEAD + "@query\ndef f(ctx: QueryCtx, x: set[int]): ..."}, "a.py:2", "f, parameter 'x'.*set.*has no wire form"),
        ({"a": HEAD + "@query\ndef f(ctx: QueryCtx) -> object(): ..."}, "a.py", ""),
        ({"a": HEAD + "@query\ndef f(): ..."}, "a.py:2", "the first parameter"),
        ({"a": HEAD + "@query\ndef f(ctx, *args): ..."}, "a.py:2", r"\*args"),
        ({"a": HEAD + "@query\ndef f(ctx, x, /): ..."}, "a.py:2", "sent by name"),
        ({"a": HEAD + "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .b import T\n@query\ndef f(ctx, x: 'T'): ..."}, "a.py:5", "'T'.*TYPE_CHECKING"),
        ({"a": HEAD + "@query\n@query\ndef f(ctx): ..."}, "a.py", "twice"),
        ({"a": HEAD + "@query(name='1x')\ndef f(ctx): ..."}, "a.py", "cannot name a function"),
        ({"a": HEAD + "@query(name='g')\ndef f(ctx): ...\n@query\ndef g(ctx): ..."}, "a.py:4", "two functions called 'a:g'"),
        ({"a": HEAD + "class T(Table, table='_x'): ..."}, "a.py:2", "TableNameReserved"),
        ({"a": HEAD + "class T(Table, table='1x'): ..."}, "a.py:2", "InvalidTableName"),
        ({"a": HEAD + "class T(Table, table='t'):\n    id: str"}, "a.py:2", "'id'.*field"),
        ({"a": HEAD + "class T(Table, table='t'):\n    _x: str"}, "a.py:2", "must not start with"),
        ({"a": HEAD + "class T(Table, table='t'):\n    x = 3"}, "a.py:2", "has no annotation"),
        ({"a": HEAD + "class T(Table, table='t'):\n    x: str\n    by_x = Index('y')"}, "a.py:2", "no field 'y'"),
        ({"a": HEAD + "class T(Table, table='t'):\n    x: str\n    by_x = Index()"}, "a.py:2", "EmptyIndex"),
        ({"a": HEAD + "class T(Table, table='t'):\n    x: str\n    by_x = Index('x', 'x')"}, "a.py:2", "FieldsNotUnique"),
        ({"a": HEAD + "class T(Table, table='t'):\n    x: str\n    by_x = Index('_id')"}, "a.py:2", "IndexFieldsContainId"),
        ({"a": HEAD + "class T(Table, table='t'):\n    x: str\n    by_x = Index('x', '_creationTime')"}, "a.py:2", "IndexFieldsContainCreationTime"),
        ({"a": HEAD + "class T(Table, table='t'):\n    x: str\n    a = Index('x')\n    b = Index('x')"}, "a.py:2", "IndexNotUnique"),
        ({"a": HEAD + "class T(Table, table='t'):\n    x: str\n    by_id = Index('x')"}, "a.py:2", "IndexNameReserved"),
        ({"a": HEAD + "class T(Table, table='t'):\n    x: str\n    _a = Index('x')"}, "a.py:2", "IndexNameReserved"),
        ({"a": HEAD + "class T(Table, table='t'):\n    x: str\n    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa = Index('x')"}, "a.py:2", "InvalidIndexName"),
        ({"a": HEAD + "class T(Table, table='t'):\n    x: str\n    y: str\n    a = Index('x')\n    a = Index('y')"}, "a.py:6", "IndexNamesNotUnique"),
        ({"a": HEAD + "class T(Table, table='t'):\n    x: str\n    a = Index('x')\n    a = SearchIndex('x')"}, "a.py:5", "IndexNamesNotUnique"),
        ({"a": HEAD + "class T(Table, table='t'):\n    x: dict[str, str]\n    a = Index('x.y')"}, "a.py:2", "SchemaDefinitionError"),
        ({"a": HEAD + "class T(Table, table='t'):\n    x: list[str]\n    a = Index('x.y')"}, "a.py:2", "SchemaDefinitionError"),
        ({"a": HEAD + "class T(Table, table='t'):\n    x: str\n    a = Index('_y')"}, "a.py:2", "IndexFieldNameReserved"),
        ({"a": HEAD + "class T(Table, table='t'):\n    x: str\n    a = SearchIndex('x')\n    b = SearchIndex('x')"}, "a.py:2", "IndexNotUnique"),
        ({"a": HEAD + "class T(Table, table='t'):\n    x: list[float]\n    a = VectorIndex('x', dimensions=2)\n    b = VectorIndex('x', dimensions=2)"}, "a.py:2", "IndexNotUnique"),
        ({"a": HEAD + "from typing import Any\nclass T(Table, table='t'):\n    x: Any\n    a = Index(*(f'x.f{n}' for n in range(17)))"}, "a.py:3", "IndexTooManyFields"),
        ({"a": HEAD + "class T(Table, table='t'):\n    x: str\n    y: str\n    a = SearchIndex('x', filter_fields=['y', 'y'])"}, "a.py:2", "FieldsNotUnique"),
        ({"a": HEAD + "from typing import Any\nclass T(Table, table='t'):\n    x: Any\n" + "".join(f"    i{n} = Index('x.f{n}')\n" for n in range(65)), "b": ""}, "a.py:3", "TooManyIndexes"),
        ({"a": HEAD + "class T(Table, table='t'):\n    x: str", "b": HEAD + "class U(Table, table='t'):\n    x: str"}, "", "declared by"),
        ({"a": HEAD + "class T(Table, table='t'):\n    x: set[str]"}, "a.py:2", "set.*has no wire form"),
        ({"auth_config": "providers = [3]"}, "auth_config.py", "`providers` holds 3"),
        ({"crons": HEAD + "crons = Crons()\ncrons.interval('x', 'a:b')"}, "crons.py:3", "one of seconds, minutes and hours"),
        ({"crons": HEAD + "crons = Crons()\ncrons.interval('x', 'a:b', seconds=1)"}, "crons.py", "Could not find function for 'a:b'"),
        ({"http": HEAD + "http = HttpRouter()\nhttp.get('x')"}, "http.py:3", "starts with '/'"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded_says_where_and_why(tmp_path, modules, place, told):
    with pytest.raises(LoadError, match=f"(?s){told}") as refused:
        load(tmp_path, **modules)
    assert place in refused.value.place


def test_a_failed_load_leaves_the_last_one(tmp_path):
    application = load(tmp_path, a=HEAD + "@query\ndef f(ctx) -> int:\n    return 1")
    folder = application.package
    (tmp_path / folder / "a.py").write_text("1/0")
    with pytest.raises(LoadError):
        load_application(tmp_path, folder)
    assert sys.modules[f"{folder}.a"].f is application.functions["a:f"]
    # Saved again at once, of the same length: the new text counts.
    for number in (2, 3):
        text = HEAD + f"@query\ndef f(ctx) -> int:\n    return {number}"
        (tmp_path / folder / "a.py").write_text(text)
        again = load_application(tmp_path, folder)
        assert again.functions["a:f"].handler(None) == number
    assert application.functions["a:f"].handler(None) == 1


def test_importing_camber_loads_nothing_of_the_server():
    script = (
        "import sys, camber\n"
        "above = ('runtime', 'releases', 'deployment', 'server', 'codegen', 'testing', 'cli')\n"
        "ours = [m for m in sys.modules if m.startswith(tuple(f'camber.{r}' for r in above))]\n"
        "late = [m for m in ('starlette', 'uvicorn', 'apsw', 'httpx', 'typer', 'asyncio') if m in sys.modules]\n"
        "print(ours, late, [hasattr(camber, name) for name in camber.__all__].count(False))\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == "[] [] 0"
