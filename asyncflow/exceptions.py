"""Every error that asyncflow raises, in one tree.

    AsyncflowError
    ├── ConfigurationError (ValueError)        an option, name or setting is wrong; raised where it is written
    │   ├── InvalidName
    │   ├── InvalidOption
    │   ├── InvalidHook (TypeError)
    │   ├── InvalidSetting
    │   ├── ReservedArgument
    │   ├── UnnamedCallable
    │   └── ApplicationChoice                  several applications are open and none was chosen
    ├── ParameterError (TypeError)
    │   ├── ParameterBindError                 arity or names: no run exists
    │   ├── ParameterTypeError (ValueError)    validation: the run exists and is Failed
    │   └── ParameterNotStored                 a resume needs parameters that could not be stored
    ├── MappingError (ValueError)
    │   ├── MappingLengthMismatch
    │   └── MappingMissingIterable
    ├── RunError (RuntimeError)                what a run came to
    │   ├── FailedRun
    │   ├── CrashedRun
    │   ├── CancelledRun
    │   ├── PausedRun
    │   ├── UnfinishedRun
    │   ├── MissingResult (LookupError)
    │   ├── UpstreamTaskError
    │   ├── ReplayedError
    │   └── RunKeyConflict
    ├── RunTimeout (TimeoutError)
    │   ├── FlowRunTimeout
    │   ├── TaskRunTimeout
    │   └── FutureTimeout                      a wait ended, the run goes on
    ├── CallError (RuntimeError)               a call that cannot be right where it stands
    │   ├── BlockingCall
    │   ├── DependencyCycle
    │   ├── ForeignFuture
    │   ├── MissingContext
    │   ├── TooManyPending
    │   └── InvalidTransition
    ├── IdentityError (TypeError)
    │   └── UnkeyableInput
    ├── LimitError (RuntimeError)
    │   ├── LimitDeadlock
    │   ├── LimitTimeout (TimeoutError)
    │   └── UnknownLimit (LookupError)
    ├── CachingError (RuntimeError)
    │   └── CacheRecursion
    ├── ResultError (ValueError)
    │   ├── UnstorableResult
    │   ├── UndecodableResult
    │   └── ResultTampered
    └── StoreError (RuntimeError)
        ├── DatabaseCorrupt
        ├── DatabaseTooNew
        ├── DatabaseUnavailable (OSError)
        ├── DatabaseBusy
        ├── LeaseLost
        ├── NotStored
        └── RunNotFound (LookupError)

A class's docstring is its default message and says what to do about it.
"""

from __future__ import annotations


class AsyncflowError(Exception):
    """Something went wrong inside asyncflow."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((type(self).__doc__ or "").split()))


class ConfigurationError(AsyncflowError, ValueError):
    """An option, a name or a setting is wrong; correct it where it is written."""


class InvalidName(ConfigurationError):
    """A name is empty or holds a character that names may not hold (/ % & < >); choose another."""


class InvalidOption(ConfigurationError):
    """An option has a value it cannot take; see the docstring of @flow or @task for what it takes."""


class InvalidHook(ConfigurationError, TypeError):
    """A hook must be callable as fn(flow_or_task, run, state); pass the function itself, not its name or result."""


class InvalidSetting(ConfigurationError):
    """A setting has a value it cannot take; `asyncflow config view` lists settings and what they take."""


class ReservedArgument(ConfigurationError):
    """A parameter has a name that asyncflow uses itself (return_state, wait_for); rename the parameter."""


class UnnamedCallable(ConfigurationError):
    """A lambda or a partial has no lasting name to be known by; pass name="..." to @flow or @task."""


class ApplicationChoice(ConfigurationError):
    """Several applications are open and none was chosen; use `async with application:`, or give the flow to one."""


class ParameterError(AsyncflowError, TypeError):
    """The arguments of a call do not fit its parameters."""


class ParameterBindError(ParameterError):
    """The arguments of a call do not fit the function's signature; no run was made."""


class ParameterTypeError(ParameterError, ValueError):
    """The arguments of a flow do not fit its annotations; correct them or pass validate_parameters=False."""


class ParameterNotStored(ParameterError):
    """This run has parameters that could not be stored; give them again as keyword arguments."""


class MappingError(AsyncflowError, ValueError):
    """A map cannot be made of these arguments."""


class MappingLengthMismatch(MappingError):
    """The iterables given to map have unequal lengths; make them equal, or wrap constants in unmapped()."""


