"""One SQLite connection on a thread of its own: the only file that knows how aiosqlite works inside.

A batch must reach the connection's thread without any event loop's help, so this file uses three private names of
aiosqlite 0.22: `Connection._tx`, a queue of (future or None, function); `Connection._thread`, which calls them in
order; and the mark whose return ends that thread. A test guards them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from aiosqlite import Connection
from aiosqlite.core import _STOP_RUNNING_SENTINEL

from ..exceptions import DatabaseUnavailable
from .faults import patiently, translated

T = TypeVar("T")


class Session:
    """A connection that is opened, used and closed on its own daemon thread, in the order of what is posted."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], where: str, busy_seconds: float) -> None:
        self.where = where
        self.busy_seconds = busy_seconds
        self.ended = True
        self.failure: BaseException | None = None
        self.raw: sqlite3.Connection | None = None
        self._connect = connect
        self._inner = Connection(connect, 64)
        self._inner._thread.daemon = True

    def start(self) -> Session:
        """Begin to connect; until then, everything posted finds the connection closed."""
        self.ended = False
        self._inner._thread.start()
        self.post(self._open)
        _SESSIONS.add(self)
        return self

    def post(self, function: Callable[[], Any]) -> None:
        """Have the connection's thread call `function`, which must not raise; from any thread, never blocks."""
        self._inner._tx.put_nowait((None, function))
        if self.ended:
            self._sweep()

    async def call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work(connection)` gives on the connection's thread; errors are those of our own tree."""
        job = _Job(self, work)
        self.post(job.run)
        return await job.waiter

    def connection(self) -> sqlite3.Connection:
        """The open connection, for use on its own thread; raises what prevented it."""
        if self.raw is None:
            raise self.failure or DatabaseUnavailable(f"The database {self.where} is closed.")
        return self.raw

    def end(self, last: Callable[[], Any] | None = None) -> None:
        """Close the connection after what is already posted and end its thread; `last` is called just before."""
        self.post(lambda: self._finish(last))

    def is_alive(self) -> bool:
        """Whether the thread still runs."""
        return self._inner._thread.is_alive()

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread, not on an event loop."""
        self._inner._thread.join(seconds)

    async def joined(self) -> None:
        """Wait for the end of the thread, on an event loop."""
        pause = 0.0
        while self.is_alive():
            await asyncio.sleep(pause)
            pause = min(pause + 0.0005, 0.02)

    def abandon(self) -> None:
        """Forget the connection in a forked child: it belongs to the parent and must not even be closed here."""
        _ABANDONED.append(self.raw)
        self.raw = None
        self.failure = DatabaseUnavailable(f"The database {self.where} was opened before a fork; open it again.")
        self._inner._tx = SimpleQueue()
        self.ended = True

    def _open(self) -> None:
        try:
            self.raw = patiently(self._connect, self.busy_seconds)
        except BaseException as error:
            self.failure = translated(error, self.where)

    def _finish(self, last: Callable[[], Any] | None) -> Any:
        if self.ended:
            return None
        try:
            if last is not None:
                last()
            if self.raw is not None:
                self.raw.close()
        except BaseException as error:
            self.failure = translated(error, self.where)
        self.raw = None
        self.ended = True
        self._sweep()
        return _STOP_RUNNING_SENTINEL

    def _sweep(self) -> None:
        """Call what was posted too late; each function finds the connection closed and says so to its waiter."""
        while True:
            try:
                _, function = self._inner._tx.get_nowait()
            except Empty:
                return
            function()


class _Job(Generic[T]):
    """One call that a loop awaits. aiosqlite's own futures are not used: a loop closed meanwhile ends its thread."""

    __slots__ = ("_loop", "_session", "_work", "waiter")

    def __init__(self, session: Session, work: Callable[[sqlite3.Connection], T]) -> None:
        self._session = session
        self._work = work
        self._loop = asyncio.get_running_loop()
        self.waiter: asyncio.Future[T] = self._loop.create_future()

    def run(self) -> None:
        try:
            settle: Callable[[], None] = self._settler(self._attempt())
        except BaseException as error:
            settle = self._failer(translated(error, self._session.where))
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            self._loop.call_soon_threadsafe(settle)

    def _attempt(self) -> T:
        raw = self._session.connection()
        return patiently(lambda: self._work(raw), self._session.busy_seconds)

    def _settler(self, value: T) -> Callable[[], None]:
        return lambda: None if self.waiter.done() else self.waiter.set_result(value)

    def _failer(self, error: BaseException) -> Callable[[], None]:
        return lambda: None if self.waiter.done() else self.waiter.set_exception(error)


_SESSIONS: weakref.WeakSet[Session] = weakref.WeakSet()
_ABANDONED: list[Any] = []


def _forked() -> None:
    for session in list(_SESSIONS):
        session.abandon()


os.register_at_fork(after_in_child=_forked)
