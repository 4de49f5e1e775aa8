"""Whose a submitted run is: a body's children are waited for or cancelled when it ends, and none outlives it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from anyio import CancelScope

from ..exceptions import ForeignFuture, TooManyPending
from ..futures import wait
from ..handles import Future
from .crossing import house_loops

LOOK_SECONDS = 0.5


class Children:
    """The submitted runs of one owner (a body, or an application) on the owner's event loop."""

    __slots__ = ("_drained", "failed", "live", "max_in_flight")

    def __init__(self, max_in_flight: int | None = None) -> None:
        self.live: set[Future[Any]] = set()
        self.failed: list[Future[Any]] = []
        self.max_in_flight = max_in_flight
        self._drained: asyncio.Future[None] | None = None

    def admit(self, count: int) -> None:
        """Refuse so many at a time, if they are more than the owner's flow allows. Raises `TooManyPending`."""
        if self.max_in_flight is not None and count > self.max_in_flight:
            raise TooManyPending(
                f"{count} tasks would be in flight, and max_in_flight of this flow is {self.max_in_flight}; "
                "use map(limit=...) or stream(limit=...) within it, or raise it."
            )

    def add(self, future: Future[Any]) -> None:
        """Take a submitted run in."""
        self.live.add(future)

    def ended(self, future: Future[Any]) -> None:
        """Let an ended run go; only failures that nobody has looked at yet are kept."""
        self.live.discard(future)
        state = future.outcome()
        if state is not None and (state.is_failed() or state.is_crashed()) and not future.looked_at:
            self.failed.append(future)
        if not self.live and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    async def drained(self) -> None:
        """Return when no child is left, also none that children brought."""
        while self.live:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    async def cancel(self, reason: str, bound: float) -> asyncio.CancelledError | None:
        """Cancel all children and wait for their clean-up, shielded, for at most `bound` seconds.

        Gives the cancellation that arrived meanwhile, if any, which the owner has to raise once it has finished.
        """
        if not self.live:
            return None
        for future in tuple(self.live):
            future.cancel(reason)
        interrupted = None
        with CancelScope(shield=True):
            interrupted = await self._ended_within(bound)
        return interrupted

    async def _ended_within(self, bound: float) -> asyncio.CancelledError | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + bound
        interrupted = None
        while self.live and (left := deadline - loop.time()) > 0:
            self._drained = loop.create_future()
            try:
                await asyncio.wait((self._drained,), timeout=left)
            except asyncio.CancelledError as error:
                interrupted = interrupted or error
        return interrupted

    def unobserved(self) -> list[Future[Any]]:
        """The failures that nobody has looked at."""
        return [future for future in self.failed if not future.looked_at]


class Background(Children):
    """The runs submitted outside any run: on the event loops of any threads, and their failures kept for nobody."""

    __slots__ = ()

    def ended(self, future: Future[Any]) -> None:
        """Let an ended run go."""
        self.live.discard(future)

    async def drained(self) -> None:
        """Return when no run is left that can still end; those of event loops that have stopped cannot."""
        while left := [one for one in tuple(self.live) if not one.done() and _runs(one.owner_loop)]:
            with suppress(ForeignFuture):  # a loop was closed meanwhile
                await wait(left, timeout=LOOK_SECONDS)


def _runs(loop: asyncio.AbstractEventLoop) -> bool:
    return loop.is_running() or house_loops.has(loop)
