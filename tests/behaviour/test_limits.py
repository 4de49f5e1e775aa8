"""Limits: never more at once than there are slots, and every slot comes back whatever happens."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from asyncflow import Application, flow, tags, task
from asyncflow.concurrency.asyncio import concurrency
from asyncflow.concurrency.sync import concurrency as sync_concurrency
from asyncflow.exceptions import BlockingCall, InvalidOption, LimitDeadlock, LimitTimeout, UnknownLimit
from asyncflow.ports import LimitRecord

from ..colours import Body, Colour
from .outside import Stored, beside, holding, limited, until


class Crowd:
    """How many were inside at once, at most."""

    def __init__(self) -> None:
        self.now = self.most = self.visits = 0
        self._lock = threading.Lock()

    @contextmanager
    def inside(self) -> Iterator[None]:
        with self._lock:
            self.now += 1
            self.visits += 1
            self.most = max(self.most, self.now)
        try:
            yield
        finally:
            with self._lock:
                self.now -= 1


def held(home: Path) -> list[Any]:
    return Stored(home).rows("select limit_name, occupy from holding order by id")


def nothing_is_held(home: Path) -> bool:
    @flow
    def flush() -> None: ...

    flush()  # its commit comes behind every return of slots
    return held(home) == []


# -- @task(limits=...) and tags ---------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"limits": ["api"]}, {"tags": ["api"]}], ids=["limits", "tags"])
def test_no_more_tasks_at_once_than_slots(colour: Colour, home: Path, options: dict[str, Any]) -> None:
    limited(home, **({"api": 2} if "limits" in options else {"tag__api": 2}))
    crowd = Crowd()

    @task(name="work", **options)
    @colour.body
    def work(number: int) -> Body[int]:
        with crowd.inside():
            yield colour.sleep(0.005)
        return number

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        return (yield colour.result(work.map(range(6))))

    assert colour.run(pipeline) == list(range(6))
    assert (crowd.visits, crowd.most) == (6, 2)
    assert nothing_is_held(home)


def test_tags_of_a_block_act_as_limits_too(colour: Colour, home: Path) -> None:
    limited(home, tag__db=1)
    crowd = Crowd()

    @task
    @colour.body
    def work() -> Body[None]:
        with crowd.inside():
            yield colour.sleep(0.003)

    @flow
    @colour.body
    def pipeline() -> Body[None]:
        with tags("db"):
            futures = [work.submit() for _ in range(3)]
        for future in futures:
            yield colour.result(future)

    colour.run(pipeline)
    assert (crowd.visits, crowd.most) == (3, 1)


def test_who_waits_says_so(colour: Colour, home: Path) -> None:
    limited(home, api=1)
    gate = threading.Event()
    hold = holding(colour, gate).with_options(limits=["api"])

    @flow
    @colour.body
    def pipeline() -> Body[str]:
        first = hold.submit(1)
        while not first.state.is_running():
            yield colour.sleep(0.001)
        second = hold.submit(2)
        while second.state.name != "AwaitingConcurrencySlot":
            yield colour.sleep(0.001)
        message = second.state.message
        gate.set()
        yield colour.result(first)
        yield colour.result(second)
        return str(message)

    assert "1 of 1 slot of limit 'api'" in colour.run(pipeline)
    assert "AwaitingConcurrencySlot" in [state for state, _ in Stored(home).history("hold-1")]


@pytest.mark.parametrize("end", ["failure", "cancel", "timeout"])
def test_a_slot_comes_back_however_a_task_ends(colour: Colour, home: Path, end: str) -> None:
    limited(home, api=1)
    gate = threading.Event()

    @task(limits=["api"], timeout_seconds=0.05 if end == "timeout" else None)
    @colour.body
    def work() -> Body[None]:
        if end == "failure":
            raise ValueError("no")
        while not gate.is_set():
            yield colour.sleep(0.002)

    @task(limits=["api"])
    @colour.body
    def after() -> str:
        return "got it"

    @flow
    @colour.body
    def pipeline() -> Body[str]:
        future = work.submit()
        if end == "cancel":
            while not future.state.is_running():
                yield colour.sleep(0.001)
            future.cancel()
        while not future.done():
            yield colour.sleep(0.002)
        future.look()
        gate.set()
        return (yield after())  # type: ignore[no-any-return]

    assert colour.run(pipeline) == "got it"
    assert nothing_is_held(home)


def test_a_cancelled_waiter_leaves_the_line(colour: Colour, home: Path) -> None:
    limited(home, api=1)
    gate = threading.Event()
    hold = holding(colour, gate).with_options(limits=["api"])

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        first = hold.submit(1)
        while not first.state.is_running():
            yield colour.sleep(0.001)
        second, third = hold.submit(2), hold.submit(3)
        while third.state.name != "AwaitingConcurrencySlot":
            yield colour.sleep(0.001)
        second.cancel("gave up")
        gate.set()
        return (yield colour.result(first)), (yield colour.result(third)), second.state.name

    assert colour.run(pipeline) == (1, 3, "Cancelled")
    assert nothing_is_held(home)


def test_the_delay_before_a_retry_holds_no_slot(colour: Colour, home: Path) -> None:
    limited(home, api=1)
    order: list[str] = []
    other_ran = threading.Event()

    @task(limits=["api"], retries=50, retry_delay_seconds=0.01)
    @colour.body
    def flaky() -> None:
        order.append("try")
        if not other_ran.is_set():
            raise ValueError("once more")

    @task(limits=["api"])
    @colour.body
    def other() -> None:
        order.append("other")
        other_ran.set()

    @flow
    @colour.body
    def pipeline() -> Body[None]:
        first = flaky.submit()
        while first.state.name != "AwaitingRetry":
            yield colour.sleep(0.001)
        yield other()
        yield colour.result(first)

    colour.run(pipeline)
    assert order[0] == order[-1] == "try"
    assert "other" in order[1:-1]


# -- concurrency() ----------------------------------------------------------------------------------------------


def test_a_block_holds_its_slots(colour: Colour, home: Path) -> None:
    limited(home, api=2, db=1)
    crowds = {"api": Crowd(), "db": Crowd()}

    @contextmanager
    def nested(names: list[str]) -> Iterator[None]:
        with ExitStack() as stack:
            for name in names:
                stack.enter_context(crowds[name].inside())
            yield

    @task
    async def work_async(names: list[str]) -> None:
        async with concurrency(names):
            with nested(names):
                await asyncio.sleep(0.003)

    @task
    def work_sync(names: list[str]) -> None:
        with sync_concurrency(names), nested(names):
            threading.Event().wait(0.003)

    work = work_async if colour.is_async else work_sync

    @flow
    @colour.body
    def pipeline() -> Body[None]:
        futures = [work.submit(names) for names in (["api"], ["api", "db"], ["db", "api"], ["api"], ["db"])]
        for future in futures:
            yield colour.result(future)

    colour.run(pipeline)
    assert {name: (crowd.visits, crowd.most) for name, crowd in crowds.items()} == {"api": (4, 2), "db": (3, 1)}
    assert nothing_is_held(home)


async def test_all_are_taken_or_none() -> None:
    gate = asyncio.Event()

    @task(limits=["db"])
    async def holder() -> None:
        await gate.wait()

    @task(limits=["api", "db"])
    async def both() -> str:
        return "both"

    @flow
    async def pipeline() -> Any:
        first = holder.submit()
        await until(lambda: first.state.name == "Running")
        second = both.submit()
        await until(lambda: second.state.name == "AwaitingConcurrencySlot")
        names = [holding.limit for holding in await application.store.holdings()]
        gate.set()
        await first
        return names, await second

    async with Application(database=":memory:") as application:
        for name in ("api", "db"):
            await application.store.set_limit(LimitRecord(name, 1))
        assert await pipeline() == (["db"], "both")
        await application.store.flush()
        assert await application.store.holdings() == []


def test_a_wait_for_slots_ends_in_time(colour: Colour, home: Path) -> None:
    limited(home, api=1)
    gate, inside = threading.Event(), threading.Event()

    @task
    @colour.body
    def holder() -> Body[None]:
        inside.set()
        while not gate.is_set():
            yield colour.sleep(0.002)

    @task
    async def asks_async() -> None:
        async with concurrency("api", timeout_seconds=0.02):
            raise AssertionError("not reached")

    @task
    def asks_sync() -> None:
        with sync_concurrency("api", timeout_seconds=0.02):
            raise AssertionError("not reached")

    asks = asks_async if colour.is_async else asks_sync

    @flow
    @colour.body
    def pipeline() -> Body[None]:
        first = holder.with_options(limits=["api"]).submit()
        while not inside.is_set():
            yield colour.sleep(0.001)
        with pytest.raises(LimitTimeout, match="1 of 1 slot of limit 'api'"):
            yield asks()
        gate.set()
        yield colour.result(first)

    colour.run(pipeline)
    assert issubclass(LimitTimeout, TimeoutError)
    assert nothing_is_held(home)
    assert Stored(home).states("asks_async" if colour.is_async else "asks_sync") == ["Failed"]


def test_names_without_a_limit_hold_nobody_back_unless_strict(colour: Colour) -> None:
    @task
    async def asks_async(strict: bool) -> str:
        async with concurrency("nowhere", strict=strict):
            return "in"

    @task
    def asks_sync(strict: bool) -> str:
        with sync_concurrency("nowhere", strict=strict):
            return "in"

    asks = asks_async if colour.is_async else asks_sync
    assert colour.run(asks, False) == "in"
    with pytest.raises(UnknownLimit, match="nowhere"):
        colour.run(asks, True)


def test_waiting_for_ones_own_ancestor_is_refused(colour: Colour, home: Path) -> None:
    limited(home, api=1)

    @task(limits=["api"])
    @colour.body
    def inner() -> None: ...

    @task(limits=["api"])
    @colour.body
    def outer() -> Body[None]:
        yield inner()

    with pytest.raises(LimitDeadlock, match="held by task run 'outer'"):
        colour.run(outer)
    assert sorted(Stored(home).states("inner") + Stored(home).states("outer")) == ["Failed", "Failed"]
    assert nothing_is_held(home)


def test_waiting_for_ones_own_block_is_refused(colour: Colour, home: Path) -> None:
    limited(home, api=1)

    @task(limits=["api"])
    @colour.body
    def inner() -> None: ...

    @flow
    async def outer_async() -> None:
        async with concurrency("api"):
            await inner()

    @flow
    def outer_sync() -> None:
        with sync_concurrency("api"):
            inner()

    with pytest.raises(LimitDeadlock, match="cannot go on before this does"):
        colour.run(outer_async if colour.is_async else outer_sync)
    assert nothing_is_held(home)


@pytest.mark.blocks_loop
def test_a_plain_with_on_a_loop_that_holds_the_slot_is_refused(home: Path) -> None:
    limited(home, api=1)

    async def main() -> None:
        inside = asyncio.Event()

        async def holder() -> None:
            async with concurrency("api"):
                inside.set()
                await asyncio.Event().wait()

        holding_it = asyncio.create_task(holder())
        await inside.wait()
        with pytest.raises(BlockingCall, match="await"), sync_concurrency("api"):
            pass
        holding_it.cancel()
        await asyncio.gather(holding_it, return_exceptions=True)

    asyncio.run(main())


def test_more_slots_than_there_are_is_bad_input(colour: Colour, home: Path) -> None:
    limited(home, api=2)

    @task
    async def asks_async() -> None:
        async with concurrency("api", occupy=3):
            pass

    @task
    def asks_sync() -> None:
        with sync_concurrency("api", occupy=3):
            pass

    with pytest.raises(InvalidOption, match="occupy is 3"):
        colour.run(asks_async if colour.is_async else asks_sync)


@pytest.mark.parametrize("limits", [[5], [""], 5])
def test_limits_are_names(limits: Any) -> None:
    with pytest.raises(InvalidOption, match="limits"):
        task(name="x", limits=limits)(lambda: None)


# -- several loops, several processes ---------------------------------------------------------------------------


def test_two_loops_of_one_process_share_a_limit(home: Path) -> None:
    limited(home, api=1)
    crowd = Crowd()

    @task(limits=["api"])
    async def work() -> None:
        with crowd.inside():
            await asyncio.sleep(0.002)

    @flow
    async def pipeline() -> None:
        for future in [work.submit() for _ in range(4)]:
            await future

    threads = [threading.Thread(target=lambda: asyncio.run(pipeline())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (crowd.visits, crowd.most) == (8, 1)
    assert nothing_is_held(home)


def test_a_release_wakes_the_next_in_another_loop(home: Path) -> None:
    limited(home, api=1)
    order: list[str] = []
    inside, waiting = threading.Event(), threading.Event()

    async def first() -> None:
        async with concurrency("api"):
            inside.set()
            await asyncio.to_thread(waiting.wait)
            await asyncio.sleep(0.02)
            order.append("first leaves")

    async def second() -> None:
        await asyncio.to_thread(inside.wait)
        waiting.set()
        async with concurrency("api"):
            order.append("second is in")

    threads = [threading.Thread(target=lambda body=body: asyncio.run(body())) for body in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order == ["first leaves", "second is in"]


PROCESS = """
import asyncio, sys, time
from asyncflow import flow, task

@task(limits=["api"])
async def work(number: int) -> list:
    began = time.monotonic_ns()
    await asyncio.sleep(0.02)
    return [began, time.monotonic_ns()]

@flow
async def pipeline() -> list:
    return [await future for future in [work.submit(number) for number in range(5)]]

print("ready", flush=True)
sys.stdin.readline()
print(asyncio.run(pipeline()), flush=True)
"""


def test_two_processes_share_a_limit(home: Path) -> None:
    limited(home, api=1)
    processes = [beside(home, PROCESS) for _ in range(2)]
    spans: list[list[int]] = []
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        spans += eval(process.communicate(timeout=40)[0])
    spans.sort()
    assert len(spans) == 10
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans))
    assert held(home) == []
