"""The reference names everything that is public: each name, setting and command."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest

import asyncflow
from asyncflow.cli import main
from asyncflow.settings import TABLE, variable

from .pages import ROOT

PAGES = {path.name: path.read_text() for path in sorted((ROOT / "docs" / "reference").glob("*.md"))}
CODE = set(re.findall(r"`([^`\n]+)`", "\n".join(PAGES.values())))
"""Every piece of inline code of the reference; what is documented stands in backticks."""


def _commands(group: click.Command = main, name: str = "asyncflow") -> Iterator[str]:
    """Every command that does something, as it is typed."""
    if not isinstance(group, click.Group):
        yield name
        return
    context = click.Context(group)
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        assert command is not None, f"{name} {word} is listed and cannot be had"
        if not command.hidden:
            yield from _commands(command, f"{name} {word}")


def _is_named(name: str) -> bool:
    """Whether the name stands in backticks, bare or with something behind it: `name`, `name(...)`, `name ID`."""
    return any(re.match(rf"@?(asyncflow\.)?{re.escape(name)}(?![\w-])", code) for code in CODE)


def test_there_is_a_reference() -> None:
    assert PAGES


@pytest.mark.parametrize("name", asyncflow.__all__)
def test_the_reference_has_every_public_name(name: str) -> None:
    assert _is_named(name)


@pytest.mark.parametrize("name", TABLE)
def test_the_reference_has_every_setting(name: str) -> None:
    assert _is_named(name)
    assert variable(name) in CODE


@pytest.mark.parametrize("command", _commands())
def test_the_reference_has_every_command(command: str) -> None:
    assert _is_named(command)
