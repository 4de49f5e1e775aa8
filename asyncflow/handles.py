"""A handle on one run that was submitted: await it, ask it, cancel it."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Generic, Protocol, TypeVar

from .context import Frame, current_frame
from .core.runs import Run
from .exceptions import BlockingCall, DependencyCycle, ForeignFuture, FutureTimeout, InvalidOption
from .states import Running, State

R = TypeVar("R")
_running_loop = asyncio._get_running_loop


class Place(Protocol):
    """A thread's place in its pool, which it gives up while it only waits."""

    def vacated(self) -> AbstractContextManager[None]: ...


class _Threads(threading.local):
    place: Place | None = None


threads = _Threads()


class Future(Generic[R]):
    """A submitted run's result, there now or later.

    `await future` gives the value or raises the run's own exception; `future.result()` does the same by blocking,
    where blocking is possible. Cancelling somebody who waits never cancels the run: only `cancel()` and the run's
    owner do.
    """

    __slots__ = ("__weakref__", "_callbacks", "_loop", "_make", "_observed", "_run", "_state", "_task", "cancel_reason")

    def __init__(
        self, run: Run | None, loop: asyncio.AbstractEventLoop, make: Callable[[Future[R]], Run] | None = None
    ) -> None:
        self._run = run
        self._make = make
        self._loop = loop
        self._state: State[R] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._callbacks: list[Callable[[Future[R]], object]] | Callable[[Future[R]], object] | None = None
        self._observed = False
        self.cancel_reason: str | None = None

    def __repr__(self) -> str:
        return f"<Future of {self.run.kind} run {self.run.name!r}: {self._state or self.run.state!r}>"

    @property
    def run(self) -> Run:
        """The run behind this future. One of a long map is made when it is first asked for, or begins."""
        if self._run is None:
            make = self._make
            if make is not None:  # else it has just begun, in another thread
                self.begin(make(self))
        assert self._run is not None
        return self._run

    def begin(self, run: Run) -> None:
        """The run of a future that was handed out before it was made."""
        self._run, self._make = run, None

    @property
    def __asyncflow_key__(self) -> str | None:
        run = self.run
        return f"{run.flow_run_id}:{run.key}" if run.key is not None else None

    @property
    def task_run_id(self) -> str:
        """The id of the run behind this future (also of a flow run)."""
        return self.run.id

    @property
    def name(self) -> str:
        """The name of the run behind this future."""
        return self.run.name

    @property
    def state(self) -> State[R]:
        """The run's state now; a final one only once it is committed. Reading a failed one counts as looking at it."""
        if self._state is None:
            state = self.run.state
            return Running() if state.is_final() else state
        if not self._state.is_completed():
            self._observed = True
        return self._state

    def done(self) -> bool:
        """Whether the run has ended and its outcome is committed."""
        return self._state is not None

    def __await__(self) -> Generator[Any, None, R]:
        if self._state is None:
            yield from self._arrival()
        return self.answer()

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> R:
        """The run's value, waiting for it by blocking this thread for at most `timeout` seconds.

        Raises the run's own exception (or returns it with `raise_on_failure=False`), `FutureTimeout` when the time
        is over, `BlockingCall` where blocking would stop the loop that has to end this run: `await` it there.
        """
        if not self.wait(timeout):
            raise FutureTimeout(f"{self.run.kind.title()} run {self.run.name!r} did not end within {timeout} seconds.")
        return self.answer(raise_on_failure)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the run has ended, for at most `timeout` seconds; whether it has. Never raises for a failure."""
        checked_timeout(timeout)
        if self._state is None:
            self._block(timeout)
        return self._state is not None

    def cancel(self, reason: str = "cancelled by its future") -> bool:
        """Ask the run to stop; False if it has already ended. Its state becomes Cancelled with this reason."""
        if self._state is not None:
            return False
        self.cancel_reason = self.cancel_reason or reason
        self._on_owner(self._cancel_task)
        return True

    def add_done_callback(self, fn: Callable[[Future[R]], object]) -> None:
        """Call `fn(future)` on the owner's loop when the run has ended; at once if it has."""
        self._observed = True
        self._on_owner(self._add, fn)

    # -- the owner's side -------------------------------------------------------------------------------------

    def settle(self, state: State[R]) -> None:
        """Make the outcome known; called once, on the owner's loop, after the commit."""
        self._state = state
        callbacks, self._callbacks = self._callbacks, None
        if callbacks is None:
            return
        for callback in callbacks if isinstance(callbacks, list) else (callbacks,):
            self._call(callback)

    def attach(self, task: asyncio.Task[Any]) -> None:
        """Remember the asyncio task that runs it."""
        self._task = task
        if self.cancel_reason is not None:
            self._cancel_task()

    def owner_ended(self, callback: Callable[[Future[R]], object]) -> None:
        """Call `callback(future)` on the owner's loop when the run has ended, without counting as a look."""
        self._on_owner(self._add, callback)

    @property
    def owner_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop on which the run lives."""
        return self._loop

    @property
    def looked_at(self) -> bool:
        """Whether anybody asked for the outcome."""
        return self._observed

    def look(self) -> None:
        """Count the outcome as looked at."""
        self._observed = True

    def answer(self, raise_on_failure: bool = True) -> R:
        """The value (or the run's own exception) of a future that is done."""
        assert self._state is not None
        self._observed = True
        return self._state.result(raise_on_failure)

    def outcome(self) -> State[R] | None:
        """The committed final state, without counting as a look."""
        return self._state

    # -- waiting ----------------------------------------------------------------------------------------------

    def _arrival(self) -> Generator[Any, None, None]:
        loop = asyncio.get_running_loop()
        self._refuse_blocked(current_frame(), None)
        waiter = loop.create_future()
        if loop is self._loop:
            arrived: Callable[[Future[R]], object] = functools.partial(_arrive, waiter)
            self._add(arrived)
        else:
            arrived = functools.partial(_wake, loop, waiter)
            self._on_owner(self._add, arrived)
        try:
            yield from waiter
        except BaseException:
            self._on_owner(self._drop, arrived)
            raise

    def _block(self, timeout: float | None) -> None:
        self._refuse_blocked(current_frame(), _running_loop())
        arrived = threading.Event()

        def arrive(_: Future[R]) -> None:
            arrived.set()

        self._on_owner(self._add, arrive)
        with vacated_place():
            arrived.wait(timeout)
        if self._state is None:
            self._on_owner(self._drop, arrive)

    def _refuse_blocked(self, frame: Frame | None, running: asyncio.AbstractEventLoop | None) -> None:
        if frame is not None:
            self._refuse_ancestor(frame)
        if running is self._loop and running is not None:
            raise BlockingCall(
                f"Waiting for {self.run.kind} run {self.run.name!r} here would block the loop that has to end it; "
                "write `await future` instead, or `async for` where you go through several."
            )
        if frame is not None and self._loop in frame.blocked:
            raise BlockingCall(
                f"{frame.run.kind.title()} run {frame.run.name!r} was called by blocking the event loop on which "
                f"{self.run.name!r} runs, so it cannot wait for it; `await` the outer call, or submit() it."
            )

    def _refuse_ancestor(self, frame: Frame) -> None:
        own = self._run  # None: not begun yet, so nobody's ancestor
        outer: Frame | None = frame if own is not None else None
        while outer is not None:
            if outer.run is own:
                raise DependencyCycle(
                    f"{frame.run.kind.title()} run {frame.run.name!r} waits for {self.run.name!r}, inside which it "
                    "was called and which cannot end before it does; return what is needed instead."
                )
            outer = outer.parent

    def _on_owner(self, fn: Callable[..., object], *args: Any) -> None:
        if _running_loop() is self._loop:
            fn(*args)
            return
        try:
            self._loop.call_soon_threadsafe(fn, *args)
        except RuntimeError:
            if self._state is None:
                raise ForeignFuture(
                    f"{self.run.kind.title()} run {self.run.name!r} belongs to an event loop that is closed; "
                    "await futures before their loop ends."
                ) from None
            fn(*args)

    def _add(self, callback: Callable[[Future[R]], object]) -> None:
        waiting = self._callbacks
        if self._state is not None:
            self._call(callback)
        elif waiting is None:
            self._callbacks = callback  # most futures have one, and need no list for it
        elif isinstance(waiting, list):
            waiting.append(callback)
        else:
            self._callbacks = [waiting, callback]

    def _drop(self, callback: Callable[[Future[R]], object]) -> None:
        waiting = self._callbacks
        if isinstance(waiting, list):
            if callback in waiting:
                waiting.remove(callback)
        elif waiting == callback:
            self._callbacks = None

    def _call(self, callback: Callable[[Future[R]], object]) -> None:
        try:
            callback(self)
        except Exception as error:  # a callback's error is its author's, never the run's
            context = {"message": f"Exception in a done callback of {self!r}", "exception": error}
            self._loop.call_exception_handler(context)

    def _cancel_task(self) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel(self.cancel_reason)


class _Arrival:
    """The end of a run, to be awaited without its outcome."""

    __slots__ = ("_future",)

    def __init__(self, future: Future[Any]) -> None:
        self._future = future

    def __await__(self) -> Generator[Any, None, None]:
        return self._future._arrival()


async def ended(future: Future[Any]) -> None:
    """Return when a future is done, whatever it came to; raises only where it cannot be waited for."""
    if not future.done():
        await _Arrival(future)


def vacated_place() -> AbstractContextManager[None]:
    """While this lasts, another thread may take this pool thread's place."""
    place = threads.place
    return nullcontext() if place is None else place.vacated()


def blocks_here() -> bool:
    """Whether the calling code is synchronous: no loop runs in this thread, or only one that is blocked already."""
    running = _running_loop()
    if running is None:
        return True
    frame = current_frame()
    return frame is not None and running in frame.blocked


def _arrive(waiter: asyncio.Future[None], _: Any = None) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _wake(loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None], _: Any = None) -> None:
    with suppress(RuntimeError):  # the waiter's loop may be closed: then nobody waits any more
        loop.call_soon_threadsafe(_arrive, waiter)


def checked_timeout(timeout: float | None) -> None:
    if timeout is not None and (isinstance(timeout, bool) or not timeout >= 0):
        raise InvalidOption(f"timeout is {timeout!r}; it takes a number of seconds from 0 up, or None.")
