"""Which tokens are accepted, against rules written out again and signatures made by hand."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber import limits
from camber.errors import AuthenticationFailed, FeatureUnavailable
from camber.identity.documents import FetchFailed
from camber.identity.identity import User, identity_key
from camber.identity.key_sets import VerifyingKey
from camber.identity.providers import JwtIssuer, OidcIssuer, ProviderError
from camber.identity.token_verifier import Disclosure, TokenVerifier
from tests.identity import issuing
from tests.identity.clocks import NOW_S, StandingHost, settled
from tests.identity.issuing import ALGORITHMS, APPLICATION, ISSUER, Documents, key, key_set

OIDC = OidcIssuer.of(issuer=ISSUER, application_id=APPLICATION, own_site="")
KEYS_URL = f"{ISSUER}/keys"


def custom(algorithm="ES256", application_id=APPLICATION, jwks=KEYS_URL, issuer=ISSUER):
    return JwtIssuer.of(
        issuer=issuer,
        jwks=jwks,
        algorithm=algorithm,
        application_id=application_id,
        own_site="",
    )


def claims(**more):
    return issuing.claims(NOW_S, **more)


def token(signer, body=None, **head):
    return issuing.token(signer, claims() if body is None else body, **head)


class World:
    """A verifier, what it fetches, and its clock."""

    def __init__(self, *providers, disclosure=Disclosure.ALL, own_site=""):
        self.host = StandingHost()
        self.documents = Documents()
        self.documents.serve_oidc(*(key(algorithm) for algorithm in ALGORITHMS))
        self.verifier = TokenVerifier(host=self.host, fetch=self.documents, disclosure=disclosure)
        self.verifier.trust(providers or (OIDC,), own_site=own_site)

    async def user(self, text):
        found = await self.verifier.verified(text)
        return found.user.user

    async def refused(self, text):
        """Return why a token is not accepted, at the latest when its provider was asked again."""
        asking = asyncio.ensure_future(self.verifier.verified(text))
        await settled()
        if self.host.sleeping:
            await self.host.move(limits.provider_asked_again_s)
        with pytest.raises(AuthenticationFailed) as caught:
            await asking
        return caught.value


def run(scenario, *providers, **options):
    """Run a coroutine function with a world made on its loop."""

    async def main():
        return await scenario(World(*providers, **options))

    return asyncio.run(main())


def refusal(text, *providers, **options):
    """Return why a token is not accepted."""
    error = run(lambda world: world.refused(text), *providers, **options)
    assert isinstance(error, AuthenticationFailed)
    return error


def accepted(text, *providers, **options):
    return run(lambda world: world.user(text), *providers, **options)


# The whole rule.

signers = st.tuples(st.sampled_from(ALGORITHMS), st.integers(0, 1))
offsets = st.one_of(st.none(), st.sampled_from([-3600, -6, -5, -4, 0, 4, 5, 6, 60, 61, 3600]))


@given(
    kind=st.sampled_from(["oidc", *ALGORITHMS]),
    published=st.lists(signers, max_size=4, unique=True),
    signer=signers,
    named=st.one_of(st.none(), signers, st.just("nobody's")),
    said=st.one_of(st.none(), st.sampled_from(ALGORITHMS)),
    issuer=st.sampled_from(
        [ISSUER, ISSUER, ISSUER + "/", "login.example.com", "https://evil.example"]
    ),
    audience=st.sampled_from(
        [APPLICATION, APPLICATION, [APPLICATION], [APPLICATION, "b"], "b", ["b"], [], ...]
    ),
    ends=offsets,
    begins=offsets,
    made=offsets,
    subject=st.sampled_from(["ada", "ada", "", 3, ...]),
    is_tampered=st.booleans(),
)
def test_a_token_is_accepted_exactly_if_everything_about_it_is_right(
    kind, published, signer, named, said, issuer, audience, ends, begins, made, subject, is_tampered
):
    keys = [key(*each) for each in published]
    algorithm = said or signer[0]
    kid = key(*named).id if isinstance(named, tuple) else named
    times = {"exp": ends, "nbf": begins, "iat": made}
    body = claims(
        iss=issuer,
        aud=audience,
        sub=subject,
        **{name: ... if offset is None else NOW_S + offset for name, offset in times.items()},
    )
    text = issuing.token(key(*signer), body, alg=algorithm, kid=kid)
    if is_tampered:
        head, _, signature = text.split(".")
        text = f"{head}.{issuing.b64(json.dumps({**body, 'role': 'owner'}).encode())}.{signature}"

    # What the specification says, in other words.
    audiences = {APPLICATION} if audience == APPLICATION else set()
    if isinstance(audience, list):
        audiences = set(audience)
    same = [each for each in keys if each.algorithm == algorithm]
    by = [each for each in same if each.id == kid] if kid else same if len(same) == 1 else []
    is_good = (
        not is_tampered
        and issuer
        in ({ISSUER, "login.example.com"} | ({ISSUER + "/"} if kind != "oidc" else set()))
        and APPLICATION in audiences
        and (kind != "oidc" or len(audiences) == 1)
        and kind in {"oidc", algorithm}
        and by == [key(*signer)]
        and subject == "ada"
        and ends is not None
        and ends > -5
        and (begins is None or begins <= 5)
        and (made is None or made <= 60)
    )

    async def outcome(world):
        world.documents.serve_oidc(*keys)
        if is_good:
            assert (await world.user(text)).subject == "ada"
        else:
            assert await world.refused(text)

    run(outcome, OIDC if kind == "oidc" else custom(kind))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_is_accepted(algorithm):
    assert accepted(token(key(algorithm))).token_identifier == f"{ISSUER}|ada"
    assert accepted(token(key(algorithm)), custom(algorithm)).subject == "ada"


# Attacks. Each fails to be one only because something stands in its way.


def test_none_is_no_algorithm():
    for alg in ("none", "None", "NONE", "nOnE", "", None, 3, ["RS256"], "RS256 "):
        head = {"alg": alg, "kid": key("RS256").id}
        error = refusal(issuing.assemble(head, claims(), lambda _: b""))
        assert error.code == "InvalidAuthHeader"
        assert "alg is" in error.sentence


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_public_key_is_no_secret_to_sign_with(algorithm):
    signer = key(algorithm)
    secrets = [signer.public_pem, json.dumps(signer.jwk()).encode(), key_set(signer)]
    for secret in secrets:
        for alg in ("HS256", "RS256", "ES256", "EdDSA"):
            text = issuing.with_hmac(secret, claims(), alg=alg, kid=signer.id)
            words = {"HS256": "alg is", algorithm: "signature"}.get(alg, "no such key")
            assert words in refusal(text).sentence


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_algorithm_that_is_not_the_keys_is_refused(algorithm):
    """The kid of one key with the name of another's algorithm, signed by either."""
    for other in ALGORITHMS:
        if other != algorithm:
            for signer in (key(algorithm), key(other)):
                text = token(signer, alg=other, kid=key(algorithm).id)
                assert "no such key" in refusal(text).sentence


