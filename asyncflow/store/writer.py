"""The one write queue of a store: in order, from any thread, drained without any loop's help, one commit for many."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from ..core.runs import LogLine, RunWrite
from ..exceptions import StoreError
from .batch import write_lines, write_runs
from .faults import concerns_database, patiently, translated
from .session import Session

T = TypeVar("T")

MAX_QUEUED_LINES = 10_000


class Call:
    """Any other write: a function of the connection, run within the batch's transaction; None just marks a place."""

    __slots__ = ("done", "error", "loop", "value", "waiter", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], Any] | None) -> None:
        self.work = work
        self.loop: AbstractEventLoop | None = None
        self.waiter: asyncio.Future[Any] | None = None
        self.value: Any = None
        self.error: BaseException | None = None
        self.done = False

    def settle(self) -> None:
        """Tell the waiter, on its own loop."""
        self.done = True
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            if self.error is None:
                waiter.set_result(self.value)
            else:
                waiter.set_exception(self.error)


class _Batch:
    """What one transaction writes."""

    __slots__ = ("calls", "lines", "runs")

    def __init__(self) -> None:
        self.runs: list[RunWrite] = []
        self.lines: list[LogLine] = []
        self.calls: list[Call] = []

    def has_work(self) -> bool:
        return bool(self.runs or self.lines or any(call.work for call in self.calls))


class Writer:
    """Commits what is put, in the order in which it was put, in as few transactions as possible."""

    def __init__(self, session: Session, check: Callable[[], None], batch_rows: int, power: bool = False) -> None:
        self._power = self._forced = power
        self._session = session
        self._check = check
        self._batch_rows = batch_rows
        self._items: deque[RunWrite | list[LogLine] | Call] = deque()
        self._scheduled = False
        self._lines_lock = Lock()
        self._queued_lines = 0
        self.dropped_lines = 0

    def put(self, item: RunWrite | list[LogLine] | Call) -> None:
        """Queue one write; it is settled after its commit or refusal."""
        self._items.append(item)
        if not self._scheduled:
            self._scheduled = True
            self._session.post(self.drain)

    def put_lines(self, lines: Sequence[LogLine]) -> None:
        """Queue log lines, as many as there is room for."""
        with self._lines_lock:
            fitting = list(lines[: max(0, MAX_QUEUED_LINES - self._queued_lines)])
            self._queued_lines += len(fitting)
            self.dropped_lines += len(lines) - len(fitting)
        if fitting:
            self.put(fitting)

    async def perform(self, work: Callable[[sqlite3.Connection], T] | None) -> T:
        """What `work(connection)` gives, once it is committed; None returns when all before it is committed."""
        call = Call(work)
        call.loop = asyncio.get_running_loop()
        call.waiter = call.loop.create_future()
        self.put(call)
        value: T = await call.waiter
        return value

    def drain(self) -> None:
        """Commit until nothing is queued; on the session's thread (or anywhere, to refuse, once that has ended)."""
        while True:
            batch = self._next_batch()
            if batch is not None:
                self._commit(batch)
                continue
            self._scheduled = False  # from here on a put schedules again
            if not self._items:
                return
            self._scheduled = True

    def commit_alone(self, work: Callable[[sqlite3.Connection], Any]) -> None:
        """Do and commit work at once; on the session's thread only."""
        batch = _Batch()
        batch.calls.append(Call(work))
        self._commit(batch)

    def _next_batch(self) -> _Batch | None:
        if not self._items:
            return None
        batch = _Batch()
        with contextlib.suppress(IndexError):
            while len(batch.runs) < self._batch_rows:
                item = self._items.popleft()
                if isinstance(item, RunWrite):
                    batch.runs.append(item)
                elif isinstance(item, Call):
                    batch.calls.append(item)
                else:
                    batch.lines.extend(item)
        return batch

    def _commit(self, batch: _Batch) -> None:
        try:
            raw = self._session.connection()
            if batch.has_work():
                self._store(raw, batch)
        except BaseException as error:
            self._refuse(batch, translated(error, self._session.where))
        if batch.lines:
            with self._lines_lock:
                self._queued_lines -= len(batch.lines)
        settle([*batch.runs, *batch.calls])

    def _store(self, raw: sqlite3.Connection, batch: _Batch) -> None:
        seconds = self._session.busy_seconds
        try:
            patiently(lambda: self._transact(raw, batch, self._write_together), seconds)
        except Exception as error:
            if concerns_database(error):
                raise
            patiently(lambda: self._transact(raw, batch, self._write_singly), seconds)

    def _transact(
        self, raw: sqlite3.Connection, batch: _Batch, write: Callable[[sqlite3.Connection, _Batch], None]
    ) -> None:
        self._check()
        force = self._force_next(batch)
        if force is not None:
            raw.execute(f"pragma synchronous = {force}")
        raw.execute("begin immediate")
        try:
            write(raw, batch)
            for call in batch.calls:
                self._perform(raw, call)
            raw.execute("commit")
        except BaseException:
            if raw.in_transaction:
                raw.execute("rollback")
            raise

    def _force_next(self, batch: _Batch) -> str | None:
        """How the next commit has to reach the disk, where that differs from the last one."""
        power = self._power or any(run.power for run in batch.runs)
        if power == self._forced:
            return None
        self._forced = power
        return "full" if power else "normal"

    def _write_together(self, raw: sqlite3.Connection, batch: _Batch) -> None:
        if batch.runs:
            write_runs(raw, batch.runs)
        if batch.lines:
            write_lines(raw, batch.lines)

    def _write_singly(self, raw: sqlite3.Connection, batch: _Batch) -> None:
        """Each on its own, so that what cannot be written (a number too large, text that is none) fails alone."""
        for run in batch.runs:
            error = _apart(raw, partial(write_runs, raw, [run]))
            if error is not None:
                run.error = StoreError(f"Run {run.row[0]} cannot be written: {error}.")
                run.error.__cause__ = error
        for line in batch.lines:
            if _apart(raw, partial(write_lines, raw, [line])) is not None:
                self.dropped_lines += 1

    def _perform(self, raw: sqlite3.Connection, call: Call) -> None:
        work = call.work
        if work is None:
            return

        def attempt() -> None:
            call.value = work(raw)

        error = _apart(raw, attempt)
        call.error = None if error is None else translated(error, self._session.where)

    def _refuse(self, batch: _Batch, error: BaseException) -> None:
        refused: list[RunWrite | Call] = [*batch.runs, *batch.calls]
        for item in refused:
            item.error = error
        self.dropped_lines += len(batch.lines)


def _apart(raw: sqlite3.Connection, work: Callable[[], None]) -> Exception | None:
    """Do work under a savepoint; its own error is undone and returned, an error of the whole database is raised."""
    raw.execute("savepoint apart")
    try:
        work()
    except Exception as error:
        if isinstance(error, sqlite3.Error) and concerns_database(error):
            raise
        raw.execute("rollback to apart")
        raw.execute("release apart")
        return error
    raw.execute("release apart")
    return None


def settle(items: Iterable[RunWrite | Call]) -> None:
    """Settle each item on its own loop, waking every loop once."""
    by_loop: dict[AbstractEventLoop, list[RunWrite | Call]] = {}
    for item in items:
        if item.loop is None:
            item.done = True
        else:
            by_loop.setdefault(item.loop, []).append(item)
    for loop, settled in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle_all, settled)
        except RuntimeError:  # that loop is closed: nobody waits there any more
            for item in settled:
                item.done = True


def _settle_all(items: list[RunWrite | Call]) -> None:
    for item in items:
        item.settle()
