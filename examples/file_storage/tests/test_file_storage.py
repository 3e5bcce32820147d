"""Both ways in process; then the script, with the official client, on real ports."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from backend.messages import (
    generate_upload_url,
    list_messages,
    remove,
    send_image,
    send_message,
)

import camber.testing
from camber import AppError

EXAMPLE = Path(__file__).parent.parent
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100_000)


def test_an_image_comes_by_an_upload_url(camber_app: camber.testing.TestApp) -> None:
    watched = camber_app.subscribe(list_messages)
    camber_app.mutation(send_message, body="look", author="Ada")
    file = camber_app.upload(
        camber_app.mutation(generate_upload_url), PNG, content_type="image/png"
    )
    camber_app.mutation(send_image, storageId=file, author="Ada")
    text, image = watched.value
    assert (text["body"], "url" in text) == ("look", False)
    assert (image["body"], image["format"]) == (file, "image")
    assert image["url"] is not None
    assert camber_app.download(image["url"]) == PNG


def test_an_image_comes_by_an_http_action_and_goes_out_by_one(
    camber_app: camber.testing.TestApp,
) -> None:
    sent = camber_app.fetch(
        "/sendImage?author=Grace",
        method="POST",
        headers={"Content-Type": "image/png"},
        content=PNG,
    )
    assert sent.status_code == 200, sent.text
    (message,) = camber_app.query(list_messages)
    assert message["author"] == "Grace"
    shown = camber_app.fetch(f"/getImage?storageId={message['body']}")
    assert (shown.status_code, shown.content) == (200, PNG)
    assert shown.headers["content-type"] == "image/png"
    assert shown.headers["x-content-type-options"] == "nosniff"


def test_a_message_goes_with_its_image(camber_app: camber.testing.TestApp) -> None:
    file = camber_app.upload(
        camber_app.mutation(generate_upload_url), PNG, content_type="image/png"
    )
    camber_app.mutation(send_image, storageId=file, author="Ada")
    (message,) = camber_app.query(list_messages)
    assert message["url"] is not None
    camber_app.mutation(remove, message["_id"])
    assert camber_app.query(list_messages) == []
    assert camber_app.download(message["url"]) is None
    assert camber_app.fetch(f"/getImage?storageId={file}").status_code == 404


def test_what_is_no_image_is_refused(camber_app: camber.testing.TestApp) -> None:
    page = camber_app.upload(
        camber_app.mutation(generate_upload_url), b"<script>", content_type="text/html"
    )
    with pytest.raises(AppError):
        camber_app.mutation(send_image, storageId=page, author="Mallory")
    refused = camber_app.fetch(
        "/sendImage", method="POST", headers={"Content-Type": "text/html"}, content=b"<script>"
    )
    assert refused.status_code == 415
    assert camber_app.query(list_messages) == []


def test_the_script_sends_an_image_in_both_ways(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(PNG)
    command = [sys.executable, "-m", "camber", "start", str(EXAMPLE), "--port", "0"]
    options = ["--site-port", "0", "--data", str(tmp_path / "data"), "--executors", "1"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            ready = (
                re.search(r"ready at (\S+) \(HTTP actions at (\S+)\)", line)
                for line in server.stdout
            )
            urls = next(found for found in ready if found)
            told = subprocess.run(
                ["node", "send.mjs", str(tmp_path / "image.png"), *urls.groups()],
                cwd=EXAMPLE, check=True, capture_output=True, text=True, timeout=60,
            ).stdout  # fmt: skip
        finally:
            server.terminate()
    assert told.splitlines() == [
        "messages: Ada",
        "messages: Ada, Grace",
        "Ada: image/png the same",
        "Grace: image/png the same",
        f"by the handler: image/png {len(PNG)}",
    ]
