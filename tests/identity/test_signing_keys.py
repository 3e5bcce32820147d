"""The keys of access tokens: what is told of them, and how they give way to others."""

from __future__ import annotations

import json

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber.identity.algorithms import Algorithm
from camber.identity.key_sets import KeySet
from camber.identity.signing_keys import (
    SigningKey,
    SigningKeysUnreadable,
    new_signing_key,
    new_signing_keys,
    rotated_signing_keys,
    trusted_keys,
)

NOW_S = 1_700_000_000.0
NEW = SigningKey(private_key="pem", public_key={"kid": "new"})


def key_set(*keys):
    return json.dumps({"keys": keys})


def test_a_new_key_signs_what_its_set_verifies():
    made = new_signing_keys()
    token = jwt.encode({"sub": "ada"}, made["JWT_PRIVATE_KEY"], algorithm="RS256")
    signed, _, _ = token.rpartition(".")
    signature = jwt.utils.base64url_decode(token.rpartition(".")[2])
    (public,) = json.loads(made["JWKS"])["keys"]
    parsed = KeySet.parse(made["JWKS"].encode())
    (key,) = parsed.candidates(Algorithm.RS256, public["kid"])
    assert key.has_signed(signed.encode(), signature)
    assert not key.has_signed(signed.encode() + b"x", signature)
    # Another library is of the same opinion.
    read = jwt.PyJWK(public)
    assert jwt.decode(token, read.key, algorithms=["RS256"]) == {"sub": "ada"}


def test_what_is_told_has_no_private_half():
    (public,) = json.loads(new_signing_keys()["JWKS"])["keys"]
    assert set(public) == {"e", "kty", "n", "use", "alg", "kid"}


def test_no_two_keys_are_one():
    assert new_signing_key().kid != new_signing_key().kid


ENDS = st.one_of(st.none(), st.integers(-100, 100))


@given(st.lists(ENDS, max_size=6), st.integers(0, 100))
def test_a_key_gives_way_and_none_is_trusted_for_longer_than_it_was(ends, trusted_s):
    """The oracle asks each key at each second: old trust and new trust both have to last."""
    keys = [
        {"kid": str(i)} if end is None else {"kid": str(i), "exp": NOW_S + end}
        for i, end in enumerate(ends)
    ]
    made = rotated_signing_keys(NEW, key_set(*keys), now_s=NOW_S, trusted_s=trusted_s)
    first, *rest = json.loads(made["JWKS"])["keys"]
    assert first == {"kid": "new"}
    assert made["JWT_PRIVATE_KEY"] == "pem"
    for second in range(101):
        trusted = {key["kid"] for key in rest if key["exp"] > NOW_S + second}
        assert trusted == {
            str(i)
            for i, end in enumerate(ends)
            if second < trusted_s and (end is None or second < end)
        }
    assert {each.kid: each.until_s for each in trusted_keys(made)} == {
        key["kid"]: key["exp"] for key in rest
    }


def test_keys_that_came_without_a_name_stay_without_one():
    made = rotated_signing_keys(NEW, key_set({"kty": "RSA", "n": "x"}), now_s=NOW_S, trusted_s=60)
    assert json.loads(made["JWKS"])["keys"][1] == {"kty": "RSA", "n": "x", "exp": NOW_S + 60}
    assert [each.kid for each in trusted_keys(made)] == [None]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        "3",
        '{"keys": 3}',
        '{"keys": [3]}',
        '{"keys": [{"exp": "soon"}]}',
        '{"keys": [{"exp": null}]}',
        '{"keys": [{"exp": [1]}]}',
    ],
)
def test_what_are_no_keys_are_not_thrown_away(text):
    with pytest.raises(SigningKeysUnreadable, match="camber env remove JWKS"):
        rotated_signing_keys(NEW, text, now_s=NOW_S, trusted_s=60)
