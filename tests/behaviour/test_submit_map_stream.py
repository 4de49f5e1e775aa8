"""Many runs at once: submit, map over iterables, and stream over inputs without end, all of them bounded."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from asyncflow import Future, FutureList, allow_failure, flow, gather, task, unmapped, wait
from asyncflow.exceptions import (
    BlockingCall,
    InvalidOption,
    MappingError,
    MappingLengthMismatch,
    MappingMissingIterable,
    ParameterBindError,
    TooManyPending,
)

from ..colours import Body, Colour
from .remembered import run_of, runs, stored_runs


class Gauge:
    """How many are inside at once, and how many there ever were."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self.now -= 1


def measured(colour: Colour, gauge: Gauge) -> Any:
    """A task that takes a moment, the later inputs less of it, and gives its input times ten."""

    @task(name="measured")
    @colour.body
    def step(x: int) -> Body[Any]:
        with gauge:
            yield colour.sleep(0.004 if x % 2 else 0.001)
        return x * 10

    return step


def tenfold(colour: Colour) -> Any:
    @task
    @colour.body
    def ten(x: int, y: int = 0, z: Any = None) -> Any:
        return x * 10 + y if z is None else (x, y, z)

    return ten


def failing(colour: Colour) -> Any:
    @task
    @colour.body
    def odd_fails(x: int) -> int:
        if x % 2:
            raise ValueError(f"odd {x}")
        return x

    return odd_fails


# -- submit -----------------------------------------------------------------------------------------------------------


def test_submit_gives_a_future_at_once(colour: Colour) -> None:
    go = threading.Event()

    @task
    @colour.body
    def step(x: int, *, y: int) -> Body[Any]:
        while not go.is_set():
            yield colour.sleep(0.001)
        return x + y

    @flow
    @colour.body
    def outer() -> Body[Any]:
        future = step.submit(1, y=2)
        assert isinstance(future, Future)
        assert not future.done()
        go.set()
        return (yield colour.result(future))

    assert colour.run(outer) == 3


def test_submitted_tasks_run_at_the_same_time(colour: Colour) -> None:
    met: set[int] = set()

    @task
    @colour.body
    def meet(x: int) -> Body[Any]:
        met.add(x)
        while len(met) < 4:
            yield colour.sleep(0.001)
        return x

    @flow
    @colour.body
    def outer() -> Body[Any]:
        return (yield gather(*(meet.submit(x) for x in range(4))))

    assert colour.run(outer) == [0, 1, 2, 3]


def test_max_in_flight_refuses_more_with_the_name_of_the_option(colour: Colour) -> None:
    @task
    async def waits() -> None:
        await asyncio.sleep(30)

    @flow(max_in_flight=2)
    @colour.body
    def outer() -> str:
        futures = [waits.submit(), waits.submit()]
        with pytest.raises(TooManyPending, match="max_in_flight"):
            waits.submit()
        for future in futures:
            future.cancel()
        return "refused"

    assert colour.run(outer) == "refused"
    assert len(runs(kind="task")) == 2


def test_max_in_flight_counts_only_what_is_in_flight(colour: Colour) -> None:
    ten = tenfold(colour)

    @flow(max_in_flight=2)
    @colour.body
    def outer() -> Body[Any]:
        values = []
        for x in range(6):
            values.append((yield colour.result(ten.submit(x))))  # noqa: PERF401  (a comprehension holds no yield)
        return values

    assert colour.run(outer) == [0, 10, 20, 30, 40, 50]


@pytest.mark.parametrize("how", ["map", "stream"])
def test_max_in_flight_leaves_room_for_bounded_fan_out(colour: Colour, how: str) -> None:
    step = measured(colour, Gauge())

    @flow(max_in_flight=2)
    async def asynchronous() -> list[int]:
        if how == "map":
            return list(await step.map(range(7), limit=2))
        return [value async for value in step.stream(range(7), limit=2, ordered=True)]

    @flow(max_in_flight=2)
    def synchronous() -> list[int]:
        if how == "map":
            return list(step.map(range(7), limit=2).result())
        return list(step.stream(range(7), limit=2, ordered=True))

    assert colour.run(asynchronous if colour.is_async else synchronous) == [x * 10 for x in range(7)]


