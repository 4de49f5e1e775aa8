"""Groups of commands that load a command when it is called, not when it is listed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import click


class Lazy(NamedTuple):
    """A command that is not loaded yet: the module of this room, its attribute there, and its line in the help."""

    module: str
    attribute: str
    help: str


class LazyGroup(click.Group):
    """A group whose commands are named in a table; `aliases` are other words for them, which the help does not list."""

    def __init__(self, *args: Any, lazy: Mapping[str, Lazy], aliases: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy
        self.aliases = aliases

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order of the table."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the command of that name; a plural is taken for its singular."""
        name = self.aliases.get(cmd_name, cmd_name)
        if name not in self.lazy and name.endswith("s"):
            name = name[:-1]
        found = self.lazy.get(name)
        if found is None:
            return None
        command: click.Command = getattr(importlib.import_module(f".{found.module}", __package__), found.attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, and name the nearest command where there is none of that name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], [*self.lazy, *self.aliases], 1)
            if not near or "did you mean" in error.message.lower():
                raise
            raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in self.lazy.items()])
