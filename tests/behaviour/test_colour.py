"""asyncflow never changes the colour of a function: what a call gives, where its body runs, from everywhere."""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from asyncflow import current_run, flow, task
from asyncflow.exceptions import BlockingCall, MissingContext
from asyncflow.flows import Flow
from asyncflow.tasks import Task

from ..colours import Body, Colour
from .remembered import run_of, runs, stored_runs

Decorator = Callable[..., Any]
both_kinds = pytest.mark.parametrize("decorate", [flow, task], ids=["flow", "task"])
seen: ContextVar[str] = ContextVar("seen", default="nothing")


# -- what a call gives ------------------------------------------------------------------------------------------------


@both_kinds
async def test_an_async_call_gives_a_real_coroutine(decorate: Decorator) -> None:
    @decorate
    async def double(x: int) -> int:
        return x * 2

    coroutine = double(2)
    assert inspect.iscoroutine(coroutine)
    assert await coroutine == 4


@both_kinds
def test_an_async_call_runs_under_asyncio_run(decorate: Decorator) -> None:
    @decorate
    async def double(x: int) -> int:
        return x * 2

    assert asyncio.run(double(2)) == 4


@both_kinds
async def test_an_async_call_is_work_for_create_task_and_task_groups(decorate: Decorator) -> None:
    @decorate
    async def double(x: int) -> int:
        return x * 2

    assert await asyncio.create_task(double(2)) == 4
    async with asyncio.TaskGroup() as group:
        several = [group.create_task(double(number)) for number in range(3)]
    assert [one.result() for one in several] == [0, 2, 4]
    assert list(await asyncio.gather(double(1), double(2))) == [2, 4]
    assert await asyncio.wait_for(double(5), 5) == 10


@both_kinds
def test_iscoroutinefunction_tells_the_colour(decorate: Decorator) -> None:
    @decorate
    async def one() -> None: ...

    @decorate
    def other() -> None: ...

    assert asyncio.iscoroutinefunction(one)
    assert inspect.iscoroutinefunction(one)
    assert inspect.iscoroutinefunction(one.__call__) == inspect.iscoroutinefunction(other.__call__)
    assert not asyncio.iscoroutinefunction(other)
    assert not inspect.iscoroutinefunction(other)


@both_kinds
def test_a_sync_call_gives_the_value(decorate: Decorator) -> None:
    @decorate
    def double(x: int) -> int:
        return x * 2

    assert double(2) == 4


@both_kinds
def test_the_function_looks_like_itself(decorate: Decorator) -> None:
    @decorate
    def double(x: int, *, y: str = "a") -> int:
        """Twice as much."""
        return x * 2

    assert str(inspect.signature(double)) == "(x: 'int', *, y: 'str' = 'a') -> 'int'"
    assert double.__doc__ == "Twice as much."
    assert double.__name__ == "double"
    assert double.__module__ == __name__
    assert double.description == "Twice as much."


@both_kinds
def test_fn_is_the_undecorated_function(decorate: Decorator) -> None:
    def double(x: int) -> int:
        return x * 2

    made = decorate(double)
    assert made.fn is double
    assert made.fn(2) == 4
    assert runs() == []


@both_kinds
def test_an_error_is_the_original_object(decorate: Decorator, colour: Colour) -> None:
    error = ValueError("no")

    @decorate
    @colour.body
    def fail() -> None:
        raise error

    with pytest.raises(ValueError, match="no") as caught:
        colour.run(fail)
    assert caught.value is error


async def test_a_coroutine_never_awaited_makes_no_run() -> None:
    @task
    async def never() -> None: ...

    coroutine = never()
    coroutine.close()
    del coroutine
    gc.collect()
    assert await stored_runs() == []


async def test_a_coroutine_never_awaited_in_a_flow_makes_no_run() -> None:
    @task
    async def never() -> None: ...

    @flow
    async def outer() -> str:
        never().close()
        return "done"

    assert await outer() == "done"
    assert [run.spec_name for run in await stored_runs()] == ["outer"]


async def test_a_cancelled_call_that_never_began_makes_no_run() -> None:
    @flow
    async def never() -> None: ...

    pending = asyncio.create_task(never())
    pending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pending
    assert await stored_runs() == []


# -- where an async body runs -----------------------------------------------------------------------------------------


@both_kinds
async def test_an_async_body_runs_on_the_callers_loop(decorate: Decorator) -> None:
    @decorate
    async def where() -> Any:
        return asyncio.get_running_loop() is here, threading.current_thread() is thread, asyncio.current_task() is mine

    here, thread, mine = asyncio.get_running_loop(), threading.current_thread(), asyncio.current_task()
    assert await where() == (True, True, True)


