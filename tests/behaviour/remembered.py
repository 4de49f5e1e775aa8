"""What the open application remembers of runs: read back through its store, oldest first."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from asyncflow.application import Application, chosen_application, default_application
from asyncflow.core.runs import RunFilter, RunRecord, Transition

T = TypeVar("T")


async def stored_runs(**where: Any) -> list[RunRecord]:
    """The runs in the database, oldest first, once everything queued is written."""
    application = await _opened()
    return (await application.store.runs(RunFilter(**where), 1000))[::-1]


def runs(**where: Any) -> list[RunRecord]:
    """As `stored_runs`, from code without a loop."""
    return _run(stored_runs(**where))


def only(**where: Any) -> RunRecord:
    """The one run there is."""
    found = runs(**where)
    assert len(found) == 1, found
    return found[0]


def run_of(spec_name: str) -> RunRecord:
    """The one run of a flow or task."""
    return only(spec_name=spec_name)


def moves(run_id: str) -> list[Transition]:
    """The stored transitions of a run."""

    async def read() -> list[Transition]:
        application = await _opened()
        return await application.store.transitions(run_id)

    return _run(read())


def log_of(spec_name: str) -> list[str]:
    """The messages in the log of the one run of a flow or task."""

    async def read(run_id: str) -> list[str]:
        application = await _opened()
        return [line.message for _, line in await application.store.lines(run_id, 1000)]

    return _run(read(run_of(spec_name).id))


async def _opened() -> Application:
    application = chosen_application() or default_application()
    if not application.is_open:
        await application.start()
    await application.store.flush()
    return application


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)