@pytest.mark.parametrize("how", ["map", "stream"])
def test_max_in_flight_refuses_unbounded_fan_out(colour: Colour, how: str) -> None:
    step = measured(colour, Gauge())

    @flow(max_in_flight=2, leftover="cancel")
    async def asynchronous() -> None:
        if how == "map":
            step.map(range(7))
        else:
            [value async for value in step.stream(range(7), limit=5)]

    @flow(max_in_flight=2, leftover="cancel")
    def synchronous() -> None:
        if how == "map":
            step.map(range(7))
        else:
            list(step.stream(range(7), limit=5))

    with pytest.raises(TooManyPending, match="max_in_flight"):
        colour.run(asynchronous if colour.is_async else synchronous)


# -- map --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "kwargs", "expected"),
    [
        (([1, 2, 3],), {}, [10, 20, 30]),
        (((1, 2), [3, 4]), {}, [13, 24]),
        (([1, 2],), {"y": [3, 4]}, [13, 24]),
        (([1, 2], 5), {}, [15, 25]),
        (([1, 2], 5, "text"), {}, [(1, 5, "text"), (2, 5, "text")]),
        (([1, 2], 5, b"ab"), {}, [(1, 5, b"ab"), (2, 5, b"ab")]),
        (([1, 2], 5, {"a": 1}), {}, [(1, 5, {"a": 1}), (2, 5, {"a": 1})]),
        (([1, 2], 5), {"z": unmapped([7, 8, 9])}, [(1, 5, [7, 8, 9]), (2, 5, [7, 8, 9])]),
        ((range(3),), {}, [0, 10, 20]),
        (({1: "a", 2: "b"}.keys(),), {}, [10, 20]),
        (([1],), {"y": (4,)}, [14]),
    ],
    ids=["list", "two", "keyword", "scalar", "text", "bytes", "mapping", "unmapped", "range", "view", "one"],
)
def test_map_zips_iterables_and_broadcasts_the_rest(colour: Colour, args: Any, kwargs: Any, expected: Any) -> None:
    ten = tenfold(colour)

    @flow
    @colour.body
    def outer() -> Body[Any]:
        futures = ten.map(*args, **kwargs)
        assert isinstance(futures, FutureList)
        return (yield colour.result(futures))

    assert colour.run(outer) == expected


def test_map_takes_generators_and_other_iterators(colour: Colour) -> None:
    ten = tenfold(colour)

    @flow
    @colour.body
    def outer() -> Body[Any]:
        return (yield colour.result(ten.map((x for x in range(3)), map(int, "123"))))

    assert colour.run(outer) == [1, 12, 23]


def test_map_over_nothing_gives_nothing(colour: Colour) -> None:
    ten = tenfold(colour)

    @flow
    @colour.body
    def outer() -> Body[Any]:
        return [(yield colour.result(ten.map([]))), (yield colour.result(ten.map([], limit=3)))]

    assert colour.run(outer) == [[], []]
    assert runs(kind="task") == []


@pytest.mark.parametrize(
    ("args", "error", "says"),
    [
        (([1, 2], [1, 2, 3]), MappingLengthMismatch, "x has 2, y has 3"),
        (([1, 2], []), MappingLengthMismatch, "unmapped"),
        ((1, 2), MappingMissingIterable, "submit"),
        (("text",), MappingMissingIterable, "x='text'"),
        ((unmapped([1]),), MappingMissingIterable, "iterable"),
    ],
)
def test_map_refuses_at_once_what_does_not_fit(colour: Colour, args: Any, error: Any, says: str) -> None:
    ten = tenfold(colour)

    @flow
    @colour.body
    def outer() -> str:
        with pytest.raises(error, match=says) as caught:
            ten.map(*args)
        assert isinstance(caught.value, MappingError)
        assert isinstance(caught.value, ValueError)
        with pytest.raises(ParameterBindError):
            ten.map([1], nonsense=[2])
        return "refused"

    assert colour.run(outer) == "refused"
    assert runs(kind="task") == []


