"""Files over HTTP, against a real server, with right and wrong requests."""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from tests.files.serving import PHOTOS, content_files, eventually, upload
from tests.servers import Server

MIB = 2**20


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("photos")


@pytest.fixture(scope="module")
def photos(data):
    options = ["--executors", "1", "--file-mib", "4", "--files-mib", "24"]
    with Server(PHOTOS, data, *options) as server:
        yield server


def digest(content):
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def new_url(photos):
    return photos.value("mutation", "files:upload_url", {})


def refusal(response):
    return response.status_code, response.json()["code"]


def listed(photos):
    return {file["_id"] for file in photos.value("query", "files:listed", {})}


# Uploads.


def test_a_file_goes_up_and_comes_down(photos):
    content = b"hello files" * 1000
    url = new_url(photos)
    assert url.startswith(f"{photos.url}/api/storage/upload?token=")
    answer = httpx.post(url, content=content, headers={"Content-Type": "text/plain; charset=utf-8"})
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["storageId"]
    id = answer.json()["storageId"]

    found = photos.value("query", "files:metadata", {"id": id})
    assert found["sha256"] == digest(content)
    assert found["size"] == len(content)
    assert found["contentType"] == "text/plain; charset=utf-8"
    assert found["_id"] == id

    served = httpx.get(photos.value("query", "files:url", {"id": id}))
    assert served.content == content
    assert served.headers["content-type"] == "text/plain; charset=utf-8"
    assert served.headers["digest"] == f"sha-256={digest(content)}"
    assert served.headers["cache-control"] == "private, max-age=2592000"
    assert served.headers["accept-ranges"] == "bytes"
    assert served.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in served.headers["content-security-policy"]


def test_a_body_may_come_in_chunks_and_without_a_type(photos):
    def body():
        yield b"abc" * 100_000
        yield b"def" * 100_000

    id = httpx.post(new_url(photos), content=body()).json()["storageId"]
    url = photos.value("query", "files:url", {"id": id})
    assert httpx.get(url).content == b"abc" * 100_000 + b"def" * 100_000
    assert "content-type" not in httpx.get(url).headers
    assert photos.value("query", "files:metadata", {"id": id})["contentType"] is None


def test_a_file_may_be_empty(photos):
    id = upload(photos, b"")
    url = photos.value("query", "files:url", {"id": id})
    for headers in ({}, {"Range": "bytes=0-5"}):
        served = httpx.get(url, headers=headers)
        assert (served.status_code, served.content) == (200, b"")
        assert served.headers["content-length"] == "0"


def test_a_page_of_another_origin_may_upload(photos):
    asked = httpx.options(
        new_url(photos),
        headers={
            "Origin": "https://example.com",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        },
    )
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == "https://example.com"
    sent = httpx.post(new_url(photos), content=b"x", headers={"Origin": "https://example.com"})
    assert sent.headers["access-control-allow-origin"] == "https://example.com"


def test_a_url_is_good_for_one_file_also_when_that_is_deleted(photos):
    url = new_url(photos)
    id = httpx.post(url, content=b"first").json()["storageId"]
    assert refusal(httpx.post(url, content=b"second")) == (401, "StorageTokenUsed")
    photos.value("mutation", "files:delete", {"id": id})
    assert refusal(httpx.post(url, content=b"third")) == (401, "StorageTokenUsed")
    assert id not in listed(photos)


def test_of_uploads_that_race_for_a_url_one_wins(photos, data):
    before, there = listed(photos), len(content_files(data))
    url = new_url(photos)
    begin = threading.Barrier(4)

    def body(letter):
        yield letter * 300_000
        begin.wait()
        yield letter * 300_000

    def send(letter):
        return httpx.post(url, content=body(letter))

    def send_refused(letter):
        # Whoever comes second is refused while it sends, and may find its connection closed.
        try:
            return send(letter)
        except httpx.TransportError:
            return None

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(send_refused, [b"a", b"b", b"c", b"d"]))
    told = [answer for answer in answers if answer is not None]
    won = [answer for answer in told if answer.status_code == 200]
    assert len(won) == 1
    assert {refusal(answer) for answer in told if answer not in won} <= {
        (409, "StorageTokenInUse"),
        (401, "StorageTokenUsed"),
    }
    assert listed(photos) - before == {won[0].json()["storageId"]}
    eventually(lambda: len(content_files(data)) == there + 1)


