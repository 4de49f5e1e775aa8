"""Cached results: found again, or computed by one while the others wait."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncflow.core.clock import SystemClock
from asyncflow.core.ids import IdMaker
from asyncflow.core.runs import StoredValue
from asyncflow.engine.caching import Caching, Flight
from asyncflow.exceptions import BlockingCall, CacheRecursion, CachingError, DatabaseUnavailable
from asyncflow.ports import CacheEntry
from asyncflow.store.sqlite import SQLiteStore

from .conftest import Opener
from .waits import CancelledAt, OtherLoop, body, until


def value(text: str) -> StoredValue:
    return StoredValue("json", text.encode(), None, len(text))


def caching_on(store: SQLiteStore) -> Caching:
    return Caching(store, store._executor_id, SystemClock(), IdMaker())


@pytest.fixture
def caching(store: SQLiteStore) -> Caching:
    return caching_on(store)


async def enter(caching: Caching, key: str = "k", **options: Any) -> CacheEntry | Flight:
    return await caching.enter(
        key, **{"refresh": False, "frame": None, "run_id": "r1", "task_name": "fetch", **options}
    )


async def flight(caching: Caching, key: str = "k", **options: Any) -> Flight:
    entered = await enter(caching, key, **options)
    assert isinstance(entered, Flight)
    return entered


async def waiters(caching: Caching, number: int, key: str = "k", **options: Any) -> list[asyncio.Task[Any]]:
    """Tasks that wait for the flight of this key."""

    def standing() -> list[Any]:
        return list(caching._line._queues.get(key, ()))

    before = len(standing())
    tasks = [asyncio.create_task(enter(caching, key, **options)) for _ in range(number)]
    await until(lambda: len(standing()) == before + number and all(place.watched for place in standing()[before:]))
    assert not any(task.done() for task in tasks)
    return tasks


async def flights(store: SQLiteStore) -> int:
    await store.flush()
    return (await store.stats())["flight"]


# -- hits and flights -------------------------------------------------------------------------------------------


async def test_what_has_landed_is_found(caching: Caching, store: SQLiteStore) -> None:
    first = await flight(caching)
    await first.land(value("1"), None)
    entry = await enter(caching, run_id="r2")
    assert isinstance(entry, CacheEntry)
    assert (entry.key, entry.run_id, entry.task_name, entry.value, entry.expires_at) == (
        "k", "r1", "fetch", value("1"), None,
    )  # fmt: skip
    assert await flights(store) == 0


async def test_an_expired_entry_is_not_found(caching: Caching) -> None:
    await (await flight(caching)).land(value("old"), SystemClock().now() - 1)
    again = await flight(caching)
    await again.land(value("new"), SystemClock().now() + 60_000_000)
    entry = await enter(caching)
    assert isinstance(entry, CacheEntry)
    assert entry.value == value("new")


async def test_refresh_computes_anew(caching: Caching) -> None:
    await (await flight(caching)).land(value("1"), None)
    await (await flight(caching, refresh=True)).land(value("2"), None)
    entry = await enter(caching)
    assert isinstance(entry, CacheEntry)
    assert entry.value == value("2")


async def test_keys_do_not_wait_for_each_other(caching: Caching) -> None:
    first, second = await flight(caching, "a"), await flight(caching, "b")
    first.abandon()
    second.abandon()


async def test_abandoning_happens_once_and_landing_ends_it(caching: Caching, store: SQLiteStore) -> None:
    first = await flight(caching)
    first.abandon()
    first.abandon()
    second = await flight(caching)
    first.abandon()
    (waiter,) = await waiters(caching, 1)
    await second.land(value("1"), None)
    second.abandon()
    assert isinstance(await waiter, CacheEntry)
    with pytest.raises(CachingError, match="ended already"):
        await second.land(value("2"), None)
    assert await flights(store) == 0


# -- one computes, the others wait ------------------------------------------------------------------------------


async def test_the_others_get_what_lands_without_asking_the_store(
    caching: Caching, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    flying = await flight(caching)
    tasks = await waiters(caching, 1000)

    async def never(*_: Any) -> Any:
        raise AssertionError("the store was asked")

    monkeypatch.setattr(store, "cached", never)
    monkeypatch.setattr(store, "claim_flight", never)
    await flying.land(value("1"), None)
    entries = await asyncio.gather(*tasks)
    assert {entry.value for entry in entries} == {value("1")}


async def test_equal_calls_at_once_look_once(
    caching: Caching, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await flight(caching)).land(value("1"), None)
    looks = 0
    look = store.cached

    async def counted(key: str, now: int) -> CacheEntry | None:
        nonlocal looks
        looks += 1
        return await look(key, now)

    monkeypatch.setattr(store, "cached", counted)
    entries = await asyncio.gather(*(enter(caching) for _ in range(10_000)))
    assert all(isinstance(entry, CacheEntry) for entry in entries)
    assert looks == 1


async def test_after_a_failed_flight_the_next_one_flies(caching: Caching, store: SQLiteStore) -> None:
    flying = await flight(caching)
    tasks = await waiters(caching, 3)
    for turn in range(3):
        flying.abandon()
        flying = await tasks[turn]
        assert isinstance(flying, Flight)
        assert not any(task.done() for task in tasks[turn + 1 :])
    flying.abandon()
    assert await flights(store) == 0


async def test_refreshing_calls_fly_one_after_another(caching: Caching) -> None:
    flying = await flight(caching, refresh=True)
    (plain,) = await waiters(caching, 1)
    (again,) = await waiters(caching, 1, refresh=True)
    await flying.land(value("1"), None)
    assert isinstance(await plain, CacheEntry)
    second = await again
    assert isinstance(second, Flight)
    second.abandon()


async def test_what_expired_while_it_landed_is_not_shared(caching: Caching) -> None:
    flying = await flight(caching)
    (waiter,) = await waiters(caching, 1)
    await flying.land(value("1"), SystemClock().now() - 1)
    second = await waiter
    assert isinstance(second, Flight)
    second.abandon()


async def test_a_value_that_cannot_be_kept_is_not_shared(
    caching: Caching, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(_: CacheEntry) -> None:
        raise DatabaseUnavailable("disk full")

    flying = await flight(caching)
    (waiter,) = await waiters(caching, 1)
    monkeypatch.setattr(store, "keep", refused)
    with pytest.raises(DatabaseUnavailable, match="disk full"):
        await flying.land(value("1"), None)
    second = await waiter
    assert isinstance(second, Flight)
    second.abandon()


async def test_an_entry_is_kept_before_its_flight_ends(caching: Caching, store: SQLiteStore) -> None:
    """The flight's end is seen by nobody who does not see the entry too, also when the landing is cancelled."""
    flying = await flight(caching)
    (waiter,) = await waiters(caching, 1)
    victim = CancelledAt(flying.land(value("1"), None), 1)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.ensure_future(_awaited(victim))
    entry = await waiter
    assert isinstance(entry, CacheEntry)
    assert await flights(store) == 0


