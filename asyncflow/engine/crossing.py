"""Where threads and event loops meet: the house loop, the caller's lent thread, and the pool for other sync bodies."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, TypeVar

from anyio import CancelScope

from ..context import Frame, current_frame, enter_frame, leave_frame
from ..exceptions import BlockingCall
from ..handles import threads, vacated_place

R = TypeVar("R")
_running_loop = asyncio._get_running_loop


class HouseLoops:
    """The background event loops of this process, on which the engine runs for callers that have none.

    One is enough, but for a sync call made *on* the first one: it blocks that loop, and takes the next.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loops: list[tuple[asyncio.AbstractEventLoop, threading.Thread]] = []
        self._parents: list[Any] = []

    def loop(self, blocked: tuple[asyncio.AbstractEventLoop, ...]) -> asyncio.AbstractEventLoop:
        """A running house loop that is none of these."""
        with self._lock:
            for loop, _ in self._loops:
                if loop not in blocked:
                    return loop
            return self._start()

    def stop(self) -> None:
        """End the loops; for the end of the process."""
        with self._lock:
            loops, self._loops = self._loops, []
        for loop, thread in loops:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5)
            if not thread.is_alive():
                loop.close()

    def forget(self) -> None:
        """In a forked child: the parent's threads did not come along, and its loops are not even to be closed here."""
        self._lock = threading.Lock()
        self._parents.append(self._loops)
        self._loops = []

    def has(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether this is one of them."""
        return any(one is loop for one, _ in tuple(self._loops))

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        name = f"asyncflow-loop-{len(self._loops)}"
        thread = threading.Thread(target=_run_loop, args=(loop,), name=name, daemon=True)
        self._loops.append((loop, thread))
        thread.start()
        return loop


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    while not _ran(loop):
        pass


def _ran(loop: asyncio.AbstractEventLoop) -> bool:
    """Run the loop until it is stopped; False if a body's SystemExit broke out of it, which ends nobody else's run."""
    try:
        loop.run_forever()
    except (KeyboardInterrupt, SystemExit):
        return False
    return True


house_loops = HouseLoops()
atexit.register(house_loops.stop)  # before any application's, so that it is called after them
os.register_at_fork(after_in_child=house_loops.forget)


def blocking_loops(frame: Frame | None) -> tuple[asyncio.AbstractEventLoop, ...]:
    """The loops that stand still while this thread waits: those its callers block, and the one it runs."""
    blocked = frame.blocked if frame is not None else ()
    running = _running_loop()
    return blocked if running is None or running in blocked else (*blocked, running)


def home_loop(frame: Frame | None) -> asyncio.AbstractEventLoop:
    """The loop on which the engine runs a call that blocks this thread: the caller's own if that stays free."""
    blocked = blocking_loops(frame)
    if frame is not None and frame.loop not in blocked and frame.loop.is_running():
        return frame.loop
    return house_loops.loop(blocked)


def block_on(coroutine: Coroutine[Any, Any, R], lent: LentThread | None = None) -> R:
    """Run a coroutine of the engine on its loop and serve its bodies in this thread until it is done.

    A KeyboardInterrupt never travels through the loop: it cancels the coroutine, and is raised here once that has
    cleaned up; a second one is raised at once.
    """
    lent = lent or LentThread()
    loop = home_loop(current_frame())
    return lent.serve(loop, coroutine)


class LentThread:
    """The thread of a blocked caller: it runs the sync bodies that the engine hands it, in the caller's context."""

    def __init__(self) -> None:
        self._errands: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._task: asyncio.Task[Any] | None = None
        self._interrupt: BaseException | None = None

    def serve(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, R]) -> R:
        """Run the coroutine on `loop`, and errands here, until it is done."""
        context = copy_context()
        loop.call_soon_threadsafe(self._start, loop, coroutine, context)
        with vacated_place():
            self._work(loop)
        if self._interrupt is not None:
            raise self._interrupt
        assert self._task is not None
        return self._task.result()  # type: ignore[no-any-return]

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            try:
                errand = self._errands.get()
                if errand is None:
                    return
                errand()
            except KeyboardInterrupt as interrupt:
                if self._interrupt is not None:
                    raise
                self._interrupt = interrupt
                loop.call_soon_threadsafe(self._cancel, "interrupted from the keyboard")

    def _start(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], context: Any) -> None:
        self._task = loop.create_task(coroutine, context=context)
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled():
            task.exception()  # seen: an interrupted caller never asks for it
        self._errands.put(None)

    def _cancel(self, reason: str) -> None:
        if self._task is not None:
            self._task.cancel(reason)

    async def run(self, fn: Callable[[], R], frame: Frame) -> R:
        """Run a body in the lent thread; it cannot be abandoned, so a cancellation is raised after its end."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[R] = loop.create_future()

        def errand() -> None:
            token = enter_frame(frame)
            try:
                report = _outcome(fn)
            finally:
                leave_frame(token)
            if isinstance(report[1], KeyboardInterrupt | SystemExit):
                self._interrupt = self._interrupt or report[1]
            loop.call_soon_threadsafe(_settle, ended, *report)

        self._errands.put(errand)
        return await outlasting(ended)


def _outcome(fn: Callable[[], R]) -> tuple[R | None, BaseException | None]:
    try:
        return fn(), None
    except BaseException as error:
        return None, error


class Interrupted(Exception):
    """A body in another thread raised KeyboardInterrupt or SystemExit, which no asyncio future may carry."""


def _settle(ended: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if ended.done():
        return
    if error is None:
        ended.set_result(value)
    elif isinstance(error, KeyboardInterrupt | SystemExit):
        ended.set_exception(Interrupted(type(error).__name__))
    elif isinstance(error, StopIteration):
        ended.set_exception(RuntimeError(f"the body raised {error!r}"))
    else:
        ended.set_exception(error)


async def outlasting(ended: asyncio.Future[R]) -> R:
    """The future's result, waited for in spite of cancellations; those are raised after it."""
    try:
        return await asyncio.shield(ended)
    except asyncio.CancelledError:
        if ended.cancelled():
            raise
        with CancelScope(shield=True):
            while not ended.done():
                try:
                    await asyncio.wait((ended,))
                except asyncio.CancelledError:
                    continue
        ended.exception()
        raise


