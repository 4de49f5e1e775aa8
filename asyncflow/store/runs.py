"""Reading runs, moves and journals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..core.runs import RUN_COLUMNS, RunFilter, RunId, RunRecord, StoredValue, Transition
from ..states import TERMINAL, StateType
from .queries import SQL
from .room import Room

Row = tuple[Any, ...]

_STATES = {state.value: state for state in StateType}
_STATE, _TAGS, _DEPENDS = (RUN_COLUMNS.index(name) for name in ("state_type", "tags", "depends_on"))
_ALL = ", ".join(RUN_COLUMNS)
_LIGHT = ", ".join("null as data" if name == "data" else name for name in RUN_COLUMNS)
_ONE = SQL["run"].format(columns=_ALL)
_FINISHED = SQL["finished"].format(columns=_LIGHT)

if tuple(field.name for field in fields(RunRecord)) != RUN_COLUMNS:  # records are built by position
    raise AssertionError("RunRecord and RUN_COLUMNS name different columns")


def record_of(row: Row) -> RunRecord:
    """A row of `run` as a value."""
    values = list(row)
    values[_STATE] = _STATES[values[_STATE]]
    values[_TAGS] = _strings(values[_TAGS])
    values[_DEPENDS] = _strings(values[_DEPENDS])
    return RunRecord(*values)


def transition_of(row: Row) -> Transition:
    """A row of `transition` as a value."""
    seq, run_id, at, state, name, message, attempt = row
    return Transition(seq, run_id, at, _STATES[state], name, message, attempt)


_TERMS = {
    "flow_run_id": "flow_run_id = :flow_run_id",
    "parent_id": (
        "((flow_run_id = :parent_id and parent_id = :parent_id)"
        " or (parent_id = :parent_id and parent_id is not flow_run_id))"
    ),
    "name": "name = :name",
    "spec_name": "spec_name = :spec_name",
    "tag": "exists (select 1 from json_each(tags) where value = :tag)",
    "since": "created_at >= :since",
}


def condition(where: RunFilter) -> tuple[str, dict[str, Any]]:
    """A filter as an SQL condition with its parameters. The literal terms are those of the partial indexes."""
    given = {name: value for name in _TERMS if (value := getattr(where, name)) is not None}
    terms = [_TERMS[name] for name in given]
    if where.kind is not None:
        terms.append("kind = 'flow'" if where.kind == "flow" else "kind = 'task'")
    if where.outermost:
        terms.append("parent_id is null")
    if where.state_types:
        terms.append(f"state_type in ({', '.join(repr(StateType(state).value) for state in where.state_types)})")
        if TERMINAL.isdisjoint(where.state_types):
            terms.append("state_type not in ('COMPLETED', 'FAILED', 'CANCELLED', 'CRASHED')")
    if where.id_prefix:
        low = where.id_prefix.lower()
        terms.append("id >= :low and id < :high")
        given.update(low=low, high=low + "\U0010ffff")
    return " and ".join(terms) or "1 = 1", given


class RunReads(Room):
    """The roles `RunReader` and `Journaled`."""

    async def run(self, run_id: RunId) -> RunRecord | None:
        """The run of that id."""
        rows = await self._rows(_ONE, {"id": run_id})
        return record_of(rows[0]) if rows else None

    async def runs(self, where: RunFilter, limit: int, before: RunId | None = None) -> list[RunRecord]:
        """Newest first, by id; `before` is the last id of the page before; `data` is left out."""
        term, given = condition(where)
        if before is not None:
            term, given = f"{term} and id < :before", {**given, "before": before}
        statement = SQL["runs"].format(columns=_LIGHT, where=term)
        return await self._records(statement, {**given, "limit": limit})

    async def count(self, where: RunFilter) -> Mapping[str, int]:
        """How many such runs there are in each state type."""
        term, given = condition(where)
        return dict(await self._rows(SQL["count_runs"].format(where=term), given))

    async def transitions(self, run_id: RunId) -> list[Transition]:
        """All moves of a run, in order."""
        return await self._transitions(SQL["transitions"], {"run_id": run_id})

    async def changes(self, after: int, limit: int) -> list[Transition]:
        """Moves with `seq` above `after`, in commit order; never skips one."""
        return await self._transitions(SQL["changes"], {"after": after, "limit": limit})

    async def finished(self, flow_run_id: RunId) -> Mapping[str, RunRecord]:
        """The ended task runs and subflows of a flow run by identity key, without their data."""
        records = await self._records(_FINISHED, {"flow_run_id": flow_run_id})
        return {record.key: record for record in records if record.key is not None}

    async def stored_value(self, run_id: RunId) -> StoredValue | None:
        """The result of one run, as it was kept."""
        rows = await self._rows(SQL["stored_value"], {"id": run_id})
        return StoredValue(*rows[0]) if rows else None

    async def _rows(self, statement: str, given: Mapping[str, Any]) -> list[Any]:
        return await self._read(lambda raw: raw.execute(statement, given).fetchall())

    async def _records(self, statement: str, given: Mapping[str, Any]) -> list[RunRecord]:
        return await self._read(lambda raw: [record_of(row) for row in raw.execute(statement, given).fetchall()])

    async def _transitions(self, statement: str, given: Mapping[str, Any]) -> list[Transition]:
        return await self._read(lambda raw: [transition_of(row) for row in raw.execute(statement, given).fetchall()])


def _strings(text: str | None) -> tuple[str, ...]:
    return tuple(json.loads(text)) if text else ()