def test_a_custom_issuer_signs_with_its_algorithm_alone():
    error = refusal(token(key("RS256")), custom("ES256"))
    assert error.code == "InvalidAuthHeader"
    assert "signed with RS256, not ES256" in error.sentence


def test_a_symmetric_key_of_a_provider_verifies_nothing():
    secret = b"0" * 32
    shared = {"kty": "oct", "k": issuing.b64(secret), "kid": "shared", "alg": "HS256"}

    async def outcome(world):
        world.documents.serve_oidc(shared)
        return await world.refused(issuing.with_hmac(secret, claims(), kid="shared"))

    assert "alg is 'HS256'" in run(outcome).sentence


def test_what_a_header_brings_along_is_not_looked_at():
    mallory = key("ES256", 9).named(key("ES256").id)
    brought = {
        "jwk": mallory.jwk(),
        "jku": "https://evil.example/keys",
        "x5u": "https://evil.example/cert",
        "x5c": ["AAAA"],
    }

    async def outcome(world):
        world.documents.by_url["https://evil.example/keys"] = key_set(mallory)
        error = await world.refused(token(mallory, **brought))
        assert "signature" in error.sentence
        assert not any("evil" in url for url in world.documents.asked)
        # Nor is a good one refused for it.
        assert (await world.user(token(key("ES256"), **brought))).subject == "ada"

    run(outcome)


def test_what_is_critical_and_not_understood_is_refused():
    for crit in (["b64"], ["exp"], [], "b64", None):
        text = token(key("ES256"), **{"crit": crit, "b64": False} if crit else {})
        if crit is None or crit == []:
            text = issuing.assemble(
                {**issuing.header(key("ES256")), "crit": crit}, claims(), key("ES256").sign
            )
        error = refusal(text)
        assert (error.code, "crit" in error.sentence) == ("InvalidAuthHeader", True)


def test_another_issuer_is_not_trusted():
    for issuer in ("https://evil.example", f"{ISSUER}.evil.example", f"{ISSUER}@evil.example", "x"):
        error = refusal(token(key("ES256"), claims(iss=issuer)))
        assert error.code == "NoAuthProvider"
        assert f"OidcProvider(domain={ISSUER!r}" in error.sentence
    for nobody in (..., "", 3, [ISSUER], None):
        error = refusal(token(key("ES256"), claims(iss=nobody)))
        assert (error.code, "no iss" in error.sentence) == ("InvalidAuthHeader", True)


def test_which_providers_there_are_is_not_told_in_production():
    error = refusal(token(key("ES256"), claims(iss="x")), disclosure=Disclosure.NONE)
    assert ISSUER not in error.sentence
    assert APPLICATION not in error.sentence


