"""`concurrency()`: slots of concurrency limits around a block of the user's own code, sync or async."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from datetime import timedelta
from threading import Lock, get_ident
from types import TracebackType

from ..application import current_application, current_application_now
from ..context import Frame, current_frame
from ..engine.slots import BlockedThread, Lease, checked_limits, checked_occupy, checked_wait, held_here
from ..ports import Surroundings


class concurrency:
    """Hold slots of concurrency limits while a block of code runs.

        async with concurrency("external-api", occupy=1, timeout_seconds=30):
            await client.get(url)

        with concurrency(["database", "licence"]):
            report()

    Several names are taken all or none; no names do nothing. `occupy` is how many slots of each are taken;
    `timeout_seconds` bounds the wait (0: do not wait). A name without a limit holds nobody back and is warned of
    once, unless `strict`. Limits are made by `asyncflow concurrency-limit create NAME SLOTS`. One object may be used
    many times, also at once. In an async function use `async with`: a plain `with` blocks its event loop.

    Raises `InvalidOption` for bad input and for more slots than a limit has, `LimitTimeout` when the time is over,
    `UnknownLimit` if `strict`, `LimitDeadlock` when only the code around this block could give the slots back, and
    `BlockingCall` when only the event loop that a plain `with` blocks could.
    """

    def __init__(
        self,
        names: str | Sequence[str],
        occupy: int = 1,
        timeout_seconds: float | timedelta | None = None,
        strict: bool = False,
    ) -> None:
        self.names = checked_limits(names, "concurrency()")
        self.occupy = checked_occupy(occupy)
        self.timeout_seconds = checked_wait(timeout_seconds)
        self.strict = strict
        self._leases: dict[Hashable, list[Lease | None]] = {}

    async def __aenter__(self) -> None:
        if not self.names:
            self._entered(None)
            return
        frame = current_frame()
        application = frame.application if frame is not None else await current_application()
        self._entered(await self._acquire(application, frame))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left()

    def __enter__(self) -> None:
        if not self.names:
            self._entered(None)
            return
        frame = current_frame()
        application = frame.application if frame is not None else current_application_now()
        thread = BlockedThread(asyncio._get_running_loop(), held_here.get())
        landing = _Landing()
        try:
            application.engine.block_on(landing.take(self, application, frame, thread))
        except BaseException:
            landing.refuse()
            raise
        self._entered(landing.lease)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left()

    async def _acquire(
        self, application: Surroundings, frame: Frame | None, thread: BlockedThread | None = None
    ) -> Lease:
        lease: Lease = await application.engine.slots.acquire(
            self.names,
            self.occupy,
            timeout_seconds=self.timeout_seconds,
            strict=self.strict,
            frame=frame,
            run_id=frame.run.id if frame is not None else None,
            thread=thread,
        )
        return lease

    def _entered(self, lease: Lease | None) -> None:
        self._leases.setdefault(_here(), []).append(lease)
        if lease is not None and lease.names:
            held_here.set((*held_here.get(), lease.token))

    def _left(self) -> None:
        here = _here()
        leases = self._leases[here]
        lease = leases.pop()
        if not leases:
            del self._leases[here]
        if lease is not None and lease.names:
            held_here.set(tuple(token for token in held_here.get() if token != lease.token))
            lease.release()


class _Landing:
    """Where slots land that another thread takes for this one; nothing stays held when this one stops waiting."""

    def __init__(self) -> None:
        self.lease: Lease | None = None
        self._refused = False
        self._lock = Lock()

    async def take(
        self, what: concurrency, application: Surroundings, frame: Frame | None, thread: BlockedThread
    ) -> None:
        lease = await what._acquire(application, frame, thread)
        with self._lock:
            self.lease = lease
            refused = self._refused
        if refused:
            lease.release()

    def refuse(self) -> None:
        """Give back what has landed or still will."""
        with self._lock:
            self._refused = True
            lease = self.lease
        if lease is not None:
            lease.release()


def _here() -> Hashable:
    """The asyncio task or thread that enters and leaves a block: each has a pile of its own."""
    task = asyncio.current_task() if asyncio._get_running_loop() is not None else None
    return task if task is not None else get_ident()
