"""Writing many runs, moves and log lines in few steps, and refusing those whose owner has lost them.

SQLite gives up and retakes the interpreter's lock at every step, and beside a busy event loop each retake can cost a
whole switch interval; so one statement carries many rows. Chunk sizes are fixed, so that statements are prepared once.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

from ..core.runs import MOVE_COLUMNS, RUN_COLUMNS, LogLine, RunWrite
from ..exceptions import LeaseLost
from .queries import SQL

Row = tuple[Any, ...]

LINE_COLUMNS = ("run_id", "flow_run_id", "at", "level", "logger", "message", "fields")
_CHUNKS = (64, 16, 4, 1)
_LASTING = frozenset(
    {"id", "kind", "key", "created_at", "parent_id", "flow_run_id", "root_id", "spec_name", "spec_key"}
)
_ID = RUN_COLUMNS.index("id")
_CREATED, _DIGEST, _SIZE = (RUN_COLUMNS.index(name) for name in ("created_at", "digest", "size"))


class _Insert:
    """An insert statement for each of the chunk sizes, and for each set of columns that is not all null.

    A null that is bound costs more than any value: the driver looks for an adapter of its type, in vain, every time.
    """

    def __init__(self, table: str, columns: Sequence[str], on_conflict: str = "") -> None:
        self._table = table
        self._columns = columns
        self._on_conflict = on_conflict
        self._statements: dict[tuple[int, tuple[int, ...]], str] = {}

    def __call__(self, raw: sqlite3.Connection, rows: Sequence[Row]) -> None:
        for part in _chunked(rows):
            used = self._used(part)
            values = part if len(used) == len(self._columns) else map(itemgetter(*used), part)
            raw.execute(self._statement(len(part), used), list(chain.from_iterable(values)))

    def _used(self, rows: Sequence[Row]) -> tuple[int, ...]:
        count = len(rows)
        if count == 1:
            return tuple([index for index, value in enumerate(rows[0]) if value is not None])
        null = {
            index
            for index, value in enumerate(rows[0])
            if value is None and [row[index] for row in rows].count(None) == count
        }
        return tuple(index for index in range(len(self._columns)) if index not in null)

    def _statement(self, size: int, used: tuple[int, ...]) -> str:
        statement = self._statements.get((size, used))
        if statement is None:
            names = ", ".join(self._columns[index] for index in used)
            marks = ", ".join([f"({', '.join('?' * len(used))})"] * size)
            statement = f"insert into {self._table} ({names}) values {marks}{self._on_conflict}"
            self._statements[size, used] = statement
        return statement


def _chunked(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    start, left = 0, len(rows)
    for size in _CHUNKS:
        while left >= size:
            yield rows[start : start + size]
            start += size
            left -= size


_UPDATES = ", ".join(f"{name} = excluded.{name}" for name in RUN_COLUMNS if name not in _LASTING)
_insert_runs = _Insert("run", RUN_COLUMNS, f" on conflict (id) do update set {_UPDATES}")
_insert_moves = _Insert("transition", MOVE_COLUMNS)
_insert_lines = _Insert("log", LINE_COLUMNS)


def write_runs(raw: sqlite3.Connection, writes: Sequence[RunWrite]) -> None:
    """Write the last row of each run and every one of its moves; those of a lost owner get `LeaseLost` instead."""
    admitted = _admit(raw, writes)
    rows = {write.row[_ID]: write.row for write in admitted}
    _insert_runs(raw, list(rows.values()))
    _insert_moves(raw, [move for write in admitted for move in write.moves])
    for row in rows.values():
        if row[_DIGEST] is not None:
            raw.execute(SQL["keep_file"], {"digest": row[_DIGEST], "size": row[_SIZE], "at": row[_CREATED]})


def write_lines(raw: sqlite3.Connection, lines: Sequence[LogLine]) -> None:
    """Write log lines in the order given."""
    _insert_lines(raw, [line_row(line) for line in lines])


def line_row(line: LogLine) -> Row:
    """A log line as a row in the order of LINE_COLUMNS."""
    return (line.run_id, line.flow_run_id, line.at, line.level, line.logger, line.message, line.fields)


def _newer_epochs(raw: sqlite3.Connection, held: dict[str, int]) -> list[tuple[str, int]]:
    if len(held) == 1:  # most commits are of one outermost run
        [(root_id, epoch)] = held.items()
        return raw.execute(SQL["newer_epoch"], {"root_id": root_id, "epoch": epoch}).fetchall()
    return raw.execute(SQL["newer_epochs"], {"held": json.dumps(held)}).fetchall()


def _admit(raw: sqlite3.Connection, writes: Sequence[RunWrite]) -> list[RunWrite]:
    """Those writes whose epoch is not behind the stored epoch of their outermost run."""
    held: dict[str, int] = {}
    for write in writes:
        held[write.root_id] = min(write.epoch, held.get(write.root_id, write.epoch))
    newest: dict[str, int] = dict(_newer_epochs(raw, held))
    admitted = []
    for write in writes:
        write.error = None
        if write.epoch < newest.get(write.root_id, write.epoch):
            write.error = LeaseLost(f"Run {write.row[_ID]} was taken over: another owner holds {write.root_id} now.")
            continue
        if write.row[_ID] == write.root_id:
            newest[write.root_id] = write.epoch
        admitted.append(write)
    return admitted
