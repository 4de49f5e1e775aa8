"""`asyncflow demo`: a real job with a checked end, and a second one from the cache."""

from __future__ import annotations

import ast
import asyncio
import json
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

import pytest

from asyncflow.cli import demo, demo_count, demo_site
from asyncflow.cli.demo_flows import Source, add_up, parse
from asyncflow.cli.screen import Screen

COMMAND = [sys.executable, "-m", "asyncflow"]
PROGRAM = b"""
import os.path, sys
from . import near
from json import loads
class A:
    async def method(self):
        def inner(): import os
        return lambda: 1
if True:
    try: pass
    except ValueError:
        def other(): pass
match sys.argv:
    case []:
        class B: pass
"""


def _run(*arguments: str) -> str:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_demo_is_right_and_the_second_is_from_the_cache() -> None:
    assert "task runs  121, 0 of them answered from the cache" in _run("demo", "--once", "--files", "60")
    text = _run("demo", "--once", "--files", "60")
    assert "task runs  121, 120 of them answered from the cache" in text
    first, second = json.loads(_run("flow-run", "ls", "--flow", "survey-library", "-o", "json"))
    assert first["state"] == second["state"] == "COMPLETED"
    assert f"asyncflow flow-run inspect {first['id']}" in text
    for run, cached in ((first, 120), (second, 0)):
        tasks = json.loads(_run("task-run", "ls", "--flow-run", run["id"], "--limit", "1000", "-o", "json"))
        assert Counter(task["state_name"] == "Cached" for task in tasks) == Counter({True: cached, False: 121 - cached})
        told = json.loads(_run("flow-run", "inspect", run["id"], "-o", "json"))
        assert told["result"]["files"] == 60
        assert told["task_runs"] == {"COMPLETED": 121}
    retried = [task for task in tasks if task["attempts"] > 1]
    assert retried, "no request was refused, so that nothing was retried"


def test_a_wrong_figure_is_found() -> None:
    modules = [parse.fn(_source(), _page(PROGRAM))]
    totals = asyncio.run(add_up.fn(modules))
    counted = {"files": 1, "size": len(PROGRAM), "functions": 3, "classes": 2}
    counted |= {"import os": 2, "import sys": 1, "import json": 1}
    run = _Completed()
    outcome = demo.Outcome(totals, run, {"COMPLETED": 3}, 0, 2, 2, 1.0, counted)  # type: ignore[arg-type]
    assert demo._wrong(outcome, 1) == []
    outcome.counted = {**counted, "functions": 4, "import re": 1}
    assert demo._wrong(outcome, 1) == ["A count without the flow differs in: functions, import re."]
    outcome.counted, outcome.retries, outcome.states = counted, 1, {"COMPLETED": 2, "FAILED": 1}
    run.state_type, run.state_name = "FAILED", "TimedOut"
    assert len(demo._wrong(outcome, 2)) == 4


class _Completed:
    state_type, state_name = "COMPLETED", "Completed"


def _source() -> Source:
    return Source("x.py", len(PROGRAM), 0)


def _page(program: bytes) -> bytes:
    return zlib.compress(program)


def test_both_counts_see_every_statement(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_bytes(PROGRAM)
    (tmp_path / "bad.py").write_bytes(b"print 1")
    counted = demo_count.count(tmp_path, ["x.py", "bad.py"])
    nodes = Counter(type(node).__name__ for node in ast.walk(ast.parse(PROGRAM)))
    assert counted["functions"] == nodes["FunctionDef"] + nodes["AsyncFunctionDef"] == 3
    assert counted["classes"] == nodes["ClassDef"] == 2
    assert counted["invalid"] == 1
    assert not parse.fn(_source(), _page(b"print 1")).valid


@pytest.mark.blocks_loop
async def test_the_site_fails_now_and_then_but_not_for_ever(tmp_path: Path) -> None:
    paths = [f"{number}.py" for number in range(40)]
    for path in paths:
        (tmp_path / path).write_text(path)
    refused = []
    async with demo_site.Site(tmp_path, paths) as site, demo_site.Client(site.url) as client:
        for path in paths:
            answers = [await _answer(client, f"/files/{path}") for _ in range(demo_site.SURE)]
            assert answers[-1] == "200", "refused to the end"
            refused += [answer for answer in answers if answer == "503"]
        assert site.refused == len(refused) > 0
        outside = [await _answer(client, "/files/../secret") for _ in range(demo_site.SURE)]
        assert outside[-1] == "404"
        assert len(client._idle) == 1, "the connection is not kept"


async def _answer(client: demo_site.Client, target: str) -> str:
    try:
        await client.get(target)
    except demo_site.SiteError as error:
        return str(error).split()[1]
    return "200"


def test_the_demo_names_a_command_that_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not on the PATH (a virtual environment that was not activated) is named by its path."""
    program = tmp_path / "bin" / "asyncflow"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    screen = Screen()
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr("sys.argv", [str(program), "demo"])
    assert demo._command(screen) == "asyncflow"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert demo._command(screen) == str(program)
    monkeypatch.setattr("sys.argv", ["/usr/lib/asyncflow/__main__.py", "demo"])
    assert demo._command(Screen("my runs.db")) == "asyncflow --database 'my runs.db'"
