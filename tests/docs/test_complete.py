"""The reference names everything that is public: each name, option, error, setting and command."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click
import pytest

import asyncflow
from asyncflow import Flow, Task, exceptions
from asyncflow.cli.shell import asyncflow as root
from asyncflow.settings import TABLE, variable

from .pages import ROOT

PAGES = {path.name: path.read_text() for path in sorted((ROOT / "docs" / "reference").glob("*.md"))}
CODE = set(re.findall(r"`([^`\n]+)`", "\n".join(PAGES.values())))
"""Every piece of inline code of the reference; what is documented stands in backticks."""


def _commands(group: click.Command = root, name: str = "asyncflow") -> Iterator[str]:
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


@pytest.mark.parametrize("name", list(TABLE))
def test_the_reference_has_every_setting(name: str) -> None:
    assert _is_named(name)
    assert variable(name) in CODE


@pytest.mark.parametrize("command", list(_commands()))
def test_the_reference_has_every_command(command: str) -> None:
    assert _is_named(command)


def _options(made_by: type, page: str) -> list[tuple[str, str]]:
    return [(page, name) for name in inspect.signature(made_by).parameters if name != "fn"]


@pytest.mark.parametrize(("page", "option"), [*_options(Flow, "flows.md"), *_options(Task, "tasks.md")])
def test_the_reference_has_every_option(page: str, option: str) -> None:
    assert f"`{option}`" in PAGES[page]


@pytest.mark.parametrize("name", [name for name, value in vars(exceptions).items() if isinstance(value, type)])
def test_the_reference_has_every_error(name: str) -> None:
    assert f"| `{name}` |" in PAGES["exceptions.md"]
