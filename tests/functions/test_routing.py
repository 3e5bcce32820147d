"""Which route answers: as a reading of the rules finds it that tries them all."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber.functions.analysis import AnalysedRoute, Analysis
from camber.functions.http_router import HttpRouter, RouteError
from camber.functions.routing import RouteTable

_PARTS = ["a", "b", "é", "{x}", "{y}", ""]
_METHODS = ["GET", "POST", "*"]

paths = st.lists(st.sampled_from(_PARTS), min_size=1, max_size=3).map(lambda p: "/" + "/".join(p))
prefixes = st.lists(st.sampled_from(["a", "b", "é"]), max_size=2).map(
    lambda p: "/" + "".join(f"{part}/" for part in p)
)


@st.composite
def declared(draw):
    """A router, declared at random; what cannot be declared beside the rest is left out."""
    router = HttpRouter()
    for _ in range(draw(st.integers(0, 8))):
        method = draw(st.sampled_from(_METHODS))
        try:
            if method == "*":
                router.mount(draw(prefixes), _answer)
            elif draw(st.booleans()):
                router.route(draw(paths), method=method)(_answer)
            else:
                router.route(prefix=draw(prefixes), method=method)(_answer)
        except RouteError:
            continue
    return [AnalysedRoute(method=route.method, path=route.path) for route in router.routes]


async def _answer(*_):
    """Nothing is answered here."""


asked = st.lists(st.sampled_from(["a", "b", "é", "c%2Fd", ""]), min_size=1, max_size=4).map(
    lambda p: "/" + "/".join(quote(part, safe="%") for part in p)
)


@given(routes=declared(), method=st.sampled_from(["GET", "HEAD", "POST", "PUT"]), path=asked)
def test_the_most_particular_route_answers(routes, method, path):
    found = RouteTable(routes).find(method, path)
    expected = _best(routes, "GET" if method == "HEAD" else method, path)
    assert (None if found is None else found.route) == expected


def _best(routes, method, path):
    """Try every route; rank those that match by the rules of protocol 7.2 and ours for parameters."""
    ranked: list[tuple[Any, AnalysedRoute]] = []
    for route in routes:
        if route.method not in {method, "*"}:
            continue
        if route.path.endswith("/*"):
            prefix = quote(route.path[:-1])
            is_own = route.method != "*"
            if path.startswith(prefix) or (not is_own and path == prefix[:-1]):
                ranked.append(((0, len(prefix), is_own), route))
            continue
        parts = [re.escape(quote(part)) for part in route.path.split("/")]
        literals = ["{" not in part for part in route.path.split("/")]
        pattern = "/".join(
            part if literal else "[^/]+" for part, literal in zip(parts, literals, strict=True)
        )
        if re.fullmatch(pattern, path):
            ranked.append(((2 if all(literals) else 1, literals, 0), route))
    return max(ranked, key=lambda each: each[0])[1] if ranked else None


def test_parameters_are_decoded_and_paths_are_not():
    table = RouteTable([AnalysedRoute(method="GET", path="/a/{x}/{y}")])
    found = table.find("GET", "/a/b%2Fc/%C3%A9")
    assert found is not None
    assert found.parameters == {"x": "b/c", "y": "é"}
    assert table.find("GET", "/a/b/c/d") is None
    assert table.find("GET", "/A/b/c") is None


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (lambda h: h.get("a")(_answer), "starts with '/'"),
        (lambda h: h.get()(_answer), "a path, or else a `prefix=`"),
        (lambda h: h.get("/a", prefix="/b/")(_answer), "a path, or else a `prefix=`"),
        (lambda h: h.get(prefix="/a")(_answer), "ends with '/'"),
        (lambda h: h.get(prefix="/{a}/")(_answer), "no parameters"),
        (lambda h: h.get("/a/*")(_answer), "use `prefix=`"),
        (lambda h: h.get("/a?b=c")(_answer), r"has '\?'"),
        (lambda h: h.get("/a b")(_answer), "has ' '"),
        (lambda h: h.get("/a{b}")(_answer), "a whole part"),
        (lambda h: h.get("/{a-b}")(_answer), "a whole part"),
        (lambda h: h.get("/{a}/{a}")(_answer), "two parameters called 'a'"),
        (lambda h: h.get("/.files")(_answer), "reserved"),
        (lambda h: h.get(prefix="/.files/x/")(_answer), "reserved"),
        (lambda h: h.mount("/.files", _answer), "reserved"),
        (lambda h: h.mount("/{a}", _answer), "no parameters"),
        (lambda h: h.mount("/a", "text"), "no ASGI application"),
        (lambda h: h.route("/a", method="HEAD")(_answer), "handler of GET"),
        (lambda h: h.route("/a", method="TRACE")(_answer), "'TRACE' is no method"),
        (lambda h: h.get("/a")(lambda ctx, request: None), "not an `async def`"),
    ],
)
def test_what_cannot_be_declared_is_told_with_the_reason(declare, says):
    with pytest.raises(RouteError, match=says):
        declare(HttpRouter())


def test_components_have_their_routes_below_their_prefix():
    def declared(*paths, at=None, **components):
        routes = tuple(AnalysedRoute(method="GET", path=path) for path in paths)
        return Analysis(functions={}, tables={}, routes=routes, site_path=at, components=components)

    analysis = declared(
        "/x",
        "/shop/own",
        **{
            "shop": declared("/x", "/own", at="/shop"),
            "shop/cart": declared("/{id}", at="/shop/cart"),
            "hidden": declared("/x"),
            "hidden/in": declared("/x"),
        },
    )
    table = RouteTable(analysis.served_routes())

    def found(path):
        route = table.find("GET", path)
        return None if route is None else (route.route.component, route.route.declared.path)

    assert found("/x") == ("", "/x")
    assert found("/shop/x") == ("shop", "/x")
    assert found("/shop/own") == ("", "/shop/own")
    assert found("/shop/cart/7") == ("shop/cart", "/{id}")
    assert found("/in/x") is None
    assert declared().served_routes() == []
    assert Analysis(functions={}, tables={}).served_routes() is None


def test_what_would_answer_the_same_requests_is_declared_once():
    http = HttpRouter()
    http.get("/users/{id}")(_answer)
    with pytest.raises(RouteError, match=r"GET /users/\{name\} has been .* as /users/\{id\}"):
        http.get("/users/{name}")(_answer)
    http.post("/users/{name}")(_answer)
    http.mount("/users/", _answer)
    with pytest.raises(RouteError, match=r"\* /users/\* has been declared already"):
        http.mount("/users", _answer)
