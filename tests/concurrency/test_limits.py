"""`concurrency()`: slots around a block of code, sync and async, in runs and outside of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from asyncflow.application import Application
from asyncflow.concurrency import asyncio as async_names
from asyncflow.concurrency import sync as sync_names
from asyncflow.concurrency.limits import concurrency
from asyncflow.exceptions import BlockingCall, InvalidOption, LimitDeadlock, LimitTimeout, UnknownLimit
from asyncflow.ports import LimitRecord


@pytest.fixture
async def application() -> AsyncIterator[Application]:
    async with Application(":memory:") as application:
        await application.store.set_limit(LimitRecord("one", 1))
        await application.store.set_limit(LimitRecord("two", 2))
        yield application


async def held(application: Application) -> list[str]:
    await application.store.flush()
    return [holding.limit for holding in await application.store.holdings()]


def test_prefects_names_are_the_same_thing() -> None:
    assert sync_names.concurrency is async_names.concurrency is concurrency


@pytest.mark.parametrize(
    "options", [{"names": 1}, {"names": [""]}, {"names": "a", "occupy": 0}, {"names": "a", "timeout_seconds": -1}]
)
def test_bad_input_is_refused_where_it_is_written(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        concurrency(**options)


async def test_no_names_do_nothing() -> None:
    async with concurrency([]):
        pass
    with concurrency([]):
        pass


async def test_a_block_holds_its_slots(application: Application) -> None:
    async with concurrency(["one", "two"]):
        assert await held(application) == ["one", "two"]
        with pytest.raises(LimitTimeout):
            await asyncio.create_task(_block("two", occupy=2, timeout_seconds=0), context=_fresh())
    assert await held(application) == []


def _fresh() -> Any:
    from contextvars import copy_context

    from asyncflow.engine.slots import held_here

    context = copy_context()
    context.run(held_here.set, ())
    return context


async def _block(names: str, **options: Any) -> None:
    async with concurrency(names, **options):
        await asyncio.sleep(0)


async def test_an_error_in_the_block_gives_the_slots_back(application: Application) -> None:
    with pytest.raises(ZeroDivisionError):
        async with concurrency("one"):
            raise ZeroDivisionError
    assert await held(application) == []


async def test_a_block_inside_itself_is_a_deadlock_and_a_later_one_is_not(application: Application) -> None:
    limit = concurrency("one")
    async with limit:
        with pytest.raises(LimitDeadlock):
            async with limit:
                pass
    async with limit:
        assert await held(application) == ["one"]


async def test_branches_wait_for_each_other(application: Application) -> None:
    inside: list[int] = []
    limit = concurrency("one")

    async def branch(number: int) -> None:
        async with limit:
            inside.append(number)
            assert len(inside) == 1
            await asyncio.sleep(0.001)
            inside.remove(number)

    await asyncio.gather(*(branch(number) for number in range(20)))
    assert await held(application) == []


async def test_unknown_names_raise_if_strict(application: Application) -> None:
    with pytest.raises(UnknownLimit):
        async with concurrency("unknown", strict=True):
            pass


async def test_threads_share_the_limit(application: Application) -> None:
    inside: list[int] = []
    most: list[int] = []
    limit = concurrency("two")

    def work() -> None:
        for _ in range(5):
            with limit:
                inside.append(threading.get_ident())
                most.append(len(inside))
                inside.remove(threading.get_ident())

    await asyncio.gather(*(asyncio.to_thread(work) for _ in range(4)))
    assert max(most) <= 2
    assert await held(application) == []


@pytest.mark.blocks_loop
async def test_a_plain_with_on_a_loop_works_or_says_why_not(application: Application) -> None:
    with concurrency("one"):
        assert await held(application) == ["one"]
        with pytest.raises(LimitDeadlock), concurrency("one"):
            pass
    entered, leave = asyncio.Event(), asyncio.Event()

    async def holds() -> None:
        async with concurrency("one"):
            entered.set()
            await leave.wait()

    holder = asyncio.create_task(holds())
    await entered.wait()
    with pytest.raises(BlockingCall), concurrency("one"):
        pass
    leave.set()
    await holder
    assert await held(application) == []
