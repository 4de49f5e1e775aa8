"""Slips that a type checker has to find; a checker that lets one pass complains of the comment behind it.

Nothing here is ever called.
"""

from __future__ import annotations

import asyncflow
from asyncflow import flow, task


@task
def add(left: int, right: int = 1) -> int:
    return left + right


@task
async def fetch(url: str) -> bytes:
    return url.encode()


@flow
def report(day: str) -> list[int]:
    return [len(day)]


class Shop:
    @task
    def price(self, item: str) -> float:
        return len(item)


def names() -> None:
    asyncflow.nonsense()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def calls() -> None:
    add("one")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    add()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    add(1, 2, 3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    add(1, wrong=2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    report(1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    report("monday", day="monday")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    report()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


async def awaited_calls() -> None:
    fetch("one")  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    await fetch(1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await fetch()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await add(1)  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    len(fetch("one"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    text: str = await fetch("one")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    number: str = add(1)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(text, number)


async def futures() -> None:
    text: str = add.submit(1).result()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    other: str = await fetch.submit("one")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    many: list[str] = await fetch.map(["one"])  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    state: int = add(1, return_state=True)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(text, other, many, state)
    async for size in fetch.stream(["one"]):
        text = size  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


def methods(shop: Shop) -> None:
    shop.price(1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    shop.price()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    shop.price("tea", "two")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


def options() -> None:
    task(retries="three")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    task(unknown=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    flow(leftover="drop")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    flow(timeout_seconds="soon")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    task(cache_policy="inputs")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    task(3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
