"""Whether the database is sound, how full it is, and whether somebody else has written to it."""

from __future__ import annotations

import sqlite3

from .faults import is_damage
from .migrate import schema_version
from .queries import SQL
from .room import Room

_TABLES = ("run", "transition", "result", "log", "concurrency_limit", "holding", "cache", "flight", "executor")
_ORPHANS = {"orphan_transitions": "moves belong to no run", "orphan_runs": "runs have no outermost run"}


class Checks(Room):
    """What `db check` asks, and a cheap sign that another process has committed."""

    async def data_version(self) -> int:
        """A number that changes when anyone but this store has committed."""
        return await self._session.call(lambda raw: int(_single(raw, "pragma data_version")))

    async def integrity(self) -> list[str]:
        """What is wrong with the database, in words; nothing when it is sound."""
        return await self._read(_integrity)

    async def stats(self) -> dict[str, int]:
        """How many rows each table has, how large the file is, its schema version and the dropped log lines."""
        found = await self._read(_stats)
        return {**found, "dropped_lines": self._writer.dropped_lines}


def _integrity(raw: sqlite3.Connection) -> list[str]:
    found: list[str] = []
    try:
        found += [text for (text,) in raw.execute("pragma integrity_check").fetchall() if text != "ok"]
        for name, words in _ORPHANS.items():
            if count := _single(raw, SQL[name]):
                found.append(f"{count} {words}")
    except sqlite3.DatabaseError as error:  # so damaged that it cannot even be looked through
        if not is_damage(error):
            raise
        found.append(str(error))
    return found


def _stats(raw: sqlite3.Connection) -> dict[str, int]:
    found = {table: int(_single(raw, f"select count(*) from {table}")) for table in _TABLES}
    pages = int(_single(raw, "pragma page_count"))
    page = int(_single(raw, "pragma page_size"))
    free = int(_single(raw, "pragma freelist_count"))
    return {**found, "bytes": pages * page, "free_bytes": free * page, "schema_version": schema_version(raw)}


def _single(raw: sqlite3.Connection, statement: str) -> int:
    value: int = raw.execute(statement).fetchall()[0][0]
    return value