def test_another_audience_is_not_served():
    for audience in ("other", ["other"], [], "", ...):
        assert refusal(token(key("ES256"), claims(aud=audience))).code == "NoAuthProvider"
        error = refusal(token(key("ES256"), claims(aud=audience)), custom())
        assert error.code == "NoAuthProvider"
    for nothing in (3, {"a": 1}, [APPLICATION, 3], None):
        error = refusal(token(key("ES256"), claims(aud=nothing)))
        assert error.code == "InvalidAuthHeader"
    several = [APPLICATION, "other"]
    error = refusal(token(key("ES256"), claims(aud=several)))
    assert (error.code, "2 audiences" in error.sentence) == ("Unauthenticated", True)
    assert accepted(token(key("ES256"), claims(aud=several)), custom()).subject == "ada"
    # Without an application id it does not matter for whom it is.
    assert accepted(token(key("ES256"), claims(aud="x")), custom(application_id=None))


def test_clocks_may_differ_by_a_little_and_no_more():
    tolerance, ahead = limits.token_tolerance_s, limits.token_issued_ahead_s_max
    for good in (
        {"exp": NOW_S - tolerance + 0.5},
        {"nbf": NOW_S + tolerance - 0.5},
        {"iat": NOW_S + ahead - 0.5},
    ):
        assert accepted(token(key("ES256"), claims(**good)))
    for bad, words in (
        ({"exp": NOW_S - tolerance}, "expired 5 s ago"),
        ({"nbf": NOW_S + tolerance + 1}, "not good before 6 s from now"),
        ({"iat": NOW_S + ahead + 1}, "made 61 s from now"),
        ({"exp": ...}, "no exp"),
    ):
        assert words in refusal(token(key("ES256"), claims(**bad))).sentence


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["4102444800", True, None, -1, 1e300, [], {}])
def test_a_time_that_is_none_is_refused(name, value):
    error = refusal(token(key("ES256"), claims(**{name: value})))
    assert f"its {name} is" in error.sentence


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(literal):
    body = json.dumps(claims()).replace(str(claims()["exp"]), literal).encode()
    text = issuing.assemble(issuing.header(key("ES256")), body, key("ES256").sign)
    assert refusal(text).code in {"InvalidAuthHeader", "Unauthenticated"}


def test_nobody_is_no_subject():
    for subject in (..., "", None, 7, ["ada"]):
        assert "no sub" in refusal(token(key("ES256"), claims(sub=subject))).sentence


def test_a_token_that_is_too_long_is_not_even_read():
    text = token(key("ES256"), claims(padding="x" * limits.token_bytes_max))
    error = refusal(text)
    assert (error.code, str(limits.token_bytes_max) in error.sentence) == (
        "InvalidAuthHeader",
        True,
    )


def test_what_is_no_token_is_refused():
    good = token(key("ES256"))
    head, body, signature = good.split(".")
    malformed = [
        "",
        ".",
        "..",
        "a.b.c",
        head,
        f"{head}.{body}",
        f"{good}.x",
        f"{head}.{body}.{signature}=",
        f" {good}",
        f"{good}\n",
        f"{head}.{body}.{signature[:-1]}",
        f"{head[:-1]}!.{body}.{signature}",
        f"{head}.{body}.ü",
        # Five parts: it is encrypted.
        f"{head}.{body}.{signature}.{body}.{signature}",
        issuing.assemble(b"[]", claims(), key("ES256").sign),
        issuing.assemble(issuing.header(key("ES256")), b"[]", key("ES256").sign),
        issuing.assemble(issuing.header(key("ES256")), b"{", key("ES256").sign),
        issuing.assemble(issuing.header(key("ES256")), b'{"iss":"\xff"}', key("ES256").sign),
        issuing.assemble(issuing.header(key("ES256")), b"[" * 9000, key("ES256").sign),
        token(key("ES256"), kid=7),
        "function",
        "sk_live_0123456789",
    ]
    for text in malformed:
        assert refusal(text).code == "InvalidAuthHeader", text


def test_a_signature_has_one_spelling():
    """Otherwise one token would be many to whoever keeps a list of those that were revoked."""
    head, body, signature = token(key("ES256")).split(".")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".index(signature[-1])
    spellings = {
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last ^ bits]
        for bits in (1, 2, 3)
    }
    for other in spellings:
        text = f"{head}.{body}.{signature[:-1]}{other}"
        assert base64.urlsafe_b64decode(text.split(".")[2] + "==") == base64.urlsafe_b64decode(
            signature + "=="
        )
        assert refusal(text).code == "InvalidAuthHeader"


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_changed_byte_is_overlooked(at, by):
    whole = token(key("EdDSA"))
    raw = bytearray(whole.encode())
    raw[at % len(raw)] ^= by
    text = raw.decode("latin-1")

    assert refusal(text)


