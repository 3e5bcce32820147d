"""Messages that destroy themselves, on a clock that the tests move."""

from backend.messages import destruct, keep, list_messages, send_expiring_message

import camber.testing


def bodies(app: camber.testing.TestApp) -> list[str]:
    return [message.body for message in app.query(list_messages)]


def test_a_message_is_gone_after_its_lifetime(camber_app: camber.testing.TestApp) -> None:
    camber_app.mutation(send_expiring_message, body="first", author="Ada")
    camber_app.advance(seconds=3)
    camber_app.mutation(send_expiring_message, body="second", author="Ada")
    assert bodies(camber_app) == ["first", "second"]
    camber_app.advance(seconds=3)
    assert bodies(camber_app) == ["second"]
    camber_app.advance(seconds=3)
    assert bodies(camber_app) == []


def test_whoever_watches_sees_it_go(camber_app: camber.testing.TestApp) -> None:
    watched = camber_app.subscribe(list_messages)
    camber_app.mutation(send_expiring_message, body="soon gone", author="Ada")
    assert len(watched.value) == 1
    camber_app.advance(seconds=6)
    assert watched.value == []


def test_a_message_may_be_kept(camber_app: camber.testing.TestApp) -> None:
    job = camber_app.mutation(send_expiring_message, body="stays", author="Ada")
    camber_app.mutation(keep, job=job)
    camber_app.advance(hours=1)
    assert bodies(camber_app) == ["stays"]


def test_what_is_gone_already_harms_nobody(camber_app: camber.testing.TestApp) -> None:
    camber_app.mutation(send_expiring_message, body="twice", author="Ada")
    (message,) = camber_app.query(list_messages)
    camber_app.mutation(destruct, message.id)
    camber_app.advance(seconds=6)
    assert bodies(camber_app) == []
