"""`asyncflow flow-run`: flow runs, listed and told."""

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
def flow_run() -> None:
    """Flow runs: list them, look at one, read its log. RUN is an id, the beginning of one, or a run's name."""


@flow_run.command("ls")
@runs.state_option
@click.option("--flow", metavar="NAME", help="Only of the flow of this name.")
@runs.tag_option
@runs.since_option
@click.option("--subflows/--no-subflows", default=True, help="Also runs inside other runs, or not. [default: also]")
@runs.limit_option
@output_option
@click.pass_obj
def list_flow_runs(
    screen: Screen,
    states: tuple[str, ...],
    flow: str | None,
    tag: str | None,
    since: int | None,
    subflows: bool,
    limit: int,
    form: str,
) -> None:
    """List flow runs, newest first."""
    where = RunFilter(
        kind="flow",
        spec_name=flow,
        state_types=runs.state_types(states),
        tag=tag,
        since=since,
        outermost=not subflows,
    )
    runs.list_runs(screen, form, "flow", visit(screen, lambda store: store.runs(where, limit)))


@flow_run.command("inspect", short_help="Tell all that is known of a flow run.")
@click.argument("run")
@output_option
@click.pass_obj
def inspect_flow_run(screen: Screen, run: str, form: str) -> None:
    """Tell all that is known of a flow run: state, times, parameters, tasks, result, error."""

    async def look(store: Visit) -> tuple[RunRecord, dict[str, int]]:
        found = await runs.find(store, "flow", run)
        return found, dict(await store.count(RunFilter(kind="task", flow_run_id=found.id)))

    runs.tell(screen, form, *visit(screen, look))


@flow_run.command("logs", short_help="Show its log and that of its tasks.")
@click.argument("run")
@level_option
@last_option
@follow_option
@output_option
@click.pass_obj
def flow_run_logs(screen: Screen, run: str, level: str, last: int | None, follow: bool, form: str) -> None:
    """Show the log of a flow run and of its tasks, with the states that they went through."""

    async def read(store: Visit) -> None:
        log = RunLog(store, await runs.find(store, "flow", run), LEVELS[level])
        await show_log(screen, form, log, last, follow)

    visit(screen, read)
