"""Routes of components: below their prefix, over the data of their own mount."""

from __future__ import annotations

import httpx
import pytest

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
