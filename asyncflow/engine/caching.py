"""Cached results across runs: found again, or computed by one caller while the others wait."""

from __future__ import annotations

import contextlib
import random
from asyncio import AbstractEventLoop
from collections.abc import Callable
from threading import Lock
from typing import Protocol

from ..context import Frame
from ..core.runs import ExecutorId, RunId, StoredValue
from ..exceptions import BlockingCall, CacheRecursion, CachingError, StoreError
from ..ports import CacheEntry, CacheIndex, Clock
from .waiting_line import Chance, Place, WaitingLine, Watched


class CacheStore(CacheIndex, Watched, Protocol):
    """What caching needs of a store."""


class Flight:
    """The right, and the duty, to compute `key`: ends with `land` or `abandon`; until then everybody else waits."""

    __slots__ = ("_caching", "ended", "key", "place", "run_id", "task_name", "token")

    def __init__(self, caching: Caching, key: str, token: str, run_id: RunId, task_name: str, place: Place) -> None:
        self._caching = caching
        self.key = key
        self.token = token
        self.run_id = run_id
        self.task_name = task_name
        self.place = place
        self.ended = False

    @property
    def loop(self) -> AbstractEventLoop:
        """The event loop that computes."""
        return self.place.loop

    async def land(self, value: StoredValue, expires_at: int | None) -> None:
        """Keep the value, give it to all who wait in this process, and end the flight once it is kept.

        When this is cancelled the value is kept all the same, before the flight ends; when it raises the flight has
        ended without a value.
        """
        await self._caching.land(self, value, expires_at)

    def abandon(self) -> None:
        """End the flight without a value, so that the next one computes: from any thread, at once; again does nothing.

        After `land` this does nothing.
        """
        self._caching.end(self)


