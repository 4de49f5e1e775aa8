"""Slots of limits: taken all or none, waited for in line, given back whatever happens."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncflow.core.clock import SystemClock
from asyncflow.core.ids import IdMaker
from asyncflow.engine.slots import BlockedThread, Lease, Slots, held_here
from asyncflow.exceptions import (
    BlockingCall,
    InvalidOption,
    LimitDeadlock,
    LimitError,
    LimitTimeout,
    UnknownLimit,
)
from asyncflow.ports import LimitRecord
from asyncflow.store.sqlite import SQLiteStore

from .conftest import Opener
from .waits import CancelledAt, OtherLoop, body, until


def slots_on(store: SQLiteStore) -> Slots:
    return Slots(store, store._executor_id, SystemClock(), IdMaker())


@pytest.fixture
async def slots(store: SQLiteStore) -> Slots:
    for name, number in (("one", 1), ("two", 2), ("five", 5), ("none", 0)):
        await store.set_limit(LimitRecord(name, number))
    return slots_on(store)


async def take(slots: Slots, *names: str, occupy: int = 1, **options: Any) -> Lease:
    return await slots.acquire(names, occupy, **{"frame": None, "run_id": None, **options})


async def waiting(slots: Slots, *names: str, occupy: int = 1, **options: Any) -> asyncio.Task[Lease]:
    """A task that waits for these slots."""
    really = asyncio.Event()
    task = asyncio.create_task(take(slots, *names, occupy=occupy, waiting=lambda _: really.set(), **options))
    told = asyncio.create_task(really.wait())
    await asyncio.wait((task, told), return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    assert not task.done(), f"{names} did not have to wait"
    return task


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def held(store: SQLiteStore) -> list[tuple[str, int]]:
    await store.flush()
    return [(holding.limit, holding.occupy) for holding in await store.holdings()]


# -- taking and giving back -------------------------------------------------------------------------------------


async def test_slots_are_taken_and_given_back(slots: Slots, store: SQLiteStore) -> None:
    lease = await take(slots, "five", "two", occupy=2)
    assert lease.names == ("five", "two")
    assert await held(store) == [("five", 2), ("two", 2)]
    lease.release()
    assert await held(store) == []


async def test_release_happens_once(slots: Slots, store: SQLiteStore) -> None:
    lease = await take(slots, "one")
    lease.release()
    again = await take(slots, "one")
    lease.release()
    assert await held(store) == [("one", 1)]
    again.release()


async def test_a_name_given_twice_is_taken_once(slots: Slots, store: SQLiteStore) -> None:
    lease = await take(slots, "one", "one", timeout_seconds=0)
    assert await held(store) == [("one", 1)]
    lease.release()


async def test_the_holding_says_for_which_run(slots: Slots, store: SQLiteStore) -> None:
    lease = await take(slots, "one", run_id="r1")
    assert [(one.run_id, one.token, one.executor_id) for one in await store.holdings("one")] == [
        ("r1", lease.token, store._executor_id)
    ]
    lease.release()


async def test_release_from_another_thread_wakes_the_waiter(slots: Slots) -> None:
    lease = await take(slots, "one")
    waiter = await waiting(slots, "one")
    await asyncio.to_thread(lease.release)
    (await waiter).release()


@pytest.mark.parametrize("occupy", [0, -1, True, 1.5, "1", None])
async def test_occupy_is_a_number_of_slots(slots: Slots, occupy: Any) -> None:
    with pytest.raises(InvalidOption, match="occupy"):
        await take(slots, "one", occupy=occupy)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), True, "1", timedelta(-1)])
async def test_the_timeout_is_a_number_of_seconds(slots: Slots, seconds: Any) -> None:
    with pytest.raises(InvalidOption, match="timeout_seconds"):
        await take(slots, "one", timeout_seconds=seconds)


@pytest.mark.parametrize("names", [[1], [""], [None], 7, ["one", b"one"]])
async def test_names_are_text(slots: Slots, names: Any) -> None:
    with pytest.raises(InvalidOption, match="names of concurrency limits"):
        await slots.acquire(names, frame=None, run_id=None)


async def test_more_slots_than_there_are_is_refused_at_once(slots: Slots) -> None:
    with pytest.raises(InvalidOption, match="occupy is 3, but limit 'two' has 2 slots in all"):
        await take(slots, "two", occupy=3)


# -- names without a limit --------------------------------------------------------------------------------------


async def test_unknown_names_hold_nobody_back_and_warn_once(
    slots: Slots, store: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "asyncflow"):
        for _ in range(3):
            lease = await take(slots, "unknown", "tag:whatever")
            assert lease.names == ()
            lease.release()
    assert [record.getMessage() for record in caplog.records] == [
        "There is no limit named 'unknown', so it holds nobody back; "
        "create it with `asyncflow concurrency-limit create unknown SLOTS`."
    ]


async def test_unknown_names_cost_no_database_access(
    slots: Slots, store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await take(slots, "tag:a")
    calls: list[str] = []
    for name in ("take", "give_back", "claim_flight", "end_flight"):
        monkeypatch.setattr(store, name, lambda *_, name=name: calls.append(name))
    for _ in range(1000):
        (await take(slots, "tag:a", "tag:b")).release()
    assert calls == []


async def test_unknown_names_raise_if_strict(slots: Slots, store: SQLiteStore) -> None:
    with pytest.raises(UnknownLimit, match="no limit named 'unknown'"):
        await take(slots, "one", "unknown", strict=True)
    assert await held(store) == []


async def test_an_inactive_limit_holds_nobody_back(slots: Slots, store: SQLiteStore) -> None:
    await store.set_limit(LimitRecord("off", 1, active=False))
    slots = slots_on(store)
    assert (await take(slots, "off", strict=True)).names == ()


async def test_a_limit_made_later_is_seen(slots: Slots, store: SQLiteStore) -> None:
    assert (await take(slots, "later")).names == ()
    await store.set_limit(LimitRecord("later", 1))

    async def seen() -> bool:
        lease = await take(slots, "later")
        lease.release()
        return lease.names == ("later",)

    await until(seen)


async def test_no_names_need_no_slots(slots: Slots) -> None:
    lease = await take(slots)
    assert lease.names == ()
    lease.release()


# -- waiting ----------------------------------------------------------------------------------------------------


async def test_all_are_taken_or_none(slots: Slots, store: SQLiteStore) -> None:
    lease = await take(slots, "one")
    waiter = await waiting(slots, "two", "one")
    assert await held(store) == [("one", 1)]
    lease.release()
    taken = await waiter
    assert await held(store) == [("two", 1), ("one", 1)]
    taken.release()


async def test_who_waits_longest_goes_first(slots: Slots) -> None:
    order: list[int] = []
    lease = await take(slots, "one")

    async def one(number: int) -> None:
        taken = await take(slots, "one")
        order.append(number)
        taken.release()

    waiters = [asyncio.create_task(one(number)) for number in range(30)]
    await asyncio.sleep(0.01)
    lease.release()
    await asyncio.gather(*waiters)
    assert order == list(range(30))


async def test_a_newcomer_does_not_overtake_one_who_needs_more(slots: Slots) -> None:
    lease = await take(slots, "two")
    large = await waiting(slots, "two", occupy=2)
    small = await waiting(slots, "two")
    lease.release()
    taken = await large
    assert not small.done()
    taken.release()
    (await small).release()


async def test_waiting_for_one_limit_does_not_hold_up_another(slots: Slots) -> None:
    lease = await take(slots, "one")
    waiter = await waiting(slots, "one")
    (await take(slots, "two")).release()
    (await take(slots, "two", occupy=2)).release()
    lease.release()
    (await waiter).release()


async def test_waiting_is_told_once_and_only_to_who_waits(slots: Slots) -> None:
    told: list[str] = []
    leases = await asyncio.gather(*(take(slots, "five", waiting=told.append) for _ in range(5)))
    assert told == []
    waiter = asyncio.create_task(take(slots, "five", "two", waiting=told.append))
    await until(lambda: bool(told))
    for lease in leases:
        lease.release()
    (await waiter).release()
    assert told == ["Waiting for 1 of 5 slots of limit 'five' and 1 of 2 slots of limit 'two'"]


async def test_who_stands_behind_one_who_waits_is_told_too(slots: Slots) -> None:
    lease = await take(slots, "one")
    waiters = [await waiting(slots, "one") for _ in range(5)]
    lease.release()
    for waiter in waiters:
        (await waiter).release()


@pytest.mark.parametrize("seconds", [0, 0.01, timedelta(milliseconds=10)])
async def test_a_wait_ends_in_time(slots: Slots, store: SQLiteStore, seconds: Any) -> None:
    lease = await take(slots, "one")
    with pytest.raises(LimitTimeout, match="1 of 1 slot of limit 'one'"):
        await take(slots, "one", timeout_seconds=seconds)
    waiter = await waiting(slots, "one")
    with pytest.raises(LimitTimeout):
        await take(slots, "one", timeout_seconds=seconds)
    lease.release()
    (await waiter).release()
    assert await held(store) == []


async def test_not_waiting_takes_what_is_free(slots: Slots) -> None:
    (await take(slots, "one", timeout_seconds=0)).release()


async def test_a_limit_of_no_slots_lets_nobody_in(slots: Slots) -> None:
    with pytest.raises(LimitTimeout):
        await take(slots, "none", timeout_seconds=0.05)


async def test_a_raised_limit_lets_waiters_in(slots: Slots, store: SQLiteStore) -> None:
    lease = await take(slots, "one")
    waiters = [await waiting(slots, "one") for _ in range(2)]
    await store.set_limit(LimitRecord("one", 3))
    for waiter in waiters:
        (await waiter).release()
    lease.release()


async def test_a_deleted_limit_lets_everybody_in(slots: Slots, store: SQLiteStore) -> None:
    lease = await take(slots, "one")
    waiters = [await waiting(slots, "one") for _ in range(20)]
    await store.delete_limit("one")
    leases = await asyncio.gather(*waiters)
    for one in (lease, *leases):
        one.release()
    assert await held(store) == []


async def test_closing_wakes_everybody_with_an_error(slots: Slots, store: SQLiteStore) -> None:
    lease = await take(slots, "one")
    waiters = [await waiting(slots, "one") for _ in range(3)]
    slots.close()
    for waiter in waiters:
        with pytest.raises(LimitError, match="closing"):
            await waiter
    with pytest.raises(LimitError, match="closing"):
        await take(slots, "two")
    lease.release()
    assert await held(store) == []


async def test_thousands_wait_and_all_come_in(slots: Slots, store: SQLiteStore) -> None:
    inside = most = 0

    async def one() -> None:
        nonlocal inside, most
        lease = await take(slots, "five")
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.001)
        inside -= 1
        lease.release()

    await asyncio.gather(*(one() for _ in range(1000)))
    assert 1 < most <= 5
    assert await held(store) == []


# -- what can never end -----------------------------------------------------------------------------------------


async def test_waiting_for_what_an_ancestor_holds_is_a_deadlock(slots: Slots) -> None:
    lease = await take(slots, "one", run_id="outer")
    middle = body("middle", body("outer"))
    with pytest.raises(LimitDeadlock, match=r"limit 'one', whose slots \(1 of 1\) are held by task run 'outer'"):
        await take(slots, "one", frame=middle, run_id="inner")
    with pytest.raises(LimitDeadlock):
        await take(slots, "two", "one", frame=middle, run_id="inner")
    lease.release()


async def test_other_holders_are_waited_for(slots: Slots) -> None:
    mine = await take(slots, "two", run_id="outer")
    other = await take(slots, "two", run_id="other")
    waiter = await waiting(slots, "two", frame=body("outer"), run_id="inner")
    other.release()
    (await waiter).release()
    mine.release()


async def test_a_deadlock_is_one_also_when_the_other_holders_leave(slots: Slots) -> None:
    mine = await take(slots, "two", run_id="outer")
    other = await take(slots, "two", run_id="other")
    with pytest.raises(LimitDeadlock, match="1 of 2"):
        await take(slots, "two", occupy=2, frame=body("outer"), run_id="inner")
    mine.release()
    other.release()


async def test_another_branch_of_the_same_body_is_waited_for(slots: Slots) -> None:
    frame = body("flow")
    lease = await take(slots, "one", frame=frame, run_id="flow")
    waiters = [
        await waiting(slots, "one", frame=frame, run_id="flow"),
        await waiting(slots, "one", frame=frame, run_id="task"),
    ]
    lease.release()
    for waiter in waiters:
        (await waiter).release()


async def test_a_block_inside_its_own_block_is_a_deadlock(slots: Slots) -> None:
    lease = await take(slots, "one")
    token = held_here.set((lease.token,))
    with pytest.raises(LimitDeadlock, match="this code itself"):
        await take(slots, "one")
    with pytest.raises(LimitDeadlock):
        await asyncio.create_task(take(slots, "one", frame=body("flow"), run_id="task"))
    held_here.reset(token)
    lease.release()


async def test_what_a_sync_body_holds_its_calls_cannot_wait_for(slots: Slots) -> None:
    frame = body("flow", is_async=False)
    lease = await take(slots, "one", frame=frame, run_id="flow", thread=BlockedThread(None))
    with pytest.raises(LimitDeadlock):
        await take(slots, "one", frame=frame, run_id="task")
    lease.release()


async def test_whoever_holds_something_goes_before_those_who_hold_nothing(slots: Slots) -> None:
    mine = await take(slots, "one", run_id="outer")
    waiter = await waiting(slots, "one", "two", run_id="other")
    inner = await take(slots, "two", frame=body("outer"), run_id="inner")
    inner.release()
    mine.release()
    (await waiter).release()


async def test_waiting_for_a_loop_that_the_call_blocks_is_refused(slots: Slots) -> None:
    here = asyncio.get_running_loop()
    lease = await take(slots, "one", run_id="here")
    with OtherLoop() as other:
        with pytest.raises(BlockingCall, match="limit 'one'"):
            await other.do(take(slots, "one", blocked=(here,)))
        thread = BlockedThread(here)
        with pytest.raises(BlockingCall):
            await other.do(take(slots, "one", thread=thread))
        frame = body("flow")
        frame.blocked = (here,)
        with pytest.raises(BlockingCall):
            await other.do(take(slots, "one", frame=frame, run_id="task"))
        lease.release()
        (await other.do(take(slots, "one", blocked=(here,)))).release()


@pytest.mark.blocks_loop
async def test_waiters_of_a_blocked_loop_are_passed_over(slots: Slots) -> None:
    here = asyncio.get_running_loop()
    with OtherLoop() as other:
        lease = await other.do(take(slots, "one"))
        waiter = await waiting(slots, "one")
        passing = asyncio.run_coroutine_threadsafe(take(slots, "one", blocked=(here,)), other.loop)
        other.loop.call_soon_threadsafe(lease.release)
        passed = passing.result(20)
        assert not waiter.done()
        passed.release()
        (await waiter).release()


# -- loops and threads ------------------------------------------------------------------------------------------


async def test_loops_share_one_line(slots: Slots) -> None:
    order: list[str] = []

    async def one(name: str) -> None:
        lease = await take(slots, "one")
        order.append(name)
        lease.release()

    lease = await take(slots, "one")
    with OtherLoop() as other:
        futures: list[asyncio.Future[Any]] = []
        for number in range(6):
            name = f"{number}"
            futures.append(other.begin(one(name)) if number % 2 else asyncio.create_task(one(name)))
            await asyncio.sleep(0.02)
        lease.release()
        await asyncio.gather(*futures)
    assert order == ["0", "1", "2", "3", "4", "5"]


async def test_loops_never_hold_more_than_there_is(slots: Slots, store: SQLiteStore) -> None:
    inside: list[None] = []
    too_many: list[int] = []

    async def one() -> None:
        lease = await take(slots, "two")
        inside.append(None)
        if len(inside) > 2:
            too_many.append(len(inside))
        await asyncio.sleep(0.0005)
        inside.pop()
        lease.release()

    async def many() -> None:
        await asyncio.gather(*(one() for _ in range(40)))

    with OtherLoop() as first, OtherLoop() as second:
        await asyncio.gather(many(), first.do(many()), second.do(many()))
    assert too_many == []
    assert await held(store) == []


async def test_a_waiter_of_a_closed_loop_is_passed_over(slots: Slots) -> None:
    lease = await take(slots, "one")
    gone = asyncio.new_event_loop()
    abandoned = await asyncio.to_thread(_leave_waiting, gone, slots)
    waiter = await waiting(slots, "one")
    lease.release()
    assert list(slots._line._watches) == [asyncio.get_running_loop()]  # nothing holds the closed one any more
    (await waiter).release()
    abandoned.close()
    assert not slots._line._watches


def _leave_waiting(loop: asyncio.AbstractEventLoop, slots: Slots) -> Any:
    """A loop is stopped and closed while a coroutine on it waits for a slot."""
    coroutine = take(slots, "one", waiting=lambda _: loop.call_soon(loop.stop))

    class Quiet(asyncio.Task[Any]):
        def __del__(self) -> None:
            """A loop that is closed like this leaves pending tasks; that is what the test is about."""

    loop.set_task_factory(lambda loop, coro, **options: Quiet(coro, loop=loop, **options))
    task = loop.create_task(coroutine)
    loop.run_forever()
    loop.close()
    assert not task.done()
    return coroutine


async def test_what_a_closed_loop_held_comes_free(slots: Slots) -> None:
    await asyncio.to_thread(asyncio.run, take(slots, "one"))
    (await take(slots, "one")).release()


# -- cancellation -----------------------------------------------------------------------------------------------


async def _taken_and_released(slots: Slots, told: Callable[[str], None]) -> None:
    (await take(slots, "one", "two", waiting=told)).release()


@pytest.mark.parametrize("contested", [False, True])
async def test_a_cancellation_anywhere_leaves_nothing_held(slots: Slots, store: SQLiteStore, contested: bool) -> None:
    step = 0
    reached = True
    while reached:
        step += 1
        slots = slots_on(store)
        lease = await take(slots_on(store), "one") if contested else None

        def told(_: str, lease: Lease | None = lease) -> None:
            assert lease is not None
            asyncio.get_running_loop().call_later(0.001, lease.release)

        victim = CancelledAt(_taken_and_released(slots, told), step)
        task = asyncio.ensure_future(_awaited(victim))
        behind = asyncio.create_task(take(slots, "one"))
        await asyncio.wait((task,))
        reached = victim.reached
        if lease is not None:
            lease.release()
        assert task.cancelled() or not reached
        (await behind).release()
        assert await held(store) == []
    assert step >= (5 if contested else 3)


async def _awaited(victim: CancelledAt) -> None:
    await victim


async def test_a_cancelled_front_lets_the_next_one_in(slots: Slots) -> None:
    lease = await take(slots, "one")
    front, middle, last = [await waiting(slots, "one") for _ in range(3)]
    await cancelled(middle)
    lease.release()
    await cancelled(front)
    (await last).release()


# -- several processes ------------------------------------------------------------------------------------------


@pytest.fixture
async def two(opened: Opener) -> tuple[SQLiteStore, SQLiteStore]:
    """Two stores on one file, as two processes would have them."""
    first, second = await opened(), await opened()
    await first.set_limit(LimitRecord("one", 1))
    return first, second


async def test_a_release_elsewhere_is_seen(two: tuple[SQLiteStore, SQLiteStore]) -> None:
    first, second = (slots_on(store) for store in two)
    lease = await take(first, "one")
    waiter = await waiting(second, "one")
    lease.release()
    (await waiter).release()


async def test_a_busy_line_does_not_starve_another_process(two: tuple[SQLiteStore, SQLiteStore]) -> None:
    first, second = (slots_on(store) for store in two)
    stop = False

    async def hog() -> None:
        while not stop:
            lease = await take(first, "one")
            await asyncio.sleep(0.001)
            lease.release()

    hogs = [asyncio.create_task(hog()) for _ in range(20)]
    for _ in range(3):
        (await take(second, "one")).release()
    stop = True
    await asyncio.gather(*hogs)


async def test_a_lone_caller_in_a_loop_does_not_starve_another_process(two: tuple[SQLiteStore, SQLiteStore]) -> None:
    first, second = (slots_on(store) for store in two)
    stop = False

    async def hog() -> None:
        while not stop:
            lease = await take(first, "one")
            await asyncio.sleep(0.001)
            lease.release()

    task = asyncio.create_task(hog())
    for _ in range(3):
        (await take(second, "one")).release()
    stop = True
    await task


CONTENDER = """
import asyncio, sys
from asyncflow.core.clock import SystemClock
from asyncflow.core.ids import IdMaker
from asyncflow.engine.slots import Slots
from asyncflow.store.sqlite import SQLiteStore

