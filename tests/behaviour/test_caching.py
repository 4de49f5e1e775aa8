"""Caching: equal calls are answered across runs, computed once at a time, and never from what went wrong."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from asyncflow import Application, flow, task, task_input_hash
from asyncflow.cache_policies import FLOW_PARAMETERS, INPUTS, NO_CACHE, RUN_ID, TASK_SOURCE
from asyncflow.core.clock import SystemClock
from asyncflow.exceptions import CacheRecursion, InvalidOption

from ..colours import Body, Colour
from .outside import Stored, beside

RAN: list[Any] = []
"""What bodies really ran with. They do not close over it: what a task closes over counts as its input."""


@pytest.fixture(autouse=True)
def _fresh() -> None:
    RAN.clear()


def counting(colour: Colour, **options: Any) -> tuple[Any, list[Any]]:
    """A task that doubles, and the arguments it really ran with."""

    @task(name="count", **options)
    @colour.body
    def count(value: Any, other: Any = None) -> Any:
        RAN.append(value)
        return value * 2

    return count, RAN


# -- keys -------------------------------------------------------------------------------------------------------


def test_nothing_is_cached_unless_asked(colour: Colour, home: Path) -> None:
    count, ran = counting(colour)
    assert colour.run(count, 1) == colour.run(count, 1) == 2
    assert ran == [1, 1]
    assert Stored(home).rows("select count(*) from cache") == [(0,)]


def test_equal_inputs_are_answered_from_the_cache(colour: Colour, home: Path) -> None:
    count, ran = counting(colour, cache_policy=INPUTS)
    assert [colour.run(count, value) for value in (1, 2, 1)] == [2, 4, 2]
    assert ran == [1, 2]
    assert Stored(home).states("count") == ["Completed", "Completed", "Cached"]


def test_a_cached_state_gives_its_value(colour: Colour) -> None:
    count, _ = counting(colour, cache_policy=INPUTS)
    colour.run(count, 4)
    state = colour.run(count, 4, return_state=True)
    assert (state.type, state.name, state.result()) == ("COMPLETED", "Cached", 8)


def test_a_key_function_sees_the_call_and_wins(colour: Colour) -> None:
    seen: list[Any] = []

    def key(context: Any, parameters: dict[str, Any]) -> str:
        seen.append((context.task_key.rsplit(".", 1)[-1], parameters))
        return "always the same"

    count, ran = counting(colour, cache_key_fn=key)
    assert colour.run(count, 1) == colour.run(count, 5) == 2
    assert ran == [1]
    assert [given["value"] for _, given in seen] == [1, 5]
    assert seen[0][1] == {"value": 1, "other": None}


def test_a_key_of_none_is_no_key(colour: Colour) -> None:
    count, ran = counting(colour, cache_key_fn=lambda *_: None)
    assert colour.run(count, 1) == colour.run(count, 1) == 2
    assert ran == [1, 1]


def test_task_input_hash_is_a_key_function(colour: Colour) -> None:
    count, ran = counting(colour, cache_key_fn=task_input_hash)
    assert [colour.run(count, value) for value in (1, 1, 2)] == [2, 2, 4]
    assert ran == [1, 2]


def test_a_key_function_that_raises_means_no_cache(colour: Colour, home: Path) -> None:
    def key(context: Any, parameters: Any) -> str:
        raise LookupError("no key today")

    count, ran = counting(colour, cache_key_fn=key)
    assert colour.run(count, 1) == colour.run(count, 1) == 2
    assert ran == [1, 1]
    lines = [row[0] for row in Stored(home).rows("select message from log")]
    assert any("no key today" in line for line in lines)


def test_an_argument_left_out_does_not_count(colour: Colour) -> None:
    count, ran = counting(colour, cache_policy=INPUTS - "other")
    colour.run(count, 1, other="a")
    assert colour.run(count, 1, other="b") == 2
    assert ran == [1]


def test_an_argument_without_content_means_no_cache_and_a_warning(colour: Colour, home: Path) -> None:
    count, ran = counting(colour, cache_policy=INPUTS)
    lock = threading.Lock()

    @flow
    @colour.body
    def pipeline() -> Body[None]:
        yield count(1, other=lock)
        yield count(1, other=lock)

    colour.run(pipeline)
    assert ran == [1, 1]
    warnings = [row[0] for row in Stored(home).rows("select message from log where level = 30")]
    assert any("other" in line and "cache" in line for line in warnings)


def test_policies_of_a_flow(colour: Colour) -> None:
    by_run, ran = counting(colour, cache_policy=RUN_ID + INPUTS)
    by_parameters, _ = counting(colour, cache_policy=FLOW_PARAMETERS)

    @flow
    @colour.body
    def pipeline(x: int) -> Body[None]:
        for value in (1, 1):
            yield by_run(value)
        for value in (10, 20):
            yield by_parameters(value)

    for x in (1, 1, 2):
        colour.run(pipeline, x)
    assert [value for value in ran if value < 10] == [1, 1, 1]
    assert [value for value in ran if value >= 10] == [10, 10]


def test_other_code_is_another_key(colour: Colour) -> None:
    ran: list[str] = []

    def made(kind: str) -> Any:
        if kind == "old":

            @colour.body
            def body() -> None:
                ran.append("old")
        else:

            @colour.body
            def body() -> None:
                ran.append("new code")

        body.__qualname__ = "body"
        return task(name="body", cache_policy=TASK_SOURCE)(body)

    for kind in ("old", "old", "new", "old"):
        colour.run(made(kind))
    assert ran == ["old", "new code"]


def test_no_cache_caches_nothing(colour: Colour) -> None:
    count, ran = counting(colour, cache_policy=NO_CACHE)
    colour.run(count, 1)
    colour.run(count, 1)
    assert ran == [1, 1]


def test_bad_options_are_refused() -> None:
    with pytest.raises(InvalidOption, match="cache_key_fn"):
        task(name="x", cache_key_fn="key")(lambda: None)  # type: ignore[call-overload]
    with pytest.raises(InvalidOption, match="cache_policy"):
        task(name="x", cache_policy="INPUTS")(lambda: None)  # type: ignore[call-overload]
    with pytest.raises(InvalidOption, match="cache_expiration"):
        task(name="x", cache_expiration=timedelta(-1))(lambda: None)


# -- how long ---------------------------------------------------------------------------------------------------


class Clock(SystemClock):
    """A clock whose wall can be moved."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> int:
        return super().now() + int(self.ahead.total_seconds() * 1_000_000)