async def test_submitted_async_tasks_run_on_the_owners_loop() -> None:
    @task
    async def where() -> bool:
        return asyncio.get_running_loop() is here

    @flow
    async def outer() -> list[bool]:
        return [await where(), await where.submit()]

    here = asyncio.get_running_loop()
    assert await outer() == [True, True]


def test_async_runs_submitted_from_a_script_run_on_one_house_loop() -> None:
    @task
    async def where() -> Any:
        return id(asyncio.get_running_loop()), threading.current_thread() is main

    @flow
    async def outer() -> Any:
        return await where()

    main = threading.current_thread()
    first, second, third = where.submit().result(), where.submit().result(), outer.submit().result()
    assert first == second == third
    assert first[1] is False


def test_async_tasks_submitted_from_a_sync_flow_run_on_one_house_loop() -> None:
    @task
    async def where(number: int) -> Any:
        await asyncio.sleep(0)
        return id(asyncio.get_running_loop()), threading.current_thread().name

    @flow
    def outer() -> list[Any]:
        return where.map(range(5)).result()

    places = outer()
    assert len(set(places)) == 1
    assert places[0][1] != threading.current_thread().name


# -- where a sync body runs -------------------------------------------------------------------------------------------


@both_kinds
def test_a_sync_body_runs_in_the_callers_own_thread_and_context(decorate: Decorator) -> None:
    @decorate
    def where() -> threading.Thread:
        assert seen.get() == "from the caller"
        seen.set("from the body")
        return threading.current_thread()

    token = seen.set("from the caller")
    try:
        assert where() is threading.current_thread()
        assert seen.get() == "from the body"
    finally:
        seen.reset(token)


def test_nested_sync_bodies_share_thread_and_context() -> None:
    @task
    def inner() -> threading.Thread:
        seen.set(seen.get() + ", task")
        return threading.current_thread()

    @flow
    def middle() -> threading.Thread:
        seen.set(seen.get() + ", subflow")
        return inner()

    @flow
    def outer() -> threading.Thread:
        seen.set("flow")
        return middle()

    assert outer() is threading.current_thread()
    assert seen.get() == "flow, subflow, task"
    seen.set("nothing")


def test_no_loop_runs_in_a_sync_body() -> None:
    @flow
    def outer() -> str:
        async def coroutine() -> str:
            return "a loop of its own"

        return asyncio.run(coroutine())

    assert outer() == "a loop of its own"


@both_kinds
def test_a_sync_body_runs_in_whatever_thread_calls(decorate: Decorator) -> None:
    @decorate
    def where() -> str:
        return threading.current_thread().name

    with ThreadPoolExecutor(3, thread_name_prefix="mine") as threads:
        names = [threads.submit(where) for _ in range(6)]
        assert all(name.result().startswith("mine") for name in names)


@both_kinds
def test_with_a_timeout_a_sync_body_runs_in_a_pool_thread_with_a_copy_of_the_context(decorate: Decorator) -> None:
    @decorate(timeout_seconds=30)  # type: ignore[untyped-decorator]
    def where() -> threading.Thread:
        assert seen.get() == "from the caller"
        seen.set("from the body")
        return threading.current_thread()

    token = seen.set("from the caller")
    try:
        assert where() is not threading.current_thread()
        assert seen.get() == "from the caller"
    finally:
        seen.reset(token)


def test_submitted_sync_tasks_run_in_pool_threads_with_a_copy_of_the_context() -> None:
    @task
    def where() -> threading.Thread:
        assert seen.get() == "from the flow"
        seen.set("from the task")
        return threading.current_thread()

    @flow
    def outer() -> bool:
        seen.set("from the flow")
        elsewhere = where.submit().result() is not threading.current_thread()
        return elsewhere and seen.get() == "from the flow"

    assert outer()
    seen.set("nothing")


@pytest.mark.blocks_loop
async def test_a_sync_flow_inside_a_running_loop_blocks_it_and_works() -> None:
    @task
    def inner(x: int) -> int:
        return x + 1

    @flow
    def outer() -> Any:
        future = inner.submit(1)
        return inner(0), future.result(), threading.current_thread() is thread

    thread = threading.current_thread()
    assert outer() == (1, 2, True)


@pytest.mark.blocks_loop
async def test_a_sync_task_called_in_an_async_flow_runs_in_its_thread() -> None:
    @task
    def inner() -> threading.Thread:
        return threading.current_thread()

    @flow
    async def outer() -> bool:
        return inner() is threading.current_thread()

    assert await outer()


