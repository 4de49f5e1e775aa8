"""What is on disk when: terminal moves are committed before the caller goes on, others are queued behind the work."""

from __future__ import annotations

import asyncio
from typing import Any

from anyio import CancelScope

from ..core.names import storable
from ..core.runs import Run, RunWrite, move_row, run_row
from ..exceptions import InvalidTransition, LeaseLost, NotStored
from ..ports import Clock, RunLog
from ..states import FOLLOWS, TERMINAL, State, StateType


class Journal:
    """Moves runs from state to state and sees to it that the moves are stored.

    A non-terminal move waits for `late_seconds` to twice that; if a newer move of the same run comes first, only the
    newer one is written. Moves that tell of another attempt are never dropped. A run is never queued before its
    parent.
    """

    def __init__(self, log: RunLog, clock: Clock, late_seconds: float, commit_seconds: float) -> None:
        self._log = log
        self._clock = clock
        self._late_seconds = late_seconds
        self._commit_seconds = commit_seconds
        self._late: dict[asyncio.AbstractEventLoop, _Late] = {}

    def move(self, run: Run, state: State[Any], *, keep: bool = False) -> None:
        """Put a run into a state that is not final; `keep` says that its history needs this move."""
        self.enter(run, state)
        if keep:
            run.moves.append(move_row(run))
        loop = asyncio.get_running_loop()
        late = self._late.get(loop)
        if late is None:
            self._flush_closed_loops()
            late = self._late[loop] = _Late(self, loop, self._late_seconds)
        late.add(run)

    def enter(self, run: Run, state: State[Any]) -> None:
        """Give the run its state, with its time; refuses a move that the table of states does not allow."""
        old = run.state
        if old is not state and state.type not in FOLLOWS[old.type]:
            raise InvalidTransition(f"{run.kind.title()} run {run.name!r} cannot go from {old!r} to {state!r}.")
        now = self._clock.now()
        state.timestamp = now
        state.run_id = run.id
        if state.message:
            state.message = storable(state.message)
        run.state = state
        if state.type is StateType.RUNNING:
            if run.started_at is None:
                run.started_at = now
        elif state.type in TERMINAL:
            run.ended_at = now

    def queue(self, run: Run) -> RunWrite:
        """Queue the run as it is now, behind its parents; nobody waits for it."""
        write = self._write(run)
        self._log.put(write)
        return write

    def commit(self, run: Run, *, power: bool = False) -> RunWrite:
        """Queue the run as it is now; its `waiter` ends with the commit, or with what prevented it.

        `power` forces the commit to the disk. Whoever is cancelled while waiting goes on with `outlast`.
        """
        write = self._write(run)
        write.power = power
        write.loop = loop = asyncio.get_running_loop()
        write.waiter = loop.create_future()
        late = self._late.get(loop)
        if late is not None:
            late.drop(run)
        self._log.put(write)
        return write

    async def outlast(self, write: RunWrite) -> None:
        """Wait on for a commit, whatever is cancelled; raises what prevented it.

        When `commit_seconds` pass, `NotStored` is raised, and the row may still land.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._commit_seconds
        with CancelScope(shield=True):
            while not write.done:
                write.waiter = waiter = loop.create_future()
                left = deadline - loop.time()
                if left <= 0:
                    raise NotStored
                try:
                    await asyncio.wait((waiter,), timeout=left)
                except asyncio.CancelledError:
                    continue  # asked again: the answer is the same, and comes after the commit
        if write.error is not None:
            raise write.error

    def forget(self, run: Run) -> None:
        """The run's last move is queued; what waits for its turn is superseded."""
        late = self._late.get(asyncio.get_running_loop())
        if late is not None:
            late.drop(run)

    def _flush_closed_loops(self) -> None:
        for loop, late in list(self._late.items()):
            if loop.is_closed() and self._late.pop(loop, None) is not None:  # not yet found by another thread
                late.flush()

    def flush_late(self) -> None:
        """Queue everything that still waits for its turn."""
        for late in list(self._late.values()):
            late.flush()
        self._late.clear()

    def _write(self, run: Run) -> RunWrite:
        owner = run.owner
        if owner.lost:
            raise LeaseLost
        parent = run.parent
        if parent is not None and parent.queued is None:
            self._log.put(self._write(parent))
        if run.queued is None and not run.moves:
            moves: tuple[tuple[Any, ...], ...] = (move_row(run),)
        else:
            moves = self._unwritten_moves(run)
        run.queued = run.state
        return RunWrite(run_row(run), moves, owner.root_id, owner.epoch)

    @staticmethod
    def _unwritten_moves(run: Run) -> tuple[tuple[Any, ...], ...]:
        if run.queued is run.state:
            return ()
        kept, last = run.moves, move_row(run)
        if not kept:
            return (last,)
        moves = tuple(kept) if kept[-1] == last else (*kept, last)
        kept.clear()
        return moves


class _Late:
    """The runs of one event loop whose present state is not queued yet, in two generations of a timer."""

    __slots__ = ("_journal", "_loop", "_new", "_old", "_seconds", "_timer")

    def __init__(self, journal: Journal, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._journal = journal
        self._loop = loop
        self._seconds = seconds
        self._new: dict[str, Run] = {}
        self._old: dict[str, Run] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, run: Run) -> None:
        self._new[run.id] = run
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._turn)

    def drop(self, run: Run) -> None:
        if self._new.pop(run.id, None) is None and self._old:
            self._old.pop(run.id, None)

    def flush(self) -> None:
        for run in (*self._old.values(), *self._new.values()):
            self._queue(run)
        self._old, self._new = {}, {}

    def _turn(self) -> None:
        self._timer = None
        for run in self._old.values():
            self._queue(run)
        self._old, self._new = self._new, {}
        if self._old:
            self._timer = self._loop.call_later(self._seconds, self._turn)

    def _queue(self, run: Run) -> None:
        if run.queued is not run.state and run.state.type not in TERMINAL and not run.owner.lost:
            self._journal.queue(run)
