"""Runs on the command line: finding one by what a person types, and listing and telling what is known of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from ..core.runs import Kind, RunFilter, RunRecord, StoredError
from ..states import StateType
from .opening import NotFound
from .screen import COLOURS, Column, Row, Screen, printable
from .times import Since, age, clock, iso, now, seconds_between, size, span

if TYPE_CHECKING:
    from ..store.visit import Visit

CANDIDATES = 5
STATES = [state.value.lower() for state in StateType]

state_option = click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES, case_sensitive=False),
    metavar="STATE",
    help=f"Only in this state: {', '.join(STATES[:-1])} or {STATES[-1]}. May be given several times.",
)
tag_option = click.option("--tag", metavar="TAG", help="Only with this tag.")
since_option = click.option("--since", type=Since(), metavar="WHEN", help="Only made since: 30m, 2h, 7d, or a date.")
limit_option = click.option(
    "--limit", type=click.IntRange(1), metavar="N", default=20, help="At most so many, the newest. [default: 20]"
)


def state_types(states: tuple[str, ...]) -> tuple[StateType, ...]:
    """The state types that were named."""
    return tuple(StateType(state.upper()) for state in states)


async def find(store: Visit, kind: Kind, asked: str) -> RunRecord:
    """The run of that id, of an id that begins so, or of that name. Raises `NotFound`, or names the candidates."""
    exact = await store.run(asked.lower())
    if exact is not None and exact.kind == kind:
        return exact
    found = await store.runs(RunFilter(kind=kind, id_prefix=asked), CANDIDATES + 1)
    found = found or await store.runs(RunFilter(kind=kind, name=asked), CANDIDATES + 1)
    if not found:
        raise NotFound(f"There is no {kind} run {asked!r}; `asyncflow {kind}-run ls` lists them.")
    if len(found) > 1:
        raise click.UsageError(_ambiguous(kind, asked, found))
    return await store.run(found[0].id) or found[0]


def _ambiguous(kind: Kind, asked: str, found: list[RunRecord]) -> str:
    wide = max(len(run.state_name) for run in found[:CANDIDATES])
    shown = [
        f"  {run.id}  {run.state_name:{wide}}  {age(run.created_at)} ago  {run.name}" for run in found[:CANDIDATES]
    ]
    more = ["  ..."] if len(found) > CANDIDATES else []
    return "\n".join([f"{asked!r} may be any of these {kind} runs; give more of the id:", *shown, *more])


def row_of(run: RunRecord) -> dict[str, Any]:
    """What programs are told of a run in a list."""
    return {
        "id": run.id,
        "kind": run.kind,
        "name": run.name,
        run.kind: run.spec_name,
        "state": run.state_type.value,
        "state_name": run.state_name,
        "message": run.state_message,
        "attempts": run.attempt,
        "created_at": iso(run.created_at),
        "started_at": iso(run.started_at),
        "ended_at": iso(run.ended_at),
        "seconds": _seconds(run),
        "tags": list(run.tags),
        "flow_run_id": run.flow_run_id,
        "parent_id": run.parent_id,
        "root_id": run.root_id,
        "_created": run.created_at,
    }


def _seconds(run: RunRecord) -> float | None:
    """How long a run took, or has been going on for."""
    end = run.ended_at if run.ended_at is not None else now()
    return seconds_between(run.started_at if run.started_at is not None else run.ended_at, end)


def columns(kind: Kind) -> list[Column]:
    """The columns of a list of runs."""
    return [
        Column("ID", lambda row: str(row["id"])),
        Column("STATE", lambda row: str(row["state_name"]), lambda row: COLOURS.get(row["state"])),
        Column("AGE", lambda row: age(row["_created"])),
        Column("TOOK", lambda row: span(row["seconds"]), spare=True),
        Column("NAME", lambda row: str(row["name"])),
        Column(kind.upper(), lambda row: str(row[kind])),
    ]


def details_of(run: RunRecord, counts: dict[str, int] | None) -> dict[str, Any]:
    """What programs are told of one run."""
    from ..results.errors import describe_error

    return {
        **row_of(run),
        "key": run.key,
        "executor_id": run.executor_id,
        "depends_on": list(run.depends_on),
        "parameters": _parsed(run.parameters),
        "result": _parsed(run.preview),
        "result_bytes": run.size,
        "error": None if run.error is None else describe_error(StoredError(run.error)),
        **({} if counts is None else {"task_runs": counts}),
    }


def _parsed(preview: str | None) -> Any:
    return None if preview is None else json.loads(preview)


def list_runs(screen: Screen, form: str, kind: Kind, runs: list[RunRecord]) -> None:
    """Show runs, newest first."""
    rows = [row_of(run) for run in runs]
    if form == "table" and not rows:
        click.echo(f"There are no such {kind} runs.", err=True)
    else:
        screen.listing(form, rows if form == "table" else [_public(row) for row in rows], columns(kind))


def tell(screen: Screen, form: str, run: RunRecord, counts: dict[str, int] | None) -> None:
    """Show all that is known of one run."""
    row = details_of(run, counts)
    screen.one(form, _public(row), lambda: _tell(screen, run, row))


def _public(row: Row) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith("_")}


def _tell(screen: Screen, run: RunRecord, row: Row) -> None:
    colour = COLOURS.get(run.state_type.value)
    reason = f" - {run.state_message}" if run.state_message and run.state_message != run.state_name else ""
    screen.facts(
        [
            (f"{run.kind} run", run.name, None),
            ("id", run.id, None),
            (run.kind, run.spec_name, None),
            ("state", f"{run.state_name}{reason}", colour),
            ("made", f"{clock(run.created_at)} ({age(run.created_at)} ago)", None),
            ("started", "" if run.started_at is None else clock(run.started_at), None),
            ("ended", "" if run.ended_at is None else f"{clock(run.ended_at)} (took {span(row['seconds'])})", None),
            ("attempts", str(run.attempt), None),
            ("tags", ", ".join(run.tags), None),
            ("in flow run", run.flow_run_id or "", None),
            ("depends on", ", ".join(run.depends_on), None),
            ("task runs", _counted(row.get("task_runs") or {}), None),
            ("result", _result(run), None),
        ]
    )
    _tell_parameters(screen, row["parameters"])
    if row["error"] is not None:
        _tell_error(screen, row["error"])


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {state.lower()}" for state, count in sorted(counts.items()))


def _result(run: RunRecord) -> str:
    if run.size is None:
        return ""
    kept = f"({size(run.size)}, {run.codec})"
    return kept if run.preview is None else f"{run.preview} {kept}"


def _tell_parameters(screen: Screen, parameters: Any) -> None:
    if parameters:
        screen.line()
        screen.line("parameters", bold=True)
        shown = parameters if isinstance(parameters, dict) else {"": parameters}
        screen.facts((f"  {name}", json.dumps(value, ensure_ascii=False), None) for name, value in shown.items())


def _tell_error(screen: Screen, error: dict[str, str]) -> None:
    """The error by type and message, then where it came from."""
    screen.line()
    screen.line("error", bold=True)
    name = error["type"].removeprefix("builtins:").replace(":", ".")
    for line in f"{name}: {error['message']}".splitlines():
        screen.line(f"  {printable(line)}", "red")
    if error["traceback"]:
        screen.line()
        screen.line("traceback", bold=True)
        for line in error["traceback"].splitlines():
            screen.line(f"  {printable(line)}")
