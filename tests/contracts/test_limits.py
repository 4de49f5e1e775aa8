"""What every store promises about concurrency limits."""

from __future__ import annotations

import asyncio

from asyncflow.ports import LimitRecord, Store

from .makers import executor, holding


async def test_limits_are_made_changed_listed_and_removed(store: Store) -> None:
    await store.set_limit(LimitRecord("b", 2, slot_decay_per_second=0.5))
    await store.set_limit(LimitRecord("a", 1))
    await store.set_limit(LimitRecord("a", 3, active=False))
    assert await store.limits() == [LimitRecord("a", 3, active=False), LimitRecord("b", 2, slot_decay_per_second=0.5)]
    assert await store.delete_limit("a") is True
    assert await store.delete_limit("a") is False
    assert [limit.name for limit in await store.limits()] == ["b"]


async def test_no_more_slots_are_taken_than_there_are(store: Store) -> None:
    await store.set_limit(LimitRecord("api", 3))
    assert await store.take([holding("api", "one", 2)])
    assert not await store.take([holding("api", "two", 2)])
    assert await store.take([holding("api", "three", 1)])
    assert await store.holdings("api") == [holding("api", "one", 2), holding("api", "three", 1)]
    store.give_back("one")
    assert await store.take([holding("api", "two", 2)])


async def test_a_hundred_at_once_get_exactly_the_slots(store: Store) -> None:
    await store.set_limit(LimitRecord("api", 7))
    got = await asyncio.gather(*(store.take([holding("api", f"t{number}")]) for number in range(100)))
    assert sum(got) == 7
    assert len(await store.holdings()) == 7


async def test_several_names_are_taken_all_or_none(store: Store) -> None:
    await store.set_limit(LimitRecord("a", 1))
    await store.set_limit(LimitRecord("b", 0))
    assert not await store.take([holding("a", "one"), holding("b", "one")])
    assert await store.holdings() == []
    assert await store.take([holding("a", "one")])


async def test_one_name_asked_for_twice_is_counted_twice(store: Store) -> None:
    await store.set_limit(LimitRecord("a", 1))
    assert not await store.take([holding("a", "one"), holding("a", "one")])
    assert await store.holdings() == []


async def test_a_name_without_an_active_limit_is_granted_and_leaves_no_row(store: Store) -> None:
    await store.set_limit(LimitRecord("off", 0, active=False))
    assert await store.take([holding("unknown", "one"), holding("off", "one")])
    assert await store.holdings() == []


async def test_what_the_dead_held_is_free(store: Store) -> None:
    await store.set_limit(LimitRecord("a", 1))
    assert await store.take([holding("a", "one", executor_id="never enlisted")])
    assert await store.take([holding("a", "two")])
    assert [found.token for found in await store.holdings("a")] == ["two"]


async def test_what_a_retired_executor_held_is_free_and_what_others_hold_is_not(store: Store) -> None:
    await store.set_limit(LimitRecord("a", 2))
    await store.enlist(executor("other"))
    assert await store.take([holding("a", "theirs", executor_id="other"), holding("a", "theirs", executor_id="me")])
    assert not await store.take([holding("a", "mine")])
    await store.retire("other")
    assert [found.executor_id for found in await store.holdings()] == ["me"]
    assert await store.take([holding("a", "mine")])
