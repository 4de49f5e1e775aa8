"""Waits for slots that can never end: for what the waiter's own ancestors hold, or a loop that it blocks."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from ..context import Frame
from ..exceptions import BlockingCall, LimitDeadlock
from ..ports import Limits
from .known_limits import KnownLimits


class Held(Protocol):
    """Slots in hand, as `slots.Lease` has them."""

    token: str
    names: tuple[str, ...]
    occupy: int
    run_id: str | None
    loop: AbstractEventLoop | None
    whole_run: bool


H = TypeVar("H", bound=Held)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who wants slots: the body that asks, the loops that it blocks meanwhile, what its own code holds already."""

    frame: Frame | None
    blocked: tuple[AbstractEventLoop, ...]
    held: tuple[str, ...]

    def run_ids(self) -> list[str]:
        """The runs in whose bodies this asker stands, innermost first."""
        return [frame.run.id for frame in self._frames()]

    def name_of(self, run_id: str | None) -> str:
        """An ancestor in words."""
        for frame in self._frames():
            if frame.run.id == run_id:
                return f"{frame.run.kind} run {frame.run.name!r}"
        return "this code itself"

    def _frames(self) -> list[Frame]:
        found = []
        frame = self.frame
        while frame is not None:
            found.append(frame)
            frame = frame.parent
        return found


async def refuse_deadlock(
    store: Limits,
    known: KnownLimits,
    wanted: H,
    asker: Asker,
    ancestors: Callable[[Asker], Sequence[H]],
    holders: Callable[[str], Sequence[H]],
) -> None:
    """Raise `LimitDeadlock` or `BlockingCall` if too few slots can come free while the asker waits.

    `ancestors` gives what is held by those who cannot go on before the asker does, `holders` who holds a limit.
    """
    for name in wanted.names:
        record = known.get(name)
        if record is None or record.slots < wanted.occupy:
            continue
        own = [lease for lease in ancestors(asker) if name in lease.names]
        stuck = [one for one in holders(name) if one.loop in asker.blocked and one not in own and one is not wanted]
        if not (own or stuck) or record.slots - _sum([*own, *stuck]) >= wanted.occupy:
            continue
        stored = {holding.token for holding in await store.holdings(name)}
        own = [lease for lease in own if lease.token in stored]
        stuck = [lease for lease in stuck if lease.token in stored]
        if own and record.slots - _sum(own) < wanted.occupy:
            holder = asker.name_of(own[-1].run_id)
            raise LimitDeadlock(
                f"This waits for limit {name!r}, whose slots ({_sum(own)} of {record.slots}) are held by {holder}, "
                "which cannot go on before this does; release them first or raise the limit."
            )
        if stuck and record.slots - _sum([*own, *stuck]) < wanted.occupy:
            raise BlockingCall(
                f"This waits for limit {name!r}, whose slots are held by code on the event loop that this very call "
                "blocks; `await` it instead."
            )


def _sum(leases: Iterable[Held]) -> int:
    return sum(lease.occupy for lease in leases)