def test_defaults_are_not_mapped_over(colour: Colour) -> None:
    @task
    @colour.body
    def step(x: int, several: tuple[int, ...] = (1, 2, 3)) -> Any:
        return x, several

    @flow
    @colour.body
    def outer() -> Body[Any]:
        return (yield colour.result(step.map([1, 2])))

    assert colour.run(outer) == [(1, (1, 2, 3)), (2, (1, 2, 3))]


def test_map_with_star_arguments(colour: Colour) -> None:
    @task
    @colour.body
    def step(x: int, *rest: int, **more: int) -> Any:
        return x, rest, more

    @flow
    @colour.body
    def outer() -> Body[Any]:
        return (yield colour.result(step.map([1, 2], [3, 4], 5, a=[6, 7], b=8)))

    assert colour.run(outer) == [(1, (3, 5), {"a": 6, "b": 8}), (2, (4, 5), {"a": 7, "b": 8})]


@pytest.mark.parametrize("limit", [None, 2])
def test_a_future_as_an_argument_is_awaited_and_then_mapped_over(colour: Colour, limit: int | None) -> None:
    @task
    @colour.body
    def several() -> Body[Any]:
        yield colour.sleep(0.005)
        return [1, 2, 3]

    ten = tenfold(colour)

    @flow
    @colour.body
    def outer() -> Body[Any]:
        return (yield colour.result(ten.map(several.submit(), limit=limit)))

    assert colour.run(outer) == [10, 20, 30]


async def test_a_map_over_a_future_that_runs_knows_its_calls_once_awaited() -> None:
    @task
    async def several() -> list[int]:
        await asyncio.sleep(0.005)
        return [1, 2]

    @task
    async def ten(x: int, y: int = 0) -> int:
        return x * 10 + y

    @flow
    async def outer() -> Any:
        futures = ten.map(several.submit(), 5)
        for ask in (len, list, lambda one: one[0], lambda one: gather(*one)):
            with pytest.raises(BlockingCall, match="await"):
                ask(futures)
        assert "several" in repr(futures) or "ten.map" in repr(futures)
        values = await futures
        return values, len(futures), [future.name for future in futures]

    assert await outer() == ([15, 25], 2, ["ten", "ten-1"])
    assert len(await stored_runs()) == 4


async def test_a_map_over_a_future_that_nobody_awaits_runs_before_the_flow_ends() -> None:
    done: list[int] = []

    @task
    async def several() -> list[int]:
        await asyncio.sleep(0.005)
        return [1, 2]

    @task
    async def note(x: int) -> None:
        done.append(x)

    @flow
    async def outer() -> None:
        note.map(several.submit(), limit=1)

    await outer()
    assert done == [1, 2]


@pytest.mark.parametrize("awaited", [True, False])
async def test_a_map_over_a_future_that_fails_or_cannot_be_mapped_over_is_a_failure(awaited: bool) -> None:
    @task
    async def bad() -> list[int]:
        await asyncio.sleep(0.001)
        raise ValueError("no list")

    @task
    async def number() -> int:
        await asyncio.sleep(0.001)
        return 3

    @task
    async def step(x: int) -> None: ...

    @flow
    async def outer(source: Any) -> None:
        futures = step.map(source.submit())
        if awaited:
            await futures

    with pytest.raises(ValueError, match="no list"):
        await outer(bad)
    with pytest.raises(MappingMissingIterable):
        await outer(number)


