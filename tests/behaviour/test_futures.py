"""Futures as users meet them: awaited, asked, waited for and cancelled, from every thread and every loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from asyncflow import Application, Future, FutureList, as_completed, flow, gather, task, wait
from asyncflow.exceptions import (
    BlockingCall,
    CancelledRun,
    ForeignFuture,
    FutureTimeout,
    InvalidOption,
)

from ..colours import Body, Colour
from .outside import Stored, holding


def doubling(colour: Colour) -> Any:
    @task(name="double")
    @colour.body
    def double(number: int) -> int:
        if number < 0:
            raise ValueError(number)
        return 2 * number

    return double


# -- the outcome ------------------------------------------------------------------------------------------------


def test_a_future_gives_the_value(colour: Colour) -> None:
    double = doubling(colour)

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        future = double.submit(4)
        assert isinstance(future, Future)
        value = yield colour.result(future)
        assert future.done()
        assert future.state.is_completed()
        assert future.result() == future.result(timeout=0) == value
        assert future.wait() is True
        return value, future.name, future.state.run_id == future.task_run_id

    assert colour.run(pipeline) == (8, "double", True)


def test_a_future_raises_the_very_error(colour: Colour) -> None:
    error = KeyError("lost")

    @task
    @colour.body
    def fail() -> None:
        raise error

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        future = fail.submit()
        with pytest.raises(KeyError) as caught:
            yield colour.result(future)
        assert caught.value is error
        assert future.state.is_failed()
        assert future.result(raise_on_failure=False) is error
        with pytest.raises(KeyError):
            future.result()
        return "seen"

    assert colour.run(pipeline) == "seen"


def test_a_failure_cancels_no_sibling(colour: Colour) -> None:
    gate = threading.Event()
    hold, double = holding(colour, gate), doubling(colour)

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        sibling, broken = hold.submit("kept"), double.submit(-1)
        with pytest.raises(ValueError, match="-1"):
            yield colour.result(broken)
        assert not sibling.done()
        gate.set()
        return (yield colour.result(sibling))

    assert colour.run(pipeline) == "kept"


def test_the_state_is_final_only_once_it_is_done(colour: Colour) -> None:
    gate = threading.Event()
    hold = holding(colour, gate)

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        future = hold.submit(1)
        before = future.done(), future.state.is_final()
        while not future.state.is_running():
            yield colour.sleep(0.001)
        gate.set()
        yield colour.result(future)
        return before, future.done(), repr(future.state)

    assert colour.run(pipeline) == ((False, False), True, "Completed()")


# -- timeouts ---------------------------------------------------------------------------------------------------


def test_a_wait_that_ends_early_ends_nothing() -> None:
    gate = threading.Event()
    hold = holding(Colour("sync"), gate)

    @flow
    def pipeline() -> Any:
        future = hold.submit(7)
        assert future.wait(0.001) is False
        with pytest.raises(FutureTimeout, match=r"'hold' did not end within 0\.001 seconds") as caught:
            future.result(timeout=0.001)
        assert isinstance(caught.value, TimeoutError)
        gate.set()
        return future.result(timeout=30)

    assert pipeline() == 7


@pytest.mark.parametrize("timeout", [-1, True, float("nan")])
def test_a_timeout_is_a_number_of_seconds(colour: Colour, timeout: Any) -> None:
    double = doubling(colour)

    @flow
    @colour.body
    def pipeline() -> Body[None]:
        future = double.submit(1)
        yield colour.result(future)
        for ask in (future.wait, future.result, lambda timeout: wait([future], timeout)):
            with pytest.raises(InvalidOption, match="timeout"):
                ask(timeout)
        with pytest.raises(InvalidOption, match="timeout"):
            as_completed([future], timeout)

    colour.run(pipeline)


def test_a_wait_that_timed_out_observes_nothing() -> None:
    gate = threading.Event()

    @task
    def fail() -> None:
        gate.wait()
        raise ValueError("unseen")

    @flow
    def pipeline() -> None:
        assert not fail.submit().wait(0.001)
        gate.set()

    with pytest.raises(ValueError, match="unseen"):
        pipeline()


async def test_cancelling_who_waits_cancels_no_task() -> None:
    gate = threading.Event()
    hold = holding(Colour("async"), gate)

    @flow
    async def pipeline() -> Any:
        future = hold.submit("alive")

        async def waiter() -> None:
            await future

        waiting = asyncio.create_task(waiter())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.ensure_future(waiter()), 0.001)
        gate.set()
        return await future

    assert await pipeline() == "alive"


# -- cancelling -------------------------------------------------------------------------------------------------


def test_cancel_before_the_start(colour: Colour, home: Path) -> None:
    hold = holding(colour, threading.Event())
    free = threading.Event()
    blocked = holding(colour, free)

    @flow
    @colour.body
    def pipeline() -> Body[None]:
        first = blocked.submit()
        future = hold.submit(wait_for=[first])
        assert future.cancel("not needed") is True
        with pytest.raises(CancelledRun, match="not needed"):
            yield colour.result(future)
        assert future.state.is_cancelled()
        free.set()

    colour.run(pipeline)
    assert Stored(home).run("hold-1")["state_message"] == "not needed"


def test_cancel_at_once_never_runs_the_body(colour: Colour, home: Path) -> None:
    ran: list[int] = []
    gate = threading.Event()  # a thread may begin before it is told not to; then it must not end either

    @task
    @colour.body
    def note() -> None:
        ran.append(1)
        if colour.name == "sync":
            gate.wait()

    @flow
    @colour.body
    def pipeline() -> Body[str]:
        future = note.submit()
        assert future.cancel("changed my mind")
        with pytest.raises(CancelledRun, match="changed my mind"):
            yield colour.result(future)
        return future.state.name

    assert colour.run(pipeline) == "Cancelled"
    gate.set()
    assert colour.name == "sync" or ran == []
    stored = Stored(home).run("note")
    assert (stored["state_type"], stored["state_message"]) == ("CANCELLED", "changed my mind")


def test_cancel_while_running(colour: Colour, home: Path) -> None:
    gate = threading.Event()
    hold = holding(colour, gate)

    @flow
    @colour.body
    def pipeline() -> Body[str]:
        future = hold.submit()
        while not future.state.is_running():
            yield colour.sleep(0.001)
        assert future.cancel("too late for it")
        assert future.cancel("said again") in {True, False}
        with pytest.raises(CancelledRun, match="too late for it"):
            yield colour.result(future)
        gate.set()
        return repr(future.state)

    assert colour.run(pipeline) == "Cancelled('too late for it')"
    assert Stored(home).run("hold")["state_message"] == "too late for it"


def test_cancel_after_the_end_changes_nothing(colour: Colour) -> None:
    double = doubling(colour)

    @flow
    @colour.body
    def pipeline() -> Body[int]:
        future = double.submit(3)
        yield colour.result(future)
        assert future.cancel() is False
        return future.result()  # type: ignore[no-any-return]

    assert colour.run(pipeline) == 6


def test_a_cancelled_task_is_no_failure_of_its_flow(colour: Colour) -> None:
    gate = threading.Event()
    hold = holding(colour, gate)

    @flow
    @colour.body
    def pipeline() -> str:
        hold.submit().cancel()
        gate.set()
        return "done"

    assert colour.run(pipeline) == "done"


# -- callbacks --------------------------------------------------------------------------------------------------


def test_done_callbacks_are_called_once_each(colour: Colour) -> None:
    double = doubling(colour)
    seen: list[Any] = []

    @flow
    @colour.body
    def pipeline() -> Body[None]:
        future = double.submit(5)
        future.add_done_callback(seen.append)
        yield colour.result(future)
        while len(seen) < 1:
            yield colour.sleep(0.001)
        future.add_done_callback(lambda one: seen.append(one.result()))
        while len(seen) < 2:
            yield colour.sleep(0.001)

    colour.run(pipeline)
    assert isinstance(seen[0], Future)
    assert seen[1:] == [10]


def test_an_error_in_a_callback_is_no_error_of_the_run(colour: Colour, caplog: pytest.LogCaptureFixture) -> None:
    double = doubling(colour)
    called: list[int] = []

    def broken(_: object) -> None:
        raise RuntimeError("callback")

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        future = double.submit(5)
        future.add_done_callback(broken)
        future.add_done_callback(lambda _: called.append(1))
        value = yield colour.result(future)
        while not called:
            yield colour.sleep(0.001)
        return value

    with caplog.at_level(logging.ERROR, "asyncio"):
        assert colour.run(pipeline) == 10
    assert any("done callback" in record.getMessage() for record in caplog.records)


def test_a_callback_counts_as_looking_at_a_failure(colour: Colour) -> None:
    double = doubling(colour)

    @flow
    @colour.body
    def pipeline() -> str:
        double.submit(-1).add_done_callback(lambda _: None)
        return "fine"

    assert colour.run(pipeline) == "fine"


# -- lists of futures -------------------------------------------------------------------------------------------


def test_a_future_list_keeps_the_order_of_its_inputs(colour: Colour) -> None:
    @task
    @colour.body
    def slow_first(number: int) -> Body[int]:
        yield colour.sleep(0.004 * (3 - number))
        return number

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        futures = slow_first.map(range(3))
        assert isinstance(futures, FutureList)
        values = yield colour.result(futures)
        done, not_done = futures.wait()
        return values, [one.result() for one in futures], len(done), not_done, futures.result()

    assert colour.run(pipeline) == ([0, 1, 2], [0, 1, 2], 3, set(), [0, 1, 2])


def test_a_future_list_raises_its_first_failure(colour: Colour) -> None:
    gate = threading.Event()

    @task
    @colour.body
    def fail(number: int) -> Body[int]:
        while number == 0 and not gate.is_set():
            yield colour.sleep(0.002)
        if number == 1:
            raise ValueError(number)
        return number

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        futures = fail.map(range(3))
        with pytest.raises(ValueError, match="1"):
            yield colour.result(futures)
        assert not futures[0].done()
        gate.set()
        _, not_done = yield wait(futures)
        assert not not_done
        values = futures.result(raise_on_failure=False)
        return values[0], type(values[1]), values[2]

    assert colour.run(pipeline) == (0, ValueError, 2)


def test_a_future_list_waits_so_long_and_no_longer() -> None:
    gate = threading.Event()
    hold = holding(Colour("sync"), gate)

    @flow
    def pipeline() -> Any:
        futures = hold.map([1, 2])
        done, not_done = futures.wait(timeout=0.001)
        assert not done
        with pytest.raises(FutureTimeout, match=r"2 \(of 2\) futures had not ended within 0.001 seconds"):
            futures.result(timeout=0.001)
        gate.set()
        return len(not_done), futures.result(timeout=30)

    assert pipeline() == (2, [1, 2])


# -- many futures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("return_when", "finished"), [("FIRST_COMPLETED", 1), ("FIRST_EXCEPTION", 2), ("ALL_COMPLETED", 3)]
)
def test_wait_returns_when_it_was_told_to(colour: Colour, return_when: str, finished: int) -> None:
    @task
    @colour.body
    def step(number: int) -> Body[int]:
        while number >= len(opened):
            yield colour.sleep(0.001)
        if number == 1:
            raise ValueError(number)
        return number

    opened: list[int] = []

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        futures = [step.submit(number) for number in range(3)]
        opened.extend(range(finished))
        done, not_done = yield wait([*futures, futures[0]], return_when=return_when)
        opened.extend(range(3))
        yield wait(futures)
        assert futures[1].state.is_failed()
        # which of several that may end first does so is open; that the decisive one has ended is not
        decisive = {"FIRST_COMPLETED": futures[0], "FIRST_EXCEPTION": futures[1], "ALL_COMPLETED": futures[2]}
        return decisive[return_when] in done and not done & set(futures[finished:]), len(done | not_done)

    assert colour.run(pipeline) == (True, 3)


def test_wait_ends_in_time_without_raising(colour: Colour) -> None:
    gate = threading.Event()
    hold, double = holding(colour, gate), doubling(colour)

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        held, failed = hold.submit(), double.submit(-1)
        while not failed.done():
            yield colour.sleep(0.001)
        done, not_done = yield wait([held, failed], timeout=0.01, return_when="ALL_COMPLETED")
        assert done == {failed}
        assert not_done == {held}
        gate.set()
        with pytest.raises(ValueError, match="-1"):
            yield colour.result(failed)
        assert (yield wait([])) == (set(), set())
        with pytest.raises(InvalidOption, match="return_when is 'SOMEDAY'"):
            wait([held], return_when="SOMEDAY")
        with pytest.raises(InvalidOption, match="it takes futures"):
            wait([held, 5])  # type: ignore[list-item]

    colour.run(pipeline)


async def _gone_through(futures: list[Any], timeout: float | None = None) -> list[Any]:
    return [future async for future in as_completed(futures, timeout)]


def test_as_completed_gives_each_future_once_as_it_ends(colour: Colour) -> None:
    turn = [2, 0, 1]

    @task
    @colour.body
    def step(number: int) -> Body[int]:
        while turn[0] != number:
            yield colour.sleep(0.001)
        return number

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        futures = [step.submit(number) for number in range(3)]
        for future in futures:
            future.add_done_callback(lambda _: turn.pop(0))
        several = [*futures, futures[1]]
        ended = yield _gone_through(several) if colour.is_async else list(as_completed(several))
        assert all(future.done() for future in ended)
        return [future.result() for future in ended]

    assert colour.run(pipeline) == [2, 0, 1]


def test_as_completed_says_how_many_are_left(colour: Colour) -> None:
    gate = threading.Event()
    hold, double = holding(colour, gate), doubling(colour)

    @flow
    @colour.body
    def pipeline() -> Body[None]:
        quick = double.submit(1)
        yield colour.result(quick)
        several = [quick, hold.submit(1), hold.submit(2)]
        with pytest.raises(FutureTimeout, match=r"2 \(of 3\) futures had not ended within 0.01 seconds"):
            yield _gone_through(several, 0.01) if colour.is_async else list(as_completed(several, 0.01))
        gate.set()

    colour.run(pipeline)


def test_gather_gives_values_in_their_order_or_the_first_failure(colour: Colour) -> None:
    double = doubling(colour)

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        values = yield gather(double.submit(1), double.submit(2))
        with pytest.raises(ValueError, match="-2"):
            yield gather(double.submit(1), double.submit(-2))
        mixed = yield gather(double.submit(-3), double.submit(3), return_exceptions=True)
        return values, repr(mixed[0]), mixed[1], (yield gather())

    assert colour.run(pipeline) == ([2, 4], "ValueError(-3)", 6, [])


async def test_gather_makes_each_coroutine_a_branch(home: Path) -> None:
    @task
    async def token() -> int:
        await asyncio.sleep(0)
        return 1

    async def customer(name: str) -> str:
        return f"{name}{await token()}{await token()}"

    @flow
    async def pipeline() -> list[str]:
        return [*await gather(customer("a"), customer("b")), *await gather(customer("c"), token())]

    assert await pipeline() == ["a11", "b11", "c11", 1]
    keys = [row[0] for row in Stored(home).rows("select key from run where spec_name = 'token'")]
    assert len(keys) == 7
    assert len(set(keys)) == 7
    assert {key.rsplit(":", 1)[1] for key in keys} == {"0", "1"}


async def test_gather_cancels_coroutines_but_never_futures() -> None:
    gate = threading.Event()
    hold, double = holding(Colour("async"), gate), doubling(Colour("async"))
    cleaned: list[str] = []

    async def plain() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append("up")

    @flow
    async def pipeline() -> Any:
        future = hold.submit("goes on")
        with pytest.raises(ValueError, match="-1"):
            await gather(plain(), future, double(-1))
        assert cleaned == ["up"]
        assert not future.done()
        gate.set()
        return await future

    assert await pipeline() == "goes on"


# -- who may block ----------------------------------------------------------------------------------------------


async def test_blocking_the_owners_loop_is_refused_and_a_done_future_answers() -> None:
    double = doubling(Colour("async"))

    @flow
    async def pipeline() -> int:
        future = double.submit(1)
        for ask in (future.result, future.wait, FutureList([future]).result, lambda: list(as_completed([future]))):
            with pytest.raises(BlockingCall, match="await"):
                ask()
        await future
        return future.result() + len(list(as_completed([future])))  # type: ignore[no-any-return]

    assert await pipeline() == 3


async def test_a_pool_thread_may_block_for_its_flows_loop() -> None:
    double = doubling(Colour("async"))

    @task
    def add(left: int) -> int:
        return left + double.submit(20).result()  # type: ignore[no-any-return]

    @flow
    async def pipeline() -> int:
        return await add.submit(2)

    assert await pipeline() == 42


async def test_another_loop_awaits_the_same_future() -> None:
    gate = threading.Event()
    hold = holding(Colour("async"), gate)

    async def elsewhere(future: Any) -> Any:
        asyncio.get_running_loop().call_later(0.005, gate.set)
        done, not_done = await wait([future])
        return await future, len(done), len(not_done), len(await _gone_through([future]))

    @flow
    async def pipeline() -> Any:
        future = hold.submit("both")
        there = await asyncio.to_thread(asyncio.run, elsewhere(future))
        return there, await future

    assert await pipeline() == (("both", 1, 0, 1), "both")


def test_other_threads_wait_for_the_same_future(colour: Colour) -> None:
    gate = threading.Event()
    hold = holding(colour, gate)

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        future = hold.submit("all")
        threads = ThreadPoolExecutor(4)
        waiting = [threads.submit(future.result) for _ in range(4)]
        gate.set()
        value = yield colour.result(future)
        while not all(one.done() for one in waiting):
            yield colour.sleep(0.001)
        threads.shutdown(wait=False)
        return [one.result() for one in waiting], value

    assert colour.run(pipeline) == (["all"] * 4, "all")


def test_a_future_of_a_closed_loop_says_so() -> None:
    kept: list[Any] = []
    gate = threading.Event()
    hold = holding(Colour("async"), gate)

    async def main() -> None:
        async with Application(database=":memory:"):
            kept.append(hold.submit(1))
            gate.set()
            await kept[0]
            loop_only: Future[Any] = Future(kept[0].run, asyncio.get_running_loop())
            kept.append(loop_only)

    asyncio.run(main())
    assert kept[0].result() == 1
    with pytest.raises(ForeignFuture, match="event loop that is closed"):
        kept[1].result()


# -- owners -----------------------------------------------------------------------------------------------------


@pytest.mark.blocks_loop  # while the default application opens
def test_a_task_submitted_outside_any_run_belongs_to_the_application(colour: Colour) -> None:
    double = doubling(colour)

    def script() -> Body[Any]:
        future = double.submit(21)
        return (yield colour.result(future))

    assert colour.run(colour.body(script)) == 42
