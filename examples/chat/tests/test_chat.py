"""The chat's own tests: the real engine, in process."""

import pytest
from backend.channels import create, list_channels
from backend.messages import history, like, send

import camber.testing
from camber import AppError, PaginationOpts

FIRST_PAGE = PaginationOpts(num_items=2)


def test_a_message_is_the_newest_of_its_channel(camber_app: camber.testing.TestApp) -> None:
    channel = camber_app.mutation(create, name="general")
    for body in ("one", "two", "three"):
        camber_app.mutation(send, channel=channel, author="Ada", body=body)

    page = camber_app.query(history, channel=channel, opts=FIRST_PAGE)

    assert [message.body for message in page.page] == ["three", "two"]
    assert not page.is_done


def test_older_messages_follow_on_the_next_page(camber_app: camber.testing.TestApp) -> None:
    channel = camber_app.mutation(create, name="general")
    for body in ("one", "two", "three"):
        camber_app.mutation(send, channel=channel, author="Ada", body=body)
    first = camber_app.query(history, channel=channel, opts=FIRST_PAGE)

    rest = camber_app.query(
        history,
        channel=channel,
        opts=PaginationOpts(num_items=2, cursor=first.continue_cursor),
    )

    assert [message.body for message in rest.page] == ["one"]
    assert rest.is_done


def test_likes_add_up(camber_app: camber.testing.TestApp) -> None:
    channel = camber_app.mutation(create, name="general")
    message = camber_app.mutation(send, channel=channel, author="Ada", body="hi")
    assert camber_app.mutation(like, message=message) == 1
    assert camber_app.mutation(like, message=message) == 2


def test_channels_are_sorted_by_name(camber_app: camber.testing.TestApp) -> None:
    for name in ("random", "#general"):
        camber_app.mutation(create, name=name)
    assert [channel.name for channel in camber_app.query(list_channels)] == ["general", "random"]


def test_a_list_of_channels_is_told_of_a_new_one(camber_app: camber.testing.TestApp) -> None:
    channels = camber_app.subscribe(list_channels)
    assert channels.value == []
    camber_app.mutation(create, name="general")
    assert channels.is_stale
    assert [channel.name for channel in channels.value] == ["general"]


@pytest.mark.parametrize(
    ("author", "body", "code"),
    [("Ada", "  ", "EMPTY"), ("", "hi", "EMPTY"), ("Ada", "x" * 2001, "TOO_LONG")],
)
def test_what_cannot_be_shown_is_refused(
    camber_app: camber.testing.TestApp, author: str, body: str, code: str
) -> None:
    channel = camber_app.mutation(create, name="general")
    with pytest.raises(AppError) as refused:
        camber_app.mutation(send, channel=channel, author=author, body=body)
    assert refused.value.data["code"] == code
    assert camber_app.query(history, channel=channel, opts=FIRST_PAGE).page == []


def test_a_channel_name_is_taken_once(camber_app: camber.testing.TestApp) -> None:
    camber_app.mutation(create, name="general")
    with pytest.raises(AppError) as refused:
        camber_app.mutation(create, name=" general ")
    assert refused.value.data["code"] == "NAME_TAKEN"
