"""Cron jobs on a clock that the tests move. It begins on the first of January, 2026."""

from datetime import UTC, datetime

from backend.messages import list_messages, send
from backend.payments import reminders

import camber.testing


def test_messages_are_cleared_every_minute(camber_app: camber.testing.TestApp) -> None:
    camber_app.advance(seconds=10)
    camber_app.mutation(send, body="hello", author="Ada")
    camber_app.advance(seconds=30)
    assert len(camber_app.query(list_messages)) == 1
    camber_app.advance(seconds=30)
    assert camber_app.query(list_messages) == []


def test_a_reminder_goes_out_on_the_first_of_each_month(camber_app: camber.testing.TestApp) -> None:
    camber_app.advance(hours=15.9)
    assert camber_app.query(reminders) == []
    camber_app.advance(hours=0.2)
    found = camber_app.query(reminders)
    assert [each.email for each in found] == ["my_email@example.com"]
    sent = datetime.fromtimestamp(found[0].creation_time / 1000, UTC)
    assert (sent.day, sent.hour, sent.minute) == (1, 16, 0)


def test_those_who_watch_see_the_list_become_empty(camber_app: camber.testing.TestApp) -> None:
    camber_app.advance()
    watched = camber_app.subscribe(list_messages)
    camber_app.mutation(send, body="hello", author="Ada")
    assert len(watched.value) == 1
    camber_app.advance(minutes=1)
    assert watched.value == []
