"""Whoever waits for a process goes on when it is killed: what the dead one computed or held is free at once.

A dead process that was noticed by its silence only would be waited for half a minute: longer than these tests may last.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ..behaviour.outside import Stored, limited
from .programs import kill, running, said

pytestmark = pytest.mark.timeout(25)

FLIGHT = """
import asyncio, sys
from asyncflow import flow, task
from asyncflow.cache_policies import INPUTS

@task(cache_policy=INPUTS)
async def compute(number):
    print("computing", flush=True)
    await asyncio.sleep(float(sys.argv[1]))
    return number * 2

@flow
async def pipeline():
    return await compute(21)

print("ready", flush=True)
sys.stdin.readline()
print(asyncio.run(pipeline()), flush=True)
"""

SLOTS = """
import asyncio, sys
from asyncflow import flow, task
from asyncflow.concurrency.asyncio import concurrency

@task(limits=["api"])
async def by_option():
    print("inside", flush=True)
    await asyncio.sleep(float(sys.argv[2]))

@task
async def by_block():
    async with concurrency("api"):
        print("inside", flush=True)
        await asyncio.sleep(float(sys.argv[2]))

@flow
async def pipeline():
    await {"option": by_option, "block": by_block}[sys.argv[1]]()
    return "done"

print("ready", flush=True)
sys.stdin.readline()
print(asyncio.run(pipeline()), flush=True)
"""


def go(process: subprocess.Popen[str]) -> None:
    """Let a process begin that has loaded what it needs."""
    assert said(process) == "ready"
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds; the test's own timeout bounds the wait."""
    while not condition():
        time.sleep(0.01)


def test_a_computation_that_others_wait_for(home: Path) -> None:
    with running(home, FLIGHT, "600") as first, running(home, FLIGHT, "0") as second:
        go(first)
        assert said(first) == "computing"
        go(second)
        stored = Stored(home)
        until(lambda: stored.states("pipeline") == ["Running", "Running"])
        time.sleep(0.3)  # it stands behind the first one now; nothing in the file says so
        kill(first)
        assert said(second) == "computing"
        assert said(second) == "42"
        assert second.wait() == 0
    assert stored.states("compute")[1] == "Completed"
    assert stored.rows("select count(*) from flight") == [(0,)]


@pytest.mark.parametrize("kind", ["option", "block"])
def test_slots_that_others_wait_for(kind: str, home: Path) -> None:
    limited(home, api=1)
    with running(home, SLOTS, kind, "600") as first, running(home, SLOTS, kind, "0") as second:
        go(first)
        assert said(first) == "inside"
        go(second)
        stored = Stored(home)
        if kind == "option":
            until(lambda: stored.states("by_option") == ["Running", "AwaitingConcurrencySlot"])
        else:
            until(lambda: stored.states("by_block") == ["Running", "Running"])
        kill(first)
        assert said(second) == "inside"
        assert said(second) == "done"
        assert second.wait() == 0
    assert stored.rows("select count(*) from holding") == [(0,)]


def test_the_next_process_is_not_held_up_by_what_a_dead_one_held(home: Path) -> None:
    limited(home, api=1)
    with running(home, SLOTS, "block", "600") as first:
        go(first)
        assert said(first) == "inside"
        kill(first)
    with running(home, SLOTS, "block", "0") as second:
        go(second)
        assert said(second) == "inside"
        assert said(second) == "done"
        assert second.wait() == 0
