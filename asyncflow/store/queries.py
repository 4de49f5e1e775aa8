"""The named statements of `queries.sql`, read once."""

from __future__ import annotations

from pathlib import Path


def load(text: str) -> dict[str, str]:
    """Statements by name, from blocks that begin with a line `-- name: NAME`."""
    named: dict[str, str] = {}
    for block in text.split("-- name: ")[1:]:
        name, _, statement = block.partition("\n")
        named[name.strip()] = statement.strip()
    return named


SQL = load(Path(__file__).with_name("queries.sql").read_text("utf-8"))
"""Every statement by its name."""
