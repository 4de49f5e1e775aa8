"""Runs, lines and holdings for tests of stores."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from asyncflow.core.ids import IdMaker
from asyncflow.core.runs import RUN_COLUMNS, LogLine, RunWrite, StoredValue
from asyncflow.ports import CacheEntry, Executor, Holding, Store

new_id = IdMaker()

ROW: dict[str, Any] = {
    "kind": "task", "name": "load-1", "spec_name": "load", "spec_key": "etl:load", "epoch": 1, "executor_id": "me",
    "state_type": "RUNNING", "state_name": "Running", "attempt": 1, "created_at": 1_000,
}  # fmt: skip


def flow_write(id: str | None = None, **changes: Any) -> RunWrite:
    """A write of an outermost flow run."""
    id = id or new_id()
    return run_write(id, **{"kind": "flow", "root_id": id, "flow_run_id": None, "parent_id": None, **changes})


def task_write(flow: RunWrite, id: str | None = None, **changes: Any) -> RunWrite:
    """A write of a task run directly in that flow run."""
    parent = flow.row[0]
    own = {"root_id": flow.root_id, "flow_run_id": parent, "parent_id": parent, "epoch": flow.epoch}
    return run_write(id or new_id(), **{**own, **changes})


def run_write(id: str, **changes: Any) -> RunWrite:
    """A write of any run; its one move is into the state of its row."""
    values = {**ROW, "id": id, "root_id": id, **changes}
    move = (id, values["created_at"], values["state_type"], values["state_name"], None, values["attempt"])
    return RunWrite(tuple(values.get(name) for name in RUN_COLUMNS), [move], values["root_id"], values["epoch"])


def ended(state: str = "COMPLETED", **changes: Any) -> dict[str, Any]:
    """What a run's row has when it has ended."""
    return {"state_type": state, "state_name": state.title(), "ended_at": 2_000, **changes}


def put_all(store: Store, writes: Iterable[RunWrite]) -> list[asyncio.Future[None]]:
    """Put writes as the engine does; returns what to await for each."""
    loop = asyncio.get_running_loop()
    waiters = []
    for write in writes:
        write.loop, write.waiter = loop, loop.create_future()
        waiters.append(write.waiter)
        store.put(write)
    return waiters


async def commit(store: Store, *writes: RunWrite) -> list[BaseException | None]:
    """Put writes and wait for all; returns the error of each."""
    waiters = put_all(store, writes)
    return await asyncio.gather(*waiters, return_exceptions=True)


def line(run_id: str, flow_run_id: str | None, message: str, level: int = 20) -> LogLine:
    """A log line."""
    return LogLine(run_id, flow_run_id, 1_000, level, "asyncflow.runs", message, None)


def holding(limit: str, token: str, occupy: int = 1, executor_id: str = "me") -> Holding:
    """Slots in somebody's hands."""
    return Holding(limit, occupy, token, executor_id, None, 1_000)


def executor(id: str, **changes: Any) -> Executor:
    """An executor, on another machine unless told otherwise."""
    return Executor(
        **{"id": id, "host": "elsewhere", "boot_id": "b", "pid": 7, "started_at": 5, "lock_inode": 9, **changes}
    )


def entry(
    key: str, run_id: str = "r", task_name: str = "load", data: bytes = b"1", until: int | None = None
) -> CacheEntry:
    """A cached result."""
    return CacheEntry(key, run_id, task_name, StoredValue("json", data, None, len(data), "1"), 10, until)