async def test_a_map_over_a_future_is_cancelled_with_its_owner() -> None:
    @task
    async def several() -> list[int]:
        await asyncio.sleep(30)
        return [1]

    @task
    async def step(x: int) -> None: ...

    @flow
    async def outer() -> None:
        step.map(several.submit())
        await asyncio.sleep(0.001)
        raise KeyError("own")

    with pytest.raises(KeyError):
        await outer()
    assert [run.spec_name for run in await stored_runs()] == ["outer", "several"]


def test_a_list_of_futures_is_mapped_over(colour: Colour) -> None:
    ten = tenfold(colour)

    @flow
    @colour.body
    def outer() -> Body[Any]:
        first = ten.map([1, 2])
        return (yield colour.result(ten.map(first, list(first))))

    assert colour.run(outer) == [110, 220]


def test_allow_failure_holds_for_every_element(colour: Colour) -> None:
    odd_fails = failing(colour)

    @task
    @colour.body
    def told(value: Any) -> str:
        return str(value)

    @flow
    @colour.body
    def outer() -> Body[Any]:
        return (yield colour.result(told.map(allow_failure(odd_fails.map([1, 2, 3])))))

    assert colour.run(outer) == ["odd 1", "2", "odd 3"]


def test_map_waits_for_others_first(colour: Colour) -> None:
    order: list[Any] = []

    @task
    @colour.body
    def first() -> Body[None]:
        yield colour.sleep(0.01)
        order.append("first")

    @task
    @colour.body
    def then(x: int) -> None:
        order.append(x)

    @flow
    @colour.body
    def outer() -> Body[Any]:
        yield colour.result(then.map([1, 2], wait_for=[first.submit()]))

    colour.run(outer)
    assert order[0] == "first"
    assert sorted(order[1:]) == [1, 2]


def test_the_first_failure_of_a_map_is_raised_and_the_rest_goes_on(colour: Colour) -> None:
    odd_fails = failing(colour)

    @flow
    @colour.body
    def outer() -> Body[Any]:
        futures = odd_fails.map([0, 1, 2, 3])
        with pytest.raises(ValueError, match="odd"):
            yield colour.result(futures)
        answers = []
        for future in futures:
            try:
                answers.append((yield colour.result(future)))
            except ValueError as error:
                answers.append(str(error))
        return answers

    assert colour.run(outer) == [0, "odd 1", 2, "odd 3"]


def test_results_of_a_map_with_failures_in_the_list(colour: Colour) -> None:
    odd_fails = failing(colour)

    @flow
    @colour.body
    def outer() -> Any:
        futures = odd_fails.map([0, 1, 2])
        if colour.is_async:
            return None
        answers = futures.result(raise_on_failure=False)
        return answers[0], str(answers[1]), answers[2]

    if colour.is_async:
        with pytest.raises(ValueError, match="odd 1"):
            colour.run(outer)
    else:
        assert colour.run(outer) == (0, "odd 1", 2)


def test_task_run_names_of_a_map_are_numbered_in_order(colour: Colour) -> None:
    ten = tenfold(colour)

    @flow
    @colour.body
    def outer() -> Body[Any]:
        return [future.name for future in ten.map([5, 6, 7])]
        yield

    assert colour.run(outer) == ["ten", "ten-1", "ten-2"]


@pytest.mark.parametrize("limit", [1, 3])
def test_a_limit_bounds_a_map_and_keeps_the_order_of_results(colour: Colour, limit: int) -> None:
    gauge = Gauge()
    step = measured(colour, gauge)

    @flow
    @colour.body
    def outer() -> Body[Any]:
        return (yield colour.result(step.map(range(12), limit=limit)))

    assert colour.run(outer) == [x * 10 for x in range(12)]
    assert gauge.most == limit


def test_a_limited_map_goes_on_after_failures(colour: Colour) -> None:
    odd_fails = failing(colour)

    @flow
    @colour.body
    def outer() -> Body[Any]:
        answers = yield gather(*odd_fails.map(range(6), limit=2), return_exceptions=True)
        return [str(answer) for answer in answers]

    assert colour.run(outer) == ["0", "odd 1", "2", "odd 3", "4", "odd 5"]


