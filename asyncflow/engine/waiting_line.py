"""Who waits for what in this process: one line for the threads and loops of all, first come, first served by name."""

from __future__ import annotations

import asyncio
import contextlib
import random
from asyncio import AbstractEventLoop
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import Context
from itertools import chain
from threading import Lock
from time import monotonic
from typing import Any, Protocol

from ..exceptions import StoreError

POLL_SECONDS = (0.02, 0.05)
TRY_SECONDS = 0.5
DEAF_SECONDS = 1.0

Chance = Callable[[float, float], float]


class Watched(Protocol):
    """What the line needs of a store."""

    async def data_version(self) -> int:
        """A number that changes when another process has written."""
        ...


class Place:
    """One who stands in line, on its own event loop.

    `ahead`: it goes before those that are not. `blocked`: loops that it blocks, whose waiters it need not wait for.
    `stuck`: somebody before it (or it itself) was refused, so that it really has to wait. `busy`: it has what it
    wanted and keeps the others waiting. `outcome`: what somebody else found for it.
    """

    __slots__ = (
        "ahead",
        "blocked",
        "busy",
        "deaf_since",
        "future",
        "loop",
        "names",
        "outcome",
        "stuck",
        "watched",
        "woken",
    )

    def __init__(self, names: Sequence[str], blocked: Sequence[AbstractEventLoop], ahead: bool) -> None:
        self.names = tuple(names)
        self.loop = asyncio.get_running_loop()
        self.blocked = frozenset(blocked)
        self.ahead = ahead
        self.stuck = False
        self.busy = False
        self.watched = False
        self.woken = False
        self.deaf_since: float | None = None
        self.future: asyncio.Future[None] | None = None
        self.outcome: Any = None

    def is_asleep(self) -> bool:
        """Whether its loop has stopped, or has not answered for a while: nobody waits for such a one."""
        if self.deaf_since is not None and monotonic() - self.deaf_since > DEAF_SECONDS:
            return True
        return not self.loop.is_running()


class _Queue:
    """Those who wait for one name, in order."""

    __slots__ = ("first", "rest")

    def __init__(self) -> None:
        self.first: OrderedDict[Place, None] = OrderedDict()
        self.rest: OrderedDict[Place, None] = OrderedDict()

    def __iter__(self) -> Iterator[Place]:
        return chain(self.first, self.rest)

    def __reversed__(self) -> Iterator[Place]:
        return chain(reversed(self.rest), reversed(self.first))

    def lane(self, place: Place) -> OrderedDict[Place, None]:
        return self.first if place.ahead else self.rest