def test_a_key_of_somebody_elses_does_not_do():
    mallory = key("RS256", 9).named(key("RS256").id)
    assert "signature" in refusal(token(mallory)).sentence


def test_a_token_without_kid_is_by_the_only_key_or_by_nobody():
    async def outcome(world):
        text = token(key("ES256").named(None))
        assert (await world.user(text)).subject == "ada"

    run(outcome)

    async def several(world):
        world.documents.serve_oidc(key("ES256"), key("ES256", 1))
        assert "names no kid" in (await world.refused(token(key("ES256").named(None)))).sentence

    run(several)

    async def one_of_them_has_no_name(world):
        """A provider that begins to name its keys: what it has signed before is as good as it was."""
        world.documents.serve_oidc(key("ES256").named(None), key("ES256", 1))
        assert (await world.user(token(key("ES256").named(None)))).subject == "ada"
        other = await world.refused(token(key("ES256", 1).named(None)))
        assert "signature" in other.sentence

    run(one_of_them_has_no_name)

    async def two_of_them_have_none(world):
        world.documents.serve_oidc(key("ES256").named(None), key("ES256", 1).named(None))
        assert "names no kid" in (await world.refused(token(key("ES256").named(None)))).sentence

    run(two_of_them_have_none)


@pytest.mark.parametrize(
    "published",
    [
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"alg": "RS512"},
        {"alg": "ES256"},
        {"kid": 7},
        {"n": issuing.number(2**1023 + 1)},
        {"n": issuing.number(2**9000 + 1)},
        {"n": 3},
        {"n": "!"},
        {"n": ""},
        {"kty": "oct"},
        {"kty": ["RSA"]},
        {"crv": {}},
    ],
    ids=str,
)
def test_keys_that_are_for_something_else_or_too_weak_are_left_out(published):
    async def outcome(world):
        world.documents.serve_oidc({**key("RS256").jwk(), **published}, key("ES256"))
        assert "no such key" in (await world.refused(token(key("RS256")))).sentence
        # And the others are good as ever.
        assert (await world.user(token(key("ES256")))).subject == "ada"

    run(outcome)


def test_points_of_other_curves_are_left_out():
    for changes in ({"crv": "P-384"}, {"crv": "Ed448"}, {"x": issuing.number(5, 32)}):

        async def outcome(world, changes=changes):
            world.documents.serve_oidc({**key("ES256").jwk(), **changes})
            assert "no such key" in (await world.refused(token(key("ES256")))).sentence

        run(outcome)


# Who it is.


def test_an_oidc_user_has_every_field():
    person = {
        "name": "Ada Lovelace",
        "given_name": "Ada",
        "family_name": "Lovelace",
        "nickname": "ada",
        "preferred_username": "ada1815",
        "profile": "https://ada.example",
        "picture": "https://ada.example/p.png",
        "website": "https://ada.example/w",
        "email": "ada@example.com",
        "email_verified": True,
        "gender": "female",
        "birthdate": "1815-12-10",
        "zoneinfo": "Europe/London",
        "locale": "en-GB",
        "phone_number": "+44 1",
        "phone_number_verified": False,
        "address": {"formatted": "St James's Square", "country": "GB"},
        "updated_at": 1_700_000_000,
        # Kept as they are.
        "roles": ["owner"],
        "org": {"id": 7},
        # About the token.
        "jti": "1",
        "nbf": int(NOW_S),
        "fva": [1, 2],
        # Of names that are others', and that cannot be a value's.
        "subject": "mallory",
        "tokenIdentifier": "x|y",
        "emailVerified": False,
        "$secret": 1,
        "nothing": None,
        "large": 2**60,
    }
    user = accepted(token(key("ES256"), claims(**person)))
    assert user.to_dict() == {
        "tokenIdentifier": f"{ISSUER}|ada",
        "subject": "ada",
        "issuer": ISSUER,
        "name": "Ada Lovelace",
        "givenName": "Ada",
        "familyName": "Lovelace",
        "nickname": "ada",
        "preferredUsername": "ada1815",
        "profileUrl": "https://ada.example",
        "pictureUrl": "https://ada.example/p.png",
        "websiteUrl": "https://ada.example/w",
        "email": "ada@example.com",
        "emailVerified": True,
        "gender": "female",
        "birthday": "1815-12-10",
        "timezone": "Europe/London",
        "language": "en-GB",
        "phoneNumber": "+44 1",
        "phoneNumberVerified": False,
        "address": "St James's Square",
        "updatedAt": "2023-11-14T22:13:20+00:00",
        "roles": ["owner"],
        "org": {"id": 7},
        "nothing": None,
        "large": float(2**60),
    }
    assert user.email_verified is True
    assert set(user.claims) == {"roles", "org", "nothing", "large"}


