"""What runs say is kept with them and shown as people expect, and nobody else's logging is touched."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

from asyncflow import Application, current_run, flow, get_run_logger, task

from ..colours import Body, Colour
from .outside import Stored, program


@pytest.fixture
def host() -> Iterator[logging.Logger]:
    """A logger of the host's own that lets everything through and shows nothing."""
    logger = logging.getLogger("host.module")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    handler = logging.NullHandler()
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


# -- what is stored ---------------------------------------------------------------------------------------------


def test_lines_are_stored_with_the_run_that_said_them(colour: Colour, home: Path) -> None:
    @task
    @colour.body
    def step(number: int) -> Body[None]:
        get_run_logger().info("step %d begins", number)
        yield colour.sleep(0.002)
        get_run_logger().warning("step ends", number=number)

    @flow(name="pipeline")
    @colour.body
    def pipeline() -> Body[None]:
        get_run_logger().info("starting")
        futures = [step.submit(number) for number in range(3)]
        for future in futures:
            yield colour.result(future)

    colour.run(pipeline)
    stored = Stored(home)
    assert "starting" in stored.lines("pipeline")
    for number, name in enumerate(["step", "step-1", "step-2"]):
        run_id = stored.rows("select id from run where name = ?", name)[0][0]
        lines = stored.rows("select message, level, fields, flow_run_id from log where run_id = ? order by id", run_id)
        assert [(message, level) for message, level, *_ in lines] == [(f"step {number} begins", 20), ("step ends", 30)]
        assert json.loads(lines[1][2]) == {"attempt": 1, "number": number}
        assert {flow_run_id for *_, flow_run_id in lines} == {stored.run("pipeline")["id"]}


def test_pythons_own_logging_is_kept_too(colour: Colour, home: Path, host: logging.Logger) -> None:
    @task(name="step")
    @colour.body
    def step() -> None:
        host.info("from %s", "a library")
        host.debug("not at this level")
        with contextlib.suppress(ZeroDivisionError):
            try:
                _ = 1 / 0
            except ZeroDivisionError:
                host.exception("went wrong")
                raise

    colour.run(step)
    lines = Stored(home).rows("select logger, level, message from log order by id")
    assert [(logger, level) for logger, level, _ in lines] == [("host.module", 20), ("host.module", 40)]
    assert lines[0][2] == "from a library"
    assert lines[1][2].startswith("went wrong\nTraceback")
    assert "ZeroDivisionError" in lines[1][2]


@pytest.mark.blocks_loop
def test_lines_are_stored_before_the_state_that_ends_their_run(colour: Colour, home: Path) -> None:
    seen: list[list[str]] = []

    def look(spec: Any, run: Any, state: Any) -> None:
        rows = Stored(home).rows("select message from log where run_id = ? order by id", run.id)
        seen.append([message for (message,) in rows])

    @task(on_completion=look, on_failure=look)
    @colour.body
    def step(fails: bool) -> None:
        get_run_logger().info("first")
        get_run_logger().info("last words")
        if fails:
            raise ValueError("no")

    colour.run(step, False)
    with pytest.raises(ValueError, match="no"):
        colour.run(step, True)
    assert seen == [["first", "last words"]] * 2


def test_threads_of_a_body_speak_for_it(colour: Colour, home: Path, host: logging.Logger) -> None:
    @task
    @colour.body
    def step(number: int) -> Body[None]:
        def work() -> None:
            get_run_logger().info("thread of %d", number)
            host.info("library in %d", number)

        context = copy_context()
        thread = threading.Thread(target=lambda: context.run(work))
        thread.start()
        while thread.is_alive():
            yield colour.sleep(0.001)

    @flow
    @colour.body
    def pipeline() -> Body[None]:
        yield colour.result(step.map([0, 1]))

    colour.run(pipeline)
    stored = Stored(home)
    for number, name in enumerate(["step", "step-1"]):
        run_id = stored.rows("select id from run where name = ?", name)[0][0]
        lines = stored.rows("select message from log where run_id = ? order by id", run_id)
        assert lines == [(f"thread of {number}",), (f"library in {number}",)]


