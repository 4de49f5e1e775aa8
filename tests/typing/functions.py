"""The types of tasks and flows of both colours: called, submitted, mapped, streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from datetime import timedelta
from typing import Any, assert_type

from asyncflow import Flow, Future, FutureList, State, Task, flow, task, unmapped


@task
def add(left: int, right: int = 1) -> int:
    return left + right


@task(retries=3, retry_delay_seconds=timedelta(seconds=1), tags=["web"], limits=["api"])
async def fetch(url: str, *, depth: int = 0) -> bytes:
    return url.encode() * depth


@flow
def report(day: str) -> list[int]:
    assert_type(add(1), int)
    assert_type(add(left=1, right=2), int)
    assert_type(add(1, return_state=True), State[int])
    assert_type(add.submit(1), Future[int])
    assert_type(add.submit(add.submit(1)).result(), int)
    assert_type(add.map([1, 2], unmapped(3)), FutureList[int])
    assert_type(add.map([1, 2]).result(), list[int])
    for future in add.map([1, 2]):
        assert_type(future, Future[int])
    for value in add.stream(range(3), 2, limit=2):
        assert_type(value, int)
    for content in fetch.stream([day]):
        assert_type(content, bytes)
    assert_type(fetch.submit(day, depth=2).result(), bytes)
    assert_type(fetch.submit(day).state, State[bytes])
    return [add(1), add(2, wait_for=[fetch.submit(day)])]


@flow(name="all pages", timeout_seconds=60, log_prints=True)
async def crawl(urls: list[str], limit: int = 10) -> dict[str, int]:
    pending: Coroutine[Any, Any, bytes] = fetch(urls[0])
    assert_type(await pending, bytes)
    assert_type(await fetch(urls[0], depth=2), bytes)
    assert_type(await fetch(urls[0], return_state=True), State[bytes])
    assert_type(await fetch(urls[0], wait_for=[add.submit(1)]), bytes)
    assert_type(fetch.submit(urls[0]), Future[bytes])
    assert_type(await fetch.submit(urls[0]), bytes)
    assert_type(await add.submit(1), int)
    assert_type(fetch.map(urls, limit=limit), FutureList[bytes])
    assert_type(await fetch.map(urls), list[bytes])
    async for content in fetch.stream(names(), limit=limit, ordered=True):
        assert_type(content, bytes)
    async for number in add.stream([1, 2]):
        assert_type(number, int)
    return {url: len(await fetch(url)) for url in urls}


async def names() -> AsyncIterator[str]:
    yield "one"


@flow
def outer() -> None:
    assert_type(report("monday"), list[int])
    assert_type(report(day="monday", return_state=True), State[list[int]])
    assert_type(report.submit("monday"), Future[list[int]])
    assert_type(report.submit("monday").result(), list[int])
    assert_type(crawl.submit(["one"]).result(), dict[str, int])


@flow
async def async_outer() -> None:
    pending: Coroutine[Any, Any, dict[str, int]] = crawl(["one"])
    assert_type(await pending, dict[str, int])
    assert_type(await crawl(["one"], limit=2), dict[str, int])
    assert_type(await crawl(["one"], return_state=True), State[dict[str, int]])
    assert_type(await crawl.submit(["one"]), dict[str, int])
    assert_type(await report.submit("monday"), list[int])


def as_values(chosen: Task[[int], str], started: Flow[[str], list[int]]) -> None:
    assert_type(chosen(1), str)
    assert_type(chosen.with_options(name="other", retries=2), Task[[int], str])
    assert_type(started.with_options(timeout_seconds=3), Flow[[str], list[int]])
    assert_type(started.with_options(name="other")("monday"), list[int])
    assert_type(add.with_options(retries=2)(1, right=2), int)
    assert_type(started.parameters, dict[str, Any])
