"""Opening files: new ones, wrong ones, newer ones, and many processes at once."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from asyncflow.core.runs import RunFilter
from asyncflow.exceptions import DatabaseCorrupt, DatabaseTooNew, DatabaseUnavailable, StoreError
from asyncflow.store.migrate import migrations, schema_version, statements
from asyncflow.store.runs import condition
from asyncflow.store.sqlite import SQLiteStore

from ..contracts.makers import commit, flow_write, task_write
from .conftest import Opener
from .processes import said, started

NEWEST = migrations()[-1].version


async def test_a_new_database_makes_its_folders_and_belongs_to_its_user_alone(store: SQLiteStore, path: Path) -> None:
    assert store.path == str(path.resolve())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    locks = path.with_name("runs.db.locks")
    assert stat.S_IMODE(locks.stat().st_mode) == 0o700
    assert await store.integrity() == []


async def test_a_database_in_memory_makes_no_file(opened: Opener, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    store = await opened(path=":memory:")
    await commit(store, flow_write())
    assert await store.count(RunFilter()) == {"RUNNING": 1}
    assert sorted(tmp_path.rglob("*")) == before
    assert store._reader is None


async def test_what_was_written_is_there_after_reopening(opened: Opener) -> None:
    store = await opened()
    flow = flow_write()
    await commit(store, flow)
    await store.close()
    again = await opened()
    assert (await again.run(flow.row[0])) is not None
    await store.open()
    assert await commit(store, task_write(flow)) == [None]


@pytest.mark.parametrize("power", [True, False])
async def test_power_durability_is_a_setting_of_the_connection(opened: Opener, power: bool) -> None:
    store = await opened(durability_power=power)
    rows = await store._session.call(lambda raw: raw.execute("pragma synchronous").fetchall())
    assert rows == [(2 if power else 1,)]


async def test_a_file_that_is_no_database_is_refused_and_kept(opened: Opener, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"important notes " * 1000)
    with pytest.raises(DatabaseCorrupt, match="not a database"):
        await opened()
    assert path.read_bytes() == b"important notes " * 1000


async def test_a_damaged_database_is_told(opened: Opener, path: Path) -> None:
    store = await opened()
    flow = flow_write()
    await commit(store, flow, *(task_write(flow) for _ in range(2000)))
    await store.close()
    with path.open("r+b") as file:
        for page in range(60, 200):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    again = await opened()
    with pytest.raises(DatabaseCorrupt, match=str(path)):
        await again.runs(RunFilter(), 5000)
    assert await again.integrity()


async def test_a_folder_is_refused_by_name(opened: Opener, path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(DatabaseUnavailable, match=f"{path}.*directory"):
        await opened()


async def test_a_folder_that_cannot_be_made_is_refused_by_name(opened: Opener, path: Path) -> None:
    path.parent.write_text("a file")
    with pytest.raises(DatabaseUnavailable, match=str(path)):
        await opened()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_a_file_that_may_not_be_written_is_refused_by_name(opened: Opener, path: Path) -> None:
    path.parent.mkdir()
    path.touch(0o400)
    with pytest.raises(DatabaseUnavailable, match=str(path)):
        await opened()


async def test_a_newer_schema_is_refused_and_left_alone(opened: Opener, path: Path) -> None:
    await (await opened()).close()
    _execute(path, "insert into schema_version values (999, 'later', 1)")
    with pytest.raises(DatabaseTooNew, match="999"):
        await opened()
    assert list(path.parent.joinpath("runs.db.locks").iterdir()) == []


async def test_the_database_of_another_application_is_refused_and_left_alone(opened: Opener, path: Path) -> None:
    path.parent.mkdir()
    _execute(path, "create table run (mileage integer)")
    with pytest.raises(StoreError, match="another application"):
        await opened()
    assert _execute(path, "select name from sqlite_master") == [("run",)]


def _execute(path: Path, statement: str) -> list[tuple[object, ...]]:
    raw = sqlite3.connect(path, isolation_level=None)
    try:
        return raw.execute(statement).fetchall()
    finally:
        raw.close()


async def test_ten_processes_open_one_new_file_at_once(path: Path) -> None:
    body = (
        "print('ready', flush=True)\nsys.stdin.readline()\nawait store.open()\n"
        "await store.set_limit(LimitRecord(sys.argv[2], 1))\nprint(len(await store.limits()))\nawait store.close()"
    )
    path.parent.mkdir()
    others = await asyncio.gather(*(started(path, f"executor-{number}", body) for number in range(10)))
    await asyncio.gather(*(said(other) for other in others))
    ends = await asyncio.gather(*(other.communicate(b"go\n") for other in others))
    assert [errors.decode() for _, errors in ends if errors] == []
    assert max(int(output) for output, _ in ends) == 10
    raw = sqlite3.connect(path)
    assert raw.execute("select version from schema_version").fetchall() == [
        (version,) for version in range(1, NEWEST + 1)
    ]
    assert raw.execute("select count(*) from executor").fetchall() == [(0,)]
    raw.close()


def test_migrations_are_numbered_without_gaps() -> None:
    known = migrations()
    assert [migration.version for migration in known] == list(range(1, len(known) + 1))


def test_a_script_is_taken_apart_at_its_statements() -> None:
    script = "-- a; b\ncreate table a (x text default ';');\ninsert into a\nvalues ('1;\n2');\n"
    raw = sqlite3.connect(":memory:")
    for statement in statements(script):
        raw.execute(statement)
    assert raw.execute("select x from a").fetchall() == [("1;\n2",)]
    assert schema_version(raw) == 0
    raw.close()


async def test_commits_of_others_are_seen_and_own_are_not(opened: Opener) -> None:
    mine, theirs = await opened(), await opened()
    before = await mine.data_version()
    await commit(mine, flow_write())
    assert await mine.data_version() == before
    await commit(theirs, flow_write())
    assert await mine.data_version() != before


async def test_stats_count_rows_and_integrity_names_orphans(store: SQLiteStore) -> None:
    flow = flow_write()
    await commit(store, flow, task_write(flow, digest="d", codec="json", size=1))
    found = await store.stats()
    assert (found["run"], found["transition"], found["result"], found["schema_version"]) == (2, 2, 1, NEWEST)
    await store._write(lambda raw: raw.execute("delete from run where kind = 'flow'").close())
    assert await store.integrity() == ["1 moves belong to no run", "1 runs have no outermost run"]


@pytest.mark.parametrize(
    ("where", "index"),
    [
        (RunFilter(kind="flow"), "run_flow"),
        (RunFilter(outermost=True), "run_outermost"),
        (RunFilter(flow_run_id="f"), "run_of_flow"),
        (RunFilter(parent_id="p"), "run_of_task"),
    ],
)
async def test_listings_use_their_index(store: SQLiteStore, where: RunFilter, index: str) -> None:
    term, given = condition(where)
    plan = f"explain query plan select * from run where {term} order by id desc limit 10"
    rows = await store._read(lambda raw: raw.execute(plan, given).fetchall())
    assert index in " ".join(row[3] for row in rows)