class WaitingLine:
    """Those who wait, each for some names; whoever stands first for all of its names is at the front and may try.

    Thread-safe: places of different event loops stand in one line, and each is woken through its own loop. A place
    whose loop is closed, stopped, or has not answered for a second does not hold up the others. While anyone waits on
    a loop, one task there asks the store every 20-50 ms whether another process has written, and then, and every half
    second, has the front ones try again.
    """

    def __init__(self, store: Watched, chance: Chance = random.uniform) -> None:
        self._store = store
        self._chance = chance
        self._lock = Lock()
        self._queues: dict[str, _Queue] = {}
        self._blocked: Counter[AbstractEventLoop] = Counter()
        self._watches: dict[AbstractEventLoop, tuple[asyncio.Task[None], int]] = {}
        self._closed: Callable[[], Exception] | None = None

    def join(self, names: Sequence[str], *, blocked: Sequence[AbstractEventLoop] = (), ahead: bool = False) -> Place:
        """Stand in line; whoever joins must `leave`. Raises once the line is closed."""
        self.check_open()
        place = Place(names, blocked, ahead)
        with self._lock:
            for name in place.names:
                queue = self._queues.get(name)
                if queue is None:
                    queue = self._queues[name] = _Queue()
                before = next(reversed(queue.lane(place)), None) or next(reversed(queue.first), None)
                place.stuck = place.stuck or (before is not None and before.stuck)
                queue.lane(place)[place] = None
            self._blocked.update(place.blocked)
        return place

    def leave(self, place: Place) -> None:
        """Stand in line no more and wake who comes next; leaving twice does nothing more."""
        with self._lock:
            if not self._remove(place):
                return
            fronts = self._fronts(place.names)
        for front in fronts:
            self._wake(front)
        self.unwatch(place)

    def nudge(self, names: Iterable[str]) -> None:
        """Something came free: wake who stands first for any of these names."""
        with self._lock:
            fronts = self._fronts(names)
        for front in fronts:
            self._wake(front)

    def is_front(self, place: Place) -> bool:
        """Whether nobody that it must wait for stands before it."""
        with self._lock:
            return all(self._is_first(place, name) for name in place.names)

    def refused(self, place: Place) -> None:
        """The front place did not get what it wanted: it and all behind it know now that they have to wait."""
        place.stuck = True
        with self._lock:
            behind = [other for name in place.names for other in self._unknowing(name, place)]
        for other in behind:
            self._wake(other)

    def hand(self, name: str, outcome: Any, but: Place) -> None:
        """Give an outcome to all who wait for this name."""
        with self._lock:
            others = [place for place in self._queues.get(name, ()) if place is not but]
            for other in others:
                other.outcome = outcome
        for other in others:
            self._wake(other)

    async def wait(self, place: Place, seconds: float | None = None) -> None:
        """Return when it may be this place's turn, or after these seconds; raises once the line is closed."""
        self._watch(place)
        with self._lock:
            self.check_open()
            place.deaf_since = None
            if place.woken:
                place.woken = False
                return
            future = place.future = place.loop.create_future()
        timer = None if seconds is None else place.loop.call_later(seconds, _resolve, future)
        try:
            await future
        finally:
            if timer is not None:
                timer.cancel()
            place.future, place.woken, place.deaf_since = None, False, None
        self.check_open()

    def unwatch(self, place: Place) -> None:
        """The place waits no longer, though it may stay in line."""
        with self._lock:
            if not place.watched:
                return
            place.watched = False
            task, count = self._watches.get(place.loop, (None, 0))
            if task is None:
                return
            if count > 1:
                self._watches[place.loop] = (task, count - 1)
                return
            del self._watches[place.loop]
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the task with it
            _on_loop(place.loop, task.cancel)

    def close(self, error: Callable[[], Exception]) -> None:
        """Wake everybody with this error; whoever comes later gets it too."""
        with self._lock:
            self._closed = error
            everybody = {place for queue in self._queues.values() for place in queue}
        for place in everybody:
            self._wake(place)

    def check_open(self) -> None:
        """Raise the closing error, if the line is closed."""
        if self._closed is not None:
            raise self._closed()

    def _remove(self, place: Place) -> bool:
        found = False
        for name in place.names:
            queue = self._queues.get(name)
            if queue is None or place not in queue.lane(place):
                continue
            found = True
            del queue.lane(place)[place]
            if not queue.first and not queue.rest:
                del self._queues[name]
        if found and place.blocked:
            self._blocked.subtract(place.blocked)
            self._blocked = +self._blocked
        return found

    def _is_first(self, place: Place, name: str) -> bool:
        for older in self._queues.get(name, ()):
            if older is place:
                return True
            if not older.is_asleep() and older.loop not in place.blocked:
                return False
        return True

    def _fronts(self, names: Iterable[str]) -> list[Place]:
        """All who may be first now: up to the first one that nobody can pass over. Those of closed loops are buried."""
        fronts: list[Place] = []
        dead: list[Place] = []
        for name in names:
            for place in self._queues.get(name, ()):
                if place.loop.is_closed():
                    dead.append(place)
                    continue
                fronts.append(place)
                if not place.is_asleep() and place.loop not in self._blocked:
                    break
        for place in dead:
            self._remove(place)
        return fronts

    def _unknowing(self, name: str, place: Place) -> list[Place]:
        found = []
        for other in reversed(self._queues.get(name, _Queue())):
            if other is place or other.stuck:
                break
            other.stuck = True
            found.append(other)
        return found

    def _wake(self, place: Place) -> None:
        with self._lock:
            place.woken = True
            future = place.future
        if future is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed: `_fronts` buries it
                _on_loop(place.loop, _resolve, future)

    def _watch(self, place: Place) -> None:
        with self._lock:
            if place.watched or self._closed is not None:
                return
            place.watched = True
            task, count = self._watches.get(place.loop, (None, 0))
            if task is None:
                self._bury_watches()
                task = place.loop.create_task(self._look_out(place.loop), context=Context())
            self._watches[place.loop] = (task, count + 1)

    def _bury_watches(self) -> None:
        """Let closed event loops go, with all that they still hold."""
        for loop in [loop for loop in self._watches if loop.is_closed()]:
            del self._watches[loop]

    async def _look_out(self, loop: AbstractEventLoop) -> None:
        seen: int | None = None
        due = loop.time() + TRY_SECONDS
        while True:
            await asyncio.sleep(self._chance(*POLL_SECONDS))
            try:
                version = await self._store.data_version()
            except StoreError:
                version = None  # whoever tries next meets the error itself
            is_due = loop.time() >= due
            if is_due:
                due = loop.time() + TRY_SECONDS
            if is_due or version is None or version != seen:
                self._rouse(loop, is_due)
            seen = version

    def _rouse(self, loop: AbstractEventLoop, is_due: bool) -> None:
        """Wake the front ones of this loop; those of other loops are only checked for still answering."""
        with self._lock:
            fronts = [place for place in self._fronts(list(self._queues)) if not place.busy]
            if is_due:
                for place in fronts:
                    if place.woken and place.loop is not loop and place.deaf_since is None:
                        place.deaf_since = monotonic()
        for place in fronts:
            if is_due or place.loop is loop:
                self._wake(place)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _on_loop(loop: AbstractEventLoop, call: Callable[..., Any], *args: Any) -> None:
    """Call this on that loop's thread: at once where that is here. Raises RuntimeError when the loop is closed."""
    if asyncio._get_running_loop() is loop:
        call(*args)
    else:
        loop.call_soon_threadsafe(call, *args)
