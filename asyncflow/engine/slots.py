"""Slots of concurrency limits: taken all or none, given back once, waited for in line."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from threading import Lock
from typing import Any, Protocol

from ..context import Frame
from ..core.runs import ExecutorId
from ..exceptions import InvalidOption, LimitError, LimitTimeout, StoreError
from ..ports import CacheIndex, Clock, Holding, LimitRecord, Limits
from .deadlocks import Asker, refuse_deadlock
from .known_limits import KnownLimits
from .turns import Turns
from .waiting_line import Chance, Place, WaitingLine, Watched

RECHECK_SECONDS = 1.0
GRACE_SECONDS = 1.0
MOMENT_SECONDS = 0.005

held_here: ContextVar[tuple[str, ...]] = ContextVar("asyncflow_held_slots", default=())
"""The tokens of the slots that the running code holds by `concurrency()`, innermost last."""


class SlotStore(Limits, CacheIndex, Watched, Protocol):
    """What slots need of a store."""


@dataclass(frozen=True, slots=True)
class BlockedThread:
    """A caller that blocks its thread while `acquire` runs elsewhere: the loop it blocks by that, and what it holds."""

    loop: AbstractEventLoop | None
    held: tuple[str, ...] = ()


class Lease:
    """Slots in hand, of the limits `names`, until `release()`.

    `loop` is the event loop whose code gives them back (None: a thread without one). `whole_run` says that nothing
    of run `run_id` can go on while they are held, but what they are held for.
    """

    __slots__ = ("_slots", "loop", "names", "occupy", "released", "run_id", "token", "whole_run")

    def __init__(self, slots: Slots, token: str, names: tuple[str, ...], occupy: int, run_id: str | None) -> None:
        self._slots = slots
        self.token = token
        self.names = names
        self.occupy = occupy
        self.run_id = run_id
        self.loop: AbstractEventLoop | None = None
        self.whole_run = False
        self.released = not names

    def release(self) -> None:
        """Give the slots back: from any thread, at once, without blocking; again does nothing."""
        self._slots.give_back(self)


class _Ask:
    """One call of `acquire` while it waits."""

    __slots__ = ("asker", "deadline", "lease", "marks", "refusals", "told", "waiting")

    def __init__(
        self, lease: Lease, asker: Asker, deadline: float | None, waiting: Callable[[str], None] | None
    ) -> None:
        self.lease = lease
        self.asker = asker
        self.deadline = deadline
        self.waiting = waiting
        self.told = False
        self.refusals = 0
        self.marks: dict[str, bool] = {}


class Slots:
    """Takes slots for the runs and code of one application.

    Within this process slots go to the one who waits longest, at once; whoever holds slots already goes before those
    who hold none, since others may wait for what it holds. How processes share a limit is told at `Turns`.
    """

    def __init__(
        self,
        store: SlotStore,
        executor_id: ExecutorId,
        clock: Clock,
        ids: Callable[[], str],
        chance: Chance = random.uniform,
    ) -> None:
        self._store = store
        self._executor_id = executor_id
        self._clock = clock
        self._ids = ids
        self._known = KnownLimits(store, clock)
        self._line = WaitingLine(store, chance)
        self._turns = Turns(store, executor_id, clock, ids, chance)
        self._lock = Lock()
        self._leases: dict[str, Lease] = {}
        self._by_name: dict[str, dict[str, Lease]] = {}
        self._whole_runs: dict[str, dict[str, Lease]] = {}

    async def acquire(
        self,
        names: Sequence[str],
        occupy: int = 1,
        *,
        timeout_seconds: float | timedelta | None = None,
        strict: bool = False,
        frame: Frame | None,
        run_id: str | None,
        waiting: Callable[[str], None] | None = None,
        blocked: Sequence[AbstractEventLoop] | None = None,
        thread: BlockedThread | None = None,
    ) -> Lease:
        """Take `occupy` slots of each limit, all or none, waiting for them up to `timeout_seconds` (0: not at all).

        `frame` is the body that asks, `run_id` the run that the slots are for: another one than the frame's when the
        engine asks for a task about to run. `waiting(message)` is called once if the caller really has to wait.
        `blocked` are the loops that the caller blocks meanwhile (default: the frame's); `thread` stands for a caller
        that blocks its thread.

        Raises `InvalidOption` for bad input and for more slots than a limit has, `LimitTimeout`, `UnknownLimit` if
        `strict`, `LimitDeadlock` when only the caller's own ancestors could give the slots back, `BlockingCall` when
        only a loop that the caller blocks could, and `LimitError` when the application closes meanwhile.
        """
        wanted, seconds = checked_limits(names, "limits"), checked_wait(timeout_seconds)
        checked_occupy(occupy)
        self._line.check_open()
        records = await self._known.among(wanted, strict) if wanted else []
        if not records:
            return Lease(self, "", (), occupy, run_id)
        lease = Lease(self, self._ids(), tuple(record.name for record in records), occupy, run_id)
        lease.loop = thread.loop if thread is not None else asyncio.get_running_loop()
        lease.whole_run = run_id is not None and (
            frame is None or frame.run.id != run_id or not getattr(frame.spec, "is_async", True)
        )
        deadline = None if seconds is None else self._clock.monotonic() + seconds
        ask = _Ask(lease, _asker(frame, blocked, thread), deadline, waiting)
        return await self._stand_in_line(ask)

    def give_back(self, lease: Lease) -> None:
        """What `Lease.release` does."""
        with self._lock:
            if lease.released:
                return
            lease.released = True
        self._undo(lease)
        self._line.nudge(lease.names)

    def close(self) -> None:
        """Have everybody who waits here, or comes later, get a `LimitError`."""
        self._line.close(lambda: LimitError("The application is closing; no slots of limits are given any more."))

    async def _stand_in_line(self, ask: _Ask) -> Lease:
        lease, asker = ask.lease, ask.asker
        ahead = bool(self._ancestors(asker))
        place = self._line.join(lease.names, blocked=asker.blocked, ahead=ahead)
        try:
            while not (self._line.is_front(place) and await self._try(ask, place)):
                await self._wait(ask, place)
        finally:
            for name in ask.marks:
                with contextlib.suppress(StoreError):
                    self._turns.sated(name, lease.token)
            self._line.leave(place)
        return lease

    async def _try(self, ask: _Ask, place: Place) -> bool:
        lease = ask.lease
        self._refuse_too_many(lease)
        pause = await self._turns.hold_back(lease.names)
        if pause:
            await asyncio.sleep(pause)
        if await self._take(lease):
            return True
        self._bury(lease.names)
        await self._known.refresh()
        ask.refusals += 1
        if ask.refusals > 1:
            await self._mark(ask)
        self._line.refused(place)
        return False

    async def _take(self, lease: Lease) -> bool:
        now = self._clock.now()
        wanted = [
            Holding(name, lease.occupy, lease.token, self._executor_id, lease.run_id, now) for name in lease.names
        ]
        self._register(lease)
        try:
            taken = await self._store.take(wanted)
        except BaseException:
            self._undo(lease)  # behind the take in the same queue: whatever came of it, nothing stays held
            raise
        if taken:
            self._turns.began(lease.names)
        else:
            self._unregister(lease)
        return taken

    async def _wait(self, ask: _Ask, place: Place) -> None:
        bound = math.inf
        if place.stuck:
            self._tell(ask)
            if place.blocked or place.ahead:
                await refuse_deadlock(self._store, self._known, ask.lease, ask.asker, self._ancestors, self._holders)
                bound = RECHECK_SECONDS
        left = math.inf if ask.deadline is None else ask.deadline - self._clock.monotonic()
        if left <= 0 and (place.stuck or ask.refusals or left < -GRACE_SECONDS):
            raise LimitTimeout(f"No slots came free in time: {self._described(ask.lease)}.")
        bound = min(bound, max(left, MOMENT_SECONDS))
        await self._line.wait(place, None if bound == math.inf else bound)

    def _tell(self, ask: _Ask) -> None:
        if not ask.told:
            ask.told = True
            if ask.waiting is not None:
                ask.waiting(f"Waiting for {self._described(ask.lease)}")

    async def _mark(self, ask: _Ask) -> None:
        for name in ask.lease.names:
            if not ask.marks.get(name) and not self._holders(name):
                ask.marks[name] = False
                ask.marks[name] = await self._turns.want(name, ask.lease.token)

    def _refuse_too_many(self, lease: Lease) -> None:
        for name in lease.names:
            record = self._known.get(name)
            if record is not None and 0 < record.slots < lease.occupy:
                raise InvalidOption(f"occupy is {lease.occupy}, but limit {name!r} has {_slots(record.slots)} in all.")

    def _described(self, lease: Lease) -> str:
        parts = []
        for name in lease.names:
            record = self._known.get(name) or LimitRecord(name, lease.occupy)
            parts.append(f"{lease.occupy} of {_slots(record.slots)} of limit {name!r}")
        return " and ".join(parts)

    def _bury(self, names: Sequence[str]) -> None:
        """Give back what code on closed event loops took and never can."""
        for name in names:
            for lease in self._holders(name):
                if lease.loop is not None and lease.loop.is_closed():
                    lease.release()

    def _ancestors(self, asker: Asker) -> list[Lease]:
        """What is held by those who cannot go on before the asker does.

        A body's own `concurrency()` counts only where the asker stands inside of it: another branch of the same body
        gives back without our help.
        """
        with self._lock:
            found = {token: lease for token in asker.held if (lease := self._leases.get(token)) is not None}
            for run_id in asker.run_ids():
                found.update(self._whole_runs.get(run_id, {}))
        return list(found.values())

    def _holders(self, name: str) -> list[Lease]:
        with self._lock:
            return list(self._by_name.get(name, {}).values())

    def _register(self, lease: Lease) -> None:
        with self._lock:
            self._leases[lease.token] = lease
            for name in lease.names:
                self._by_name.setdefault(name, {})[lease.token] = lease
            if lease.whole_run and lease.run_id is not None:
                self._whole_runs.setdefault(lease.run_id, {})[lease.token] = lease

    def _unregister(self, lease: Lease) -> list[str]:
        """Forget the lease; gives the names of which this process holds nothing any more."""
        with self._lock:
            if self._leases.pop(lease.token, None) is None:
                return []
            if lease.whole_run and lease.run_id is not None:
                _drop(self._whole_runs, lease.run_id, lease.token)
            return [name for name in lease.names if _drop(self._by_name, name, lease.token)]

    def _undo(self, lease: Lease) -> None:
        for name in self._unregister(lease):
            self._turns.idle(name)
        with contextlib.suppress(StoreError):  # a store that is closed has given everything back
            self._store.give_back(lease.token)


def checked_limits(names: Any, option: str) -> tuple[str, ...]:
    """Names of limits, each once, from a text or a sequence of texts."""
    several = (names,) if isinstance(names, str) else tuple(names) if isinstance(names, Sequence) else (names,)
    for name in several:
        if not isinstance(name, str) or not name:
            raise InvalidOption(f"{option} holds {name!r}; it takes names of concurrency limits.")
    return tuple(dict.fromkeys(several))


def checked_occupy(occupy: Any) -> int:
    """A number of slots."""
    if isinstance(occupy, bool) or not isinstance(occupy, int) or occupy < 1:
        raise InvalidOption(f"occupy is {occupy!r}; it takes a whole number of slots above 0.")
    return occupy


def checked_wait(value: Any) -> float | None:
    """Seconds to wait, 0 or more; None: as long as it takes."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise InvalidOption(f"timeout_seconds is {value!r}; it takes a number of seconds, 0 to not wait, or None.")
    return float(seconds)


def _asker(frame: Frame | None, blocked: Sequence[AbstractEventLoop] | None, thread: BlockedThread | None) -> Asker:
    loops = blocked if blocked is not None else frame.blocked if frame is not None else ()
    if thread is None:
        return Asker(frame, tuple(loops), held_here.get())
    return Asker(frame, (*loops, thread.loop) if thread.loop is not None else tuple(loops), thread.held)


def _drop(index: dict[str, dict[str, Lease]], key: str, token: str) -> bool:
    leases = index[key]
    del leases[token]
    if leases:
        return False
    del index[key]
    return True


def _slots(number: int) -> str:
    return "1 slot" if number == 1 else f"{number} slots"
