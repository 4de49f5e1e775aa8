"""What a measured line is, and how both of its sides are measured in turns."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

Side: TypeAlias = Callable[[], Awaitable[float]]


@dataclass(frozen=True)
class Figures:
    """What came out: the figures of each round, ours and the floor's."""

    ours: list[float]
    floor: list[float]

    @property
    def ratio(self) -> float:
        """Our median over the floor's."""
        return statistics.median(self.ours) / statistics.median(self.floor)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Line:
    """One line of the table. `target` bounds the ratio to the floor, or our own figure where `judged` says so."""

    name: str
    what: str
    floor: str
    unit: str
    target: float | None
    measure: Callable[[Size], Coroutine[Any, Any, Figures]]
    judged: Literal["ratio", "ours"] = "ratio"
    environment: dict[str, str] = field(default_factory=dict)

    def judge(self, figures: Figures) -> str:
        """Whether the target is met: "yes", "NO", or "" where there is none."""
        if self.target is None:
            return ""
        reached = figures.ratio if self.judged == "ratio" else statistics.median(figures.ours)
        return "yes" if reached <= self.target else "NO"


@dataclass(frozen=True)
class Size:
    """How large a line is measured: the real size, or a tiny one that shows that it runs."""

    smoke: bool = False
    rounds: int | None = None

    def tasks(self, real: int) -> int:
        """So many tasks where `real` is the true number."""
        return max(10, real // 1000) if self.smoke else real

    def times(self, real: int) -> int:
        """So many rounds where `real` is the usual number."""
        return 1 if self.smoke else self.rounds or real


async def in_turns(ours: Side, floor: Side, rounds: int) -> Figures:
    """Measure both sides in turns, `rounds` times each, after one round of each that does not count."""
    await floor()
    await ours()
    figures = Figures([], [])
    for _ in range(rounds):
        for side, kept in ((floor, figures.floor), (ours, figures.ours)):
            gc.collect()
            kept.append(await side())
    return figures


class Stopwatch:
    """`with Stopwatch() as watch: ...`, then `watch.seconds`."""

    seconds = 0.0

    def __enter__(self) -> Stopwatch:
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._start

    def each(self, n: int) -> float:
        """Microseconds for each of `n`."""
        return self.seconds / n * 1e6
