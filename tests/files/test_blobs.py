"""The contract of places for blobs, held against each of them."""

from __future__ import annotations

import os
import secrets
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camber import limits
from camber.errors import StorageFailed, StorageFull
from camber.files.blobs import BlobMissing, BlobsUnusable
from camber.files.local import LocalBlobs, LocalWriter
from camber.files.memory import MemoryBlobs
from camber.files.s3 import S3Blobs
from tests.files.buckets import bucket_server

KINDS = ["memory", "local", "s3"]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blobs")
    with bucket_server() as url, pytest.MonkeyPatch.context() as patch:
        for name, value in url.environment.items():
            patch.setenv(name, value)
        yield {
            "memory": MemoryBlobs(),
            "local": LocalBlobs(folder),
            "s3": S3Blobs(f"s3://{url.bucket}/some/prefix"),
        }


@pytest.fixture(params=KINDS)
def blobs(places, request):
    return places[request.param]


def new_key():
    return secrets.token_hex(16)


def put(blobs, *parts):
    key = new_key()
    writer = blobs.write(key)
    for part in parts:
        writer.write(part)
    writer.finish()
    return key


def read(blobs, key, start, end):
    reader = blobs.read(key, start, end)
    try:
        pieces = []
        while piece := reader.read():
            assert len(piece) <= limits.file_piece_bytes
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        reader.close()
        reader.close()


def test_what_was_written_is_read_in_whole_and_in_part(blobs):
    parts = [b"abc", b"", b"defgh"]
    key = put(blobs, *parts)

    assert read(blobs, key, 0, 8) == b"abcdefgh"
    assert read(blobs, key, 2, 5) == b"cde"
    assert read(blobs, key, 7, 8) == b"h"


def test_a_blob_may_have_no_bytes(blobs):
    assert read(blobs, put(blobs), 0, 0) == b""


def test_many_pieces_are_many_reads(blobs):
    data = os.urandom(limits.file_piece_bytes * 3 + 17)
    key = put(blobs, data[:1000], data[1000:])

    assert read(blobs, key, 0, len(data)) == data
    assert read(blobs, key, 5, len(data) - 5) == data[5:-5]


def test_a_blob_is_there_once_it_is_finished_and_not_before(blobs):
    key = new_key()
    writer = blobs.write(key)
    writer.write(b"abc")
    with pytest.raises(BlobMissing):
        read(blobs, key, 0, 3)
    writer.finish()
    assert read(blobs, key, 0, 3) == b"abc"


def test_nothing_is_left_of_what_is_abandoned(blobs):
    key = new_key()
    writer = blobs.write(key)
    writer.write(b"abc" * 1000)
    writer.abandon()
    with pytest.raises(BlobMissing):
        read(blobs, key, 0, 3)
    # And its key may be used again.
    again = blobs.write(key)
    again.write(b"xyz")
    again.finish()
    assert read(blobs, key, 0, 3) == b"xyz"


def test_removing_removes_what_is_there_and_what_is_not(blobs):
    key, other = put(blobs, b"abc"), put(blobs, b"def")
    blobs.remove(key)
    blobs.remove(key)
    blobs.remove(new_key())
    with pytest.raises(BlobMissing):
        read(blobs, key, 0, 3)
    assert read(blobs, other, 0, 3) == b"def"


def test_a_blob_may_be_removed_while_it_is_read(blobs):
    key = put(blobs, b"abc")
    reader = blobs.read(key, 0, 3)
    blobs.remove(key)
    reader.close()


def test_blobs_are_written_beside_each_other(blobs):
    keys = {}

    def write(name):
        keys[name] = put(blobs, *[name.encode() * 1000] * 50)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: read(blobs, key, 0, 50_000) for name, key in keys.items()} == {
        name: name.encode() * 50_000 for name in "abcd"
    }


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "A" * 32, "0" * 31, "0" * 32 + "\n"])
def test_a_key_is_never_a_path(blobs, key):
    for verb in (blobs.write, blobs.remove, lambda key: blobs.read(key, 0, 1)):
        with pytest.raises(AssertionError):
            verb(key)


