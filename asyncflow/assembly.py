"""The parts of an open application, put together: store, results, threads, engine; loaded when one opens."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from . import logging as run_logging
from .console import Console
from .core.ids import IdMaker
from .core.validation import warm_up
from .engine.caching import Caching
from .engine.crossing import Pool
from .engine.engine import Engine
from .engine.journal import Journal
from .engine.slots import Slots
from .ports import Clock, Store, Surroundings
from .results.envelope import Keys, load_keys
from .results.kept import ResultStore
from .settings import Settings
from .store.sqlite import SQLiteStore

MEMORY = ":memory:"


@dataclass(slots=True)
class Parts:
    """What an application holds while it is open."""

    store: Store
    results: ResultStore
    journal: Journal
    slots: Slots
    caching: Caching
    pool: Pool
    engine: Engine

    def leave(self, captured: bool) -> None:
        """Take nothing more: wake who waits, and stop listening to prints and logging."""
        self.slots.close()
        self.caching.close()
        if captured:
            run_logging.uninstall()
        self.journal.flush_late()


def make_console(settings: Settings) -> Console | None:
    """The console, if lines are wanted."""
    return Console(settings) if settings.log_console == "on" else None


async def open_store(settings: Settings, executor_id: str, clock: Clock) -> SQLiteStore:
    """The store of these settings, open."""
    store = SQLiteStore(
        settings.database,
        executor_id=executor_id,
        clock=clock,
        durability_power=settings.durability == "power",
        busy_seconds=settings.busy_seconds,
        batch_rows=settings.batch_rows,
    )
    await store.open()
    return store


def read_keys(settings: Settings) -> Keys:
    """The keys that sign results; blocks, as does pydantic's look for its plugins, which the first flow needs."""
    warm_up()
    return load_keys(",".join(settings.result_key) or None, _path(settings))


def _path(settings: Settings) -> Path | None:
    return None if settings.database == MEMORY else Path(settings.database)


def assemble(
    surroundings: Surroundings,
    store: Store,
    keys: Keys,
    pool: Pool,
    *,
    executor_id: str,
    ids: IdMaker,
    source: random.Random,
) -> Parts:
    """Put the parts together around an open store; gives the surroundings their store, secret and engine."""
    settings, clock = surroundings.settings, surroundings.clock
    path = _path(settings)
    directory = None if path is None else path.with_name(path.name + ".results")
    results = ResultStore(directory, keys, settings.result_inline_bytes)
    surroundings.store = store
    surroundings.secret = keys.secret
    journal = Journal(store, clock, settings.late_seconds, settings.commit_seconds)
    slots = Slots(store, executor_id, clock, ids)
    caching = Caching(store, executor_id, clock, ids)
    surroundings.engine = engine = Engine(
        surroundings, journal, results, slots, caching, pool, executor_id=executor_id, ids=ids, source=source
    )
    if settings.log_capture:
        run_logging.install()
    return Parts(store, results, journal, slots, caching, pool, engine)
