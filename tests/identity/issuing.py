"""An issuer of tokens, made by hand of `cryptography`: it shares no code with what verifies them."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER = "https://login.example.com"
APPLICATION = "app"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int, size: int | None = None) -> str:
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


@dataclass(frozen=True)
class Key:
    """A private key with a name."""

    id: str | None
    private: Any

    @property
    def algorithm(self) -> str:
        if isinstance(self.private, rsa.RSAPrivateKey):
            return "RS256"
        return "ES256" if isinstance(self.private, ec.EllipticCurvePrivateKey) else "EdDSA"

    def sign(self, message: bytes) -> Any:
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(message, padding.PKCS1v15(), SHA256())
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return self.private.sign(message)

    def jwk(self, **more: Any) -> dict[str, Any]:
        public = self.private.public_key()
        if isinstance(self.private, rsa.RSAPrivateKey):
            numbers = public.public_numbers()
            found = {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
        elif isinstance(self.private, ec.EllipticCurvePrivateKey):
            numbers = public.public_numbers()
            found = {
                "kty": "EC",
                "crv": "P-256",
                "x": number(numbers.x, 32),
                "y": number(numbers.y, 32),
            }
        else:
            raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
            found = {"kty": "OKP", "crv": "Ed25519", "x": b64(raw)}
        if self.id is not None:
            found["kid"] = self.id
        return {**found, **more}

    def named(self, id: str | None) -> Key:
        return Key(id, self.private)

    @property
    def public_pem(self) -> Any:
        public = self.private.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@functools.cache
def key(algorithm: str, which: int = 0) -> Key:
    """Return the same key whenever it is asked for: RSA's take long to make."""
    name = f"{algorithm}-{which}"
    if algorithm == "RS256":
        return Key(name, rsa.generate_private_key(65537, 2048))
    if algorithm == "ES256":
        return Key(name, ec.generate_private_key(ec.SECP256R1()))
    return Key(name, ed25519.Ed25519PrivateKey.generate())


ALGORITHMS = ("RS256", "ES256", "EdDSA")


def claims(now: float | None = None, /, **more: Any) -> dict[str, Any]:
    """Return the claims of a good token; those that are `...` are left out."""
    now = time.time() if now is None else now
    found = {
        "iss": ISSUER,
        "sub": "ada",
        "aud": APPLICATION,
        "iat": int(now),
        "exp": int(now) + 3600,
        **more,
    }
    return {name: value for name, value in found.items() if value is not ...}


def header(signer: Key, **more: Any) -> dict[str, Any]:
    found = {"alg": signer.algorithm, "typ": "JWT", "kid": signer.id, **more}
    return {name: value for name, value in found.items() if value is not ... and value is not None}


def assemble(head: object, body: object, sign: Any) -> str:
    """Return a token of any JSON, or of bytes that are none, with what `sign` gives for its signature."""
    parts = [
        each if isinstance(each, bytes) else json.dumps(each).encode() for each in (head, body)
    ]
    signed = ".".join(map(b64, parts))
    return f"{signed}.{b64(sign(signed.encode()))}"


def token(signer: Key, body: dict[str, Any] | None = None, **head: Any) -> str:
    return assemble(header(signer, **head), claims() if body is None else body, signer.sign)


def with_hmac(secret: bytes, body: dict[str, Any], **head: Any) -> str:
    """Return a token whose signature anybody can make who knows `secret`, such as a public key."""

    def sign(message: bytes) -> bytes:
        return hmac.new(secret, message, hashlib.sha256).digest()

    return assemble({"alg": "HS256", "typ": "JWT", **head}, body, sign)


def key_set(*keys: Key | dict[str, Any]) -> bytes:
    return json.dumps(
        {"keys": [each.jwk(use="sig") if isinstance(each, Key) else each for each in keys]}
    ).encode()


@dataclass
class Documents:
    """What providers serve, as the verifier fetches it; `asked` counts."""

    by_url: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    fresh_s: float | None = None
    media_type: str = "application/json"
    #: Raised instead of answering.
    failure: Exception | None = None
    gate: Any = None

    async def __call__(self, url: str) -> Any:
        from camber.identity.documents import Fetched, FetchFailed

        self.asked.append(url)
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        if url not in self.by_url:
            raise FetchFailed(f"{url} answers 404")
        return Fetched(content=self.by_url[url], media_type=self.media_type, fresh_s=self.fresh_s)

    def serve_oidc(self, *keys: Key | dict[str, Any], issuer: str = ISSUER) -> None:
        """Serve a provider's configuration, and its keys."""
        base = issuer.rstrip("/")
        self.by_url[f"{base}/.well-known/openid-configuration"] = json.dumps(
            {"issuer": issuer, "jwks_uri": f"{base}/keys"}
        ).encode()
        self.by_url[f"{base}/keys"] = key_set(*keys)
