"""Many calls of one task: mapped over iterables, a bounded number at a time, or streamed at flat memory."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..context import Frame
from ..core.annotations import Annotation, allow_failure, quote, unmapped
from ..core.runs import Run
from ..exceptions import InvalidOption, MappingLengthMismatch, MappingMissingIterable
from ..futures import FutureList, as_completed
from ..handles import Future, blocks_here, ended
from ..states import State
from .calls import Call

if TYPE_CHECKING:
    from .engine import Engine

R = TypeVar("R")


def checked_limit(limit: int | None) -> int | None:
    """How many at a time: a whole number from 1 up, or None."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise InvalidOption(f"limit is {limit!r}; it takes a whole number from 1 up, or None.")
    return limit


def is_mapped(value: Any) -> bool:
    """Whether map goes through this argument: iterables, but not texts, bytes, mappings, or what is unmapped."""
    if isinstance(value, unmapped | str | bytes | bytearray | Mapping | quote):
        return False
    if isinstance(value, Annotation):
        return is_mapped(value.value)
    return isinstance(value, Iterable) and not isinstance(value, Future | State)


def zipped(arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The arguments of each call of a map.

    Raises `MappingMissingIterable` or `MappingLengthMismatch`.
    """
    mapped = {name: _items(value) for name, value in arguments.items() if is_mapped(value)}
    if not mapped:
        raise MappingMissingIterable(
            f"Nothing to map over in {', '.join(f'{name}={_short(value)}' for name, value in arguments.items())}; "
            "pass at least one iterable, or call submit() instead."
        )
    lengths = {name: len(items) for name, items in mapped.items()}
    if len(set(lengths.values())) > 1:
        described = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise MappingLengthMismatch(
            f"The iterables given to map have unequal lengths: {described}; wrap constants in unmapped()."
        )
    constant = {name: _constant(value) for name, value in arguments.items() if name not in mapped}
    count = next(iter(lengths.values()))
    return [
        {name: mapped[name][index] if name in mapped else constant[name] for name in arguments}
        for index in range(count)
    ]


def _items(value: Any) -> list[Any]:
    if isinstance(value, allow_failure):
        return [allow_failure(item) for item in value.value]
    return list(value.value if isinstance(value, Annotation) else value)


def _constant(value: Any) -> Any:
    return value.value if isinstance(value, unmapped) else value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."


def submit_all(
    engine: Engine,
    parent: Frame | None,
    arguments: Iterable[dict[str, Any]],
    make: Callable[[dict[str, Any]], Call[Any]],
    limit: int | None,
) -> FutureList[Any]:
    """Submit a call for each of the arguments; with a limit, so many at a time, the next when one has ended."""
    if limit is None:
        return FutureList(engine.submit(make(one)) for one in arguments)
    pump = _Pump(engine, parent, make, limit)
    return FutureList([pump.add(one) for one in arguments])


class _Pump:
    """Starts the calls of one map in their order, at most `limit` of them at a time.

    A call is made (bound, identified, named) when its turn comes, or when somebody asks for its run before.
    """

    def __init__(
        self, engine: Engine, parent: Frame | None, make: Callable[[dict[str, Any]], Call[Any]], limit: int
    ) -> None:
        self._engine = engine
        self._make = make
        self._free = limit
        self._waiting: dict[Future[Any], dict[str, Any]] = {}
        self._made: dict[Future[Any], Call[Any]] = {}
        self._context = copy_context()
        self._lock = threading.RLock()
        self._children, self._loop = engine.owner(parent)
        self._children.admit(limit)
        self._early = self._run_of  # one bound method for all futures

    def add(self, arguments: dict[str, Any]) -> Future[Any]:
        with self._lock:
            if self._free <= 0:
                future: Future[Any] = Future(None, self._loop, self._early)
                self._children.add(future)
                self._waiting[future] = arguments
                return future
            self._free -= 1
            call = self._make(arguments)
            self._spec = call.spec
            future = self._engine.adopt(call)
        self._start(call, self._context.copy())
        return future

    def _ended(self) -> None:
        while not self._started_next():
            continue

    def _started_next(self) -> bool:
        """Whether the next call has begun, or none is left; False if it could not even be made, and has failed so."""
        context = self._context.copy()
        with self._lock:
            future = next(iter(self._waiting), None)
            if future is None:
                self._free += 1
                return True
            try:
                call = self._call_of(future, context)
                future.begin(call.run)
            except Exception as error:  # from the author's own key function, say
                self._engine.refuse(future, self._spec, self._children, error)
                return False
            finally:
                del self._waiting[future]
                self._made.pop(future, None)
        self._start(call, context)
        return True

    def _run_of(self, future: Future[Any]) -> Run:
        with self._lock:
            if future not in self._waiting:  # its turn has come meanwhile
                return future.run
            call = self._made[future] = self._call_of(future, self._context.copy())
        return call.run

    def _call_of(self, future: Future[Any], context: Context) -> Call[Any]:
        call = self._made.get(future)
        if call is None:
            call = context.run(self._make, self._waiting[future])
            self._engine.prepare(call)
            call.future = future
        return call

    def _start(self, call: Call[Any], context: Context) -> None:
        call.on_decided = self._ended
        self._engine.start(call, self._children, context)


class Stream(Generic[R]):
    """The results of a task over a stream of inputs, pulled lazily: `async for` in async code, `for` in sync code.

    At most `limit` calls are in flight, and no more inputs are pulled than that. Leaving early cancels them.
    """

    def __init__(
        self,
        items: Iterable[Any] | AsyncIterable[Any],
        submit: Callable[[Any], Future[R]],
        limit: int,
        ordered: bool,
        return_exceptions: bool,
    ) -> None:
        self._items = items
        self._submit = submit
        self._limit = limit
        self._ordered = ordered
        self._raise = not return_exceptions

    async def __aiter__(self) -> AsyncIterator[R]:
        flights = _Flights(self._limit, self._ordered)
        feeding, items = None, iter(())
        if isinstance(self._items, AsyncIterable):
            feeding = asyncio.get_running_loop().create_task(self._feed(self._items, flights))
        else:
            items = iter(self._items)
        try:
            while True:
                if feeding is None:
                    self._fill(items, flights)
                future = await flights.next()
                if future is None:
                    return
                yield await self._answer(future)
        finally:
            if feeding is not None and not feeding.done():
                feeding.cancel()
                await asyncio.wait((feeding,))
            await flights.cancel()

    def _fill(self, items: Iterator[Any], flights: _Flights) -> None:
        while not flights.ended and not flights.are_full():
            for item in items:
                flights.add(self._submit(item))
                break
            else:
                flights.end(None)

    async def _feed(self, items: AsyncIterable[Any], flights: _Flights) -> None:
        """Pull inputs beside the consumer, so that a slow source does not hold back results."""
        source = aiter(items)
        try:
            async for item in source:
                flights.add(self._submit(item))
                await flights.room()
            flights.end(None)
        except Exception as error:
            flights.end(error)
        finally:
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()

    async def _answer(self, future: Future[R]) -> R:
        if self._raise:
            return await future
        return future.result(raise_on_failure=False)

    def __iter__(self) -> Iterator[R]:
        if not isinstance(self._items, Iterable):
            raise InvalidOption("An async iterable cannot be streamed in sync code; use `async for` in an async flow.")
        flying: dict[Future[R], None] = {}
        try:
            for item in self._items:
                flying[self._submit(item)] = None
                while len(flying) >= self._limit:
                    yield self._take(flying)
            while flying:
                yield self._take(flying)
        finally:
            for future in flying:
                future.look()
                future.cancel("its stream was left")

    def _take(self, flying: dict[Future[R], None]) -> R:
        future = next(iter(flying if self._ordered else as_completed(flying)))
        future.wait()
        del flying[future]
        return future.result(raise_on_failure=self._raise)


class _Flights:
    """The calls of one stream that are in flight, handed out as they end or in their order."""

    def __init__(self, limit: int, ordered: bool) -> None:
        self._limit = limit
        self._ordered = ordered
        self._all: dict[Future[Any], None] = {}
        self._done: deque[Future[Any]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._loop = asyncio.get_running_loop()
        self.ended = False

    def end(self, error: Exception | None) -> None:
        """No more inputs come, because there are none or because their source failed."""
        self.ended, self._error = True, error
        _wake(self._waiter)

    def are_full(self) -> bool:
        return len(self._all) >= self._limit

    def add(self, future: Future[Any]) -> None:
        self._all[future] = None
        future.owner_ended(self._ended)

    def _ended(self, future: Future[Any]) -> None:
        if asyncio._get_running_loop() is not self._loop:
            self._loop.call_soon_threadsafe(self._ended, future)
            return
        self._done.append(future)
        _wake(self._waiter)

    async def room(self) -> None:
        """Return when another call may begin."""
        while self.are_full():
            self._room = self._loop.create_future()
            await self._room

    async def next(self) -> Future[Any] | None:
        """The next future that has ended; None when all are through. Raises the error of the source."""
        while (future := self._ready()) is None:
            if self._error is not None:
                raise self._error
            if self.ended and not self._all:
                return None
            self._waiter = self._loop.create_future()
            await self._waiter
        del self._all[future]
        _wake(self._room)
        return future

    def _ready(self) -> Future[Any] | None:
        if not self._ordered:
            return self._done.popleft() if self._done else None
        self._done.clear()
        first = next(iter(self._all), None)
        return first if first is not None and first.done() else None

    async def cancel(self) -> None:
        for future in self._all:
            future.look()
            future.cancel("its stream was left")
        for future in tuple(self._all):
            if not future.done():
                await ended(future)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def checked_items(items: Any) -> Any:
    """The inputs of a stream, if they can be gone through here."""
    if isinstance(items, str | bytes) or not isinstance(items, Iterable | AsyncIterable):
        raise InvalidOption(f"stream() was given {_short(items)}; it takes an iterable or an async iterable of inputs.")
    if blocks_here() and not isinstance(items, Iterable):
        raise InvalidOption("An async iterable cannot be streamed in sync code; use `async for` in an async flow.")
    return items
