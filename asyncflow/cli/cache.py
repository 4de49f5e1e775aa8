"""`asyncflow cache`: results that are found again across runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from .opening import visit
from .screen import Column, Screen, output_option
from .times import age, iso, size

if TYPE_CHECKING:
    from ..ports import CacheEntry
    from ..store.visit import Visit

PAGE = 1_000
COLUMNS = [
    Column("KEY", lambda row: str(row["key"])),
    Column("TASK", lambda row: str(row["task"])),
    Column("AGE", lambda row: age(row["_created"])),
    Column("EXPIRES", lambda row: (row["expires_at"] or "never")[:19], spare=True),
    Column("SIZE", lambda row: size(row["bytes"])),
    Column("RESULT", lambda row: "" if row["result"] is None else json.dumps(row["result"], ensure_ascii=False)),
]


@click.group()
def cache() -> None:
    """Results of tasks with a cache policy, by cache key."""


@cache.command("ls")
@click.option("--task", metavar="NAME", help="Only of the task of this name.")
@click.option("--limit", type=click.IntRange(1), metavar="N", default=20, help="At most so many, by key. [default: 20]")
@output_option
@click.pass_obj
def list_cache(screen: Screen, task: str | None, limit: int, form: str) -> None:
    """List cached results."""
    rows = [_row(entry) for entry in visit(screen, lambda store: _entries(store, task, limit))]
    if form == "table" and not rows:
        click.echo("Nothing is cached; give a task a cache_policy to have its results found again.", err=True)
        return
    if form != "table":
        rows = [{name: value for name, value in row.items() if name != "_created"} for row in rows]
    screen.listing(form, rows, COLUMNS, "key")


@cache.command("clear")
@click.option("--task", metavar="NAME", help="Only of the task of this name.")
@output_option
@click.pass_obj
def clear_cache(screen: Screen, task: str | None, form: str) -> None:
    """Forget cached results, so that they are computed again."""
    count = visit(screen, lambda store: store.clear_cache(task), writes=True)
    row = {"task": task, "forgotten": count}
    whose = "" if task is None else f" of task {task!r}"
    told = f"Forgot {count:,} cached result{'' if count == 1 else 's'}{whose}."
    screen.one(form, row, lambda: screen.line(told), "forgotten")


async def _entries(store: Visit, task: str | None, limit: int) -> list[CacheEntry]:
    found: list[CacheEntry] = []
    after: str | None = None
    while len(found) < limit and (page := await store.cache_entries(PAGE if task else limit, after)):
        found += [entry for entry in page if task is None or entry.task_name == task]
        after = page[-1].key
    return found[:limit]


def _row(entry: CacheEntry) -> dict[str, Any]:
    value = entry.value
    return {
        "key": entry.key,
        "task": entry.task_name,
        "run_id": entry.run_id,
        "created_at": iso(entry.created_at),
        "expires_at": iso(entry.expires_at),
        "bytes": value.size,
        "result": None if value.preview is None else json.loads(value.preview),
        "_created": entry.created_at,
    }
