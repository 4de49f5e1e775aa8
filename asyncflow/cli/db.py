"""`asyncflow db`: whether the database is sound, how full it is, and who works in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .opening import visit
from .screen import Screen, output_option
from .times import age, iso, size

if TYPE_CHECKING:
    from ..store.visit import Visit

TABLES = {"run": "run", "transition": "move", "log": "log line", "cache": "cached result"}


@click.group()
def db() -> None:
    """The database: one file with every run, move, result and log line."""


@db.command("check", short_help="Check that the database is whole.")
@output_option
@click.pass_obj
def check_db(screen: Screen, form: str) -> int:
    """Check that the database is whole; exit code 1 when something is wrong with it."""
    found = visit(screen, _check)
    screen.one(form, found, lambda: _tell(screen, found), "database")
    return 1 if found["problems"] else 0


async def _check(store: Visit) -> dict[str, Any]:
    stats = await store.stats()
    executors = [
        {
            "id": executor.id,
            "host": executor.host,
            "pid": executor.pid,
            "started_at": iso(executor.started_at),
            "alive": await store.alive(executor),
            "age": age(executor.started_at),
        }
        for executor in await store.executors()
    ]
    return {
        "database": store.path,
        "problems": await store.integrity(),
        "schema_version": stats.pop("schema_version"),
        "journal_mode": await store.journal_mode(),
        "bytes": stats.pop("bytes"),
        "free_bytes": stats.pop("free_bytes"),
        "rows": {name: count for name, count in stats.items() if name != "dropped_lines"},
        "executors": executors,
    }


def _tell(screen: Screen, found: dict[str, Any]) -> None:
    problems, mode = found["problems"], found["journal_mode"]
    held = ", ".join(_many(found["rows"][table], noun) for table, noun in TABLES.items())
    free = f" ({size(found['free_bytes'])} of it free)" if found["free_bytes"] else ""
    screen.facts(
        [
            ("database", found["database"], None),
            ("integrity", "ok" if not problems else _many(len(problems), "problem"), "red" if problems else "green"),
            ("schema", f"version {found['schema_version']}", None),
            ("journal", mode if mode == "wal" else f"{mode} (wal is needed to share it)", None),
            ("size", size(found["bytes"]) + free, None),
            ("holds", held, None),
            ("executors", _counted(found["executors"]), None),
        ]
    )
    for executor in found["executors"]:
        words = {True: "alive", False: "dead", None: "unknown"}[executor["alive"]]
        screen.line(f"  {executor['id']}  {words}  pid {executor['pid']} on {executor['host']}, for {executor['age']}")
    for problem in problems:
        screen.line(f"  {problem}", "red")


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _counted(executors: list[dict[str, Any]]) -> str:
    alive = sum(executor["alive"] is not False for executor in executors)
    return f"{alive} alive" + (f", {len(executors) - alive} dead" if alive < len(executors) else "")
