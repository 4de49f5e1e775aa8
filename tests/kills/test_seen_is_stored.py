"""What a flow has seen is in the database, however its process ended: 30 kills in the middle of a fan-out."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from .programs import FAN_OUTS, TASKS, kill, running

ROUNDS = 30
AT_ONCE = 2


def seen_before_the_kill(folder: Path, program: str, line: int, **settings: str) -> list[dict[str, Any]]:
    """Start a fan-out, kill it when its ledger has so many lines, and give what the ledger says it has seen."""
    ledger = folder / "ledger"
    ledger.touch()
    with running(folder / "home", program, str(ledger), **settings) as process:
        while ledger.read_bytes().count(b"\n") < line and process.poll() is None:
            time.sleep(0.0005)
        kill(process)
        if process.returncode != -9:
            assert process.stderr is not None
            assert process.returncode == 0, process.stderr.read()
    return [json.loads(row) for row in ledger.read_text().splitlines(keepends=True) if row.endswith("\n")]


def rows(home: Path, sql: str) -> list[tuple[Any, ...]]:
    """What the file says to somebody who knows nothing of asyncflow."""
    database = sqlite3.connect(home / "asyncflow.db", timeout=10)
    try:
        return database.execute(sql).fetchall()
    finally:
        database.close()


def killed_halfway(folder: Path, number: int) -> tuple[Path, list[dict[str, Any]]]:
    """A round that counts: something was seen, but not all. What was seen, and the home it happened in."""
    chance = random.Random(number)
    program = list(FAN_OUTS.values())[number % len(FAN_OUTS)]
    for attempt in range(5):
        place = folder / f"{number}.{attempt}"
        place.mkdir()
        seen = seen_before_the_kill(place, program, chance.randint(10, 190))
        if 0 < len(seen) < TASKS:
            return place / "home", seen
    raise AssertionError("the fan-out always ended before it could be killed")


def broken_promises(folder: Path, number: int) -> list[str]:
    """One round; what of it does not hold."""
    home, seen = killed_halfway(folder, number)
    found = rows(home, "select state_type, codec, data from run where kind = 'task' and data is not null")
    stored = {data.decode(): (state, codec) for state, codec, data in found}
    wrong = [
        f"round {number}: {value} was seen, and is not in the database as Completed"
        for value in seen
        if stored.get(json.dumps(value, separators=(",", ":"))) != ("COMPLETED", "json")
    ]
    if (whole := rows(home, "pragma integrity_check")) != [("ok",)]:
        wrong.append(f"round {number}: the database is not whole: {whole}")
    flows = rows(home, "select state_type from run where kind = 'flow'")
    if flows not in ([("RUNNING",)], [("PENDING",)]):
        wrong.append(f"round {number}: the flow was killed, and is {flows}")
    return wrong


LONG = pytest.param(500, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])


@pytest.mark.timeout(240)
@pytest.mark.parametrize("rounds", [ROUNDS, LONG])
def test_what_was_seen_is_stored(tmp_path: Path, rounds: int) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(partial(broken_promises, tmp_path), range(rounds))
        wrong = [line for lines in found for line in lines]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", FAN_OUTS)
def test_what_was_seen_in_files_is_stored(name: str, tmp_path: Path) -> None:
    seen = seen_before_the_kill(tmp_path, FAN_OUTS[name], 30, ASYNCFLOW_RESULT_INLINE_BYTES="10")
    assert len(seen) >= 30
    digests = rows(tmp_path / "home", "select state_type, digest from run where kind = 'task' and digest is not null")
    files = {path.name: path for path in (tmp_path / "home" / "asyncflow.db.results").rglob("*") if path.is_file()}
    stored = {files[digest].read_text() for state, digest in digests if state == "COMPLETED"}
    assert {json.dumps(value, separators=(",", ":")) for value in seen} <= stored


@pytest.mark.parametrize("name", FAN_OUTS)
def test_the_next_process_finds_the_database_whole_and_goes_on(name: str, tmp_path: Path) -> None:
    seen = seen_before_the_kill(tmp_path, FAN_OUTS[name], 20)
    assert len(seen) >= 20
    home = tmp_path / "home"
    with running(home, FAN_OUTS[name], str(tmp_path / "second ledger")) as process:
        _, errors = process.communicate(timeout=50)
        assert process.returncode == 0, errors
    command = [sys.executable, "-m", "asyncflow", "db", "check", "-o", "json"]
    checked = subprocess.run(
        command, env={"ASYNCFLOW_HOME": str(home)}, capture_output=True, text=True, check=True, timeout=50
    )
    assert json.loads(checked.stdout)["problems"] == []
    (completed,) = rows(home, "select count(*) from run where kind = 'task' and state_type = 'COMPLETED'")[0]
    assert completed >= len(seen) + TASKS