def test_standard_claims_of_another_kind_are_not_made_up():
    odd = {
        "name": 7,
        "email": ["a"],
        "email_verified": "false",
        "phone_number_verified": 1,
        "address": "no object",
        "updated_at": 1e300,
    }
    user = accepted(token(key("ES256"), claims(**odd)))
    assert (user.name, user.email, user.address, user.updated_at) == (None, None, None, None)
    # Some providers say flags in words.
    assert (user.email_verified, user.phone_number_verified) == (False, None)


def test_a_custom_token_gives_flat_claims_and_no_standard_ones():
    body = claims(
        email="ada@example.com",
        given_name="Ada",
        properties={"email": "x@example.com", "deep": {"er": 1}},
        roles=["owner"],
        subject="mallory",
        tokenIdentifier="x|y",
        emailVerified="yes",
        fva=[1],
    )
    user = accepted(token(key("ES256"), body), custom())
    assert user.to_dict() == {
        "tokenIdentifier": f"{ISSUER}|ada",
        "subject": "ada",
        "issuer": ISSUER,
        "email": "ada@example.com",
        "given_name": "Ada",
        "properties.email": "x@example.com",
        "properties.deep.er": 1,
        "roles": ["owner"],
    }
    assert user.email == "ada@example.com"
    assert user.given_name is None


def test_a_refreshed_token_is_of_the_same_identity():
    first = accepted(token(key("ES256"), claims(jti="1", role="a")))
    second = accepted(token(key("ES256"), claims(jti="2", role="a", exp=int(NOW_S) + 60)))
    other = accepted(token(key("ES256"), claims(jti="3", role="b")))
    assert identity_key(User(first)) == identity_key(User(second)) != identity_key(User(other))


def test_the_first_provider_that_matches_is_asked():
    other = OidcIssuer.of(issuer="https://other.example", application_id="b", own_site="")
    assert accepted(token(key("ES256")), other, OIDC).issuer == ISSUER
    # A custom one before it takes the token, and refuses it by its own rules.
    assert refusal(token(key("RS256")), custom("ES256"), OIDC).code == "InvalidAuthHeader"


# Keys.


def test_keys_are_fetched_once_for_all_who_wait():
    async def outcome(world):
        world.documents.gate = asyncio.Event()
        assert world.verifier.verified_now(token(key("ES256"))) is None
        asking = [asyncio.ensure_future(world.user(token(key(a)))) for a in ALGORITHMS * 5]
        await settled()
        asking[0].cancel()
        world.documents.gate.set()
        results = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert [getattr(each, "subject", each) for each in results[1:]] == ["ada"] * 14
        assert len(world.documents.asked) == 2
        # From now on nobody waits.
        assert world.verifier.verified_now(token(key("ES256"))).user.user.subject == "ada"

    run(outcome)


def test_a_new_key_is_found_at_once_and_forged_ones_flood_nobody():
    async def outcome(world):
        assert await world.user(token(key("ES256")))
        asked = len(world.documents.asked)
        world.documents.serve_oidc(key("ES256", 1))
        await world.host.move(limits.provider_asked_again_s)
        assert (await world.user(token(key("ES256", 1)))).subject == "ada"
        assert len(world.documents.asked) == asked + 1
        # Now somebody makes up keys without end; a real one comes among them.
        world.documents.serve_oidc(key("ES256", 1), key("ES256", 2))
        forged = [
            asyncio.ensure_future(
                world.verifier.verified(token(key("ES256", 9).named(f"made up {n}")))
            )
            for n in range(200)
        ]
        real = asyncio.ensure_future(world.user(token(key("ES256", 2))))
        await settled()
        assert len(world.documents.asked) == asked + 1
        assert (await world.user(token(key("ES256", 1)))).subject == "ada", "others do not wait"
        await world.host.move(limits.provider_asked_again_s)
        assert (await real).subject == "ada"
        refused = await asyncio.gather(*forged, return_exceptions=True)
        assert all(isinstance(each, AuthenticationFailed) for each in refused)
        assert len(world.documents.asked) == asked + 2

    run(outcome)


def test_a_withdrawn_key_is_good_for_as_long_as_the_keys_hold():
    async def outcome(world):
        world.documents.fresh_s = 100.0
        old = key("ES256")
        body = claims(exp=NOW_S + 10**6)
        assert await world.user(token(old, body))
        world.documents.serve_oidc(key("ES256", 1))
        await world.host.move(79.0)
        assert await world.user(token(old, body))
        # From then on it is asked for ahead of the time, and nobody waits.
        await world.host.move(2.0)
        assert world.verifier.verified_now(token(old, body)) is not None
        await settled()
        assert world.verifier.verified_now(token(key("ES256", 1), body)) is not None
        assert "no such key" in (await world.refused(token(old, body))).sentence

    run(outcome)