def test_waiting_calls_of_a_limited_map_are_cancelled_with_their_owner(colour: Colour) -> None:
    @task
    async def waits(x: int) -> None:
        await asyncio.sleep(30)

    @flow
    @colour.body
    def outer() -> None:
        waits.map(range(5), limit=2)
        raise KeyError("own")

    with pytest.raises(KeyError):
        colour.run(outer)
    assert [run.state_name for run in runs(kind="task")] == ["Cancelled"] * 5


def test_one_waiting_call_of_a_limited_map_can_be_cancelled(colour: Colour) -> None:
    step = measured(colour, Gauge())

    @flow
    @colour.body
    def outer() -> Body[Any]:
        futures = step.map(range(4), limit=1)
        futures[2].cancel("not that one")
        values = []
        for index in (0, 1, 3):
            values.append((yield colour.result(futures[index])))  # noqa: PERF401  (a comprehension holds no yield)
        while not futures[2].done():
            yield colour.sleep(0.001)
        return values, str(futures[2].state)

    assert colour.run(outer) == ([0, 10, 30], "Cancelled('not that one')")


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "many"])
def test_a_bad_limit_is_refused_where_it_is_written(colour: Colour, limit: Any) -> None:
    ten = tenfold(colour)

    @flow
    @colour.body
    def outer() -> str:
        with pytest.raises(InvalidOption, match="limit"):
            ten.map([1], limit=limit)
        with pytest.raises(InvalidOption, match="limit"):
            ten.stream([1], limit=limit)
        return "refused"

    assert colour.run(outer) == "refused"


def test_map_outside_any_flow(colour: Colour) -> None:
    ten = tenfold(colour)
    assert ten.map([1, 2]).result(30) == [10, 20]
    assert {run.flow_run_id for run in runs()} == {None}


# -- stream -----------------------------------------------------------------------------------------------------------


def streamed(colour: Colour, make: Any, stop: int | None = None) -> Any:
    """What a flow sees of a stream: the results, up to so many of them, or the error that ended it."""

    @flow(name="streaming")
    async def asynchronous() -> Any:
        seen: list[Any] = []
        try:
            async for value in make():
                seen.append(value)
                if len(seen) == stop:
                    break
        except ValueError as error:
            return seen, str(error)
        return seen

    @flow(name="streaming")
    def synchronous() -> Any:
        seen: list[Any] = []
        try:
            for value in make():
                seen.append(value)
                if len(seen) == stop:
                    break
        except ValueError as error:
            return seen, str(error)
        return seen

    return colour.run(asynchronous if colour.is_async else synchronous)


class Source:
    """Inputs that count how many of them were pulled."""

    def __init__(self, count: int | None = None) -> None:
        self.pulled = 0
        self.count = count
        self.closed = False

    def __iter__(self) -> Iterator[int]:
        try:
            for number in itertools.count() if self.count is None else range(self.count):
                self.pulled += 1
                yield number
        finally:
            self.closed = True


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_a_stream_gives_every_result(colour: Colour, limit: int) -> None:
    gauge = Gauge()
    step = measured(colour, gauge)
    seen = streamed(colour, lambda: step.stream(range(12), limit=limit))
    assert sorted(seen) == [x * 10 for x in range(12)]
    assert gauge.most <= limit


def test_an_ordered_stream_keeps_the_order_of_its_inputs(colour: Colour) -> None:
    step = measured(colour, Gauge())
    assert streamed(colour, lambda: step.stream(range(12), limit=4, ordered=True)) == [x * 10 for x in range(12)]


def test_an_unordered_stream_gives_results_as_they_come(colour: Colour) -> None:
    go = threading.Event()

    @task
    @colour.body
    def step(x: int) -> Body[Any]:
        while x == 0 and not go.is_set():
            yield colour.sleep(0.001)
        if x == 1:
            yield colour.sleep(0.01)
            go.set()
        return x

    assert streamed(colour, lambda: step.stream([0, 1], limit=2))[0] in {0, 1}
    go.clear()
    first = streamed(colour, lambda: step.stream([0, 1], limit=2), stop=1)
    assert first in ([1], [0])


