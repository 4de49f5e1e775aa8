"""Concurrency limits: who holds which slots is the sum of rows, never a counter."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from ..ports import Holding, LimitRecord
from .executors import ExecutorRows
from .queries import SQL


class LimitRows(ExecutorRows):
    """The role `Limits`. Limits of tags are ordinary limits named `tag:<tag>`.

    `limits_version` rises whenever limits were changed through this store.
    """

    limits_version = 0

    async def set_limit(self, limit: LimitRecord) -> None:
        """Make a limit, or change the one of that name; what is held stays held."""
        given = {
            "name": limit.name, "slots": limit.slots, "active": int(limit.active),
            "decay": limit.slot_decay_per_second,
        }  # fmt: skip
        await self._write(lambda raw: raw.execute(SQL["set_limit"], given).close())
        self.limits_version += 1

    async def delete_limit(self, name: str) -> bool:
        """Remove a limit; says whether there was one."""
        was_there = await self._write(lambda raw: raw.execute(SQL["delete_limit"], {"name": name}).rowcount > 0)
        self.limits_version += 1
        return was_there

    async def limits(self) -> list[LimitRecord]:
        """All limits, by name."""
        rows = await self._read(lambda raw: raw.execute(SQL["limits"]).fetchall())
        return [LimitRecord(name, slots, bool(active), decay) for name, slots, active, decay in rows]

    async def holdings(self, name: str | None = None) -> list[Holding]:
        """Who holds slots of that limit, or of any, in the order in which they were taken."""
        statement = SQL["holdings"].format(where="1 = 1" if name is None else "limit_name = :name")
        given = {} if name is None else {"name": name}
        return [Holding(*row) for row in await self._read(lambda raw: raw.execute(statement, given).fetchall())]

    async def take(self, wanted: Sequence[Holding]) -> bool:
        """Take all of these or none; a name without an active limit is granted and leaves no row.

        A caller that is cancelled in here may hold what it asked for: it must `give_back` its token.
        """
        return await self._write(lambda raw: self._take(raw, wanted))

    def give_back(self, token: str) -> None:
        """Queue the return of everything taken under this token; thread-safe, never blocks."""
        self._queue(lambda raw: raw.execute(SQL["give_back"], {"token": token}))

    def _take(self, raw: sqlite3.Connection, wanted: Sequence[Holding]) -> bool:
        limited = _fitting(raw, wanted)
        if limited is None and self._reap_now_and_then(raw):
            limited = _fitting(raw, wanted)
        if limited is None:
            return False
        for holding in wanted:
            if holding.limit in limited:
                raw.execute(SQL["take"], asdict(holding))
        return True


def _fitting(raw: sqlite3.Connection, wanted: Sequence[Holding]) -> set[str] | None:
    """Those of the wanted names that have a limit, or None if any of them has no room."""
    asked: Counter[str] = Counter()
    for holding in wanted:
        asked[holding.limit] += holding.occupy
    limited = set()
    for name, occupy in asked.items():
        for _, free in raw.execute(SQL["room"], {"name": name}).fetchall():
            if occupy > free:
                return None
            limited.add(name)
    return limited
