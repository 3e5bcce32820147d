"""`camber auth`: signing in is added to a project, which makes its keys and rotates them."""

from __future__ import annotations

import json
import shutil

import httpx
import jwt
import pytest

from camber.cli.init import Template, make_project
from camber.identity.signing_keys import new_signing_keys
from tests.cli.commands import camber, said, told
from tests.functions.projects import write_project
from tests.servers import ADMIN_KEY, REPOSITORY, Server

SIGNING_IN = REPOSITORY / "tests" / "applications" / "signing_in"
ADDRESS, PASSWORD = "ada@example.com", "correct horse"


def signed_in(server, **params):
    answer = server.value("action", "auth:signIn", params)
    return answer["tokens"]["token"]


def is_let_in(server, token, path="people:me"):
    body = {"path": path, "args": {}, "format": "json"}
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx.post(f"{server.url}/api/query", json=body, headers=headers, timeout=30)
    if answer.status_code == 401:
        return False
    assert answer.json()["value"] is not None
    return True


def kid(token):
    return jwt.get_unverified_header(token).get("kid")


def published(server):
    answer = httpx.get(f"{server.site_url}/.well-known/jwks.json", timeout=30)
    return {key.get("kid"): key for key in answer.json()["keys"]}


# keys rotate


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = tmp_path_factory.mktemp("signing-in") / "p"
    shutil.copytree(SIGNING_IN, root)
    with Server(root, tmp_path_factory.mktemp("signing-in-data"), "--executors", "0") as server:
        yield server


@pytest.fixture
def rotate(server):
    def rotate(*options):
        return camber("auth", "keys", "rotate", "--dir", server.project, *options)

    return rotate


def test_who_is_signed_in_stays_so_and_new_tokens_have_the_new_key(server, rotate):
    # The keys were made when the server began: nobody has set any.
    before = signed_in(server, provider="anonymous")
    assert is_let_in(server, before)
    line, kept, *_ = said(rotate()).splitlines()
    after = signed_in(server, provider="anonymous")
    assert kid(after) != kid(before)
    assert kid(after) in line
    assert kid(before) in kept
    for token in (before, after):
        assert is_let_in(server, token)
    keys = published(server)
    assert list(keys) == [kid(after), kid(before)]
    # Until the last token that it can have signed has expired, and some seconds.
    issued = jwt.decode(before, options={"verify_signature": False})
    assert issued["exp"] <= keys[kid(before)]["exp"] <= issued["exp"] + 120


def test_others_verify_a_token_by_what_the_deployment_says_of_itself(server, rotate):
    """As any library does that knows the issuer, and no more of Camber."""
    token = signed_in(server, provider="anonymous")
    rotate()
    for text in (token, signed_in(server, provider="anonymous")):
        issuer = jwt.decode(text, options={"verify_signature": False})["iss"]
        assert issuer == server.site_url
        said_ = httpx.get(f"{issuer}/.well-known/openid-configuration", timeout=30).json()
        assert said_["issuer"] == issuer
        key = jwt.PyJWKClient(said_["jwks_uri"]).get_signing_key_from_jwt(text)
        claims = jwt.decode(text, key, algorithms=["RS256"], audience="convex", issuer=issuer)
        assert claims["sub"].count("|") == 1


def test_a_stolen_key_is_given_up_at_once(server, rotate):
    token = signed_in(server, provider="anonymous")
    assert is_let_in(server, token)
    rotated = json.loads(said(rotate("--trusted-for", "0s", "--json")))
    assert rotated["trusted"] == []
    assert not is_let_in(server, token)
    assert list(published(server)) == [rotated["kid"]]
    assert is_let_in(server, signed_in(server, provider="anonymous"))


def test_keys_that_came_from_elsewhere_are_rotated_too(server, rotate):
    brought = new_signing_keys()
    (key,) = json.loads(brought["JWKS"])["keys"]
    # As Convex's own tool makes them.
    del key["kid"], key["alg"]
    brought["JWKS"] = json.dumps({"keys": [key]})
    for name, value in brought.items():
        said(camber("env", "set", "--dir", server.project, name, stdin=value))
    token = signed_in(server, provider="anonymous")
    assert kid(token) is None
    assert "a key without a name" in said(rotate())
    assert is_let_in(server, token)
    assert is_let_in(server, signed_in(server, provider="anonymous"))


def test_keys_that_cannot_be_read_are_told_of_and_left(server, rotate):
    kept = said(camber("env", "get", "--dir", server.project, "JWKS"))
    said(camber("env", "set", "--dir", server.project, "JWKS", "{}"))
    assert "variable JWKS is no JSON of the form" in told(rotate())
    assert said(camber("env", "get", "--dir", server.project, "JWKS")) == "{}\n"
    said(camber("env", "remove", "--dir", server.project, "JWKS"))
    assert len(said(rotate()).splitlines()) == 1
    assert kept not in said(camber("env", "get", "--dir", server.project, "JWKS"))
    assert is_let_in(server, signed_in(server, provider="anonymous"))


def test_the_private_half_is_not_told_to_who_rotates(server):
    answer = server.post(
        "/api/camber/signing_keys/rotate",
        {"trustedS": 3700},
        Authorization=f"Convex {ADMIN_KEY}",
    )
    assert "PRIVATE" not in answer.text
    assert answer.json().keys() == {"kid", "trusted"}


