"""asyncflow: an asyncio-native workflow engine that lives inside your process."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .application import Application as Application
    from .context import branch as branch
    from .context import current_run as current_run
    from .context import tags as tags
    from .core.annotations import allow_failure as allow_failure
    from .core.annotations import quote as quote
    from .core.annotations import unmapped as unmapped
    from .flows import Flow as Flow
    from .flows import flow as flow
    from .futures import Future as Future
    from .futures import FutureList as FutureList
    from .futures import as_completed as as_completed
    from .futures import gather as gather
    from .futures import wait as wait
    from .logging import get_run_logger as get_run_logger
    from .settings import Settings as Settings
    from .states import State as State
    from .tasks import Task as Task
    from .tasks import exponential_backoff as exponential_backoff
    from .tasks import task as task
    from .tasks import task_input_hash as task_input_hash
    from .version import __version__ as __version__

_ROOMS = {
    "Application": "application",
    "Flow": "flows",
    "Future": "futures",
    "FutureList": "futures",
    "Settings": "settings",
    "State": "states",
    "Task": "tasks",
    "__version__": "version",
    "allow_failure": "core.annotations",
    "as_completed": "futures",
    "branch": "context",
    "current_run": "context",
    "exponential_backoff": "tasks",
    "flow": "flows",
    "gather": "futures",
    "get_run_logger": "logging",
    "quote": "core.annotations",
    "tags": "context",
    "task": "tasks",
    "task_input_hash": "tasks",
    "unmapped": "core.annotations",
    "wait": "futures",
}
"""Where each public name lives; it is fetched when it is first asked for."""

__all__ = [
    "Application",
    "Flow",
    "Future",
    "FutureList",
    "Settings",
    "State",
    "Task",
    "__version__",
    "allow_failure",
    "as_completed",
    "branch",
    "current_run",
    "exponential_backoff",
    "flow",
    "gather",
    "get_run_logger",
    "quote",
    "tags",
    "task",
    "task_input_hash",
    "unmapped",
    "wait",
]


if not TYPE_CHECKING:  # to a type checker, a name that is not there must be an error

    def __getattr__(name: str) -> Any:
        room = _ROOMS.get(name)
        if room is None:
            raise AttributeError(f"module 'asyncflow' has no attribute {name!r}")
        value = getattr(importlib.import_module(f".{room}", __name__), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
