"""The private parts of aiosqlite that the store stands on, and the end of its threads."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from queue import SimpleQueue

import pytest
from aiosqlite import Connection
from aiosqlite.core import _STOP_RUNNING_SENTINEL

from asyncflow.exceptions import DatabaseUnavailable
from asyncflow.store.session import Session


def test_aiosqlite_has_the_parts_that_we_use_and_they_behave() -> None:
    inner = Connection(lambda: sqlite3.connect(":memory:"), 64)
    assert type(inner._tx) is SimpleQueue
    assert type(inner._thread) is threading.Thread
    inner._thread.daemon = True
    inner._thread.start()
    heard: list[object] = []

    def failing() -> None:
        heard.append("failing")
        raise ValueError

    inner._tx.put_nowait((None, lambda: heard.append(threading.current_thread())))
    inner._tx.put_nowait((None, failing))
    inner._tx.put_nowait((None, lambda: heard.append("goes on")))
    inner._tx.put_nowait((None, lambda: _STOP_RUNNING_SENTINEL))
    inner._thread.join(10)
    assert not inner._thread.is_alive()
    assert heard == [inner._thread, "failing", "goes on"]


def _session() -> Session:
    return Session(lambda: sqlite3.connect(":memory:"), "here", 1.0)


async def test_a_call_after_the_end_is_refused_and_does_not_hang() -> None:
    session = _session().start()
    assert await session.call(lambda raw: raw.execute("select 1").fetchall()) == [(1,)]
    session.end()
    await session.joined()
    with pytest.raises(DatabaseUnavailable, match="here is closed"):
        await session.call(lambda raw: None)


async def test_what_prevented_the_connection_is_raised_at_each_call() -> None:
    def connect() -> sqlite3.Connection:
        raise PermissionError(13, "no entry")

    session = Session(connect, "here", 1.0).start()
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable, match="no entry"):
            await session.call(lambda raw: None)
    session.end()
    await session.joined()


async def test_a_loop_closed_during_its_call_does_not_end_the_thread() -> None:
    session = _session().start()
    begun, may_end = threading.Event(), threading.Event()

    def slow(raw: sqlite3.Connection) -> None:
        begun.set()
        may_end.wait(10)

    async def leave() -> None:
        asyncio.ensure_future(session.call(slow))  # noqa: RUF006
        while not begun.is_set():
            await asyncio.sleep(0.001)

    await asyncio.to_thread(lambda: asyncio.run(leave()))
    may_end.set()
    assert await session.call(lambda raw: 7) == 7
    session.end()
    await session.joined()


def test_an_end_needs_no_loop() -> None:
    session = _session().start()
    session.end()
    session.join(10)
    assert not session.is_alive()