@settings(max_examples=50)
@given(st.binary(max_size=200), st.data())
def test_any_part_of_a_file_on_disk_is_that_part(tmp_path_factory, content, data):
    blobs = LocalBlobs(tmp_path_factory.getbasetemp() / "parts")
    cut = data.draw(st.integers(0, len(content)))
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    key = put(blobs, content[:cut], content[cut:])
    assert read(blobs, key, start, end) == content[start:end]


# What is particular to a disk.


def files_of(folder: Path):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_writer_that_dies_leaves_what_its_key_removes(tmp_path):
    blobs = LocalBlobs(tmp_path)
    key = new_key()
    blobs.write(key).write(b"abc")
    assert len(files_of(tmp_path)) == 1
    blobs.remove(key)
    assert files_of(tmp_path) == []


def test_what_is_kept_for_documents_is_not_filled(tmp_path):
    with pytest.raises(StorageFull, match="kept for documents"):
        LocalBlobs(tmp_path, reserved_bytes=2**63).write(new_key())
    assert files_of(tmp_path) == []


def test_a_disk_that_fills_up_meanwhile_is_told_as_such(tmp_path):
    writer = LocalWriter(tmp_path / ("0" * 32), os.open("/dev/full", os.O_WRONLY), reserved_bytes=0)
    with pytest.raises(StorageFull, match="the disk is full"):
        writer.write(b"abc")
    writer.abandon()


def test_content_that_was_cut_off_by_others_is_missing_not_short(tmp_path):
    blobs = LocalBlobs(tmp_path)
    key = put(blobs, b"abcdef")
    os.truncate(files_of(tmp_path)[0], 3)
    with pytest.raises(BlobMissing, match="cut off: 3 bytes of 6"):
        read(blobs, key, 0, 6)


def test_files_are_their_owners(tmp_path):
    put(LocalBlobs(tmp_path), b"abc")
    assert files_of(tmp_path)[0].stat().st_mode & 0o077 == 0


# What is particular to a bucket.


@pytest.mark.parametrize("url", ["s3://", "s3:///prefix", "gs://bucket", "bucket", "s3://b?x=1"])
def test_a_url_that_names_no_bucket_is_refused(url):
    with pytest.raises(BlobsUnusable, match="names no bucket"):
        S3Blobs(url)


def test_a_bucket_that_is_not_there_is_an_error_that_says_so(places):
    del places
    blobs = S3Blobs("s3://no-such-bucket")
    writer = blobs.write(new_key())
    writer.write(b"abc")
    with pytest.raises(StorageFailed, match="written: its bucket refuses it"):
        writer.finish()
    writer.abandon()
    # What lies in the right one stays known.
    with pytest.raises(StorageFailed, match="removed: its bucket refuses it"):
        blobs.remove(new_key())


def test_a_bucket_is_found_by_the_settings_of_its_own_tools(places, monkeypatch):
    del places
    monkeypatch.delenv("CAMBER_S3_ACCESS_KEY_ID")
    monkeypatch.delenv("CAMBER_S3_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with bucket_server() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url.endpoint)
        blobs = S3Blobs(f"s3://{url.bucket}/prefix")
        assert read(blobs, put(blobs, b"abc"), 0, 3) == b"abc"


@pytest.mark.parametrize("away", ["local", "s3"])
def test_clients_are_not_told_where_files_are(away, tmp_path, monkeypatch, caplog):
    blobs: LocalBlobs | S3Blobs
    if away == "local":
        (tmp_path / "files").write_text("no folder")
        blobs, secret = LocalBlobs(tmp_path / "files"), str(tmp_path)
    else:
        for name, value in {
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }.items():
            monkeypatch.setenv(name, value)
        blobs, secret = S3Blobs("s3://some-bucket"), "127.0.0.1:9"
    with pytest.raises(StorageFailed) as failed:
        blobs.read(new_key(), 0, 3)
    assert secret not in failed.value.sentence
    assert secret in caplog.text
    assert "\n" not in failed.value.sentence
