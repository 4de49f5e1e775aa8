"""The programs that are measured, each as asyncflow and as a floor: setting up and ending are not timed."""

from __future__ import annotations

import asyncio
import tempfile
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from asyncflow import Application, flow, task

from . import floors
from .floors import GroupCommit
from .measure import Stopwatch

PAUSE = 0.05


async def same(number: int) -> int:
    """The body of a task that does nothing."""
    return number


async def pause(number: int) -> int:
    """The body of a task that waits for something outside for 50 ms."""
    await asyncio.sleep(PAUSE)
    return number


@task
async def same_task(number: int) -> int:
    return number


@task
async def pause_task(number: int) -> int:
    await asyncio.sleep(PAUSE)
    return number


@flow
async def sequential_flow(n: int) -> float:
    with Stopwatch() as watch:
        for i in range(n):
            await same_task(i)
    return watch.seconds


@flow
async def fan_out_flow(n: int) -> float:
    with Stopwatch() as watch:
        await asyncio.gather(*[same_task(i) for i in range(n)])
    return watch.seconds


@flow
async def pauses_flow(n: int) -> float:
    with Stopwatch() as watch:
        await asyncio.gather(*[pause_task(i) for i in range(n)])
    return watch.seconds


@flow
async def bounded_pauses_flow(n: int, limit: int) -> float:
    with Stopwatch() as watch:
        await pause_task.map(range(n), limit=limit)
    return watch.seconds


@flow
async def one_task_flow(number: int) -> int:
    return await same_task(number)


class Crowd:
    """Tasks that all wait until every one of them does; then `each` is the bytes that one of them takes."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.waiting = 0
        self.complete = asyncio.Event()
        self.gate = asyncio.Event()
        tracemalloc.start()
        self._before = tracemalloc.get_traced_memory()[0]

    async def hold(self) -> None:
        self.waiting += 1
        if self.waiting == self.n:
            self.complete.set()
        await self.gate.wait()

    async def each(self) -> float:
        await self.complete.wait()
        each = (tracemalloc.get_traced_memory()[0] - self._before) / self.n
        tracemalloc.stop()
        self.gate.set()
        return each


_crowds: list[Crowd] = []


async def hold(_: int) -> None:
    """The body of a task that waits with all others."""
    await _crowds[-1].hold()


@task
async def hold_task(_: int) -> None:
    await _crowds[-1].hold()


@flow
async def in_flight_flow(n: int) -> float:
    """Bytes that each of `n` tasks takes while all are waiting."""
    _crowds.append(Crowd(n))
    futures = [hold_task.submit(i) for i in range(n)]
    each = await _crowds[-1].each()
    for future in futures:
        await future
    return each


async def in_flight_floor(group: GroupCommit, n: int) -> float:
    """As `in_flight_flow`, of the floor F1."""
    _crowds.append(Crowd(n))
    tasks = [asyncio.create_task(group.run(hold, i)) for i in range(n)]
    each = await _crowds[-1].each()
    await asyncio.gather(*tasks)
    return each


@flow
async def stream_flow(n: int, limit: int, early: int) -> tuple[float, float]:
    """Resident MiB after `early` of `n` items and at the end."""
    seen, first = 0, 0.0
    async for _ in same_task.stream(range(n), limit=limit):
        seen += 1
        if seen == early:
            first = resident()
    return first, resident()


def resident() -> float:
    """MiB of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


@asynccontextmanager
async def application(path: Path | None = None) -> AsyncIterator[Any]:
    """An open application on a database of its own, or on the file given."""
    with tempfile.TemporaryDirectory(prefix="asyncflow-bench-") as folder:
        async with Application(database=str(path or Path(folder) / "bench.db")) as opened:
            await one_task_flow(0)
            yield opened


@asynccontextmanager
async def floor_one() -> AsyncIterator[GroupCommit]:
    """The open floor F1 on a database of its own."""
    with tempfile.TemporaryDirectory(prefix="asyncflow-bench-") as folder:
        async with GroupCommit(Path(folder) / "floor.db") as group:
            await group.run(same, 0)
            yield group


async def floor_seconds(shape: str, n: int, *, pauses: bool = False) -> float:
    """Seconds that F1 takes for `n` tasks, "sequential" or "fan_out"."""
    body = pause if pauses else same
    async with floor_one() as group:
        with Stopwatch() as watch:
            await getattr(floors, shape)(lambda i: group.run(body, i), n)
    return watch.seconds
