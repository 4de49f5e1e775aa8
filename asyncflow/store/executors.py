"""Who runs things, and what the dead leave behind."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from dataclasses import asdict
from functools import partial
from typing import Any

from ..core.runs import ExecutorId
from ..ports import Executor
from .queries import SQL
from .room import Room

REAP_EVERY_SECONDS = 0.2


class ExecutorRows(Room):
    """The role `Executors`, and the reaping of the dead that limits and flights rely on."""

    _reaped_at = float("-inf")

    async def enlist(self, executor: Executor) -> None:
        """Say that an executor lives."""
        await self._write(lambda raw: raw.execute(SQL["enlist"], asdict(executor)).close())

    async def retire(self, executor_id: ExecutorId) -> None:
        """Say that an executor is gone; what it held is free."""
        await self._write(lambda raw: retire(raw, executor_id))

    async def executors(self) -> list[Executor]:
        """All executors that are known, the dead among them until somebody needs what they hold."""
        rows = await self._read(lambda raw: raw.execute(SQL["executors"]).fetchall())
        return [Executor(*row) for row in rows]

    async def alive(self, executor: Executor) -> bool | None:
        """Whether an executor lives; None where this process cannot tell."""
        return await self._session.call(lambda raw: self._alive(raw, executor))

    async def reap(self) -> list[ExecutorId]:
        """Remove executors that are found dead, with all they held; returns their ids."""
        dead: list[ExecutorId] = await self._write(self._reap)
        return dead

    def _alive(self, raw: sqlite3.Connection, executor: Executor) -> bool | None:
        if self._locks is not None:
            return self._locks.alive(executor)
        return bool(raw.execute(SQL["is_enlisted"], {"id": executor.id}).fetchall())

    def _reap(self, raw: sqlite3.Connection) -> list[ExecutorId]:
        """Within a transaction: forget the dead. Someone of whom nothing can be told counts as alive."""
        known = [Executor(*row) for row in raw.execute(SQL["executors"]).fetchall()]
        dead = [executor.id for executor in known if self._alive(raw, executor) is False]
        for executor_id in dead:
            retire(raw, executor_id)
        raw.execute(SQL["drop_orphan_holdings"])
        raw.execute(SQL["drop_orphan_flights"])
        for executor_id in dead:
            self._session.post(partial(self._forget, raw, executor_id))  # runs when this transaction has ended
        return dead

    def _reap_now_and_then(self, raw: sqlite3.Connection) -> bool:
        """Reap, unless that was done a moment ago; says whether it was done."""
        now = time.monotonic()
        if now - self._reaped_at < REAP_EVERY_SECONDS:
            return False
        self._reaped_at = now
        self._reap(raw)
        return True

    def _forget(self, raw: sqlite3.Connection, executor_id: ExecutorId) -> None:
        """Remove the file of a dead executor once its row is gone; a row without its file could never be reaped."""
        with contextlib.suppress(sqlite3.Error):  # the connection may be closed by now: the file stays, as litter
            if self._locks is not None and not raw.execute(SQL["is_enlisted"], {"id": executor_id}).fetchall():
                self._locks.forget(executor_id)


def retire(raw: sqlite3.Connection, executor_id: ExecutorId) -> None:
    """Remove an executor with all it held."""
    given: dict[str, Any] = {"id": executor_id}
    raw.execute(SQL["retire"], given)
    raw.execute(SQL["retire_holdings"], given)
    raw.execute(SQL["retire_flights"], given)
