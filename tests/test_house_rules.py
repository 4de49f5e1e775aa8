"""The rules that every test lives under: each loop, both colours, nothing blocked, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest
import uvloop

from .colours import Body, Colour
from .conftest import EAGER, LOOPS
from .leaks import leftover_tasks, leftover_threads

pytest_plugins = ["pytester"]


@pytest.mark.skipif(EAGER is None, reason="Python has eager tasks from 3.12 on")
def test_eager_tasks_are_in_the_loop_matrix() -> None:
    assert "eager" in LOOPS


async def test_async_tests_run_on_the_loop_of_the_matrix(anyio_backend: tuple[str, dict[str, bool]]) -> None:
    assert isinstance(asyncio.get_running_loop(), uvloop.Loop) is anyio_backend[1]["use_uvloop"]


def test_home_is_empty_and_its_own(home: Path, tmp_path: Path) -> None:
    assert [name for name in os.environ if name.startswith("ASYNCFLOW_")] == ["ASYNCFLOW_HOME"]
    assert home.parent == tmp_path
    assert not home.exists()


async def test_a_pending_task_is_found_and_an_ending_one_is_not() -> None:
    known = asyncio.all_tasks()
    ending = asyncio.create_task(asyncio.sleep(0.01))
    assert await leftover_tasks(known) == []
    assert ending.done()
    forgotten = asyncio.create_task(asyncio.sleep(60))
    try:
        assert await leftover_tasks(known) == [forgotten]
    finally:
        forgotten.cancel()


def test_a_running_thread_is_found_and_a_daemon_is_not() -> None:
    known = threading.enumerate()
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait, daemon=daemon) for daemon in (True, False)]
    for thread in threads:
        thread.start()
    try:
        assert leftover_threads(known) == [threads[1]]
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_body_is_written_once(colour: Colour) -> None:
    @colour.body
    def double(number: int) -> int:
        if number < 0:
            raise ValueError(number)
        return 2 * number

    @colour.body
    def pipeline(number: int) -> Body[list[object]]:
        yield colour.sleep(0)
        found = [(yield double(number))]
        try:
            yield double(-1)
        except ValueError as error:
            found.append(error.args)
        return found

    assert asyncio.iscoroutinefunction(pipeline) is asyncio.iscoroutinefunction(double) is colour.is_async
    assert colour.run(pipeline, 4) == [8, (-1,)]
    with pytest.raises(ValueError, match="-3"):
        colour.run(double, -3)


@pytest.fixture
def house(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project elsewhere, whose tests live under the same rules, with a module `asyncflow` that blocks."""
    rules = Path(__file__).parent
    for name in ("conftest.py", "colours.py", "leaks.py"):
        pytester.path.joinpath("tests").mkdir(exist_ok=True)
        pytester.path.joinpath("tests", name).write_text((rules / name).read_text())
    pytester.makepyprojecttoml((rules.parent / "pyproject.toml").read_text())
    pytester.path.joinpath("tests", "__init__.py").touch()
    pytester.path.joinpath("asyncflow.py").write_text("import time\n\ndef nap():\n    time.sleep(0.001)\n")
    return pytester


TELLTALES = """
import asyncio, threading, time
import asyncflow
import pytest

async def test_blocks():
    asyncflow.nap()

@pytest.mark.blocks_loop
async def test_blocks_on_purpose():
    asyncflow.nap()

def test_sleeps_where_no_loop_is():
    asyncflow.nap()

async def test_forgets_a_task():
    test_forgets_a_task.task = asyncio.create_task(asyncio.sleep(60))

def test_forgets_a_thread():
    threading.Thread(target=time.sleep, args=(1.6,)).start()

@pytest.mark.leaves
def test_leaves_a_thread_on_purpose():
    threading.Thread(target=time.sleep, args=(1.6,)).start()
"""


def test_breaking_a_rule_fails_the_test(house: pytest.Pytester) -> None:
    house.path.joinpath("tests", "test_telltales.py").write_text(TELLTALES)
    outcome = house.runpytest_subprocess("-q")
    outcome.assert_outcomes(passed=5, failed=4, errors=1)
    outcome.stdout.fnmatch_lines_random(
        ["*Blocking call to time.sleep*", "*asyncio tasks were left pending*", "*threads were left running*"]
    )
