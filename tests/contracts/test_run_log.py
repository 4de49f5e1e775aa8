"""What every store promises to the journal."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from asyncflow.core.runs import RUN_COLUMNS, RunFilter, RunWrite
from asyncflow.exceptions import LeaseLost, StoreError
from asyncflow.ports import Store

from .makers import commit, ended, flow_write, line, new_id, put_all, run_write, task_write


async def test_a_committed_run_is_read_back_as_it_was_written(store: Store) -> None:
    flow = flow_write()
    values = {
        **ended(), "state_message": "fine", "started_at": 1_500, "tags": '["a", "b"]', "parameters": '{"x": 1}',
        "depends_on": '["r1"]', "source_digest": "s", "key": "k", "codec": "json", "data": b"[1]", "size": 3,
        "preview": "[1]",
    }  # fmt: skip
    write = task_write(flow, **values)
    assert await commit(store, flow, write) == [None, None]
    found = await store.run(write.row[0])
    assert found is not None
    assert found.tags == ("a", "b")
    assert found.depends_on == ("r1",)
    expected = dict(zip(RUN_COLUMNS, write.row, strict=True)) | {"tags": ("a", "b"), "depends_on": ("r1",)}
    assert {name: getattr(found, name) for name in RUN_COLUMNS} == expected


async def test_a_later_write_changes_what_may_change_and_nothing_else(store: Store) -> None:
    flow = flow_write()
    first = task_write(flow, key="k", created_at=1_000)
    await commit(store, flow, first)
    id = first.row[0]
    later = ended("FAILED", name="renamed", attempt=3, tags='["t"]', error="{}", executor_id="other")
    lasting = {"key": "other", "created_at": 9, "kind": "flow", "parent_id": None, "flow_run_id": None}
    await commit(store, task_write(flow, id, **later, **lasting))
    found = await store.run(id)
    assert found is not None
    assert (found.state_type, found.name, found.attempt, found.tags) == ("FAILED", "renamed", 3, ("t",))
    assert (found.error, found.executor_id, found.ended_at) == ("{}", "other", 2_000)
    assert (found.key, found.created_at, found.kind) == ("k", 1_000, "task")
    assert (found.parent_id, found.flow_run_id) == (flow.row[0], flow.row[0])


async def test_many_writes_of_one_run_keep_the_last_row_and_every_move(store: Store) -> None:
    flow = flow_write()
    id = new_id()
    writes = [task_write(flow, id, attempt=attempt, name=f"load-{attempt}") for attempt in range(600)]
    await commit(store, flow, *writes)
    found = await store.run(id)
    assert found is not None
    assert found.name == "load-599"
    assert [move.attempt for move in await store.transitions(id)] == list(range(600))


async def test_writes_are_committed_in_the_order_in_which_they_were_put(store: Store) -> None:
    flow = flow_write()
    writes = [task_write(flow) for _ in range(500)]
    put_all(store, [flow, *writes])
    await store.flush()
    assert [move.run_id for move in await store.changes(0, 1000)] == [flow.row[0], *(write.row[0] for write in writes)]


async def test_a_lower_epoch_is_refused_and_the_others_are_written(store: Store) -> None:
    taken, own = flow_write(epoch=2), flow_write(epoch=1)
    await commit(store, taken)
    stale = task_write(taken, epoch=1)
    fine = task_write(taken)
    errors = await commit(store, own, stale, fine, flow_write(taken.row[0], epoch=1, name="stale"))
    assert [type(error) for error in errors] == [type(None), LeaseLost, type(None), LeaseLost]
    assert await store.run(stale.row[0]) is None
    assert await store.transitions(stale.row[0]) == []
    root = await store.run(taken.row[0])
    assert root is not None
    assert (root.name, root.epoch) == (taken.row[2], 2)
    assert await store.run(fine.row[0]) is not None


async def test_a_takeover_within_one_batch_refuses_what_comes_after_it(store: Store) -> None:
    flow = flow_write(epoch=1)
    before, after = task_write(flow), task_write(flow)
    errors = await commit(store, flow, before, flow_write(flow.row[0], epoch=2), after)
    assert [type(error) for error in errors] == [type(None), type(None), type(None), LeaseLost]


@pytest.mark.parametrize("bad", [{"attempt": 2**70}, {"name": "\ud800"}, {"name": None}, {"tags": object()}])
async def test_a_row_that_cannot_be_written_fails_alone_and_is_named(store: Store, bad: dict[str, Any]) -> None:
    flow = flow_write()
    writes = [task_write(flow) for _ in range(20)]
    wrong = task_write(flow, **bad)
    errors = await commit(store, flow, *writes[:10], wrong, *writes[10:])
    failed = [error for error in errors if error is not None]
    assert len(failed) == 1
    assert isinstance(errors[11], StoreError)
    assert wrong.row[0] in str(errors[11])
    assert sum((await store.count(RunFilter())).values()) == 21
    assert await store.transitions(wrong.row[0]) == []


async def test_lines_that_were_put_first_are_committed_first(store: Store) -> None:
    flow = flow_write()
    store.put_lines([line(flow.row[0], flow.row[0], "hello")])
    await commit(store, flow)
    assert [found.message for _, found in await store.lines(flow.row[0], 10)] == ["hello"]


async def test_a_write_for_which_nobody_waits_is_marked_done(store: Store) -> None:
    write = flow_write()
    store.put(write)
    await store.flush()
    assert write.done
    assert write.error is None


async def test_put_from_many_threads_loses_nothing(store: Store) -> None:
    flows = [flow_write() for _ in range(400)]

    def put(part: list[RunWrite]) -> None:
        for write in part:
            store.put(write)

    threads = [threading.Thread(target=put, args=(flows[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        await asyncio.sleep(0.001)
    await store.flush()
    assert all(write.done and write.error is None for write in flows)
    assert await store.count(RunFilter()) == {"RUNNING": 400}


async def test_a_waiter_that_was_cancelled_does_not_harm_the_others(store: Store) -> None:
    flow = flow_write()
    waiters = put_all(store, [flow, *(task_write(flow) for _ in range(3))])
    waiters[1].cancel()
    await asyncio.gather(waiters[0], *waiters[2:])
    await store.flush()
    assert sum((await store.count(RunFilter())).values()) == 4


async def test_runs_of_a_root_that_is_not_stored_are_written(store: Store) -> None:
    write = run_write(new_id(), root_id=new_id())
    assert await commit(store, write) == [None]
