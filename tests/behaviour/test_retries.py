"""A failed attempt is tried again, as often and as late as was said, in the same run."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncflow import current_run, exponential_backoff, flow, task
from asyncflow.core.retries import RetryPolicy
from asyncflow.exceptions import FailedRun, InvalidOption
from asyncflow.states import Completed, Failed

from ..colours import Body, Colour
from .outside import Stored

Delay = Any


def flaky(colour: Colour, failures: int, **options: Any) -> tuple[Any, list[int]]:
    """A task that fails so often before it gives the number of its attempt; and the attempts it made."""
    attempts: list[int] = []

    @task(name="flaky", **options)
    @colour.body
    def body() -> int:
        attempts.append(current_run().attempt)
        if len(attempts) <= failures:
            raise ValueError(f"failure {len(attempts)}")
        return len(attempts)

    return body, attempts


def waits(home: Path, name: str = "flaky") -> list[str]:
    return [state for state, _ in Stored(home).history(name) if state in {"AwaitingRetry", "Retrying"}]


# -- how often --------------------------------------------------------------------------------------------------


def test_attempts_are_counted_until_one_succeeds(colour: Colour, home: Path) -> None:
    body, attempts = flaky(colour, 2, retries=5)
    assert colour.run(body) == 3
    assert attempts == [1, 2, 3]
    assert Stored(home).run("flaky")["attempt"] == 3


def test_the_last_attempts_error_is_the_runs(colour: Colour, home: Path) -> None:
    body, attempts = flaky(colour, 9, retries=2)
    with pytest.raises(ValueError, match="failure 3"):
        colour.run(body)
    assert attempts == [1, 2, 3]
    run = Stored(home).run("flaky")
    assert (run["state_name"], run["attempt"]) == ("Failed", 3)
    assert "failure 3" in run["error"]


def test_without_retries_there_is_one_attempt(colour: Colour) -> None:
    body, attempts = flaky(colour, 1)
    with pytest.raises(ValueError, match="failure 1"):
        colour.run(body)
    assert attempts == [1]


def test_the_history_tells_of_every_attempt(colour: Colour, home: Path) -> None:
    body, _ = flaky(colour, 2, retries=2, retry_delay_seconds=[0.001, 0])
    assert colour.run(body) == 3
    history = [move for move in Stored(home).history("flaky") if move[0] not in {"Pending", "Running"}]
    assert history == [("AwaitingRetry", 1), ("Retrying", 2), ("Retrying", 3), ("Completed", 3)]


def test_a_returned_failed_state_is_retried(colour: Colour) -> None:
    attempts: list[int] = []

    @task(retries=2)
    @colour.body
    def body() -> Any:
        attempts.append(1)
        return Completed(data="at last") if len(attempts) == 2 else Failed(message="not yet")

    assert colour.run(body) == "at last"
    assert len(attempts) == 2


def test_a_returned_failed_state_is_the_end_when_retries_are_used_up(colour: Colour) -> None:
    @task(retries=1)
    @colour.body
    def body() -> Any:
        return Failed(message="never")

    with pytest.raises(FailedRun, match="never"):
        colour.run(body)


def test_each_call_has_a_budget_of_its_own(colour: Colour) -> None:
    seen: list[tuple[int, int]] = []

    @task(retries=1)
    @colour.body
    def once_bad(number: int) -> int:
        seen.append((number, current_run().attempt))
        if current_run().attempt == 1:
            raise ValueError(number)
        return number

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        first = yield once_bad(1)
        second = once_bad.submit(2)
        return first, (yield colour.result(second))

    assert colour.run(pipeline) == (1, 2)
    assert seen == [(1, 1), (1, 2), (2, 1), (2, 2)]


# -- how late ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delay", "expected"),
    [
        (None, [0, 0, 0, 0]),
        (0.5, [0.5, 0.5, 0.5, 0.5]),
        (timedelta(milliseconds=20), [0.02, 0.02, 0.02, 0.02]),
        ([1, 2], [1, 2, 2, 2]),
        ([timedelta(seconds=3), 0], [3, 0, 0, 0]),
        ((1, 2, 3, 4, 5), [1, 2, 3, 4]),
        ([], [0, 0, 0, 0]),
        (exponential_backoff(2), [2, 4, 8, 16]),
        (exponential_backoff(0), [0, 0, 0, 0]),
        (lambda retries: [retries], [4, 4, 4, 4]),
    ],
)
def test_delays(delay: Delay, expected: list[float]) -> None:
    policy = RetryPolicy(4, delay)
    assert [policy.delay(number, random.Random(0)) for number in range(1, 5)] == expected


@given(st.floats(0, 1e6), st.floats(0, 10), st.integers(1, 20), st.integers())
def test_jitter_stays_within_its_factor(delay: float, factor: float, failures: int, seed: int) -> None:
    spread = RetryPolicy(20, delay, jitter=factor).delay(failures, random.Random(seed))
    assert 0 <= spread <= delay * (1 + factor) * (1 + 1e-9)
    assert spread >= delay * (1 - factor) * (1 - 1e-9)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 100), st.integers())
def test_without_jitter_a_delay_is_one_of_those_given(delays: list[float], failures: int, seed: int) -> None:
    policy = RetryPolicy(100, delays)
    assert policy.delay(failures, random.Random(seed)) == delays[min(failures, len(delays)) - 1]


def test_jitter_differs_between_runs() -> None:
    policy = RetryPolicy(1, 10, jitter=0.5)
    assert len({policy.delay(1, random.Random(seed)) for seed in range(20)}) == 20


@pytest.mark.parametrize(
    "options",
    [
        {"retries": -1},
        {"retries": 1.5},
        {"retries": True},
        {"retry_delay_seconds": -1},
        {"retry_delay_seconds": "soon"},
        {"retry_delay_seconds": [1, None]},
        {"retry_delay_seconds": float("inf")},
        {"retry_jitter_factor": -0.1},
        {"retry_jitter_factor": float("nan")},
        {"retry_condition_fn": "yes"},
    ],
)
def test_bad_options_are_refused_where_they_are_written(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match=next(iter(options))):
        task(**options)(lambda: None) if "name" in options else task(name="bad", **options)(lambda: None)


@pytest.mark.parametrize("factor", [-1, True, "2"])
def test_a_backoff_factor_is_a_number(factor: Any) -> None:
    with pytest.raises(InvalidOption, match="backoff_factor"):
        exponential_backoff(factor)


# -- whether at all ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
def test_the_condition_is_asked_with_task_run_and_state(colour: Colour, is_async: bool) -> None:
    asked: list[Any] = []

    def condition(task: Any, run: Any, state: Any) -> bool:
        asked.append((task.name, run.name, run.attempt, state.type.value, str(state.error())))
        return len(asked) < 2

    async def condition_async(task: Any, run: Any, state: Any) -> bool:
        return condition(task, run, state)

    body, attempts = flaky(colour, 9, retries=5, retry_condition_fn=condition_async if is_async else condition)
    with pytest.raises(ValueError, match="failure 2"):
        colour.run(body)
    assert attempts == [1, 2]
    assert asked == [
        ("flaky", "flaky", 1, "FAILED", "failure 1"),
        ("flaky", "flaky", 2, "FAILED", "failure 2"),
    ]


def test_a_condition_that_raises_means_no_retry(colour: Colour, home: Path) -> None:
    def condition(task: Any, run: Any, state: Any) -> bool:
        raise LookupError("broken condition")

    body, attempts = flaky(colour, 9, retries=5, retry_condition_fn=condition)
    with pytest.raises(ValueError, match="failure 1"):
        colour.run(body)
    assert attempts == [1]
    assert any("broken condition" in line for line in Stored(home).lines("flaky"))


def test_the_condition_is_not_asked_when_no_retry_is_left(colour: Colour) -> None:
    asked: list[int] = []

    def condition(*_: Any) -> bool:
        asked.append(1)
        return True

    body, _ = flaky(colour, 9, retries=1, retry_condition_fn=condition)
    with pytest.raises(ValueError, match="failure 2"):
        colour.run(body)
    assert asked == [1]


# -- flows ------------------------------------------------------------------------------------------------------


def test_a_flow_retries_within_the_same_run(colour: Colour, home: Path) -> None:
    seen: list[tuple[str, int]] = []

    @flow(name="again", retries=2, retry_delay_seconds=0.001)
    @colour.body
    def pipeline() -> str:
        run = current_run()
        seen.append((run.id, run.attempt))
        if run.attempt < 3:
            raise ValueError("once more")
        return "through"

    assert colour.run(pipeline) == "through"
    assert [attempt for _, attempt in seen] == [1, 2, 3]
    assert len({run_id for run_id, _ in seen}) == 1
    assert waits(home, "again") == ["AwaitingRetry", "Retrying", "AwaitingRetry", "Retrying"]


def test_a_flow_gives_up_with_the_last_error(colour: Colour, home: Path) -> None:
    @flow(name="never", retries=1)
    @colour.body
    def pipeline() -> None:
        raise ValueError(f"attempt {current_run().attempt}")

    with pytest.raises(ValueError, match="attempt 2"):
        colour.run(pipeline)
    assert Stored(home).history("never")[-1] == ("Failed", 2)


def test_the_delay_says_why_it_waits(colour: Colour, home: Path) -> None:
    body, _ = flaky(colour, 1, retries=1, retry_delay_seconds=0.001)
    colour.run(body)
    sql = "select message from transition where state_name = 'AwaitingRetry'"
    assert Stored(home).rows(sql) == [("ValueError: failure 1",)]
