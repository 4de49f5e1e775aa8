"""Flows inside flows: child runs with ids of their own, which inherit what they should and fail as they should."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from asyncflow import current_run, flow, gather, tags, task
from asyncflow.exceptions import CancelledRun, ParameterBindError, ParameterTypeError, UpstreamTaskError

from ..colours import Body, Colour
from .remembered import log_of, run_of, runs, stored_runs


def test_a_subflow_is_a_run_of_its_own_below_its_caller(colour: Colour) -> None:
    @flow
    @colour.body
    def inner(x: int) -> Any:
        return current_run().id, x

    @flow
    @colour.body
    def outer() -> Body[Any]:
        value = yield inner("2")
        return (current_run().id, *value)

    outer_id, inner_id, x = colour.run(outer)
    assert (inner_id != outer_id, x) == (True, 2)
    parent, child = run_of("outer"), run_of("inner")
    assert (parent.id, child.id) == (outer_id, inner_id)
    assert (parent.parent_id, parent.root_id, parent.key) == (None, outer_id, None)
    assert (child.kind, child.parent_id, child.flow_run_id, child.root_id) == ("flow", outer_id, outer_id, outer_id)
    assert child.key is not None


def test_a_subflows_tasks_belong_to_it(colour: Colour) -> None:
    @task
    @colour.body
    def step() -> Any:
        return current_run().flow_run_id

    @flow
    @colour.body
    def inner() -> Body[Any]:
        return (yield step())

    @flow
    @colour.body
    def outer() -> Body[Any]:
        return [(yield step()), (yield inner())]

    assert colour.run(outer) == [run_of("outer").id, run_of("inner").id]
    names = {(run.flow_run_id, run.name) for run in runs(kind="task")}
    assert names == {(run_of("outer").id, "step"), (run_of("inner").id, "step")}  # each flow run counts for itself


def test_three_deep(colour: Colour) -> None:
    @task
    @colour.body
    def leaf(x: int) -> int:
        return x + 1

    @flow
    @colour.body
    def third(x: int) -> Body[Any]:
        return (yield leaf(x)) * 10

    @flow
    @colour.body
    def second(x: int) -> Body[Any]:
        return (yield third(x)) + 1

    @flow
    @colour.body
    def first(x: int) -> Body[Any]:
        return (yield second(x)) + 1

    assert colour.run(first, 1) == 22
    one, two, three, four = (run_of(name) for name in ("first", "second", "third", "leaf"))
    assert [two.parent_id, three.parent_id, four.parent_id] == [one.id, two.id, three.id]
    assert {run.root_id for run in runs()} == {one.id}


def test_subflows_inherit_tags(colour: Colour) -> None:
    @task(tags=["task"])
    @colour.body
    def leaf() -> None: ...

    @flow(tags=["inner"])
    @colour.body
    def inner() -> Body[Any]:
        yield leaf()
        return sorted(current_run().tags)

    @flow(tags=["outer"])
    @colour.body
    def outer() -> Body[Any]:
        with tags("context"):
            return (yield inner())

    assert colour.run(outer) == ["context", "inner", "outer"]
    assert run_of("outer").tags == ("outer",)
    assert run_of("inner").tags == ("context", "inner", "outer")
    assert run_of("leaf").tags == ("context", "inner", "outer", "task")


@pytest.mark.parametrize(("own", "logged"), [(None, True), (False, False)])
def test_subflows_inherit_log_prints(colour: Colour, own: bool | None, logged: bool) -> None:
    @flow(log_prints=own)
    @colour.body
    def inner() -> None:
        print("printed inside")

    @flow(log_prints=True)
    @colour.body
    def outer() -> Body[None]:
        yield inner()

    colour.run(outer)
    assert any("printed inside" in line for line in log_of("inner")) == logged


@pytest.mark.parametrize(("own", "kept"), [(None, False), (True, True)])
def test_subflows_and_tasks_inherit_persistence(colour: Colour, own: bool | None, kept: bool) -> None:
    @task(persist_result=own)
    @colour.body
    def leaf() -> list[int]:
        return [1]

    @flow(persist_result=own)
    @colour.body
    def inner() -> Body[Any]:
        return (yield leaf())

    @flow(persist_result=False)
    @colour.body
    def outer() -> Body[Any]:
        return (yield inner())

    assert colour.run(outer) == [1]
    assert [run_of(name).codec is not None for name in ("outer", "inner", "leaf")] == [False, kept, kept]


def test_subflows_by_submit_run_at_the_same_time(colour: Colour) -> None:
    together = threading.Barrier(3, timeout=30)

    @flow
    def inner(x: int) -> int:
        together.wait()
        return x

    @flow
    @colour.body
    def outer() -> Body[Any]:
        futures = [inner.submit(x) for x in range(3)]
        results = []
        for future in futures:
            results.append((yield colour.result(future)))  # noqa: PERF401  (a comprehension holds no yield)
        return results

    assert colour.run(outer) == [0, 1, 2]
    assert {run.parent_id for run in runs(spec_name="inner")} == {run_of("outer").id}


async def test_subflows_by_gather_run_at_the_same_time() -> None:
    here: list[int] = []

    @flow
    async def inner(x: int) -> int:
        here.append(x)
        while len(here) < 6:
            await asyncio.sleep(0)
        return x

    @flow
    async def outer() -> list[Any]:
        one = asyncio.gather(inner(0), inner(1))
        other = asyncio.ensure_future(gather(inner(2), inner(3)))
        async with asyncio.TaskGroup() as group:
            more = [group.create_task(inner(x)) for x in (4, 5)]
        return [*await one, *await other, *(task.result() for task in more)]

    assert await outer() == [0, 1, 2, 3, 4, 5]
    assert len({run.id for run in await stored_runs(spec_name="inner")}) == 6


def test_the_same_flow_in_itself(colour: Colour) -> None:
    @flow(name="countdown")
    @colour.body
    def countdown(n: int) -> Body[Any]:
        if n == 0:
            return 0
        return 1 + (yield countdown(n - 1))

    assert colour.run(countdown, 5) == 5
    assert len(runs(spec_name="countdown")) == 6


# -- both colours in one another --------------------------------------------------------------------------------------


@pytest.mark.blocks_loop
async def test_a_sync_subflow_in_an_async_flow_runs_in_its_thread() -> None:
    @task
    def leaf(x: int) -> int:
        return x + 1

    @flow
    def inner(x: int) -> Any:
        return leaf(x), leaf.submit(x).result(), threading.current_thread() is thread

    @flow
    async def outer() -> Any:
        return inner(1)

    thread = threading.current_thread()
    assert await outer() == (2, 2, True)
    assert (await stored_runs(spec_name="inner"))[0].parent_id == (await stored_runs(spec_name="outer"))[0].id


async def test_a_sync_subflow_submitted_in_an_async_flow_leaves_its_loop_free() -> None:
    go = threading.Event()

    @flow
    def inner() -> bool:
        return go.wait(30)

    @flow
    async def outer() -> bool:
        future = inner.submit()
        await asyncio.sleep(0.01)
        go.set()
        return await future

    assert await outer()


def test_an_async_subflow_in_a_sync_flow_by_submit() -> None:
    @task
    async def leaf(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    @flow
    async def inner(x: int) -> int:
        return await leaf(x)

    @flow
    def outer() -> int:
        return inner.submit(1).result()

    assert outer() == 2
    assert run_of("inner").parent_id == run_of("outer").id
    assert run_of("leaf").parent_id == run_of("inner").id


def test_an_async_subflow_in_a_sync_flow_by_a_loop_of_its_own() -> None:
    @flow
    async def inner(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    @flow
    def outer() -> int:
        return asyncio.run(inner(1))

    assert outer() == 2
    assert run_of("inner").parent_id == run_of("outer").id


def test_sync_in_async_in_sync() -> None:
    @flow
    def third(x: int) -> int:
        return x + 1

    @flow
    async def second(x: int) -> int:
        return third(x) + await third.submit(x)

    @flow
    def first(x: int) -> int:
        return second.submit(x).result()

    assert first(1) == 4


# -- options and failures ---------------------------------------------------------------------------------------------


def test_a_subflows_error_is_the_original_and_may_be_caught(colour: Colour) -> None:
    error = ValueError("inner")

    @flow
    @colour.body
    def inner() -> None:
        raise error

    @flow
    @colour.body
    def outer(catch: bool) -> Body[Any]:
        try:
            yield inner()
        except ValueError as caught:
            if not catch:
                raise
            return caught is error
        return None

    assert colour.run(outer, True) is True
    with pytest.raises(ValueError, match="inner") as caught:
        colour.run(outer, False)
    assert caught.value is error
    assert [run.state_name for run in runs(spec_name="outer")] == ["Completed", "Failed"]
    assert [run.state_name for run in runs(spec_name="inner")] == ["Failed", "Failed"]


def test_a_subflows_state_can_be_asked_for(colour: Colour) -> None:
    @flow
    @colour.body
    def inner(x: int) -> int:
        return 1 // x

    @flow
    @colour.body
    def outer() -> Body[Any]:
        return [(yield inner(1, return_state=True)).name, (yield inner(0, return_state=True)).name]

    assert colour.run(outer) == ["Completed", "Failed"]


def test_a_subflow_retries_by_itself(colour: Colour) -> None:
    attempts: list[int] = []

    @flow(retries=2)
    @colour.body
    def inner() -> int:
        attempts.append(current_run().attempt)
        if len(attempts) < 3:
            raise ValueError("again")
        return len(attempts)

    @flow
    @colour.body
    def outer() -> Body[Any]:
        return (yield inner())

    assert colour.run(outer) == 3
    assert attempts == [1, 2, 3]
    assert (run_of("outer").attempt, run_of("inner").attempt) == (1, 3)


def test_a_subflows_timeout_is_its_own(colour: Colour) -> None:
    @flow(timeout_seconds=0.02)
    @colour.body
    def inner() -> Body[None]:
        yield colour.sleep(0.2)

    @flow
    @colour.body
    def outer() -> Body[Any]:
        try:
            yield inner()
        except TimeoutError:
            return "went on"
        return "never"

    assert colour.run(outer) == "went on"
    assert run_of("inner").state_name == "TimedOut"


async def test_an_outer_timeout_cancels_subflows() -> None:
    @flow
    async def inner() -> None:
        await asyncio.sleep(30)

    @flow(timeout_seconds=0.03)
    async def outer() -> None:
        await inner()

    with pytest.raises(TimeoutError):
        await outer()
    assert [run.state_name for run in await stored_runs()] == ["TimedOut", "Cancelled"]


def test_a_subflow_that_does_not_bind_or_validate(colour: Colour) -> None:
    @flow
    @colour.body
    def inner(x: int) -> None: ...

    @flow
    @colour.body
    def outer() -> Body[Any]:
        with pytest.raises(ParameterBindError):
            inner()
        with pytest.raises(ParameterTypeError):
            yield inner("many")
        return "went on"

    assert colour.run(outer) == "went on"
    assert run_of("inner").state_name == "Failed"


def test_a_subflow_takes_futures_and_waits(colour: Colour) -> None:
    order: list[str] = []

    @task
    @colour.body
    def step(x: int) -> Body[Any]:
        yield colour.sleep(0.005)
        order.append("task")
        return x

    @flow
    @colour.body
    def inner(x: int = 0) -> int:
        order.append("flow")
        return x + 1

    @flow
    @colour.body
    def outer() -> Body[Any]:
        first = yield colour.result(inner.submit(step.submit(1)))
        second = yield inner(wait_for=[step.submit(2)])
        return first, second

    assert colour.run(outer) == (2, 1)
    assert order == ["task", "flow"] * 2
    ids = {run.name: run.id for run in runs(kind="task")}
    assert [run.depends_on for run in runs(spec_name="inner")] == [(ids["step"],), (ids["step-1"],)]


def test_a_subflow_with_a_failed_upstream_does_not_run(colour: Colour) -> None:
    @task
    @colour.body
    def bad() -> None:
        raise ValueError("upstream")

    @flow
    @colour.body
    def inner(x: int) -> None:
        raise AssertionError("it ran")

    @flow
    @colour.body
    def outer() -> Body[Any]:
        with pytest.raises(UpstreamTaskError):
            yield inner(bad.submit())
        return "went on"

    assert colour.run(outer) == "went on"
    assert run_of("inner").state_name == "UpstreamFailed"


def test_a_submitted_subflow_can_be_cancelled(colour: Colour) -> None:
    @flow
    async def inner() -> None:
        await asyncio.sleep(30)

    @flow
    @colour.body
    def outer() -> Body[Any]:
        future = inner.submit()
        yield colour.sleep(0.01)
        future.cancel("enough")
        try:
            yield colour.result(future)
        except CancelledRun as error:
            return str(error)
        return "never"

    assert colour.run(outer) == "enough"
    assert run_of("inner").state_name == "Cancelled"


def test_an_outer_retry_makes_new_subflow_runs_for_failed_ones(colour: Colour) -> None:
    calls: list[int] = []

    @flow
    @colour.body
    def inner() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("once")
        return len(calls)

    @flow(retries=1)
    @colour.body
    def outer() -> Body[Any]:
        return (yield inner())

    assert colour.run(outer) == 2
    assert run_of("outer").attempt == 2


def test_a_flow_called_in_a_task_is_its_child(colour: Colour) -> None:
    @flow
    @colour.body
    def inner() -> int:
        return 1

    @task
    @colour.body
    def step() -> Body[Any]:
        return (yield inner())

    @flow
    @colour.body
    def outer() -> Body[Any]:
        return (yield step())

    assert colour.run(outer) == 1
    assert run_of("inner").parent_id == run_of("step").id
    assert run_of("inner").flow_run_id == run_of("outer").id