async def test_closing_wakes_everybody_with_an_error(caching: Caching) -> None:
    flying = await flight(caching)
    tasks = await waiters(caching, 2)
    caching.close()
    for task in tasks:
        with pytest.raises(CachingError, match="closing"):
            await task
    flying.abandon()


# -- what can never end -----------------------------------------------------------------------------------------


async def test_an_ancestors_key_is_a_recursion(caching: Caching) -> None:
    flying = await flight(caching, run_id="outer")
    inner = body("inner", body("outer"))
    with pytest.raises(CacheRecursion, match="'k', which its own ancestor, task run 'outer'"):
        await enter(caching, frame=inner, run_id="innermost")
    with pytest.raises(CacheRecursion):
        await enter(caching, frame=inner, run_id="innermost", refresh=True)
    (waiter,) = await waiters(caching, 1, frame=body("other"))
    flying.abandon()
    second = await waiter
    assert isinstance(second, Flight)
    second.abandon()


async def test_a_flight_on_a_loop_that_the_call_blocks_is_refused(caching: Caching) -> None:
    here = asyncio.get_running_loop()
    flying = await flight(caching)
    frame = body("flow")
    frame.blocked = (here,)
    with OtherLoop() as other:
        with pytest.raises(BlockingCall, match="cache key 'k'"):
            await other.do(enter(caching, blocked=(here,)))
        with pytest.raises(BlockingCall):
            await other.do(enter(caching, frame=frame))
    flying.abandon()


# -- loops, processes, cancellation -----------------------------------------------------------------------------


async def test_loops_share_a_flight(caching: Caching) -> None:
    flying = await flight(caching)
    with OtherLoop() as other:
        (here,) = await waiters(caching, 1)
        there = other.begin(enter(caching))
        await flying.land(value("1"), None)
        assert isinstance(await here, CacheEntry)
        assert isinstance(await there, CacheEntry)


async def test_a_flight_may_be_abandoned_from_another_thread(caching: Caching) -> None:
    flying = await flight(caching)
    (waiter,) = await waiters(caching, 1)
    await asyncio.to_thread(flying.abandon)
    second = await waiter
    assert isinstance(second, Flight)
    second.abandon()


async def test_the_flight_of_a_closed_loop_is_free(caching: Caching) -> None:
    await asyncio.to_thread(asyncio.run, flight(caching))
    (await flight(caching)).abandon()


@pytest.mark.parametrize("contested", [False, True])
async def test_a_cancellation_anywhere_leaves_no_flight(caching: Caching, store: SQLiteStore, contested: bool) -> None:
    step = 0
    reached = True
    while reached:
        step += 1
        flying = await flight(caching) if contested else None
        victim = CancelledAt(_entered_and_abandoned(caching), step)
        task = asyncio.ensure_future(_awaited(victim))
        behind = asyncio.create_task(_entered_and_abandoned(caching))
        if flying is not None:
            while victim.taken < 1 and not task.done():  # it waits for the flight
                await asyncio.sleep(0)
            flying.abandon()
        await asyncio.wait((task,))
        reached = victim.reached
        assert task.cancelled() or not reached
        await behind
        assert await flights(store) == 0
    assert step > (4 if contested else 3)


