"""What tests of waiting need: bodies that ask, a cancellation at any suspension, loops in other threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

from asyncflow.context import Frame

from ..frames import FakeApplication, frame_of


def body(run_id: str, parent: Frame | None = None, *, is_async: bool = True) -> Frame:
    """The body of a running task."""
    frame = frame_of(FakeApplication(), id=run_id, name=run_id, parent=parent)
    object.__setattr__(frame.spec, "is_async", is_async)
    return frame


class CancelledAt:
    """Awaits a coroutine and has its asyncio task cancelled at the `step`-th suspension; `reached` says whether.

    `taken` counts the suspensions so far.
    """

    def __init__(self, inner: Coroutine[Any, Any, Any], step: int) -> None:
        self._inner = inner
        self._left = step
        self.reached = False
        self.taken = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._inner.__await__()
        resume: Callable[[], Any] = lambda: next(steps)  # noqa: E731
        while True:
            try:
                wanted = resume()
            except StopIteration as end:
                return end.value
            self._left -= 1
            self.taken += 1
            if self._left == 0:
                self.reached = True
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            try:
                yield wanted
                resume = lambda: next(steps)  # noqa: E731
            except BaseException as error:
                resume = lambda error=error: steps.throw(error)  # type: ignore[misc]  # noqa: E731


class OtherLoop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> OtherLoop:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Future[Any]:
        """Start a coroutine there; what it comes to is awaited here."""
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    async def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine there."""
        return await self.begin(work)


async def until(holds: Callable[[], Awaitable[bool]] | Callable[[], bool]) -> None:
    """Return when it holds."""
    while True:
        answer = holds()
        if answer if isinstance(answer, bool) else await answer:
            return
        await asyncio.sleep(0.002)
