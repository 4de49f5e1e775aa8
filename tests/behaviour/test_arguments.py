"""Futures and states among the arguments: found, waited for, replaced, remembered; and what a failed one does."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from typing import Any

import pydantic
import pytest

from asyncflow import Future, allow_failure, flow, quote, task, unmapped
from asyncflow.exceptions import (
    BlockingCall,
    DependencyCycle,
    FailedRun,
    ForeignFuture,
    InvalidOption,
    UpstreamTaskError,
)
from asyncflow.states import Completed, Failed

from ..colours import Body, Colour
from .remembered import run_of, runs

Pair = namedtuple("Pair", ["left", "right"])


@dataclass
class Point:
    x: Any
    y: Any = 0


@dataclass(frozen=True)
class Frozen:
    x: Any
    several: tuple[Any, ...] = ()


@dataclass
class Derived:
    x: Any
    twice: Any = field(init=False, default=None)


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    x: Any
    inner: Any = None


class Tasks:
    """One task of each kind, in one colour."""

    def __init__(self, colour: Colour) -> None:
        @task
        @colour.body
        def number(x: int = 1) -> Body[Any]:
            yield colour.sleep(0.002)
            return x

        @task
        @colour.body
        def bad(x: int = 1) -> int:
            raise ValueError(f"bad {x}")

        @task
        @colour.body
        def same(value: Any = None, *rest: Any, **more: Any) -> Any:
            return (value, rest, more) if rest or more else value

        self.number, self.bad, self.same = number, bad, same


@pytest.fixture
def tasks(colour: Colour) -> Tasks:
    return Tasks(colour)


SHAPES: dict[str, Any] = {
    "itself": lambda f: f,
    "list": lambda f: [f, 1, [f]],
    "tuple": lambda f: (f, (f, 2)),
    "set": lambda f: {f},
    "frozenset": lambda f: frozenset({f}),
    "dict": lambda f: {"a": f, "b": {"c": [f]}},
    "ordered dict": lambda f: OrderedDict(a=f),
    "named tuple": lambda f: Pair(f, [f]),
    "dataclass": lambda f: Point(f, [f]),
    "frozen dataclass": lambda f: Frozen(f, (f,)),
    "dataclass with a field of its own": Derived,
    "model": lambda f: Model(x=f, inner=Model(x=[f])),
    "all of it": lambda f: [{"a": (Point(f), Model(x={f}))}],
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("how", ["called", "submitted"])
def test_futures_are_found_wherever_they_are(colour: Colour, tasks: Tasks, shape: Any, how: str) -> None:
    @flow
    @colour.body
    def outer() -> Body[Any]:
        future = tasks.number.submit(5)
        given = shape(future)
        value = yield tasks.same(given) if how == "called" else colour.result(tasks.same.submit(given))
        assert how != "left as it was"
        assert repr(given) == repr(shape(future))
        return value

    assert colour.run(outer) == shape(5)
    assert run_of("same").depends_on == (run_of("number").id,)


def test_futures_in_star_arguments_are_found(colour: Colour, tasks: Tasks) -> None:
    @flow
    @colour.body
    def outer() -> Body[Any]:
        one, two, three = (tasks.number.submit(x) for x in range(3))
        return (yield tasks.same(one, [two], x=three))

    assert colour.run(outer) == (0, ([1],), {"x": 2})
    assert len(run_of("same").depends_on) == 3


def test_states_as_arguments_are_resolved(colour: Colour, tasks: Tasks) -> None:
    @flow
    @colour.body
    def outer() -> Body[Any]:
        state = yield tasks.number(3, return_state=True)
        return (yield tasks.same([state, Completed(data="made"), state]))

    assert colour.run(outer) == [3, "made", 3]
    assert run_of("same").depends_on == (run_of("number").id,)


def test_a_failed_state_as_an_argument_is_a_failed_upstream(colour: Colour, tasks: Tasks) -> None:
    @flow
    @colour.body
    def outer() -> Body[Any]:
        with pytest.raises(UpstreamTaskError) as caught:
            yield tasks.same(Failed(message="made"))
        assert isinstance(caught.value.__cause__, FailedRun)
        return (yield tasks.same(allow_failure(Failed(data=ValueError("kept")))))

    assert str(colour.run(outer)) == "kept"


def test_what_holds_no_future_is_handed_over_uncopied(colour: Colour, tasks: Tasks) -> None:
    given = [{"a": [1, (2,)]}, Point(1), object()]

    @flow
    @colour.body
    def outer() -> Body[Any]:
        return (yield tasks.same(given)) is given and (yield colour.result(tasks.same.submit(given))) is given

    assert colour.run(outer) is True


def test_only_what_changed_is_rebuilt(colour: Colour, tasks: Tasks) -> None:
    kept = {"untouched": [1]}

    @flow
    @colour.body
    def outer() -> Body[Any]:
        value = yield tasks.same([kept, tasks.number.submit()])
        return value[0] is kept, value[1]

    assert colour.run(outer) == (True, 1)


def test_the_walk_is_bounded_in_depth_and_size(colour: Colour, tasks: Tasks) -> None:
    deep: list[Any] = []
    for _ in range(2000):
        deep = [deep]
    circle: list[Any] = []
    circle.append(circle)

    @flow
    @colour.body
    def outer() -> Body[Any]:
        yield tasks.same(deep)
        yield tasks.same(circle)
        yield tasks.same(list(range(200_000)))
        return "walked"

    assert colour.run(outer) == "walked"


def test_a_circle_that_holds_a_future_is_no_hang(colour: Colour, tasks: Tasks) -> None:
    @flow
    @colour.body
    def outer() -> Body[Any]:
        circle: list[Any] = [tasks.number.submit(4)]
        circle.append(circle)
        value = yield tasks.same(circle)
        return value[0]

    assert colour.run(outer) == 4


def test_quote_hands_over_the_future_itself(colour: Colour, tasks: Tasks) -> None:
    @task
    @colour.body
    def kind(value: Any) -> str:
        return type(value[0]).__name__

    @flow
    @colour.body
    def outer() -> Body[Any]:
        return (yield kind(quote([tasks.number.submit()])))

    assert colour.run(outer) == "Future"


def test_unmapped_is_taken_off_outside_of_map(colour: Colour, tasks: Tasks) -> None:
    @flow
    @colour.body
    def outer() -> Body[Any]:
        called = yield tasks.same(unmapped([1]))
        return called, (yield colour.result(tasks.same.submit(unmapped(tasks.number.submit(2)))))

    assert colour.run(outer) == ([1], 2)


# -- wait_for ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["called", "submitted"])
def test_wait_for_orders_without_passing_anything(colour: Colour, how: str) -> None:
    order: list[str] = []

    @task
    @colour.body
    def first() -> Body[None]:
        yield colour.sleep(0.01)
        order.append("first")

    @task
    @colour.body
    def second() -> None:
        order.append("second")

    @flow
    @colour.body
    def outer() -> Body[None]:
        before = first.submit()
        if how == "called":
            yield second(wait_for=[before])
        else:
            yield colour.result(second.submit(wait_for=[[before]]))

    colour.run(outer)
    assert order == ["first", "second"]
    assert run_of("second").depends_on == (run_of("first").id,)


def test_a_failed_wait_for_is_a_failed_upstream_unless_allowed(colour: Colour, tasks: Tasks) -> None:
    @flow
    @colour.body
    def outer() -> Body[Any]:
        future = tasks.bad.submit()
        with pytest.raises(UpstreamTaskError):
            yield tasks.same(1, wait_for=[future])
        return (yield tasks.same(2, wait_for=[allow_failure(future)]))

    assert colour.run(outer) == 2
    assert [run.state_name for run in runs(spec_name="same")] == ["UpstreamFailed", "Completed"]


def test_wait_for_takes_a_single_future_a_map_or_nothing(colour: Colour, tasks: Tasks) -> None:
    @flow
    @colour.body
    def outer() -> Body[Any]:
        single = yield tasks.same(1, wait_for=tasks.number.submit())
        several = yield tasks.same(2, wait_for=tasks.number.map([1, 2]))
        nothing = yield tasks.same(3, wait_for=[])
        return single, several, nothing, (yield tasks.same(4, wait_for=None))

    assert colour.run(outer) == (1, 2, 3, 4)
    assert [len(run.depends_on) for run in runs(spec_name="same")] == [1, 2, 0, 0]


@pytest.mark.parametrize("wrong", ["text", 3, [3], ["text"], [None]])
def test_a_wait_for_that_cannot_be_waited_for_is_refused_at_once(colour: Colour, tasks: Tasks, wrong: Any) -> None:
    @flow
    @colour.body
    def outer() -> str:
        for call in (tasks.same, tasks.same.submit):
            with pytest.raises(InvalidOption, match="wait_for"):
                call(1, wait_for=wrong)
        return "refused"

    assert colour.run(outer) == "refused"


# -- a failed upstream ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["called", "submitted"])
def test_with_a_failed_upstream_the_task_does_not_run(colour: Colour, tasks: Tasks, how: str) -> None:
    ran: list[Any] = []

    @task(retries=3)
    @colour.body
    def after(value: Any) -> None:
        ran.append(value)

    @flow
    @colour.body
    def outer() -> Body[Any]:
        future = tasks.bad.submit(7)
        with pytest.raises(UpstreamTaskError) as caught:
            yield after([future]) if how == "called" else colour.result(after.submit([future]))
        assert isinstance(caught.value.__cause__, ValueError)
        return str(caught.value.__cause__), str(caught.value)

    original, error = colour.run(outer)
    assert original == "bad 7"
    assert "'after'" in error
    assert "'bad'" in error
    assert ran == []
    run = run_of("after")
    assert (run.state_type, run.state_name, run.attempt) == ("FAILED", "UpstreamFailed", 0)


def test_a_failed_upstream_passes_down_a_chain(colour: Colour, tasks: Tasks) -> None:
    @flow
    @colour.body
    def outer() -> Any:
        return tasks.same.submit(tasks.same.submit(tasks.bad.submit(1)))

    state = colour.run(outer, return_state=True)
    assert isinstance(state.data, UpstreamTaskError)
    assert isinstance(state.data.__cause__, UpstreamTaskError)
    assert isinstance(state.data.__cause__.__cause__, ValueError)
    assert [run.state_name for run in runs(spec_name="same")] == ["UpstreamFailed"] * 2


def test_a_cancelled_upstream_is_a_failed_upstream(colour: Colour, tasks: Tasks) -> None:
    @task
    async def waits() -> None:
        await asyncio.sleep(30)

    @flow
    @colour.body
    def outer() -> Body[Any]:
        future = waits.submit()
        future.cancel()
        with pytest.raises(UpstreamTaskError):
            yield tasks.same(future)
        return "refused"

    assert colour.run(outer) == "refused"


def test_allow_failure_passes_the_exception_object(colour: Colour, tasks: Tasks) -> None:
    @flow
    @colour.body
    def outer() -> Body[Any]:
        bad, good = tasks.bad.submit(7), tasks.number.submit(2)
        called = yield tasks.same(allow_failure(bad))
        nested = yield colour.result(tasks.same.submit({"a": [allow_failure(bad)], "b": allow_failure([good, bad])}))
        return type(called).__name__, str(called), called is nested["a"][0], nested["b"][0], str(nested["b"][1])

    assert colour.run(outer) == ("ValueError", "bad 7", True, 2, "bad 7")


def test_a_parameter_default_may_hold_no_future_but_values(colour: Colour) -> None:
    @task
    @colour.body
    def step(x: Any = (1, [2])) -> Any:
        return x

    assert colour.run(step) == (1, [2])


# -- circles, foreign loops -------------------------------------------------------------------------------------------


def test_a_task_that_is_told_to_wait_for_itself_is_refused(colour: Colour) -> None:
    box: list[Future[Any]] = []

    @task
    @colour.body
    def inner(value: Any = None) -> None: ...

    @task
    @colour.body
    def outer_task() -> Body[Any]:
        while not box:
            yield colour.sleep(0.001)
        refused = 0
        for call in (
            lambda: inner(box[0]),
            lambda: inner([box[0]]),
            lambda: inner.submit({"a": box[0]}),
            lambda: inner(wait_for=[box[0]]),
            lambda: inner.submit(wait_for=box[0]),
        ):
            with pytest.raises(DependencyCycle, match="outer_task"):
                call()
            refused += 1
        return f"refused {refused}"

    @flow
    @colour.body
    def outer() -> Body[Any]:
        box.append(outer_task.submit())
        return (yield colour.result(box[0]))

    assert colour.run(outer) == "refused 5"
    assert runs(spec_name="inner") == []


def test_a_task_deeper_down_is_refused_as_well(colour: Colour) -> None:
    box: list[Future[Any]] = []

    @task
    @colour.body
    def leaf(value: Any) -> None: ...

    @flow
    @colour.body
    def middle() -> Body[Any]:
        with pytest.raises(DependencyCycle):
            leaf(box[0])
        return "refused"
        yield

    @task
    @colour.body
    def top() -> Body[Any]:
        while not box:
            yield colour.sleep(0.001)
        return (yield middle())

    @flow
    @colour.body
    def outer() -> Body[Any]:
        box.append(top.submit())
        return (yield colour.result(box[0]))

    assert colour.run(outer) == "refused"


@pytest.mark.blocks_loop
def test_a_future_of_a_closed_loop_is_foreign() -> None:
    @task
    async def step() -> int:
        return 1

    box: list[Future[int]] = []

    async def script() -> None:
        box.append(step.submit())
        await box[0]
        box.append(_pending_of_this_loop(box[0]))

    asyncio.run(script())
    assert box[0].result() == 1  # what has ended answers for ever
    with pytest.raises(ForeignFuture, match="closed"):
        box[1].result(1)

    @flow
    async def outer() -> Any:
        with pytest.raises(ForeignFuture):
            await box[1]
        return await box[0]

    assert asyncio.run(outer()) == 1


def _pending_of_this_loop(like: Future[int]) -> Future[int]:
    return Future(like.run, asyncio.get_running_loop())


@pytest.mark.blocks_loop
def test_a_foreign_future_as_an_argument_fails_the_call_and_does_not_hang(colour: Colour, tasks: Tasks) -> None:
    box: list[Future[Any]] = []

    @task
    async def step() -> int:
        return 1

    async def script() -> None:
        box.append(step.submit())
        await box[0]
        box.append(_pending_of_this_loop(box[0]))

    asyncio.run(script())

    @flow
    @colour.body
    def outer() -> Body[Any]:
        with pytest.raises(ForeignFuture):
            yield tasks.same(box[1])
        return (yield tasks.same(box[0]))

    assert colour.run(outer) == 1


def test_a_future_of_another_loop_that_runs_is_awaited_there(colour: Colour, tasks: Tasks) -> None:
    @task
    async def elsewhere() -> int:
        await asyncio.sleep(0.01)
        return 9

    future = elsewhere.submit()  # on the house loop

    @flow
    @colour.body
    def outer() -> Body[Any]:
        return (yield tasks.same([future]))

    assert colour.run(outer) == [9]


@pytest.mark.blocks_loop
async def test_a_sync_call_that_waits_for_its_own_blocked_loop_is_refused(anyio_backend: Any) -> None:
    @task
    async def slow() -> int:
        await asyncio.sleep(0)
        return 1

    @task
    def same(value: Any) -> Any:
        return value

    @flow
    async def outer() -> Any:
        future = slow.submit()
        with pytest.raises(BlockingCall):
            same(future)
        await future
        return same(future)

    assert await outer() == 1


# -- what is remembered of it -----------------------------------------------------------------------------------------


def test_dependencies_by_value_are_recorded(colour: Colour, tasks: Tasks) -> None:
    @task
    @colour.body
    def makes() -> list[int]:
        return [1, 2]

    @task
    @colour.body
    def makes_point() -> Point:
        return Point(1)

    @flow
    @colour.body
    def outer() -> Body[None]:
        several = yield makes()
        point = yield makes_point()
        yield tasks.same(several)
        yield tasks.same(point)
        yield tasks.same([1, 2])

    colour.run(outer)
    expected = [(run_of("makes").id,), (run_of("makes_point").id,), ()]
    assert [run.depends_on for run in runs(spec_name="same")] == expected


def test_dependencies_by_value_never_come_from_atoms(colour: Colour, tasks: Tasks) -> None:
    @flow
    @colour.body
    def outer() -> Body[None]:
        one = yield tasks.number(1)
        yield tasks.same(one)
        yield tasks.same("text")

    colour.run(outer)
    assert [run.depends_on for run in runs(spec_name="same")] == [(), ()]


def test_dependencies_are_each_recorded_once(colour: Colour, tasks: Tasks) -> None:
    @flow
    @colour.body
    def outer() -> Body[None]:
        one, two = tasks.number.submit(1), tasks.number.submit(2)
        yield tasks.same([one, two, one], wait_for=[two])

    colour.run(outer)
    numbers = sorted(run.id for run in runs(spec_name="number"))
    assert sorted(run_of("same").depends_on) == numbers
