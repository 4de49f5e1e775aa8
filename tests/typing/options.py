"""The types of hooks, cache policies, limits and delays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, assert_type

from asyncflow import State, exponential_backoff, flow, task, task_input_hash
from asyncflow.cache_policies import FLOW_PARAMETERS, INPUTS, NO_CACHE, RUN_ID, TASK_SOURCE, CacheContext, CachePolicy
from asyncflow.concurrency.asyncio import concurrency
from asyncflow.concurrency.sync import concurrency as sync_concurrency
from asyncflow.core.runs import Run
from asyncflow.specs import FlowSpec, TaskSpec

assert_type(exponential_backoff(2), Callable[[int], Sequence[float]])
assert_type(INPUTS + TASK_SOURCE, CachePolicy)
assert_type((INPUTS + FLOW_PARAMETERS) - "verbose", CachePolicy)


def worth_it(spec: TaskSpec, run: Run, state: State[Any]) -> bool:
    return state.is_failed()


async def worth_asking(spec: TaskSpec, run: Run, state: State[Any]) -> bool:
    return state.is_failed()


def one_key(context: CacheContext, arguments: dict[str, Any]) -> str | None:
    return task_input_hash(context, arguments)


def tell(spec: FlowSpec, run: Run, state: State[Any]) -> None:
    print(spec.name, run.name, state.message)


async def write(spec: FlowSpec, run: Run, state: State[Any]) -> None:
    print(spec.name, run.name, state.message)


@task(retries=3, retry_delay_seconds=exponential_backoff(2), retry_jitter_factor=0.5, retry_condition_fn=worth_it)
def first() -> None: ...


@task(retries=3, retry_delay_seconds=[1, 2.5], retry_condition_fn=worth_asking, cache_policy=INPUTS - "verbose")
async def second(verbose: bool) -> None:
    async with concurrency("api", occupy=2, timeout_seconds=1):
        pass


@task(cache_key_fn=one_key, cache_expiration=timedelta(hours=1), cache_policy=RUN_ID + INPUTS)
def third() -> None:
    with sync_concurrency(["api", "licence"]):
        pass


@task(cache_policy=NO_CACHE, cache_key_fn=task_input_hash, timeout_seconds=timedelta(seconds=3), key="one")
def fourth() -> None: ...


@flow(on_failure=[tell, write], on_completion=tell, on_cancellation=[write], leftover="cancel", unobserved="log")
def pipeline() -> int:
    return 1


@pipeline.on_failure
def failed(spec: FlowSpec, run: Run, state: State[Any]) -> None:
    tell(spec, run, state)


@first.on_completion
async def completed(spec: TaskSpec, run: Run, state: State[Any]) -> None:
    print(spec.name, run.name, state.message)
