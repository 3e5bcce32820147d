"""Archives of releases: what goes in comes out, and nothing else ever does."""

from __future__ import annotations

import gzip
import io
import os
import random
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camber import limits
from camber.deployment.archive import ArchiveRefused, pack, unpack
from camber.deployment.source import digest_of, folder_source, release_files

_NAMES = st.sampled_from(["a.py", "b.py", "ä.py", "x" * 120 + ".py", "data.txt"])
_FOLDERS = st.lists(st.sampled_from(["f", "g", "deep" * 30]), max_size=3)
_TREES = st.dictionaries(
    st.builds(lambda folders, name: "/".join([*folders, name]), _FOLDERS, _NAMES),
    st.binary(max_size=2000),
    max_size=12,
)


def write(root, tree):
    for name, content in tree.items():
        path = root / "backend" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def packed(root):
    stream = io.BytesIO()
    pack(root, release_files(root, "backend"), stream)
    return stream.getvalue()


@settings(max_examples=60)
@given(tree=_TREES)
def test_what_is_unpacked_is_what_was_packed(tmp_path_factory, tree):
    root, target = tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("target")
    write(root, tree)
    names = unpack(io.BytesIO(packed(root)), target)
    found = {name: (target / name).read_bytes() for name in names}
    assert found == {f"backend/{name}": content for name, content in tree.items()}
    assert digest_of(target, names) == folder_source(root, "backend").digest


@settings(max_examples=60)
@given(tree=_TREES, other=_TREES)
def test_equal_files_have_equal_archives_and_digests_and_no_others(tmp_path_factory, tree, other):
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    write(first, tree)
    write(second, dict(reversed(other.items())))
    for path in second.rglob("*.py"):
        os.utime(path, (0, 0))
        path.chmod(0o600)
    same = tree == other
    assert (packed(first) == packed(second)) == same
    digests = [folder_source(root, "backend").digest for root in (first, second)]
    assert (digests[0] == digests[1]) == same


def test_secrets_and_what_tools_leave_stay_out(tmp_path):
    for name in (
        "pyproject.toml", "requirements.txt", "README.md", ".env", ".env.local", "web/app.ts",
        "backend/a.py", "backend/.env.production", "backend/__pycache__/a.pyc", "backend/a.pyc",
        "backend/.venv/x.py", "backend/node_modules/x.js", "vendor/x.whl", "data/.git/config",
        "data/table.csv", ".camber/camber.sqlite",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "backend" / "link.py").symlink_to("/etc/passwd")
    assert release_files(tmp_path, "backend", ["vendor", "data", ".camber", ".env"]) == [
        "backend/a.py",
        "data/table.csv",
        "pyproject.toml",
        "requirements.txt",
        "vendor/x.whl",
    ]


def archive_of(*entries):
    """Return a gzipped tar of `(name, kind, content)`."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, kind, content in entries:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            if kind == tarfile.REGTYPE:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
            else:
                entry.linkname = content
                archive.addfile(entry)
    return stream.getvalue()


FILE = tarfile.REGTYPE


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([("../out.py", FILE, b"x")], "no path of a file"),
        ([("/tmp/out.py", FILE, b"x")], "no path of a file"),
        ([("a/../../out.py", FILE, b"x")], "no path of a file"),
        ([("a/./b.py", FILE, b"x")], "no path of a file"),
        ([("a\\b.py", FILE, b"x")], "no path of a file"),
        ([("a\nb.py", FILE, b"x")], "no path of a file"),
        ([("x" * 513, FILE, b"x")], "no path of a file"),
        ([("link.py", tarfile.SYMTYPE, "/etc/passwd")], "no plain file"),
        ([("f", tarfile.SYMTYPE, "/tmp"), ("f/out.py", FILE, b"x")], "no plain file"),
        ([("hard.py", tarfile.LNKTYPE, "/etc/passwd")], "no plain file"),
        ([("pipe", tarfile.FIFOTYPE, "")], "no plain file"),
        ([("folder", tarfile.DIRTYPE, "")], "no plain file"),
        ([("a.py", FILE, b"x"), ("a.py", FILE, b"y")], "two files in one place"),
        ([("a", FILE, b"x"), ("a/b.py", FILE, b"y")], "two files in one place"),
        ([("a/b.py", FILE, b"x"), ("a", FILE, b"y")], "two files in one place"),
    ],
)
def test_what_no_release_holds_is_refused(tmp_path, entries, told):
    target = tmp_path / "deep" / "target"
    target.mkdir(parents=True)
    with pytest.raises(ArchiveRefused, match=told):
        unpack(io.BytesIO(archive_of(*entries)), target)
    outside = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.is_relative_to(target) for path in outside)


def test_a_bomb_is_defused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "release_bytes_max", 1024 * 1024)
    monkeypatch.setattr(limits, "release_files_max", 10)
    bomb = archive_of(("zeros.py", FILE, bytes(64 * 1024 * 1024)))
    assert len(bomb) < 100_000
    with pytest.raises(ArchiveRefused) as refused:
        unpack(io.BytesIO(bomb), tmp_path)
    assert refused.value.code == "ReleaseTooLarge"
    # Also one whose files are small: what describes them counts.
    header = tarfile.TarInfo("header")
    header.type, header.size = tarfile.XHDTYPE, 256 * 1024 * 1024
    described = gzip.compress(header.tobuf() + bytes(header.size), compresslevel=1)
    with pytest.raises(ArchiveRefused) as refused:
        unpack(io.BytesIO(described), tmp_path / "other")
    assert refused.value.code == "ReleaseTooLarge"
    monkeypatch.setattr(limits, "release_files_max", 3)
    many = archive_of(*((f"{each}.py", FILE, b"") for each in range(4)))
    with pytest.raises(ArchiveRefused, match="more than 3 files"):
        unpack(io.BytesIO(many), tmp_path / "many")
    assert sum(path.stat().st_size for path in tmp_path.rglob("*")) < 2 * 1024 * 1024


def test_packing_refuses_what_unpacking_would(tmp_path, monkeypatch):
    write(tmp_path, {"a.py": bytes(2000), "b.py": bytes(2000)})
    monkeypatch.setattr(limits, "release_bytes_max", 3000)
    with pytest.raises(ArchiveRefused, match=r"backend/b\.py is too much"):
        packed(tmp_path)


def test_a_damaged_archive_is_refused_wherever_it_ends(tmp_path):
    write(tmp_path, {"a.py": random.Random(1).randbytes(5000), "b.py": b"x = 1\n" * 100})
    whole = packed(tmp_path)
    for size in range(0, len(whole) - 1, 97):
        target = tmp_path / f"t{size}"
        target.mkdir()
        with pytest.raises(ArchiveRefused):
            unpack(io.BytesIO(whole[:size]), target)
    for at in range(0, len(whole), 211):
        target = tmp_path / f"d{at}"
        target.mkdir()
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        try:
            names = unpack(io.BytesIO(bytes(damaged)), target)
        except ArchiveRefused:
            continue
        # A header field that says nothing about the content.
        assert digest_of(target, names) == folder_source(tmp_path, "backend").digest
