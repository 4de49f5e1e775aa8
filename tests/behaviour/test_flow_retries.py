"""A flow's retry re-enters its run: what completed is answered from the journal, what failed runs again."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from asyncflow import Application, current_run, flow, gather, task
from asyncflow.core.runs import RunFilter

calls: Counter[str] = Counter()  # not closed over: what a task closes over counts as its input
seen: list[list[tuple[int, int]]] = []
ids: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    calls.clear()
    seen.clear()
    ids.clear()


async def test_completed_tasks_are_replayed_and_failed_ones_run_again(tmp_path: Path) -> None:
    @task
    async def good(number: int) -> list[int]:
        calls[f"good-{number}"] += 1
        return [number]

    @task(retries=1)
    async def flaky() -> str:
        calls["flaky"] += 1
        if calls["flaky"] < 3:
            raise ValueError("not yet")
        return "at last"

    @flow(retries=1)
    async def pipeline() -> tuple[list[list[int]], str]:
        calls["body"] += 1
        values = await asyncio.gather(*[good(number) for number in (3, 1, 2)])
        return values, await flaky()

    async with Application(database=tmp_path / "x.db") as application:
        assert await pipeline() == ([[3], [1], [2]], "at last")
        runs = await application.store.runs(RunFilter(kind="task", spec_name="good"), 10)

    assert calls == {"body": 2, "flaky": 3, "good-1": 1, "good-2": 1, "good-3": 1}
    assert len(runs) == 3


async def test_equal_calls_are_told_apart_by_their_occurrence(tmp_path: Path) -> None:
    @task
    async def poll(job: str) -> int:
        calls[job] += 1
        return calls[job]

    @flow(retries=1)
    async def waiting() -> list[int]:
        seen: list[int] = []
        while not seen or seen[-1] < 3:
            seen.append(await poll("job"))
        if calls["failed"] == 0:
            calls["failed"] += 1
            raise ValueError("after the third")
        return seen

    async with Application(database=tmp_path / "x.db"):
        assert await waiting() == [1, 2, 3]

    assert calls["job"] == 3


async def test_branches_keep_equal_concurrent_calls_apart(tmp_path: Path) -> None:
    @task
    async def token() -> int:
        calls["token"] += 1
        return calls["token"]

    @task
    async def pause(seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def branch(number: int) -> tuple[int, int]:
        turn = number if calls["attempt"] == 1 else 5 - number
        await pause(0.005 * turn)
        return number, await token()

    @flow(retries=1)
    async def pipeline() -> None:
        calls["attempt"] += 1
        seen.append(await gather(*[branch(number) for number in range(5)]))
        if calls["attempt"] == 1:
            raise ValueError("once more")

    async with Application(database=tmp_path / "x.db"):
        await pipeline()

    assert seen[0] == seen[1]
    assert calls["token"] == 5


async def test_completed_subflows_are_replayed(tmp_path: Path) -> None:
    @flow
    async def inner(number: int) -> str:
        calls["inner"] += 1
        return current_run().id

    @flow(retries=1)
    async def outer() -> str:
        ids.append(await inner(1))
        if len(ids) == 1:
            raise ValueError("once more")
        return ids[-1]

    async with Application(database=tmp_path / "x.db"):
        await outer()

    assert ids[0] == ids[1]
    assert calls["inner"] == 1


async def test_a_result_that_was_not_kept_is_made_again(tmp_path: Path) -> None:
    @task(persist_result=False)
    async def unkept() -> int:
        calls["unkept"] += 1
        return calls["unkept"]

    @flow(retries=1)
    async def pipeline() -> int:
        value = await unkept()
        if value == 1:
            raise ValueError("once more")
        return value

    async with Application(database=tmp_path / "x.db"):
        assert await pipeline() == 2
