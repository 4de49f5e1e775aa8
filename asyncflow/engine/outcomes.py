"""What a body's return value makes of its run: the rules of the final state, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.tracebacks import prune
from ..handles import Future
from ..states import Cancelled, Completed, Failed, Paused, State, StateType
from .arguments import ATOMS, find, substitute

_HANDLES = (Future, State)
_GROUPS = (list, tuple, set, frozenset)


def is_made_of_states(value: Any) -> bool:
    """Whether the value is a future, a state, or a list, tuple or set made only of those (and not empty)."""
    if isinstance(value, _HANDLES):
        return True
    return isinstance(value, _GROUPS) and bool(value) and all(isinstance(one, _HANDLES) for one in value)


def returned_futures(value: Any) -> tuple[Future[Any], ...]:
    """The futures anywhere in a returned value; they count as looked at, and are waited for."""
    return tuple(one for one in find((value,)) if isinstance(one, Future))


def outcome_of(value: Any) -> State[Any]:
    """The final state that a returned value stands for; all futures in it have ended."""
    if type(value) in ATOMS:
        return State(StateType.COMPLETED, "Completed", None, value)
    if isinstance(value, State):
        return State(value.type, value.name, value.message, value.data)
    if isinstance(value, Future):
        return _same(_ended(value))
    if is_made_of_states(value):
        return _aggregate(value, [_ended(one) for one in value])
    if find((value,)):
        value = substitute(value, lambda one, _: _ended(one))
    return Completed(data=value)


def _ended(one: Future[Any] | State[Any]) -> State[Any]:
    if isinstance(one, State):
        return one
    one.look()
    state = one.outcome()
    assert state is not None
    return state


def _same(state: State[Any]) -> State[Any]:
    return State(state.type, "Completed" if state.is_completed() else state.name, state.message, state.data)


def _aggregate(value: Any, states: Sequence[State[Any]]) -> State[Any]:
    good = sum(state.is_completed() for state in states)
    if good == len(states):
        values = [state.result() for state in states]
        return Completed(data=_collected(value, values), message="All states completed.")
    if any(state.is_cancelled() for state in states):
        return Cancelled(message=f"{sum(s.is_cancelled() for s in states)}/{len(states)} states cancelled.")
    if any(state.is_paused() for state in states):
        return Paused(message="Some states are paused.")
    if all(state.is_final() for state in states):
        first = next(state for state in states if not state.is_completed())
        return Failed(data=first.error(), message=f"{len(states) - good}/{len(states)} states failed.")
    unfinished = sum(not state.is_final() for state in states)
    return Failed(message=f"{unfinished}/{len(states)} states are not final.")


def _collected(value: Any, values: list[Any]) -> Any:
    if isinstance(value, list):  # also a FutureList
        return values
    try:
        return type(value)(values)
    except TypeError:  # a set of what cannot be hashed, a named tuple
        return values


def failure_of(error: BaseException) -> State[Any]:
    """The Failed state of an exception, its message short enough to be read, its traceback without our frames."""
    prune(error)
    text = _text(error)
    kind = type(error).__name__
    return Failed(data=error, message=f"{kind}: {text}" if text else kind)


def _text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        return "<its text cannot be read>"
    return text if len(text) <= 1000 else text[:997] + "..."


def unobserved_failure(failed: Sequence[Future[Any]]) -> BaseException:
    """The error for failures that nobody looked at: one is itself with a note, several are a group."""
    errors = []
    for future in failed:
        state = future.outcome()
        assert state is not None
        error = state.error()
        note = f"Nobody looked at the failure of task run {future.run.name!r}."
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
        errors.append(error)
    if len(errors) == 1:
        return errors[0]
    message = f"{len(errors)} tasks failed and nobody looked"
    if all(isinstance(error, Exception) for error in errors):
        return ExceptionGroup(message, errors)  # type: ignore[type-var]
    return BaseExceptionGroup(message, errors)
