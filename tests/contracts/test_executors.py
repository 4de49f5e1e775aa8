"""What every store promises about who is alive."""

from __future__ import annotations

from asyncflow.ports import Store

from .makers import executor


async def test_an_open_store_has_its_own_executor_enlisted(store: Store) -> None:
    assert [found.id for found in await store.executors()] == ["me"]


async def test_executors_are_enlisted_changed_and_retired(store: Store) -> None:
    await store.enlist(executor("other"))
    await store.enlist(executor("other", pid=8))
    assert executor("other", pid=8) in await store.executors()
    await store.retire("other")
    await store.retire("nobody")
    assert [found.id for found in await store.executors()] == ["me"]
