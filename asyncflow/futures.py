"""Many futures at once: lists of them, waiting for some or all, going through them as they end, gathering."""

from __future__ import annotations

import asyncio
import queue
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Iterator
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Generic, NamedTuple, TypeVar

from .context import Frame, current_frame, push_scope, scope_of
from .exceptions import FutureTimeout, InvalidOption
from .handles import Future, blocks_here, checked_timeout, vacated_place

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "DoneAndNotDone",
    "Future",
    "FutureList",
    "as_completed",
    "gather",
    "wait",
]

R = TypeVar("R")
_running_loop = asyncio._get_running_loop


class FutureList(list[Future[R]], Generic[R]):
    """The futures of a `map`, in the order of its inputs."""

    def __await__(self) -> Generator[Any, None, list[R]]:
        return self._results().__await__()

    async def _results(self) -> list[R]:
        async for future in as_completed(self):
            future.answer()
        return [future.answer() for future in self]

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> list[R]:
        """All values in the order of the inputs; raises at the first failure, whichever comes first.

        `timeout` (seconds) is for all together. With `raise_on_failure=False` exceptions stand in the list.
        """
        for future in as_completed(self, timeout):
            future.result(raise_on_failure=raise_on_failure)
        return [future.result(raise_on_failure=raise_on_failure) for future in self]

    def wait(self, timeout: float | None = None) -> DoneAndNotDone[R]:
        """Block until all have ended, for at most `timeout` seconds; never raises for a failure."""
        return _wait_here(list(dict.fromkeys(self)), timeout, "ALL_COMPLETED")


class DoneAndNotDone(NamedTuple, Generic[R]):
    """What `wait` gives: the futures that have ended and those that have not."""

    done: set[Future[R]]
    not_done: set[Future[R]]

    def __await__(self) -> Generator[Any, None, DoneAndNotDone[R]]:
        return self
        yield


FIRST_COMPLETED = "FIRST_COMPLETED"
FIRST_EXCEPTION = "FIRST_EXCEPTION"
ALL_COMPLETED = "ALL_COMPLETED"


class _Wanted:
    """How much of a wait is still open, counted as futures arrive."""

    def __init__(self, futures: list[Future[Any]], return_when: str) -> None:
        self._return_when = return_when
        self._left = len(futures)
        self._is_met = not futures
        self.pending = [future for future in futures if not future.done()]
        for future in futures:
            if future.done():
                self.arrive(future)

    def arrive(self, future: Future[Any]) -> None:
        self._left -= 1
        state = future.outcome()
        failed = state is not None and not state.is_completed()
        first = self._return_when == FIRST_COMPLETED or (self._return_when == FIRST_EXCEPTION and failed)
        self._is_met = self._is_met or first or self._left == 0

    def is_met(self) -> bool:
        return self._is_met


def _split(futures: list[Future[R]]) -> DoneAndNotDone[R]:
    done = {future for future in futures if future.done()}
    return DoneAndNotDone(done, set(futures) - done)


def wait(
    futures: Iterable[Future[R]], timeout: float | None = None, return_when: str = ALL_COMPLETED
) -> DoneAndNotDone[R]:
    """Wait for futures; gives `(done, not_done)` and never raises for their failures or for the time being over.

    In sync code it blocks: `done, not_done = wait(futures)`. In async code write `await wait(futures)`.
    `return_when` is "ALL_COMPLETED", "FIRST_COMPLETED" or "FIRST_EXCEPTION"; `timeout` is in seconds.
    """
    checked_timeout(timeout)
    if return_when not in (ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION):
        raise InvalidOption(
            f"return_when is {return_when!r}; it takes 'ALL_COMPLETED', 'FIRST_COMPLETED' or 'FIRST_EXCEPTION'."
        )
    several = _checked_futures(futures, "wait()")
    if blocks_here():
        return _wait_here(several, timeout, return_when)
    return _wait_async(several, timeout, return_when)  # type: ignore[return-value]


