"""Hooks: who is told what, when, and that an error in one is nobody else's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncflow import current_run, flow, task
from asyncflow.cache_policies import INPUTS
from asyncflow.exceptions import CancelledRun, InvalidHook

from ..colours import Body, Colour
from .outside import Stored, holding

Kind = Callable[..., Callable[..., Any]]
kinds = pytest.mark.parametrize("kind", [flow, task], ids=["flow", "task"])


class Told:
    """A hook that remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, int, str]] = []

    def __call__(self, spec: Any, run: Any, state: Any) -> None:
        self.calls.append((spec.name, run.name, run.attempt, state.name))

    @property
    def states(self) -> list[str]:
        return [name for *_, name in self.calls]

    def is_async(self) -> Callable[..., Any]:
        async def hook(spec: Any, run: Any, state: Any) -> None:
            self(spec, run, state)

        return hook


def body(colour: Colour, fails: int = 0) -> Callable[..., Any]:
    @colour.body
    def work() -> int:
        if current_run().attempt <= fails:
            raise ValueError("no")
        return 1

    return work


@kinds
@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "awaited"])
def test_completion_is_told(colour: Colour, kind: Kind, is_async: bool) -> None:
    told, failed = Told(), Told()
    hook = told.is_async() if is_async else told
    spec = kind(on_completion=hook, on_failure=failed)(body(colour))
    assert colour.run(spec) == 1
    ((name, _, attempt, state),) = told.calls
    assert (name, attempt, state) == ("work", 1, "Completed")
    assert failed.calls == []


@kinds
def test_failure_is_told_after_the_last_attempt_and_running_at_each(colour: Colour, kind: Kind) -> None:
    told, running, completed = Told(), Told(), Told()
    spec = kind(retries=2, on_failure=[told], on_running=[running], on_completion=[completed])(body(colour, 9))
    with pytest.raises(ValueError, match="no"):
        colour.run(spec)
    assert [(attempt, state) for _, _, attempt, state in told.calls] == [(3, "Failed")]
    assert running.states == ["Running", "Retrying", "Retrying"]
    assert completed.calls == []


@kinds
def test_a_failure_that_a_retry_mends_is_not_told(colour: Colour, kind: Kind) -> None:
    failed, completed = Told(), Told()
    spec = kind(retries=1, on_failure=failed, on_completion=completed)(body(colour, 1))
    assert colour.run(spec) == 1
    assert (failed.states, completed.states) == ([], ["Completed"])


@kinds
def test_running_is_told_before_the_body(colour: Colour, kind: Kind) -> None:
    order: list[str] = []

    @kind(on_running=lambda *_: order.append("hook"))
    @colour.body
    def work() -> None:
        order.append("body")

    colour.run(work)
    assert order == ["hook", "body"]


@kinds
def test_hooks_by_decorator_join_those_of_the_options(colour: Colour, kind: Kind) -> None:
    order: list[int] = []
    spec = kind(on_completion=[lambda *_: order.append(1), lambda *_: order.append(2)])(body(colour))

    @spec.on_completion  # type: ignore[untyped-decorator]
    def third(*_: Any) -> None:
        order.append(3)

    colour.run(spec)
    assert order == [1, 2, 3]
    assert callable(third)


@kinds
def test_an_error_in_a_hook_is_logged_and_the_rest_run(colour: Colour, kind: Kind, home: Path) -> None:
    told = Told()

    def broken(*_: Any) -> None:
        raise RuntimeError("broken hook")

    async def broken_too(*_: Any) -> None:
        raise RuntimeError("broken as well")

    spec = kind(on_completion=[broken, broken_too, told])(body(colour))
    assert colour.run(spec) == 1
    assert told.states == ["Completed"]
    assert Stored(home).states("work") == ["Completed"]

    @flow
    def flush() -> None: ...

    flush()
    lines = Stored(home).lines("work")
    assert ["Hook 'broken' failed: RuntimeError('broken hook')" in line for line in lines].count(True) == 1
    assert any("broken as well" in line for line in lines)