async def _entered_and_abandoned(caching: Caching) -> None:
    (await flight(caching)).abandon()


async def _awaited(victim: CancelledAt) -> None:
    await victim


async def test_what_lands_elsewhere_is_found(opened: Opener) -> None:
    first, second = caching_on(await opened()), caching_on(await opened())
    flying = await flight(first)
    tasks = await waiters(second, 20)
    await flying.land(value("1"), None)
    assert {entry.value for entry in await asyncio.gather(*tasks)} == {value("1")}


async def test_what_fails_elsewhere_is_computed_here(opened: Opener) -> None:
    first, second = caching_on(await opened()), caching_on(await opened())
    flying = await flight(first)
    (waiter,) = await waiters(second, 1)
    flying.abandon()
    here = await waiter
    assert isinstance(here, Flight)
    here.abandon()


PROCESS = """
import asyncio, sys
from asyncflow.core.clock import SystemClock
from asyncflow.core.ids import IdMaker
from asyncflow.core.runs import StoredValue
from asyncflow.engine.caching import Caching, Flight
from asyncflow.store.sqlite import SQLiteStore

async def main():
    ids = IdMaker()
    store = SQLiteStore(sys.argv[1], executor_id=ids(), clock=SystemClock())
    await store.open()
    caching = Caching(store, store._executor_id, SystemClock(), ids)

    async def one(key):
        found = await caching.enter(key, refresh=False, frame=None, run_id=ids(), task_name="t")
        if isinstance(found, Flight):
            print("flies", key, flush=True)
            await asyncio.sleep(float(sys.argv[2]))
            await found.land(StoredValue("json", b"1", None, 1), None)

    await asyncio.gather(*(one(f"k{number % 5}") for number in range(100)))
    await store.close()

asyncio.run(main())
"""


async def started(path: Path, seconds: float) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROCESS, str(path), str(seconds), stdout=asyncio.subprocess.PIPE
    )


async def test_processes_compute_each_key_once(opened: Opener, path: Path) -> None:
    await opened()
    processes = [await started(path, 0.05) for _ in range(2)]
    outputs = await asyncio.gather(*(process.communicate() for process in processes))
    assert [process.returncode for process in processes] == [0, 0]
    flown = sorted(line for output, _ in outputs for line in output.decode().splitlines())
    assert flown == [f"flies k{number}" for number in range(5)]


async def test_the_flight_of_a_killed_process_is_free(opened: Opener, path: Path) -> None:
    caching = caching_on(await opened())
    process = await started(path, 60)
    assert process.stdout is not None
    flown = {(await process.stdout.readline()).decode().split()[1] for _ in range(5)}
    assert flown == {f"k{number}" for number in range(5)}
    (waiter,) = await waiters(caching, 1, "k3")
    process.kill()
    taken = await waiter
    assert isinstance(taken, Flight)
    taken.abandon()
    await process.communicate()


CALLS = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.booleans(), st.booleans(), st.integers(0, 3), st.one_of(st.none(), st.integers(1, 9))
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(calls=CALLS)
def test_never_two_compute_one_key(calls: list[tuple[str, bool, bool, int, int | None]]) -> None:
    asyncio.run(_all_orders(calls))


async def _all_orders(calls: list[tuple[str, bool, bool, int, int | None]]) -> None:
    flying = {"a": 0, "b": 0}
    landed: set[str] = set()
    store = SQLiteStore(":memory:", executor_id="me", clock=SystemClock())
    await store.open()
    caching = caching_on(store)

    async def one(key: str, refresh: bool, fails: bool, turns: int) -> None:
        found = await enter(caching, key, refresh=refresh)
        if isinstance(found, CacheEntry):
            assert not refresh
            return
        assert refresh or key not in landed
        flying[key] += 1
        assert flying[key] == 1
        try:
            for _ in range(turns):
                await asyncio.sleep(0)
            flying[key] -= 1
            if not fails:
                landed.add(key)
                await found.land(value("1"), None)
        except asyncio.CancelledError:
            flying[key] = 0
            raise
        finally:
            found.abandon()

    async def maybe_cancelled(key: str, refresh: bool, fails: bool, turns: int, step: int | None) -> None:
        work = one(key, refresh, fails, turns)
        await (work if step is None else CancelledAt(work, step))

    outcomes = await asyncio.gather(*(maybe_cancelled(*call) for call in calls), return_exceptions=True)
    for (*_, step), outcome in zip(calls, outcomes, strict=True):
        assert outcome is None or (isinstance(outcome, asyncio.CancelledError) and step is not None)
    assert await flights(store) == 0
    await store.close()
