"""Fair shares of a limit between processes: one with a long line of its own must not starve another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..core.runs import ExecutorId
from ..ports import CacheIndex, Clock
from .waiting_line import Chance

TURN_SECONDS = 0.1
PAUSE_SECONDS = 0.05
STAND_BACK_SECONDS = (0.06, 0.12)


class _Turn:
    __slots__ = ("idle_since", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.idle_since: float | None = None


class Turns:
    """When this process has to stand back from a limit for a moment.

    A process that waits for a limit of which it holds nothing, and was refused twice, says so by claiming the flight
    `limit-waiter:NAME`; only one process at a time can, which is enough, since it gives that up when it gets a slot,
    and the next one can claim it. A process that has had slots of a limit without a pause for 100 ms looks, before it
    takes more, whether that flight is somebody's; then it holds back for 60-120 ms, longer than the other's poll
    (20-50 ms). So a hand-over within the process costs nothing extra, being alone costs two queued writes per 100 ms
    of a limit in steady use, and the mark of a dead process counts for nothing. Shares are not equal; nobody starves.
    """

    def __init__(
        self, store: CacheIndex, executor_id: ExecutorId, clock: Clock, ids: Callable[[], str], chance: Chance
    ) -> None:
        self._store = store
        self._executor_id = executor_id
        self._clock = clock
        self._ids = ids
        self._chance = chance
        self._turns: dict[str, _Turn] = {}

    def began(self, names: Sequence[str]) -> None:
        """This process takes slots of these limits."""
        now = self._clock.monotonic()
        for name in names:
            turn = self._turns.get(name)
            if turn is None or _has_paused(turn, now):
                turn = self._turns[name] = _Turn(now)
            turn.idle_since = None

    def idle(self, name: str) -> None:
        """This process holds nothing of that limit any more."""
        turn = self._turns.get(name)
        if turn is not None:
            turn.idle_since = self._clock.monotonic()

    async def hold_back(self, names: Sequence[str]) -> float:
        """How many seconds to wait before taking slots of these limits; mostly none."""
        for name in names:
            turn = self._turns.get(name)
            now = self._clock.monotonic()
            if turn is None or _has_paused(turn, now) or now - turn.since < TURN_SECONDS:
                continue
            turn.since = now
            if await self._is_wanted(name):
                return self._chance(*STAND_BACK_SECONDS)
        return 0.0

    async def want(self, name: str, token: str) -> bool:
        """Tell the other processes that this one starves; whoever asks must call `sated`, also when cancelled here."""
        return await self._store.claim_flight(_mark(name), self._executor_id, token)

    def sated(self, name: str, token: str) -> None:
        """This process starves no longer."""
        self._store.end_flight(_mark(name), token)

    async def _is_wanted(self, name: str) -> bool:
        token = self._ids()
        try:
            return not await self.want(name, token)
        finally:
            self.sated(name, token)


def _has_paused(turn: _Turn, now: float) -> bool:
    return turn.idle_since is not None and now - turn.idle_since > PAUSE_SECONDS


def _mark(name: str) -> str:
    return f"limit-waiter:{name}"