@pytest.mark.parametrize("value", [None, "60", True, -1, 365 * 24 * 3600 + 1, [1]])
def test_a_time_that_is_none_changes_no_key(server, value):
    before = published(server)
    answer = server.post(
        "/api/camber/signing_keys/rotate",
        {"trustedS": value},
        Authorization=f"Convex {ADMIN_KEY}",
    )
    assert answer.status_code == 400
    assert answer.json()["code"] == "BadJsonBody"
    assert published(server) == before


@pytest.mark.parametrize(
    ("given", "sentence"),
    [("soon", "no duration"), ("-1h", "no duration"), ("53w", "is too long"), ("", "no duration")],
)
def test_a_duration_that_is_none_is_told(rotate, given, sentence):
    assert sentence in told(rotate(f"--trusted-for={given}"))


def test_an_application_that_signs_nobody_in_is_told(tmp_path):
    root = write_project(tmp_path / "p", code="")
    with Server(root, tmp_path / "data", "--executors", "0") as server:
        line = told(camber("auth", "keys", "rotate", "--dir", root))
        assert "does not say how long its tokens are good" in line
        assert "Give --trusted-for" in line
        # It was not to have any, and has none for having asked.
        answer = server.call(
            "query", "_system/camber/variables", {}, Authorization=f"Convex {ADMIN_KEY}"
        )
        assert answer["value"]["variables"] == []


# init


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_a_project_signs_users_in_after_it(tmp_path):
    root = make_project(tmp_path / "app", Template.MINIMAL).folder
    before = files_of(root)
    shown = said(camber("auth", "init", root))
    assert "camber env set SITE_URL" in shown
    assert "npm install @convex-dev/auth" in shown
    after = files_of(root)
    assert after.items() >= before.items()
    assert after.keys() - before.keys() == {
        f"backend/{name}.py" for name in ("auth", "auth_config", "http", "users")
    }
    with Server(root, tmp_path / "data", "--executors", "0") as server:
        printed = "".join(server.output)
        assert "new identity providers: OidcProvider(" in printed
        made = "Note: the keys of access tokens were made: the variables JWT_PRIVATE_KEY and JWKS\n"
        assert printed.count(made) == 1
        assert "PRIVATE KEY--" not in printed
        params = {"email": ADDRESS, "password": PASSWORD}
        token = signed_in(server, provider="password", params={**params, "flow": "signUp"})
        assert is_let_in(server, token, "auth:me")
        token = signed_in(server, provider="password", params={**params, "flow": "signIn"})
        assert is_let_in(server, token, "auth:me")
        assert not is_let_in(server, token[:-8] + "AAAAAAAA", "auth:me")


def test_users_that_are_there_already_are_taken(tmp_path):
    root = write_project(
        tmp_path / "p",
        schema="""
        from camber.components.auth import AuthUser

        class Member(AuthUser, table="users"):
            plan: str = "free"
        """,
    )
    said(camber("auth", "init", root))
    (auth,) = root.glob("*/auth.py")
    assert "from .schema import Member" in auth.read_text()
    assert not list(root.glob("*/users.py"))
    assert camber("codegen", root).returncode == 0


def test_routes_that_are_there_already_are_not_changed_and_said_how_to(tmp_path):
    routes = "from camber import HttpRouter\nhttp = HttpRouter()\n"
    root = write_project(tmp_path / "p", http=routes)
    shown = said(camber("auth", "init", root))
    assert "auth.add_http_routes(http)" in shown
    (http,) = root.glob("*/http.py")
    assert http.read_text() == routes


@pytest.mark.parametrize("name", ["auth", "auth_config", "users", "auth____init__"])
def test_what_would_be_overwritten_is_named_and_nothing_is_written(tmp_path, name):
    root = write_project(tmp_path / "p", **{name: "# mine\n"})
    before = files_of(root)
    there = name.partition("__init")[0].rstrip("_")
    assert f"/{there}" in told(camber("auth", "init", root))
    assert files_of(root) == before


def test_other_users_are_told_how_they_can_sign_in(tmp_path):
    root = write_project(
        tmp_path / "p",
        schema="""
        from camber import Table

        class Person(Table, table="users"):
            name: str
        """,
    )
    before = files_of(root)
    assert 'class Person(AuthUser, table="users")' in told(camber("auth", "init", root))
    assert files_of(root) == before


def test_a_project_that_does_not_load_is_told_where(tmp_path):
    root = write_project(tmp_path / "p", schema="import nowhere_at_all")
    assert "nowhere_at_all" in told(camber("auth", "init", root))
    assert len(files_of(root)) == 2


def test_a_folder_that_cannot_be_written_has_nothing_afterwards(tmp_path):
    root = write_project(tmp_path / "p", code="")
    before = files_of(root)
    (folder,) = root.glob("functions*")
    # A link to nowhere: it is not there to look at, and there for who would write.
    (folder / "http.py").symlink_to(tmp_path / "nowhere" / "http.py")
    assert camber("auth", "init", root).returncode == 1
    (folder / "http.py").unlink()
    assert files_of(root) == before