async def test_to_thread_speaks_for_its_task(home: Path) -> None:
    @task(name="step")
    async def step() -> None:
        await asyncio.to_thread(lambda: get_run_logger().info("over there"))

    await step()
    assert Stored(home).lines("step") == ["over there"]


def test_each_attempt_marks_its_lines(colour: Colour, home: Path) -> None:
    @task(retries=1, name="step")
    @colour.body
    def step() -> None:
        get_run_logger().info("trying")
        if current_run().attempt == 1:
            raise ValueError("no")

    colour.run(step)
    rows = Stored(home).rows("select fields from log where message = 'trying' order by id")
    assert [json.loads(fields)["attempt"] for (fields,) in rows] == [1, 2]
    assert any("Retrying" in line for line in Stored(home).lines("step"))


def test_levels_below_the_setting_are_not_kept(
    colour: Colour, home: Path, monkeypatch: pytest.MonkeyPatch, host: logging.Logger
) -> None:
    monkeypatch.setenv("ASYNCFLOW_LOG_LEVEL", "WARNING")

    @task(name="step")
    @colour.body
    def step() -> None:
        get_run_logger().info("quiet")
        host.info("quiet")
        get_run_logger().warning("loud")

    colour.run(step)
    assert Stored(home).lines("step") == ["loud"]


# -- print ------------------------------------------------------------------------------------------------------