class MappingMissingIterable(MappingError):
    """Nothing given to map can be iterated; pass at least one iterable, or call submit() instead."""


class RunError(AsyncflowError, RuntimeError):
    """A run did not end with a value."""


class FailedRun(RunError):
    """The run ended Failed without an exception of its own; its state's message says why."""


class CrashedRun(RunError):
    """The process that ran this run died; resume it to go on from its last finished task."""


class CancelledRun(RunError):
    """The run was cancelled before it had a result; its state's message says by whom."""


class PausedRun(RunError):
    """The run is paused and has no result yet; resume or answer it first."""


class UnfinishedRun(RunError):
    """The run has not finished and has no result yet; await it first."""


class MissingResult(RunError, LookupError):
    """The run completed, but its result was not stored; run it again, or let results persist."""


class UpstreamTaskError(RunError):
    """A task was not run, because one it depends on failed; wrap that future in allow_failure() to run it anyway."""


class ReplayedError(RunError):
    """A task failed in an earlier process with an error whose type cannot be imported here; see its stored trace."""


class RunKeyConflict(RunError):
    """This run_key was already used with other parameters; choose another key or on_conflict="replace"."""


class RunTimeout(AsyncflowError, TimeoutError):
    """Something took longer than it was given."""


class FlowRunTimeout(RunTimeout):
    """A flow run took longer than its timeout_seconds."""


class TaskRunTimeout(RunTimeout):
    """An attempt of a task took longer than its timeout_seconds."""


class FutureTimeout(RunTimeout):
    """The wait for a future ended before its run did; the run goes on."""


class CallError(AsyncflowError, RuntimeError):
    """A call cannot be answered where it stands."""


class BlockingCall(CallError):
    """This wait would block the event loop that has to end it, for ever; `await` it instead."""


class DependencyCycle(CallError):
    """A task was told to wait for itself or for one of its own ancestors; drop that future from the call."""


class ForeignFuture(CallError):
    """A future belongs to an event loop that is closed; await futures before their loop ends."""


class MissingContext(CallError):
    """This works inside a flow or task run only; call it from the body of one."""


class TooManyPending(CallError):
    """More tasks were submitted than max_in_flight allows; use map(limit=...) or stream(), or raise max_in_flight."""


class InvalidTransition(CallError):
    """A run cannot go from its present state into that one."""


class IdentityError(AsyncflowError, TypeError):
    """A call has no identity that could be found again."""


class UnkeyableInput(IdentityError):
    """An argument has no content that could be fingerprinted; use key=, ignore_inputs=, or pass plain data."""


class LimitError(AsyncflowError, RuntimeError):
    """A concurrency limit could not be taken."""


class LimitDeadlock(LimitError):
    """This waits for slots that only its own ancestors hold; release them first or raise the limit."""


class LimitTimeout(LimitError, TimeoutError):
    """No slot of the limit came free in the time given."""


class UnknownLimit(LimitError, LookupError):
    """There is no limit of that name; create it with `asyncflow concurrency-limit create NAME SLOTS`."""


class CachingError(AsyncflowError, RuntimeError):
    """A cached call could not be answered."""


class CacheRecursion(CachingError):
    """A task waits for a cache key that one of its own ancestors is computing; give the inner call another key."""


class ResultError(AsyncflowError, ValueError):
    """A result could not be stored or read."""


class UnstorableResult(ResultError):
    """A value cannot be stored: no codec gives it back as it was; return plain data, a model or something picklable."""


class UndecodableResult(ResultError):
    """A stored value cannot be read by this code; its type is gone or has changed."""


class ResultTampered(ResultError):
    """A stored value does not carry a valid signature; check ASYNCFLOW_RESULT_KEY or the database's .key file."""


class StoreError(AsyncflowError, RuntimeError):
    """The database could not do what was asked."""


class DatabaseCorrupt(StoreError):
    """The database file is not a database or is damaged; restore a backup or choose another path."""


class DatabaseTooNew(StoreError):
    """The database was written by a newer asyncflow; upgrade asyncflow or choose another database."""


class DatabaseUnavailable(StoreError, OSError):
    """The database cannot be opened or written; check the path, its permissions and the free space."""


class DatabaseBusy(StoreError):
    """Another process kept the database locked for longer than was allowed."""


class LeaseLost(StoreError):
    """Another process owns this run now; this one stops and writes nothing more."""


class NotStored(StoreError):
    """The outcome could not be committed in the time given; the work is done, and its row may still land."""


class RunNotFound(StoreError, LookupError):
    """There is no run with that id."""