@pytest.mark.parametrize(
    "query", ["", "?token=", "?token=abc", "?token=%00%ff", "?token=" + "A" * 9000]
)
def test_a_token_that_is_none_is_refused(photos, query):
    answer = httpx.post(f"{photos.url}/api/storage/upload{query}", content=b"x")
    assert refusal(answer) == (401, "StorageTokenInvalid")


def test_a_token_that_was_changed_is_refused(photos):
    url = new_url(photos)
    changed = url[:-1] + ("A" if url[-1] != "A" else "B")
    assert refusal(httpx.post(changed, content=b"x")) == (401, "StorageTokenInvalid")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-Type": "nonsense"}, "BadHeader"),
        ({"Content-Type": "text/" + "x" * 300}, "BadHeader"),
        ({"Content-Type": "text/html\x80"}, "BadHeader"),
        ({"Digest": "md5=abc"}, "BadHeader"),
        ({"Digest": "sha-256=abc"}, "BadHeader"),
        ({"Digest": f"sha-256={digest(b'other')}"}, "Sha256Mismatch"),
    ],
)
def test_headers_that_are_wrong_store_nothing_and_leave_the_url_good(photos, data, headers, code):
    before, there = listed(photos), len(content_files(data))
    url = new_url(photos)
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    assert refusal(httpx.post(url, content=b"content", headers=encoded)) == (400, code)
    assert (listed(photos), len(content_files(data))) == (before, there)
    good = httpx.post(url, content=b"content", headers={"Digest": f"sha-256={digest(b'content')}"})
    assert good.status_code == 200, good.text


def test_a_file_that_is_too_large_is_refused_before_it_has_come(photos, data):
    there = len(content_files(data))
    url = new_url(photos)
    with socket.create_connection(("127.0.0.1", urlsplit(url).port)) as client:
        path = url.removeprefix(photos.url)
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {5 * MIB}\r\n\r\n"
        client.sendall(head.encode() + b"x" * 1000)
        answer = b""
        while part := client.recv(1000):
            answer += part
        assert b" 413 " in answer
        assert b"connection: close" in answer
    assert len(content_files(data)) == there


