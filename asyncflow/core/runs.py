"""A run: the one record of flow runs and task runs, and what is written of it."""

from __future__ import annotations

import json
from asyncio import AbstractEventLoop, Future
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from ..states import State, StateType

RunId: TypeAlias = str
ExecutorId: TypeAlias = str
Kind: TypeAlias = Literal["flow", "task"]


class Ownership:
    """Who may write the runs below one outermost run: its id and the epoch that its owner holds."""

    __slots__ = ("epoch", "executor_id", "lost", "root_id")

    def __init__(self, root_id: RunId, epoch: int, executor_id: ExecutorId) -> None:
        self.root_id = root_id
        self.epoch = epoch
        self.executor_id = executor_id
        self.lost = False


class StoredValue(NamedTuple):
    """A value as it is kept: bytes of a codec, here or in a file of that name; `preview` is JSON for people.

    `codec` names what decodes it; exactly one of `data` (inline) and `digest` (sha256 of the file's content) is set.
    """

    codec: str
    data: bytes | None
    digest: str | None
    size: int
    preview: str | None = None


class StoredError(NamedTuple):
    """An exception as it is kept: JSON of its type, arguments, attributes, notes and traceback text."""

    data: str


class Run:
    """One flow run or task run, alive in this process; `queued` is the last state that was handed to the store.

    Times are microseconds since the epoch. `key` is the identity of a task run (or subflow) inside its flow run.
    """

    __slots__ = (
        "__weakref__",
        "attempt",
        "created_at",
        "depends_on",
        "ended_at",
        "flow_run_id",
        "id",
        "key",
        "kind",
        "moves",
        "name",
        "owner",
        "parameters",
        "parent",
        "queued",
        "result",
        "source_digest",
        "spec_key",
        "spec_name",
        "started_at",
        "state",
        "tags",
    )

    def __init__(
        self, id: RunId, kind: Kind, name: str, spec_name: str, spec_key: str, state: State[Any], created_at: int
    ) -> None:
        self.id = id
        self.kind: Kind = kind
        self.name = name
        self.spec_name = spec_name
        self.spec_key = spec_key
        self.state = state
        self.created_at = created_at
        self.started_at: int | None = None
        self.ended_at: int | None = None
        self.attempt = 0
        self.key: str | None = None
        self.parent: Run | None = None
        self.flow_run_id: RunId | None = None
        self.owner: Ownership = None  # type: ignore[assignment]  # set before the run is written
        self.tags: frozenset[str] = frozenset()
        self.parameters: str | None = None
        self.depends_on: tuple[RunId, ...] = ()
        self.source_digest: str | None = None
        self.result: StoredValue | StoredError | None = None
        self.moves: list[tuple[Any, ...]] = []
        self.queued: State[Any] | None = None

    def __repr__(self) -> str:
        return f"<{self.kind} run {self.name!r} {self.id} {self.state!r}>"


RUN_COLUMNS = (
    "id", "kind", "name", "spec_name", "spec_key", "key", "parent_id", "flow_run_id", "root_id", "epoch",
    "executor_id", "state_type", "state_name", "state_message", "attempt", "created_at", "started_at", "ended_at",
    "tags", "parameters", "depends_on", "source_digest", "codec", "data", "digest", "size", "preview", "error",
)  # fmt: skip
"""The columns of table `run`, in the order of `run_row`. Ids text, times bigint, tags/parameters/depends_on JSON."""

MOVE_COLUMNS = ("run_id", "at", "state_type", "state_name", "message", "attempt")
"""The columns of table `transition` after its `seq`, in the order of `move_row`."""


def move_row(run: Run) -> tuple[Any, ...]:
    """The transition into the run's present state, as a row."""
    state = run.state
    return (run.id, state.timestamp, state.type._value_, state.name, state.message, run.attempt)


class RunWrite:
    """One queued write of a run: its row as it was then, its new transitions, and who waits for the commit.

    The log settles it on `loop`, the waiter's own: `done` turns true, `error` says what prevented it (`LeaseLost`).
    `power` asks for a commit that is forced to the disk.
    """

    __slots__ = ("done", "epoch", "error", "loop", "moves", "power", "root_id", "row", "waiter")

    def __init__(self, row: tuple[Any, ...], moves: Sequence[tuple[Any, ...]], root_id: RunId, epoch: int) -> None:
        self.row = row
        self.moves = moves
        self.root_id = root_id
        self.epoch = epoch
        self.power = False
        self.loop: AbstractEventLoop | None = None
        self.waiter: Future[None] | None = None
        self.error: BaseException | None = None
        self.done = False

    def settle(self) -> None:
        """Tell the waiter, on its own loop."""
        self.done = True
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            if self.error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(self.error)


@dataclass(slots=True, frozen=True)
class LogLine:
    """One line of a run's log. `level` is the stdlib's number; `fields` is JSON of what was bound to it, or None."""

    run_id: RunId
    flow_run_id: RunId | None
    at: int
    level: int
    logger: str
    message: str
    fields: str | None = None


@dataclass(slots=True, frozen=True)
class RunRecord:
    """A run as it is read back from the store: one row of `run`."""

    id: RunId
    kind: Kind
    name: str
    spec_name: str
    spec_key: str
    key: str | None
    parent_id: RunId | None
    flow_run_id: RunId | None
    root_id: RunId
    epoch: int
    executor_id: ExecutorId | None
    state_type: StateType
    state_name: str
    state_message: str | None
    attempt: int
    created_at: int
    started_at: int | None
    ended_at: int | None
    tags: tuple[str, ...]
    parameters: str | None
    depends_on: tuple[RunId, ...]
    source_digest: str | None
    codec: str | None
    data: bytes | None
    digest: str | None
    size: int | None
    preview: str | None
    error: str | None


@dataclass(slots=True, frozen=True)
class Transition:
    """One move of a run, as it is read back; `seq` rises in commit order over the whole store."""

    seq: int
    run_id: RunId
    at: int
    state_type: StateType
    state_name: str
    message: str | None
    attempt: int


@dataclass(slots=True, frozen=True)
class RunFilter:
    """Which runs a reader wants; an empty filter wants all."""

    kind: Kind | None = None
    flow_run_id: RunId | None = None
    parent_id: RunId | None = None
    spec_name: str | None = None
    state_types: tuple[StateType, ...] = ()
    tag: str | None = None
    outermost: bool = False
    id_prefix: str | None = None
    since: int | None = field(default=None)
    name: str | None = None


def run_row(run: Run) -> tuple[Any, ...]:
    """The run as it is now, as a row of `run` in the order of RUN_COLUMNS."""
    state, owner, parent, kept = run.state, run.owner, run.parent, run.result
    head = (
        run.id, run.kind, run.name, run.spec_name, run.spec_key, run.key,
        parent.id if parent is not None else None, run.flow_run_id, owner.root_id, owner.epoch, owner.executor_id,
        state.type._value_, state.name, state.message, run.attempt, run.created_at, run.started_at, run.ended_at,
        json.dumps(sorted(run.tags)) if run.tags else None,
        run.parameters,
        json.dumps(run.depends_on) if run.depends_on else None,
        run.source_digest,
    )  # fmt: skip
    if kept is None:
        return (*head, None, None, None, None, None, None)
    if isinstance(kept, StoredError):
        return (*head, None, None, None, None, None, kept.data)
    data = bytearray(kept.data) if kept.data is not None else None  # bound without a look for an adapter
    return (*head, kept.codec, data, kept.digest, kept.size, kept.preview, None)
