"""Opening the database for one command: by settings, beside whoever runs flows in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from .screen import Screen

if TYPE_CHECKING:
    from ..settings import Settings
    from ..store.visit import Visit

T = TypeVar("T")


class NotFound(click.ClickException):
    """What was asked for is not there."""

    exit_code = 3


def settings_of(screen: Screen) -> Settings:
    """The settings that hold for this command."""
    from ..settings import Settings

    return Settings.load(database=screen.database)


def visit(screen: Screen, work: Callable[[Visit], Awaitable[T]], *, writes: bool = False, makes: bool = False) -> T:
    """What `work` gives with the database open; `writes`: it changes something; `makes`: the database may be new."""
    from ..core.clock import SystemClock
    from ..settings import MEMORY
    from ..store.visit import Visit

    settings = settings_of(screen)
    if settings.database == MEMORY:
        raise NotFound("A database in memory ends with its process; name one in a file with --database PATH.")
    if not makes and not Path(settings.database).exists():
        raise NotFound(
            f"There is no database {settings.database} yet; run a flow (or `asyncflow demo`) to make it, "
            "or name another with --database PATH."
        )

    opening = Visit(settings.database, clock=SystemClock(), busy_seconds=settings.busy_seconds, writes=writes)

    async def visiting() -> T:
        async with opening as store:
            return await work(store)

    return asyncio.run(visiting())
