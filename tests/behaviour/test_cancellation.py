"""Cancellation: it reaches everything below, says why, ends every run once, and never undoes what is decided."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncflow import Application, branch, current_run, flow, gather, get_run_logger, task
from asyncflow.cache_policies import INPUTS
from asyncflow.concurrency.asyncio import concurrency
from asyncflow.exceptions import CancelledRun, NotStored
from asyncflow.states import TERMINAL

from ..colours import Body, Colour
from ..engine.waits import CancelledAt
from .outside import Stored, holding, limited, program, until


async def cancelled(calling: asyncio.Task[Any], reason: str | None = None) -> None:
    calling.cancel(reason)
    with pytest.raises(asyncio.CancelledError):
        await calling


def endings(home: Path) -> dict[str, tuple[str, str | None]]:
    """The final state and message of each run by its name; every run has ended exactly once."""
    stored = Stored(home)
    terminal = ", ".join(repr(kind.value) for kind in TERMINAL)
    left = stored.rows(f"select name, state_name from run where state_type not in ({terminal})")
    assert left == []
    sql = f"select run_id, count(*) from transition where state_type in ({terminal}) group by run_id"
    assert [count for _, count in stored.rows(sql) if count != 1] == []
    runs = stored.rows("select name, state_name, state_message from run")
    assert len(stored.rows(sql)) == len(runs)
    return {name: (state, message) for name, state, message in runs}


# -- the caller is cancelled ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [None, "the client went away"])
async def test_the_reason_is_stored_and_the_cancellation_goes_on(home: Path, reason: str | None) -> None:
    began = asyncio.Event()

    @flow(flow_run_name="mine")
    async def pipeline() -> None:
        began.set()
        await asyncio.Event().wait()

    calling = asyncio.create_task(pipeline())
    await began.wait()
    await cancelled(calling, reason)
    assert calling.cancelled()
    assert endings(home) == {"mine": ("Cancelled", reason or "cancelled by its caller")}


async def test_return_state_does_not_swallow_it(home: Path) -> None:
    began = asyncio.Event()

    @task
    async def step() -> None:
        began.set()
        await asyncio.Event().wait()

    calling = asyncio.create_task(step(return_state=True))
    await began.wait()
    await cancelled(calling)
    assert endings(home)["step"][0] == "Cancelled"


async def test_everything_below_is_cancelled_and_cleaned_up(home: Path) -> None:
    cleaned: list[str] = []
    began: list[str] = []

    async def rest(name: str) -> None:
        began.append(name)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.001)
            cleaned.append(name)

    @task
    async def awaited() -> None:
        await rest("awaited")

    @task
    async def submitted() -> None:
        nested.submit()
        await rest("submitted")

    @task
    async def nested() -> None:
        await rest("nested")

    @flow(flow_run_name="sub")
    async def sub() -> None:
        await awaited()

    @flow(flow_run_name="top")
    async def top() -> None:
        submitted.submit()
        await sub()

    calling = asyncio.create_task(top())
    await until(lambda: len(began) == 3)
    await cancelled(calling, "shutdown")
    assert sorted(cleaned) == ["awaited", "nested", "submitted"]
    ends = endings(home)
    assert {state for state, _ in ends.values()} == {"Cancelled"}
    assert ends["top"] == ("Cancelled", "shutdown")
    assert ends["submitted"] == ("Cancelled", "its owner was cancelled")


async def test_retries_are_not_for_the_cancelled(home: Path) -> None:
    attempts: list[int] = []

    @task(retries=5)
    async def step() -> None:
        attempts.append(current_run().attempt)
        await asyncio.Event().wait()

    calling = asyncio.create_task(step())
    await until(lambda: attempts)
    await cancelled(calling)
    assert attempts == [1]
    assert endings(home)["step"][0] == "Cancelled"


async def test_cancelled_while_it_waits_for_its_retry(home: Path) -> None:
    failed = asyncio.Event()

    @task(retries=5, retry_delay_seconds=60)
    async def step() -> None:
        failed.set()
        raise ValueError("no")

    calling = asyncio.create_task(step())
    await failed.wait()
    await asyncio.sleep(0.01)
    await cancelled(calling)
    assert endings(home)["step"][0] == "Cancelled"


async def test_a_thread_that_is_waited_for_is_left_behind(home: Path) -> None:
    gate = threading.Event()
    hold = holding(Colour("sync"), gate)

    @flow(flow_run_name="top")
    async def top() -> None:
        futures.append(hold.submit())
        await futures[0]

    futures: list[Any] = []
    calling = asyncio.create_task(top())
    await until(lambda: futures and futures[0].state.is_running())
    await cancelled(calling)
    gate.set()
    assert {state for state, _ in endings(home).values()} == {"Cancelled"}


async def test_a_body_that_swallows_it_goes_on(home: Path) -> None:
    began = asyncio.Event()

    @task
    async def stubborn() -> str:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "stayed"
        return "not reached"

    calling = asyncio.create_task(stubborn())
    await began.wait()
    calling.cancel()
    assert await calling == "stayed"
    assert endings(home)["stubborn"][0] == "Completed"


async def test_a_body_that_raises_cancelled_itself_is_cancelled(home: Path) -> None:
    @flow(flow_run_name="top")
    async def top() -> None:
        raise asyncio.CancelledError("of my own")

    calling = asyncio.create_task(top())
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert endings(home) == {"top": ("Cancelled", "of my own")}


async def test_wait_for_cancels_in_time(home: Path) -> None:
    @flow(flow_run_name="top")
    async def top() -> None:
        await asyncio.Event().wait()

    async with Application():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(top(), 0.2)
    assert endings(home)["top"][0] == "Cancelled"


async def test_a_task_group_cancels_the_others(home: Path) -> None:
    @task(name="fails")
    async def fails() -> None:
        raise ValueError("no")

    @task(name="waits")
    async def waits() -> None:
        await asyncio.Event().wait()

    @flow(flow_run_name="top")
    async def top() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(waits())
            await asyncio.sleep(0.005)
            group.create_task(fails())

    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        await top()
    states = {name: state for name, (state, _) in endings(home).items()}
    assert states == {"top": "Failed", "fails": "Failed", "waits": "Cancelled"}


INTERRUPTED = """
import os, signal, threading
from asyncflow import flow, task