def test_a_file_that_turns_out_too_large_is_refused_and_removed(photos, data):
    before, there = listed(photos), len(content_files(data))

    def body():
        for _ in range(17):
            yield b"x" * (MIB // 4)

    assert refusal(httpx.post(new_url(photos), content=body())) == (413, "FileTooLarge")
    assert (listed(photos), len(content_files(data))) == (before, there)


def test_all_files_together_are_bounded_and_room_comes_back(photos, data):
    ids = []
    while True:
        answer = httpx.post(new_url(photos), content=b"x" * (4 * MIB))
        if answer.status_code != 200:
            break
        ids.append(answer.json()["storageId"])
        assert len(ids) <= 6
    assert refusal(answer) == (503, "FileQuotaExceeded")
    there = len(content_files(data))
    for id in ids:
        photos.value("mutation", "files:delete", {"id": id})
    eventually(lambda: len(content_files(data)) == there - len(ids))
    assert httpx.post(new_url(photos), content=b"x" * MIB).status_code == 200


def test_a_body_that_breaks_off_leaves_nothing_and_the_url_good(photos, data):
    before, there = listed(photos), len(content_files(data))
    url = new_url(photos)
    path = url.removeprefix(photos.url)
    with socket.create_connection(("127.0.0.1", urlsplit(url).port)) as client:
        client.sendall(
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {2 * MIB}\r\n\r\n".encode()
        )
        client.sendall(b"x" * MIB)
        eventually(lambda: len(content_files(data)) == there + 1)
    eventually(lambda: len(content_files(data)) == there)
    assert listed(photos) == before
    eventually(lambda: httpx.post(url, content=b"again").status_code == 200)


# Downloads.


@pytest.fixture(scope="module")
def letters(photos):
    id = upload(photos, b"abcdefghij", "text/html")
    return id, photos.value("query", "files:url", {"id": id})


@pytest.mark.parametrize(
    ("header", "status", "content", "range"),
    [
        ("bytes=2-4", 206, b"cde", "bytes 2-4/10"),
        ("bytes=7-", 206, b"hij", "bytes 7-9/10"),
        ("bytes=-2", 206, b"ij", "bytes 8-9/10"),
        ("bytes=-99", 206, b"abcdefghij", "bytes 0-9/10"),
        ("bytes=5-99", 206, b"fghij", "bytes 5-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        (f"bytes={'9' * 200}-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=0-1,3-4", 416, b"", "bytes */10"),
        ("bytes=0-1,33-44", 206, b"ab", "bytes 0-1/10"),
        ("bytes=4-3", 200, b"abcdefghij", None),
        ("bytes=nonsense", 200, b"abcdefghij", None),
        ("chapters=1-2", 200, b"abcdefghij", None),
    ],
)
def test_ranges(letters, header, status, content, range):
    answer = httpx.get(letters[1], headers={"Range": header})
    assert (answer.status_code, answer.content) == (status, content)
    assert answer.headers.get("content-range") == range
    assert answer.headers["content-length"] == str(len(content))
    assert ("digest" in answer.headers) == (status == 200)
    assert answer.headers["cache-control"] == "private, max-age=2592000"


def test_etags(letters):
    etag = httpx.get(letters[1]).headers["etag"]

    def status(**headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.get(letters[1], headers=named).status_code

    assert status(If_None_Match=etag) == 304
    assert status(If_None_Match=f'"other", W/{etag}') == 304
    assert status(If_None_Match="*") == 304
    assert status(If_None_Match='"other"') == 200
    assert status(If_None_Match=etag, Range="bytes=0-1") == 304
    assert status(Range="bytes=0-1", If_Range=etag) == 206
    assert status(Range="bytes=0-1", If_Range='"other"') == 200
    assert status(Range="bytes=0-1", If_Range="Wed, 21 Oct 2015 07:28:00 GMT") == 200
    assert status(Range="bytes=0-1", If_Range=f"W/{etag}") == 200
    assert status(If_Range=etag) == 200
    assert status(If_Match=etag) == 200
    assert status(If_Match="*") == 200
    assert status(If_Match=f"W/{etag}") == 412
    assert status(If_Match='"other"') == 412


def test_head_has_the_headers_and_no_body(letters):
    whole, head = httpx.get(letters[1]), httpx.head(letters[1])
    assert head.content == b""
    ours = {"date"}
    assert {k: v for k, v in head.headers.items() if k not in ours} == {
        k: v for k, v in whole.headers.items() if k not in ours
    }
    part = httpx.head(letters[1], headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.headers["content-length"]) == (200, "10")


@pytest.mark.parametrize("name", ["nonsense", "..%2F..%2Fetc%2Fpasswd", "%00", "1" * 500, "upload"])
def test_a_path_that_is_no_uuid_is_refused(photos, name):
    answer = httpx.get(f"{photos.url}/api/storage/{name}")
    assert answer.status_code in {400, 404, 405}, answer.text
    if answer.status_code == 400:
        assert answer.json()["code"] == "InvalidStoragePath"


def test_a_files_id_is_no_secret_and_opens_nothing(photos, letters):
    assert letters[0] not in letters[1]
    answer = httpx.get(f"{photos.url}/api/storage/{letters[0]}")
    assert refusal(answer) == (400, "InvalidStoragePath")


def test_unknown_files_are_not_found(photos, letters):
    unknown = letters[1][:-4] + "0000"
    assert refusal(httpx.get(unknown)) == (404, "FileNotFound")


def test_a_deleted_file_is_gone_for_readers_and_queries(photos, data):
    there = len(content_files(data))
    id = upload(photos, b"secret")
    url = photos.value("query", "files:url", {"id": id})
    signed = photos.value("query", "files:url", {"id": id, "expires": 100})
    photos.value("mutation", "files:delete", {"id": id})
    assert refusal(httpx.get(url)) == (404, "FileNotFound")
    assert refusal(httpx.get(signed)) == (404, "FileNotFound")
    assert photos.value("query", "files:url", {"id": id}) is None
    assert photos.value("query", "files:metadata", {"id": id}) is None
    again = photos.call("mutation", "files:delete", {"id": id})
    assert "StorageIdNotFound" in again["errorMessage"]
    eventually(lambda: len(content_files(data)) == there)


def test_a_mutation_that_fails_deletes_nothing(photos):
    id = upload(photos, b"kept")
    failed = photos.call("mutation", "files:delete_all_then_fail", {})
    assert failed["status"] == "error"
    assert httpx.get(photos.value("query", "files:url", {"id": id})).content == b"kept"


def test_ids_that_are_none_are_the_functions_mistake(photos):
    for id in ("nonsense", "../..", "", "gm2038ghygv9kd112f47h14zre7fd4gx"):
        answer = photos.call("query", "files:url_of_any", {"id": id})
        assert "InvalidArgument" in answer["errorMessage"], answer


# URLs that expire.


def test_a_url_that_expires_shows_the_file_and_cannot_be_changed_into_one_that_does_not(
    photos, letters
):
    id, permanent = letters
    url = photos.value("query", "files:url", {"id": id, "expires": 1000})
    served = httpx.get(url)
    assert served.content == b"abcdefghij"
    age = int(served.headers["cache-control"].removeprefix("private, max-age="))
    assert 800 <= age <= 1000
    assert urlsplit(permanent).path not in url
    # The same within a while, so that a query that is run again has the same result.
    parts = urlsplit(url)
    assert refusal(httpx.get(url.replace("expires=", "expires=9"))) == (403, "StorageUrlInvalid")
    assert refusal(httpx.get(url + "x")) == (403, "StorageUrlInvalid")
    assert refusal(httpx.get(f"{photos.url}{parts.path}?expires=1")) == (403, "StorageUrlInvalid")


@pytest.mark.parametrize("expires", [0, -1, 1e12, float("nan")])
def test_a_time_that_no_url_is_good_for_is_refused(photos, letters, expires):
    value = {"$float": "AAAAAAAA+H8="} if expires != expires else expires
    answer = photos.call("query", "files:url", {"id": letters[0], "expires": value})
    assert "InvalidArgument" in answer["errorMessage"]


# Actions, in a process of their own.


def test_actions_store_and_read_streams(photos):
    content = bytes(range(256)) * 4000
    id = upload(photos, content, "image/png")
    for path in ("files:doubled", "files:doubled_plainly"):
        copy = photos.value("action", path, {"id": id})
        served = httpx.get(photos.value("query", "files:url", {"id": copy}))
        assert len(served.content) == 2 * len(content)
        assert served.content[: len(content) // 4] == content[: len(content) // 4]
        assert served.headers["content-type"] == "image/png"


def test_actions_are_told_what_is_wrong(photos):
    def error(path, args):
        return photos.call("action", path, args)["errorMessage"]

    right = hashlib.sha256(b"text")
    id = ""
    for sha256 in (right.hexdigest(), base64.b64encode(right.digest()).decode()):
        id = photos.value("action", "files:store", {"text": "text", "sha256": sha256})
        assert photos.value("action", "files:read", {"id": id}) == "text"
    assert "Sha256Mismatch" in error("files:store", {"text": "other", "sha256": sha256})
    assert "is no SHA-256" in error("files:store", {"text": "other", "sha256": "abc"})
    assert "BadHeader" in error("files:store", {"text": "x", "content_type": "nonsense"})
    assert "FileTooLarge" in error("files:store", {"text": "x" * (5 * MIB)})
    assert "FileAlreadyRead" in error("files:read_twice", {"id": id})
    url, upload_url, sha256 = photos.value("action", "files:all_about", {"id": id})
    assert httpx.get(url).text == "text"
    assert httpx.post(upload_url, content=b"more").status_code == 200
    assert sha256 == base64.b64encode(right.digest()).decode()
    assert photos.value("action", "files:remove", {"id": id}) is None
    assert photos.value("action", "files:read", {"id": id}) is None
    assert "StorageIdNotFound" in error("files:remove", {"id": id})
