"""What the database says to a connection that knows nothing of asyncflow, and programs that run beside the test."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog  # noqa: F401  # loaded here, so that the first line of a run blocks no watched loop

from asyncflow import task
from asyncflow.ports import LimitRecord

from ..colours import Body, Colour


class Stored:
    """The default application's database in the home folder, seen from outside."""

    def __init__(self, home: Path) -> None:
        self.path = home / "asyncflow.db"

    def rows(self, sql: str, *given: Any) -> list[Any]:
        """What a query gives, one tuple per row."""
        raw = sqlite3.connect(self.path, timeout=10)
        try:
            found = raw.execute(sql, given).fetchall()
            raw.commit()
            return found
        finally:
            raw.close()

    def run(self, name: str) -> dict[str, Any]:
        """The only run with this name, or of the flow or task with this name."""
        raw = sqlite3.connect(self.path, timeout=10)
        raw.row_factory = sqlite3.Row
        try:
            rows = raw.execute("select * from run where name = ? or spec_name = ? or id = ?", (name,) * 3).fetchall()
        finally:
            raw.close()
        assert len(rows) == 1, f"{len(rows)} runs are named {name!r}"
        return dict(rows[0])

    def states(self, spec_name: str) -> list[str]:
        """The present state names of all runs of a flow or task, in the order in which they were made."""
        return [row[0] for row in self.rows("select state_name from run where spec_name = ? order by id", spec_name)]

    def history(self, name: str) -> list[tuple[str, int]]:
        """The states that a run went through, each with its attempt."""
        run_id = self.run(name)["id"]
        sql = "select state_name, attempt from transition where run_id = ? order by seq"
        return [(state, attempt) for state, attempt in self.rows(sql, run_id)]

    def lines(self, name: str) -> list[str]:
        """The messages in the log of one run."""
        sql = "select message from log where run_id = ? order by id"
        return [row[0] for row in self.rows(sql, self.run(name)["id"])]


def holding(colour: Colour, gate: threading.Event) -> Any:
    """A task that gives its argument back once the gate is open."""

    @task(name="hold")
    @colour.body
    def hold(value: Any = None) -> Body[Any]:
        while not gate.is_set():
            yield colour.sleep(0.002)
        return value

    return hold


async def until(condition: Callable[[], object]) -> None:
    """Return once the condition holds; the test's own timeout bounds the wait."""
    while not condition():
        await asyncio.sleep(0.002)


def limited(home: Path, **slots: int) -> None:
    """Write concurrency limits into the default application's database, as another process would."""
    from asyncflow.core.clock import SystemClock
    from asyncflow.store.sqlite import SQLiteStore

    async def write() -> None:
        home.mkdir(parents=True, exist_ok=True)
        store = SQLiteStore(home / "asyncflow.db", executor_id="author", clock=SystemClock())
        await store.open()
        for name, number in slots.items():
            await store.set_limit(LimitRecord(name.replace("__", ":"), number))
        await store.close()

    asyncio.run(write())


def program(home: Path, source: str, *arguments: str, seconds: float = 30, complains: str = "") -> str:
    """Run a script in a Python of its own and give what it printed; hanging, failing and complaining fail the test."""
    ended = subprocess.run(
        [sys.executable, "-c", source, *arguments],
        env={**os.environ, "ASYNCFLOW_HOME": str(home), "ASYNCFLOW_LOG_CONSOLE": "off"},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, complains), ended.stderr
    return ended.stdout


def beside(home: Path, source: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a script in a Python of its own, to be talked to through its pipes."""
    return subprocess.Popen(
        [sys.executable, "-u", "-c", source, *arguments],
        env={**os.environ, "ASYNCFLOW_HOME": str(home), "ASYNCFLOW_LOG_CONSOLE": "off"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
