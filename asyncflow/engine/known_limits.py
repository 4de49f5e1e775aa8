"""Which concurrency limits there are, as this process last saw them: names without a limit cost no database access."""

from __future__ import annotations

import asyncio
import logging
from asyncio import AbstractEventLoop
from collections.abc import Sequence

from ..exceptions import UnknownLimit
from ..ports import Clock, LimitRecord, Limits

FRESH_SECONDS = 0.25
TAG_PREFIX = "tag:"


class KnownLimits:
    """The limits of a store, read again when they are older than a quarter of a second or were changed through it.

    A store that counts its own changes of limits in `limits_version` has them seen at once.
    """

    def __init__(self, store: Limits, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._records: dict[str, LimitRecord] = {}
        self._read_at = float("-inf")
        self._version: int | None = None
        self._readers: dict[AbstractEventLoop, asyncio.Event] = {}
        self._warned: set[str] = set()

    def get(self, name: str) -> LimitRecord | None:
        """The limit of that name if it counts, as last seen."""
        record = self._records.get(name)
        return record if record is not None and record.active else None

    async def among(self, names: Sequence[str], strict: bool) -> list[LimitRecord]:
        """The limits of these names that count. One without a limit is warned of once; `strict` raises instead."""
        await self.refresh()
        unknown = [name for name in names if name not in self._records and not name.startswith(TAG_PREFIX)]
        for name in unknown:
            self._unknown(name, strict)
        return [record for name in names if (record := self.get(name)) is not None]

    async def refresh(self) -> None:
        """Read the limits, if what is known is stale; one reader per event loop at a time."""
        loop = asyncio.get_running_loop()
        while self._is_stale():
            reader = self._readers.get(loop)
            if reader is None:
                await self._read(loop)
                return
            await reader.wait()

    def _is_stale(self) -> bool:
        if self._version != self._store_version():
            return True
        return self._clock.monotonic() - self._read_at >= FRESH_SECONDS

    def _store_version(self) -> int:
        return getattr(self._store, "limits_version", 0)

    async def _read(self, loop: AbstractEventLoop) -> None:
        reader = self._readers[loop] = asyncio.Event()
        version, started = self._store_version(), self._clock.monotonic()
        try:
            records = await self._store.limits()
            self._records = {record.name: record for record in records}
            self._version, self._read_at = version, started
        finally:
            del self._readers[loop]
            reader.set()

    def _unknown(self, name: str, strict: bool) -> None:
        command = f"`asyncflow concurrency-limit create {name} SLOTS`"
        if strict:
            raise UnknownLimit(f"There is no limit named {name!r}; create it with {command}.")
        if name not in self._warned:
            self._warned.add(name)
            logging.getLogger("asyncflow").warning(
                "There is no limit named %r, so it holds nobody back; create it with %s.", name, command
            )
