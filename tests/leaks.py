"""What a test must not leave behind: threads that keep the interpreter alive, and asyncio tasks that nobody awaits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Iterable

GRACE = 1.0
"""Seconds in which a thread or a task that is about to end may do so."""


async def leftover_tasks(known: Iterable[asyncio.Task[object]]) -> list[asyncio.Task[object]]:
    """The pending tasks of the running loop that are not `known`, once those that are ending have ended."""
    ignored = {*known, asyncio.current_task()}
    until = time.monotonic() + GRACE
    while left := [task for task in asyncio.all_tasks() if task not in ignored]:
        if time.monotonic() > until:
            return left
        await asyncio.sleep(0.002)
    return []


async def without_leaks(body: Awaitable[object]) -> object:
    """Await `body`; an AssertionError names the asyncio tasks that it left pending."""
    known = asyncio.all_tasks()
    value = await body
    left = await leftover_tasks(known)
    assert not left, f"asyncio tasks were left pending: {left}"
    return value


def leftover_threads(known: Iterable[threading.Thread]) -> list[threading.Thread]:
    """The threads, not `known` and no daemons, that are still alive after a moment to end in."""
    ignored = set(known)
    until = time.monotonic() + GRACE
    for thread in threading.enumerate():
        if thread not in ignored and not thread.daemon:
            thread.join(max(0.0, until - time.monotonic()))
    return [thread for thread in threading.enumerate() if thread not in ignored and not thread.daemon]
