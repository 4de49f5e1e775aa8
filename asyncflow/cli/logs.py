"""The log of a run: its lines and its moves in one stream, with those of its tasks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ..core.runs import LogLine, RunFilter, RunRecord, Transition
from ..settings import LEVELS
from ..states import TERMINAL
from .screen import Screen, printable
from .times import clock, iso

if TYPE_CHECKING:
    from ..store.visit import Visit

PAGE = 5_000
POLL_SECONDS = 0.3
_NAMES = {number: name for name, number in LEVELS.items()}
_LEVELS_OF_STATES = {"FAILED": 40, "CRASHED": 40, "CANCELLED": 30}
_COLOURS = {"DEBUG": "bright_black", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}

level_option = click.option(
    "--level",
    type=click.Choice(list(LEVELS), case_sensitive=False),
    default="DEBUG",
    metavar="LEVEL",
    help="Only of this level or above: debug, info, warning, error or critical.",
)
last_option = click.option("--limit", "last", type=click.IntRange(1), metavar="N", help="Only the last so many.")
follow_option = click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")


class Entry(NamedTuple):
    """One entry of a run's log: a line that was written, or a move."""

    at: int
    level: int
    run_id: str
    logger: str
    message: str


class RunLog:
    """Reads the log of a run, each entry once."""

    def __init__(self, store: Visit, run: RunRecord, level: int) -> None:
        self.run = run
        self._store = store
        self._level = level
        self._line = 0
        self._move = 0
        self._runs = {run.id: run}

    async def fresh(self) -> list[Entry]:
        """What was added since the last call, by time."""
        entries = [_of_line(line) for line in await self._lines()]
        entries += [_of_move(move) for move in await self._moves()]
        return sorted((entry for entry in entries if entry.level >= self._level), key=lambda entry: entry.at)

    async def has_ended(self) -> bool:
        """Whether the run has ended; what it wrote until then is there to be read."""
        run = await self._store.run(self.run.id)
        return run is None or run.state_type in TERMINAL

    async def named(self, run_id: str) -> RunRecord:
        """The run that an entry is of."""
        if run_id not in self._runs:
            await self._load_names(run_id)
        return self._runs[run_id]

    async def _lines(self) -> list[LogLine]:
        found: list[LogLine] = []
        while page := await self._store.lines(self.run.id, PAGE, self._line, self._level):
            self._line = page[-1][0]
            found += [line for _, line in page]
        return found

    async def _moves(self) -> list[Transition]:
        found: list[Transition] = []
        while page := await self._store.moves_within(self.run.id, PAGE, self._move):
            self._move = page[-1].seq
            found += page
        return found

    async def _load_names(self, wanted: str) -> None:
        """Read the flow run's runs, newest first, as far as the wanted one; the others are needed next."""
        before: str | None = None
        while wanted not in self._runs:
            page = await self._store.runs(RunFilter(flow_run_id=self.run.id), PAGE, before)
            if not page:
                self._runs[wanted] = self.run  # removed while we looked
                return
            self._runs.update((run.id, run) for run in page)
            before = page[-1].id


def _of_line(line: LogLine) -> Entry:
    return Entry(line.at, line.level, line.run_id, line.logger, line.message)


def _of_move(move: Transition) -> Entry:
    reason = f"({move.message!r})" if move.message and move.message != move.state_name else "()"
    verb = "Finished in" if move.state_type in TERMINAL else "Entered"
    level = _LEVELS_OF_STATES.get(move.state_type.value, 30 if move.state_name == "AwaitingRetry" else 20)
    return Entry(move.at, level, move.run_id, "asyncflow.states", f"{verb} state {move.state_name}{reason}")


async def show_log(screen: Screen, form: str, log: RunLog, last: int | None, follow: bool) -> None:
    """Show the log of a run, or its last entries; with `follow`, go on until the run has ended."""
    entries = await log.fresh()
    shown = [await _row(log, entry) for entry in (entries if last is None else entries[-last:])]
    if not follow:
        _show(screen, form, shown)
        return
    form = "jsonl" if form == "json" else form  # an array would have no end
    _show(screen, form, shown)
    ended = False
    while not ended:
        await asyncio.sleep(POLL_SECONDS)
        ended = await log.has_ended()
        _show(screen, form, [await _row(log, entry) for entry in await log.fresh()])


async def _row(log: RunLog, entry: Entry) -> dict[str, Any]:
    run = await log.named(entry.run_id)
    return {
        "at": iso(entry.at),
        "level": _NAMES.get(entry.level, str(entry.level)),
        "run_id": entry.run_id,
        "kind": run.kind,
        "name": run.name,
        "logger": entry.logger,
        "message": entry.message,
        "_at": entry.at,
    }


def _show(screen: Screen, form: str, rows: list[dict[str, Any]]) -> None:
    if form != "table":
        public = [{name: value for name, value in row.items() if name != "_at"} for row in rows]
        screen.listing(form, public, [], name="run_id")
        return
    for row in rows:
        head = f"{clock(row['_at'])[11:]} | {row['level']:7} | {row['kind'].capitalize()} run {row['name']!r} - "
        colour = _COLOURS.get(row["level"])
        first, *rest = row["message"].splitlines() or [""]
        for text in [head + first, *rest]:
            screen.line(printable(text), colour)
