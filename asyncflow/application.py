"""The composition root: from settings to a store, results, threads and an engine; one per process or `async with`."""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import random
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future as ConcurrentFuture
from contextlib import suppress
from contextvars import ContextVar, Token
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .context import current_frame, enter_frame
from .core.clock import SystemClock
from .core.ids import IdMaker
from .core.tracebacks import prune
from .engine.calls import Call
from .engine.crossing import LentThread, Pool, block_on, blocking_loops, house_loops, outlasting
from .exceptions import ApplicationChoice, InvalidOption
from .handles import Future
from .settings import Settings
from .specs import FlowSpec

if TYPE_CHECKING:
    from .assembly import Parts
    from .engine.engine import Engine
    from .ports import Clock, ConsoleLines, Store


class Application:
    """Where flows run: one database, its own threads, and everything that is open for them.

        async with Application(database="orders.db"):
            await nightly_load()

    `database` is a path, or ":memory:" for library mode with no files at all; `flows` are the flows that belong to
    it; every other keyword is a setting of that name (see `Settings`). Without an application of your own, the first
    call of a flow or task opens the default one. It touches no signal handler and nobody else's logging, and several
    may be open at once. Raises `InvalidSetting` for a bad setting, and `DatabaseUnavailable`, `DatabaseCorrupt` or
    `DatabaseTooNew` when it opens.
    """

    def __init__(
        self,
        database: str | Path | None = None,
        flows: Iterable[FlowSpec] = (),
        *,
        clock: Clock | None = None,
        source: random.Random | None = None,
        **settings: Any,
    ) -> None:
        self.settings = Settings.load(database=None if database is None else str(database), **settings)
        self.flows = {flow.key: flow for flow in flows}
        self.clock: Clock = clock or SystemClock()
        self._source = source or random.Random()
        self.ids = IdMaker(self.clock, source)
        self.id = self.ids()
        self.console: ConsoleLines | None = None
        self.store: Store
        self.engine: Engine
        self.secret = b""
        self._parts: Parts
        self._open = False
        self._tokens: list[Token[Application | None]] = []
        self._changing = threading.Lock()
        self._opening: ConcurrentFuture[None] | None = None

    def __repr__(self) -> str:
        return f"<Application {self.settings.database!r} {'open' if self._open else 'closed'}>"

    @property
    def is_open(self) -> bool:
        """Whether flows can run in it now."""
        return self._open

    async def start(self) -> None:
        """Open the database and get ready; does nothing if it is open. May be called from another task than `stop`."""
        while not self._open:
            with self._changing:
                opening = self._opening
                if opening is None:
                    self._opening = ConcurrentFuture()
            if opening is None:
                await self._start_alone()
            else:  # somebody else is opening it, perhaps on another loop; if that fails, it is tried here
                await asyncio.shield(asyncio.wrap_future(opening))

    async def _start_alone(self) -> None:
        opening = self._opening
        assert opening is not None
        try:
            await self._start()
        finally:
            self._opening = None
            opening.set_result(None)

    async def _start(self) -> None:
        pool = Pool(self.settings.max_threads)
        store: Store | None = None
        try:
            assembly = await pool.run(_loaded, None, _nothing)
            store = await assembly.open_store(self.settings, self.id, self.clock)
            keys = await pool.run(lambda: assembly.read_keys(self.settings), None, _nothing)
        except BaseException:
            pool.close(0)  # its threads go by themselves; waiting for them would block the loop
            if store is not None:
                await store.close()
            raise
        self.console = assembly.make_console(self.settings)
        self._parts = assembly.assemble(self, store, keys, pool, executor_id=self.id, ids=self.ids, source=self._source)
        self._open = True
        _opened.append(self)

    async def stop(self) -> None:
        """Wait for tasks submitted outside any flow, write everything, and close; does nothing if it is closed."""
        if not self._open:
            return
        await self.engine.drained()
        if self._leave():
            await outlasting(asyncio.ensure_future(self._close()))

    async def _close(self) -> None:
        try:
            await self.store.close()
        finally:
            await asyncio.to_thread(self._close_threads)

    def stop_now(self) -> None:
        """Write everything and close, from any thread and without a loop; for the end of the process."""
        if self._leave():
            self.store.close_now()
            self._close_threads()

    def _leave(self) -> bool:
        with self._changing:
            if not self._open:
                return False
            self._open = False
            if self in _opened:
                _opened.remove(self)
        self._parts.leave(self.settings.log_capture)
        return True

    def _close_threads(self) -> None:
        self._parts.pool.close()
        if self.console is not None:
            self.console.close()

    async def __aenter__(self) -> Self:
        await self.start()
        self._tokens.append(_current.set(self))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(ValueError):  # left from another task than it was entered from: no choice was made here
            _current.reset(self._tokens.pop())
        await self.stop()


def _loaded() -> Any:
    from . import assembly  # noqa: PLC0415  # the store's driver, pydantic and the engine load here, in a thread

    return assembly


def _nothing() -> None:
    return None


_current: ContextVar[Application | None] = ContextVar("asyncflow_application", default=None)
_opened: list[Application] = []
_default: Application | None = None
_default_lock = threading.Lock()