async def test_an_entry_is_used_until_it_expires() -> None:
    count, ran = counting(Colour("async"), cache_policy=INPUTS, cache_expiration=timedelta(hours=1))
    clock = Clock()
    async with Application(database=":memory:", clock=clock):
        await count(1)
        clock.ahead = timedelta(minutes=59)
        await count(1)
        assert ran == [1]
        clock.ahead = timedelta(minutes=61)
        await count(1)
        assert ran == [1, 1]
        clock.ahead = timedelta(minutes=119)
        await count(1)
        assert ran == [1, 1]


async def test_the_expiration_is_fixed_when_it_is_written() -> None:
    count, ran = counting(Colour("async"), cache_policy=INPUTS, cache_expiration=timedelta(hours=1))
    longer = count.with_options(cache_expiration=timedelta(days=1))
    clock = Clock()
    async with Application(database=":memory:", clock=clock):
        await count(1)
        clock.ahead = timedelta(hours=2)
        await longer(1)
        clock.ahead = timedelta(hours=20)
        await count(1)
    assert ran == [1, 1]


def test_refresh_computes_anew_and_writes(colour: Colour) -> None:
    values = iter("abc")

    @task(name="next", cache_key_fn=lambda *_: "k")
    @colour.body
    def following() -> str:
        return next(values)

    fresh = following.with_options(refresh_cache=True)
    assert [colour.run(following), colour.run(following)] == ["a", "a"]
    assert colour.run(fresh) == "b"
    assert colour.run(following) == "b"


# -- what is not shared -----------------------------------------------------------------------------------------


def test_a_failure_is_not_cached(colour: Colour) -> None:
    ran: list[int] = []

    @task(cache_key_fn=lambda *_: "k")
    @colour.body
    def flaky() -> str:
        ran.append(1)
        if len(ran) == 1:
            raise ValueError("first")
        return "second"

    with pytest.raises(ValueError, match="first"):
        colour.run(flaky)
    assert colour.run(flaky) == colour.run(flaky) == "second"
    assert len(ran) == 2


