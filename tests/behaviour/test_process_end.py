"""How a process ends, and how it forks: what was promised is stored, and nothing is said on the way out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .outside import Stored, beside, program

HEAD = """
import asyncio, os, sys, threading, time
from asyncflow import flow, task

@task
async def leave_slowly():
    await asyncio.sleep(30)

@task
def add(number):
    return number + 1

async def leaving():
    await asyncio.sleep(0.05)
    return 4
"""


def ended(home: Path, source: str) -> subprocess.CompletedProcess[str]:
    """A script in a Python of its own that may fail, with its warnings as errors."""
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", HEAD + source],
        env={**os.environ, "ASYNCFLOW_HOME": str(home), "ASYNCFLOW_LOG_CONSOLE": "off"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


# -- the end of a script ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("@flow\ndef f():\n    add(1)\nf()", 0),
        ("@flow\nasync def f():\n    add.submit(1)\nasyncio.run(f())", 0),
        ("@flow\ndef f():\n    sys.exit(3)\nf()", 3),
        ("@flow\ndef f():\n    leave_slowly.submit()\n    time.sleep(0.05)\n    sys.exit(4)\nf()", 4),
        ("@flow\nasync def f():\n    sys.exit(3)\nasyncio.run(f())", 3),
        ("@flow\nasync def f():\n    leave_slowly.submit()\n    sys.exit(await leaving())\nasyncio.run(f())", 4),
    ],
    ids=["sync", "async", "exit", "exit-with-children", "async-exit", "async-exit-with-children"],
)  # fmt: skip
def test_a_script_ends_with_its_own_code_and_no_word(home: Path, source: str, code: int) -> None:
    script = ended(home, source)
    assert (script.returncode, script.stderr) == (code, "")
    assert Stored(home).states("f") == ["Cancelled" if code else "Completed"]
    assert set(Stored(home).states("leave-slowly")) <= {"Cancelled"}


def test_a_script_that_raises_shows_its_own_traceback_alone(home: Path) -> None:
    script = ended(home, "@flow\ndef f():\n    raise ValueError('mine')\nf()")
    assert script.returncode == 1
    assert script.stderr.count("Traceback") == 1
    assert script.stderr.endswith("ValueError: mine\n")
    assert Stored(home).states("f") == ["Failed"]


@pytest.mark.parametrize(
    "body",
    ["def f():\n    began.set()\n    time.sleep(60)", "async def f():\n    began.set()\n    await leave_slowly()"],
)
def test_a_flow_in_a_daemon_thread_does_not_keep_the_process(home: Path, body: str) -> None:
    run = "asyncio.run(f())" if body.startswith("async") else "f()"
    script = ended(
        home,
        f"began = threading.Event()\n@flow\n{body}\n"
        f"threading.Thread(target=lambda: {run}, daemon=True).start()\nbegan.wait()",
    )
    assert (script.returncode, script.stderr) == (0, "")


@pytest.mark.parametrize("how", ["async def", "def"])
def test_what_was_submitted_outside_any_run_is_awaited_at_the_end(home: Path, how: str) -> None:
    pause = "await asyncio.sleep(0.2)" if how == "async def" else "time.sleep(0.2)"
    script = ended(
        home, f"@task\n{how} last():\n    {pause}\n    print('done')\n    return b'x' * 100_000\nlast.submit()"
    )
    assert (script.returncode, script.stdout, script.stderr) == (0, "done\n", "")
    assert Stored(home).states("last") == ["Completed"]


def test_the_keyboard_ends_that_wait_and_cancels(home: Path) -> None:
    process = beside(
        home,
        HEAD
        + """
def in_the_wait():
    frame, names = sys._current_frames()[threading.main_thread().ident], []
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    return "_await_submitted" in names and "result" in names

@task
async def last():
    while not in_the_wait():
        await asyncio.sleep(0.001)
    print('began')
    await leave_slowly()

last.submit()
""",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "began\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert Stored(home).states("last") == ["Cancelled"]


def test_the_keyboard_that_ends_a_script_cancels_what_it_submitted(home: Path) -> None:
    script = beside(
        home,
        HEAD
        + """
@task
async def last():
    print('began')
    await asyncio.sleep(60)

last.submit()
raise KeyboardInterrupt
""",
    )
    script.communicate(timeout=20)
    assert Stored(home).states("last") == ["Cancelled"]


# -- forks ------------------------------------------------------------------------------------------------------------


def test_a_forked_child_opens_its_own_default_application(home: Path) -> None:
    said = program(
        home,
        HEAD
        + """
@flow
def f(number):
    return add(number)

f(0)
pid = os.fork()
if pid == 0:
    print(f(1), f(2), flush=True)
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
print(f(3))
""",
    )
    assert said == "2 3\n4\n"
    assert Stored(home).states("f") == ["Completed"] * 4


def test_a_process_forked_inside_a_run_is_outside_of_it(home: Path) -> None:
    said = program(
        home,
        HEAD
        + """
import multiprocessing

def child():
    print(add(1), flush=True)

@flow
def f():
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(20)
    return process.exitcode

print(f())
""",
    )
    assert said == "2\n0\n"
    assert Stored(home).rows("select parent_id from run where spec_name = 'add'") == [(None,)]
