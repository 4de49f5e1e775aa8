"""Every line of the table: what is measured, against which floor, and how good it has to be."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

from . import floors, programs
from .measure import Figures, Line, Side, Size, Stopwatch, in_turns
from .million import cloned_file
from .programs import application, floor_one, floor_seconds

US = 1e6
SILENT = {"ASYNCFLOW_LOG_CONSOLE": "off"}
SPOKEN = {"ASYNCFLOW_LOG_CONSOLE": "on"}  # as a script has it by default: each task says how it ended, on stderr


async def fan_out(size: Size) -> Figures:
    n = size.tasks(10_000)

    async def ours() -> float:
        async with application():
            return await programs.fan_out_flow(n) / n * US

    async def floor() -> float:
        return await floor_seconds("fan_out", n) / n * US

    return await in_turns(ours, floor, size.times(7))


async def sequential(size: Size) -> Figures:
    n = size.tasks(1_000)

    async def ours() -> float:
        async with application():
            return await programs.sequential_flow(n) / n * US

    async def floor() -> float:
        return await floor_seconds("sequential", n) / n * US

    return await in_turns(ours, floor, size.times(15))


async def bounded_io(size: Size) -> Figures:
    n, limit = size.tasks(5_000), size.tasks(500)

    async def ours() -> float:
        async with application():
            return await programs.bounded_pauses_flow(n, limit)

    async def floor() -> float:
        with Stopwatch() as watch:
            await floors.bounded(programs.pause, n, limit)
        return watch.seconds

    return await in_turns(ours, floor, size.times(5))


async def io_at_once(size: Size) -> Figures:
    n = size.tasks(5_000)

    async def ours() -> float:
        async with application():
            return await programs.pauses_flow(n)

    async def floor() -> float:
        return await floor_seconds("fan_out", n, pauses=True)

    return await in_turns(ours, floor, size.times(7))


async def flow_call(size: Size) -> Figures:
    n = size.tasks(2_000)

    async def ours() -> float:
        async with application():
            return await _median_ms(programs.one_task_flow, n)

    async def floor() -> float:
        async with floor_one() as group:
            return await _median_ms(lambda i: group.run(programs.same, i), n)

    return await in_turns(ours, floor, size.times(5))


async def _median_ms(call: floors.Call, n: int) -> float:
    times = []
    for i in range(n):
        with Stopwatch() as watch:
            await call(i)
        times.append(watch.seconds * 1e3)
    return statistics.median(times)


async def in_flight(size: Size) -> Figures:
    n = size.tasks(100_000)

    async def ours() -> float:
        async with application():
            return await programs.in_flight_flow(n) / 1024

    async def floor() -> float:
        async with floor_one() as group:
            return await programs.in_flight_floor(group, n) / 1024

    return Figures([await ours()], [await floor()])


async def growth(size: Size) -> Figures:
    """Each figure is the cost of a task among the many over its cost among the few."""
    few, many = size.tasks(1_000), size.tasks(100_000)

    async def ours() -> float:
        return await _ours_each(many) / statistics.median([await _ours_each(few) for _ in range(5)])

    async def floor() -> float:
        return await _floor_each(many) / statistics.median([await _floor_each(few) for _ in range(5)])

    return await in_turns(ours, floor, size.times(3))


async def _ours_each(n: int) -> float:
    async with application():
        return await programs.fan_out_flow(n) / n * US


async def _floor_each(n: int) -> float:
    return await floor_seconds("fan_out", n) / n * US


async def full_file(size: Size) -> Figures:
    """Ours is a file that holds a million task runs; the floor is asyncflow too, on an empty file."""
    n = size.tasks(10_000)
    with tempfile.TemporaryDirectory(prefix="asyncflow-bench-") as folder:
        full = await cloned_file(Path(folder) / "full.db", runs=1_000, clones=size.tasks(1_000))

        def on(path: Path | None) -> Side:
            async def side() -> float:
                async with application(path):
                    return await programs.fan_out_flow(n) / n * US

            return side

        return await in_turns(on(full), on(None), size.times(7))


async def stream(size: Size) -> Figures:
    """Ours is the memory at the end, the floor the memory after a tenth of the items."""
    n, limit = size.tasks(1_000_000), size.tasks(1_000)
    async with application():
        early, late = await programs.stream_flow(n, limit, n // 10)
    return Figures([late], [early])


async def import_time(size: Size) -> Figures:
    async def ours() -> float:
        return await _process_ms("from asyncflow import flow, task")

    async def floor() -> float:
        return await _process_ms("import asyncio")

    nothing = statistics.median([await _process_ms("pass") for _ in range(size.times(9))])
    figures = await in_turns(ours, floor, size.times(15))
    return Figures([ms - nothing for ms in figures.ours], [ms - nothing for ms in figures.floor])


async def _process_ms(code: str) -> float:
    with Stopwatch() as watch:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
        assert await process.wait() == 0
    return watch.seconds * 1e3


LINES = (
    Line("fan-out", "10,000 tasks by gather, strict", "F1", "us/task", 3.0, fan_out, environment=SILENT),
    Line("fan-out-logged", "the same, console lines as by default", "F1", "us/task", None, fan_out, environment=SPOKEN),
    Line("sequential", "1,000 tasks one after another, strict", "F1", "us/task", 2.0, sequential, environment=SILENT),
    Line("bounded-io", "5,000 tasks of 50 ms, map(limit=500)", "F0", "s", 1.15, bounded_io, environment=SILENT),
    Line("io-at-once", "5,000 tasks of 50 ms, all at once", "F1", "s", 2.8, io_at_once, environment=SILENT),
    Line("flow-call", "a flow of one task, application open", "F1, the task", "ms", 0.5, flow_call, "ours", SILENT),
    Line("in-flight", "100,000 tasks in flight, each", "F1", "KiB", 6.0, in_flight, "ours", SILENT),
    Line("growth", "cost at 100,000 tasks / at 1,000", "F1", "times", 1.3, growth, environment=SILENT),
    Line(
        "full-file",
        "10,000 tasks, 1,000,000 runs in the file",
        "empty file",
        "us/task",
        1.2,
        full_file,
        environment=SILENT,
    ),
    Line("stream", "memory, 1,000,000 items, stream(limit=1000)", "at a tenth", "MiB", 1.1, stream, environment=SILENT),
    Line("import", "from asyncflow import flow, task", "asyncio", "ms", 120.0, import_time, "ours"),
)
