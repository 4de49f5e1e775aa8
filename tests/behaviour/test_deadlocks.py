"""Shapes in which waiting could go round in a circle: each ends with an answer or an error, and none hangs."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from asyncflow import Application, flow, gather, task, wait
from asyncflow.cache_policies import INPUTS
from asyncflow.concurrency.asyncio import concurrency
from asyncflow.concurrency.sync import concurrency as sync_concurrency
from asyncflow.exceptions import BlockingCall, CacheRecursion, DependencyCycle, LimitDeadlock, LimitTimeout
from asyncflow.ports import LimitRecord

from ..colours import Body, Colour
from .outside import Stored, limited, program

pytestmark = [pytest.mark.timeout(20), pytest.mark.blocks_loop]


# -- pools ------------------------------------------------------------------------------------------------------


def test_more_waiting_tasks_than_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCFLOW_MAX_THREADS", "4")

    @task
    def inner(number: int) -> int:
        return number

    @task
    def outer(number: int) -> int:
        return inner.submit(number).result() + inner(0)

    @flow
    def pipeline() -> list[int]:
        return [future.result() for future in [outer.submit(number) for number in range(40)]]

    assert pipeline() == list(range(40))


@pytest.mark.parametrize("threads", ["1", "4"])
def test_nested_waiting_five_deep(monkeypatch: pytest.MonkeyPatch, threads: str) -> None:
    monkeypatch.setenv("ASYNCFLOW_MAX_THREADS", threads)

    @task
    def nested(depth: int) -> int:
        if depth == 0:
            return 1
        futures = [nested.submit(depth - 1) for _ in range(2)]
        wait(futures[:1])
        return sum(gather(*futures))

    @flow
    def pipeline() -> list[int]:
        return nested.map([5, 5]).result()

    assert pipeline() == [32, 32]


async def test_waiting_threads_in_an_async_flow() -> None:
    @task
    async def inner(number: int) -> int:
        await asyncio.sleep(0)
        return number

    @task
    def outer(number: int) -> int:
        return inner.submit(number).result()

    @flow
    async def pipeline() -> list[int]:
        return await outer.map(range(20))

    async with Application(database=":memory:", max_threads=2):
        assert await pipeline() == list(range(20))


def test_a_sync_task_inside_an_async_task_of_a_sync_flow() -> None:
    @task
    def innermost(number: int) -> int:
        return number + 1

    @task
    async def middle(number: int) -> int:
        return innermost(number) + 1

    @flow
    def pipeline() -> int:
        return middle.submit(1).result()

    assert pipeline() == 3


def test_sync_and_async_five_deep() -> None:
    @task
    def plain(depth: int) -> int:
        return 0 if depth == 0 else 1 + coloured.submit(depth - 1).result()

    @task
    async def coloured(depth: int) -> int:
        return 0 if depth == 0 else 1 + plain(depth - 1)

    @flow
    def pipeline() -> int:
        return plain(1)

    assert pipeline() == 1


# -- a call that blocks the loop which it needs -------------------------------------------------------------------


@task
async def later(gate: asyncio.Event | None = None) -> int:
    await asyncio.sleep(0.01)
    return 1


async def test_a_sync_flow_on_a_loop_waits_for_a_future_of_that_loop() -> None:
    @flow
    def inner(ask: str) -> Any:
        if ask == "result":
            return kept[0].result()
        if ask == "wait":
            return wait(kept)
        return gather(*kept)

    @flow
    async def outer() -> Any:
        kept.append(later.submit())
        for ask in ("result", "wait", "gather"):
            with pytest.raises(BlockingCall, match="await"):
                inner(ask)
        return await kept[0]

    kept: list[Any] = []
    assert await outer() == 1


async def test_a_sync_flow_on_a_loop_is_given_a_future_of_that_loop() -> None:
    @flow
    def inner(number: int) -> int:
        return number

    @flow
    def behind() -> int:
        return 1

    @flow
    async def outer() -> Any:
        future = later.submit()
        with pytest.raises(BlockingCall):
            inner(future)  # type: ignore[call-overload]
        with pytest.raises(BlockingCall):
            behind(wait_for=[future])
        await future
        return inner(future) + behind(wait_for=[future])  # type: ignore[call-overload]

    assert await outer() == 2


async def test_an_async_task_under_a_blocking_call_waits_for_the_blocked_loop() -> None:
    @task
    async def nested() -> Any:
        return await kept[0]

    @flow
    def inner() -> Any:
        return nested.submit().result()

    @flow
    async def outer() -> Any:
        kept.append(later.submit())
        with pytest.raises(BlockingCall):
            inner()
        return await kept[0]

    kept: list[Any] = []
    assert await outer() == 1


async def test_a_sync_task_on_a_loop_waits_for_a_slot_of_that_loop() -> None:
    @task(limits=["api"])
    def needs() -> str:
        return "got it"

    @task
    def asks() -> str:
        with sync_concurrency("api"):
            return "got it"

    @flow
    async def outer() -> tuple[str, str]:
        inside, leave = asyncio.Event(), asyncio.Event()

        async def holder() -> None:
            async with concurrency("api"):
                inside.set()
                await leave.wait()

        holding_it = asyncio.create_task(holder())
        await inside.wait()
        for ask in (needs, asks):
            with pytest.raises(BlockingCall, match="await"):
                ask()
        leave.set()
        await holding_it
        return needs(), asks()

    async with Application(database=":memory:") as application:
        await application.store.set_limit(LimitRecord("api", 1))
        assert await outer() == ("got it", "got it")


async def test_a_sync_task_on_a_loop_waits_for_a_flight_of_that_loop() -> None:
    gate = asyncio.Event()

    @task(cache_key_fn=lambda *_: "one")
    async def flying() -> str:
        await gate.wait()
        return "landed"

    @task(cache_key_fn=lambda *_: "one")
    def needs() -> str:
        return "computed"

    @flow
    async def outer() -> str:
        first = flying.submit()
        while not first.state.is_running():
            await asyncio.sleep(0.001)
        with pytest.raises(BlockingCall, match="'one'"):
            needs()
        gate.set()
        await first
        return needs()

    async with Application(database=":memory:"):
        assert await outer() == "landed"


# -- circles ----------------------------------------------------------------------------------------------------


def test_a_task_waits_for_itself(colour: Colour) -> None:
    kept: list[Any] = []
    ready = threading.Event()

    @task
    @colour.body
    def own() -> Body[Any]:
        while not ready.is_set():
            yield colour.sleep(0.001)
        return (yield colour.result(kept[0]))

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        kept.append(own.submit())
        ready.set()
        return (yield colour.result(kept[0]))

    with pytest.raises(DependencyCycle, match="'own'"):
        colour.run(pipeline)


def test_a_task_waits_for_its_ancestor(colour: Colour) -> None:
    kept: list[Any] = []
    ready = threading.Event()

    @task
    @colour.body
    def child(ask: str) -> Body[Any]:
        if ask == "wait":
            return (yield wait(kept))
        return (yield colour.result(kept[0]))

    @flow
    @colour.body
    def middle() -> Body[None]:
        while not ready.is_set():
            yield colour.sleep(0.001)
        for ask in ("result", "wait"):
            with pytest.raises(DependencyCycle, match="inside which"):
                yield child(ask)
        with pytest.raises(DependencyCycle):
            yield child("result", wait_for=[kept[0]])
        with pytest.raises(DependencyCycle):
            child.submit(kept[0])

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        kept.append(middle.submit())
        ready.set()
        return (yield colour.result(kept[0]))

    assert colour.run(pipeline) is None


def test_two_flows_wait_for_each_others_limit(home: Path) -> None:
    limited(home, left=1, right=1)
    both = threading.Barrier(2)

    @flow
    def takes(first: str, second: str) -> str:
        with sync_concurrency(first):
            both.wait(10)
            with sync_concurrency(second, timeout_seconds=0.1):
                return "both"

    ends: list[Any] = []

    def run(first: str, second: str) -> None:
        try:
            ends.append(takes(first, second))
        except LimitTimeout as error:
            ends.append(error)

    threads = [threading.Thread(target=run, args=names) for names in (("left", "right"), ("right", "left"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ends) == 2
    assert any(isinstance(end, LimitTimeout) for end in ends)

    @flow
    def flush() -> None: ...

    flush()  # its commit comes behind every return of slots
    assert Stored(home).rows("select limit_name from holding") == []


def test_an_ancestors_slot_through_three_levels(colour: Colour, home: Path) -> None:
    limited(home, api=1)

    @task(limits=["api"])
    @colour.body
    def lowest() -> None: ...

    @flow
    @colour.body
    def middle() -> Body[Any]:
        future = lowest.submit()
        return (yield colour.result(future))

    @task(limits=["api"])
    @colour.body
    def top() -> Body[Any]:
        return (yield middle())

    with pytest.raises(LimitDeadlock):
        colour.run(top)


async def test_a_cached_task_may_call_another_key() -> None:
    @task(cache_policy=INPUTS)
    async def factorial(number: int) -> int:
        return number * await factorial(number - 1) if number else 1

    async with Application(database=":memory:"):
        assert await factorial(6) == 720


def test_two_cached_tasks_wait_for_each_other(colour: Colour) -> None:
    begun: list[str] = []

    @colour.body
    def meet(name: str) -> Body[None]:
        begun.append(name)
        while len(begun) < 2:
            yield colour.sleep(0.001)

    @task(name="left", cache_key_fn=lambda *_: "left")
    @colour.body
    def left(first: bool) -> Body[Any]:
        yield meet("left")
        return (yield right(False)) if first else "left"

    @task(name="right", cache_key_fn=lambda *_: "right")
    @colour.body
    def right(first: bool) -> Body[Any]:
        yield meet("right")
        return (yield left(False)) if first else "right"

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        futures = [left.submit(True), right.submit(True)]
        yield wait(futures)
        return [future.result(raise_on_failure=False) for future in futures]

    ends = colour.run(pipeline)
    failed = [end for end in ends if isinstance(end, CacheRecursion)]
    assert len(failed) in {1, 2}
    assert "whose computation waits for cache key" in str(failed[0])


# -- the process itself -----------------------------------------------------------------------------------------

HOUSE = """
import asyncio, threading
from asyncflow import flow, task

@task
def leaf(number):
    return number

@task
async def on_the_loop(number):
    return leaf(number) + await leaf.submit(number) if number % 2 else leaf(number) * 2

@flow
def inner(number):
    return on_the_loop.submit(number).result()

@flow
def outer():
    return sum(inner.submit(number).result() for number in range(10)) + sum(inner(number) for number in range(10))

results = []
threads = [threading.Thread(target=lambda: results.append(outer())) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(results)

async def on_a_loop():
    return outer()

print(asyncio.run(on_a_loop()))
"""


def test_flows_in_threads_on_loops_in_flows_end_with_their_process(home: Path) -> None:
    assert program(home, HOUSE, seconds=18).splitlines() == ["[180, 180, 180, 180]", "180"]
