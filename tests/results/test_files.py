"""Result files: where they lie, whose they are, and what a torn or foreign one is."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from asyncflow.exceptions import DatabaseUnavailable, MissingResult, ResultTampered
from asyncflow.results.files import Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "home" / "asyncflow.db.results")


def test_what_was_written_is_read(files: Files) -> None:
    digest = files.write(b"content")
    assert digest == sha256(b"content").hexdigest()
    assert files.read(digest) == b"content"
    assert [path.name for path in files.directory.rglob("*") if path.is_file()] == [digest]


@pytest.mark.parametrize("mask", [0o022, 0o000], ids=oct)
def test_files_and_folders_belong_to_their_user_alone(files: Files, mask: int) -> None:
    before = os.umask(mask)
    try:
        path = files.path(files.write(b"content"))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [folder.stat().st_mode & 0o777 for folder in (path.parent, files.directory)] == [0o700, 0o700]


def test_equal_content_is_written_once(files: Files) -> None:
    path = files.path(files.write(b"content"))
    first = path.stat().st_ino
    files.write(b"content")
    assert path.stat().st_ino == first


def test_a_torn_file_is_written_anew(files: Files) -> None:
    digest = files.write(b"content")
    files.path(digest).write_bytes(b"con")
    with pytest.raises(ResultTampered, match=digest):
        files.read(digest)
    files.write(b"content")
    assert files.read(digest) == b"content"


def test_a_file_that_is_gone_is_named(files: Files) -> None:
    digest = files.write(b"content")
    files.path(digest).unlink()
    with pytest.raises(MissingResult, match=digest):
        files.read(digest)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63])
def test_only_digests_are_names(files: Files, digest: str) -> None:
    with pytest.raises(MissingResult):
        files.read(digest)


def test_what_cannot_be_written_is_named_and_leaves_no_draft(files: Files) -> None:
    files.directory.parent.mkdir()
    files.directory.touch()
    with pytest.raises(DatabaseUnavailable, match=str(files.directory)):
        files.write(b"content")
    assert files.directory.is_file()
