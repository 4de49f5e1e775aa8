"""What a command writes on: tables for people, JSON for programs, names for pipes."""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

Row = Mapping[str, Any]

NARROW = 100
FORMATS = ("table", "json", "jsonl", "name")
COLOURS = {
    "COMPLETED": "green",
    "FAILED": "red",
    "CRASHED": "red",
    "CANCELLED": "yellow",
    "CANCELLING": "yellow",
    "RUNNING": "cyan",
    "PENDING": "blue",
    "SCHEDULED": "blue",
    "PAUSED": "magenta",
}

output_option = click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(FORMATS, case_sensitive=False),
    default="table",
    envvar="ASYNCFLOW_OUTPUT",
    metavar="FORM",
    help="Answer as table, json, jsonl or name. [default: table, or ASYNCFLOW_OUTPUT]",
)


@dataclass(slots=True, frozen=True)
class Column:
    """A column of a table: its title, what it shows of a row, in which colour; a `spare` one wants a wide terminal."""

    title: str
    show: Callable[[Row], str]
    colour: Callable[[Row], str | None] = lambda _: None
    spare: bool = False


class Screen:
    """Standard output, as the command's global options have it."""

    def __init__(self, database: str | None = None, *, plain: bool = False) -> None:
        self.database = database
        self.coloured = not plain and _wants_colour()
        self.width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None

    def listing(self, form: str, rows: Sequence[Row], columns: Sequence[Column], name: str = "id") -> None:
        """Show rows: as a table of these columns, as JSON with all they have, or just by name."""
        if form == "table":
            self._table(rows, columns)
        elif form == "json":
            self.json(list(rows))
        else:
            for row in rows:
                self.line(row[name] if form == "name" else json.dumps(row, ensure_ascii=False))

    def one(self, form: str, row: Row, show: Callable[[], None], name: str = "id") -> None:
        """Show one thing: by `show` for people, as JSON with all it has, or just by name."""
        if form == "table":
            show()
        elif form == "json":
            self.json(row)
        else:
            self.listing(form, [row], [], name)

    def json(self, data: Any) -> None:
        """Show data as JSON for people and programs alike."""
        self.line(json.dumps(data, indent=2, ensure_ascii=False))

    def line(self, text: str = "", colour: str | None = None, *, bold: bool = False) -> None:
        """Show a line."""
        click.echo(self.styled(text, colour, bold=bold), color=self.coloured)

    def styled(self, text: str, colour: str | None, *, bold: bool = False) -> str:
        """The text in a colour, where there are colours."""
        return click.style(text, fg=colour, bold=bold or None) if self.coloured and (colour or bold) else text

    def facts(self, facts: Iterable[tuple[str, str, str | None]]) -> None:
        """Show names and what they stand for, one a line; those that stand for nothing are left out."""
        told = [fact for fact in facts if fact[1]]
        width = max((cells(name) for name, _, _ in told), default=0)
        for name, text, colour in told:
            shown = self.cut(printable(text), width + 2)
            self.line(f"{name}{' ' * (width - cells(name))}  {self.styled(shown, colour)}")

    def cut(self, text: str, used: int = 0) -> str:
        """The text, cut to what is left of a terminal's line; whole where no terminal is."""
        return text if self.width is None else clipped(text, max(1, self.width - used))

    def _table(self, rows: Sequence[Row], columns: Sequence[Column]) -> None:
        """Columns with two spaces between; only the last one is cut, and only on a terminal."""
        if self.width is not None and self.width < NARROW:
            columns = [column for column in columns if not column.spare]
        shown = [[printable(column.show(row)) for column in columns] for row in rows]
        titles = [column.title for column in columns]
        widths = [max(map(cells, texts)) for texts in zip(titles, *shown, strict=True)]
        self.line(self._joined(titles, widths, [None] * len(titles)), bold=True)
        for row, texts in zip(rows, shown, strict=True):
            self.line(self._joined(texts, widths, [column.colour(row) for column in columns]))

    def _joined(self, texts: Sequence[str], widths: Sequence[int], colours: Sequence[str | None]) -> str:
        *others, last = texts
        used = sum(width + 2 for width in widths[:-1])
        padding = [" " * (width - cells(text)) for text, width in zip(others, widths, strict=False)]
        parts = [self.styled(text, colour) for text, colour in zip(others, colours, strict=False)]
        parts = [part + blank for part, blank in zip(parts, padding, strict=True)]
        return "  ".join([*parts, self.styled(self.cut(last, used), colours[-1])]).rstrip()


def _wants_colour() -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or sys.stdout.isatty()


def printable(text: str) -> str:
    """The text on one line, without anything that a terminal would obey."""
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return " " if char.isspace() else char.encode("unicode_escape").decode()


def cells(text: str) -> int:
    """How many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(char) else _cells_of(char) for char in text)


def _cells_of(char: str) -> int:
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def clipped(text: str, width: int) -> str:
    """The text in so many columns, with an ellipsis where something was cut."""
    if cells(text) <= width:
        return text
    kept, used = [], 1
    for char in text:
        used += cells(char)
        if used > width:
            break
        kept.append(char)
    return "".join(kept) + "…"
