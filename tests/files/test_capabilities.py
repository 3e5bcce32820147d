from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber.errors import AuthenticationFailed, PermissionDenied
from camber.files.capabilities import Capabilities, UploadTicket, capabilities_key

ours = Capabilities(capabilities_key(b"\1" * 32))
theirs = Capabilities(capabilities_key(b"\2" * 32))
FILE = "gm2038ghygv9kd112f47h14zre7fd4gn"

tickets = st.builds(
    UploadTicket,
    internal=st.binary(min_size=16, max_size=16),
    component=st.sampled_from(["", "ledger", "ledger/spare"]),
    expires_ms=st.integers(1, 2**48),
)


@given(tickets)
def test_a_ticket_comes_back_as_it_was_until_it_expires(ticket):
    token = ours.upload_token(ticket)
    assert ours.upload_ticket(token, ticket.expires_ms - 1) == ticket
    with pytest.raises(AuthenticationFailed) as expired:
        ours.upload_ticket(token, ticket.expires_ms)
    assert expired.value.code == "StorageTokenExpired"


@given(tickets, st.data())
def test_no_other_text_is_a_ticket(ticket, data):
    token = ours.upload_token(ticket)
    at = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.characters(max_codepoint=0x2FF).filter(lambda c: c != token[at]))
    for other in (token[:at] + letter + token[at + 1 :], token[:at], token + letter):
        with pytest.raises(AuthenticationFailed) as refused:
            ours.upload_ticket(other, 0)
        assert refused.value.code == "StorageTokenInvalid"


@given(st.one_of(st.text(), st.binary().map(lambda b: base64.urlsafe_b64encode(b).decode())))
def test_what_was_made_up_is_no_ticket(token):
    with pytest.raises(AuthenticationFailed):
        ours.upload_ticket(token, 0)


def test_another_deployment_has_other_tickets():
    ticket = UploadTicket(internal=bytes(16), component="", expires_ms=10)
    with pytest.raises(AuthenticationFailed):
        theirs.upload_ticket(ours.upload_token(ticket), 0)


def parts(query):
    return dict(part.split("=", 1) for part in query.split("&"))


def test_a_url_is_good_until_it_expires_and_for_its_file_alone():
    query = parts(ours.url_query(FILE, 100))
    assert ours.check_url(FILE, query["expires"], query["signature"], 99.9) == 100
    for file, expires, signature, now, code in [
        (FILE, "100", query["signature"], 100, "StorageUrlExpired"),
        (FILE, "101", query["signature"], 0, "StorageUrlInvalid"),
        (FILE[:-1] + "m", "100", query["signature"], 0, "StorageUrlInvalid"),
        (FILE, "100", query["signature"][:-1] + "ü", 0, "StorageUrlInvalid"),
        (FILE, "0100", "", 0, "StorageUrlInvalid"),
        (FILE, "", query["signature"], 0, "StorageUrlInvalid"),
        (FILE, "9" * 40, query["signature"], 0, "StorageUrlInvalid"),
    ]:
        with pytest.raises(PermissionDenied) as refused:
            ours.check_url(file, expires, signature, now)
        assert refused.value.code == code


def test_a_signature_is_no_ticket_and_a_ticket_no_signature():
    ticket = UploadTicket(internal=bytes(16), component="", expires_ms=10)
    token = ours.upload_token(ticket)
    with pytest.raises(PermissionDenied):
        ours.check_url(FILE, "10", token, 0)
    with pytest.raises(AuthenticationFailed):
        ours.upload_ticket(parts(ours.url_query(FILE, 10))["signature"], 0)
