"""Every backend, behind one fixture."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from asyncflow.core.clock import SystemClock
from asyncflow.store.sqlite import SQLiteStore


@pytest.fixture(params=["memory", "file"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    """An open store of executor "me"."""
    path = ":memory:" if request.param == "memory" else tmp_path / "runs.db"
    opened = SQLiteStore(path, executor_id="me", clock=SystemClock(), busy_seconds=5)
    await opened.open()
    yield opened
    await opened.close()