gate = threading.Event()

@task
def in_a_thread():
    gate.wait(20)

@task
async def on_a_loop():
    import asyncio
    await asyncio.sleep(20)

@flow
def script():
    in_a_thread.submit()
    future = on_a_loop.submit()
    while not future.state.is_running():
        pass
    os.kill(os.getpid(), signal.SIGINT)
    future.result()

try:
    script()
except KeyboardInterrupt:
    gate.set()
    print("interrupted")

@flow
def another():
    return "goes on"

print(another())
"""


def test_a_script_that_is_interrupted_ends_everything_and_can_go_on(home: Path) -> None:
    assert program(home, INTERRUPTED).splitlines() == ["interrupted", "goes on"]
    sql = "select spec_name, state_name, state_message from run order by spec_name"
    assert Stored(home).rows(sql) == [
        ("another", "Completed", None),
        ("in_a_thread", "Cancelled", "its owner was interrupted"),
        ("on_a_loop", "Cancelled", "its owner was interrupted"),
        ("script", "Cancelled", "interrupted by KeyboardInterrupt"),
    ]


# -- a future is cancelled ----------------------------------------------------------------------------------------


def test_cancelling_a_future_reaches_what_is_below(colour: Colour, home: Path) -> None:
    gate = threading.Event()
    hold = holding(colour, gate)

    @flow(flow_run_name="sub")
    @colour.body
    def sub() -> Body[None]:
        below.append(hold.submit())
        yield colour.result(below[0])

    @flow(flow_run_name="top")
    @colour.body
    def top() -> Body[str]:
        future = sub.submit()
        while not (below and below[0].state.is_running()):
            yield colour.sleep(0.001)
        future.cancel("not wanted")
        if not colour.is_async:
            gate.set()
        with pytest.raises(CancelledRun, match="not wanted"):
            yield colour.result(future)
        return "went on"

    below: list[Any] = []
    assert colour.run(top) == "went on"
    gate.set()
    ends = endings(home)
    assert ends["sub"] == ("Cancelled", "not wanted")
    assert ends["top"] == ("Completed", None)
    assert ends["hold"][0] in {"Cancelled", "Completed"}


# -- while the outcome is committed -------------------------------------------------------------------------------


async def test_what_is_decided_stays_completed_and_the_cancellation_comes_after(home: Path) -> None:
    over = asyncio.Event()
    hooked: list[str] = []

    @task(name="step", on_completion=lambda task, run, state: hooked.append(state.name))
    async def step() -> int:
        over.set()
        return 1

    async with Application():
        await step.with_options(name="warm", on_completion=None)()
        lock = sqlite3.connect(home / "asyncflow.db", isolation_level=None)
        lock.execute("begin immediate")
        over.clear()
        calling = asyncio.create_task(step())
        await over.wait()
        await asyncio.sleep(0.02)
        for _ in range(3):  # asked again and again: the answer is the same
            calling.cancel()
            await asyncio.sleep(0.005)
        assert not calling.done()
        assert hooked == []
        lock.execute("rollback")
        lock.close()
        with pytest.raises(asyncio.CancelledError):
            await calling
    assert hooked == ["Completed"]
    assert endings(home)["step"] == ("Completed", None)


async def test_a_scope_of_anyio_knows_its_own_cancellation_when_it_comes_after_the_commit(home: Path) -> None:
    """It is raised as it came: a scope would let another one pass, and end its host."""
    over = asyncio.Event()

    @task
    async def step() -> int:
        over.set()
        return 1

    async with Application():
        await step()
        lock = sqlite3.connect(home / "asyncflow.db", isolation_level=None)
        lock.execute("begin immediate")
        over.clear()

        async def cancel() -> None:
            await over.wait()
            await asyncio.sleep(0.01)
            scope.cancel()
            await asyncio.sleep(0.01)
            lock.execute("rollback")

        cancelling = asyncio.create_task(cancel())
        with anyio.CancelScope() as scope:
            await step()
        await cancelling
        lock.close()
    assert scope.cancelled_caught
    assert Stored(home).states("step") == ["Completed", "Completed"]


async def test_a_cancellation_is_raised_with_its_own_words_after_the_commit(home: Path) -> None:
    over = asyncio.Event()

    @task
    async def step() -> int:
        over.set()
        return 1

    async with Application():
        await step()
        lock = sqlite3.connect(home / "asyncflow.db", isolation_level=None)
        lock.execute("begin immediate")
        over.clear()
        calling = asyncio.create_task(step())
        await over.wait()
        await asyncio.sleep(0.01)
        calling.cancel("the client went away")
        await asyncio.sleep(0.01)
        lock.execute("rollback")
        lock.close()
        with pytest.raises(asyncio.CancelledError, match="the client went away"):
            await calling


async def test_a_commit_that_takes_too_long_is_said_to_be_not_stored(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    over = asyncio.Event()

    @task
    async def step() -> int:
        over.set()
        return 1

    async with Application(commit_seconds=0.05, log_console="on"):
        await step()
        lock = sqlite3.connect(home / "asyncflow.db", isolation_level=None)
        lock.execute("begin immediate")
        over.clear()
        calling = asyncio.create_task(step())
        await over.wait()
        await asyncio.sleep(0.02)
        calling.cancel()
        with pytest.raises(NotStored, match="its row may still land"):
            await calling
        lock.execute("rollback")
        lock.close()
    assert Stored(home).states("step") == ["Completed", "Completed"]  # it did land
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[0].endswith("Task run 'step' - Finished in state Completed()")
    assert "NotStored" in said[1]
    assert not said[1].startswith("00:00:00.000")


async def test_the_timeout_does_not_count_the_commit(home: Path) -> None:
    over = asyncio.Event()

    @task(timeout_seconds=0.05)
    async def step() -> int:
        over.set()
        return 1

    async with Application():
        await step()
        lock = sqlite3.connect(home / "asyncflow.db", isolation_level=None)
        lock.execute("begin immediate")
        over.clear()
        calling = asyncio.create_task(step())
        await over.wait()
        await asyncio.sleep(0.1)
        lock.execute("rollback")
        lock.close()
        assert await calling == 1


# -- anywhere -----------------------------------------------------------------------------------------------------


def representative() -> Any:
    """A flow with something of everything in it."""

    @task
    async def quick(number: int) -> int:
        return number

    @task(retries=1, retry_delay_seconds=0.0005, limits=["api"])
    async def flaky(number: int) -> int:
        get_run_logger().info("trying")
        await asyncio.sleep(0)
        if current_run().attempt == 1:
            raise ValueError("once")
        return number

    @task(cache_policy=INPUTS, timeout_seconds=30)
    async def cached(number: int) -> int:
        await asyncio.sleep(0)
        return number

    @task
    def threaded(number: int) -> int:
        return number

    @flow
    async def sub(number: int) -> int:
        futures = quick.map([number, number + 1])
        return sum(await futures)

    @flow
    async def pipeline(step: int) -> Any:
        total: Any = await quick(1)
        first, second = flaky.submit(2), threaded.submit(3)
        async with concurrency("api"):
            total += sum(await gather(cached(step), sub(4), sub.submit(5)))
        total += await flaky(6) + await cached(-step) + await sub(7)
        with branch("last"):
            total += await quick(first)  # type: ignore[call-overload]
        return total + await second

    return pipeline


async def cancelled_at(step: int, pipeline: Any) -> bool:
    """Cancel a run of the flow at its `step`-th suspension; whether it came so far."""
    at = CancelledAt(pipeline(step), step)

    async def attempt() -> Any:
        return await at

    calling = asyncio.create_task(attempt())
    await asyncio.wait([calling])
    assert calling.cancelled() is at.reached
    if not at.reached:
        assert calling.result() > 0
    return at.reached


async def test_cancelled_at_every_suspension_every_run_ends_once(home: Path) -> None:
    await asyncio.to_thread(limited, home, api=1)
    pipeline = representative()
    async with Application() as application:
        step = 1
        while await cancelled_at(step, pipeline):
            step += 1
        await application.store.flush()
        assert await application.store.holdings() == []
        assert application.engine.children.live == set()
    assert step > 20
    endings(home)
    assert Stored(home).rows("select count(*) from flight") == [(0,)]
