from __future__ import annotations

import pytest

from camber.errors import BadRequest
from camber.values.paths import FunctionPath


@pytest.mark.parametrize(
    ("text", "canonical", "display"),
    [
        ("messages:list", "messages.js:list", "messages:list"),
        ("messages.js:list", "messages.js:list", "messages:list"),
        ("messages", "messages.js:default", "messages"),
        ("users/profile:get", "users/profile.js:get", "users/profile:get"),
        ("a:default", "a.js:default", "a"),
    ],
)
def test_the_ways_to_write_a_path(text, canonical, display):
    path = FunctionPath.parse(text)
    assert (path.canonical, path.display) == (canonical, display)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "a:",
        "/a:b",
        "../a:b",
        "a//b:c",
        "a.py:b",
        "a:b c",
        "a:b:c",
        "ü:x",
        "a" * 65,
        "a/" * 2000 + "b:c",
        "a/" * 8_000_000,
    ],
)
def test_what_names_no_function(text):
    with pytest.raises(BadRequest) as refused:
        FunctionPath.parse(text)
    assert refused.value.code == "BadConvexFunctionIdentifier"


def test_what_is_far_too_long_is_not_told_whole():
    with pytest.raises(BadRequest) as refused:
        FunctionPath.parse("a/" * 1_000_000 + "b:c")
    assert len(refused.value.sentence) < 300
    assert "2000003 characters" in refused.value.sentence
