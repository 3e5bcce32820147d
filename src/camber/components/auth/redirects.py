"""Where a browser may be sent after it has signed in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from camber import AppError
from camber.components.auth.policy import AuthConfigError

#: Schemes whose URLs run or show what stands in them.
_NEVER: Final = frozenset(
    {"javascript", "data", "vbscript", "blob", "file", "about", "view-source"}
)
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*\Z")
_HOST: Final = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*\Z|\[[0-9a-f:]+\]\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedRedirect:
    """Places that a browser may be sent to.

    `host` is None for all URLs of a scheme of an application's own; one that begins with `*.` is
    any host below.
    """

    scheme: str
    host: str | None
    port: int | None
    path: str

    @staticmethod
    def parse(text: str) -> AllowedRedirect:
        """Return what `https://app.example.com`, `https://*.example.com/a` or `myapp://*` allows.

        Raises:
            AuthConfigError: it is none of these.
        """
        wrong = f"allowed redirect {text!r}: "
        if not _is_plain(text):
            raise AuthConfigError(f"{wrong}it has a space, a backslash or a control character")
        scheme, found, rest = text.partition("://")
        scheme = scheme.lower()
        if not found or not _SCHEME.match(scheme) or scheme in _NEVER:
            raise AuthConfigError(
                f"{wrong}it is an origin such as https://app.example.com, or myapp://*"
            )
        if scheme not in {"http", "https"}:
            if rest not in {"", "*"}:
                host, _, path = rest.partition("/")
                return AllowedRedirect(scheme=scheme, host=host.lower(), port=None, path=f"/{path}")
            return AllowedRedirect(scheme=scheme, host=None, port=None, path="/")
        try:
            parts = urlsplit(f"{scheme}://{rest}")
            port = parts.port
        except ValueError:
            raise AuthConfigError(f"{wrong}its port is no number") from None
        host = (parts.hostname or "").lower()
        shown_host = f"[{host}]" if ":" in host else host
        if not _HOST.match(shown_host) or "@" in parts.netloc or parts.query or parts.fragment:
            raise AuthConfigError(
                f"{wrong}it has a host, perhaps a port and a path, and nothing else"
            )
        return AllowedRedirect(
            scheme=scheme, host=host, port=port or _PORTS[scheme], path=parts.path or "/"
        )

    def allows(self, url: str) -> bool:
        """Return whether a URL is one of these places."""
        if not _is_plain(url):
            return False
        scheme, found, rest = url.partition(":")
        if not found or scheme.lower() != self.scheme:
            return False
        if self.host is None:
            return True
        if not rest.startswith("//"):
            return False
        try:
            parts = urlsplit(f"{self.scheme}:{rest}")
            port = parts.port or _PORTS.get(self.scheme)
        except ValueError:
            return False
        host = (parts.hostname or "").lower()
        if "@" in parts.netloc or port != self.port or not self._is_host(host):
            return False
        path = parts.path or "/"
        base = self.path.rstrip("/")
        is_below = path == base or path.startswith(f"{base}/")
        return is_below and not any(_is_upwards(part) for part in path.split("/"))

    def _is_host(self, host: str) -> bool:
        assert self.host is not None
        if self.host.startswith("*."):
            return host.endswith(self.host[1:]) and len(host) > len(self.host[1:])
        return host == self.host


_PORTS: Final = {"http": 80, "https": 443}


def _is_upwards(part: str) -> bool:
    """Return whether a browser would take a part of a path as `..` and leave the folder by it."""
    return part.lower().replace("%2e", ".") == ".."


def _is_plain(text: str) -> bool:
    """Return whether a text is read alike by everybody: browsers take backslashes for slashes."""
    return text.isascii() and text.isprintable() and " " not in text and "\\" not in text


def destination(redirect_to: str | None, site_url: str, allowed: Sequence[AllowedRedirect]) -> str:
    """Return where to send a browser: SITE_URL, something below it, or an allowed place.

    Raises:
        AppError: it may not be sent there (code InvalidRedirect).
    """
    base = site_url.removesuffix("/")
    if redirect_to is None:
        return base
    if _is_plain(redirect_to):
        if redirect_to.startswith(("/", "?")):
            return base + redirect_to
        rest = redirect_to.removeprefix(base)
        if rest != redirect_to and (not rest or rest.startswith(("?", "/"))):
            return redirect_to
        if any(place.allows(redirect_to) for place in allowed):
            return redirect_to
    sentence = (
        f"Invalid `redirectTo` {redirect_to!r}: it is a path of the site, or a URL that "
        "`allowed_redirects` allows"
    )
    raise AppError({"code": "InvalidRedirect", "message": sentence})


def with_query(url: str, name: str, value: str) -> str:
    """Return a URL of any scheme with a parameter of its query set."""
    rest, hash_, fragment = url.partition("#")
    base, _, query = rest.partition("?")
    pairs = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != name]
    return f"{base}?{urlencode([*pairs, (name, value)])}{hash_}{fragment}"
