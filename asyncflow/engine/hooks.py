"""Calling the functions that an author wants told about a run's states."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from ..core.runs import Run
from ..specs import RunSpec
from ..states import State, StateType

ENDINGS = {
    StateType.COMPLETED: "completion",
    StateType.FAILED: "failure",
    StateType.CANCELLED: "cancellation",
    StateType.CRASHED: "crashed",
}


def ending_hooks(spec: RunSpec, state: State[Any]) -> list[Callable[..., Any]]:
    """The hooks that want to hear of this final state; none for a state that is not final (a body may return one)."""
    return list(spec.hooks.get(ENDINGS.get(state.type, ""), ()))


async def call_hooks(
    hooks: list[Callable[..., Any]],
    spec: RunSpec,
    run: Run,
    state: State[Any],
    report: Callable[[Callable[..., Any], Exception], None],
) -> None:
    """Call each hook in turn; an error in one goes to `report`, and the rest run."""
    for hook in hooks:
        try:
            answer = hook(spec, run, state)
            if inspect.isawaitable(answer):
                await _awaited(answer)
        except Exception as error:
            report(hook, error)


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer
