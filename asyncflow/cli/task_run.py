"""`asyncflow task-run`: task runs, listed and told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..core.runs import RunFilter, RunRecord
from ..settings import LEVELS
from . import runs
from .logs import RunLog, follow_option, last_option, level_option, show_log
from .opening import visit
from .screen import Screen, output_option

if TYPE_CHECKING:
    from ..store.visit import Visit


@click.group()
def task_run() -> None:
    """Task runs: list them, look at one, read its log. RUN is an id, the beginning of one, or a run's name."""


@task_run.command("ls")
@click.option("--flow-run", "flow_run", metavar="RUN", help="Only of this flow run, by id or name.")
@click.option("--task", metavar="NAME", help="Only of the task of this name.")
@runs.state_option
@runs.tag_option
@runs.since_option
@runs.limit_option
@output_option
@click.pass_obj
def list_task_runs(
    screen: Screen,
    flow_run: str | None,
    task: str | None,
    states: tuple[str, ...],
    tag: str | None,
    since: int | None,
    limit: int,
    form: str,
) -> None:
    """List task runs, newest first."""

    async def read(store: Visit) -> list[RunRecord]:
        owner = None if flow_run is None else (await runs.find(store, "flow", flow_run)).id
        where = RunFilter(
            kind="task",
            flow_run_id=owner,
            spec_name=task,
            state_types=runs.state_types(states),
            tag=tag,
            since=since,
        )
        return await store.runs(where, limit)

    runs.list_runs(screen, form, "task", visit(screen, read))


@task_run.command("inspect", short_help="Tell all that is known of a task run.")
@click.argument("run")
@output_option
@click.pass_obj
def inspect_task_run(screen: Screen, run: str, form: str) -> None:
    """Tell all that is known of a task run: state, times, inputs, attempts, result, error."""
    runs.tell(screen, form, visit(screen, lambda store: runs.find(store, "task", run)), None)


@task_run.command("logs", short_help="Show its log.")
@click.argument("run")
@level_option
@last_option
@follow_option
@output_option
@click.pass_obj
def task_run_logs(screen: Screen, run: str, level: str, last: int | None, follow: bool, form: str) -> None:
    """Show the log of a task run, with the states that it went through."""

    async def read(store: Visit) -> None:
        log = RunLog(store, await runs.find(store, "task", run), LEVELS[level])
        await show_log(screen, form, log, last, follow)

    visit(screen, read)
