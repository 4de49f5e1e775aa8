"""The chain of numbered migrations: each is applied once, under a lock; a newer database is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..exceptions import DatabaseTooNew, StoreError

_VERSIONS = (
    "create table if not exists schema_version"
    " (version integer not null primary key, name text not null, applied_at bigint not null)"
)


@dataclass(slots=True, frozen=True)
class Migration:
    """One numbered file of statements."""

    version: int
    name: str
    text: str


def migrations() -> list[Migration]:
    """All migrations that this code knows, in order."""
    found = []
    for entry in Path(__file__).with_name("migrations").iterdir():
        number, _, rest = entry.name.partition("_")
        if number.isdigit() and rest.endswith(".sql"):
            found.append(Migration(int(number), rest.removesuffix(".sql"), entry.read_text("utf-8")))
    return sorted(found, key=lambda migration: migration.version)


def statements(text: str) -> Iterator[str]:
    """The statements of a script, one by one."""
    pending = ""
    for line in text.splitlines(keepends=True):
        pending += line
        if line.rstrip().endswith(";") and sqlite3.complete_statement(pending):
            yield pending.strip()
            pending = ""


def schema_version(raw: sqlite3.Connection) -> int:
    """The version that a database has; 0 for a new one."""
    if not raw.execute("select 1 from sqlite_master where type = 'table' and name = 'schema_version'").fetchall():
        return 0
    return int(raw.execute("select coalesce(max(version), 0) from schema_version").fetchall()[0][0])


def migrate(raw: sqlite3.Connection, where: str, now: Callable[[], int]) -> None:
    """Bring the database to the newest version; raises `DatabaseTooNew` when it is beyond that."""
    known = migrations()
    if _is_current(raw, known, where):
        return
    raw.execute("begin immediate")
    try:
        if not _is_current(raw, known, where):  # another process may have been first
            _apply(raw, known, now)
        raw.execute("commit")
    except BaseException as error:
        if raw.in_transaction:
            raw.execute("rollback")
        if isinstance(error, sqlite3.OperationalError) and "already exists" in str(error):
            raise StoreError(f"{where} is a database of another application: {error}.") from error
        raise


def _is_current(raw: sqlite3.Connection, known: list[Migration], where: str) -> bool:
    present, newest = schema_version(raw), known[-1].version
    refuse_newer(present, newest, where)
    return present == newest


def refuse_newer(present: int, newest: int, where: str) -> None:
    """Raise `DatabaseTooNew` where a database has a version that this code does not know."""
    if present > newest:
        raise DatabaseTooNew(
            f"The database {where} has schema version {present}, this asyncflow knows {newest}; upgrade asyncflow."
        )


def _apply(raw: sqlite3.Connection, known: list[Migration], now: Callable[[], int]) -> None:
    raw.execute(_VERSIONS)
    present = schema_version(raw)
    for migration in known:
        if migration.version > present:
            for statement in statements(migration.text):
                raw.execute(statement)
            row = (migration.version, migration.name, now())
            raw.execute("insert into schema_version (version, name, applied_at) values (?, ?, ?)", row)
