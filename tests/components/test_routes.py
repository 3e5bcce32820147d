"""Routes of components: below their prefix, over the data of their own mount."""

from __future__ import annotations

import httpx
import pytest

from camber.functions.loading import LoadError
from camber.testing import TestApp
from tests.components.test_components import write_component
from tests.functions.projects import write_project
from tests.servers import Server

_HTTP = '''

from starlette.responses import JSONResponse

from camber import *
from camber import Request, Response
from .items import add, names

http = HttpRouter()

@http.post("/items/{name}")
async def post(ctx: ActionCtx, request: Request) -> Response:
    """Add an item of this mount."""
    await ctx.run_mutation(add, name=request.path_params["name"])
    return JSONResponse([await ctx.run_query(names), request.url.path])

@http.get(prefix="/below/")
async def below(ctx: ActionCtx, request: Request) -> Response:
    return Response(ctx.env["CONVEX_SITE_URL"])

@http.get("/who")
async def who(ctx: ActionCtx, request: Request) -> Response:
    return Response(str(ctx.auth.get_user_identity()))

async def echo_root(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["root_path"].encode()})

http.mount("/mounted", echo_root)
'''
_APP = """
    from camber import App, Component
    app = App()
    stock = app.use(Component("stock", path="{package}"), http_prefix="/stock")
    spare = app.use(Component("stock", path="{package}"), name="spare", http_prefix="/spare/")
    hidden = app.use(Component("stock", path="{package}"), name="hidden")
"""
_OWN = """
    from camber import ActionCtx, HttpRouter, Request, Response

    http = HttpRouter()

    @http.get("/stock/below/own")
    async def own(ctx: ActionCtx, request: Request) -> Response:
        return Response("the application's")
"""


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "project"
    package = f"stock_{tmp_path.name.replace('-', '_')}"
    write_component(root, package)
    (root / package / "http.py").write_text(_HTTP)
    return write_project(root, app=_APP.format(package=package), http=_OWN)


def test_each_mount_answers_below_its_prefix_over_its_own_data(project, tmp_path):
    with Server(project, tmp_path / "data", "--executors", "1", command="start") as server:
        site = server.site_url
        assert httpx.post(f"{site}/stock/items/a").json() == [["a"], "/stock/items/a"]
        assert httpx.post(f"{site}/stock/items/b").json() == [["a", "b"], "/stock/items/b"]
        assert httpx.post(f"{site}/spare/items/c").json() == [["c"], "/spare/items/c"]
        for path in ("/items/d", "/hidden/items/d"):
            assert httpx.post(f"{site}{path}").status_code == 404
        assert httpx.get(f"{site}/spare/below/x").text == f"{site}/spare"
        assert httpx.get(f"{site}/stock/mounted/x").text == "/stock/mounted"
        # The application has the last word on its site.
        assert httpx.get(f"{site}/stock/below/own").text == "the application's"
        # Who calls is the application's affair, here as in functions.
        assert httpx.get(f"{site}/stock/who").status_code == 500
        paths = httpx.get(f"{server.url}/api/openapi.json").json()["paths"]
        assert paths["/http/spare/items/{name}"]["post"]["summary"] == "Add an item of this mount."


def test_tests_fetch_from_components_too(project):
    with TestApp(project) as app:
        assert app.fetch("/stock/items/a", method="POST").json()[0] == ["a"]
        assert app.fetch("/spare/items/b", method="POST").json()[0] == ["b"]


_NESTED = """
    from camber import App, Component
    app = App()
    stock = app.use(Component("stock", path="{package}"), http_prefix="{prefix}")
"""
_AROUND = """
    from camber import ActionCtx, HttpRouter, Request, Response

    http = HttpRouter()

    async def around(scope, receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"around"})

    http.mount("/outer", around)
"""


def around_project(tmp_path, *, prefix, more=""):
    root = tmp_path / "project"
    package = f"stock_{tmp_path.name.replace('-', '_')}"
    write_component(root, package)
    (root / package / "http.py").write_text(_HTTP)
    app = _NESTED.format(package=package, prefix=prefix) + more.format(package=package)
    return write_project(root, app=app, http=_AROUND)


@pytest.mark.parametrize("prefix", ["/outer/stock", "/outer"])
def test_a_component_is_reached_below_what_the_application_has_mounted(tmp_path, prefix):
    with TestApp(around_project(tmp_path, prefix=prefix)) as app:
        assert app.fetch(f"{prefix}/items/a", method="POST").json()[0] == ["a"]
        assert app.fetch(f"{prefix}/below/x").text.endswith(prefix)
        assert app.fetch(f"{prefix}/mounted/x").text == f"{prefix}/mounted"
        for path in ("/outer", "/outer/x", f"{prefix}/items", f"{prefix}/belo"):
            assert app.fetch(path).text == "around"


def test_two_applications_mounted_at_one_path_are_refused(tmp_path):
    root = around_project(tmp_path, prefix="/outer")
    (http,) = root.glob("stock_*/http.py")
    http.write_text(_HTTP.replace('"/mounted"', '"/"'))
    with pytest.raises(LoadError, match=r"mounted at '/outer' by component 'stock' would never"):
        TestApp(root)


def test_two_components_with_one_route_are_refused(tmp_path):
    root = around_project(tmp_path, prefix="/outer", more=_OTHER)
    (http,) = root.glob("stock_*/http.py")
    http.write_text(_HTTP + '\n@http.post("/below/items/{x}")\n' + _TAKES)
    with pytest.raises(LoadError, match="by component 'other' would never be reached") as refused:
        TestApp(root)
    assert "POST at '/outer/below/items/{name}'" in str(refused.value)


_OTHER = """\
    inner = app.use(Component("stock", path="{package}"), name="other", http_prefix="/outer/below")
"""
_TAKES = """
async def takes(ctx: ActionCtx, request: Request) -> Response:
    return Response("taken")
"""
