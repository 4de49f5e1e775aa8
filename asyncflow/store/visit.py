"""A look into a database by somebody who runs nothing: no executor is enlisted, and no file is made to look at."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from ..core.runs import Transition
from ..exceptions import DatabaseUnavailable, StoreError
from ..ports import Clock
from .cache import CacheRows
from .checks import Checks
from .database import Database
from .limits import LimitRows
from .liveness import LockFiles
from .logs import LogLines
from .migrate import migrations, refuse_newer, schema_version
from .queries import SQL
from .runs import RunReads, transition_of
from .session import Session
from .writer import Writer


class Visit(RunReads, LogLines, LimitRows, CacheRows, Checks):
    """Reads the database in the file `path`, beside whoever runs flows in it; with `writes`, may change it too.

    To read, the file must exist: `DatabaseUnavailable` says that there is none yet. With `writes` it is made.
    """

    def __init__(self, path: str, *, clock: Clock, busy_seconds: float, writes: bool = False) -> None:
        database = Database(os.path.realpath(path), power=False, now=clock.now)
        super().__init__(database, "", clock, busy_seconds)
        self._session = Session(database.connect_writer if writes else self._connect, database.path, busy_seconds)
        self._writer = Writer(self._session, database.check_in_place, 1)
        self._locks = LockFiles(database.path)

    @property
    def path(self) -> str:
        """The file, as an absolute path."""
        return self._database.path

    async def __aenter__(self) -> Visit:
        self._session.start()
        try:
            await self._session.call(lambda raw: None)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        self._session.end(self._writer.drain)
        await self._session.joined()

    async def moves_within(self, run_id: str, limit: int, after: int = 0) -> list[Transition]:
        """Moves of a run and of the runs of its body with `seq` above `after`, in commit order."""
        given = {"run_id": run_id, "limit": limit, "after": after}
        rows = await self._rows(SQL["moves_within"], given)
        return [transition_of(row) for row in rows]

    async def journal_mode(self) -> str:
        """How SQLite keeps the file whole: "wal" where several processes can work on it at once."""
        return str((await self._rows("pragma journal_mode", {}))[0][0])

    def _reading(self) -> Session:
        return self._session

    def _connect(self) -> sqlite3.Connection:
        path = Path(self._database.path)
        if not path.is_file():
            raise DatabaseUnavailable(f"There is no database {path}.")
        raw = self._database.connect_reader()
        try:
            self._check_schema(raw)
        except BaseException:
            raw.close()
            raise
        return raw

    def _check_schema(self, raw: sqlite3.Connection) -> None:
        present, newest = schema_version(raw), migrations()[-1].version
        path = self._database.path
        if not present:
            raise StoreError(f"{path} is not a database of asyncflow; choose another path.")
        refuse_newer(present, newest, path)
        if present < newest:
            raise StoreError(
                f"The database {path} has schema version {present}, this asyncflow reads {newest}; "
                "running any flow in it brings it up to date."
            )
