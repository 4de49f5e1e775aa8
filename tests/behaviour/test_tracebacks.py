"""What a failure shows to whoever wrote the body: their own frames, and none of the engine's between them."""

from __future__ import annotations

import asyncio
import gc
import traceback
from pathlib import Path
from typing import Any

import pytest

import asyncflow
from asyncflow import flow, gather, task, wait
from asyncflow.core.tracebacks import prune
from asyncflow.exceptions import AsyncflowError, BlockingCall, InvalidOption

HOUSE = str(Path(asyncflow.__file__).parent)


def frames(error: BaseException) -> list[str]:
    """The functions of the traceback, with `house` for each of ours."""
    summary = traceback.extract_tb(error.__traceback__)
    return ["house" if frame.filename.startswith(HOUSE) else frame.name for frame in summary]


@task
def divide(number: int) -> float:
    return 1 / number


@flow
def sync_flow() -> float:
    return divide(0)


@task(timeout_seconds=30, retries=1)
async def divide_async(number: int) -> float:
    return 1 / number


@flow
async def async_flow() -> float:
    return await divide_async.submit(0)


def test_a_sync_failure_shows_the_bodies() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        sync_flow()
    shown = frames(caught.value)
    assert shown[:1] == ["test_a_sync_failure_shows_the_bodies"]
    assert shown[-2:] == ["sync_flow", "divide"]
    assert shown.count("house") <= 2


async def test_an_async_failure_shows_the_bodies() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        await async_flow()
    shown = frames(caught.value)
    assert shown[-2:] == ["async_flow", "divide_async"]
    assert shown.count("house") <= 2


def test_an_error_of_ours_shows_the_line_that_made_it() -> None:
    @flow
    def nested() -> None:
        divide()  # type: ignore[call-overload]

    with pytest.raises(AsyncflowError) as caught:
        nested()
    assert frames(caught.value)[-1] == "nested"


def test_the_stored_traceback_is_the_same() -> None:
    state = sync_flow(return_state=True)
    told = "".join(traceback.format_exception(state.error()))
    assert HOUSE not in told
    assert "return divide(0)" in told


def failing_at(*names: str, kind: type[Exception] = ValueError) -> Exception:
    """An error that went through functions in files of these names, the innermost last."""
    space: dict[str, object] = {"kind": kind}
    inner = "raise kind('deep inside')"
    for number, name in enumerate(reversed(names)):
        exec(compile(f"def f{number}():\n    {inner}\n", name, "exec"), space)
        inner = f"f{number}()"
    try:
        exec(compile(inner, "outermost", "exec"), space)
    except Exception as error:
        while error.__traceback__ is not None and error.__traceback__.tb_frame.f_code.co_filename not in names:
            error.__traceback__ = error.__traceback__.tb_next
        return error
    raise AssertionError


def files(error: Exception) -> list[str]:
    return [Path(frame.filename).name for frame in traceback.extract_tb(error.__traceback__)]


OURS = f"{HOUSE}/engine/engine.py"


@pytest.mark.parametrize(
    ("names", "kind", "left"),
    [
        ((OURS, "user.py", OURS, "task.py"), ValueError, ["user.py", "task.py"]),
        ((OURS, "user.py", OURS, OURS), ValueError, ["user.py", "engine.py", "engine.py"]),
        ((OURS, OURS), ValueError, ["engine.py", "engine.py"]),
        ((OURS, "user.py", OURS, OURS), InvalidOption, ["user.py"]),
        ((OURS, OURS), InvalidOption, []),
        ((f"{HOUSE}/cli/demo_flows.py", OURS, "x.py"), ValueError, ["demo_flows.py", "x.py"]),
        (("user.py",), ValueError, ["user.py"]),
    ],
)
def test_what_is_left_of_a_traceback(names: tuple[str, ...], kind: type[Exception], left: list[str]) -> None:
    error = failing_at(*names, kind=kind)
    assert files(error) == [Path(name).name for name in names]
    prune(error)
    assert files(error) == left


async def test_a_coroutine_is_called_as_its_function() -> None:
    @task
    async def fetch() -> None: ...

    @flow(name="Nightly load")
    async def load() -> str:
        inner: Any = fetch()
        told: str = inner.__qualname__
        inner.close()
        return told

    outer: Any = load()
    assert outer.__qualname__ == load.fn.__qualname__
    assert await outer == fetch.fn.__qualname__


def test_a_forgotten_await_is_named() -> None:
    coroutine = async_flow()
    assert asyncio.iscoroutine(coroutine)
    with pytest.warns(RuntimeWarning, match="'async_flow' was never awaited"):
        del coroutine


@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
def test_a_forgotten_await_is_told_where_its_coroutine_ends_up(capfd: pytest.CaptureFixture[str]) -> None:
    @task
    async def fetch() -> int:
        return 1

    @task
    def parse(value: object) -> None: ...

    @flow
    def forgetful() -> list[Any]:
        parse(fetch())
        return [fetch()]

    state = forgetful(return_state=True)
    for one in state.result():
        one.close()
    name = fetch.fn.__qualname__
    assert state.message is not None
    assert f"a coroutine of {name}() at result[0] cannot be stored; probably an `await` was forgotten" in state.message
    assert f"argument 'value': a coroutine of {name}() has no content; probably an `await`" in capfd.readouterr().err


async def test_a_gather_that_is_not_awaited_is_named_and_says_nothing_else() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    @task
    async def fail() -> None:
        raise ValueError("no")

    @flow(unobserved="ignore")
    async def forgetful() -> str:
        future = fail.submit()
        gathering: Any = gather(future)
        gathering.close()
        waiting: Any = wait([future])
        waiting.close()
        return f"{gathering.__qualname__}, {waiting.__qualname__}"

    assert await forgetful() == "gather, wait"
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


async def test_for_in_async_code_is_answered_with_async_for() -> None:
    @task
    async def fetch(number: int) -> int:
        return number

    @flow
    async def blocking() -> None:
        for _ in fetch.stream([1]):
            pass

    with pytest.raises(BlockingCall, match="async for"):
        await blocking()
