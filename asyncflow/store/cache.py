"""Results found again across runs, and who is computing one right now."""

from __future__ import annotations

import sqlite3
from typing import Any

from ..core.runs import ExecutorId, StoredValue
from ..ports import CacheEntry
from .executors import ExecutorRows
from .queries import SQL


class CacheRows(ExecutorRows):
    """The role `CacheIndex`."""

    async def cached(self, key: str, now: int) -> CacheEntry | None:
        """The entry of that key, unless it has expired."""
        given = {"key": key, "now": now}
        rows = await self._read(lambda raw: raw.execute(SQL["cached"], given).fetchall())
        return _entry_of(rows[0]) if rows else None

    async def keep(self, entry: CacheEntry) -> None:
        """Keep a result, in place of what was kept under its key."""
        await self._write(lambda raw: _keep(raw, entry))

    async def cache_entries(self, limit: int, after: str | None = None) -> list[CacheEntry]:
        """Entries by key, those that have expired among them, without their data; `after` is the last key before."""
        given = {"after": after or "", "limit": limit}
        rows = await self._read(lambda raw: raw.execute(SQL["cache_entries"], given).fetchall())
        return [_entry_of(row) for row in rows]

    async def clear_cache(self, task_name: str | None = None) -> int:
        """Forget the entries of a task, or all; returns how many there were."""
        statement = SQL["clear_cache"].format(where="1 = 1" if task_name is None else "task_name = :task_name")
        given = {} if task_name is None else {"task_name": task_name}
        return await self._write(lambda raw: raw.execute(statement, given).rowcount)

    async def claim_flight(self, key: str, executor_id: ExecutorId, token: str) -> bool:
        """Become the one who computes `key`, unless a live executor already is; again with one's own token is fine.

        A caller that is cancelled in here may hold the flight: it must `end_flight`.
        """
        given = {"key": key, "executor_id": executor_id, "token": token, "at": self._clock.now()}
        return await self._write(lambda raw: self._claim(raw, given))

    def end_flight(self, key: str, token: str) -> None:
        """Queue the end of a flight; thread-safe, never blocks."""
        self._queue(lambda raw: raw.execute(SQL["end_flight"], {"key": key, "token": token}))

    def _claim(self, raw: sqlite3.Connection, given: dict[str, Any]) -> bool:
        if raw.execute(SQL["claim_flight"], given).rowcount > 0:
            return True
        return self._reap_now_and_then(raw) and raw.execute(SQL["claim_flight"], given).rowcount > 0


def _entry_of(row: tuple[Any, ...]) -> CacheEntry:
    key, run_id, task_name, created_at, expires_at, *value = row
    return CacheEntry(key, run_id, task_name, StoredValue(*value), created_at, expires_at)


def _keep(raw: sqlite3.Connection, entry: CacheEntry) -> None:
    value = entry.value
    given = {
        "key": entry.key, "run_id": entry.run_id, "task_name": entry.task_name, "created_at": entry.created_at,
        "expires_at": entry.expires_at, "codec": value.codec, "data": value.data, "digest": value.digest,
        "size": value.size, "preview": value.preview,
    }  # fmt: skip
    raw.execute(SQL["keep"], given)
    if value.digest is not None:
        raw.execute(SQL["keep_file"], {"digest": value.digest, "size": value.size, "at": entry.created_at})
