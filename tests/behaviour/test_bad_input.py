"""Bad input of every kind gets an error of our own tree, at the earliest moment, that names the thing at fault."""

from __future__ import annotations

import asyncio
import datetime
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import asyncflow
from asyncflow import Future, current_run, flow, task, wait
from asyncflow.cache_policies import INPUTS
from asyncflow.concurrency.sync import concurrency
from asyncflow.exceptions import (
    AsyncflowError,
    BlockingCall,
    ConfigurationError,
    DependencyCycle,
    ForeignFuture,
    InvalidHook,
    InvalidName,
    InvalidOption,
    InvalidSetting,
    MappingLengthMismatch,
    MappingMissingIterable,
    MissingContext,
    ParameterBindError,
    ParameterTypeError,
    ReservedArgument,
    UnkeyableInput,
    UnnamedCallable,
)

from ..colours import Body, Colour
from .outside import Stored
from .remembered import run_of, runs

Refused = tuple[Callable[[], object], type[AsyncflowError], str]


def body(day: str = "monday", number: int = 1) -> int:
    return number


def with_return_state(return_state: bool) -> None: ...


def with_wait_for(wait_for: int) -> None: ...


week = datetime.timedelta(days=-7)

any_: Any = asyncflow  # what a type checker would find is found at run time as well
any_concurrency: Any = concurrency

WHERE_IT_IS_WRITTEN: dict[str, Refused] = {
    "unknown option of a task": (lambda: any_.task(retrys=1), InvalidOption, "'retrys'; did you mean 'retries'"),
    "unknown option of a flow": (lambda: any_.flow(leftovers="wait"), InvalidOption, "'leftovers'"),
    "unknown option of a copy": (lambda: any_.task(body).with_options(colour="red"), InvalidOption, "'colour'"),
    "hook that is a text": (lambda: any_.flow(on_failure="tell")(body), InvalidHook, "on_failure of a flow .* 'tell'"),
    "hook that is a number": (lambda: any_.task(on_completion=[print, 3])(body), InvalidHook, "on_completion holds 3"),
    "hook by decorator": (lambda: any_.flow(body).on_failure(3), InvalidHook, "on_failure holds 3"),
    "negative retries": (lambda: any_.task(retries=-1)(body), InvalidOption, "retries is -1"),
    "retries in words": (lambda: any_.flow(retries="three")(body), InvalidOption, "retries is 'three'"),
    "negative delay": (lambda: any_.task(retry_delay_seconds=-1)(body), InvalidOption, "retry_delay_seconds holds -1"),
    "negative delay in a list": (lambda: any_.task(retry_delay_seconds=[1, -2])(body), InvalidOption, "holds -2"),
    "negative timedelta": (
        lambda: any_.task(retry_delay_seconds=week)(body),
        InvalidOption,
        "retry_delay_seconds holds",
    ),
    "delay that is no number": (lambda: any_.task(retry_delay_seconds=float("nan"))(body), InvalidOption, "holds nan"),
    "negative jitter": (
        lambda: any_.task(retry_jitter_factor=-0.5)(body),
        InvalidOption,
        "retry_jitter_factor is -0.5",
    ),
    "negative backoff": (lambda: any_.exponential_backoff(-1), InvalidOption, "backoff_factor is -1"),
    "condition": (lambda: any_.task(retry_condition_fn=3)(body), InvalidOption, "retry_condition_fn is 3"),
    "no time": (lambda: any_.task(timeout_seconds=0)(body), InvalidOption, "timeout_seconds is 0"),
    "negative time": (lambda: any_.flow(timeout_seconds=week)(body), InvalidOption, "timeout_seconds is"),
    "negative bound": (lambda: any_.flow(max_in_flight=-1)(body), InvalidOption, "max_in_flight is -1"),
    "negative recoveries": (lambda: any_.flow(max_recoveries=-1)(body), InvalidOption, "max_recoveries is -1"),
    "negative limit of a map": (lambda: any_.task(body).map(["a"], limit=-1), InvalidOption, "limit is -1"),
    "negative limit of a stream": (lambda: any_.task(body).stream(["a"], limit=-1), InvalidOption, "limit is -1"),
    "stream of no stream": (lambda: any_.task(body).stream(3), InvalidOption, r"stream\(\) was given 3"),
    "negative slots": (lambda: any_concurrency("api", occupy=-1), InvalidOption, "occupy is -1"),
    "negative wait for slots": (
        lambda: any_concurrency("api", timeout_seconds=-1),
        InvalidOption,
        "timeout_seconds is -1",
    ),
    "limit that is a number": (lambda: any_concurrency(3), InvalidOption, "holds 3"),
    "limits in one text": (lambda: any_.task(limits="api")(body), InvalidOption, "limits is 'api'"),
    "tags in one text": (lambda: any_.flow(tags="web")(body), InvalidOption, "tags is 'web'"),
    "tag that is a number": (lambda: any_.tags(3).__enter__(), InvalidOption, r"tags\(\) holds 3"),
    "reserved return_state": (lambda: any_.task(with_return_state), ReservedArgument, "parameter 'return_state'"),
    "reserved wait_for": (lambda: any_.flow(with_wait_for), ReservedArgument, "parameter 'wait_for'"),
    "no name": (lambda: any_.task(lambda: 1), UnnamedCallable, "lambda"),
    "empty name": (lambda: any_.flow(name="")(body), InvalidName, "''"),
    "name with a slash": (lambda: any_.flow(name="a/b")(body), InvalidName, "'a/b' holds /"),
    "no function": (lambda: any_.flow(3), ConfigurationError, "3"),
    "run name of nothing": (lambda: any_.task(task_run_name="{nope}")(body)("tuesday"), InvalidOption, "{nope}"),
    "policy": (lambda: any_.task(cache_policy="inputs")(body), InvalidOption, "cache_policy is 'inputs'"),
    "sum of policies": (lambda: INPUTS + "source", InvalidOption, "'source'"),
    "ignored parameter": (lambda: any_.task(ignore_inputs=["dya"])(body), InvalidOption, "'dya'"),
    "expiration": (lambda: any_.task(cache_expiration=week)(body), InvalidOption, "cache_expiration is"),
    "unknown setting": (lambda: any_.Application(databse="x"), InvalidSetting, "databse"),
    "bad setting": (lambda: any_.Application(log_level="LOUD"), InvalidSetting, "log_level|LOG_LEVEL"),
}

