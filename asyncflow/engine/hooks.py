"""Calling the functions that an author wants told about a run's states."""

from __future__ import annotations

import inspect
from typing import Any

from anyio import CancelScope, current_time

from ..states import State, StateType
from .calls import Call
from .voice import Voice

ENDINGS = {
    StateType.COMPLETED: "completion",
    StateType.FAILED: "failure",
    StateType.CANCELLED: "cancellation",
    StateType.CRASHED: "crashed",
}


class Hooks:
    """Calls the hooks of runs, in turn; an error in one is told, and the rest run."""

    def __init__(self, voice: Voice, cleanup_seconds: float) -> None:
        self._voice = voice
        self._cleanup_seconds = cleanup_seconds

    async def running(self, call: Call[Any]) -> None:
        """An attempt begins."""
        if call.spec.hooks.get("running"):
            await self._call("running", call, call.run.state)

    def want_ending(self, call: Call[Any], state: State[Any]) -> bool:
        """Whether anybody wants to hear of this state; nobody of one that is not final (a body may return one)."""
        return bool(call.spec.hooks.get(ENDINGS.get(state.type, "")))

    async def ended(self, call: Call[Any], state: State[Any]) -> None:
        """The run came to its final state, which is committed.

        The hooks of a cancelled run may await: a scope that asks again at every await has to wait for them so long.
        """
        if not state.is_cancelled() and call.interrupted is None:
            await self._call(ENDINGS[state.type], call, state)
            return
        with CancelScope(shield=True, deadline=current_time() + self._cleanup_seconds):
            await self._call(ENDINGS[state.type], call, state)

    async def _call(self, event: str, call: Call[Any], state: State[Any]) -> None:
        for hook in tuple(call.spec.hooks[event]):
            try:
                answer = hook(call.spec, call.run, state)
                if inspect.isawaitable(answer):
                    await answer
            except Exception as error:
                name = getattr(hook, "__name__", None) or repr(hook)
                self._voice.warn(call.run, f"Hook {name!r} failed: {error!r}")
