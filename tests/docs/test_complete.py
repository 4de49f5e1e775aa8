"""The reference names everything that is public: each name, option, error, setting and command."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click
import pytest

import asyncflow
from asyncflow import Flow, Task, exceptions, runtime, states
from asyncflow.cli.shell import asyncflow as root
from asyncflow.context import CurrentRun
from asyncflow.settings import TABLE, variable

from .pages import ROOT

PAGES = {path.name: path.read_text() for path in sorted((ROOT / "docs" / "reference").glob("*.md"))}
CODE = set(re.findall(r"`([^`\n]+)`", "\n".join(PAGES.values())))
"""Every piece of inline code of the reference; what is documented stands in backticks."""


def _commands(group: click.Command = root, name: str = "asyncflow") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, as it is typed."""
    if not isinstance(group, click.Group):
        yield name, group
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


@pytest.mark.parametrize("command", [name for name, _ in _commands()])
def test_the_reference_has_every_command(command: str) -> None:
    assert _is_named(command)


def test_the_reference_has_every_option_of_every_command() -> None:
    commands = [*_commands(), ("asyncflow", root)]
    options = {
        word
        for _, command in commands
        for option in command.params
        if isinstance(option, click.Option)
        for word in (*option.opts, *option.secondary_opts)
    }
    assert len(options) > 10
    assert {word for word in options if not re.search(rf"{re.escape(word)}(?![\w-])", PAGES["cli.md"])} == set()


@pytest.mark.parametrize(
    ("made_by", "page"),
    [(CurrentRun, "context"), (type(runtime.flow_run), "runtime"), (type(runtime.task_run), "runtime")],
)
def test_the_reference_has_what_a_run_knows_of_itself(made_by: type, page: str) -> None:
    names = [name for kind in made_by.__mro__ for name in vars(kind) if not name.startswith("_")]
    assert names
    assert [name for name in names if f"`{name}`" not in PAGES[f"{page}.md"]] == []


def test_the_reference_has_every_constructor_of_states() -> None:
    names = [name for name, value in vars(states).items() if inspect.isfunction(value) and name[0].isupper()]
    assert names
    assert [name for name in names if f"`{name}`" not in PAGES["states.md"]] == []


def _options(made_by: type, page: str) -> list[tuple[str, str]]:
    return [(page, name) for name in inspect.signature(made_by).parameters if name != "fn"]


@pytest.mark.parametrize(("page", "option"), [*_options(Flow, "flows.md"), *_options(Task, "tasks.md")])
def test_the_reference_has_every_option(page: str, option: str) -> None:
    assert f"`{option}`" in PAGES[page]


@pytest.mark.parametrize("name", [name for name, value in vars(exceptions).items() if isinstance(value, type)])
def test_the_reference_has_every_error(name: str) -> None:
    assert f"| `{name}` |" in PAGES["exceptions.md"]
