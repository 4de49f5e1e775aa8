"""Group commit on SQLite: several loops, foreign locks, full disks, and the end."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from asyncflow.core.clock import SystemClock
from asyncflow.core.runs import RunFilter
from asyncflow.exceptions import DatabaseBusy, DatabaseUnavailable, LeaseLost, StoreError
from asyncflow.store import writer
from asyncflow.store.sqlite import SQLiteStore

from ..contracts.makers import commit, flow_write, line, put_all, task_write
from .conftest import Opener


async def _on_its_thread(store: SQLiteStore, work: Any) -> Any:
    return await store._session.call(work)


async def test_many_writes_share_few_transactions(store: SQLiteStore) -> None:
    seen: list[str] = []
    await _on_its_thread(store, lambda raw: raw.set_trace_callback(seen.append))
    held = threading.Event()
    store._session.post(lambda: held.wait(10))  # everything is queued before the first batch is taken
    flow = flow_write()
    waiters = put_all(store, [flow, *(task_write(flow) for _ in range(511))])
    held.set()
    await asyncio.gather(*waiters)
    await _on_its_thread(store, lambda raw: raw.set_trace_callback(None))
    assert [text for text in seen if text in {"begin immediate", "commit"}] == ["begin immediate", "commit"] * 2


async def test_a_batch_wakes_a_loop_once(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[int] = []
    settle_all = writer._settle_all

    def counting(items: list[Any]) -> None:
        woken.append(len(items))
        settle_all(items)

    monkeypatch.setattr(writer, "_settle_all", counting)
    held = threading.Event()
    store._session.post(lambda: held.wait(10))
    waiters = put_all(store, [flow_write() for _ in range(100)])
    held.set()
    await asyncio.gather(*waiters)
    assert woken == [100]


async def test_two_loops_write_and_read_one_store(store: SQLiteStore) -> None:
    flow = flow_write()
    await commit(store, flow)

    async def elsewhere() -> int:
        assert await commit(store, *(task_write(flow) for _ in range(100))) == [None] * 100
        return sum((await store.count(RunFilter())).values())

    here = commit(store, *(task_write(flow) for _ in range(100)))
    errors, seen = await asyncio.gather(here, asyncio.to_thread(lambda: asyncio.run(elsewhere())))
    assert errors == [None] * 100
    assert seen >= 101
    assert sum((await store.count(RunFilter())).values()) == 201


async def test_a_closed_loop_does_not_keep_its_writes_from_being_done(store: SQLiteStore) -> None:
    held = threading.Event()
    store._session.post(lambda: held.wait(10))
    write = flow_write()

    async def leave() -> None:
        put_all(store, [write])

    await asyncio.to_thread(lambda: asyncio.run(leave()))
    held.set()
    await store.flush()
    assert write.done
    assert await store.run(write.row[0]) is not None


async def test_the_epoch_of_another_process_counts(opened: Opener) -> None:
    mine, theirs = await opened(), await opened()
    flow = flow_write(epoch=1)
    assert await commit(mine, flow) == [None]
    assert await commit(theirs, flow_write(flow.row[0], epoch=2)) == [None]
    [error] = await commit(mine, task_write(flow))
    assert isinstance(error, LeaseLost)
    assert flow.row[0] in str(error)


async def test_a_short_foreign_lock_is_waited_for(store: SQLiteStore, path: Path) -> None:
    other = await asyncio.to_thread(_locking, path)
    waiters = put_all(store, [flow_write()])
    done, _ = await asyncio.wait(waiters, timeout=0.4)
    assert not done
    other.execute("rollback")
    await asyncio.gather(*waiters)
    other.close()


async def test_a_long_foreign_lock_is_an_error_and_the_store_goes_on(opened: Opener, path: Path) -> None:
    store = await opened(busy_seconds=0.3)
    other = await asyncio.to_thread(_locking, path)
    store.put_lines([line("r", None, "lost")])
    errors = await commit(store, flow_write(), flow_write())
    assert [type(error) for error in errors] == [DatabaseBusy, DatabaseBusy]
    with pytest.raises(DatabaseBusy, match=str(path)):
        await store.clear_cache()
    other.execute("rollback")
    other.close()
    assert await commit(store, flow_write()) == [None]
    assert await store.count(RunFilter()) == {"RUNNING": 1}
    assert store.dropped_lines == 1


def _locking(path: Path) -> sqlite3.Connection:
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("begin immediate")
    return other


async def test_a_full_disk_is_said_in_words_and_the_store_goes_on(store: SQLiteStore) -> None:
    await _on_its_thread(store, lambda raw: raw.execute("pragma max_page_count = 1").fetchall())
    large = flow_write(data=b"x" * 10**6, codec="json", size=10**6)
    [error] = await commit(store, large)
    assert isinstance(error, DatabaseUnavailable)
    assert isinstance(error, OSError)
    assert "the disk is full" in str(error)
    await _on_its_thread(store, lambda raw: raw.execute("pragma max_page_count = 1000000").fetchall())
    assert await commit(store, flow_write()) == [None]
    assert await store.run(large.row[0]) is None


async def test_a_database_that_was_removed_is_noticed(store: SQLiteStore, path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))
    [error] = await commit(store, flow_write())
    assert isinstance(error, DatabaseUnavailable)
    assert "was removed or replaced" in str(error)


async def test_more_lines_than_may_wait_are_dropped_and_counted(store: SQLiteStore) -> None:
    held = threading.Event()
    store._session.post(lambda: held.wait(10))
    store.put_lines([line("r", None, str(number)) for number in range(9_999)])
    store.put_lines([line("r", None, "last"), line("r", None, "too many")])
    held.set()
    await store.flush()
    assert store.dropped_lines == 1
    assert [found.message for _, found in await store.lines("r", 5, after=9_999)] == ["last"]
    store.put_lines([line("r", None, "again there is room")])
    await store.flush()
    assert len(await store.lines("r", 20_000)) == 10_001


async def test_a_line_that_cannot_be_written_is_dropped_alone(store: SQLiteStore) -> None:
    flow = flow_write()
    store.put_lines([line("r", None, "fine"), line("r", None, "\ud800"), line("r", None, "fine too")])
    assert await commit(store, flow) == [None]
    assert [found.message for _, found in await store.lines("r", 5)] == ["fine", "fine too"]
    assert store.dropped_lines == 1


async def test_a_failing_call_undoes_itself_only(store: SQLiteStore) -> None:
    def failing(raw: sqlite3.Connection) -> None:
        raw.execute("delete from executor")
        raw.execute("insert into executor (id) values (null)")

    waiters = put_all(store, [flow_write()])
    with pytest.raises(StoreError, match="NOT NULL"):
        await store._write(failing)
    await asyncio.gather(*waiters)
    assert len(await store.executors()) == 1


async def test_what_is_queued_at_the_close_is_committed_and_what_comes_later_is_refused(opened: Opener) -> None:
    store = await opened()
    writes = [flow_write() for _ in range(50)]
    waiters = put_all(store, writes)
    await store.close()
    await store.close()
    await asyncio.gather(*waiters)
    [error] = await commit(store, flow_write())
    assert isinstance(error, DatabaseUnavailable)
    with pytest.raises(DatabaseUnavailable, match="closed"):
        await store.run("r")
    again = await opened()
    assert await again.count(RunFilter()) == {"RUNNING": 50}


async def test_a_store_that_is_not_open_refuses(path: Path) -> None:
    store = SQLiteStore(path, executor_id="me", clock=SystemClock())
    [error] = await commit(store, flow_write())
    assert isinstance(error, DatabaseUnavailable)
    assert not path.exists()


async def test_closing_now_needs_no_loop(opened: Opener, path: Path) -> None:
    store = await opened()
    await store.count(RunFilter())
    write = flow_write()
    store.put(write)
    await asyncio.to_thread(store.close_now)
    await asyncio.to_thread(store.close_now)
    assert write.done
    assert write.error is None
    assert not store._session.is_alive()
    assert sorted(found.name for found in path.parent.iterdir()) == ["runs.db", "runs.db.locks"]