def _checked_futures(futures: Iterable[Future[R]], what: str) -> list[Future[R]]:
    if not isinstance(futures, Iterable):
        raise InvalidOption(f"{what} was given {futures!r}; it takes a list of futures, as map() returns it.")
    several = list(futures)
    for one in several:
        if not isinstance(one, Future):
            raise InvalidOption(f"{what} was given {one!r}; it takes futures, as submit() and map() return them.")
    return list(dict.fromkeys(several))


def _wait_here(futures: list[Future[R]], timeout: float | None, return_when: str) -> DoneAndNotDone[R]:
    checked_timeout(timeout)
    wanted = _Wanted(futures, return_when)
    if not wanted.is_met():
        arrived: queue.SimpleQueue[Future[R]] = queue.SimpleQueue()
        deadline = None if timeout is None else _monotonic() + timeout
        _watch(wanted.pending, arrived.put, _running_loop())
        with vacated_place(), suppress(queue.Empty):
            while not wanted.is_met():
                left = None if deadline is None else max(0.0, deadline - _monotonic())
                wanted.arrive(arrived.get(timeout=left))
        _unwatch(wanted.pending, arrived.put)
    return _split(futures)


def _watch(
    futures: Iterable[Future[Any]],
    callback: Callable[[Future[Any]], object],
    blocked: asyncio.AbstractEventLoop | None,
) -> None:
    """Have each future tell of its end; `blocked` is the loop that the wait itself keeps from running."""
    frame, running = current_frame(), _running_loop()
    free = running is not blocked and (frame is None or running not in frame.blocked)
    for future in futures:
        if free and future._run is None and future._loop is running:
            future._add(callback)  # not begun, and of this loop: nothing can stand in the way of waiting for it
            continue
        if not future.done():
            future._refuse_blocked(frame, blocked)
        future.owner_ended(callback)


def _unwatch(futures: Iterable[Future[Any]], callback: Callable[[Future[Any]], object]) -> None:
    for future in futures:
        if not future.done():
            future._on_owner(future._drop, callback)


async def _wait_async(futures: list[Future[R]], timeout: float | None, return_when: str) -> DoneAndNotDone[R]:
    wanted = _Wanted(futures, return_when)
    deadline = None if timeout is None else _monotonic() + timeout
    with _Arrivals(wanted.pending) as arrivals:
        while not wanted.is_met():
            left = None if deadline is None else max(0.0, deadline - _monotonic())
            future = await arrivals.next(left)
            if future is None:
                break
            wanted.arrive(future)
    return _split(futures)


