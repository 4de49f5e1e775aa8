"""Several applications in one process: each with its own runs, opened and closed anywhere, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from asyncflow import Application, flow, task
from asyncflow.core.runs import RunFilter
from asyncflow.engine.journal import Journal
from asyncflow.exceptions import ApplicationChoice

from .outside import until


@task
async def add(one: int, two: int) -> int:
    return one + two


@task
def times(one: int, two: int) -> int:
    return one * two


@flow
async def sums(number: int) -> int:
    return await add(number, await times.submit(number, 10))


@flow
def products(number: int) -> int:
    return times(number, add.submit(number, 1).result())


async def names(application: Application) -> list[str]:
    await application.store.flush()
    return sorted(run.spec_name for run in await application.store.runs(RunFilter(), 1000))


# -- two at once ------------------------------------------------------------------------------------------------------


async def test_two_applications_work_at_once_each_in_its_own_database(tmp_path: Path) -> None:
    left, right = Application(tmp_path / "left.db"), Application(tmp_path / "right.db")

    async def within(application: Application, body: Callable[[], Coroutine[Any, Any, int]]) -> int:
        async with application:
            both.release()
            await until(lambda: left.is_open and right.is_open)
            value = await body()
            seen[application] = await names(application)
            both.release()
            await until(lambda: len(seen) == 2)
            return value

    async def in_a_thread() -> int:
        return await asyncio.to_thread(products, 3)

    both = asyncio.Semaphore(0)
    seen: dict[Application, list[str]] = {}
    values = await asyncio.gather(within(left, lambda: sums(2)), within(right, in_a_thread))
    assert list(values) == [22, 12]
    assert seen == {left: ["add", "sums", "times"], right: ["add", "products", "times"]}


async def test_where_nothing_says_which_is_meant_nothing_runs(tmp_path: Path) -> None:
    one, two = Application(tmp_path / "one.db"), Application(tmp_path / "two.db")
    await one.start()
    await two.start()
    with pytest.raises(ApplicationChoice, match="2 applications are open"):
        await sums(1)
    await one.stop()
    assert await sums(1) == 11
    assert await names(two) == ["add", "sums", "times"]
    await two.stop()


# -- opened here, closed there ----------------------------------------------------------------------------------------


async def test_it_may_be_left_from_another_task_than_it_was_entered_from(tmp_path: Path) -> None:
    application = Application(tmp_path / "one.db")
    await asyncio.create_task(application.__aenter__())
    assert await sums(1) == 11
    await asyncio.create_task(application.__aexit__(None, None, None))
    assert not application.is_open


async def test_tasks_may_enter_one_application_crosswise(tmp_path: Path) -> None:
    application = Application(tmp_path / "one.db")
    entered = asyncio.Event()

    async def first() -> None:
        async with application:
            await entered.wait()

    async def second() -> None:
        async with application:
            entered.set()
            await until(lambda: not application.is_open)

    await asyncio.gather(first(), second())
    assert not application.is_open


async def test_stop_awaits_what_was_submitted_on_other_loops_also_when_asked_twice(tmp_path: Path) -> None:
    gate = asyncio.Event()
    began: list[int] = []

    @task
    async def elsewhere(number: int) -> int:
        began.append(number)
        while not gate.is_set():
            await asyncio.sleep(0.002)
        return number

    application = Application(tmp_path / "one.db")
    await application.start()
    futures = await asyncio.to_thread(lambda: [elsewhere.submit(number) for number in range(3)])
    futures.append(elsewhere.submit(3))
    await until(lambda: len(began) == 4)
    stopping = [asyncio.create_task(application.stop()) for _ in range(2)]
    await asyncio.sleep(0.02)
    assert not any(one.done() for one in stopping)
    assert application.is_open
    gate.set()
    await asyncio.gather(*stopping)
    assert [await future for future in futures] == [0, 1, 2, 3]


async def test_stop_does_not_wait_for_a_loop_that_was_closed_under_its_task(tmp_path: Path) -> None:
    began = threading.Event()

    @task
    async def forgotten() -> None:
        began.set()
        await asyncio.Event().wait()

    def on_a_loop_of_its_own() -> None:
        async def submit() -> None:
            forgotten.submit()
            await asyncio.sleep(0.01)

        loop = asyncio.new_event_loop()
        loop.run_until_complete(submit())
        left.extend(asyncio.all_tasks(loop))
        loop.close()

    left: list[asyncio.Task[Any]] = []
    application = Application(tmp_path / "one.db")
    await application.start()
    await asyncio.to_thread(on_a_loop_of_its_own)
    assert began.is_set()
    await application.stop()
    for one in left:
        one._log_destroy_pending = False  # type: ignore[attr-defined]  # it was destroyed on purpose
    assert not application.is_open


async def test_a_stop_that_is_cancelled_closes_everything_first(tmp_path: Path) -> None:
    application = Application(tmp_path / "one.db", log_console="on")
    await application.start()
    await sums(1)
    stopping = asyncio.create_task(application.stop())
    await until(lambda: not application.is_open)
    stopping.cancel("hurry")
    with pytest.raises(asyncio.CancelledError, match="hurry"):
        await stopping
    assert not application.store._session.is_alive()  # type: ignore[attr-defined]
    assert not application.engine.pool._threads
    assert application.console is not None
    assert application.console._closed  # type: ignore[attr-defined]


# -- nothing left behind ----------------------------------------------------------------------------------------------


async def test_fifty_times_open_and_closed_leaves_no_thread_file_or_task(tmp_path: Path) -> None:
    async def once(number: int) -> None:
        async with Application(tmp_path / f"{number % 3}.db"):
            assert await sums(number) == number * 11
            assert await asyncio.to_thread(products, number) == number * (number + 1)

    await once(0)
    tasks, threads, files = asyncio.all_tasks(), set(threading.enumerate()), len(os.listdir("/proc/self/fd"))
    for number in range(50):
        await once(number)
    assert asyncio.all_tasks() == tasks
    await until(lambda: _ours(threads) == [])
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= files + 2
    assert not list(tmp_path.glob("*.locks/*"))


def _ours(known: set[threading.Thread]) -> list[str]:
    return [one.name for one in threading.enumerate() if one not in known and not one.name.startswith("asyncio_")]


async def test_a_long_lived_application_keeps_nothing_of_runs_that_have_ended(tmp_path: Path) -> None:
    """Neither of those that failed with nobody looking, nor of equal calls at once, which are warned of once."""

    @task
    async def bad(number: int) -> None:
        raise ValueError(number)

    @task
    async def pausing(number: int) -> int:
        await asyncio.sleep(0)
        return number

    @flow
    async def twins(number: int) -> None:
        async def one() -> int:
            return await pausing(number)

        await asyncio.gather(one(), one())

    async with Application(tmp_path / "one.db") as application:
        engine = application.engine
        for number in range(20):
            future = bad.submit(number)
            await until(future.done)
            await twins(number)
        await until(lambda: not engine.children.live)
        assert engine.children.failed == []
        assert len(engine.warned) == 1
        assert not engine.caching._flights
        assert not engine.slots._leases


def test_a_loop_that_was_closed_is_found_by_two_threads_at_once() -> None:
    """The runs that wait on it for their turn are queued by one of them, and the other does not stumble."""
    journal: Any = Journal.__new__(Journal)
    closed, seen = asyncio.new_event_loop(), []
    closed.close()

    class Late:
        def flush(self) -> None:
            seen.append(1)
            other = threading.Thread(target=journal._flush_closed_loops)
            other.start()
            other.join()

    journal._late = {closed: Late()}
    journal._flush_closed_loops()
    assert seen == [1]
    assert journal._late == {}