async def main():
    ids = IdMaker()
    store = SQLiteStore(sys.argv[1], executor_id=ids(), clock=SystemClock())
    await store.open()
    slots = Slots(store, store._executor_id, SystemClock(), ids)

    async def one():
        for _ in range(int(sys.argv[2])):
            lease = await slots.acquire(["one"], frame=None, run_id=None)
            print("in", flush=True)
            await asyncio.sleep(float(sys.argv[3]))
            print("out", flush=True)
            lease.release()

    await asyncio.gather(*(one() for _ in range(10)))
    await store.close()

asyncio.run(main())
"""


async def test_processes_take_turns(two: tuple[SQLiteStore, SQLiteStore], path: Path) -> None:
    processes = [await started(path, 4, 0.005) for _ in range(2)]
    outputs = await asyncio.gather(*(process.communicate() for process in processes))
    for process, (output, _) in zip(processes, outputs, strict=True):
        assert process.returncode == 0
        assert output.split() == [b"in", b"out"] * 40
    assert await held(two[0]) == []


async def test_what_a_killed_process_held_comes_free(two: tuple[SQLiteStore, SQLiteStore], path: Path) -> None:
    process = await started(path, 1, 60)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"in\n"
    waiter = await waiting(slots_on(two[0]), "one")
    process.kill()
    (await waiter).release()
    await process.communicate()


async def started(path: Path, times: int, seconds: float) -> asyncio.subprocess.Process:
    """A process in which ten callers take the slot so many times for so long, saying "in" and "out"."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", CONTENDER, str(path), str(times), str(seconds), stdout=asyncio.subprocess.PIPE
    )