@pytest.mark.parametrize(
    ("said_s", "held_s"),
    [
        (0.0, limits.provider_fresh_s_min),
        (None, limits.provider_fresh_s),
        (1e9, limits.provider_fresh_s_max),
    ],
)
def test_what_a_provider_says_holds_within_bounds(said_s, held_s):
    async def outcome(world):
        world.documents.fresh_s = said_s
        body = claims(exp=NOW_S + 10**6)
        await world.user(token(key("ES256"), body))
        asked = len(world.documents.asked)
        await world.host.move(0.7 * held_s)
        assert world.verifier.verified_now(token(key("ES256"), body)) is not None
        await settled()
        assert len(world.documents.asked) == asked
        await world.host.move(0.31 * held_s)
        assert world.verifier.verified_now(token(key("ES256"), body)) is None

    run(outcome)


def test_a_provider_that_is_away_signs_nobody_out_for_a_while():
    async def outcome(world):
        body = claims(exp=NOW_S + 10**6)
        text = token(key("ES256"), body)
        await world.user(text)
        world.documents.failure = FetchFailed("it is down")
        await world.host.move(limits.provider_fresh_s + 1)
        asked = len(world.documents.asked)
        for _ in range(50):
            assert (await world.user(text)).subject == "ada"
        # It is left alone for a while: the configuration and the keys were asked for once.
        assert len(world.documents.asked) == asked + 2
        await world.host.move(limits.provider_away_s_max + 1)
        with pytest.raises(FeatureUnavailable, match="it is down") as caught:
            await world.user(text)
        assert caught.value.code == "AuthProviderDiscoveryFailed"
        world.documents.failure = None
        await world.host.move(limits.provider_asked_again_s)
        assert (await world.user(text)).subject == "ada"

    run(outcome)


def test_a_provider_that_never_answered_is_no_reason_to_refuse_a_token():
    async def outcome(world):
        world.documents.failure = FetchFailed("https://login.example.com is down")
        for _ in range(3):
            with pytest.raises(FeatureUnavailable):
                await world.user(token(key("ES256")))
        assert len(world.documents.asked) == 1
        await world.host.move(limits.provider_asked_again_s)
        world.documents.failure = None
        assert await world.user(token(key("ES256")))

    run(outcome)


def test_where_a_provider_is_is_not_told_in_production():
    async def outcome(world):
        world.documents.failure = FetchFailed(f"{ISSUER} is down")
        with pytest.raises(FeatureUnavailable) as caught:
            await world.user(token(key("ES256")))
        assert ISSUER not in caught.value.sentence

    run(outcome, disclosure=Disclosure.NONE)


@pytest.mark.parametrize(
    ("configuration", "words"),
    [
        (b"", "not valid JSON"),
        (b"[]", "no configuration"),
        (b'{"issuer": "https://login.example.com"}', "no configuration"),
        (b'{"issuer": "https://evil.example", "jwks_uri": "https://evil.example"}', "name that"),
        (
            b'{"issuer": "https://login.example.com", "jwks_uri": "http://login.example.com/k"}',
            "cannot be trusted",
        ),
        (
            b'{"issuer": "https://login.example.com", "jwks_uri": "http://127.0.0.1:3210/"}',
            "cannot be trusted",
        ),
        (
            b'{"issuer": "https://login.example.com", "jwks_uri": "https://localhost/"}',
            "cannot be trusted",
        ),
        (
            b'{"issuer": "https://login.example.com", "jwks_uri": "file:///etc/passwd"}',
            "cannot be trusted",
        ),
    ],
)
def test_a_configuration_that_cannot_be_trusted_is_not(configuration, words):
    async def outcome(world):
        world.documents.by_url[OIDC.discovery_url] = configuration
        with pytest.raises(FeatureUnavailable, match=words):
            await world.user(token(key("ES256")))
        assert world.documents.asked == [OIDC.discovery_url]

    run(outcome)


def test_a_domain_that_ends_with_a_slash_is_the_same():
    """Auth0's issuer has one, and what people write down has none, or the other way round."""

    async def outcome(world):
        world.documents.serve_oidc(key("ES256"), issuer=f"{ISSUER}/")
        body = claims(iss=f"{ISSUER}/")
        user = await world.user(token(key("ES256"), body))
        assert user.token_identifier == f"{ISSUER}/|ada"
        # The provider calls itself so, and not otherwise.
        for other in (ISSUER, f"{ISSUER}//"):
            assert (
                "its iss is"
                in (await world.refused(token(key("ES256"), claims(iss=other)))).sentence
            )
        assert set(world.documents.asked) == {OIDC.discovery_url, f"{ISSUER}/keys"}

    run(outcome, OidcIssuer.of(issuer=f"{ISSUER}/", application_id=APPLICATION, own_site=""))


def test_keys_of_a_custom_issuer_are_served_as_json():
    async def outcome(world):
        world.documents.media_type = "text/html"
        with pytest.raises(FeatureUnavailable, match="served as 'text/html'"):
            await world.user(token(key("ES256")))
        world.documents.media_type = "application/jwk-set+json"
        await world.host.move(limits.provider_asked_again_s)
        assert await world.user(token(key("ES256")))

    run(outcome, custom())