def test_prints_are_lines_where_a_run_asks(colour: Colour, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @task(name="asks", log_prints=True)
    @colour.body
    def asks() -> None:
        print("kept", 1, sep="-")

    @task(name="silent")
    @colour.body
    def silent() -> None:
        print("shown")

    colour.run(asks)
    colour.run(silent)
    assert Stored(home).lines("asks") == ["kept-1"]
    assert Stored(home).lines("silent") == []
    assert capsys.readouterr().out == "shown\n"


def test_log_prints_is_inherited_and_given_back(colour: Colour, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    @task(name="inherits")
    @colour.body
    def inherits() -> None:
        print("inherited")

    @task(name="refuses", log_prints=False)
    @colour.body
    def refuses() -> None:
        print("not kept")

    @flow(name="below")
    @colour.body
    def below() -> Body[None]:
        print("subflow")
        yield inherits()

    @flow(name="pipeline", log_prints=True)
    @colour.body
    def pipeline() -> Body[None]:
        print("before")
        yield below()
        yield refuses()
        future = inherits.with_options(name="submitted").submit()
        yield colour.result(future)
        print("after")

    print("outside before")
    colour.run(pipeline)
    print("outside after")
    stored = Stored(home)
    assert stored.lines("pipeline") == ["before", "after"]
    assert (stored.lines("below"), stored.lines("inherits")) == (["subflow"], ["inherited"])
    assert (stored.lines("submitted"), stored.lines("refuses")) == (["inherited"], [])
    assert capsys.readouterr().out == "outside before\nnot kept\noutside after\n"


def test_the_setting_asks_for_all_runs(colour: Colour, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCFLOW_LOG_PRINTS", "true")

    @task(name="step")
    @colour.body
    def step() -> None:
        print("kept")

    colour.run(step)
    assert Stored(home).lines("step") == ["kept"]


# -- the console ------------------------------------------------------------------------------------------------

LINE = re.compile(r"^\d\d:\d\d:\d\d\.\d\d\d \| (DEBUG  |INFO   |WARNING|ERROR  |CRITICAL) \| (.*)$")


async def shown(capsys: pytest.CaptureFixture[str], **settings: Any) -> list[str]:
    """The lines on stderr of a small pipeline, one of whose tasks fails."""

    @task(name="process")
    async def process(number: int) -> int:
        get_run_logger().warning("careful", number=number)
        if number > 1:
            raise ValueError("too many")
        return number

    @flow(name="My Pipeline", flow_run_name="nightly")
    async def pipeline() -> None:
        get_run_logger().info("Loading")
        await process(1)
        with contextlib.suppress(ValueError):
            await process(2)

    async with Application(database=":memory:", log_console="on", **settings):
        await pipeline()
    return capsys.readouterr().err.splitlines()


async def test_console_lines_have_one_shape(capsys: pytest.CaptureFixture[str]) -> None:
    lines = await shown(capsys)
    parts = [LINE.match(line) for line in lines]
    assert all(parts), lines
    assert [(part[1].strip(), part[2]) for part in parts if part] == [
        ("INFO", "asyncflow.engine - Created flow run 'nightly' for flow 'My Pipeline'"),
        ("INFO", "Loading"),
        ("WARNING", "Task run 'process' - careful number=1"),
        ("INFO", "Task run 'process' - Finished in state Completed()"),
        ("WARNING", "Task run 'process-1' - careful number=2"),
        ("ERROR", "Task run 'process-1' - Finished in state Failed('ValueError: too many')"),
        ("INFO", "Flow run 'nightly' - Finished in state Completed()"),
    ]


async def test_console_lines_are_json_if_set(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in await shown(capsys, log_format="json")]
    assert [line["level"] for line in lines] == ["INFO", "INFO", "WARNING", "INFO", "WARNING", "ERROR", "INFO"]
    careful = lines[2]
    assert careful["message"] == "careful"
    assert (careful["number"], careful["attempt"]) == (1, 1)
    assert careful["task_run_id"]
    assert careful["flow_run_id"] == lines[1]["flow_run_id"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d", careful["time"])


async def test_the_console_follows_the_level(capsys: pytest.CaptureFixture[str]) -> None:
    lines = await shown(capsys, log_level="ERROR")
    assert len(lines) == 1
    assert "Finished in state Failed" in lines[0]


async def test_embedded_it_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    @flow
    async def pipeline() -> None:
        get_run_logger().info("kept, not shown")

    async with Application(database=":memory:"):
        await pipeline()
    assert capsys.readouterr() == ("", "")


def test_a_script_shows_its_lines_before_it_goes_on(colour: Colour, capsys: pytest.CaptureFixture[str]) -> None:
    @flow(flow_run_name="script")
    @colour.body
    def pipeline() -> None: ...

    colour.run(pipeline)
    if not colour.is_async:
        assert "Flow run 'script' - Finished in state Completed()" in capsys.readouterr().err


# -- the host ---------------------------------------------------------------------------------------------------

HOST = """
import asyncio, builtins, io, logging, sys
before = (logging.root.handlers[:], logging.root.level, logging.lastResort, logging.getLogRecordFactory(), print,
          logging.raiseExceptions, logging.getLogger("asyncflow").handlers[:], sys.stdout, sys.stderr, sys.excepthook)
from asyncflow import Application, flow, task, get_run_logger

@task(log_prints=True)
async def step():
    get_run_logger().info("mine")
    logging.getLogger("lib").warning("theirs")
    print("printed")

@flow
async def pipeline():
    await step()
    assert logging.root.handlers == [] and logging.root.level == logging.WARNING
    assert logging.getLogger("lib").handlers == []

async def main():
    async with Application():
        await pipeline()

asyncio.run(main())
after = (logging.root.handlers[:], logging.root.level, logging.lastResort, logging.getLogRecordFactory(), print,
         logging.raiseExceptions, logging.getLogger("asyncflow").handlers[:], sys.stdout, sys.stderr, sys.excepthook)
assert before == after, (before, after)
stream = io.StringIO()
logging.basicConfig(stream=stream, level=logging.INFO, format="%(message)s")
logging.info("configured")
assert stream.getvalue() == "configured\\n"
print("untouched")
"""


def test_a_hosts_logging_is_left_as_it_was(home: Path) -> None:
    assert program(home, HOST, complains="theirs\n") == "untouched\n"  # by Python's handler of last resort


def test_a_handler_of_the_hosts_sees_what_it_always_saw(home: Path, host: logging.Logger) -> None:
    seen: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    handler = Handler()
    host.addHandler(handler)
    try:

        @flow
        def pipeline() -> None:
            host.info("once")

        with ThreadPoolExecutor(1) as threads:
            threads.submit(pipeline).result()
    finally:
        host.removeHandler(handler)
    assert seen == ["once"]
