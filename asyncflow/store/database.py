"""How a connection to the file is made: path, permissions, pragmas, schema."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from ..exceptions import DatabaseUnavailable
from .migrate import migrate

MEMORY = ":memory:"
_BUSY_STEP = 0.25
_STATEMENTS = 512


class Database:
    """Where the database is, and how connections to it are made (each on the thread that will use it)."""

    def __init__(self, path: str | Path, *, power: bool, now: Callable[[], int]) -> None:
        self.in_memory = str(path) == MEMORY
        self.path = str(path)
        self.power = power
        self._now = now
        self._identity: tuple[int, int] | None = None

    def connect_writer(self) -> sqlite3.Connection:
        """A connection that may write, to a file that exists and has the present schema."""
        if not self.in_memory:
            self._make_file()
        raw = self._connect()
        try:
            raw.execute("pragma foreign_keys = off")
            raw.execute("pragma temp_store = memory")
            if not self.in_memory:
                raw.execute("pragma journal_mode = wal").fetchall()
                raw.execute(f"pragma synchronous = {'full' if self.power else 'normal'}")
                raw.execute("pragma wal_autocheckpoint = 4000")
            migrate(raw, self.path, self._now)
        except BaseException:
            raw.close()
            raise
        return raw

    def connect_reader(self) -> sqlite3.Connection:
        """A connection that only reads."""
        raw = self._connect()
        try:
            raw.execute("pragma temp_store = memory")
            raw.execute("pragma query_only = on")
        except BaseException:
            raw.close()
            raise
        return raw

    def check_in_place(self) -> None:
        """Raise if the file is no longer where it was: SQLite would go on writing into nowhere."""
        if self._identity is not None and _identity(self.path) != self._identity:
            raise DatabaseUnavailable(f"The database {self.path} was removed or replaced while it was in use.")

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=_BUSY_STEP, isolation_level=None, cached_statements=_STATEMENTS)

    def _make_file(self) -> None:
        self.path = os.path.realpath(self.path)  # so that all who open it, by whatever name, agree on its lock files
        try:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            reason = error.strerror or str(error)
            raise DatabaseUnavailable(f"The database {self.path} cannot be opened: {reason}.") from error
        self._identity = _identity(self.path)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
