"""Log lines: queued with the runs, read in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.runs import LogLine, RunId
from .queries import SQL
from .room import Room


class LogLines(Room):
    """The log lines of runs."""

    @property
    def dropped_lines(self) -> int:
        """How many lines were dropped because too many were queued, or because they could not be written."""
        return self._writer.dropped_lines

    def put_lines(self, lines: Sequence[LogLine]) -> None:
        """Queue log lines; at most 10,000 wait at a time, what is beyond is dropped and counted."""
        self._writer.put_lines(lines)

    async def lines(self, run_id: RunId, limit: int, after: int = 0, level: int = 0) -> list[tuple[int, LogLine]]:
        """Log lines of a flow run with its tasks, or of one task run, in order, each with its number."""
        given: dict[str, Any] = {"run_id": run_id, "limit": limit, "after": after, "level": level}
        rows = await self._read(lambda raw: raw.execute(SQL["lines"], given).fetchall())
        return [(number, LogLine(*rest)) for number, *rest in rows]