def test_a_stream_pulls_lazily_however_long_its_input_is(colour: Colour) -> None:
    source = Source()
    step = measured(colour, Gauge())
    assert len(streamed(colour, lambda: step.stream(source, limit=3), stop=5)) == 5
    assert source.pulled <= 5 + 3
    assert len(runs(kind="task")) == source.pulled


def test_a_slow_consumer_holds_a_stream_back(colour: Colour) -> None:
    source = Source()
    ten = tenfold(colour)
    most_ahead = 0

    @flow
    async def asynchronous() -> None:
        nonlocal most_ahead
        taken = 0
        async for _ in ten.stream(source, limit=2):
            await asyncio.sleep(0.003)
            taken += 1
            most_ahead = max(most_ahead, source.pulled - taken)
            if taken == 6:
                break

    @flow
    def synchronous() -> None:
        nonlocal most_ahead
        for taken, _ in enumerate(ten.stream(source, limit=2), 1):
            most_ahead = max(most_ahead, source.pulled - taken)
            if taken == 6:
                break

    colour.run(asynchronous if colour.is_async else synchronous)
    assert most_ahead <= 2


def test_the_first_failure_is_raised_and_ends_the_stream(colour: Colour) -> None:
    source = Source()
    odd_fails = failing(colour)
    seen, error = streamed(colour, lambda: odd_fails.stream(source, limit=1))
    assert (seen, error) == ([0], "odd 1")
    assert source.pulled <= 3
    assert run_of("streaming").state_name == "Completed"


def test_a_stream_with_exceptions_goes_on(colour: Colour) -> None:
    odd_fails = failing(colour)
    seen = streamed(colour, lambda: odd_fails.stream(range(4), limit=2, ordered=True, return_exceptions=True))
    assert [str(value) for value in seen] == ["0", "odd 1", "2", "odd 3"]


def test_leaving_a_stream_early_cancels_what_is_in_flight(colour: Colour) -> None:
    @task
    async def step(x: int) -> int:
        if x:
            await asyncio.sleep(30)
        return x

    assert streamed(colour, lambda: step.stream(range(9), limit=3), stop=1) == [0]
    found = runs(kind="task")
    assert next(run.state_name for run in found) == "Completed"
    assert {(run.state_name, run.state_message) for run in found[1:]} == {("Cancelled", "its stream was left")}
    assert len(found) <= 4


def test_an_error_in_the_loop_cancels_what_is_in_flight(colour: Colour) -> None:
    @task
    async def step(x: int) -> int:
        if x:
            await asyncio.sleep(30)
        return x

    @flow
    async def asynchronous() -> None:
        async for _ in step.stream(range(9), limit=3):
            raise KeyError("own")

    @flow
    def synchronous() -> None:
        for _ in step.stream(range(9), limit=3):
            raise KeyError("own")

    with pytest.raises(KeyError):
        colour.run(asynchronous if colour.is_async else synchronous)
    assert {run.state_name for run in runs(kind="task")} == {"Completed", "Cancelled"}


def test_other_arguments_go_to_every_call(colour: Colour) -> None:
    ten = tenfold(colour)
    seen = streamed(colour, lambda: ten.stream([1, 2], 3, z=[4, 5], ordered=True))
    assert seen == [(1, 3, [4, 5]), (2, 3, [4, 5])]


def test_an_empty_stream_gives_nothing(colour: Colour) -> None:
    ten = tenfold(colour)
    assert streamed(colour, lambda: ten.stream([])) == []


def test_an_input_that_raises_ends_the_stream_with_its_error(colour: Colour) -> None:
    ten = tenfold(colour)

    def inputs() -> Iterator[int]:
        yield 1
        raise ValueError("no more")

    seen, error = streamed(colour, lambda: ten.stream(inputs(), limit=1))
    assert (seen, error) == ([10], "no more")


