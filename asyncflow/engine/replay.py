"""What has finished is not run again: calls of a retried flow run are answered from its journal, by identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.runs import RunId, RunRecord
from ..exceptions import MissingResult, ResultError
from ..ports import Journaled, Results
from ..states import State, StateType
from .calls import Call


class Replay:
    """The finished calls of one flow run; outcomes are loaded when they are asked for."""

    def __init__(self, log: Journaled, results: Results, finished: Mapping[str, RunRecord]) -> None:
        self._log = log
        self._results = results
        self._finished = finished

    @classmethod
    async def of(cls, log: Journaled, results: Results, flow_run_id: RunId) -> Replay:
        """The journal of a flow run: of equal identities the latest, and only what completed with its result kept."""
        records = await log.finished(flow_run_id)
        completed = {
            key: record
            for key, record in records.items()
            if record.state_type is StateType.COMPLETED and record.codec is not None
        }
        return cls(log, results, completed)

    async def answer(self, call: Call[Any]) -> State[Any] | None:
        """The state in which this very call ended before, as that run; None if it has to run."""
        record = self._finished.get(call.key) if call.key is not None else None
        if record is None:
            return None
        kept = await self._log.stored_value(record.id)
        if kept is None:
            return None
        try:
            value = self._results.decode(kept)
        except (MissingResult, ResultError):
            return None
        run = call.run
        run.id, run.name, run.attempt = record.id, record.name, record.attempt
        run.created_at, run.started_at, run.ended_at = record.created_at, record.started_at, record.ended_at
        run.result = kept
        run.state = State(
            record.state_type, record.state_name, record.state_message, value, record.ended_at or 0, run.id
        )
        run.queued = run.state
        call.replayed = True
        return run.state
