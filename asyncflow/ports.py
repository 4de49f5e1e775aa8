"""The seams of the house: what the engine asks of its store, its results, its clock and its observers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .core.runs import (
    ExecutorId,
    LogLine,
    Run,
    RunFilter,
    RunId,
    RunRecord,
    RunWrite,
    StoredError,
    StoredValue,
    Transition,
)
from .settings import Settings
from .states import State


class Clock(Protocol):
    """Wall time in microseconds, for people; monotonic seconds, for decisions."""

    def now(self) -> int: ...
    def monotonic(self) -> float: ...


class RunLog(Protocol):
    """Where the journal writes. Thread-safe and never blocking; committed in the order in which it was put."""

    def put(self, write: RunWrite) -> None:
        """Queue a write; after its commit (or refusal) `write.settle` is called on `write.loop`."""

    def put_lines(self, lines: Sequence[LogLine]) -> None:
        """Queue log lines; bounded: beyond the bound, lines are dropped and counted."""

    async def flush(self) -> None:
        """Return when everything put so far is committed."""


class Journaled(Protocol):
    """What a resume replays."""

    async def finished(self, flow_run_id: RunId) -> Mapping[str, RunRecord]:
        """The ended task runs and subflows of a flow run by identity key, without their data."""
        ...

    async def stored_value(self, run_id: RunId) -> StoredValue | None:
        """The result of one run, as it was kept."""
        ...


class RunReader(Protocol):
    """What the CLI, the UI and waiting clients read."""

    async def run(self, run_id: RunId) -> RunRecord | None: ...
    async def runs(self, where: RunFilter, limit: int, before: RunId | None = None) -> list[RunRecord]:
        """Newest first, by id; `before` is the last id of the page before (keyset paging); `data` is left out."""
        ...

    async def count(self, where: RunFilter) -> Mapping[str, int]:
        """How many such runs there are in each state type."""
        ...

    async def transitions(self, run_id: RunId) -> list[Transition]: ...
    async def changes(self, after: int, limit: int) -> list[Transition]:
        """Moves with `seq` above `after`, in commit order; never skips one."""
        ...

    async def lines(self, run_id: RunId, limit: int, after: int = 0, level: int = 0) -> list[tuple[int, LogLine]]:
        """Log lines of a flow run with its tasks, or of one task run, in order, each with its number."""
        ...


class Executors(Protocol):
    """Who is alive."""

    async def enlist(self, executor: Executor) -> None: ...
    async def retire(self, executor_id: ExecutorId) -> None: ...
    async def executors(self) -> list[Executor]: ...


@dataclass(slots=True, frozen=True)
class Executor:
    """One application that runs things: where it lives and which lock file it holds while it does."""

    id: ExecutorId
    host: str
    boot_id: str
    pid: int
    started_at: int
    lock_inode: int | None


@dataclass(slots=True, frozen=True)
class LimitRecord:
    """A concurrency limit: how many slots, whether it counts, how fast taken slots decay (per second, or None)."""

    name: str
    slots: int
    active: bool = True
    slot_decay_per_second: float | None = None


@dataclass(slots=True, frozen=True)
class Holding:
    """Slots of one limit in somebody's hands; it counts while its executor is alive."""

    limit: str
    occupy: int
    token: str
    executor_id: ExecutorId
    run_id: RunId | None
    taken_at: int


class Limits(Protocol):
    """Concurrency limits. Holding is derived from rows of live executors, never a counter."""

    async def set_limit(self, limit: LimitRecord) -> None: ...
    async def delete_limit(self, name: str) -> bool: ...
    async def limits(self) -> list[LimitRecord]: ...
    async def holdings(self, name: str | None = None) -> list[Holding]: ...
    async def take(self, wanted: Sequence[Holding]) -> bool:
        """Take all of these or none, in one transaction; a name without an active limit is always granted."""
        ...

    def give_back(self, token: str) -> None:
        """Queue the return of everything taken under this token; thread-safe, never blocks."""


@dataclass(slots=True, frozen=True)
class CacheEntry:
    """A cached result: of which run, until when (microseconds, None: for ever)."""

    key: str
    run_id: RunId
    task_name: str
    value: StoredValue
    created_at: int
    expires_at: int | None


class CacheIndex(Protocol):
    """Results found again across runs, and who is computing one right now."""

    async def cached(self, key: str, now: int) -> CacheEntry | None: ...
    async def keep(self, entry: CacheEntry) -> None: ...
    async def cache_entries(self, limit: int, after: str | None = None) -> list[CacheEntry]: ...
    async def clear_cache(self, task_name: str | None = None) -> int: ...
    async def claim_flight(self, key: str, executor_id: ExecutorId, token: str) -> bool:
        """Become the one who computes `key`, unless a live executor already is."""
        ...

    def end_flight(self, key: str, token: str) -> None:
        """Queue the end of a flight; thread-safe, never blocks."""


class Store(RunLog, Journaled, RunReader, Executors, Limits, CacheIndex, Protocol):
    """Everything that is remembered."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...
    def close_now(self) -> None:
        """Flush and close from any thread, without a loop; idempotent."""

    async def data_version(self) -> int:
        """A number that changes when another process has committed something; cheap."""
        ...


class Results(Protocol):
    """How values become bytes and come back."""

    def pack(self, value: Any, serializer: str | None = None, preview: bool = True) -> StoredValue:
        """A value as bytes, inline whatever their size; no I/O. Raises `UnstorableResult`."""
        ...

    def place(self, packed: StoredValue) -> StoredValue:
        """Write what is too large to be inline to its file; blocks. Raises `DatabaseUnavailable`."""
        ...

    def decode(self, stored: StoredValue) -> Any: ...
    def encode_error(self, error: BaseException) -> StoredError: ...
    def decode_error(self, stored: StoredError) -> BaseException: ...
    def preview(self, arguments: Mapping[str, Any]) -> str:
        """The arguments of a call as JSON for people: short, secrets masked; never raises."""
        ...


class ConsoleLines(Protocol):
    """Where lines for people go; formatting and writing happen elsewhere and later."""

    def line(self, level: int, prefix: str, message: str, at: int, **about: Any) -> None:
        """One line; `about` may hold logger, flow_run_id, task_run_id and fields, for lines as JSON."""

    def flush(self) -> None: ...
    def close(self) -> None: ...


class Surroundings(Protocol):
    """What a running body can reach of the application that it runs in."""

    settings: Settings
    clock: Clock
    store: Store
    console: ConsoleLines | None
    engine: Any
    secret: bytes


class Observer(Protocol):
    """Somebody who wants to see every move of a run; never blocks, never raises."""

    def moved(self, run: Run, state: State[Any]) -> None: ...