@pytest.mark.parametrize(
    "served",
    [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": [' + b"{}," * 100 + b"{}]}"],
)
def test_what_is_no_key_set_is_no_reason_to_refuse_a_token(served):
    async def outcome(world):
        world.documents.by_url[KEYS_URL] = served
        with pytest.raises(FeatureUnavailable, match="keys cannot be read"):
            await world.user(token(key("ES256")))

    run(outcome, custom())


def test_keys_may_be_given_in_place():
    text = key_set(key("ES256"))
    for uri in (
        "data:application/json," + text.decode().replace("%", "%25"),
        "data:text/plain;charset=utf-8;base64," + base64.b64encode(text).decode(),
    ):

        async def outcome(world):
            assert world.verifier.verified_now(token(key("ES256"))).user.user.subject == "ada"
            assert "no such key" in (await world.refused(token(key("ES256", 1)))).sentence
            assert world.documents.asked == []

        run(outcome, custom(jwks=uri))


def test_who_is_trusted_changes_at_once_and_keys_that_are_held_are_kept():
    async def outcome(world):
        await world.user(token(key("ES256")))
        asked = len(world.documents.asked)
        world.verifier.trust((custom(issuer="https://new.example"), OIDC))
        assert world.verifier.verified_now(token(key("ES256"))) is not None
        assert len(world.documents.asked) == asked
        world.verifier.trust(())
        assert (await world.refused(token(key("ES256")))).code == "NoAuthProvider"

    run(outcome)


# Tokens that come again.


@pytest.fixture
def looked_at(monkeypatch):
    """Return the signatures that were looked at."""
    seen: list[bytes] = []
    real = VerifyingKey.has_signed

    def counted(self, message, signature):
        seen.append(signature)
        return real(self, message, signature)

    monkeypatch.setattr(VerifyingKey, "has_signed", counted)
    return seen


def test_a_token_that_comes_again_is_not_verified_again(looked_at):
    async def outcome(world):
        text = token(key("RS256"))
        first = await world.verifier.verified(text)
        assert len(looked_at) == 1
        for _ in range(3):
            assert world.verifier.verified_now(text) is first
        assert len(looked_at) == 1
        # Another one is, be it by a letter, and is not confused with it.
        head, body, signature = text.split(".")
        other = f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
        assert "signature" in (await world.refused(other)).sentence
        assert world.verifier.verified_now(text) is first
        assert len(looked_at) == 2

    run(outcome)


def test_what_is_remembered_ends_with_its_token_its_key_and_its_provider(looked_at):
    async def outcome(world):
        world.documents.fresh_s = 100.0
        text = token(key("ES256"), claims(exp=NOW_S + 150))
        await world.user(text)
        # While the keys do not hold it is not known, and they are asked for.
        await world.host.move(101.0)
        assert world.verifier.verified_now(text) is None
        assert await world.user(text)
        assert world.verifier.verified_now(text)
        await world.host.move(55.0)
        with pytest.raises(AuthenticationFailed, match="expired"):
            world.verifier.verified_now(text)

        text = token(key("ES256"), claims(exp=NOW_S + 10**6))
        await world.user(text)
        world.documents.serve_oidc(key("ES256", 1))
        await world.host.move(30.0)
        # Somebody shows the new key, and with it the old one is gone.
        assert await world.user(token(key("ES256", 1), claims(exp=NOW_S + 10**6)))
        assert "no such key" in (await world.refused(text)).sentence

        text = token(key("ES256", 1), claims(exp=NOW_S + 10**6))
        await world.user(text)
        world.verifier.trust((OidcIssuer.of(issuer=ISSUER, application_id="b", own_site=""),))
        assert (await world.refused(text)).code == "NoAuthProvider"

    run(outcome)


def test_the_first_provider_that_matches_decides_for_tokens_that_come_again_too(looked_at):
    async def outcome(world):
        text = token(key("ES256"))
        await world.user(text)
        before = custom(application_id=None, jwks=f"{ISSUER}/others")
        world.documents.by_url[f"{ISSUER}/others"] = key_set(key("ES256", 1))
        world.verifier.trust((before, OIDC))
        assert world.verifier.verified_now(text) is None
        assert "no such key" in (await world.refused(text)).sentence

    run(outcome)


def test_tokens_are_remembered_within_a_bound_of_bytes(monkeypatch, looked_at):
    async def outcome(world):
        texts = [token(key("EdDSA"), claims(sub=f"user {n}")) for n in range(4)]
        monkeypatch.setattr(limits, "tokens_remembered_bytes_max", 3 * len(texts[0]))
        for text in texts[:3]:
            await world.user(text)
        # The first one was asked for last, so that the second has to go.
        world.verifier.verified_now(texts[0])
        await world.user(texts[3])
        looked_at.clear()
        for text in (texts[0], texts[2], texts[3]):
            world.verifier.verified_now(text)
        assert looked_at == []
        world.verifier.verified_now(texts[1])
        assert len(looked_at) == 1

    run(outcome)