def test_what_cannot_be_stored_is_not_cached(colour: Colour) -> None:
    ran: list[int] = []

    @task(cache_key_fn=lambda *_: "k")
    @colour.body
    def lock() -> Any:
        ran.append(1)
        return threading.Lock()

    assert colour.run(lock) is not colour.run(lock)
    assert len(ran) == 2


def test_an_entry_that_cannot_be_read_is_computed_again(colour: Colour, home: Path) -> None:
    count, ran = counting(colour, cache_policy=INPUTS)
    colour.run(count, 1)
    Stored(home).rows("update cache set codec = 'json', data = x'7b7b'")
    assert colour.run(count, 1) == 2
    assert ran == [1, 1]
    assert colour.run(count, 1) == 2
    assert ran == [1, 1]


# -- one at a time ----------------------------------------------------------------------------------------------


def test_equal_calls_at_once_run_once(colour: Colour, home: Path) -> None:
    ran: list[int] = []

    @task(cache_policy=INPUTS)
    @colour.body
    def slow(number: int) -> Body[int]:
        ran.append(number)
        yield colour.sleep(0.01)
        return number

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        futures = [slow.submit(number) for number in (1, 1, 1, 2, 1)]
        for future in futures:
            yield colour.result(future)
        return [future.result() for future in futures]

    assert colour.run(pipeline) == [1, 1, 1, 2, 1]
    assert sorted(ran) == [1, 2]
    assert sorted(Stored(home).states("slow")) == ["Cached"] * 3 + ["Completed"] * 2


def test_a_failed_flight_is_not_shared(colour: Colour) -> None:
    ran: list[int] = []

    @task(cache_key_fn=lambda *_: "k")
    @colour.body
    def slow() -> Body[str]:
        ran.append(1)
        mine = len(ran)
        yield colour.sleep(0.005)
        if mine == 1:
            raise ValueError("the first one")
        return "the second one"

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        futures = [slow.submit() for _ in range(4)]
        states = []
        for future in futures:
            future.wait() if not colour.is_async else None
            try:
                states.append((yield colour.result(future)))
            except ValueError:
                states.append("failed")
        return sorted(states)

    assert colour.run(pipeline) == ["failed"] + ["the second one"] * 3
    assert len(ran) == 2


async def test_a_cancelled_flight_is_taken_over() -> None:
    ran: list[int] = []

    @task(cache_key_fn=lambda *_: "k")
    async def slow() -> str:
        ran.append(1)
        if len(ran) == 1:
            await asyncio.Event().wait()
        return "done"

    @flow
    async def pipeline() -> Any:
        first = slow.submit()
        while not ran:
            await asyncio.sleep(0.001)
        second = slow.submit()
        await asyncio.sleep(0.01)
        first.cancel()
        return await second

    assert await pipeline() == "done"


def test_recursion_on_one_key_is_refused(colour: Colour) -> None:
    @task(name="outer", cache_key_fn=lambda *_: "one key")
    @colour.body
    def inner() -> int:
        return 1

    @task(cache_key_fn=lambda *_: "one key")
    @colour.body
    def outer() -> Body[Any]:
        return (yield inner())

    with pytest.raises(CacheRecursion, match="its own ancestor, task run 'outer'"):
        colour.run(outer)


PROCESS = """
import asyncio, sys, time
from asyncflow import flow, task
from asyncflow.cache_policies import INPUTS

@task(cache_policy=INPUTS)
async def slow(number: int) -> int:
    print("ran", flush=True)
    await asyncio.sleep(0.3)
    return number * 2

@flow
async def pipeline() -> list:
    futures = [slow.submit(21) for _ in range(3)]
    return [await future for future in futures]

print("ready", flush=True)
sys.stdin.readline()
print(asyncio.run(pipeline()), flush=True)
"""


def test_two_processes_compute_once(home: Path) -> None:
    processes = [beside(home, PROCESS) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=30)[0].split("\n") for process in processes]
    assert all("[42, 42, 42]" in lines for lines in said)
    assert sum(lines.count("ran") for lines in said) == 1
    assert sorted(Stored(home).states("slow")) == ["Cached"] * 5 + ["Completed"]
