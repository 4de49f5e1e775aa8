"""What SQLite's errors mean in our own tree, and how long to be patient with a foreign lock."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from ..exceptions import DatabaseBusy, DatabaseCorrupt, DatabaseUnavailable, StoreError

T = TypeVar("T")

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full (or the database has reached its size limit)",
    sqlite3.SQLITE_READONLY: "it cannot be written (read-only file or directory, or the file was moved)",
    sqlite3.SQLITE_IOERR: "the disk reported an input/output error",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened (missing directory, no permission, or it is a directory)",
    sqlite3.SQLITE_PERM: "access was denied",
    sqlite3.SQLITE_NOMEM: "there is not enough memory",
    sqlite3.SQLITE_NOLFS: "the file system cannot hold files of this size",
    sqlite3.SQLITE_PROTOCOL: "its locks do not work on this file system",
}


def primary_code(error: BaseException) -> int | None:
    """SQLite's primary result code of an error, or None where there is none."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def is_busy(error: BaseException) -> bool:
    """Whether somebody else holds a lock, so that the same may work later."""
    return primary_code(error) in _BUSY


def is_damage(error: BaseException) -> bool:
    """Whether the file is no database or is damaged."""
    return primary_code(error) in _DAMAGED


def concerns_database(error: BaseException) -> bool:
    """Whether an error is about the database as a whole, and not about the row that met it."""
    code = primary_code(error)
    return isinstance(error, StoreError | OSError) or code in _BUSY or code in _DAMAGED or code in _REASONS


def translated(error: BaseException, where: str) -> BaseException:
    """The error of our own tree that stands for `error`, naming the database; our own errors stay as they are."""
    if isinstance(error, StoreError) or not isinstance(error, sqlite3.Error | OSError):
        return error
    code = primary_code(error)
    ours = _ours(error, code, where)
    ours.__cause__ = error
    return ours


def _ours(error: BaseException, code: int | None, where: str) -> StoreError:
    if code in _BUSY:
        return DatabaseBusy(f"Another process kept the database {where} locked for longer than was allowed.")
    if code in _DAMAGED:
        return DatabaseCorrupt(f"{where} is not a database or is damaged ({error}); restore a backup.")
    if code in _REASONS:
        return DatabaseUnavailable(f"The database {where} cannot be used: {_REASONS[code]}.")
    if isinstance(error, OSError):
        return DatabaseUnavailable(f"The database {where} cannot be used: {error}.")
    return StoreError(f"The database {where} could not do what was asked: {error}.")


def patiently(work: Callable[[], T], seconds: float) -> T:
    """Call `work` again, with growing pauses, while a foreign lock prevents it and `seconds` have not passed.

    Real time, whatever the store's clock: the process that holds the lock lives in real time.
    """
    deadline = time.monotonic() + seconds
    pause = 0.001
    while True:
        try:
            return work()
        except sqlite3.Error as error:
            if not is_busy(error) or time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