def test_who_is_trusted_no_more_while_their_keys_are_asked_for_is_not_let_in():
    """A token that waits for its keys when they are given up is held against those that come after."""

    async def outcome(world):
        site = "https://site.example.com"
        own = OidcIssuer.of(issuer=site, application_id=APPLICATION, own_site=site)
        world.documents.serve_oidc(key("ES256"), issuer=site)
        may_answer, asked = asyncio.Event(), []

        async def fetch(url):
            # As it is when it is asked for, however long the answer takes.
            answer = await world.documents(url)
            asked.append(url)
            if asked.count(f"{site}/keys") == 1:
                await may_answer.wait()
            return answer

        verifier = TokenVerifier(host=world.host, fetch=fetch, disclosure=Disclosure.ALL)
        verifier.trust((own,), own_site=site)
        text = token(key("ES256"), claims(iss=site))
        waiting = asyncio.ensure_future(verifier.verified(text))
        await settled()
        assert asked[-1] == f"{site}/keys"
        world.documents.serve_oidc(key("ES256", 1), issuer=site)
        verifier.trust((own,), own_site=site)
        may_answer.set()
        await settled()
        if not waiting.done():
            await world.host.move(limits.provider_asked_again_s)
        with pytest.raises(AuthenticationFailed, match="no such key"):
            await waiting

    run(outcome)


def test_a_token_that_was_accepted_is_held_against_what_is_trusted_now():
    async def outcome(world):
        accepted_ = await world.verifier.verified(token(key("ES256"), claims(exp=NOW_S + 10**6)))
        other = await world.verifier.verified(token(key("EdDSA"), claims(exp=NOW_S + 10**6)))
        assert world.verifier.holds(accepted_) is True
        seen = world.verifier.changes
        told = asyncio.ensure_future(world.verifier.changed(seen))
        await settled()
        assert not told.done()
        # The same keys again are no change.
        await world.host.move(limits.provider_fresh_s + 1)
        assert world.verifier.holds(accepted_) is None
        await world.verifier.ask(accepted_.provider)
        assert world.verifier.holds(accepted_) is True
        assert not told.done()
        world.documents.serve_oidc(key("EdDSA"))
        await world.host.move(limits.provider_fresh_s + 1)
        await world.verifier.ask(accepted_.provider)
        await settled()
        assert told.done()
        assert world.verifier.holds(accepted_) is False
        assert world.verifier.holds(other) is True
        # One that does not answer is no reason to end anything.
        world.documents.failure = FetchFailed("away")
        await world.host.move(limits.provider_fresh_s + 1)
        await world.verifier.ask(other.provider)
        assert world.verifier.holds(other) is None
        world.verifier.trust(())
        assert world.verifier.holds(other) is False

    run(outcome)


# What can be trusted at all.


@pytest.mark.parametrize(
    ("issuer", "words"),
    [
        ("http://login.example.com", "it is https"),
        ("http://127.0.0.1.evil.example", "it is https"),
        ("http://10.0.0.1", "it is https"),
        ("ftp://login.example.com", "no URL"),
        ("https://", "no URL"),
        ("https://a:b@login.example.com", "no user"),
        ("https://login.example.com/#x", "no fragment"),
        ("https://login.example.com?x=1", "no query"),
        ("https://login.example.com:port", "no URL"),
        ("https://[::1", "no URL"),
        ("   ", "is empty"),
    ],
)
def test_an_issuer_that_cannot_be_asked_is_refused(issuer, words):
    with pytest.raises(ProviderError, match=words):
        OidcIssuer.of(issuer=issuer, application_id="a", own_site="http://10.0.0.2:3211")


@pytest.mark.parametrize(
    "issuer",
    ["login.example.com", "https://login.example.com/realms/a/", "http://localhost:8080",
     "http://127.0.0.1:1", "http://[::1]:1", "http://login.localhost", "http://10.0.0.2:3211"],
)  # fmt: skip
def test_an_issuer_that_can_be_asked_is_accepted(issuer):
    found = OidcIssuer.of(issuer=issuer, application_id="a", own_site="http://10.0.0.2:3211")
    assert found.discovery_url.endswith("/.well-known/openid-configuration")
    assert "//.well-known" not in found.discovery_url


@pytest.mark.parametrize(
    ("jwks", "words"),
    [
        ("http://login.example.com/keys", "it is https"),
        ("data:,{}", "keys is a list"),
        ("data:application/json", "without a comma"),
        ("data:;base64,!", "not base64"),
        ("data:,x", "not valid JSON"),
        ("keys.json", "no URL"),
    ],
)
def test_keys_that_cannot_be_had_are_refused(jwks, words):
    with pytest.raises(ProviderError, match=words):
        custom(jwks=jwks)
