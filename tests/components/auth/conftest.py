from __future__ import annotations

import pytest

from camber.components.auth import passwords
from tests.components.auth.people import Person, opened


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch, request):
    """Hashes that cost nothing: what they cost is tested where they are."""
    if request.node.get_closest_marker("costly") is None:
        monkeypatch.setattr(passwords, "_N", 16)


@pytest.fixture
def app():
    with opened() as app:
        yield app


@pytest.fixture
def ada(app):
    return Person(app)


@pytest.fixture
def eve(app):
    """Somebody who is up to no good."""
    return Person(app)
