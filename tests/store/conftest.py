"""Stores on one file."""

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
    """Opens any number of stores on the test's database; they are closed at its end."""
    stores: list[SQLiteStore] = []
    ids = IdMaker()

    async def opened(**options: Any) -> SQLiteStore:
        values = {"executor_id": ids(), "clock": SystemClock(), "busy_seconds": 5.0, **options}
        store = SQLiteStore(values.pop("path", path), **values)
        stores.append(store)
        await store.open()
        return store

    yield opened
    for store in stores:
        await store.close()


@pytest.fixture
async def store(opened: Opener) -> SQLiteStore:
    """One open store on the test's database."""
    return await opened()