def chosen_application() -> Application | None:
    """The application that is meant here: the running run's, the one of `async with`, or the only open one."""
    frame = current_frame()
    if frame is not None:
        return frame.application  # type: ignore[return-value]
    current = _current.get()
    if current is not None and current.is_open:
        return current
    own = [one for one in _opened if one is not _default]
    if len(own) > 1:
        raise ApplicationChoice(
            f"{len(own)} applications are open ({', '.join(one.settings.database for one in own)}), and nothing says "
            "which is meant here; call this inside `async with application:`."
        )
    return own[0] if own else None


def default_application() -> Application:
    """The application of a process that opened none itself; it stays open until the process ends."""
    global _default  # noqa: PLW0603  (one per process, as its docstring says)
    with _default_lock:
        if _default is None:
            console = os.environ.get("ASYNCFLOW_LOG_CONSOLE", "auto")
            _default = Application(log_console="on" if console == "auto" else None)
            atexit.register(_default.stop_now)
            _before_the_end(_await_submitted)
        return _default


@functools.cache
def _before_the_end(call: Callable[[], None]) -> None:
    """Have this called when the main thread has ended and other threads can still be started, if Python lets us."""
    import concurrent.futures.thread  # noqa: F401, PLC0415  # so that its pools end after this, and not before

    register = getattr(threading, "_register_atexit", atexit.register)
    with suppress(RuntimeError):  # it is ending already
        register(call)


def _await_submitted() -> None:
    """Wait for what was submitted to the default application outside any run; Ctrl-C cancels it."""
    application = _default
    try:
        if getattr(sys, "last_type", None) is KeyboardInterrupt:  # it has come already, and ended the script
            raise KeyboardInterrupt
        if application is not None and application.is_open and application.engine.children.live:
            _drained(application).result()
    except KeyboardInterrupt:
        if application is None or not application.is_open:
            return
        for future in tuple(application.engine.children.live):
            future.cancel("interrupted from the keyboard")
        with suppress(TimeoutError, KeyboardInterrupt):
            _drained(application).result(application.settings.cleanup_seconds)


def _drained(application: Application) -> ConcurrentFuture[None]:
    return asyncio.run_coroutine_threadsafe(application.engine.drained(), house_loops.loop(()))


def _forked() -> None:
    """A forked child stands inside none of its parent's runs, and its parent's default application is not its own."""
    global _default, _default_lock  # noqa: PLW0603  (as in default_application)
    _default_lock = threading.Lock()
    parents, _default = _default, None
    if parents is not None:
        atexit.unregister(parents.stop_now)
        if parents in _opened:
            _opened.remove(parents)
    enter_frame(None)


os.register_at_fork(after_in_child=_forked)


def close_default() -> None:
    """Write everything of the default application and close it; the next call without an application opens another."""
    global _default
    with _default_lock:
        closing, _default = _default, None
    if closing is not None:
        atexit.unregister(closing.stop_now)
        closing.stop_now()


async def current_application() -> Application:
    """The application for a call made here; opens the default one if there is none."""
    chosen = chosen_application()
    if chosen is not None:
        return chosen
    application = default_application()
    if not application.is_open:
        await asyncio.wrap_future(_open_default(application))
    return application


def current_application_now() -> Application:
    """As `current_application`, for code that cannot await: blocks this thread while the default one opens."""
    chosen = chosen_application()
    if chosen is not None:
        return chosen
    application = default_application()
    if not application.is_open:
        _open_default(application).result()
    return application


def _open_default(application: Application) -> Any:
    return asyncio.run_coroutine_threadsafe(_start_once(application), house_loops.loop(blocking_loops(None)))


async def _start_once(application: Application) -> None:
    await application.start()


def run_call(call: Call[Any], return_state: bool) -> Any:
    """Run a call: the coroutine of an async function, the value of a sync one."""
    if return_state is not True and return_state is not False:
        raise InvalidOption(f"return_state is {return_state!r}; it takes True or False.")
    if call.spec.is_async:
        coroutine: Any = _started(call, return_state)
        coroutine.__qualname__ = call.spec.qualname  # "coroutine 'fetch' was never awaited"
        return coroutine
    call.lent = LentThread()
    call.blocked = blocking_loops(call.parent)
    try:
        return block_on(_started(call, return_state), call.lent)
    except Exception as error:
        prune(error)
        raise
    finally:
        if call.parent is None and call.run is not None:
            application = chosen_application() or default_application()
            if application.console is not None:
                application.console.flush()


def _started(call: Call[Any], return_state: bool) -> Coroutine[Any, Any, Any]:
    if call.parent is not None:
        engine: Engine = call.parent.application.engine
        return engine.run(call, return_state)
    return _outermost(call, return_state)


async def _outermost(call: Call[Any], return_state: bool) -> Any:
    application = await current_application()
    try:
        return await application.engine.run(call, return_state)
    except Exception as error:
        prune(error)
        raise
    finally:
        if application is _default and application.console is not None:
            application.console.flush()  # in a script, its lines stand before whatever the script says next


def submit_call(call: Call[Any]) -> Future[Any]:
    """Start a call in the background of its owner: the body that calls, or the application outside of any."""
    application = call.parent.application if call.parent is not None else current_application_now()
    engine: Engine = application.engine
    return engine.submit(call)
