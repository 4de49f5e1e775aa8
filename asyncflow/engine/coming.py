"""A map over futures that have not ended yet, in async code: its calls are made once these have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar

from ..context import Frame
from ..core.runs import Run
from ..exceptions import BlockingCall
from ..futures import FutureList
from ..handles import Future
from ..specs import TaskSpec
from ..states import Cancelled, Completed, Pending, State
from .outcomes import failure_of

if TYPE_CHECKING:
    from .engine import Engine

R = TypeVar("R")


class ComingList(FutureList[R]):
    """The `FutureList` of such a map: `await` it; until its calls are made, it cannot say how many they are."""

    def __init__(self, arrival: Future[Any]) -> None:
        super().__init__()
        self._arrival = arrival

    async def _results(self) -> list[R]:
        await self._arrival
        return await super()._results()

    def _arrived(self) -> None:
        if not self._arrival.done():
            raise BlockingCall(
                f"{self._arrival.name!r} goes over a future that has not ended, so its calls are not made yet; "
                "`await` the list, or that future before map()."
            )
        self._arrival.result()

    def __iter__(self) -> Iterator[Future[R]]:
        self._arrived()
        return super().__iter__()

    def __len__(self) -> int:
        self._arrived()
        return super().__len__()

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        self._arrived()
        return super().__getitem__(index)

    def __repr__(self) -> str:
        return super().__repr__() if self._arrival.done() else f"<FutureList of {self._arrival!r}>"


def map_later(
    engine: Engine,
    parent: Frame | None,
    spec: TaskSpec,
    pending: list[Future[Any]],
    submit: Callable[[], FutureList[Any]],
) -> FutureList[Any]:
    """The list that `submit()` gives when these futures have ended; until then something waits among the owner's."""
    children, loop = engine.owner(parent)
    arrival: Future[Any] = Future(Run("", "task", f"{spec.name}.map", spec.name, spec.key, Pending(), 0), loop)
    coming: ComingList[Any] = ComingList(arrival)

    async def come() -> None:
        for future in pending:
            await _ended(future)
        list.extend(coming, submit())

    def landed(task: asyncio.Task[None]) -> None:
        arrival.settle(_state_of(task, arrival))
        children.ended(arrival)

    children.add(arrival)
    task = loop.create_task(come())
    arrival.attach(task)
    task.add_done_callback(landed)
    return coming


def _state_of(task: asyncio.Task[None], arrival: Future[Any]) -> State[Any]:
    if task.cancelled():
        return Cancelled(message=arrival.cancel_reason)
    error = task.exception()
    return Completed() if error is None else failure_of(error)


async def _ended(future: Future[Any]) -> None:
    """Wait without looking: what the future came to is looked at when its value is mapped over."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def tell() -> None:
        if not ended.done():
            ended.set_result(None)

    future.owner_ended(lambda _: loop.call_soon_threadsafe(tell))
    await ended
