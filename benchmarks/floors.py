"""The floors: plain asyncio programs that asyncflow is measured against. Frozen, so that figures stay comparable.

F0 is asyncio alone: one task a call, nothing is kept.

F1 keeps every call before its awaiter goes on: one row in `run` with the result inline and one row in `transition`,
committed to SQLite (WAL, synchronous=NORMAL) in groups of at most 256 by a thread of its own.
"""

from __future__ import annotations

import asyncio
import pickle
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeAlias

BATCH = 256

SCHEMA = """
create table if not exists run (
    id text primary key, name text not null, state text not null,
    started_at integer not null, ended_at integer not null, result blob
) without rowid;
create table if not exists transition (
    seq integer primary key, run_id text not null, at integer not null, state text not null
);
"""

Row: TypeAlias = tuple[str, str, str, int, int, bytes]
Call: TypeAlias = Callable[[int], Awaitable[Any]]
Entry: TypeAlias = tuple[Row, "asyncio.Future[None]"]


class GroupCommit:
    """F1: call `run` for each task; it returns the result once that is committed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._batches: SimpleQueue[list[Entry] | None] = SimpleQueue()
        self._waiting: list[Entry] = []
        self._numbers = count()

    async def __aenter__(self) -> GroupCommit:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write, name="floor-writer")
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._batches.put(None)
        await asyncio.to_thread(self._thread.join)

    async def run(self, body: Callable[[Any], Awaitable[Any]], argument: Any) -> Any:
        """Await `body(argument)` and keep what it gives."""
        started_at = time.time_ns() // 1000
        result = await body(argument)
        ended_at = time.time_ns() // 1000
        run_id = f"{started_at:014x}-{next(self._numbers):010x}"
        row = (run_id, body.__name__, "COMPLETED", started_at, ended_at, pickle.dumps(result))
        committed = self._loop.create_future()
        if not self._waiting:
            self._loop.call_soon(self._send)
        self._waiting.append((row, committed))
        await committed
        return result

    def _send(self) -> None:
        entries, self._waiting = self._waiting, []
        for start in range(0, len(entries), BATCH):
            self._batches.put(entries[start : start + BATCH])

    def _write(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.executescript("pragma journal_mode = wal; pragma synchronous = normal;" + SCHEMA)
        while (entries := self._batches.get()) is not None:
            rows = [row for row, _ in entries]
            connection.execute("begin immediate")
            connection.executemany("insert into run values (?, ?, ?, ?, ?, ?)", rows)
            connection.executemany(
                "insert into transition (run_id, at, state) values (?, ?, ?)",
                [(row[0], row[4], row[2]) for row in rows],
            )
            connection.execute("commit")
            self._loop.call_soon_threadsafe(self._committed, entries)
        connection.close()

    @staticmethod
    def _committed(entries: list[Entry]) -> None:
        for _, committed in entries:
            if not committed.done():
                committed.set_result(None)


async def sequential(call: Call, n: int) -> None:
    """`n` tasks, one after another."""
    loop = asyncio.get_running_loop()
    for i in range(n):
        await loop.create_task(_awaited(call, i))


async def fan_out(call: Call, n: int) -> None:
    """`n` tasks at once."""
    await asyncio.gather(*[call(i) for i in range(n)])


async def bounded(call: Call, n: int, limit: int) -> None:
    """`n` tasks, of which `limit` at once: so many loops that each take the next number."""
    numbers = iter(range(n))

    async def take() -> None:
        for i in numbers:
            await call(i)

    await asyncio.gather(*[take() for _ in range(limit)])


async def _awaited(call: Call, i: int) -> Any:
    return await call(i)
