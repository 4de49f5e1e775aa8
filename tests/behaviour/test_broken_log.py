"""A write that cannot even be queued: the run is not reported Completed, and nobody waits for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncflow import Application, flow, task
from asyncflow.context import current_frame
from asyncflow.core.runs import RunWrite
from asyncflow.exceptions import CancelledRun


@task
async def one() -> int:
    return 1


async def test_a_task_whose_write_cannot_be_queued_is_not_completed(tmp_path: Path) -> None:
    async with Application(database=tmp_path / "x.db") as application:
        put = application.store.put

        def broken(write: RunWrite) -> None:
            if write.row[1] == "task":
                raise ValueError("cannot be queued")
            put(write)

        @flow
        async def pipeline() -> str:
            application.store.put = broken  # type: ignore[method-assign]
            future = one.submit()
            with pytest.raises(ValueError, match="cannot be queued"):
                await future
            return future.state.name

        assert await pipeline() == "Failed"


async def test_what_is_cancelled_before_it_began_ends_though_its_owner_lost_the_run(tmp_path: Path) -> None:
    async with Application(database=tmp_path / "x.db"):

        @flow(unobserved="ignore")
        async def pipeline() -> None:
            frame = current_frame()
            assert frame is not None
            future = one.submit()
            frame.run.owner.lost = True
            future.cancel("not needed")
            try:
                with pytest.raises(CancelledRun, match="not needed"):
                    await future
            finally:
                frame.run.owner.lost = False

        await pipeline()
