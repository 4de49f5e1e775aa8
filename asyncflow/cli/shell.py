"""The command `asyncflow` itself: its global options, its commands, and how it ends."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

import click

from ..exceptions import AsyncflowError, ConfigurationError, RunNotFound, UnknownLimit
from ..version import __version__
from .lazy import Lazy, LazyGroup
from .screen import Screen

COMPLETE = "_ASYNCFLOW_COMPLETE"
FAILED, USAGE, NOT_FOUND, INTERRUPTED, PIPE_CLOSED = 1, 2, 3, 130, 141

COMMANDS = {
    "demo": Lazy("demo", "demo", "Run a real flow on real files, and check it."),
    "flow-run": Lazy("flow_run", "flow_run", "Flow runs: ls, inspect, logs."),
    "task-run": Lazy("task_run", "task_run", "Task runs: ls, inspect, logs."),
    "concurrency-limit": Lazy("concurrency_limit", "concurrency_limit", "Limits: create, ls, inspect, delete."),
    "cache": Lazy("cache", "cache", "Results found again across runs: ls, clear."),
    "config": Lazy("config", "config", "Settings and where they come from: view."),
    "db": Lazy("db", "db", "The database: check."),
    "completion": Lazy("completion", "completion", "Print the completion script of a shell."),
    "version": Lazy("version", "version", "Versions of asyncflow, Python and SQLite."),
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    aliases={"gcl": "concurrency-limit", "caches": "cache"},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="A command answers on standard output; -o json gives it to a program, -o name to a pipe.",
)
@click.option("--database", metavar="PATH", help="The database to use; default: ASYNCFLOW_DATABASE.")
@click.option("--no-color", is_flag=True, help="Plain text, as NO_COLOR=1 has it.")
@click.version_option(__version__, prog_name="asyncflow", message="%(prog)s %(version)s")
@click.pass_context
def asyncflow(ctx: click.Context, database: str | None, no_color: bool) -> None:
    """Look at what asyncflow has run, and set its limits. No server is needed: the database is opened directly."""
    ctx.obj = Screen(database, plain=no_color)


def run(arguments: Sequence[str]) -> int:
    """Run the command line; the exit code says how it ended. Errors are one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that this terminal cannot show is no reason to end
    try:
        code = _invoke(list(arguments))
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except AsyncflowError as error:
        click.echo(f"Error: {' '.join(str(error).split())}", err=True)
        return _code_of(error)
    except BrokenPipeError:
        return _pipe_closed()
    return code if isinstance(code, int) else 0


def _invoke(arguments: list[str]) -> object:
    """What the command gives. (`main` of click would turn a closed pipe into a failure.)"""
    if instruction := os.environ.get(COMPLETE):
        from click.shell_completion import shell_complete

        return shell_complete(asyncflow, {}, "asyncflow", COMPLETE, instruction)
    with asyncflow.make_context("asyncflow", arguments) as context:
        return asyncflow.invoke(context)


def _code_of(error: AsyncflowError) -> int:
    if isinstance(error, RunNotFound | UnknownLimit):
        return NOT_FOUND
    return USAGE if isinstance(error, ConfigurationError) else FAILED


def _pipe_closed() -> int:
    """Whoever read our output has had enough; nothing more is written, not even by the interpreter as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return PIPE_CLOSED