class Pool:
    """Threads for sync bodies that were submitted or have a timeout: at most `size` that work at one time.

    A thread that only waits (`result()`, `wait()`, a nested call) gives up its place, so nested waiting never
    starves. An abandoned thread keeps its place until its body really ends; nobody can kill a thread.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Condition()
        self._errands: deque[Callable[[], None]] = deque()
        self._working = 0
        self._idle = 0
        self._closed = False
        self._threads: set[threading.Thread] = set()
        self.abandoned = 0

    async def run(self, fn: Callable[[], R], frame: Frame | None, on_end: Callable[[], None]) -> R:
        """Run a body in a thread with a copy of this context; `on_end` is called there when it really ends.

        A cancellation or timeout here abandons the thread: the body goes on, and its outcome is dropped.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[R] = loop.create_future()
        context = copy_context()
        context.run(enter_frame, frame)
        errand = _Errand(self, lambda: context.run(_outcome, fn), on_end, loop, ended)
        try:
            self._put(errand)
        except BaseException:
            on_end()
            raise
        try:
            return await ended
        except asyncio.CancelledError:
            errand.abandon()
            raise

    def _put(self, errand: Callable[[], None]) -> None:
        with self._lock:
            self._errands.append(errand)
            try:
                self._call_in()
            except BaseException:  # this process may have no more threads
                self._errands.remove(errand)
                raise

    def _call_in(self) -> None:
        """Have a thread come for each errand that there is a place for; one that was called may not have come yet."""
        wanted = min(len(self._errands), self._size - self._working)
        if wanted > 0:
            self._lock.notify(wanted)
            for _ in range(wanted - self._idle):
                self._hire()

    def _hire(self) -> None:
        thread = threading.Thread(target=self._work, name=f"asyncflow-body-{len(self._threads)}", daemon=True)
        thread.start()
        self._threads.add(thread)
        self._working += 1

    def _work(self) -> None:
        threads.place = self
        try:
            while (errand := self._next()) is not None:
                errand()
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            self._working -= 1
            self._idle += 1
            try:
                while not self._errands or self._working >= self._size:
                    if self._closed or not (self._lock.wait(30) or self._errands):
                        return None
                self._working += 1
                return self._errands.popleft()
            finally:
                self._idle -= 1

    @contextmanager
    def vacated(self) -> Iterator[None]:
        """While this lasts, another thread may work in this one's place."""
        with self._lock:
            self._working -= 1
            try:
                self._call_in()
            except BaseException:
                self._working += 1
                raise
        threads.place = None
        try:
            yield
        finally:
            threads.place = self
            with self._lock:
                self._working += 1

    def count_abandoned(self, errand: _Errand) -> None:
        """An errand was abandoned, or an abandoned one has ended."""
        with self._lock:
            self.abandoned += errand.changed()

    def close(self, seconds: float = 5.0) -> None:
        """Let the threads go, and wait for them so long in all, unless one is abandoned in its body."""
        until = time.monotonic() + seconds
        with self._lock:
            self._closed = True
            self._lock.notify_all()
            leaving = list(self._threads) if not self.abandoned else []
        for thread in leaving:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()))


class _Errand:
    """One body in the pool's hands, and who waits for it."""

    def __init__(
        self,
        pool: Pool,
        body: Callable[[], tuple[Any, BaseException | None]],
        on_end: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
        ended: asyncio.Future[Any],
    ) -> None:
        self._pool = pool
        self._body = body
        self._on_end = on_end
        self._loop = loop
        self._ended = ended
        self._begun = False
        self._over = False
        self._abandoned = False
        self._counted = False

    def __call__(self) -> None:
        self._begun = True
        if self._abandoned:
            self._leave()
            return
        report = self._body()
        self._leave()
        with suppress(RuntimeError):  # the loop may be closed: then nobody waits any more
            self._loop.call_soon_threadsafe(_settle, self._ended, *report)

    def _leave(self) -> None:
        self._over = True
        self._on_end()
        if self._abandoned:
            self._pool.count_abandoned(self)

    def abandon(self) -> None:
        self._abandoned = True
        self._pool.count_abandoned(self)

    def changed(self) -> int:
        """By how much the number of abandoned threads has changed since this was last asked."""
        counts = self._abandoned and self._begun and not self._over
        change = counts - self._counted
        self._counted = counts
        return change


def refuse_blocking(frame: Frame | None, what: str, loop: asyncio.AbstractEventLoop) -> None:
    """Raise `BlockingCall` if a wait for something on `loop` could never end, because this very call blocks it."""
    if loop in blocking_loops(frame):
        raise BlockingCall(f"{what} can only come from the event loop that this call blocks; `await` it instead.")
