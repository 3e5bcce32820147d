"""Questions are found that were asked in other words, and new ones by those who look already."""

import pytest
from backend._embedding import DIMENSIONS, embed
from backend.questions import ask, like, related, remove

import camber.testing
from camber import AppError

ASKED = [
    ("How do I pay an invoice?", "billing"),
    ("Which payment methods are there?", "billing"),
    ("How do I reset my password?", "account"),
    ("Can I change my e-mail address?", "account"),
    ("When are invoices sent?", "billing"),
]


@pytest.fixture
def app(camber_app: camber.testing.TestApp) -> camber.testing.TestApp:
    for text, topic in ASKED:
        camber_app.mutation(ask, text=text, topic=topic)
    return camber_app


def texts(app: camber.testing.TestApp, text: str, topics: list[str] | None = None) -> list[str]:
    return [each["text"] for each in app.query(like, text=text, topics=topics)]


def test_questions_are_found_that_share_words_or_parts_of_them(app: camber.testing.TestApp) -> None:
    assert texts(app, "paying an invoice")[0] == "How do I pay an invoice?"
    assert set(texts(app, "invoice")) == {"How do I pay an invoice?", "When are invoices sent?"}
    assert texts(app, "pasword forgotten, reset?")[0] == "How do I reset my password?"
    assert texts(app, "invoice", topics=["account"]) == []
    assert texts(app, "e-mail", topics=["account", "billing"]) == [
        "Can I change my e-mail address?"
    ]
    assert texts(app, "…") == texts(app, "zebra") == []


def test_a_question_is_as_near_as_it_can_be_to_itself(app: camber.testing.TestApp) -> None:
    (nearest, *others) = app.query(like, text="When are invoices sent?")
    assert nearest["score"] == pytest.approx(1.0)
    assert all(0.25 <= each["score"] < 1.0 for each in others)


def test_whoever_looks_sees_what_is_asked_meanwhile(app: camber.testing.TestApp) -> None:
    watched = app.subscribe(like, text="refund, invoice")
    before = [each["text"] for each in watched.value]
    asked = app.mutation(ask, text="Is there a refund?", topic="billing")
    now = [each["text"] for each in watched.value]
    assert sorted(now) == sorted(["Is there a refund?", *before])
    app.mutation(remove, question=asked)
    assert [each["text"] for each in watched.value] == before


def test_the_same_question_is_one(app: camber.testing.TestApp) -> None:
    first = app.mutation(ask, text="Is there a refund?", topic="billing")
    assert app.mutation(ask, text=" is there a REFUND? ", topic="billing") == first
    assert app.mutation(ask, text="Is there a refund?", topic="account") != first


def test_an_action_finds_what_is_related(app: camber.testing.TestApp) -> None:
    asked = app.mutation(ask, text="May I pay my invoice later?", topic="billing")
    assert app.action(related, question=asked)[0] == "How do I pay an invoice?"
    app.mutation(remove, question=asked)
    with pytest.raises(AppError, match="no such question"):
        app.action(related, question=asked)


def test_a_question_has_words_and_an_end(app: camber.testing.TestApp) -> None:
    with pytest.raises(AppError, match="needs some words"):
        app.mutation(ask, text="?!", topic="billing")
    with pytest.raises(AppError, match="501 characters"):
        app.mutation(ask, text="a" * 501, topic="billing")


def test_an_embedding_is_the_same_each_time() -> None:
    assert embed("Paying") == embed("paying")
    assert len(embed("")) == DIMENSIONS
    assert not any(embed("How do I?"))
