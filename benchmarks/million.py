"""A database file that already remembers many runs: a thousand real ones, then copied with older ids."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from .programs import application, fan_out_flow

IDS = ("id", "parent_id", "flow_run_id", "root_id", "run_id")


async def cloned_file(path: Path, runs: int, clones: int) -> Path:
    """Make a file that holds `runs` task runs and that many again for each clone but the first."""
    async with application(path):
        await fan_out_flow(runs)
    await asyncio.to_thread(_clone, path, clones - 1)
    return path


def _clone(path: Path, clones: int) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("begin immediate")
        for table in ("run", "transition"):
            connection.execute(f"create temp table sample_{table} as select * from main.{table}")
            copy = _copy_statement(connection, table)
            connection.executemany(copy, ((number,) for number in range(1, clones + 1)))
        connection.execute("commit")
        connection.execute("pragma wal_checkpoint(truncate)")


def _copy_statement(connection: sqlite3.Connection, table: str) -> str:
    """Copy a table's sample under other ids: their first eight digits, the oldest of their time, are the number."""
    columns = [name for _, name, *_ in connection.execute(f"pragma main.table_info({table})") if name != "seq"]
    values = ", ".join(
        f"case when {name} is not null then printf('%08x', ?1) || substr({name}, 9) end" if name in IDS else name
        for name in columns
    )
    return f"insert into main.{table} ({', '.join(columns)}) select {values} from sample_{table} order by 1"
