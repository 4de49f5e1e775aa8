"""`asyncflow version`: what is installed here."""

from __future__ import annotations

import click

from ..version import __version__
from .screen import Screen, output_option


@click.command()
@output_option
@click.pass_obj
def version(screen: Screen, form: str) -> None:
    """Show the versions of asyncflow, Python and SQLite."""
    import platform
    import sqlite3

    row = {
        "asyncflow": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "platform": platform.platform(terse=True),
    }
    screen.one(form, row, lambda: screen.facts((name, text, None) for name, text in row.items()), "asyncflow")
