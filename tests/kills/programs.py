"""Programs that are there to be killed, each a script of its own; arguments are paths."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TASKS = 200

LEDGER = """
import asyncio, json, os, secrets, sys, time
from asyncflow import as_completed, flow, task

ledger = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def saw(value):
    os.write(ledger, (json.dumps(value) + "\\n").encode())
    os.fsync(ledger)
"""

STREAMED = (
    LEDGER
    + """
@task
async def work(number):
    await asyncio.sleep(0.005)
    return {"number": number, "mark": secrets.token_hex(8)}

@flow
async def pipeline():
    async for value in work.stream(range(200), limit=4):
        saw(value)

asyncio.run(pipeline())
"""
)

MAPPED = (
    LEDGER
    + """
@task
async def work(number):
    await asyncio.sleep(0.005)
    return {"number": number, "mark": secrets.token_hex(8)}

@flow
async def pipeline():
    async for future in as_completed(work.map(range(200), limit=4)):
        saw(await future)

asyncio.run(pipeline())
"""
)

IN_THREADS = (
    LEDGER
    + """
@task
def work(number):
    time.sleep(0.005)
    return {"number": number, "mark": secrets.token_hex(8)}

@flow
def pipeline():
    for value in work.stream(range(200), limit=4):
        saw(value)

pipeline()
"""
)

FAN_OUTS = {"streamed": STREAMED, "mapped": MAPPED, "in threads": IN_THREADS}


@contextmanager
def running(home: Path, source: str, *arguments: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs this script in this home; it is killed at the end, if it has not been before."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", source, *arguments],
        env={**os.environ, "ASYNCFLOW_HOME": str(home), "ASYNCFLOW_LOG_CONSOLE": "off", **settings},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        kill(process)
        process.communicate()


def kill(process: subprocess.Popen[str]) -> None:
    """`kill -9`."""
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def said(process: subprocess.Popen[str]) -> str:
    """The next line that the process prints; its errors if it ended instead."""
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline().rstrip("\n")
    assert line, process.stderr.read()
    return line