WHERE_IT_IS_CALLED: dict[str, Refused] = {
    "too few": (lambda: any_.task(with_number)(*[]), ParameterBindError, r"with_number\(.*'number'"),
    "too many": (lambda: any_.task(with_number)(1, 2), ParameterBindError, r"with_number\(.*too many"),
    "unknown": (lambda: any_.flow(with_number)(1, numbr=2), ParameterBindError, "'numbr'"),
    "twice": (lambda: any_.flow(with_number)(1, number=2), ParameterBindError, "'number'"),
    "submitted": (lambda: any_.task(with_number).submit(), ParameterBindError, "'number'"),
    "mapped": (lambda: any_.task(with_number).map([1], other=[2]), ParameterBindError, "'other'"),
    "streamed": (lambda: list(any_.task(with_number).stream([1], 2)), ParameterBindError, "too many"),
    "unequal lengths": (lambda: any_.task(body).map(["a"], [1, 2]), MappingLengthMismatch, "day has 1, number has 2"),
    "nothing to map": (lambda: any_.task(body).map("abc", 1), MappingMissingIterable, "day='abc', number=1"),
    "return_state": (lambda: any_.task(body)(return_state="yes"), InvalidOption, "return_state is 'yes'"),
    "wait_for": (lambda: any_.task(body)(wait_for=[3]), InvalidOption, "wait_for holds 3"),
    "wait for no future": (lambda: any_.wait([3]), InvalidOption, r"wait\(\) was given 3"),
    "wait for nothing": (lambda: any_.wait(None), InvalidOption, r"wait\(\) was given None"),
    "wait for unhashable": (lambda: any_.wait([[3]]), InvalidOption, r"wait\(\) was given \[3\]"),
    "wait until": (lambda: any_.wait([], return_when="SOON"), InvalidOption, "return_when is 'SOON'"),
    "wait backwards": (lambda: any_.wait([], timeout=-1), InvalidOption, "timeout is -1"),
    "as_completed": (lambda: list(any_.as_completed([3])), InvalidOption, r"as_completed\(\) was given 3"),
    "gather": (lambda: any_.gather(3), InvalidOption, "gather.* 3"),
    "branch": (lambda: any_.branch("a").__enter__(), MissingContext, r"branch\(\)"),
    "current_run": (current_run, MissingContext, r"current_run\(\)"),
}


def with_number(number: int) -> int:
    return number


@pytest.mark.parametrize("case", WHERE_IT_IS_WRITTEN)
def test_refused_where_it_is_written(case: str, home: Path) -> None:
    act, error, words = WHERE_IT_IS_WRITTEN[case]
    with pytest.raises(error, match=words):
        act()
    assert case == "run name of nothing" or not home.exists(), "something was begun before it was refused"


@pytest.mark.parametrize("case", WHERE_IT_IS_CALLED)
def test_refused_where_it_is_called_and_no_run_exists(case: str) -> None:
    act, error, words = WHERE_IT_IS_CALLED[case]
    with pytest.raises(error, match=words):
        act()
    assert runs() == []


