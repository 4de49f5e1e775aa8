"""What the engine says to people about runs: on the console, and in the run's log where it matters later."""

from __future__ import annotations

import logging
from typing import Any

from ..core.runs import LogLine, Run
from ..ports import Surroundings
from ..states import State
from .calls import Call

LEVELS = {"COMPLETED": logging.INFO, "CANCELLED": logging.WARNING, "PAUSED": logging.INFO}


class Voice:
    """Lines about runs, in the words that users of the field know."""

    def __init__(self, application: Surroundings) -> None:
        self._application = application

    def created(self, call: Call[Any]) -> None:
        """A flow run was made."""
        console = self._application.console
        if console is not None:
            kind = "flow run" if call.parent is None else "subflow run"
            message = f"Created {kind} {call.run.name!r} for flow {call.spec.name!r}"
            console.line(logging.INFO, "asyncflow.engine - ", message, call.run.created_at)

    def ended(self, run: Run, state: State[Any]) -> None:
        """A run came to its final state."""
        console = self._application.console
        if console is not None:
            level = LEVELS.get(state.type.value, logging.ERROR)
            at = state.timestamp or self._application.clock.now()
            console.line(level, _prefix(run), f"Finished in state {state!r}", at)

    def retrying(self, run: Run, seconds: float | None) -> None:
        """An attempt failed and another one follows."""
        when = "now" if seconds is None else f"in {seconds:.1f} seconds"
        self._say(run, logging.INFO, f"Retrying {when}...")

    def warn(self, run: Run, message: str) -> None:
        """Something that the author should know; kept in the run's log too."""
        self._say(run, logging.WARNING, message)

    def _say(self, run: Run, level: int, message: str) -> None:
        application = self._application
        at = application.clock.now()
        if application.console is not None:
            application.console.line(level, _prefix(run), message, at)
        flow_run_id = run.id if run.kind == "flow" else run.flow_run_id
        application.store.put_lines([LogLine(run.id, flow_run_id, at, level, "asyncflow.engine", message)])


def _prefix(run: Run) -> str:
    return f"{'Flow' if run.kind == 'flow' else 'Task'} run {run.name!r} - "
