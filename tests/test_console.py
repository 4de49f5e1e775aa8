"""Lines on stderr: their shape, their order, and that no stream is ever a run's concern."""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
import threading
import time

import pytest

from asyncflow import console as console_module
from asyncflow.console import Console
from asyncflow.settings import Settings

AT = 1_700_000_000_412_345


def clock(at: int = AT) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at // 1_000_000)) + f".{at // 1000 % 1000:03d}"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_have_the_shape_that_people_know(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(Settings.load())
    console.line(20, "asyncflow.engine - ", "Created flow run 'nimble-falcon' for flow 'My Pipeline'", AT)
    console.line(30, "Task run 'fetch' - ", "Retrying in 10.0 seconds...", AT + 1_000)
    console.line(20, "", "Result: {}", AT + 1_000_000)
    console.close()
    assert capsys.readouterr().err.splitlines() == [
        f"{clock()} | INFO    | asyncflow.engine - Created flow run 'nimble-falcon' for flow 'My Pipeline'",
        f"{clock(AT + 1_000)} | WARNING | Task run 'fetch' - Retrying in 10.0 seconds...",
        f"{clock(AT + 1_000_000)} | INFO    | Result: {{}}",
    ]


def test_lines_below_the_level_are_left_out() -> None:
    stream = io.StringIO()
    console = Console(Settings.load(log_level="WARNING"), stream)
    console.line(20, "", "small talk", AT)
    console.line(30, "", "careful", AT)
    console.close()
    assert stream.getvalue().endswith(" | WARNING | careful\n")
    assert "small talk" not in stream.getvalue()


def test_lines_are_written_in_batches_without_a_flush() -> None:
    written = threading.Event()

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            count = super().write(text)
            written.set()
            return count

    stream = Stream()
    console = Console(Settings.load(), stream)
    for number in range(2):
        console.line(20, "", f"line {number}", AT)
        assert written.wait(10)
        written.clear()
    console.close()
    assert [line.rpartition(" ")[2] for line in stream.getvalue().splitlines()] == ["0", "1"]


def test_each_thread_s_lines_keep_their_order() -> None:
    stream = io.StringIO()
    console = Console(Settings.load(), stream)

    def talk(who: int) -> None:
        for number in range(500):
            console.line(20, f"{who} - ", str(number), AT)
            if number % 100 == 0:
                console.flush()

    threads = [threading.Thread(target=talk, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    console.close()
    lines = [line.rpartition("| ")[2].split(" - ") for line in stream.getvalue().splitlines()]
    for who in "0123":
        assert [int(number) for one, number in lines if one == who] == list(range(500))


async def test_a_line_from_an_event_loop_never_waits() -> None:
    stream = io.StringIO()
    console = Console(Settings.load(), stream)
    for _ in range(100):
        console.line(20, "", "hello", AT)
        await asyncio.sleep(0)
    await asyncio.to_thread(console.close)
    assert stream.getvalue().count("hello") == 100


def test_close_ends_the_thread_and_later_lines_still_arrive() -> None:
    stream = io.StringIO()
    console = Console(Settings.load(), stream)
    console.line(20, "", "one", AT)
    console.close()
    console.close()
    console.line(20, "", "two", AT)
    assert [line[-3:] for line in stream.getvalue().splitlines()] == ["one", "two"]
    assert not [thread for thread in threading.enumerate() if thread.name == "asyncflow-console"]


def test_no_line_no_thread() -> None:
    console = Console(Settings.load(log_level="ERROR"))
    console.line(20, "", "nothing", AT)
    console.flush()
    assert not [thread for thread in threading.enumerate() if thread.name == "asyncflow-console"]
    console.close()


def test_levels_are_coloured_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def shown(stream: io.StringIO) -> str:
        console = Console(Settings.load(), stream)
        console.line(40, "", "broken", AT)
        console.close()
        return stream.getvalue()

    coloured, plain = shown(Terminal()), shown(io.StringIO())
    assert re.search("\x1b\\[[0-9;]+mERROR  \x1b\\[0m \\| broken", coloured)
    assert "\x1b" not in plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert shown(Terminal()) == plain
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert shown(Terminal()) == plain


def test_json_lines_are_one_object_each() -> None:
    stream = io.StringIO()
    console = Console(Settings.load(log_format="json"), stream)
    console.line(20, "asyncflow.engine - ", "Created flow run 'x'", AT, flow_run_id="f")
    console.line(
        40, "Task run 't' - ", "two\nlines é", AT, logger="me", flow_run_id="f", task_run_id="t", fields='{"rows": 3}'
    )
    console.close()
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first["message"] == "Created flow run 'x'"
    assert (first["logger"], first["level"], first["flow_run_id"], first["task_run_id"]) == (
        "asyncflow.engine", "INFO", "f", None,
    )  # fmt: skip
    assert second["message"] == "two\nlines é"
    assert (second["logger"], second["level"], second["task_run_id"], second["rows"]) == ("me", "ERROR", "t", 3)
    assert re.fullmatch(r"2023-11-1[45]T\d\d:\d\d:20\.412345[+-]\d\d:\d\d", first["time"])


def test_fields_stand_beside_the_message() -> None:
    stream = io.StringIO()
    console = Console(Settings.load(), stream)
    console.line(20, "", "loaded", AT, fields='{"attempt": 2, "rows": 3, "table": "orders"}')
    console.close()
    assert stream.getvalue().endswith("| loaded rows=3 table='orders'\n")


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_stream_that_is_gone_is_nobody_s_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (Broken(), closed, None):
        monkeypatch.setattr(sys, "stderr", stream)
        console = Console(Settings.load())
        console.line(20, "", "anybody?", AT)
        console.flush()
        console.close()


def test_what_the_stream_cannot_encode_is_escaped() -> None:
    raw = io.BytesIO()
    console = Console(Settings.load(), io.TextIOWrapper(raw, encoding="ascii"))
    console.line(20, "", "naïve →", AT)
    console.flush()
    assert raw.getvalue().endswith(b"| na\\xefve \\u2192\n")
    console.close()


def test_lines_beyond_the_bound_are_counted_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_module, "MOST_WAITING", 3)
    stream = io.StringIO()
    console = Console(Settings.load(), stream, threaded=False)
    for number in range(5):
        console.line(20, "", f"line {number}", AT)
    console.close()
    lines = stream.getvalue().splitlines()
    assert [line[-6:] for line in lines[:3]] == ["line 0", "line 1", "line 2"]
    assert lines[3].endswith("| WARNING | asyncflow.engine - 2 lines came too fast to be shown")
    assert len(lines) == 4
