"""What every room of the store works with: a place to write and a place to read."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

from ..core.runs import ExecutorId
from ..ports import Clock
from .database import Database
from .liveness import LockFiles
from .session import Session
from .writer import Call, Writer

T = TypeVar("T")


class Room:
    """The connections of one open store. A database in memory has one connection, which serves both."""

    def __init__(self, database: Database, executor_id: ExecutorId, clock: Clock, busy_seconds: float) -> None:
        self._database = database
        self._executor_id = executor_id
        self._clock = clock
        self._busy_seconds = busy_seconds
        self._locks: LockFiles | None = None
        self._session: Session
        self._writer: Writer
        self._reader: Session | None = None
        self._reader_lock = Lock()

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` reads, on the reading connection, which is opened when first needed."""
        return await self._reading().call(work)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` gives, in order with everything put before, once committed."""
        return await self._writer.perform(work)

    def _queue(self, work: Callable[[sqlite3.Connection], Any]) -> None:
        """Queue a write for which nobody waits."""
        self._writer.put(Call(work))

    def _reading(self) -> Session:
        if self._database.in_memory or self._session.ended:
            return self._session
        with self._reader_lock:
            if self._reader is None:
                connect = self._database.connect_reader
                self._reader = Session(connect, self._database.path, self._busy_seconds).start()
            return self._reader
