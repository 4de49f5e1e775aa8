"""When a failed attempt is tried again, and after how long."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeAlias

from ..exceptions import InvalidOption

Delay: TypeAlias = float | timedelta | Sequence[float] | Callable[[int], Sequence[float]]


class RetryPolicy:
    """How often and how late to retry: `retries` attempts after the first; the last delay repeats."""

    __slots__ = ("condition", "delays", "jitter", "retries")

    def __init__(
        self,
        retries: int = 0,
        delay: Delay | None = None,
        jitter: float | None = None,
        condition: Callable[..., Any] | None = None,
    ) -> None:
        if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
            raise InvalidOption(f"retries is {retries!r}; it takes a whole number from 0 up.")
        if jitter is not None and (isinstance(jitter, bool) or not isinstance(jitter, int | float) or not jitter >= 0):
            raise InvalidOption(f"retry_jitter_factor is {jitter!r}; it takes a number from 0 up.")
        if condition is not None and not callable(condition):
            raise InvalidOption(f"retry_condition_fn is {condition!r}; it takes a function of (task, run, state).")
        self.retries = retries
        self.delays = _delays(delay, retries)
        self.jitter = float(jitter or 0.0)
        self.condition = condition

    def delay(self, failures: int, source: random.Random) -> float:
        """Seconds to wait after that many failures (from 1), spread by the jitter within delay * (1 +- factor)."""
        if not self.delays:
            return 0.0
        delay = self.delays[min(failures, len(self.delays)) - 1]
        if self.jitter and delay:
            delay = max(0.0, delay * (1 + self.jitter * source.uniform(-1, 1)))
        return delay


def _delays(delay: Delay | None, retries: int) -> tuple[float, ...]:
    if callable(delay):
        delay = delay(retries)
    if delay is None:
        return ()
    if isinstance(delay, timedelta | int | float):
        return (_seconds(delay),)
    if isinstance(delay, str | bytes) or not isinstance(delay, Sequence):
        raise InvalidOption(
            f"retry_delay_seconds is {delay!r}; it takes a number, a timedelta, a list of numbers or a function."
        )
    return tuple(_seconds(one) for one in delay)


def _seconds(value: Any) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise InvalidOption(f"retry_delay_seconds holds {value!r}; a delay is a number of seconds from 0 up.")
    return float(seconds)
