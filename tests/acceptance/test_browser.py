"""The chat in headless Chromium, served as `make demo` serves it."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.acceptance.test_node_clients import run_script
from tests.servers import ADMIN_KEY, CHAT, Server

pytestmark = pytest.mark.browser


@pytest.fixture
def chat(tmp_path, chat_page):
    project = tmp_path / "chat"
    ignored = shutil.ignore_patterns("__pycache__", ".camber", "web", "node_modules")
    shutil.copytree(CHAT, project, ignore=ignored)
    with Server(project, tmp_path / "data", "--static", str(chat_page)) as server:
        key = {"Authorization": f"Convex {ADMIN_KEY}"}
        server.value("function", "demo:fill", {}, **key)
        yield server


def test_two_people_chat_through_a_restart(chat, chromium):
    run_script("chat.mjs", chat, CHROMIUM=chromium)


def test_the_page_fits_a_phone_and_a_desk(chat, chromium):
    screenshots = os.environ.get("SCREENSHOTS", "")
    run_script("layout.mjs", chat, CHROMIUM=chromium, SCREENSHOTS=screenshots)


def test_a_saved_function_changes_the_screen(chat, chromium):
    plain, loud = "paginate(opts)", "paginate(opts).map(_shouted)"
    helper = """

def _shouted(message: Message) -> Message:
    import msgspec

    return msgspec.structs.replace(message, body=message.body.upper())
"""
    steps = {
        "shout": lambda: chat.save("messages.py", plain, loud + helper),
        "break": lambda: chat.save("messages.py", "from .schema", "from .nowhere"),
        "mend": lambda: (
            chat.save("messages.py", "from .nowhere", "from .schema"),
            chat.save("messages.py", loud, plain),
        ),
    }
    steps["turn"] = lambda: chat.save("messages.py", 'order("desc")', 'order("asc")')
    run_script("edit.mjs", chat, steps=steps, CHROMIUM=chromium)
    told = next(line for line in chat.output if "Not pushed" in line)
    assert "backend/messages.py:14: ModuleNotFoundError" in told
