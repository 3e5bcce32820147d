"""The functions, on a real engine with an empty store for each test."""

import pytest
from backend.tasks import add, list_tasks, remove, toggle

import camber.testing
from camber import AppError


def test_the_newest_task_is_first(camber_app: camber.testing.TestApp) -> None:
    for text in ("one", "two"):
        camber_app.mutation(add, text=text)
    assert [task.text for task in camber_app.query(list_tasks)] == ["two", "one"]


def test_a_list_is_told_of_changes(camber_app: camber.testing.TestApp) -> None:
    tasks = camber_app.subscribe(list_tasks)
    task = camber_app.mutation(add, text="water the plants")
    assert [(each.text, each.done) for each in tasks.value] == [("water the plants", False)]
    assert camber_app.mutation(toggle, task=task) is True
    assert [each.done for each in tasks.value] == [True]
    camber_app.mutation(remove, task=task)
    assert tasks.value == []


def test_a_task_needs_words(camber_app: camber.testing.TestApp) -> None:
    with pytest.raises(AppError) as refused:
        camber_app.mutation(add, text="  ")
    assert refused.value.data["code"] == "EMPTY"
