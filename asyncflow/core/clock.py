"""What time it is, as a thing that can be given."""

from __future__ import annotations

import time


class SystemClock:
    """The clock of the machine: wall time in microseconds since the epoch, monotonic time in seconds."""

    def now(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()