@kinds
@pytest.mark.blocks_loop
def test_a_hook_finds_the_end_committed(colour: Colour, kind: Kind, home: Path) -> None:
    seen: list[str] = []

    def look(spec: Any, run: Any, state: Any) -> None:
        seen.append(Stored(home).run(run.id)["state_type"])

    assert colour.run(kind(on_completion=look)(body(colour))) == 1
    with pytest.raises(ValueError, match="no"):
        colour.run(kind(on_failure=look)(body(colour, 9)))
    assert seen == ["COMPLETED", "FAILED"]


def test_hooks_run_before_the_caller_goes_on(colour: Colour) -> None:
    order: list[str] = []
    step = task(on_completion=lambda *_: order.append("hook"))(body(colour))

    @flow
    @colour.body
    def pipeline() -> Body[None]:
        yield step()
        order.append("after the call")
        future = step.submit()
        yield colour.result(future)
        order.append("after the future")

    colour.run(pipeline)
    assert order == ["hook", "after the call", "hook", "after the future"]


def test_completion_is_told_of_cached_results_too(colour: Colour) -> None:
    told, running = Told(), Told()

    @task(cache_policy=INPUTS, on_completion=told, on_running=running)
    @colour.body
    def work(number: int) -> int:
        return number

    assert colour.run(work, 1) == colour.run(work, 1) == 1
    assert told.states == ["Completed", "Cached"]
    assert running.states == ["Running"]


def test_a_cancelled_flow_tells_its_cancellation_hooks_only(colour: Colour) -> None:
    told, others = Told(), Told()
    gate = threading.Event()
    hold = holding(colour, gate)

    @flow(on_cancellation=told, on_failure=others, on_completion=others, on_crashed=others)
    @colour.body
    def inner() -> Body[Any]:
        return (yield hold())

    @flow
    @colour.body
    def outer() -> Body[str]:
        future = inner.submit()
        while not future.state.is_running():
            yield colour.sleep(0.001)
        future.cancel("by its caller")
        with pytest.raises(CancelledRun, match="by its caller"):
            yield colour.result(future)
        gate.set()
        return future.state.name

    assert colour.run(outer) == "Cancelled"
    assert told.states == ["Cancelled"]
    assert others.calls == []


def test_a_flow_told_to_be_cancelled_by_its_body(colour: Colour) -> None:
    from asyncflow.states import Cancelled

    told = Told()

    @flow(on_cancellation=told)
    @colour.body
    def stops() -> Any:
        return Cancelled(message="enough")

    assert colour.run(stops, return_state=True).is_cancelled()
    assert told.states == ["Cancelled"]


def test_other_options_keep_the_hooks_and_add_none_to_the_original(colour: Colour) -> None:
    first, second = Told(), Told()
    spec = task(on_completion=first)(body(colour))
    copy = spec.with_options(name="copy")
    copy.on_completion(second)
    colour.run(spec)
    assert (first.states, second.states) == (["Completed"], [])
    colour.run(copy)
    assert (first.states, second.states) == (["Completed"] * 2, ["Completed"])


@kinds
@pytest.mark.parametrize("given", ["name", 5, [5], ["name"]])
def test_what_cannot_be_called_is_refused(kind: Kind, given: Any) -> None:
    with pytest.raises(InvalidHook, match="on_completion"):
        kind(on_completion=given)(lambda: None)
    assert issubclass(InvalidHook, TypeError)


async def test_the_hooks_of_a_cancelled_run_may_await_in_a_scope_that_asks_at_every_await() -> None:
    """So anyio cancels, and with it the servers that cancel a handler whose client has gone."""
    told: list[str] = []

    async def first(flow: Any, run: Any, state: Any) -> None:
        await asyncio.sleep(0)
        told.append("first")

    def second(flow: Any, run: Any, state: Any) -> None:
        told.append("second")

    @flow(on_cancellation=[first, second])
    async def waits() -> None:
        scope.cancel()
        await asyncio.Event().wait()

    with anyio.CancelScope() as scope:
        await waits()
    assert scope.cancelled_caught
    assert told == ["first", "second"]
