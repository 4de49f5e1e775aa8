"""`asyncflow demo`: a real job, run by a real flow, and checked."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import shlex
import shutil
import sys
import sysconfig
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .screen import Screen
from .times import size

if TYPE_CHECKING:
    from ..application import Application
    from ..core.runs import Run, RunRecord
    from .demo_flows import Totals

AT_ONCE = 32
ELSEWHERE = {"site-packages", "dist-packages", "__pycache__"}


@dataclass(slots=True)
class Outcome:
    """What the demonstration came to: in figures, in the database, and in an independent count."""

    totals: Totals
    run: RunRecord
    states: dict[str, int]
    cached: int
    retries: int
    refused: int
    seconds: float
    counted: dict[str, int]


@click.command()
@click.option("--once", is_flag=True, help="Changes nothing: a demo runs once. For scripts that say so.")
@click.option("--files", type=click.IntRange(1), metavar="N", help="Take only N files, evenly chosen. [default: all]")
@click.pass_obj
def demo(screen: Screen, once: bool, files: int | None) -> int:
    """Survey Python's standard library with a flow: fetch every file from a slow, unreliable server on this machine,
    parse each in a thread, and add up.

    Everything is remembered in the database, so that a second demo is answered from the cache. The exit code is 0
    only if the flow's figures are right.
    """
    gc.set_threshold(100_000)  # syntax trees are many objects without cycles: looking often would find nothing
    folder = Path(sysconfig.get_path("stdlib"))
    paths = _sources(folder, files)
    screen.line(f"Surveying {len(paths):,} files of {folder}, served on this machine with delays and failures ...")
    outcome = asyncio.run(_survey(screen, folder, paths))
    _report(screen, outcome)
    wrong = _wrong(outcome, len(paths))
    for problem in wrong:
        click.echo(f"Error: {problem}", err=True)
    if not wrong:
        _how_to_go_on(screen, outcome.run.id, "demo" if files is None else f"demo --files {files}")
    return 1 if wrong else 0


def _sources(folder: Path, wanted: int | None) -> list[str]:
    """The library's own files; with a number, so many of them, spread over all."""
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.py") if ELSEWHERE.isdisjoint(path.parts))
    if wanted is None or wanted >= len(found):
        return found
    return [found[index * len(found) // wanted] for index in range(wanted)]


async def _survey(screen: Screen, folder: Path, paths: list[str]) -> Outcome:
    """Run the flow beside a server to ask and a process that counts the same without it."""
    from ..application import Application
    from ..ports import LimitRecord
    from .demo_flows import SITE_LIMIT, survey_library
    from .demo_site import Site

    runs: list[Run] = []
    survey = survey_library.with_options(on_running=lambda flow, run, state: runs.append(run))
    application = Application(database=screen.database, log_console="off")
    async with application, Site(folder, paths) as site, _counting(folder, paths) as counting:
        await application.store.set_limit(LimitRecord(SITE_LIMIT, AT_ONCE))
        started = time.perf_counter()
        async with _progress(application, runs, 2 * len(paths) + 1):
            state = await survey(site.url, return_state=True)
        if not state.is_completed():
            command = f"flow-run inspect {runs[0].id}" if runs else "flow-run ls"
            raise click.ClickException(f"The flow ended {state!r}; see {_command(screen)} {command}")
        seconds = time.perf_counter() - started
        states, cached, retries = await _task_runs(application, runs[0].id)
        run = await application.store.run(runs[0].id)
        if run is None:
            raise click.ClickException(f"The run {runs[0].id} is not in the database.")
        return Outcome(state.result(), run, states, cached, retries, site.refused, seconds, await counting)


@contextlib.asynccontextmanager
async def _counting(folder: Path, paths: list[str]) -> AsyncIterator[asyncio.Task[dict[str, int]]]:
    """Count in a process of its own; it ends with this block, whatever happens."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "asyncflow.cli.demo_count",
        str(folder),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # so that a Ctrl-C is ours alone
    )

    async def count() -> dict[str, int]:
        out, _ = await process.communicate("\n".join(paths).encode())
        counted: dict[str, int] = json.loads(out)
        return counted

    counting = asyncio.create_task(count())
    try:
        yield counting
    finally:
        if process.returncode is None:
            process.kill()
        counting.cancel()
        await asyncio.gather(counting, return_exceptions=True)
        await process.wait()


@contextlib.asynccontextmanager
async def _progress(application: Application, runs: list[Run], expected: int) -> AsyncIterator[None]:
    """Show on one line of a terminal how many task runs have ended, as the database has it."""
    from ..core.runs import RunFilter

    async def show() -> None:
        while True:
            await asyncio.sleep(0.25)
            if runs:
                states = await application.store.count(RunFilter(kind="task", flow_run_id=runs[0].id))
                done = states.get("COMPLETED", 0)
                click.echo(f"\r{done:,} of {expected:,} task runs done ", nl=False, err=True)

    if not sys.stderr.isatty():
        yield
        return
    showing = asyncio.create_task(show())
    try:
        yield
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
        click.echo("\r\x1b[K", nl=False, err=True)


async def _task_runs(application: Application, flow_run_id: str) -> tuple[dict[str, int], int, int]:
    """The flow run's task runs: how many in each state, how many from the cache, how many attempts were retries."""
    from ..core.runs import RunFilter

    where = RunFilter(kind="task", flow_run_id=flow_run_id)
    runs = await application.store.runs(where, limit=100_000)
    cached = sum(run.state_name == "Cached" for run in runs)
    retries = sum(max(0, run.attempt - 1) for run in runs)
    return dict(await application.store.count(where)), cached, retries


def _report(screen: Screen, outcome: Outcome) -> None:
    totals, count = outcome.totals, sum(outcome.states.values())
    invalid = f", {totals.invalid} of them not valid Python on purpose" if totals.invalid else ""
    screen.line()
    screen.facts(
        [
            ("files", f"{totals.files:,} ({size(totals.size)}){invalid}", None),
            ("functions", f"{totals.functions:,}", None),
            ("classes", f"{totals.classes:,}", None),
            ("imports", f"{sum(totals.imports.values()):,} of {len(totals.imports):,} modules", None),
            ("most imported", ", ".join(f"{name} {times:,}" for name, times in _most(totals.imports)), None),
            ("biggest files", ", ".join(f"{each.path} {size(each.size)}" for each in totals.biggest[:3]), None),
        ]
    )
    screen.line()
    screen.facts(
        [
            ("flow run", f"{outcome.run.name} {outcome.run.id}", None),
            ("state", outcome.run.state_name, "green" if outcome.run.state_type == "COMPLETED" else "red"),
            ("task runs", f"{count:,}, {outcome.cached:,} of them answered from the cache", None),
            ("retries", f"{outcome.retries:,} for {outcome.refused:,} requests that the server refused", None),
            ("time", f"{outcome.seconds:.1f} s, {count / outcome.seconds:,.0f} task runs a second", None),
        ]
    )


def _most(imports: dict[str, int]) -> list[tuple[str, int]]:
    return list(imports.items())[:6]


def _wrong(outcome: Outcome, files: int) -> list[str]:
    """What is not as it must be."""
    totals = outcome.totals
    counted = outcome.counted
    ours: dict[str, Any] = {name: value for name, value in asdict(totals).items() if isinstance(value, int) and value}
    ours |= {f"import {name}": times for name, times in totals.imports.items()}
    differing = sorted(name for name in ours.keys() | counted.keys() if ours.get(name) != counted.get(name))
    checks = {
        f"The flow run is {outcome.run.state_name}, not Completed.": outcome.run.state_type == "COMPLETED",
        f"{files} files were served, {totals.files} are in the report.": totals.files == files,
        f"Task runs are {outcome.states}, not {2 * files + 1} completed.": outcome.states
        == {"COMPLETED": 2 * files + 1},
        f"{outcome.refused} requests were refused, {outcome.retries} retried.": outcome.refused == outcome.retries,
        f"A count without the flow differs in: {', '.join(differing)}.": not differing,
    }
    return [problem for problem, right in checks.items() if not right]


def _how_to_go_on(screen: Screen, run_id: str, again: str) -> None:
    screen.line()
    screen.line("The figures equal a count made without any flow. Now look at the run:")
    for rest, why in (
        (f"flow-run inspect {run_id}", ""),
        (f"flow-run logs {run_id} --level WARNING", "  # the retries"),
        (f"task-run ls --flow-run {run_id}", ""),
        (again, "  # again: from the cache"),
    ):
        screen.line(f"  {_command(screen)} {rest}{why}")


def _command(screen: Screen) -> str:
    program = _program()
    return program if screen.database is None else f"{program} --database {shlex.quote(screen.database)}"


def _program() -> str:
    """How this command can be called again: by its name, or by its path where a shell would not find it so."""
    called = Path(sys.argv[0])
    if called.name != "asyncflow" or len(called.parts) == 1:
        return "asyncflow"
    found = shutil.which("asyncflow")
    return "asyncflow" if found is not None and called.samefile(found) else shlex.quote(str(called))
