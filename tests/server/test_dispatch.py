import asyncio

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from camber.errors import BadRequest
from camber.server.dispatch import Dispatch


def route(path, *methods):
    """Return a route that answers with its own name and what it found in the path."""

    async def endpoint(request):
        found = ",".join(f"{name}={value}" for name, value in request.path_params.items())
        return PlainTextResponse(f"{path} {sorted(methods)} {found}")

    return Route(path, endpoint, methods=list(methods))


ROUTES = [
    route("/", "GET"),
    route("/a", "GET"),
    route("/a", "POST"),
    route("/a/b", "POST", "PUT"),
    route("/a/{name}", "GET"),
    route("/b/{rest:path}", "DELETE"),
    route("/b/c", "POST"),
]
PAGE = route("/{path:path}", "GET")


def ask(application, method, path):
    async def asked():
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(method, path)

    return asyncio.run(asked())


paths = st.lists(st.sampled_from(["a", "b", "c", "x"]), max_size=3).map(lambda p: "/" + "/".join(p))
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE"])


@given(method=methods, path=paths, more=st.sampled_from([[], [PAGE]]))
def test_a_request_finds_the_route_that_starlette_finds(method, path, more):
    routes = [*ROUTES, *more]
    oracle = Starlette(routes=routes)
    # A path with a slash too many or too few is another path.
    oracle.router.redirect_slashes = False
    expected = ask(oracle, method, path)
    found = ask(Dispatch(routes, own_origins="/own/"), method, path)
    assert found.status_code == expected.status_code
    if expected.is_success:
        assert found.content == expected.content
    else:
        assert found.content == b""


def test_a_method_that_a_path_does_not_take_is_told_those_that_it_does():
    response = ask(Dispatch(ROUTES, own_origins="/own/"), "DELETE", "/a")
    assert response.headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize("mount", ["", "/deep/er"])
def test_routes_are_found_below_where_a_host_mounts_them(mount):
    host = Starlette(routes=[Mount(mount, Dispatch(ROUTES, own_origins="/own/"))])
    assert ask(host, "GET", f"{mount}/a").text.startswith("/a ['GET']")
    assert ask(host, "GET", f"{mount}/a/x").text.endswith("name=x")
    assert ask(host, "GET", f"{mount}/nowhere").status_code == 404


def test_what_an_endpoint_raises_is_an_answer_that_every_origin_reads(caplog):
    async def refuses(request):
        raise BadRequest("not so", code="NotSo")

    async def fails(request):
        raise RuntimeError("a secret")

    routes = [Route("/refuses", refuses), Route("/fails", fails)]
    application = Dispatch(routes, own_origins="/own/")
    refused = ask(application, "GET", "/refuses")
    assert (refused.status_code, refused.json()["code"]) == (400, "NotSo")
    failed = ask(application, "GET", "/fails")
    assert (failed.status_code, failed.json()["code"]) == (500, "InternalServerError")
    assert "secret" not in failed.text
    assert "a secret" in caplog.text
    assert "Origin" in failed.headers["vary"]


def test_routes_with_origins_of_their_own_are_left_alone():
    application = Dispatch([route("/own/{rest:path}", "GET", "OPTIONS")], own_origins="/own/")
    assert "vary" not in ask(application, "GET", "/own/x").headers
    assert ask(application, "OPTIONS", "/own/x").text.startswith("/own/")
    assert ask(application, "OPTIONS", "/other").headers["access-control-max-age"] == "86400"
