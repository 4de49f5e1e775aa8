"""Lines on stderr, rendered and written in batches by a thread, so that a run never waits for a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections import deque
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple, TextIO

from .settings import Settings

ENGINE: Final = "asyncflow.engine"
ENGINE_PREFIX: Final = ENGINE + " - "
BATCH_SECONDS: Final = 0.05
MOST_WAITING: Final = 100_000
FLUSH_SECONDS: Final = 5.0

_NAMES: Final = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}
_COLOURS: Final = {10: "\x1b[2m", 20: "\x1b[32m", 30: "\x1b[33m", 40: "\x1b[31m", 50: "\x1b[1;31m"}
_RESET: Final = "\x1b[0m"


class _Line(NamedTuple):
    level: int
    prefix: str
    message: str
    at: int
    logger: str = ENGINE
    flow_run_id: str | None = None
    task_run_id: str | None = None
    fields: str | None = None


class Console:
    """Writes lines such as `15:42:01.412 | INFO    | Task run 'process' - Finished in state Completed()`.

    `line` only queues; a daemon thread, started with the first line, writes what has gathered, in order
    (`threaded=False`: `flush` alone writes). The target is `stream`, or whatever `sys.stderr` is at the time of
    writing. A broken or closed stream loses lines, silently.
    """

    def __init__(self, settings: Settings, stream: TextIO | None = None, *, threaded: bool = True) -> None:
        self._level = settings.log_level
        self._json = settings.log_format == "json"
        self._stream = stream
        self._lines: deque[tuple[Any, ...]] = deque()  # of what makes a _Line
        self._dropped = 0
        self._wanted = not threaded  # whether somebody is bound to write; then a line need not wake the thread
        self._wake: SimpleQueue[None] = SimpleQueue()  # an Event's lock might have to be waited for
        self._writing = threading.RLock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._second = -1
        self._clock = ""

    def line(
        self,
        level: int,
        prefix: str,
        message: str,
        at: int,
        *,
        logger: str = ENGINE,
        flow_run_id: str | None = None,
        task_run_id: str | None = None,
        fields: str | None = None,
    ) -> None:
        """Queue a line, from any thread. `at` is in microseconds, `fields` a JSON object of what was bound to it."""
        if level < self._level:
            return
        if len(self._lines) >= MOST_WAITING:
            self._dropped += 1
            return
        self._lines.append((level, prefix, message, at, logger, flow_run_id, task_run_id, fields))
        if not self._wanted:
            self._wanted = True
            self._wake_writer()

    def flush(self) -> None:
        """Write every line queued so far; gives up after five seconds behind another writer whose stream is stuck."""
        if not self._writing.acquire(timeout=FLUSH_SECONDS):
            return
        try:
            self._write(self._rendered(len(self._lines)))
        finally:
            self._writing.release()

    def close(self) -> None:
        """Flush and end the thread; idempotent. Blocks, as `flush` does: not for an event loop's thread.

        Call it before the interpreter ends: a daemon thread that is cut off while it writes takes stderr with it.
        A line that comes later is still written, by the one who brings it.
        """
        self._closed = True
        self._wake.put(None)
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(FLUSH_SECONDS)
        self.flush()

    def _wake_writer(self) -> None:
        if self._closed:
            self._wanted = False
            self.flush()
            return
        if self._thread is None:
            self._start()
        self._wake.put(None)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="asyncflow-console", daemon=True)
                with contextlib.suppress(RuntimeError):  # the interpreter is ending; the last flush writes the line
                    thread.start()
                    self._thread = thread

    def _work(self) -> None:
        while not self._closed:
            self._wake.get()
            with contextlib.suppress(Empty):  # until the batch has gathered, or `close` cannot wait for it
                self._wake.get(timeout=0 if self._closed else BATCH_SECONDS)
            self._wanted = False  # before the flush: whoever queues a line from now on wakes us again
            self.flush()

    def _rendered(self, count: int) -> str:
        stream = self._target()
        coloured = stream is not None and not self._json and _wants_colour(stream)
        pop = self._lines.popleft
        lines = [_Line._make(pop()) for _ in range(count)]
        if self._dropped and lines:
            dropped, self._dropped = self._dropped, 0
            lines.append(_Line(30, ENGINE_PREFIX, f"{dropped} lines came too fast to be shown", lines[-1].at))
        if self._json:
            return "".join(map(self._as_json, lines))
        return "".join([self._as_text(line, coloured) for line in lines])

    def _as_text(self, line: _Line, coloured: bool) -> str:
        second, micro = divmod(line.at, 1_000_000)
        if second != self._second:
            self._second = second
            self._clock = time.strftime("%H:%M:%S", time.localtime(second))
        level = f"{_NAMES.get(line.level, line.level)!s:<7}"
        if coloured:
            level = f"{_COLOURS.get(line.level // 10 * 10, '')}{level}{_RESET}"
        extra = _as_pairs(line.fields) if line.fields else ""
        return f"{self._clock}.{micro // 1000:03d} | {level} | {line.prefix}{line.message}{extra}\n"

    def _as_json(self, line: _Line) -> str:
        prefix = "" if line.prefix == ENGINE_PREFIX or line.task_run_id else line.prefix
        shown: dict[str, Any] = json.loads(line.fields) if line.fields else {}
        shown |= {
            "time": datetime.fromtimestamp(line.at / 1e6).astimezone().isoformat(timespec="microseconds"),
            "level": _NAMES.get(line.level, str(line.level)),
            "message": prefix + line.message,
            "logger": line.logger,
            "flow_run_id": line.flow_run_id,
            "task_run_id": line.task_run_id,
        }
        return json.dumps(shown, ensure_ascii=False) + "\n"

    def _target(self) -> TextIO | None:
        return self._stream if self._stream is not None else sys.stderr

    def _write(self, text: str) -> None:
        stream = self._target()
        if stream is None or not text:
            return
        with contextlib.suppress(Exception):  # a broken pipe, a closed file, somebody's own object: no run's concern
            try:
                stream.write(text)
            except UnicodeEncodeError:
                code = getattr(stream, "encoding", None) or "ascii"
                stream.write(text.encode(code, "backslashreplace").decode(code))
            stream.flush()


def _as_pairs(fields: str) -> str:
    """The fields that a person wants beside the message."""
    return "".join(f" {key}={value!r}" for key, value in json.loads(fields).items() if key != "attempt")


def _wants_colour(stream: TextIO) -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False
