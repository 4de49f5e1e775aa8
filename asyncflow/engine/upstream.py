"""What a run waits for before it begins: the futures among its arguments and in wait_for."""

from __future__ import annotations

from typing import Any

from ..exceptions import BlockingCall, UpstreamTaskError
from ..handles import Future, ended
from ..states import Failed, State
from .arguments import find, substitute
from .calls import Call


async def resolve(call: Call[Any]) -> State[Any] | None:
    """Wait for all upstream runs and put their values in place; a Failed state if one of them failed.

    Looking at a failure here counts as looking: this run's own failure stands for it from now on.
    """
    for one in (*call.upstream, *find(call.wait_for)):
        if isinstance(one, Future) and not one.done():
            _refuse_blocked(call, one)
            await ended(one)
    failed: list[tuple[Future[Any] | State[Any], State[Any]]] = []

    def replace(one: Future[Any] | State[Any], failure_allowed: bool) -> Any:
        state = _state_of(one)
        if state.is_completed():
            return state.result()
        if failure_allowed:
            return state.error()
        failed.append((one, state))
        return None

    call.arguments = {name: substitute(value, replace) for name, value in call.arguments.items()}
    for one in call.wait_for:
        substitute(one, replace)
    call.wait_for = ()
    call.upstream = ()
    return _upstream_failed(call, *failed[0]) if failed else None


def _state_of(one: Future[Any] | State[Any]) -> State[Any]:
    if isinstance(one, State):
        return one
    one.look()
    state = one.outcome()
    assert state is not None
    return state


def _upstream_failed(call: Call[Any], one: Future[Any] | State[Any], state: State[Any]) -> State[Any]:
    name = one.run.name if isinstance(one, Future) else "a state"
    kind = call.spec.kind
    error = UpstreamTaskError(
        f"{kind.title()} run {call.run.name!r} was not run, because {name!r}, which it depends on, ended {state!r}; "
        "wrap that future in allow_failure() to run anyway."
    )
    error.__cause__ = state.error()
    return Failed(data=error, name="UpstreamFailed", message=str(error))


def _refuse_blocked(call: Call[Any], future: Future[Any]) -> None:
    if future.owner_loop in call.blocked:
        raise BlockingCall(
            f"{call.spec.name!r} was called by blocking the event loop on which {future.run.name!r} runs, so it cannot "
            "wait for it; `await` that future first, or submit() this call."
        )
