"""What runs say is stored with them, wherever they say it, and nobody else's logging is touched."""

from __future__ import annotations

import asyncio
import builtins
import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from asyncflow.console import Console
from asyncflow.logging import LONGEST_MESSAGE, get_run_logger, install, uninstall

from .frames import AT, FakeApplication, frame_of, standing_in


@pytest.fixture
def hooked() -> Iterator[None]:
    install()
    yield
    uninstall()


@pytest.fixture
def host() -> Iterator[logging.Logger]:
    """A logger of the host application that lets everything through and shows nothing."""
    logger = logging.getLogger("host.module")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(handler := logging.NullHandler())
    yield logger
    logger.removeHandler(handler)
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


def fields_of(application: FakeApplication, index: int = -1) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(application.lines[index].fields or "{}")
    return fields


# --- the run logger -------------------------------------------------------------------------------------------------


def test_lines_are_stored_with_their_run() -> None:
    application = FakeApplication()
    flow = frame_of(application, "flow", id="f1")
    with standing_in(flow):
        get_run_logger().info("from the flow")
    with standing_in(frame_of(application, id="t1", parent=flow)):
        get_run_logger(table="orders").warning("loaded %d rows", 3, took=0.5)
    first, second = application.lines
    assert (first.run_id, first.flow_run_id, first.message, first.level, first.at) == (
        "f1",
        "f1",
        "from the flow",
        20,
        AT,
    )
    assert (second.run_id, second.flow_run_id, second.message, second.level) == ("t1", "f1", "loaded 3 rows", 30)
    assert (first.logger, second.logger) == ("asyncflow.flow_runs", "asyncflow.task_runs")
    assert fields_of(application) == {"attempt": 1, "table": "orders", "took": 0.5}


def test_the_logger_is_bound_to_its_run_and_keeps_to_it() -> None:
    application = FakeApplication()
    flow = frame_of(application, "flow", id="f1")
    task = frame_of(application, id="t1", parent=flow)
    task.run.attempt = 2
    with standing_in(task):
        logger = get_run_logger()
    assert structlog.get_context(logger) == {"flow_run_id": "f1", "task_run_id": "t1", "attempt": 2}
    with standing_in(flow):
        logger.bind(step=1).info("still the task's")
    assert application.lines[0].run_id == "t1"
    assert fields_of(application) == {"attempt": 2, "step": 1}


def test_every_level_has_its_method() -> None:
    application = FakeApplication(log_level="DEBUG")
    with standing_in(frame_of(application)):
        logger: Any = get_run_logger()
        for name in ("debug", "info", "warning", "warn", "error", "critical", "fatal"):
            getattr(logger, name)("as %s", name)
        logger.log(logging.ERROR, "by number")
        logger.log(35, "between")
    assert [line.level for line in application.lines] == [10, 20, 30, 30, 40, 50, 50, 40, 30]
    assert application.lines[0].message == "as debug"


async def test_async_methods_work_too() -> None:
    application = FakeApplication()
    with standing_in(frame_of(application)):
        await get_run_logger().ainfo("hello %s", "there")
    assert application.lines[0].message == "hello there"


@pytest.mark.parametrize(("level", "kept"), [("DEBUG", 3), ("INFO", 2), ("25", 1), ("ERROR", 0)])
def test_lines_below_the_level_are_not_stored(level: str, kept: int) -> None:
    application = FakeApplication(log_level=level)
    with standing_in(frame_of(application)):
        logger = get_run_logger()
        logger.debug("a")
        logger.info("b")
        logger.warning("c")
    assert len(application.lines) == kept


def test_exceptions_bring_their_traceback() -> None:
    application = FakeApplication()
    error = ValueError("bad row")
    with standing_in(frame_of(application)):
        logger = get_run_logger()
        try:
            raise error
        except ValueError:
            logger.exception("it failed")
            logger.info("and again", exc_info=True)
        logger.warning("by object", exc_info=error)
        logger.info("none here", exc_info=True)
    for line, message in zip(application.lines[:3], ("it failed", "and again", "by object"), strict=True):
        assert line.message.startswith(message + "\nTraceback")
        assert line.message.endswith("ValueError: bad row")
    assert [line.level for line in application.lines] == [40, 20, 30, 20]
    assert application.lines[3].message == "none here"
    assert fields_of(application) == {"attempt": 1}


class Awkward:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def test_a_message_that_cannot_be_formatted_never_fails_the_run() -> None:
    application = FakeApplication()
    loop: list[Any] = []
    loop.append(loop)
    with standing_in(frame_of(application)):
        logger: Any = get_run_logger()
        logger.info("%d rows", "three")
        logger.info("too few %s %s", 1)  # noqa: PLE1206
        logger.info("50%", 1)
        logger.info("%s", Awkward())
        logger.info(Awkward())
        logger.info({"not": "text"})
        logger.info("%(a)s", {"a": 1})
        logger.info("odd fields", awkward=Awkward(), loop=loop, number=float("nan"), ok=1)
    messages = [line.message for line in application.lines]
    assert messages[:3] == ["%d rows three", "too few %s %s 1", "50% 1"]
    assert messages[3] == "%s <Awkward that cannot be shown>"
    assert messages[4:7] == ["<Awkward that cannot be shown>", "{'not': 'text'}", "1"]
    assert fields_of(application)["number"] == "nan"
    assert "cannot be shown" in fields_of(application)["awkward"]