# -- any order --------------------------------------------------------------------------------------------------

CALLS = st.lists(
    st.tuples(
        st.sets(st.sampled_from(["one", "two", "three", "unknown"]), min_size=1),
        st.integers(1, 3),
        st.integers(0, 4),
        st.one_of(st.none(), st.integers(1, 12)),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(calls=CALLS)
def test_never_more_is_held_than_there_is(calls: list[tuple[set[str], int, int, int | None]]) -> None:
    asyncio.run(_all_orders(calls))


async def _all_orders(calls: list[tuple[set[str], int, int, int | None]]) -> None:
    limits = {"one": 1, "two": 2, "three": 3}
    inside = dict.fromkeys(limits, 0)
    ids = IdMaker()
    store = SQLiteStore(":memory:", executor_id=ids(), clock=SystemClock())
    await store.open()
    for name, number in limits.items():
        await store.set_limit(LimitRecord(name, number))
    slots = slots_on(store)

    async def one(names: set[str], occupy: int, turns: int) -> None:
        lease = await take(slots, *names, occupy=occupy)
        try:
            for name in lease.names:
                inside[name] += occupy
                assert inside[name] <= limits[name]
            for _ in range(turns):
                await asyncio.sleep(0)
        finally:
            for name in lease.names:
                inside[name] -= occupy
            lease.release()

    async def maybe_cancelled(names: set[str], occupy: int, turns: int, step: int | None) -> None:
        work = one(names, occupy, turns)
        await (work if step is None else CancelledAt(work, step))

    outcomes = await asyncio.gather(*(maybe_cancelled(*call) for call in calls), return_exceptions=True)
    for (names, occupy, _, step), outcome in zip(calls, outcomes, strict=True):
        too_many = any(limits.get(name, 9) < occupy for name in names)
        if isinstance(outcome, asyncio.CancelledError):
            assert step is not None
        elif too_many:
            assert isinstance(outcome, InvalidOption)
        else:
            assert outcome is None
    assert await held(store) == []
    await store.close()
