"""Ids that sort by time (UUID version 7, RFC 9562), so that rows are appended and never scattered."""

from __future__ import annotations

import random
from threading import Lock

from .clock import SystemClock


class IdMaker:
    """Makes ids that rise strictly within one maker, from an injected clock and random source.

    The 12 bits after the version count up within a millisecond (RFC 9562, section 6.2, method 1), so that ids made
    in one process keep their order; the other 62 bits are random, so that two processes never meet.
    """

    def __init__(self, clock: SystemClock | None = None, source: random.Random | None = None) -> None:
        self._now = (clock or SystemClock()).now
        self._bits = (source or random.SystemRandom()).getrandbits if source else random.Random().getrandbits
        self._last = 0
        self._lock = Lock()

    def __call__(self) -> str:
        stamp = (self._now() // 1000) << 12
        with self._lock:
            self._last = stamp = max(stamp, self._last + 1)
            low = self._bits(62)
        head = f"{stamp >> 12:012x}"
        tail = f"{0x8000000000000000 | low:016x}"
        return f"{head[:8]}-{head[8:]}-7{stamp & 0xFFF:03x}-{tail[:4]}-{tail[4:]}"
