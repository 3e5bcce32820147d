"""Which keys are valid, and what they allow."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber.errors import AuthenticationFailed, PermissionDenied
from camber.identity.admin_keys import AdminKeys, root_key
from camber.identity.operations import ALL_OPERATIONS, READ_ONLY, Operation

SECRET = b"s" * 32
_chance = iter(range(10**6))


class Clock:
    ms = 1_000.0


def keys(clock=Clock, name="app", secret=SECRET, configured=None):
    return AdminKeys(
        instance_name=name, secret=secret, now_ms=lambda: clock.ms, configured=configured
    )


def issue(admin_keys, *operations, lifetime_ms=None, name="ci"):
    return admin_keys.issue(
        name=name,
        operations=operations,
        lifetime_ms=lifetime_ms,
        random_bytes=lambda count: next(_chance).to_bytes(count, "big"),
    )


def is_valid(admin_keys, text):
    try:
        admin_keys.check(text)
    except AuthenticationFailed as error:
        return error.code != "BadAdminKey"
    return True


@given(data=st.data())
def test_a_key_is_valid_as_it_is_and_in_no_other_form(data):
    mine = keys(configured="own|chosen_0f")
    new = issue(mine, Operation.DEPLOY)
    mine.replace_issued([new.issued])
    for text in (root_key("app", SECRET), new.text, "own|chosen_0f"):
        prefix = data.draw(st.sampled_from(["", "prod:", "dev:", "preview:team:project:"]))
        assert is_valid(mine, prefix + text)
        at = data.draw(st.integers(text.index("|") + 1, len(text)))
        end = data.draw(st.integers(at, min(len(text), at + 2)))
        other = text[:at] + data.draw(st.text("0af_cks", max_size=2)) + text[end:]
        assert is_valid(mine, prefix + other) == (other == text)


def test_a_key_is_of_one_instance():
    mine = keys()
    new = issue(mine, Operation.DEPLOY)
    mine.replace_issued([new.issued])
    assert not is_valid(keys(secret=b"t" * 32), root_key("app", SECRET))
    assert not is_valid(mine, root_key("app", SECRET).partition("|")[2])
    assert not is_valid(keys(), new.text)


def test_a_deployment_that_is_renamed_keeps_its_keys():
    new = issue(keys(), Operation.DEPLOY)
    renamed = keys(name="other", configured="own|chosen")
    renamed.replace_issued([new.issued])
    assert is_valid(renamed, root_key("app", SECRET))
    assert is_valid(renamed, new.text)
    assert not is_valid(renamed, "app|chosen")


def test_what_is_kept_of_a_key_is_no_key():
    mine = keys()
    new = issue(mine, Operation.DEPLOY)
    mine.replace_issued([new.issued])
    secret = new.text.rpartition("_")[2]
    assert secret not in repr(new.issued)
    assert not is_valid(mine, f"app|ck_{new.issued.id}_{new.issued.digest.hex()}")
    assert not is_valid(mine, f"app|ck_{new.issued.id}_")
    assert ":" not in new.text


def test_a_key_allows_what_it_was_made_for():
    mine = keys()
    new = issue(mine, Operation.DEPLOY, Operation.VIEW_LOGS)
    mine.replace_issued([new.issued])
    admin = mine.check(new.text)
    assert admin.operations == {Operation.DEPLOY, Operation.VIEW_LOGS}
    for operation in Operation:
        mine.check(root_key("app", SECRET)).require(operation, "x")
        if operation in admin.operations:
            admin.require(operation, "x")
        else:
            with pytest.raises(PermissionDenied, match=operation.value):
                admin.require(operation, "x")
    assert READ_ONLY < ALL_OPERATIONS == set(Operation)


def test_a_key_ends_at_its_time_or_when_it_is_revoked():
    class Moving(Clock):
        pass

    mine = keys(Moving)
    new, stays = issue(mine, Operation.DEPLOY, lifetime_ms=500), issue(mine, Operation.DEPLOY)
    assert not is_valid(mine, new.text)
    mine.replace_issued([new.issued, stays.issued])
    Moving.ms = 1_499.9
    assert is_valid(mine, new.text)
    assert mine.valid(new.issued.id) == new.issued
    Moving.ms = 1_500
    assert not is_valid(mine, new.text)
    assert mine.valid(new.issued.id) is None
    assert is_valid(mine, stays.text)
    mine.replace_issued([])
    assert not is_valid(mine, stays.text)


def test_keys_are_compared_in_constant_time(monkeypatch):
    """Nothing lets a key in but the comparison that takes as long wherever two differ."""
    mine = keys(configured="own|chosen_0f")
    new = issue(mine, Operation.DEPLOY)
    mine.replace_issued([new.issued])
    right = (root_key("app", SECRET), new.text, "own|chosen_0f", "prod:own|chosen_0f")
    assert all(is_valid(mine, text) for text in right)
    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: False)
    assert not any(is_valid(mine, text) for text in right)


@pytest.mark.parametrize(
    "text", ["\ud800", "app|\ud800", "app|ck_\udfff_0", "é|ü", "|", "", "\0|\0"]
)
def test_text_that_no_encoding_has_is_no_key(text):
    mine = keys(configured="own|chosen_0f")
    new = issue(mine, Operation.DEPLOY)
    mine.replace_issued([new.issued])
    assert not is_valid(mine, text)
    assert not is_valid(mine, f"{new.text}{text or 'x'}")
