"""Stores for tests of the engine's parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from asyncflow.core.clock import SystemClock
from asyncflow.core.ids import IdMaker
from asyncflow.store.sqlite import SQLiteStore

Opener = Callable[..., Awaitable[SQLiteStore]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the test's database is."""
    return tmp_path / "data" / "runs.db"


@pytest.fixture
async def opened(path: Path) -> AsyncIterator[Opener]:
    """Opens any number of stores on the test's database, or on another path; they are closed at its end."""
    stores: list[SQLiteStore] = []
    ids = IdMaker()

    async def opened(where: Path | str = path, **options: Any) -> SQLiteStore:
        store = SQLiteStore(where, **{"executor_id": ids(), "clock": SystemClock(), "busy_seconds": 10.0, **options})
        stores.append(store)
        await store.open()
        return store

    yield opened
    for store in stores:
        await store.close()


@pytest.fixture(params=["memory", "file"])
async def store(request: pytest.FixtureRequest, opened: Opener, path: Path) -> SQLiteStore:
    """An open store, in memory and in a file."""
    return await opened(":memory:" if request.param == "memory" else path)
