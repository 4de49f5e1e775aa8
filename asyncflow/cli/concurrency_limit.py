"""`asyncflow concurrency-limit`: how many may do something at once, and who does now."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from ..core.names import checked_name
from .opening import NotFound, visit
from .screen import Column, Screen, output_option
from .times import age, iso

if TYPE_CHECKING:
    from ..ports import Holding, LimitRecord
    from ..store.visit import Visit

COLUMNS = [
    Column("SLOTS", lambda row: str(row["slots"])),
    Column("USED", lambda row: str(row["used"])),
    Column("DECAY", lambda row: "-" if row["slot_decay_per_second"] is None else f"{row['slot_decay_per_second']:g}/s"),
    Column("ACTIVE", lambda row: "yes" if row["active"] else "no"),
    Column("NAME", lambda row: str(row["name"])),
]


@click.group("concurrency-limit")
def concurrency_limit() -> None:
    """Concurrency limits: `tag:NAME` limits all tasks with that tag, any other name those that ask for it."""


@concurrency_limit.command("create")
@click.argument("name")
@click.argument("slots", type=click.IntRange(0))
@click.option(
    "--slot-decay-per-second",
    "decay",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="Stored for rate limits, which come later; has no effect yet.",
)
@output_option
@click.pass_obj
def create_limit(screen: Screen, name: str, slots: int, decay: float | None, form: str) -> None:
    """Make the limit NAME with so many SLOTS, or change it."""
    from ..ports import LimitRecord

    limit = LimitRecord(checked_name(name, "concurrency limit"), slots, True, decay)

    async def change(store: Visit) -> bool:
        known = any(each.name == name for each in await store.limits())
        await store.set_limit(limit)
        return known

    known = visit(screen, change, writes=True, makes=True)
    row = {**dataclasses.asdict(limit), "created": not known}
    verb = "Changed" if known else "Created"
    screen.one(form, row, lambda: screen.line(f"{verb} concurrency limit {name!r} with {_slots(slots)}."), "name")


@concurrency_limit.command("ls")
@output_option
@click.pass_obj
def list_limits(screen: Screen, form: str) -> None:
    """List limits with how much of each is used."""
    rows = [_row(limit, held) for limit, held in visit(screen, _limits)]
    if form == "table" and not rows:
        click.echo("There are no limits; `asyncflow concurrency-limit create NAME SLOTS` makes one.", err=True)
    else:
        screen.listing(form, rows, COLUMNS, "name")


@concurrency_limit.command("inspect")
@click.argument("name")
@output_option
@click.pass_obj
def inspect_limit(screen: Screen, name: str, form: str) -> None:
    """Tell who holds slots of a limit, and since when."""
    found = next(((limit, held) for limit, held in visit(screen, _limits) if limit.name == name), None)
    if found is None:
        raise _no_limit(name)
    row = _row(*found)
    row["holders"] = [_holder(holding) for holding in found[1]]
    screen.one(form, row, lambda: _tell(screen, row, found[1]), "name")


@concurrency_limit.command("delete")
@click.argument("name")
@click.pass_obj
def delete_limit(screen: Screen, name: str) -> None:
    """Remove a limit; whoever asks for it then is not limited."""
    if not visit(screen, lambda store: store.delete_limit(name), writes=True):
        raise _no_limit(name)
    screen.line(f"Deleted concurrency limit {name!r}.")


async def _limits(store: Visit) -> list[tuple[LimitRecord, list[Holding]]]:
    """All limits, each with what live executors hold of it."""
    dead = {executor.id for executor in await store.executors() if await store.alive(executor) is False}
    return [
        (limit, [held for held in await store.holdings(limit.name) if held.executor_id not in dead])
        for limit in await store.limits()
    ]


def _row(limit: LimitRecord, held: list[Holding]) -> dict[str, Any]:
    return {
        "name": limit.name,
        "slots": limit.slots,
        "used": sum(holding.occupy for holding in held),
        "active": limit.active,
        "slot_decay_per_second": limit.slot_decay_per_second,
    }


def _holder(holding: Holding) -> dict[str, Any]:
    return {
        "run_id": holding.run_id,
        "executor_id": holding.executor_id,
        "slots": holding.occupy,
        "since": iso(holding.taken_at),
    }


def _tell(screen: Screen, row: dict[str, Any], held: list[Holding]) -> None:
    screen.facts([(column.title.lower(), column.show(row), None) for column in reversed(COLUMNS)])
    if held:
        screen.line()
        screen.line("holders", bold=True)
    for holding in held:
        owner = f"run {holding.run_id}" if holding.run_id else f"executor {holding.executor_id}"
        screen.line(f"  {owner}  {_slots(holding.occupy)}  for {age(holding.taken_at)}")


def _slots(count: int) -> str:
    return f"{count} slot" if count == 1 else f"{count} slots"


def _no_limit(name: str) -> NotFound:
    return NotFound(f"There is no limit {name!r}; `asyncflow concurrency-limit ls` lists them.")