async def test_an_async_iterable_is_streamed_and_closed_when_left() -> None:
    closed = asyncio.Event()

    @task
    async def ten(x: int) -> int:
        return x * 10

    async def inputs() -> AsyncIterator[int]:
        try:
            for number in itertools.count():
                await asyncio.sleep(0)
                yield number
        finally:
            closed.set()

    @flow
    async def outer() -> list[int]:
        seen: list[int] = []
        stream = aiter(ten.stream(inputs(), limit=2, ordered=True))
        async for value in stream:
            seen.append(value)
            if len(seen) == 3:
                break
        await stream.aclose()  # type: ignore[attr-defined]
        return seen

    assert await outer() == [0, 10, 20]
    assert closed.is_set()


async def test_a_slow_async_source_does_not_hold_back_results() -> None:
    release = asyncio.Event()

    @task
    async def ten(x: int) -> int:
        return x * 10

    async def inputs() -> AsyncIterator[int]:
        yield 1
        await release.wait()
        yield 2

    @flow
    async def outer() -> list[int]:
        seen = []
        async for value in ten.stream(inputs(), limit=10):
            seen.append(value)
            release.set()
        return seen

    assert await asyncio.wait_for(outer(), 5) == [10, 20]


@pytest.mark.parametrize("items", ["text", b"bytes", 3, None])
def test_what_cannot_be_streamed_is_refused_at_once(colour: Colour, items: Any) -> None:
    ten = tenfold(colour)

    @flow
    @colour.body
    def outer() -> str:
        with pytest.raises(InvalidOption, match="stream"):
            ten.stream(items)
        return "refused"

    assert colour.run(outer) == "refused"


def test_an_async_iterable_in_sync_code_is_refused_at_once() -> None:
    async def inputs() -> AsyncIterator[int]:
        yield 1

    @task
    def ten(x: int) -> int:
        return x * 10

    @flow
    def outer() -> str:
        with pytest.raises(InvalidOption, match="async"):
            ten.stream(inputs())
        return "refused"

    assert outer() == "refused"


def test_a_stream_of_many_keeps_few_in_flight(colour: Colour) -> None:
    gauge = Gauge()

    @task(persist_result=False)
    @colour.body
    def step(x: int) -> int:
        with gauge:
            return x

    assert sum(streamed(colour, lambda: step.stream(range(600), limit=20))) == sum(range(600))
    assert gauge.most <= 20


def test_sync_tasks_stream_in_async_flows_and_the_other_way_round() -> None:
    @task
    def plain(x: int) -> int:
        return x + 1

    @task
    async def coroutine(x: int) -> int:
        return x + 1

    @flow
    async def asynchronous() -> list[int]:
        return [value async for value in plain.stream(range(3), ordered=True)]

    @flow
    def synchronous() -> list[int]:
        return list(coroutine.stream(range(3), ordered=True))

    assert asyncio.run(asynchronous()) == [1, 2, 3]
    assert synchronous() == [1, 2, 3]


@pytest.mark.parametrize("limit", [1, 2, 6])
async def test_a_call_of_a_map_that_cannot_be_made_fails_alone(limit: int) -> None:
    """Its author's own key function raises when its turn comes: neither it nor those behind it are lost."""

    def key(number: int) -> str:
        return str(6 // (number - 3))

    @task(key=key)
    async def step(number: int) -> int:
        return number

    @flow
    async def pipeline() -> list[Any]:
        futures = step.map([1, 2, 3, 4, 5], limit=limit)
        await wait(futures)
        return [future.result(raise_on_failure=False) for future in futures]

    if limit > 2:
        with pytest.raises(ZeroDivisionError):
            await pipeline()
        return
    one, two, three, four, five = await pipeline()
    assert (one, two, four, five) == (1, 2, 4, 5)
    assert isinstance(three, ZeroDivisionError)
