"""`asyncflow config`: every setting, its value and where that comes from."""

from __future__ import annotations

import textwrap

import click

from .opening import settings_of
from .screen import Column, Screen, output_option, printable

WIDE = 160


@click.group()
def config() -> None:
    """Settings: each is an argument of Application, else an environment variable, else its default."""


@config.command("view")
@click.option("--show-sources", is_flag=True, help="Say where each value comes from.")
@output_option
@click.pass_obj
def view_config(screen: Screen, show_sources: bool, form: str) -> None:
    """Show every setting with its value."""
    columns = [Column("VARIABLE", lambda row: str(row["variable"])), Column("VALUE", lambda row: str(row["value"]))]
    if show_sources:
        columns.append(Column("SOURCE", lambda row: str(row["source"])))
    columns.append(Column("MEANING", lambda row: str(row["meaning"])))
    rows = [
        {
            "name": line.name,
            "variable": line.variable,
            "value": line.value,
            "source": line.source,
            "meaning": line.why,
        }
        for line in settings_of(screen).describe()
    ]
    if form == "table" and screen.width is not None and screen.width < WIDE:
        _tell(screen, rows, show_sources)
    else:
        screen.listing(form, rows, columns, "variable")


def _tell(screen: Screen, rows: list[dict[str, str]], show_sources: bool) -> None:
    """Each setting on lines of its own, where a table would show next to nothing of what it means."""
    for row in rows:
        origin = f"  ({row['source']})" if show_sources else ""
        screen.line(screen.cut(printable(f"{row['variable']} = {row['value']}{origin}")), bold=True)
        for line in textwrap.wrap(row["meaning"], (screen.width or WIDE) - 4):
            screen.line(f"    {line}")
