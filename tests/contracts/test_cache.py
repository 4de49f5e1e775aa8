"""What every store promises about the cache and who computes a key."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from asyncflow.core.runs import StoredValue
from asyncflow.ports import Store

from .makers import entry, executor


async def test_an_entry_is_found_until_it_expires(store: Store) -> None:
    await store.keep(entry("for ever"))
    await store.keep(entry("until 100", until=100))
    assert await store.cached("for ever", now=10**18) == entry("for ever")
    assert await store.cached("until 100", now=99) == entry("until 100", until=100)
    assert await store.cached("until 100", now=100) is None
    assert await store.cached("unknown", now=0) is None


async def test_a_later_entry_takes_the_place_of_an_earlier_one(store: Store) -> None:
    await store.keep(entry("k", data=b"1", until=5))
    in_a_file = replace(entry("k", run_id="r2"), value=StoredValue("pickle", None, "d" * 64, 10**6))
    await store.keep(in_a_file)
    assert await store.cached("k", now=50) == in_a_file


async def test_entries_are_listed_in_pages_without_data_and_cleared_by_task(store: Store) -> None:
    for number in range(5):
        await store.keep(entry(f"k{number}", task_name="load" if number % 2 else "save"))
    first = await store.cache_entries(3)
    rest = await store.cache_entries(3, after=first[-1].key)
    assert [found.key for found in first + rest] == ["k0", "k1", "k2", "k3", "k4"]
    assert all(found.value.data is None and found.value.size == 1 for found in first + rest)
    assert await store.clear_cache("save") == 3
    assert [found.key for found in await store.cache_entries(10)] == ["k1", "k3"]
    assert await store.clear_cache() == 2
    assert await store.clear_cache() == 0


async def test_one_of_many_becomes_the_one_who_computes(store: Store) -> None:
    claims = await asyncio.gather(*(store.claim_flight("k", "me", f"t{number}") for number in range(50)))
    assert claims == [True] + [False] * 49
    assert await store.claim_flight("other", "me", "t1")


async def test_a_flight_ends_by_its_own_token_only(store: Store) -> None:
    assert await store.claim_flight("k", "me", "t1")
    store.end_flight("k", "t2")
    assert not await store.claim_flight("k", "me", "t2")
    assert await store.claim_flight("k", "me", "t1")
    store.end_flight("k", "t1")
    assert await store.claim_flight("k", "me", "t2")


async def test_a_flight_of_the_dead_is_free(store: Store) -> None:
    await store.enlist(executor("other"))
    assert await store.claim_flight("dead", "never enlisted", "t1")
    assert await store.claim_flight("living", "other", "t1")
    assert not await store.claim_flight("living", "me", "t2")
    assert await store.claim_flight("dead", "me", "t2")
