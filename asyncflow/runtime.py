"""What a run knows about itself, by attribute: `asyncflow.runtime.flow_run.id` and the like."""

from __future__ import annotations

from typing import Any

from .context import Frame, current_frame
from .core.runs import Run


class _RunView:
    """The run of the frame that the reading code stands in; outside one, everything is empty."""

    __slots__ = ()

    def _frame(self) -> Frame | None:
        raise NotImplementedError

    def _run(self) -> Run | None:
        frame = self._frame()
        return frame.run if frame is not None else None

    @property
    def id(self) -> str | None:
        """The run's id."""
        run = self._run()
        return run.id if run is not None else None

    @property
    def name(self) -> str | None:
        """The run's readable name."""
        run = self._run()
        return run.name if run is not None else None

    @property
    def tags(self) -> list[str]:
        """The run's tags, sorted."""
        run = self._run()
        return sorted(run.tags) if run is not None else []

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments that the body was called with, by name."""
        frame = self._frame()
        return dict(frame.arguments) if frame is not None else {}

    @property
    def run_count(self) -> int:
        """Which attempt this is, from 1; 0 outside a run."""
        run = self._run()
        return run.attempt if run is not None else 0


class FlowRunView(_RunView):
    """The flow run around the reading code: its own, or the one that its task belongs to."""

    __slots__ = ()

    def _frame(self) -> Frame | None:
        frame = current_frame()
        return frame.flow if frame is not None else None

    @property
    def flow_name(self) -> str | None:
        """The name of the run's flow."""
        run = self._run()
        return run.spec_name if run is not None else None

    @property
    def parent_flow_run_id(self) -> str | None:
        """The id of the flow run that called this one; None for an outermost one."""
        run = self._run()
        outer = _enclosing_flow(run) if run is not None else None
        return outer.id if outer is not None else None

    @property
    def root_flow_run_id(self) -> str | None:
        """The id of the outermost flow run above this one; its own if it is outermost."""
        run = self._run()
        if run is None:
            return None
        while (outer := _enclosing_flow(run)) is not None:
            run = outer
        return run.id


class TaskRunView(_RunView):
    """The task run whose body the reading code is."""

    __slots__ = ()

    def _frame(self) -> Frame | None:
        frame = current_frame()
        return frame if frame is not None and frame.run.kind == "task" else None

    @property
    def task_name(self) -> str | None:
        """The name of the run's task."""
        run = self._run()
        return run.spec_name if run is not None else None


def _enclosing_flow(run: Run) -> Run | None:
    outer = run.parent
    while outer is not None and outer.kind != "flow":
        outer = outer.parent
    return outer


flow_run = FlowRunView()
task_run = TaskRunView()
