"""Ids that sort by time (UUID version 7, RFC 9562), so that rows are appended and never scattered."""

from __future__ import annotations

import os
import random
from threading import Lock
from typing import Protocol

from .clock import SystemClock


class WallClock(Protocol):
    """What time it is, in microseconds since the epoch."""

    def now(self) -> int: ...


class IdMaker:
    """Makes ids that rise strictly within one maker, from an injected clock and random source.

    The 12 bits after the version count up within a millisecond (RFC 9562, section 6.2, method 1), and run over into
    the next one; the other 62 bits are drawn anew each millisecond, and in a forked child, so that two makers never
    meet.
    """

    def __init__(self, clock: WallClock | None = None, source: random.Random | None = None) -> None:
        self._now = (clock or SystemClock()).now
        self._source = source or random.Random()
        self._lock = Lock()
        self._millisecond = self._count = 0
        self._head = self._tail = ""
        self._pid = os.getpid()

    def __call__(self, now: int | None = None) -> str:
        """A new id, of this time (microseconds since the epoch) or of now."""
        millisecond = (self._now() if now is None else now) // 1000
        with self._lock:
            if millisecond > self._millisecond or self._count == 0xFFF:
                self._turn(max(millisecond, self._millisecond + 1))
            else:
                self._count += 1
            return f"{self._head}-7{self._count:03x}-{self._tail}"

    def _turn(self, millisecond: int) -> None:
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._source = random.Random()
        self._millisecond, self._count = millisecond, 0
        stamp = f"{millisecond:012x}"
        low = f"{0x8000000000000000 | self._source.getrandbits(62):016x}"
        self._head = f"{stamp[:8]}-{stamp[8:]}"
        self._tail = f"{low[:4]}-{low[4:]}"
