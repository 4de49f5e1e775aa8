"""Structured lifetime: a submitted run belongs to the body that submitted it, and no failure of one gets lost."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from asyncflow import Application, allow_failure, as_completed, current_run, flow, gather, task, wait
from asyncflow.cache_policies import INPUTS
from asyncflow.exceptions import CancelledRun, FutureTimeout, UpstreamTaskError
from asyncflow.states import Completed

from ..colours import Body, Colour
from .remembered import log_of, run_of, runs, stored_runs


@task
async def sleeps() -> str:
    await asyncio.sleep(30)
    return "slept"


def failing(colour: Colour) -> Any:
    @task
    @colour.body
    def bad(x: int = 1) -> int:
        raise ValueError(f"bad {x}")

    return bad


# -- leftovers --------------------------------------------------------------------------------------------------------


def test_leftovers_are_waited_for(colour: Colour) -> None:
    done: list[int] = []

    @task
    @colour.body
    def step(x: int) -> Body[None]:
        yield colour.sleep(0.01)
        done.append(x)

    @flow
    @colour.body
    def outer() -> str:
        step.map(range(5))
        return "returned"

    assert colour.run(outer) == "returned"
    assert sorted(done) == [0, 1, 2, 3, 4]
    assert [run.state_name for run in runs(kind="task")] == ["Completed"] * 5


def test_leftovers_are_waited_for_until_nothing_new_was_submitted(colour: Colour) -> None:
    done: list[int] = []

    @flow
    @colour.body
    def outer() -> None:
        submit = step.submit
        first = submit(0)
        first.add_done_callback(lambda future: None)

    @task
    @colour.body
    def step(x: int) -> Body[None]:
        yield colour.sleep(0.002)
        done.append(x)
        if x < 5:
            step.submit(x + 1)

    colour.run(outer)
    assert done == [0, 1, 2, 3, 4, 5]


async def test_what_the_bodys_own_asyncio_tasks_submit_while_leftovers_run_is_waited_for_too() -> None:
    done: list[int] = []

    @task
    async def step(x: int) -> None:
        await asyncio.sleep(0.01)
        done.append(x)

    @flow
    async def outer() -> None:
        async def later() -> None:
            await asyncio.sleep(0.001)
            step.submit(2)

        step.submit(1)
        helpers.append(asyncio.create_task(later()))

    helpers: list[asyncio.Task[None]] = []
    await outer()
    assert sorted(done) == [1, 2]
    await helpers[0]


def test_leftover_cancel_cancels_them(colour: Colour) -> None:
    @flow(leftover="cancel")
    @colour.body
    def outer() -> str:
        sleeps.submit()
        sleeps.submit()
        return "returned"

    assert colour.run(outer) == "returned"
    found = runs(spec_name="sleeps")
    assert [(run.state_name, run.state_message) for run in found] == [("Cancelled", "its owner returned")] * 2


def test_a_returned_future_is_no_leftover(colour: Colour) -> None:
    @task
    @colour.body
    def step() -> Body[Any]:
        yield colour.sleep(0.01)
        return 3

    @flow(leftover="cancel")
    @colour.body
    def outer() -> Any:
        return step.submit()

    assert colour.run(outer) == 3


def test_leftovers_count_inside_the_flows_timeout(colour: Colour) -> None:
    @flow(timeout_seconds=0.05)
    @colour.body
    def outer() -> str:
        sleeps.submit()
        return "returned"

    with pytest.raises(TimeoutError):
        colour.run(outer)
    assert run_of("outer").state_name == "TimedOut"
    assert run_of("sleeps").state_name == "Cancelled"


def test_a_body_that_raises_cancels_its_leftovers_and_waits_for_their_clean_up(colour: Colour) -> None:
    cleaned: list[str] = []
    begun = threading.Event()

    @task
    async def tidy() -> None:
        try:
            begun.set()
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0.01)
            cleaned.append("tidied")

    @flow
    @colour.body
    def outer() -> Body[None]:
        tidy.submit()
        while not begun.is_set():
            yield colour.sleep(0.001)
        raise KeyError("the body's own")

    with pytest.raises(KeyError, match="own"):
        colour.run(outer)
    assert cleaned == ["tidied"]
    run = run_of("tidy")
    assert (run.state_name, run.state_message) == ("Cancelled", "its owner failed")


def test_leftovers_that_never_began_are_stored_as_cancelled(colour: Colour) -> None:
    @flow
    @colour.body
    def outer() -> None:
        sleeps.submit()
        raise KeyError("at once")

    with pytest.raises(KeyError):
        colour.run(outer)
    assert run_of("sleeps").state_name == "Cancelled"


async def test_a_clean_up_that_never_ends_is_left_after_a_bounded_time() -> None:
    release = asyncio.Event()

    @task
    async def stubborn() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            await release.wait()

    @flow
    async def outer() -> None:
        stubborn.submit()
        await asyncio.sleep(0.01)
        raise KeyError("the body's own")

    async with Application(":memory:", cleanup_seconds=0.05):
        with pytest.raises(KeyError):
            await outer()
        release.set()
        await asyncio.sleep(0.01)


async def test_a_cancelled_flow_cancels_its_children() -> None:
    begun = asyncio.Event()

    @task
    async def sleeps() -> None:
        begun.set()
        await asyncio.sleep(30)

    @flow
    async def outer() -> None:
        sleeps.submit()
        await sleeps.submit()

    call = asyncio.create_task(outer())
    await begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert {run.state_name for run in await stored_runs()} == {"Cancelled"}


def test_children_of_each_attempt_end_with_it(colour: Colour) -> None:
    attempts: list[int] = []

    @flow(retries=1, leftover="cancel")
    @colour.body
    def again() -> str:
        attempts.append(1)
        sleeps.submit()
        if len(attempts) == 1:
            raise ValueError("again")
        return "done"

    assert colour.run(again) == "done"
    assert [run.state_message for run in runs(spec_name="sleeps")] == ["its owner failed", "its owner returned"]


def test_a_tasks_own_children_end_before_it_does(colour: Colour) -> None:
    done: list[str] = []

    @task
    @colour.body
    def grandchild() -> Body[None]:
        yield colour.sleep(0.01)
        done.append("grandchild")

    @task
    @colour.body
    def child() -> str:
        grandchild.submit()
        return "child"

    @flow
    @colour.body
    def outer() -> Body[Any]:
        value = yield colour.result(child.submit())
        return [*done, value]

    assert colour.run(outer) == ["grandchild", "child"]


def test_a_failed_task_cancels_its_own_children_and_not_its_siblings(colour: Colour) -> None:
    @task
    @colour.body
    def sibling() -> Body[Any]:
        yield colour.sleep(0.01)
        return "sibling"

    @task
    @colour.body
    def child() -> None:
        sleeps.submit()
        raise ValueError("child")

    @flow
    @colour.body
    def outer() -> Body[Any]:
        other, one = sibling.submit(), child.submit()
        with contextlib.suppress(ValueError):
            yield colour.result(one)
        return (yield colour.result(other))

    assert colour.run(outer) == "sibling"
    assert run_of("sleeps").state_message == "its owner failed"


async def test_nothing_outlives_a_flow_on_the_loop() -> None:
    @task
    async def step(x: int) -> int:
        await asyncio.sleep(0)
        return x

    @flow(timeout_seconds=30, unobserved="ignore")
    async def outer() -> list[int]:
        sleeps.submit().cancel()
        step.submit(9)
        return [value async for value in step.stream(range(5), limit=2)]

    before = asyncio.all_tasks()
    assert sorted(await outer()) == [0, 1, 2, 3, 4]
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


def test_what_is_submitted_outside_any_run_ends_before_its_application() -> None:
    done: list[int] = []

    @task
    async def step() -> None:
        await asyncio.sleep(0.02)
        done.append(1)

    async def main() -> None:
        async with Application(":memory:"):
            step.submit()

    asyncio.run(main())
    assert done == [1]


# -- cancelling -------------------------------------------------------------------------------------------------------


async def test_cancelling_somebody_who_awaits_never_cancels_the_task() -> None:
    @task
    async def step() -> str:
        await go.wait()
        return "done"

    @flow
    async def outer() -> str:
        future = step.submit()

        async def waiting() -> str:
            return await future

        waiter = asyncio.create_task(waiting())
        await asyncio.sleep(0.01)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting(), 0.01)
        assert not future.done()
        go.set()
        return await future

    go = asyncio.Event()
    assert await outer() == "done"


def test_cancel_stops_the_task_with_its_reason(colour: Colour) -> None:
    @flow
    @colour.body
    def outer() -> Body[Any]:
        future = sleeps.submit()
        yield colour.sleep(0.01)
        assert future.cancel("no longer needed")
        try:
            yield colour.result(future)
        except CancelledRun as error:
            assert not future.cancel()
            return str(error)
        return "never"

    assert colour.run(outer) == "no longer needed"
    run = run_of("sleeps")
    assert (run.state_name, run.state_message) == ("Cancelled", "no longer needed")


def test_a_cancelled_task_is_no_failure(colour: Colour) -> None:
    @flow
    @colour.body
    def outer() -> str:
        sleeps.submit().cancel()
        return "fine"

    assert colour.run(outer) == "fine"


def test_cancelling_a_task_cancels_its_children(colour: Colour) -> None:
    begun = threading.Event()

    @task
    async def child() -> None:
        begun.set()
        await asyncio.sleep(30)

    @task
    async def parent() -> None:
        await child.submit()

    @flow
    @colour.body
    def outer() -> Body[None]:
        future = parent.submit()
        while not begun.is_set():
            yield colour.sleep(0.001)
        future.cancel("enough")

    colour.run(outer)
    assert run_of("parent").state_message == "enough"
    assert (run_of("child").state_name, run_of("child").state_message) == ("Cancelled", "its owner was cancelled")


def test_cancelling_a_sync_task_in_a_thread_abandons_it_on_time(colour: Colour) -> None:
    release, begun, ended = threading.Event(), threading.Event(), threading.Event()

    @task
    def stuck() -> None:
        begun.set()
        release.wait(30)
        ended.set()

    @flow
    @colour.body
    def outer() -> Body[Any]:
        future = stuck.submit()
        while not begun.is_set():
            yield colour.sleep(0.001)
        future.cancel()
        try:
            yield colour.result(future)
        except CancelledRun:
            return "cancelled"
        return "never"

    try:
        assert colour.run(outer) == "cancelled"
        assert not ended.is_set()
    finally:
        release.set()
    assert ended.wait(30)


@pytest.mark.parametrize("submitted_is_async", [False, True], ids=["sync-task", "async-task"])
def test_a_submitted_body_that_exits_ends_its_own_run_and_no_loop_of_ours(submitted_is_async: bool) -> None:
    @task(name="exits")
    async def coroutine() -> None:
        raise SystemExit(3)

    @task(name="exits")
    def plain() -> None:
        raise SystemExit(3)

    @task
    async def after() -> str:
        await asyncio.sleep(0)
        return "after"

    @flow
    def outer() -> Any:
        future = (coroutine if submitted_is_async else plain).submit()
        with pytest.raises(CancelledRun, match="interrupted by SystemExit"):
            future.result(10)
        return after.submit().result(10)

    assert outer() == "after"
    assert run_of("exits").state_name == "Cancelled"


# -- failures that nobody looked at -----------------------------------------------------------------------------------


def test_one_unobserved_failure_is_raised_bare_with_a_note(colour: Colour) -> None:
    bad = failing(colour)

    @flow
    @colour.body
    def outer() -> str:
        bad.submit(7)
        return "never given"

    with pytest.raises(ValueError, match="bad 7") as caught:
        colour.run(outer)
    assert any("Nobody looked" in note and "bad" in note for note in caught.value.__notes__)
    assert run_of("outer").state_name == "Failed"


def test_several_unobserved_failures_are_a_group(colour: Colour) -> None:
    bad = failing(colour)

    @flow
    @colour.body
    def outer() -> None:
        bad.map([1, 2, 3])

    with pytest.raises(ExceptionGroup) as caught:
        colour.run(outer)
    assert sorted(map(str, caught.value.exceptions)) == ["bad 1", "bad 2", "bad 3"]


@pytest.mark.parametrize("rule", ["log", "ignore"])
def test_unobserved_failures_may_be_logged_or_ignored(colour: Colour, rule: Any) -> None:
    bad = failing(colour)

    @flow(unobserved=rule)
    @colour.body
    def outer() -> str:
        bad.submit()
        return "given"

    assert colour.run(outer) == "given"
    run = run_of("outer")
    assert run.state_name == "Completed"
    assert any("Nobody looked" in line for line in log_of("outer")) == (rule == "log")


def test_an_unobserved_failure_is_retried_as_any_failure(colour: Colour) -> None:
    @task
    @colour.body
    def flaky() -> None:
        if len(attempts) == 1:
            raise ValueError("first")

    @flow(retries=1)
    @colour.body
    def outer() -> str:
        attempts.append(1)
        flaky.submit()
        return "second"

    attempts: list[int] = []
    assert colour.run(outer) == "second"


def test_the_error_of_the_body_wins_over_unobserved_failures(colour: Colour) -> None:
    bad = failing(colour)

    @flow
    @colour.body
    def outer() -> Body[None]:
        future = bad.submit()
        while not future.done():
            yield colour.sleep(0.001)
        raise KeyError("own")

    with pytest.raises(KeyError):
        colour.run(outer)


def test_a_returned_state_stands_before_unobserved_failures_which_are_logged(colour: Colour) -> None:
    bad = failing(colour)

    @flow(name="stated")
    @colour.body
    def stated() -> Any:
        bad.submit()
        return Completed(data="mine")

    assert colour.run(stated) == "mine"
    assert any("Nobody looked" in line for line in log_of("stated"))


def looking_ways() -> dict[str, Callable[[Colour, Any], Body[Any]]]:  # noqa: C901  (ten small ones)
    def awaited(colour: Colour, future: Any) -> Body[Any]:
        with contextlib.suppress(ValueError):
            yield colour.result(future)

    def result(colour: Colour, future: Any) -> Body[Any]:
        while not future.done():
            yield colour.sleep(0.001)
        assert isinstance(future.result(raise_on_failure=False), ValueError)

    def state(colour: Colour, future: Any) -> Body[Any]:
        while not future.done():
            yield colour.sleep(0.001)
        assert future.state.is_failed()

    def callback(colour: Colour, future: Any) -> Body[Any]:
        future.add_done_callback(lambda _: None)
        yield None

    def returned(colour: Colour, future: Any) -> Body[Any]:
        yield None
        return {"future": future}

    def completed(colour: Colour, future: Any) -> Body[Any]:
        if colour.is_async:

            async def all_of() -> None:
                async for _ in as_completed([future]):
                    pass

            yield all_of()
        else:
            list(as_completed([future]))
        yield None

    def allowed(colour: Colour, future: Any) -> Body[Any]:
        @task
        @colour.body
        def report(error: Any) -> str:
            return str(error)

        assert (yield report(allow_failure(future))) == "bad 1"

    def passed(colour: Colour, future: Any) -> Body[Any]:
        @task
        @colour.body
        def after(value: Any) -> None: ...

        with contextlib.suppress(UpstreamTaskError):
            yield after(future)

    def waited_for(colour: Colour, future: Any) -> Body[Any]:
        @task
        @colour.body
        def after() -> str:
            return "after"

        with contextlib.suppress(UpstreamTaskError):
            yield after(wait_for=[future])

    def gathered(colour: Colour, future: Any) -> Body[Any]:
        answer = yield gather(future, return_exceptions=True)
        assert isinstance(answer[0], ValueError)

    ways = (awaited, result, state, callback, returned, completed, allowed, passed, waited_for, gathered)
    return {way.__name__: way for way in ways}


@pytest.mark.parametrize("way", looking_ways().values(), ids=looking_ways())
def test_every_way_of_looking_counts(colour: Colour, way: Any) -> None:
    bad = failing(colour)

    @flow(name="outer")
    @colour.body
    def outer() -> Body[Any]:
        return (yield from way(colour, bad.submit()))

    colour.run(outer)
    assert run_of("outer").state_name == "Completed"


def test_the_upstream_failure_stands_for_what_it_was_passed(colour: Colour) -> None:
    bad = failing(colour)

    @task
    @colour.body
    def after(value: Any) -> None: ...

    @flow
    @colour.body
    def outer() -> None:
        after.submit(bad.submit())

    with pytest.raises(UpstreamTaskError):
        colour.run(outer)


def test_a_wait_alone_does_not_look(colour: Colour) -> None:
    bad = failing(colour)

    @flow
    @colour.body
    def outer() -> Body[None]:
        futures = [bad.submit()]
        if colour.is_async:
            yield wait(futures)
        else:
            wait(futures)
        yield None

    with pytest.raises(ValueError, match="bad 1"):
        colour.run(outer)


def test_a_wait_that_timed_out_looks_at_nothing(colour: Colour) -> None:
    go = threading.Event()

    @task
    @colour.body
    def bad() -> Body[None]:
        while not go.is_set():
            yield colour.sleep(0.001)
        raise ValueError("after the wait")

    async def impatient(future: Any) -> None:
        try:
            await asyncio.wait_for(future, 0.01)
        except TimeoutError:
            return
        raise AssertionError("it came")

    @flow
    @colour.body
    def outer() -> Body[Any]:
        future = bad.submit()
        if colour.is_async:

            async def waiting() -> Any:
                return await future

            yield impatient(waiting())
        else:
            with pytest.raises(FutureTimeout):
                future.result(timeout=0.01)
        go.set()
        return "returned"

    with pytest.raises(ValueError, match="after the wait"):
        colour.run(outer)


def test_reading_the_state_of_a_running_task_does_not_look(colour: Colour) -> None:
    @task
    @colour.body
    def bad() -> Body[None]:
        yield colour.sleep(0.02)
        raise ValueError("later")

    @flow
    @colour.body
    def outer() -> Any:
        assert not bad.submit().state.is_final()
        return None

    with pytest.raises(ValueError, match="later"):
        colour.run(outer)


def test_the_failure_of_a_tasks_own_child_fails_the_task(colour: Colour) -> None:
    bad = failing(colour)

    @task
    @colour.body
    def parent() -> str:
        bad.submit(3)
        return "parent"

    @flow
    @colour.body
    def outer() -> Body[Any]:
        try:
            yield parent()
        except ValueError as error:
            return str(error)
        return "never"

    assert colour.run(outer) == "bad 3"
    assert run_of("parent").state_name == "Failed"


def test_a_failed_subflow_that_nobody_looked_at_fails_the_flow(colour: Colour) -> None:
    @flow
    @colour.body
    def inner() -> None:
        raise ValueError("inner")

    @flow
    @colour.body
    def outer() -> None:
        inner.submit()

    with pytest.raises(ValueError, match="inner"):
        colour.run(outer)


def test_one_failed_task_never_cancels_its_siblings(colour: Colour) -> None:
    bad = failing(colour)
    done: list[int] = []

    @task
    @colour.body
    def good() -> Body[None]:
        yield colour.sleep(0.02)
        done.append(1)

    @flow(unobserved="ignore")
    @colour.body
    def outer() -> None:
        good.submit()
        bad.submit()
        good.submit()

    colour.run(outer)
    assert done == [1, 1]


def test_a_thread_of_the_bodys_own_does_not_hold_the_flow() -> None:
    @flow
    def outer() -> str:
        thread = threading.Thread(target=lambda: time.sleep(0.01))
        thread.start()
        return "returned"

    assert outer() == "returned"


# -- bodies that are closed and not ended ---------------------------------------------------------------------------


class Quiet(asyncio.Task[Any]):
    def __del__(self) -> None:
        """A loop that is closed under its tasks leaves them pending; that is what the tests are about."""


def _closed_under(body: Callable[[], Coroutine[Any, Any, object]], began: threading.Event) -> asyncio.Task[Any]:
    """The task of a body that still waits when its event loop is closed."""
    loop = asyncio.new_event_loop()
    loop.set_task_factory(lambda loop, coro, **options: Quiet(coro, loop=loop, **options))

    async def start() -> asyncio.Task[Any]:
        task = asyncio.ensure_future(body())
        while not began.is_set():
            await asyncio.sleep(0.001)
        return task

    task = loop.run_until_complete(start())
    loop.close()
    return task


async def test_a_body_that_is_collected_in_the_middle_of_another_run_leaves_that_alone() -> None:
    began = threading.Event()

    @task
    async def forgotten() -> None:
        began.set()
        await asyncio.Event().wait()

    @flow(flow_run_name="mine")
    async def other() -> str:
        left.clear()
        gc.collect()
        return current_run().name

    async with Application():
        left = [await asyncio.to_thread(_closed_under, forgotten, began)]
        assert await other() == "mine"
    assert left == []


async def test_a_body_that_is_closed_computes_nothing_for_others_any_more() -> None:
    """Its cache key is free for the next one, also where its event loop goes on."""
    computed: list[int] = []

    @task(cache_policy=INPUTS)
    async def step() -> int:
        computed.append(1)
        if len(computed) == 1:
            await asyncio.Event().wait()
        return len(computed)

    async def by_hand() -> None:
        steps = body.__await__()
        while not computed:
            waited = next(steps)
            while not computed and waited is not None and not waited.done():
                await asyncio.sleep(0.001)

    async with Application():
        body: Any = step()
        await by_hand()
        body.close()
        assert await step() == 2
