"""The store in one SQLite file, or in memory."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import asdict
from pathlib import Path

from ..core.runs import ExecutorId, RunWrite
from ..ports import Clock, Executor
from .cache import CacheRows
from .checks import Checks
from .database import Database
from .executors import retire
from .limits import LimitRows
from .liveness import LockFiles, boot_id, host_name
from .logs import LogLines
from .queries import SQL
from .runs import RunReads
from .session import Session
from .writer import Writer

CLOSE_SECONDS = 10.0


class SQLiteStore(RunReads, LogLines, LimitRows, CacheRows, Checks):
    """Everything that is remembered, in the file `path`; `":memory:"` keeps it in memory and touches no file.

    Usable from several threads and event loops at once. While it is open, `executor_id` is enlisted as alive.
    `durability_power` has every commit reach the disk (fsync); `busy_seconds` bounds the patience with a lock that
    another process holds; `batch_rows` bounds how many runs one transaction writes.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        executor_id: ExecutorId,
        clock: Clock,
        durability_power: bool = False,
        busy_seconds: float = 60.0,
        batch_rows: int = 256,
    ) -> None:
        database = Database(path, power=durability_power, now=clock.now)
        super().__init__(database, executor_id, clock, busy_seconds)
        self._opened = False
        self._batch_rows = batch_rows
        self._ending: list[Session] = []
        self._use(Session(self._connect, database.path, busy_seconds))

    @property
    def path(self) -> str:
        """The file, as an absolute path once it is open, or `":memory:"`."""
        return self._database.path

    async def open(self) -> None:
        """Open the database, make or migrate it, and enlist this executor. Opening what is open does nothing."""
        if self._opened:
            return
        self._opened = True
        self._use(Session(self._connect, self._database.path, self._busy_seconds).start())
        try:
            await self._session.call(lambda raw: None)
        except BaseException:
            await self.close()
            raise

    def put(self, write: RunWrite) -> None:
        """Queue a write of a run; it is settled on its own loop after its commit or refusal."""
        self._writer.put(write)

    async def flush(self) -> None:
        """Return when everything put so far is committed; raises if this could not be."""
        await self._writer.perform(None)

    async def close(self) -> None:
        """Commit what is queued, retire this executor and close. Closing what is closed does nothing."""
        for session in self._end():
            await session.joined()

    def close_now(self) -> None:
        """As `close`, from any thread and without a loop; gives up waiting after ten seconds."""
        for session in self._end():
            session.join(CLOSE_SECONDS)

    def _use(self, session: Session) -> None:
        self._session = session
        self._writer = Writer(session, self._database.check_in_place, self._batch_rows, self._database.power)

    def _connect(self) -> sqlite3.Connection:
        """On the writer's thread: the connection, with our lock held and our executor enlisted."""
        raw = self._database.connect_writer()
        self._locks = None if self._database.in_memory else LockFiles(self._database.path)
        try:
            inode = None if self._locks is None else self._locks.hold(self._executor_id)
            me = Executor(self._executor_id, host_name(), boot_id(), os.getpid(), self._clock.now(), inode)
            raw.execute(SQL["enlist"], asdict(me))
        except BaseException:
            raw.close()
            self._release()
            raise
        return raw

    def _end(self) -> list[Session]:
        """Begin the end of both connections, once; returns those whose threads may still run."""
        if self._opened:
            self._opened = False
            with self._reader_lock:
                reader, self._reader = self._reader, None
            self._session.end(self._last)
            if reader is not None:
                reader.end()
            self._ending = [session for session in (self._session, reader) if session is not None]
        return self._ending

    def _last(self) -> None:
        """On the writer's thread, before it closes: commit the rest and leave nothing behind."""
        try:
            self._writer.drain()
            self._writer.commit_alone(lambda raw: retire(raw, self._executor_id))
        finally:
            self._release()

    def _release(self) -> None:
        if self._locks is not None:
            self._locks.release(self._executor_id)