def test_what_stdlib_callers_pass_is_understood() -> None:
    application = FakeApplication()
    with standing_in(frame_of(application)):
        get_run_logger().info("hello", extra={"user": 7}, stacklevel=2, stack_info=False)
    assert fields_of(application) == {"attempt": 1, "user": 7}


def test_messages_are_bounded_and_storable() -> None:
    application = FakeApplication()
    with standing_in(frame_of(application)):
        get_run_logger().info("x" * (LONGEST_MESSAGE + 7))
        get_run_logger().info("nul \0 half \ud800", key="\ud800\0")
    long, odd = application.lines
    assert long.message.endswith("x… (7 more characters were cut)")
    assert odd.message == "nul \\x00 half \\ud800"
    odd.message.encode()
    assert odd.fields is not None
    odd.fields.encode()


def test_lines_are_shown_on_the_application_s_console() -> None:
    stream = io.StringIO()
    application = FakeApplication()
    application.console = Console(application.settings, stream, threaded=False)
    flow = frame_of(application, "flow", id="f1")
    with standing_in(flow):
        get_run_logger().info("Result: %s", {"status": "ok"})
    with standing_in(frame_of(application, parent=flow, name="fetch-1")):
        get_run_logger().error("no answer", status=500)
    application.console.close()
    shown = [line.partition(" | ")[2] for line in stream.getvalue().splitlines()]
    assert shown == [
        "INFO    | Result: {'status': 'ok'}",
        "ERROR   | Task run 'fetch-1' - no answer status=500",
    ]


def test_outside_a_run_the_logger_writes_to_the_console(capsys: pytest.CaptureFixture[str]) -> None:
    logger = get_run_logger(step=1)
    logger.info("hello %s", "world")
    logger.debug("too quiet")
    assert capsys.readouterr().err.partition(" | ")[2] == "INFO    | hello world step=1\n"
    application = FakeApplication()
    with standing_in(frame_of(application)):
        logger.info("used inside")
    assert application.lines[0].message == "used inside"
    assert capsys.readouterr().err == ""


def test_outside_a_run_the_console_can_be_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCFLOW_LOG_CONSOLE", "off")
    get_run_logger().info("hello")
    assert capsys.readouterr().err == ""


def test_the_configuration_of_structlog_is_neither_used_nor_changed() -> None:
    application = FakeApplication()
    before = structlog.is_configured(), structlog.get_config()
    with standing_in(frame_of(application)):
        get_run_logger().info("ours")
        assert (structlog.is_configured(), structlog.get_config()) == before
        with structlog.testing.capture_logs() as captured:  # configures structlog meanwhile
            get_run_logger().info("still ours")
    structlog.reset_defaults()
    assert captured == []
    assert [line.message for line in application.lines] == ["ours", "still ours"]


def test_importing_it_loads_no_structlog() -> None:
    code = "import asyncflow.logging, sys; print('structlog' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- Python's own logging -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hooked")
def test_stdlib_logging_inside_a_run_is_stored_and_not_shown_twice(host: logging.Logger) -> None:
    stream = io.StringIO()
    application = FakeApplication()
    application.console = Console(application.settings, stream, threaded=False)
    host.info("outside")
    with standing_in(frame_of(application, id="t1")):
        host.info("inside %d", 1)
        host.debug("too quiet")
        try:
            raise KeyError("k")
        except KeyError:
            host.exception("broke on %(what)s", {"what": "x"})
    host.info("outside again")
    inside, broke = application.lines
    assert (inside.run_id, inside.level, inside.logger, inside.message) == ("t1", 20, "host.module", "inside 1")
    assert broke.message.startswith("broke on x\nTraceback")
    application.console.close()
    assert stream.getvalue() == ""


@pytest.mark.usefixtures("hooked")
def test_the_host_s_handlers_get_the_same_records(host: logging.Logger) -> None:
    seen: list[logging.LogRecord] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record)

    host.addHandler(handler := Keeping())
    with standing_in(frame_of(FakeApplication())):
        host.info("hello %s", "you", extra={"user": 7})
    host.removeHandler(handler)
    assert (seen[0].getMessage(), seen[0].args, seen[0].__dict__["user"]) == ("hello you", ("you",), 7)
    assert seen[0].funcName == "test_the_host_s_handlers_get_the_same_records"


