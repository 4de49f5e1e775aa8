"""A database that cannot be used is said to be so by name, at the first call, and keeps what it has.

Full and read-only disks are made for a process of its own: as root, a small file system and a process without root's
right to write anywhere; otherwise a bound on the size of files and the rights of the folder.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncflow import Application, flow
from asyncflow.application import close_default
from asyncflow.exceptions import AsyncflowError, DatabaseCorrupt, DatabaseTooNew, DatabaseUnavailable

from ..colours import Colour
from .outside import Stored


def pipeline_of(colour: Colour) -> Any:
    @flow(name="pipeline")
    @colour.body
    def pipeline() -> str:
        return "ran"

    return pipeline


def newer(database: Path) -> None:
    with sqlite3.connect(database) as raw:
        raw.execute("insert into schema_version (version, name, applied_at) values (999, 'later', 0)")
    raw.close()


def overwritten(database: Path) -> None:
    database.write_bytes(b"These are my memoirs. " * 500)


def torn(database: Path) -> None:
    content = bytearray(database.read_bytes())
    content[100:4096] = b"\xa5" * 3996
    database.write_bytes(content)


def a_folder(database: Path) -> None:
    database.unlink()
    database.mkdir()


SPOILT = {
    newer: (DatabaseTooNew, "schema version 999, this asyncflow knows"),
    overwritten: (DatabaseCorrupt, "is not a database or is damaged"),
    torn: (DatabaseCorrupt, "is not a database or is damaged"),
    a_folder: (DatabaseUnavailable, "cannot be opened: Is a directory"),
}


@pytest.mark.parametrize("spoil", SPOILT, ids=lambda spoil: spoil.__name__)
def test_a_spoilt_database_is_refused_at_the_first_call(spoil: Any, colour: Colour, home: Path) -> None:
    error, words = SPOILT[spoil]
    pipeline, database = pipeline_of(colour), home / "asyncflow.db"
    assert colour.run(pipeline) == "ran"
    close_default()
    good = database.read_bytes()
    spoil(database)
    bad = database.read_bytes() if database.is_file() else b""
    for _ in range(2):
        with pytest.raises(error, match=words) as refused:
            colour.run(pipeline)
        assert str(database) in str(refused.value)
        assert isinstance(refused.value, AsyncflowError)
    close_default()
    assert (database.read_bytes() if database.is_file() else b"") == bad, "it was written to"

    if database.is_dir():
        database.rmdir()
    database.write_bytes(good)
    assert colour.run(pipeline) == "ran"
    assert Stored(home).states("pipeline") == ["Completed", "Completed"]


async def test_an_application_says_so_when_it_starts(tmp_path: Path) -> None:
    path = tmp_path / "memoirs.txt"
    path.write_text("These are my memoirs. " * 500)
    with pytest.raises(DatabaseCorrupt, match=r"memoirs\.txt"):
        async with Application(database=path):
            pass
    assert path.read_text() == "These are my memoirs. " * 500


def test_a_home_that_cannot_be_made(colour: Colour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ASYNCFLOW_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(DatabaseUnavailable, match="file/home"):
        colour.run(pipeline_of(colour))


# -- in a process of its own -------------------------------------------------------------------------------------------

FILLING = """
import os, sys
from asyncflow import flow, task

@task
def make(number):
    return {"number": number, "text": os.urandom(int(sys.argv[1])).hex()}

@flow
def filling():
    for number in range(400):
        print(make(number)["number"], flush=True)

filling()
"""

BOUNDED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
"""

POWERLESS = """
import ctypes, os, sys
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2
if os.getuid() == 0:
    for right in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        assert ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, right, 0, 0, 0) == 0
os.execv(sys.executable, [sys.executable, "-c", *sys.argv[1:]])
"""

ONCE = """
from asyncflow import flow

@flow
def pipeline():
    return "ran"

print(pipeline())
"""


def ran(home: Path, source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A script that has ended, in a Python of its own."""
    return subprocess.run(
        [sys.executable, "-c", source, *arguments],
        env={**os.environ, "ASYNCFLOW_HOME": str(home), "ASYNCFLOW_LOG_CONSOLE": "on"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def nothing_is_lost(home: Path, ended: subprocess.CompletedProcess[str]) -> None:
    """Fail unless the script ended with our error, and all it has seen or said to be Completed is in the database."""
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("asyncflow.exceptions.DatabaseUnavailable: "), ended.stderr
    assert str(home) in ended.stderr.splitlines()[-1]
    seen = len(ended.stdout.splitlines())
    reported = ended.stderr.count("Finished in state Completed")
    stored = Stored(home)
    states = stored.states("make")
    assert 0 < seen < 400
    assert states.count("Completed") >= max(seen, reported)
    assert "Completed" not in stored.states("filling")
    assert stored.rows("pragma integrity_check") == [("ok",)]


def test_a_file_that_may_not_grow(home: Path) -> None:
    ended = ran(home, BOUNDED + FILLING, "2000")
    nothing_is_lost(home, ended)
    again = ran(home, ONCE)
    assert again.stdout == "ran\n", again.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if os.getuid() != 0 or mount is None or unmount is None:
        pytest.skip("only root can make a small file system")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip("this machine allows no file system to be made")
    try:
        yield place
    finally:
        subprocess.run([unmount, str(place)], check=True)


@pytest.mark.parametrize("size", ["2000", "60000"], ids=["rows", "files"])
def test_a_full_disk(size: str, small_disk: Path) -> None:
    spare = small_disk / "spare"
    spare.write_bytes(b"." * 100_000)
    ended = ran(small_disk, FILLING, size)
    nothing_is_lost(small_disk, ended)
    assert "full" in ended.stderr.splitlines()[-1] or "No space left" in ended.stderr.splitlines()[-1]
    spare.unlink()
    again = ran(small_disk, ONCE)
    assert again.stdout == "ran\n", again.stderr


@pytest.mark.parametrize("used_before", [False, True])
def test_a_folder_that_may_not_be_written(used_before: bool, home: Path) -> None:
    home.mkdir()
    if used_before:
        assert ran(home, ONCE).stdout == "ran\n"
        os.chmod(home / "asyncflow.db", 0o400)
    os.chmod(home, 0o500)
    try:
        ended = ran(home, POWERLESS, ONCE)
    finally:
        os.chmod(home, 0o700)
    assert ended.returncode == 1
    assert ended.stdout == ""
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("asyncflow.exceptions.DatabaseUnavailable: "), ended.stderr
    assert str(home / "asyncflow.db") in last
    if used_before:
        assert Stored(home).states("pipeline") == ["Completed"]