async def test_a_sync_task_submitted_in_an_async_flow_leaves_the_loop_free() -> None:
    go = threading.Event()

    @task
    def blocks() -> bool:
        return go.wait(30)

    @flow
    async def outer() -> bool:
        future = blocks.submit()
        await asyncio.sleep(0.01)
        assert not future.done()
        go.set()
        return await future

    assert await outer()


@pytest.mark.blocks_loop
async def test_a_sync_flow_inside_a_running_loop_may_submit_async_tasks() -> None:
    @task
    async def inner(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    @flow
    def outer() -> list[int]:
        return inner.map([1, 2, 3]).result()

    assert outer() == [2, 3, 4]


@pytest.mark.blocks_loop
async def test_a_sync_task_that_waits_for_the_loop_which_it_blocks_is_refused_at_once() -> None:
    @task
    async def slow() -> int:
        await asyncio.sleep(0)
        return 1

    @task
    def waits(future: list[Any]) -> Any:
        return future[0]()

    @flow
    async def outer() -> int:
        future = slow.submit()
        with pytest.raises(BlockingCall, match="await"):
            waits([future.result])
        with pytest.raises(BlockingCall, match="await"):
            future.result()
        return await future

    assert await outer() == 1


def test_nested_waiting_in_pool_threads_never_starves() -> None:
    @task
    def leaf(x: int) -> int:
        return x

    @task
    def branch(x: int) -> int:
        return sum(leaf.map(range(x)).result())

    @flow
    def outer() -> list[int]:
        return branch.map([4] * 40).result()

    assert outer() == [6] * 40


# -- tasks outside flows ----------------------------------------------------------------------------------------------


def test_a_task_outside_any_flow_is_a_run_of_its_own(colour: Colour) -> None:
    attempts = []

    @task(retries=2)
    @colour.body
    def flaky(x: int) -> int:
        attempts.append(current_run().attempt)
        if len(attempts) < 3:
            raise ValueError("not yet")
        return x

    assert colour.run(flaky, 7) == 7
    assert attempts == [1, 2, 3]
    run = run_of("flaky")
    assert (run.kind, run.state_name, run.attempt) == ("task", "Completed", 3)
    assert (run.flow_run_id, run.parent_id, run.key, run.root_id) == (None, None, None, run.id)
    assert run.data is not None or run.preview == "7"


def test_a_task_outside_any_flow_has_its_timeout(colour: Colour) -> None:
    @task(timeout_seconds=0.02)
    @colour.body
    def slow() -> Body[None]:
        yield colour.sleep(0.2)

    with pytest.raises(TimeoutError):
        colour.run(slow)
    assert run_of("slow").state_name == "TimedOut"


def test_a_task_submitted_outside_any_flow_belongs_to_the_application(colour: Colour) -> None:
    @task
    @colour.body
    def double(x: int) -> int:
        return x * 2

    future = double.submit(4)
    assert future.result(30) == 8
    assert run_of("double").state_name == "Completed"


def test_tasks_outside_flows_call_tasks(colour: Colour) -> None:
    @task
    @colour.body
    def inner(x: int) -> int:
        return x + 1

    @task
    @colour.body
    def outer() -> Body[Any]:
        future = inner.submit(1)
        value = yield inner(10)
        return value + (yield colour.result(future))

    assert colour.run(outer) == 13
    ids = {run.spec_name: run.id for run in runs()}
    assert {run.parent_id for run in runs(spec_name="inner")} == {ids["outer"]}


# -- methods ----------------------------------------------------------------------------------------------------------


@both_kinds
def test_instance_methods(decorate: Decorator, colour: Colour) -> None:
    class Shop:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        @decorate
        @colour.body
        def price(self, x: int, tax: int = 0) -> int:
            """What it costs."""
            return self.factor * x + tax

    assert colour.run(Shop(3).price, 2) == 6
    assert colour.run(Shop(4).price, 2, tax=1) == 9
    assert colour.run(Shop.price, Shop(5), 2) == 10
    assert Shop(6).price.submit(2).result(30) == 12
    assert Shop.price.__doc__ == "What it costs."


@both_kinds
@pytest.mark.parametrize("over", [True, False], ids=["over", "under"])
def test_class_methods(decorate: Decorator, colour: Colour, over: bool) -> None:
    def made(cls: Any, x: int) -> Any:
        return cls.__name__, x

    body = colour.body(made)

    class Shop:
        make = decorate(classmethod(body)) if over else classmethod(decorate(body))

    class Branch(Shop): ...

    assert colour.run(Shop.make, 1) == ("Shop", 1)
    assert colour.run(Branch.make, 2) == ("Branch", 2)
    assert colour.run(Branch().make, 3) == ("Branch", 3)


@both_kinds
@pytest.mark.parametrize("over", [True, False], ids=["over", "under"])
def test_static_methods(decorate: Decorator, colour: Colour, over: bool) -> None:
    def added(x: int, y: int = 1) -> int:
        return x + y

    body = colour.body(added)

    class Shop:
        add = decorate(staticmethod(body)) if over else staticmethod(decorate(body))

    assert colour.run(Shop.add, 1) == 2
    assert colour.run(Shop().add, 1, 5) == 6


def test_methods_map_and_take_options(colour: Colour) -> None:
    class Shop:
        factor = 3

        @task
        @colour.body
        def price(self, x: int) -> int:
            return self.factor * x

    @flow
    @colour.body
    def outer() -> Body[Any]:
        shop = Shop()
        prices = yield colour.result(shop.price.map([1, 2]))
        other: Any = shop.price.with_options(name="other")
        renamed = yield other(5)
        return prices, renamed

    assert colour.run(outer) == ([3, 6], 15)
    assert [run.spec_name for run in runs(kind="task")] == ["price", "price", "other"]


def test_validation_of_a_method_leaves_self_alone(colour: Colour) -> None:
    class Shop:
        @flow
        @colour.body
        def price(self, x: int) -> Any:
            return type(self) is Shop, x

    assert colour.run(Shop().price, "3") == (True, 3)
    assert "self" not in Shop().price.parameters["properties"]


def test_a_callable_object_is_a_task_under_its_own_name() -> None:
    class Adder:
        def __call__(self, x: int) -> int:
            return x + 1

    assert task(Adder(), name="adder")(1) == 2  # type: ignore[call-overload]
    assert run_of("adder").state_name == "Completed"


# -- identity and place -----------------------------------------------------------------------------------------------


async def test_identity_is_reserved_at_the_call_and_not_at_the_first_await() -> None:
    @task
    async def step() -> str:
        return current_run().idempotency_key

    @flow
    async def outer() -> Any:
        one, two, three = step(), step(), step()
        late = [await three, await two, await one][::-1]
        return late, await asyncio.gather(step(), step())

    late, gathered = await outer()
    assert [key.rpartition(":")[2] for key in late] == ["0", "1", "2"]
    assert [key.rpartition(":")[2] for key in gathered] == ["3", "4"]


def test_identity_numbers_equal_calls_in_source_order(colour: Colour) -> None:
    @task
    @colour.body
    def step(x: int) -> int:
        return x

    @flow
    @colour.body
    def outer() -> Body[None]:
        yield step(1)
        futures = [step.submit(1), step.submit(2)]
        yield step(1)
        for future in futures:
            yield colour.result(future)

    colour.run(outer)
    keys = [str(run.key) for run in sorted(runs(kind="task"), key=lambda run: run.created_at)]
    ones = [key for key in keys if key.partition(":")[0] == keys[0].partition(":")[0]]
    assert sorted(key.rpartition(":")[2] for key in ones) == ["0", "1", "2"]
    assert len(set(keys)) == 4


def test_submitting_to_a_flow_that_has_ended_is_refused() -> None:
    kept: list[Any] = []

    @task
    def late() -> None: ...

    @flow
    def outer() -> None:
        def submit() -> None:
            go.wait(30)
            try:
                kept.append(late.submit())
            except MissingContext as error:
                kept.append(error)

        context = copy_context()
        thread = threading.Thread(target=lambda: context.run(submit))
        kept.append(thread)
        thread.start()

    go = threading.Event()
    outer()
    go.set()
    kept[0].join()
    # the flow has ended: the task is one of the application's, or refused, but never silently the flow's
    outcome = kept[1]
    if not isinstance(outcome, MissingContext):
        outcome.result(30)
        assert run_of("late").flow_run_id is None


def test_a_flow_is_a_flow_and_a_task_a_task() -> None:
    @flow
    def one() -> None: ...

    @task
    def other() -> None: ...

    assert isinstance(one, Flow)
    assert isinstance(other, Task)


def test_many_async_tasks_cost_no_threads() -> None:
    @task
    async def wait() -> int:
        await asyncio.sleep(0.05)
        return threading.active_count()

    @flow
    def outer() -> int:
        before = threading.active_count()
        futures = [wait.submit() for _ in range(200)]
        return max(future.result() for future in futures) - before

    assert outer() == 0


def test_sync_flows_in_many_threads_at_once() -> None:
    @task
    def double(x: int) -> int:
        time.sleep(0.001)
        return x * 2

    @flow
    def outer(x: int) -> int:
        return double(x) + double.submit(x).result()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(outer, range(24))) == [4 * x for x in range(24)]
    assert {run.state_name for run in runs()} == {"Completed"}