class _Arrivals:
    """The order in which futures end, seen from one event loop."""

    def __init__(self, futures: Iterable[Future[Any]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._futures = list(futures)
        self._arrived: deque[Future[Any]] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def __enter__(self) -> _Arrivals:
        _watch(self._futures, self._arrive_from_anywhere, None)
        return self

    def __exit__(self, *error: object) -> None:
        _unwatch(self._futures, self._arrive_from_anywhere)

    def _arrive_from_anywhere(self, future: Future[Any]) -> None:
        if _running_loop() is self._loop:
            self._arrive(future)
            return
        with suppress(RuntimeError):  # this loop may be closed: then nobody waits any more
            self._loop.call_soon_threadsafe(self._arrive, future)

    def _arrive(self, future: Future[Any]) -> None:
        self._arrived.append(future)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self, timeout: float | None) -> Future[Any] | None:
        """The next future that has ended, or None when the time is over."""
        if not self._arrived:
            self._waiter = self._loop.create_future()
            if timeout is None:
                await self._waiter
            else:
                await asyncio.wait((self._waiter,), timeout=timeout)
        return self._arrived.popleft() if self._arrived else None


class as_completed(Generic[R]):
    """Go through futures in the order in which they end: `for` in sync code, `async for` in async code.

    Each future comes once and is done when it comes; `timeout` (seconds) is for all together and raises
    `FutureTimeout` naming how many are left.

        async for future in as_completed(futures):
            print(await future)
    """

    def __init__(self, futures: Iterable[Future[R]], timeout: float | None = None) -> None:
        checked_timeout(timeout)
        self._futures = _checked_futures(futures, "as_completed()")
        self._timeout = timeout

    def __iter__(self) -> Iterator[Future[R]]:
        arrived: queue.SimpleQueue[Future[R]] = queue.SimpleQueue()
        deadline = None if self._timeout is None else _monotonic() + self._timeout
        _watch(self._futures, arrived.put, _running_loop())
        try:
            for count in range(len(self._futures)):
                left = None if deadline is None else max(0.0, deadline - _monotonic())
                try:
                    with vacated_place():
                        future = arrived.get(timeout=left)
                except queue.Empty:
                    raise self._over(count) from None
                future.look()
                yield future
        finally:
            _unwatch(self._futures, arrived.put)

    async def __aiter__(self) -> AsyncIterator[Future[R]]:
        deadline = None if self._timeout is None else _monotonic() + self._timeout
        with _Arrivals(self._futures) as arrivals:
            for count in range(len(self._futures)):
                left = None if deadline is None else max(0.0, deadline - _monotonic())
                future = await arrivals.next(left)
                if future is None:
                    raise self._over(count)
                future.look()
                yield future

    def _over(self, count: int) -> FutureTimeout:
        total = len(self._futures)
        return FutureTimeout(f"{total - count} (of {total}) futures had not ended within {self._timeout} seconds.")


def gather(*awaitables: Any, return_exceptions: bool = False) -> Any:
    """Wait for several futures or coroutines; gives their values in the order in which they were written.

    In async code write `await gather(...)`; plain coroutines given to it each become a branch of their own, so equal
    calls inside different ones keep their identities apart. In sync code `gather(f1, f2)` takes futures only and
    blocks. The first failure is raised: coroutines given to it are then cancelled and cleaned up, futures go on.
    With `return_exceptions=True` exceptions stand in the list and nothing is cancelled.
    """
    if blocks_here():
        several = _checked_futures(awaitables, "gather() in sync code")
        _wait_here(several, None, ALL_COMPLETED if return_exceptions else FIRST_EXCEPTION)
        failed = [one for one in several if one.done() and not one.outcome().is_completed()]  # type: ignore[union-attr]
        if failed and not return_exceptions:
            failed[0].result()
        return [one.result(raise_on_failure=False) for one in awaitables]
    frame, number = current_frame(), 0
    if frame is not None:
        number = frame.counts.number(f"{scope_of(frame)}/gather")
    branches = [_branch(one, frame, f"gather{number}.{index}") for index, one in enumerate(awaitables)]
    return _gather(branches, return_exceptions)


async def _awaited(awaitable: Awaitable[R]) -> R:
    return await awaitable


def _branch(awaitable: Any, frame: Frame | None, name: str) -> asyncio.Task[Any]:
    context = copy_context()
    if frame is not None and not isinstance(awaitable, Future):
        context.run(push_scope, frame, name)
    body = awaitable if asyncio.iscoroutine(awaitable) else _awaited(awaitable)
    task = asyncio.get_running_loop().create_task(body, context=context)
    if isinstance(awaitable, Future):
        task.add_done_callback(_retrieve)  # its owner sees to a failure that nobody looked at
    return task


def _retrieve(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


async def _gather(branches: list[asyncio.Task[Any]], return_exceptions: bool) -> list[Any]:
    try:
        return await asyncio.gather(*branches, return_exceptions=return_exceptions)
    finally:
        late = [one for one in branches if not one.done()]
        for one in late:
            one.cancel()
        if late:
            await asyncio.gather(*late, return_exceptions=True)


_wait_async.__qualname__, _gather.__qualname__ = "wait", "gather"  # what "was never awaited" calls them


def _monotonic() -> float:
    frame = current_frame()
    if frame is not None:
        return frame.application.clock.monotonic()
    return time.monotonic()
