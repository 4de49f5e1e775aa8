"""A frame of a run that never ran, for tests of what looks at the frame only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

from asyncflow.console import Console
from asyncflow.context import Frame, enter_frame, leave_frame
from asyncflow.core.runs import Kind, LogLine, Ownership, Run
from asyncflow.settings import Settings
from asyncflow.specs import FlowSpec, TaskSpec
from asyncflow.states import Running

AT = 1_700_000_000_000_000


class FakeApplication:
    """Keeps log lines in a list; its clock stands still."""

    def __init__(self, console: Console | None = None, **settings: Any) -> None:
        self.settings = Settings.load(database=":memory:", **settings)
        self.clock = SimpleNamespace(now=lambda: AT, monotonic=lambda: 0.0)
        self.console = console
        self.lines: list[LogLine] = []
        self.store = SimpleNamespace(put_lines=self.put_lines)

    def put_lines(self, lines: Sequence[LogLine]) -> None:
        self.lines.extend(lines)


def frame_of(
    application: FakeApplication,
    kind: Kind = "task",
    *,
    id: str = "t1",
    name: str = "fetch",
    parent: Frame | None = None,
    arguments: Mapping[str, Any] | None = None,
    tags: tuple[str, ...] = (),
) -> Frame:
    """A frame of a fresh run in its first attempt, below the run of `parent`."""
    run = Run(id, kind, name, f"{name}-spec", f"tests:{name}", Running(), AT)
    run.attempt = 1
    run.tags = frozenset(tags)
    run.owner = Ownership(id, 1, "executor")
    if parent is not None:
        run.parent = parent.run
        run.flow_run_id = parent.flow_run.id if parent.flow_run is not None else None
    kind_of_spec = FlowSpec if kind == "flow" else TaskSpec
    spec = kind_of_spec(
        fn=frame_of, name=run.spec_name, key=run.spec_key, is_async=False, is_generator=False, binder=cast("Any", None)
    )
    loop = cast("asyncio.AbstractEventLoop", None)
    return Frame(run, spec, cast("Any", application), parent, loop, arguments or {})


@contextmanager
def standing_in(frame: Frame) -> Iterator[Frame]:
    """Run what is inside as if it were the body of the frame's run."""
    token = enter_frame(frame)
    try:
        yield frame
    finally:
        leave_frame(token)
