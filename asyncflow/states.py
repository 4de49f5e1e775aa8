"""What a run can be in, and which state may follow which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from .exceptions import CancelledRun, CrashedRun, FailedRun, MissingResult, PausedRun, RunError, UnfinishedRun

R = TypeVar("R")


class StateType(StrEnum):
    """The nine kinds of state; a state's name refines its kind."""

    SCHEDULED = "SCHEDULED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    CRASHED = "CRASHED"

    __hash__ = str.__hash__  # Enum's own is written in Python, and states are looked up at every move


_T = StateType
TERMINAL = frozenset({_T.COMPLETED, _T.FAILED, _T.CANCELLED, _T.CRASHED})
_LIVE = frozenset(_T) - TERMINAL

FOLLOWS: Mapping[StateType, frozenset[StateType]] = {
    _T.SCHEDULED: frozenset(_T),
    _T.PENDING: frozenset(_T),
    _T.RUNNING: frozenset(_T) - {_T.PENDING},
    _T.PAUSED: frozenset(_T) - {_T.PENDING},
    _T.CANCELLING: TERMINAL,
    _T.COMPLETED: frozenset(),
    _T.FAILED: frozenset(),
    _T.CANCELLED: frozenset(),
    _T.CRASHED: frozenset(),
}
"""Which type may follow which. A terminal state is left only by an explicit retry or resume (`reopens`)."""

REOPENS = frozenset({_T.SCHEDULED, _T.PENDING, _T.RUNNING})


def may_follow(old: StateType | None, new: StateType, *, reopen: bool = False) -> bool:
    """Whether a run in state type `old` (None: just made) may go into `new`; `reopen` says a person asked for it."""
    if old is None:
        return True
    return new in FOLLOWS[old] or (reopen and old in TERMINAL and new in REOPENS)


class _Missing:
    """The value of a Completed state whose result was not kept."""

    def __repr__(self) -> str:
        return "<not kept>"

    def __reduce__(self) -> str:
        return "MISSING"


MISSING: Any = _Missing()


@dataclass(slots=True, eq=False)
class State(Generic[R]):
    """One state of a run.

    `type` is one of nine kinds, `name` refines it ("TimedOut" is a FAILED state), `message` is for people,
    `timestamp` is in microseconds since the epoch (stamped by the engine, 0 until then) and `data` is the value of
    a Completed state or the exception of a Failed one.

        >>> Completed(data=3).result()
        3
        >>> Failed(message="no such file")
        Failed('no such file')
    """

    type: StateType
    name: str
    message: str | None = None
    data: Any = None
    timestamp: int = 0
    run_id: str | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return f"{self.name}({self.message!r})" if self.message else f"{self.name}()"

    __str__ = __repr__

    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self.type in TERMINAL

    def is_scheduled(self) -> bool:
        """Whether the run waits for its time, its retry or a slot."""
        return self.type is StateType.SCHEDULED

    def is_pending(self) -> bool:
        """Whether the run was made and has not begun."""
        return self.type is StateType.PENDING

    def is_running(self) -> bool:
        """Whether the run's body is being executed."""
        return self.type is StateType.RUNNING

    def is_paused(self) -> bool:
        """Whether the run waits for a person."""
        return self.type is StateType.PAUSED

    def is_cancelling(self) -> bool:
        """Whether the run was asked to stop and has not yet."""
        return self.type is StateType.CANCELLING

    def is_completed(self) -> bool:
        """Whether the run ended well."""
        return self.type is StateType.COMPLETED

    def is_failed(self) -> bool:
        """Whether the run ended with an error."""
        return self.type is StateType.FAILED

    def is_cancelled(self) -> bool:
        """Whether somebody stopped the run."""
        return self.type is StateType.CANCELLED

    def is_crashed(self) -> bool:
        """Whether the run's process died."""
        return self.type is StateType.CRASHED

    def result(self, raise_on_failure: bool = True) -> R:
        """The value of a Completed state; raises the run's own exception when it failed.

        With `raise_on_failure=False` the exception is returned instead. Raises `FailedRun`, `CrashedRun`,
        `CancelledRun`, `PausedRun` or `UnfinishedRun` where there is neither value nor exception, and
        `MissingResult` where the value was not kept.
        """
        if self.type is StateType.COMPLETED:
            if self.data is MISSING:
                raise MissingResult
            return self.data  # type: ignore[no-any-return]
        error = self.error()
        if raise_on_failure:
            raise error
        return error  # type: ignore[return-value]

    def error(self) -> BaseException:
        """The exception that stands for a state which is not Completed."""
        if isinstance(self.data, BaseException):
            return self.data
        if self.type is StateType.FAILED and isinstance(self.data, str):
            return FailedRun(self.data)
        kind: type[RunError] = _ERRORS.get(self.type, UnfinishedRun)
        return kind(self.message)


_ERRORS: Mapping[StateType, type[RunError]] = {
    _T.FAILED: FailedRun,
    _T.CRASHED: CrashedRun,
    _T.CANCELLED: CancelledRun,
    _T.PAUSED: PausedRun,
}


def Scheduled(*, name: str = "Scheduled", message: str | None = None) -> State[Any]:
    """A state for a run that waits for its time."""
    return State(StateType.SCHEDULED, name, message)


def AwaitingRetry(*, message: str | None = None) -> State[Any]:
    """A state for a run that waits out the delay before its next attempt."""
    return State(StateType.SCHEDULED, "AwaitingRetry", message)


def AwaitingConcurrencySlot(*, message: str | None = None) -> State[Any]:
    """A state for a run that waits for a slot of a concurrency limit."""
    return State(StateType.SCHEDULED, "AwaitingConcurrencySlot", message)


def Pending(*, name: str = "Pending", message: str | None = None) -> State[Any]:
    """A state for a run that was made and has not begun."""
    return State(StateType.PENDING, name, message)


def Running(*, name: str = "Running", message: str | None = None) -> State[Any]:
    """A state for a run whose body is being executed."""
    return State(StateType.RUNNING, name, message)


def Retrying(*, message: str | None = None) -> State[Any]:
    """A state for a second or later attempt."""
    return State(StateType.RUNNING, "Retrying", message)


def Paused(*, name: str = "Paused", message: str | None = None) -> State[Any]:
    """A state for a run that waits for a person."""
    return State(StateType.PAUSED, name, message)


def Cancelling(*, message: str | None = None) -> State[Any]:
    """A state for a run that was asked to stop."""
    return State(StateType.CANCELLING, "Cancelling", message)


def Completed(*, data: Any = None, name: str = "Completed", message: str | None = None) -> State[Any]:
    """A state for a run that ended well; return one from a body to give it another name or message."""
    return State(StateType.COMPLETED, name, message, data)


def Cached(*, data: Any = None, message: str | None = None) -> State[Any]:
    """A state for a task that was answered from the cache."""
    return State(StateType.COMPLETED, "Cached", message, data)


def Failed(*, data: Any = None, name: str = "Failed", message: str | None = None) -> State[Any]:
    """A state for a run that ended with an error; `data` may be the exception or a text."""
    return State(StateType.FAILED, name, message, data)


def Cancelled(*, name: str = "Cancelled", message: str | None = None) -> State[Any]:
    """A state for a run that somebody stopped; the message says who."""
    return State(StateType.CANCELLED, name, message)


def Crashed(*, name: str = "Crashed", message: str | None = None) -> State[Any]:
    """A state for a run whose process died."""
    return State(StateType.CRASHED, name, message)
