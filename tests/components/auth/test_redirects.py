"""Where browsers may be sent: no open redirects."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber import AppError
from camber.components.auth.policy import AuthConfigError
from camber.components.auth.redirects import AllowedRedirect, destination, with_query
from tests.components.auth.people import refused

SITE = "https://app.example.com"
ALLOWED = [
    AllowedRedirect.parse(each)
    for each in (
        "https://*.preview.example.com",
        "http://localhost:5173",
        "https://other.example.com/only/here",
        "myapp://*",
        "exact://host/path",
    )
]


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (None, SITE),
        ("/a?b=c#d", f"{SITE}/a?b=c#d"),
        ("?a=b", f"{SITE}?a=b"),
        # They begin with a slash, and end up below the site.
        ("//evil.test", f"{SITE}//evil.test"),
        ("/@evil.test", f"{SITE}/@evil.test"),
        (SITE, SITE),
        (f"{SITE}/a", f"{SITE}/a"),
        (f"{SITE}?a", f"{SITE}?a"),
        ("https://x.preview.example.com/a", "https://x.preview.example.com/a"),
        ("https://x.y.preview.example.com", "https://x.y.preview.example.com"),
        ("http://localhost:5173/", "http://localhost:5173/"),
        ("https://other.example.com/only/here?a", "https://other.example.com/only/here?a"),
        ("https://other.example.com/only/here/a", "https://other.example.com/only/here/a"),
        ("myapp://callback?x=1", "myapp://callback?x=1"),
        ("myapp:callback", "myapp:callback"),
        ("exact://host/path/a", "exact://host/path/a"),
    ],
)
def test_allowed_places(asked, sent):
    assert destination(asked, f"{SITE}/", ALLOWED) == sent


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "evil",
        "https://evil.test",
        f"{SITE}.evil.test",
        f"{SITE}@evil.test",
        f"{SITE}:evil@evil.test",
        f"{SITE}\\@evil.test",
        f"{SITE}#@evil.test",
        "https://app.example.com:444/",
        "http://app.example.com/",
        "\\\\evil.test",
        "/\\evil.test",
        "/a\r\nSet-Cookie: a=b",
        "/a b",
        "https:evil.test",
        "https:///evil.test",
        "https://preview.example.com",
        "https://evilpreview.example.com",
        "https://x.preview.example.com.evil.test",
        "https://x.preview.example.com@evil.test",
        "https://user:word@x.preview.example.com",
        "https://evil.test#.preview.example.com",
        "https://evil.test?.preview.example.com",
        "https://evil.test\\.preview.example.com",
        "https://x.preview.example.com:8443",
        "http://x.preview.example.com",
        "http://localhost:5174",
        "http://localhost:x",
        "https://other.example.com/only/hereafter",
        "https://other.example.com/only/here/../../a",
        "https://other.example.com/only/here/%2e%2e/a",
        "https://other.example.com/",
        "javascript:alert(1)",
        "data:text/html,x",
        "JAVASCRIPT://app.example.com/%0aalert(1)",
        "exact://host/pathology",
        "exact://other/path",
        "exact:host/path",
        "\tmyapp://x",
    ],
)
def test_other_places_are_refused(asked):
    with pytest.raises(AppError) as raised:
        destination(asked, SITE, ALLOWED)
    assert raised.value.data["code"] == "InvalidRedirect"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "https://",
        "https://*",
        "https://a b",
        "javascript://*",
        "data://*",
        "https://a@b",
        "https://a?b",
        "https://a:x",
        "https://*.*.example.com",
        "https://a*.example.com",
        "app.example.com",
    ],
)
def test_what_allows_too_much_is_no_declaration(text):
    with pytest.raises(AuthConfigError, match="allowed redirect"):
        AllowedRedirect.parse(text)


@given(url=st.text(max_size=40), host=st.sampled_from(["evil.test", "app.example.com.evil.test"]))
def test_whatever_is_let_through_stays_at_the_site(url, host):
    """The oracle is what browsers do: a backslash is a slash, and blanks at both ends are nothing."""
    for asked in (url, url + host, f"//{host}{url}", f"{SITE}{url}", f"{SITE}{url}{host}"):
        try:
            sent = destination(asked, SITE, ())
        except AppError:
            continue
        browser = urlsplit(sent.strip().replace("\\", "/").replace("\n", "").replace("\t", ""))
        assert (browser.scheme, browser.netloc) == ("https", "app.example.com")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.test", "https://a.test?code=1"),
        ("https://a.test/b?x=1&code=old#f", "https://a.test/b?x=1&code=1#f"),
        ("myapp://callback", "myapp://callback?code=1"),
        ("myapp:callback?a=", "myapp:callback?a=&code=1"),
    ],
)
def test_a_code_is_put_into_any_url(url, expected):
    assert with_query(url, "code", "1") == expected
    assert parse_qs(urlsplit(expected).query)["code"] == ["1"]


@pytest.mark.parametrize("provider", ["email", "oidc"])
@pytest.mark.parametrize("asked", ["https://evil.test", 7, ["/a"]])
def test_clients_are_refused_other_places(app, ada, provider, asked):
    refused("InvalidRedirect", ada.sign_in, provider, email="ada@example.com", redirectTo=asked)