class Caching:
    """Finds cached results for the runs of one application, and has each key computed by one caller at a time.

    All callers of a key in this process stand in one line. The first one looks; what it finds, or computes, is given
    to all who stand there, so that any number of equal calls costs one read and one computation.
    """

    def __init__(
        self,
        store: CacheStore,
        executor_id: ExecutorId,
        clock: Clock,
        ids: Callable[[], str],
        chance: Chance = random.uniform,
    ) -> None:
        self._store = store
        self._executor_id = executor_id
        self._clock = clock
        self._ids = ids
        self._line = WaitingLine(store, chance)
        self._lock = Lock()
        self._flights: dict[str, Flight] = {}
        self._waiting: dict[RunId, dict[Place, str]] = {}

    async def enter(
        self,
        key: str,
        *,
        refresh: bool,
        frame: Frame | None,
        run_id: RunId,
        task_name: str,
        blocked: tuple[AbstractEventLoop, ...] | None = None,
    ) -> CacheEntry | Flight:
        """The fresh entry of a key, or the flight that makes this caller the one who computes it.

        While another one computes this waits, and looks again afterwards. `refresh` takes no entry, only a flight.
        `frame` is the body that calls, `run_id` the run that would compute; `blocked` are the loops that the caller
        blocks meanwhile (default: the frame's).

        Raises `CacheRecursion` when an ancestor computes this key or one that this key's computation waits for,
        `BlockingCall` when a loop does that the caller blocks, and `CachingError` when the application closes
        meanwhile.
        """
        loops = blocked if blocked is not None else frame.blocked if frame is not None else ()
        self._refuse_endless(key, frame, loops)
        place = self._line.join((key,), blocked=loops)
        found: CacheEntry | Flight | None = None
        try:
            while True:
                found = await self._advance(key, place, refresh, run_id, task_name)
                if found is not None:
                    return found
                self._waits(place, key, frame)
                self._refuse_endless(key, frame, loops)
                await self._line.wait(place, 1.0 if loops else None)
        finally:
            self._waits_no_more(place, frame)
            if not isinstance(found, Flight):
                self._line.leave(place)

    async def land(self, flight: Flight, value: StoredValue, expires_at: int | None) -> None:
        """What `Flight.land` does."""
        if flight.ended:
            raise CachingError(f"The flight for cache key {flight.key!r} has ended already.")
        now = self._clock.now()
        entry = CacheEntry(flight.key, flight.run_id, flight.task_name, value, now, expires_at)
        try:
            await self._store.keep(entry)
            self._line.hand(flight.key, entry, flight.place)
        finally:
            self.end(flight)

    def end(self, flight: Flight) -> None:
        """What `Flight.abandon` does."""
        with self._lock:
            if flight.ended:
                return
            flight.ended = True
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]
        self._end_in_store(flight.key, flight.token)
        self._line.leave(flight.place)

    def close(self) -> None:
        """Have everybody who waits here, or comes later, get a `CachingError`."""
        self._line.close(lambda: CachingError("The application is closing; no cached results are computed any more."))

    async def _advance(
        self, key: str, place: Place, refresh: bool, run_id: RunId, task_name: str
    ) -> CacheEntry | Flight | None:
        """One look: what was handed to this place, what is stored, or the flight; None when it has to wait."""
        handed: CacheEntry | None = place.outcome
        place.outcome = None
        if handed is not None and not refresh and self._is_fresh(handed):
            return handed
        if not self._line.is_front(place):
            return None
        if not refresh and (entry := await self._look(key, place)):
            return entry
        self._bury(key)
        return await self._claim(key, place, refresh, run_id, task_name)

    async def _look(self, key: str, place: Place) -> CacheEntry | None:
        entry = await self._store.cached(key, self._clock.now())
        if entry is not None:
            self._line.hand(key, entry, place)
        return entry

    async def _claim(
        self, key: str, place: Place, refresh: bool, run_id: RunId, task_name: str
    ) -> CacheEntry | Flight | None:
        token = self._ids()
        try:
            if not await self._store.claim_flight(key, self._executor_id, token):
                return None
            entry = None if refresh else await self._look(key, place)
        except BaseException:
            self._end_in_store(key, token)  # behind the claim in the same queue: whatever came of it
            raise
        if entry is not None:  # somebody landed between our look and our claim
            self._end_in_store(key, token)
            return entry
        flight = Flight(self, key, token, run_id, task_name, place)
        with self._lock:
            self._flights[key] = flight
        place.busy = True
        self._line.unwatch(place)
        return flight

    def _end_in_store(self, key: str, token: str) -> None:
        with contextlib.suppress(StoreError):  # a store that is closed has ended all flights
            self._store.end_flight(key, token)

    def _is_fresh(self, entry: CacheEntry) -> bool:
        return entry.expires_at is None or entry.expires_at > self._clock.now()

    def _bury(self, key: str) -> None:
        """End the flight of a closed event loop, which never will."""
        with self._lock:
            flight = self._flights.get(key)
        if flight is not None and flight.loop.is_closed():
            flight.abandon()

    def _waits(self, place: Place, key: str, frame: Frame | None) -> None:
        with self._lock:
            while frame is not None:
                self._waiting.setdefault(frame.run.id, {})[place] = key
                frame = frame.parent

    def _waits_no_more(self, place: Place, frame: Frame | None) -> None:
        with self._lock:
            while frame is not None and place in self._waiting.get(frame.run.id, ()):
                del self._waiting[frame.run.id][place]
                if not self._waiting[frame.run.id]:
                    del self._waiting[frame.run.id]
                frame = frame.parent

    def _needed(self, key: str) -> list[Flight]:
        """The flights that have to end first: the key's own, then those for which code inside of it waits."""
        found: dict[str, Flight] = {}
        keys = [key]
        with self._lock:
            while keys:
                flight = self._flights.get(keys.pop())
                if flight is not None and flight.key not in found and not flight.loop.is_closed():
                    found[flight.key] = flight
                    keys.extend(self._waiting.get(flight.run_id, {}).values())
        return list(found.values())

    def _refuse_endless(self, key: str, frame: Frame | None, blocked: tuple[AbstractEventLoop, ...]) -> None:
        for flight in self._needed(key):
            what = f"cache key {key!r}, "
            if flight.key != key:
                what += f"whose computation waits for cache key {flight.key!r}, "
            ancestor = frame
            while ancestor is not None:
                if ancestor.run.id == flight.run_id:
                    raise CacheRecursion(
                        f"This waits for {what}which its own ancestor, {ancestor.run.kind} run {ancestor.run.name!r}, "
                        "is computing; give the inner call another key."
                    )
                ancestor = ancestor.parent
            if flight.loop in blocked:
                raise BlockingCall(
                    f"This waits for {what}which code on the event loop that this very call blocks is computing; "
                    "`await` it instead."
                )
