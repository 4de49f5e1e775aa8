"""One test for both colours: a body written once becomes a `def` or an `async def`, and a run of it is started fitly.

A body that calls tasks is a generator: `yield` stands where an async function has `await`, and means nothing in a sync
one. The fixture `colour` runs a test once as `sync`, once as `async` on asyncio's loop and once on uvloop:

    def test_failed_task_fails_the_flow(colour: Colour) -> None:
        @task
        @colour.body
        def divide(a: int, b: int) -> float:
            return a / b

        @flow
        @colour.body
        def pipeline() -> Body[float]:
            half = yield divide(1, 2)
            future = divide.submit(1, 0)
            return half + (yield colour.result(future))

        with pytest.raises(ZeroDivisionError):
            colour.run(pipeline)

Where a test is about the identity of calls, write both functions out: here the body is a closure over the generator.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, Protocol, TypeAlias, TypeVar

import uvloop

from .leaks import without_leaks

R = TypeVar("R")
Body: TypeAlias = Generator[Any, Any, R]


class Waitable(Protocol):
    """What `Colour.result` and `Colour.wait` need of a future."""

    def result(self, timeout: float | None = None) -> Any: ...
    def __await__(self) -> Generator[Any, Any, Any]: ...


@dataclass(frozen=True)
class Colour:
    """How a test's functions are written and run: `name` is "sync" or "async", `uvloop` says on which loop."""

    name: str
    uvloop: bool = False

    @property
    def is_async(self) -> bool:
        """Whether bodies are coroutine functions."""
        return self.name == "async"

    def body(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """`fn` in this colour. A plain function keeps its lines; a generator's yields become waits."""
        if self.is_async:
            return _async_body(fn)
        return _sync_body(fn) if inspect.isgeneratorfunction(fn) else fn

    def run(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a flow or task as a script of this colour would; asyncio tasks left pending are an AssertionError."""
        if not self.is_async:
            return call(*args, **kwargs)

        async def script() -> Any:
            return await without_leaks(call(*args, **kwargs))

        with asyncio.Runner(loop_factory=uvloop.new_event_loop if self.uvloop else None) as runner:
            return runner.run(script())

    def result(self, future: Waitable) -> Any:
        """To be yielded: the value of a future, or its error."""
        return future if self.is_async else future.result()

    def sleep(self, seconds: float) -> Any:
        """To be yielded: let time pass."""
        return asyncio.sleep(seconds) if self.is_async else time.sleep(seconds)


COLOURS = (Colour("sync"), Colour("async"), Colour("async", uvloop=True))


def colour_id(colour: Colour) -> str:
    """The name of a colour in a test's id."""
    return f"{colour.name}-uvloop" if colour.uvloop else colour.name


def _sync_body(fn: Callable[..., Body[Any]]) -> Callable[..., Any]:
    @wraps(fn)
    def body(*args: Any, **kwargs: Any) -> Any:
        steps = fn(*args, **kwargs)
        try:
            value = next(steps)
            while True:
                value = steps.send(value)
        except StopIteration as end:
            return end.value

    return body


def _async_body(fn: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    @wraps(fn)
    async def plain(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    @wraps(fn)
    async def body(*args: Any, **kwargs: Any) -> Any:
        steps = fn(*args, **kwargs)
        resume = partial(next, steps)
        while True:
            try:
                wanted = resume()
            except StopIteration as end:
                return end.value
            try:
                value = await wanted if inspect.isawaitable(wanted) else wanted
            except BaseException as error:
                resume = partial(steps.throw, error)
            else:
                resume = partial(steps.send, value)

    return body if inspect.isgeneratorfunction(fn) else plain
