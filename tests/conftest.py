"""What every test gets: a home of its own, every event loop, both colours, and a watch on what it blocks or leaves.

* Async tests run as they are, on each event loop of the matrix: asyncio, uvloop, and eager tasks where Python has them.
* `ASYNCFLOW_HOME` is a new empty folder in each test, and no other `ASYNCFLOW_*` variable is set.
* asyncflow blocking an event loop (a file, a database, a sleep, a taken lock) raises `blockbuster.BlockingError` there;
  a test that blocks on purpose carries `@pytest.mark.blocks_loop`.
* Threads (but daemons) and asyncio tasks left behind fail the test, unless it carries `@pytest.mark.leaves`.
* `colour` runs a test of plain `def` once as sync and once as async code on each loop: see `colours.py`.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from .colours import COLOURS, Colour, colour_id
from .leaks import leftover_threads, without_leaks

EAGER = getattr(asyncio, "eager_task_factory", None)


def _eager_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_task_factory(EAGER)
    return loop


LOOPS = {
    "asyncio": {"use_uvloop": False},
    "uvloop": {"use_uvloop": True},
    **({"eager": {"use_uvloop": False, "loop_factory": _eager_loop}} if EAGER else {}),
}


@pytest.fixture(params=list(LOOPS.values()), ids=list(LOOPS))
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The event loop that an async test runs on."""
    return "asyncio", request.param


@pytest.fixture(params=COLOURS, ids=colour_id)
def colour(request: pytest.FixtureRequest) -> Colour:
    """The colour that a test's flows and tasks are written in, and how to run them."""
    chosen: Colour = request.param
    return chosen


@pytest.fixture(autouse=True)
def _no_threads_left(request: pytest.FixtureRequest) -> Iterator[None]:
    known = threading.enumerate()
    yield
    if request.node.get_closest_marker("leaves") is None:
        left = leftover_threads(known)
        assert not left, f"threads were left running: {left}"


@pytest.fixture(autouse=True)
def home(_no_threads_left: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that asyncflow keeps its data in during this test; the default application ends with the test."""
    for name in [name for name in os.environ if name.startswith("ASYNCFLOW_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("ASYNCFLOW_HOME", str(folder))
    yield folder
    if module := sys.modules.get("asyncflow.application"):
        module.close_default()


@pytest.fixture(autouse=True)
def _watched_loops(request: pytest.FixtureRequest, home: Path) -> Iterator[None]:
    if request.node.get_closest_marker("blocks_loop") is not None:
        yield
        return
    with blockbuster_ctx("asyncflow"):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Have an async test fail that leaves asyncio tasks pending on its loop."""
    test = pyfuncitem.obj
    if inspect.iscoroutinefunction(test) and pyfuncitem.get_closest_marker("leaves") is None:
        pyfuncitem.obj = _leaving_no_tasks(test)
    return (yield)


def _leaving_no_tasks(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
    @wraps(test)
    async def checked(**fixtures: Any) -> None:
        await without_leaks(test(**fixtures))

    return checked
