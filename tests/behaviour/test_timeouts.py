"""Timeouts: each attempt has its time; async bodies are cancelled, threads are left behind and keep their place."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asyncflow import Application, current_run, flow, task
from asyncflow.engine.crossing import Pool
from asyncflow.exceptions import CancelledRun, FlowRunTimeout, InvalidOption, TaskRunTimeout
from asyncflow.ports import LimitRecord

from ..colours import Body, Colour
from .outside import Stored, holding, until

Kind = Callable[..., Callable[..., Any]]
SHORT = 0.03


def test_a_task_that_takes_too_long_is_failed_and_named_timed_out(colour: Colour, home: Path) -> None:
    gate = threading.Event()

    @task(timeout_seconds=SHORT)
    @colour.body
    def slow() -> Body[None]:
        while not gate.is_set():
            yield colour.sleep(0.002)

    state = colour.run(slow, return_state=True)
    gate.set()
    assert (state.type, state.name) == ("FAILED", "TimedOut")
    assert isinstance(state.error(), TaskRunTimeout)
    assert isinstance(state.error(), TimeoutError)
    assert "exceeded timeout of 0.03 second(s)" in state.message
    assert Stored(home).run("slow")["state_name"] == "TimedOut"


def test_a_flow_that_takes_too_long_raises(colour: Colour, home: Path) -> None:
    gate = threading.Event()

    @flow(timeout_seconds=SHORT)
    @colour.body
    def slow() -> Body[None]:
        while not gate.is_set():
            yield colour.sleep(0.002)

    with pytest.raises(FlowRunTimeout, match="exceeded timeout"):
        colour.run(slow)
    gate.set()
    assert Stored(home).states("slow") == ["TimedOut"]


def test_what_is_fast_enough_is_not_touched(colour: Colour) -> None:
    @task(timeout_seconds=60)
    @colour.body
    def quick() -> Body[str]:
        yield colour.sleep(0.001)
        return threading.current_thread().name

    assert isinstance(colour.run(quick), str)


@pytest.mark.parametrize("kind", [flow, task])
def test_a_timeout_error_of_the_bodys_own_is_a_plain_failure(colour: Colour, kind: Kind) -> None:
    error = TimeoutError("mine")

    @kind(timeout_seconds=60)
    @colour.body
    def body() -> None:
        raise error

    state = colour.run(body, return_state=True)
    assert state.name == "Failed"
    assert state.error() is error


def test_each_attempt_has_its_own_time(colour: Colour, home: Path) -> None:
    gate = threading.Event()

    @task(name="slow", timeout_seconds=0.15, retries=2)
    @colour.body
    def slow() -> Body[int]:
        attempt = current_run().attempt
        while attempt < 3 and not gate.is_set():
            yield colour.sleep(0.002)
        return attempt

    assert colour.run(slow) == 3
    gate.set()
    assert Stored(home).history("slow")[-1] == ("Completed", 3)


@pytest.mark.parametrize("seconds", [0, -1, True, "1", float("inf"), float("nan")])
@pytest.mark.parametrize("kind", [flow, task])
def test_a_timeout_is_a_number_above_zero(kind: Kind, seconds: Any) -> None:
    with pytest.raises(InvalidOption, match="timeout_seconds"):

        @kind(timeout_seconds=seconds)
        def body() -> None: ...


# -- async bodies -----------------------------------------------------------------------------------------------


async def test_an_async_body_is_cancelled_and_cleans_up() -> None:
    steps: list[str] = []

    @task(timeout_seconds=SHORT)
    async def body() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            steps.append("cancelled")
            raise
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    with pytest.raises(TaskRunTimeout):
        await body()
    assert steps == ["cancelled", "cleaned up"]


async def test_a_body_that_swallows_the_cancellation_gives_its_value() -> None:
    @task(timeout_seconds=SHORT)
    async def stubborn() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "anyway"

    assert await stubborn() == "anyway"
    task_now = asyncio.current_task()
    assert task_now is not None
    assert task_now.cancelling() == 0


async def test_an_error_while_being_cancelled_is_the_failure() -> None:
    @task(timeout_seconds=SHORT)
    async def body() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("in cleanup")

    state = await body(return_state=True)
    assert state.name == "Failed"
    assert repr(state.error()) == "ValueError('in cleanup')"


async def test_the_inner_timeout_is_the_inner_tasks() -> None:
    @task(timeout_seconds=SHORT)
    async def inner() -> None:
        await asyncio.Event().wait()

    @task(timeout_seconds=60)
    async def outer() -> str:
        try:
            await inner()
        except TaskRunTimeout as error:
            return str(error)
        return "not reached"

    assert "'inner' exceeded timeout" in await outer()


async def test_the_outer_timeout_ends_the_inner_task_too(home: Path) -> None:
    @task(timeout_seconds=60)
    async def inner() -> None:
        await asyncio.Event().wait()

    @task(timeout_seconds=SHORT)
    async def outer() -> None:
        await inner()

    state = await outer(return_state=True)
    assert state.name == "TimedOut"
    assert Stored(home).states("inner") == ["Cancelled"]


async def test_a_users_own_timeout_inside_is_left_alone() -> None:
    @task(timeout_seconds=60)
    async def body() -> str:
        try:
            async with asyncio.timeout(0.002):
                await asyncio.Event().wait()
        except TimeoutError:
            return "caught mine"
        return "not reached"

    assert await body() == "caught mine"


async def test_cancelling_the_caller_is_no_timeout(home: Path) -> None:
    began = asyncio.Event()

    @task(timeout_seconds=60)
    async def body() -> None:
        began.set()
        await asyncio.Event().wait()

    calling = asyncio.create_task(body())
    await began.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert Stored(home).states("body") == ["Cancelled"]


def test_a_flows_timeout_cancels_its_children(colour: Colour, home: Path) -> None:
    gate = threading.Event()
    hold = holding(colour, gate)

    @flow(timeout_seconds=0.1)
    @colour.body
    def pipeline() -> Body[Any]:
        future = hold.submit()
        return (yield colour.result(future))

    state = colour.run(pipeline, return_state=True)
    gate.set()
    assert state.name == "TimedOut"
    assert Stored(home).states("hold") == ["Cancelled"]


def test_leftovers_count_against_the_flows_time(colour: Colour, home: Path) -> None:
    gate = threading.Event()
    hold = holding(colour, gate)

    @flow(timeout_seconds=0.1)
    @colour.body
    def pipeline() -> None:
        hold.submit()

    state = colour.run(pipeline, return_state=True)
    gate.set()
    assert state.name == "TimedOut"
    assert Stored(home).states("hold") == ["Cancelled"]


# -- threads ----------------------------------------------------------------------------------------------------


async def test_a_thread_is_left_behind_in_time_and_keeps_its_place() -> None:
    gate, ended = threading.Event(), threading.Event()

    @task(timeout_seconds=0.2, limits=["machine"])
    def slow() -> None:
        gate.wait(30)
        ended.set()

    @task(limits=["machine"])
    def next_one() -> bool:
        return ended.is_set()

    @flow
    async def pipeline() -> Any:
        state = await asyncio.to_thread(slow, return_state=True)
        assert state.name == "TimedOut"
        assert not ended.is_set()
        assert application.engine.pool.abandoned == 1
        assert len(await application.store.holdings("machine")) == 1
        waiting = next_one.submit()
        while waiting.state.name != "AwaitingConcurrencySlot":
            await asyncio.sleep(0.002)
        gate.set()
        return await waiting

    async with Application(database=":memory:") as application:
        await application.store.set_limit(LimitRecord("machine", 1))
        assert await pipeline() is True
        await until(lambda: application.engine.pool.abandoned == 0)
        await application.store.flush()
        assert await application.store.holdings("machine") == []


async def test_an_abandoned_threads_place_is_not_given_to_another() -> None:
    gate = threading.Event()

    @task(timeout_seconds=0.2)
    def slow() -> None:
        gate.wait(30)

    @task
    def quick() -> bool:
        return gate.is_set()

    @flow
    async def pipeline() -> bool:
        stuck = slow.submit()
        with pytest.raises(TaskRunTimeout):
            await stuck
        behind = quick.submit()
        assert not (await asyncio.wait([asyncio.ensure_future(_of(behind))], timeout=0.02))[0]
        gate.set()
        return await behind

    async with Application(database=":memory:", max_threads=1):
        assert await pipeline() is True


async def _of(future: Any) -> Any:
    return await future


async def test_what_an_abandoned_thread_comes_to_is_dropped(home: Path) -> None:
    gate, over = threading.Event(), threading.Event()

    @task(timeout_seconds=SHORT)
    def slow() -> str:
        gate.wait(30)
        over.set()
        return "too late"

    @flow
    async def pipeline() -> str:
        state = await asyncio.to_thread(slow, return_state=True)
        gate.set()
        await asyncio.to_thread(over.wait, 30)
        await asyncio.sleep(0.01)
        return str(state.name)

    assert await pipeline() == "TimedOut"
    assert Stored(home).history("slow")[-1][0] == "TimedOut"


async def test_a_thread_cancelled_by_its_future_is_left_behind() -> None:
    gate = threading.Event()
    hold = holding(Colour("sync"), gate)

    @flow
    async def pipeline() -> None:
        future = hold.submit()
        while not future.state.is_running():
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        future.cancel("enough")
        with pytest.raises(CancelledRun, match="enough"):
            await future
        assert application.engine.pool.abandoned == 1
        gate.set()

    async with Application(database=":memory:") as application:
        await pipeline()
        await until(lambda: application.engine.pool.abandoned == 0)


def test_a_sync_body_with_a_timeout_sees_its_context(colour: Colour) -> None:
    @task(timeout_seconds=60)
    def body() -> tuple[str, bool]:
        return current_run().name, threading.current_thread() is threading.main_thread()

    @flow
    def pipeline() -> tuple[str, bool]:
        time.sleep(0)
        return body()

    assert pipeline() == ("body", False)


async def test_a_timeout_that_comes_while_children_are_cleaned_up_cancels_nobody(home: Path) -> None:
    """The body has failed already: its own error counts, and no cancellation is made of the timeout."""
    cleaning, cleaned = asyncio.Event(), asyncio.Event()

    @task
    async def slow_to_leave() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await asyncio.sleep(0.1)
            cleaned.set()

    @task(timeout_seconds=0.05)
    async def owner() -> None:
        slow_to_leave.submit()
        await asyncio.sleep(0)
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await owner()
    assert cleaned.is_set()
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0
    assert Stored(home).states("owner") == ["Failed"]


async def test_a_real_cancellation_meanwhile_goes_on_all_the_same(home: Path) -> None:
    cleaning = asyncio.Event()

    @task
    async def slow_to_leave() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await asyncio.sleep(0.1)

    @task(timeout_seconds=0.05)
    async def owner() -> None:
        slow_to_leave.submit()
        await asyncio.sleep(0)
        raise ValueError("mine")

    calling = asyncio.create_task(owner())
    await cleaning.wait()
    calling.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await calling
    assert Stored(home).states("owner") == ["Failed"]


async def test_a_process_out_of_threads_fails_the_run_and_loses_neither_slot_nor_place(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies: list[int] = []

    @task(timeout_seconds=30, limits=["api"])
    def step(number: int) -> int:
        bodies.append(number)
        return number

    async with Application(max_threads=1) as application:
        await application.store.set_limit(LimitRecord("api", 1))
        pool = Pool(1)
        monkeypatch.setattr(application.engine._bodies, "_pool", pool)
        with monkeypatch.context() as broken:
            broken.setattr(threading.Thread, "start", _no_more_threads)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await step.submit(1)
        assert await step.submit(2) == 2
        assert bodies == [2]
        await asyncio.to_thread(pool.close)
    assert Stored(home).states("step") == ["Failed", "Completed"]


def _no_more_threads(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
