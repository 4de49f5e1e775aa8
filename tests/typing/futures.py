"""The types of futures and of the ways of waiting for them."""

from __future__ import annotations

from typing import Any, assert_type

from asyncflow import Future, FutureList, State, allow_failure, as_completed, flow, gather, quote, task, unmapped, wait
from asyncflow.futures import DoneAndNotDone


@task
def double(number: int) -> int:
    return number * 2


@task
async def spell(number: int) -> str:
    return str(number)


@flow
def in_sync_code() -> list[int]:
    futures = [double.submit(number) for number in range(3)]
    done, not_done = wait(futures, timeout=3)
    assert_type(done, set[Future[int]])
    assert_type(not_done, set[Future[int]])
    assert_type(wait(futures).done, set[Future[int]])
    for future in as_completed(futures):
        assert_type(future, Future[int])
        assert_type(future.result(timeout=1), int)
        assert_type(future.wait(1), bool)
        assert_type(future.state, State[int])
        assert_type(future.state.result(), int)
        assert_type(future.done(), bool)
        assert_type(future.cancel("enough"), bool)
        future.add_done_callback(seen)
    several = double.map(range(3))
    assert_type(several, FutureList[int])
    assert_type(several[0], Future[int])
    assert_type(several.wait(), DoneAndNotDone[int])
    assert_type(gather(*futures), Any)
    return [future.result() for future in futures]


@flow
async def in_async_code() -> None:
    futures = [spell.submit(number) for number in range(3)]
    done, not_done = await wait(futures, return_when="FIRST_COMPLETED")
    assert_type(done, set[Future[str]])
    assert_type(not_done, set[Future[str]])
    async for future in as_completed(futures, timeout=1):
        assert_type(future, Future[str])
        assert_type(await future, str)
    texts: list[str] = await gather(*futures, spell(4))
    await spell.submit(len(texts), wait_for=futures)
    await spell.map(unmapped([1]), [allow_failure(futures[0]), quote(futures)])


def seen(future: Future[int]) -> None:
    assert_type(future.result(), int)