@pytest.mark.parametrize("case", [case for case, row in WHERE_IT_IS_CALLED.items() if row[1] is not MissingContext])
def test_refused_inside_a_flow_and_the_flow_goes_on(case: str) -> None:
    act, error, words = WHERE_IT_IS_CALLED[case]

    @flow
    def pipeline() -> str:
        with pytest.raises(error, match=words):
            act()
        return "went on"

    assert pipeline() == "went on"
    assert [(run.kind, run.state_type) for run in runs()] == [("flow", "COMPLETED")]


# -- values ------------------------------------------------------------------------------------------------------------


def test_wrong_types_make_a_failed_run(colour: Colour) -> None:
    @flow
    @colour.body
    def report(day: datetime.date, number: int = 1) -> int:
        return number

    with pytest.raises(ParameterTypeError, match=r"(?s)report\(\).*number: .*'many'"):
        colour.run(report, "2026-01-01", "many")
    run = run_of("report")
    assert run.state_type == "FAILED"
    assert "number" in str(run.state_message)


def test_unstorable_results_are_given_and_said_to_be_lost(colour: Colour, home: Path) -> None:
    @task
    @colour.body
    def make() -> Any:
        return threading.Lock()

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        return (yield make())

    assert colour.run(pipeline).acquire(blocking=False)
    for run in runs():
        assert run.state_type == "COMPLETED"
        assert "_thread.lock at result cannot be stored" in str(run.state_message)
    assert Stored(home).rows("select codec, data, digest from run") == [(None, None, None)] * 2


@pytest.mark.parametrize("options", [{"on_interrupted": "fail"}, {"on_interrupted": "ask"}], ids=str)
def test_an_unkeyable_argument_of_a_task_that_may_run_once(colour: Colour, options: dict[str, Any]) -> None:
    began = []

    @task(**options)
    @colour.body
    def pay(client: Any) -> None:
        began.append(client)

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        return (yield pay(threading.Lock()))

    with pytest.raises(UnkeyableInput, match=r"'pay' declares on_interrupted=.*argument 'client': a _thread.lock"):
        colour.run(pipeline)
    assert began == []


def test_an_idempotency_key_of_an_unkeyable_call(colour: Colour) -> None:
    @task
    @colour.body
    def pay(client: Any) -> str:
        return str(current_run().idempotency_key)

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        return (yield pay(threading.Lock()))

    with pytest.raises(UnkeyableInput, match="Task run 'pay' has no identity"):
        colour.run(pipeline)


# -- futures -----------------------------------------------------------------------------------------------------------


@pytest.mark.blocks_loop
def test_a_future_of_a_loop_that_is_gone() -> None:
    @task
    async def step() -> int:
        return 1

    async def script() -> Future[int]:
        future = step.submit()
        await future
        return Future(future.run, asyncio.get_running_loop())  # one that never ended

    left = asyncio.run(script())
    with pytest.raises(ForeignFuture, match="'step' belongs to an event loop that is closed"):
        left.result(1)
    with pytest.raises(ForeignFuture, match="'step'"):
        wait([left])


def test_a_circle_of_wait_for(colour: Colour) -> None:
    handed: list[Future[Any]] = []

    @task
    @colour.body
    def inner() -> None: ...

    @task
    @colour.body
    def outer() -> Body[Any]:
        while not handed:
            yield colour.sleep(0.001)
        return (yield inner(wait_for=[handed[0]]))

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        handed.append(outer.submit())
        return (yield colour.result(handed[0]))

    with pytest.raises(DependencyCycle, match="outer"):
        colour.run(pipeline)
    assert runs(spec_name="inner") == []
    assert run_of("outer").state_type == "FAILED"


@pytest.mark.blocks_loop
async def test_a_sync_wait_that_could_only_deadlock() -> None:
    @task
    async def step() -> int:
        await asyncio.sleep(0)
        return 1

    @flow
    async def pipeline() -> int:
        future = step.submit()
        with pytest.raises(BlockingCall, match=r"'step'.*await future"):
            future.result()
        return await future

    assert await pipeline() == 1


# -- surroundings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value"),
    [("ASYNCFLOW_LOG_LEVEL", "LOUD"), ("ASYNCFLOW_DURABILITY", "perhaps"), ("ASYNCFLOW_LOG_CONSOLE", "maybe")],
)
def test_a_bad_environment_variable(
    colour: Colour, home: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    @flow
    @colour.body
    def pipeline() -> None: ...

    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidSetting, match=f"{variable}.*{value!r}"):
        colour.run(pipeline)
    assert not home.exists()
