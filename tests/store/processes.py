"""Other Python processes that use the same database."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

HEAD = """
import asyncio, sys
from asyncflow.core.clock import SystemClock
from asyncflow.core.ids import IdMaker
from asyncflow.ports import Holding, LimitRecord
from asyncflow.store.sqlite import SQLiteStore
store = SQLiteStore(sys.argv[1], executor_id=sys.argv[2], clock=SystemClock())
"""


async def started(path: Path, executor_id: str, body: str) -> Process:
    """A process that runs `body` (the inside of an async function) with a `store` of that executor."""
    code = HEAD + "async def main():\n" + "".join(f"    {row}\n" for row in body.splitlines()) + "asyncio.run(main())\n"
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "ignore::DeprecationWarning",
        "-c",
        code,
        str(path),
        executor_id,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )


async def said(process: Process) -> str:
    """The next line that the process prints; its error output if it ended instead."""
    assert process.stdout is not None
    heard = (await process.stdout.readline()).decode().strip()
    if not heard:
        _, errors = await process.communicate()
        raise AssertionError(errors.decode())
    return heard