@pytest.mark.usefixtures("hooked")
def test_our_own_loggers_are_not_captured_and_capture_can_be_off(host: logging.Logger) -> None:
    ours = FakeApplication()
    with standing_in(frame_of(ours)):
        for name in ("asyncflow", "asyncflow.engine"):
            logger = logging.getLogger(name)
            logger.addHandler(handler := logging.NullHandler())
            logger.warning("already told")
            logger.removeHandler(handler)
    off = FakeApplication(log_capture=False)
    with standing_in(frame_of(off)):
        host.info("not asked for")
    assert ours.lines == off.lines == []


@pytest.mark.usefixtures("hooked")
def test_objects_that_log_while_they_are_logged_do_no_harm(host: logging.Logger) -> None:
    class Chatty:
        def __str__(self) -> str:
            host.info("being shown")
            return "chatty"

    application = FakeApplication()
    with standing_in(frame_of(application)):
        logging.getLogRecordFactory()("host.module", 20, "f", 1, "I am %s", (Chatty(),), None)
        logging.getLogRecordFactory()("host.module", 20, "f", 1, "%d", (Awkward(),), None)
        logging.makeLogRecord({"msg": "from another process"})
    assert [line.message for line in application.lines] == ["I am chatty", "%d <Awkward that cannot be shown>"]


@pytest.mark.usefixtures("hooked")
def test_a_store_that_fails_is_nothing_to_whoever_logs(host: logging.Logger) -> None:
    application = FakeApplication()

    def refuse(lines: object) -> None:
        raise RuntimeError("closed")

    application.store.put_lines = refuse
    with standing_in(frame_of(application)):
        host.info("hello")
    application.store.put_lines = application.put_lines
    with standing_in(frame_of(application)):
        host.info("hello again")
    assert [line.message for line in application.lines] == ["hello again"]


def test_hooks_are_counted_and_leave_nothing_behind() -> None:
    factory, printer, handlers = logging.getLogRecordFactory(), builtins.print, list(logging.root.handlers)
    install()
    install()
    assert logging.getLogRecordFactory() is not factory
    assert builtins.print is not printer
    assert logging.root.handlers == handlers
    uninstall()
    assert logging.getLogRecordFactory() is not factory
    uninstall()
    assert logging.getLogRecordFactory() is factory
    assert builtins.print is printer
    uninstall()
    assert builtins.print is printer


def test_what_others_put_on_top_stays_and_ours_below_it_falls_silent(host: logging.Logger) -> None:
    factory, printer = logging.getLogRecordFactory(), builtins.print
    application = FakeApplication()
    install()
    ours = logging.getLogRecordFactory()

    def theirs(*args: Any, **kwargs: Any) -> logging.LogRecord:
        return ours(*args, **kwargs)

    logging.setLogRecordFactory(theirs)
    try:
        uninstall()
        assert logging.getLogRecordFactory() is theirs
        with standing_in(frame_of(application)):
            host.info("nobody listens")
            install()
            host.info("once")
            uninstall()
    finally:
        logging.setLogRecordFactory(factory)
    assert [line.message for line in application.lines] == ["once"]
    assert builtins.print is printer


# --- print ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hooked")
def test_print_becomes_a_line_where_the_run_asks_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    application = FakeApplication()
    with standing_in(frame_of(application, id="t1")) as frame:
        print("plain")
        frame.log_prints = True
        print("a", 1, None, sep="-", flush=True)
        print("to stdout", file=sys.stdout)
        print("to stderr", file=sys.stderr)
        print("to a file", file=(file := io.StringIO()))
        print()
        with pytest.raises(TypeError):
            print("x", nonsense=1)  # type: ignore[call-overload]
    print("after")
    assert [(line.run_id, line.level, line.message) for line in application.lines] == [
        ("t1", 20, "a-1-None"),
        ("t1", 20, "to stdout"),
        ("t1", 20, ""),
    ]
    out, err = capsys.readouterr()
    assert out == "plain\nafter\n"
    assert err == "to stderr\n"
    assert file.getvalue() == "to a file\n"


@pytest.mark.usefixtures("hooked")
async def test_prints_of_concurrent_tasks_and_threads_go_to_their_own_runs() -> None:
    application = FakeApplication()

    async def body(name: str) -> None:
        with standing_in(frame_of(application, id=name)) as frame:
            frame.log_prints = True
            for number in range(3):
                print(name, number)
                await asyncio.sleep(0)
            await asyncio.to_thread(print, name, "thread")

    await asyncio.gather(*map(body, "abc"))
    for name in "abc":
        said = [line.message for line in application.lines if line.run_id == name]
        assert said == [f"{name} 0", f"{name} 1", f"{name} 2", f"{name} thread"]


@pytest.mark.usefixtures("hooked")
def test_a_thread_outside_the_run_prints_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    application = FakeApplication()
    with standing_in(frame_of(application)) as frame:
        frame.log_prints = True
        thread = threading.Thread(target=print, args=("from elsewhere",))
        thread.start()
        thread.join()
    assert application.lines == []
    assert capsys.readouterr().out == "from elsewhere\n"
