"""`flow-run` and `task-run`: lists, one run, its log, and the words by which it is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from .conftest import Ask

FIELDS = {
    "id",
    "kind",
    "name",
    "state",
    "state_name",
    "message",
    "attempts",
    "created_at",
    "started_at",
    "ended_at",
    "seconds",
    "tags",
    "flow_run_id",
    "parent_id",
    "root_id",
}
MORE = {"key", "executor_id", "depends_on", "parameters", "result", "result_bytes", "error"}

pytestmark = pytest.mark.usefixtures("story")


def test_the_list_is_newest_first_with_whole_ids(ask: Ask) -> None:
    answer = ask("flow-run", "ls")
    assert answer.code == 0
    head, *rows = answer.lines
    assert head.split() == ["ID", "STATE", "AGE", "TOOK", "NAME", "FLOW"]
    ids = [row.split()[0] for row in rows]
    assert ids == sorted(ids, reverse=True)
    assert ids == [row["id"] for row in ask("flow-run", "ls", "-o", "json").data]
    assert len(ids) == 7  # good, inner, good, inner, bad, twin, twin
    assert [row.split()[-1] for row in rows] == ["twin", "twin", "bad", "inner", "good", "inner", "good"]


@pytest.mark.parametrize("kind", ["flow", "task"])
def test_a_program_gets_named_fields(ask: Ask, kind: str) -> None:
    rows = ask(f"{kind}-run", "ls", "-o", "json").data
    assert all(set(row) == {*FIELDS, kind} for row in rows)
    assert all(datetime.fromisoformat(row["created_at"]).utcoffset() is not None for row in rows)
    lines = ask(f"{kind}-run", "ls", "-o", "jsonl").lines
    assert [json.loads(line)["id"] for line in lines] == [row["id"] for row in rows]
    assert ask(f"{kind}-run", "ls", "-o", "name").lines == [row["id"] for row in rows]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["--state", "failed"], ["bad"]),
        (["--state", "FAILED", "--state", "running"], ["bad"]),
        (["--flow", "good"], ["good-4", "good-3"]),
        (["--tag", "evening", "--no-subflows"], ["good-4"]),
        (["--flow", "good", "--limit", "1"], ["good-4"]),
        (["--flow", "good", "--since", "2h"], ["good-4", "good-3"]),
        (["--since", "2999-01-01"], []),
        (["--flow", "nobody"], []),
    ],
)
def test_filters(ask: Ask, filters: list[str], names: list[str]) -> None:
    answer = ask("flow-run", "ls", *filters, "-o", "json")
    assert [row["name"] for row in answer.data] == names


def test_nothing_to_list_is_said_on_the_side(ask: Ask) -> None:
    answer = ask("flow-run", "ls", "--flow", "nobody")
    assert (answer.code, answer.out) == (0, "")
    assert "no such flow runs" in answer.err


@pytest.mark.parametrize("since", ["soon", "2x", "h", "-1h", ""])
def test_a_bad_span_is_refused(ask: Ask, since: str) -> None:
    answer = ask("flow-run", "ls", "--since", since)
    assert answer.code == 2
    assert "2h" in answer.err


def test_task_runs_of_a_flow_run(ask: Ask) -> None:
    rows = ask("task-runs", "ls", "--flow-run", "good-4", "-o", "json").data
    assert [(row["name"], row["state_name"]) for row in rows] == [
        ("double-3", "Completed"),
        ("double-2", "Cached"),
        ("double-1", "Cached"),
        ("double", "Cached"),
    ]
    assert ask("task-run", "ls", "--task", "unlucky", "-o", "json").data[0]["attempts"] == 2


def test_inspect_tells_everything_of_a_good_run(ask: Ask) -> None:
    row = ask("flow-run", "inspect", "good-4", "-o", "json").data
    assert set(row) == {*FIELDS, *MORE, "flow", "task_runs"}
    assert row["state"] == "COMPLETED"
    assert row["parameters"]["number"] == 4
    assert "hush" not in json.dumps(row)
    assert row["result"] == [0, 2, 4, 6, 200]
    assert row["task_runs"] == {"COMPLETED": 4}
    text = ask("flow-run", "inspect", "good-4").out
    for part in (row["id"], "Completed", "4 completed", "[0,2,4,6,200]", "number  4", "evening"):
        assert part in text


def test_inspect_ends_with_the_error_and_its_traceback(ask: Ask) -> None:
    row = ask("flow-run", "inspect", "bad", "-o", "json").data
    assert row["error"]["type"] == "tests.cli.stories:UnluckyError"
    assert row["error"]["message"].startswith("13 is unlucky")
    text = ask("flow-run", "inspect", "bad").out
    assert (
        text.index("1 failed")
        < text.index("UnluckyError: 13 is unlucky\\x1b[31m\n  and so")
        < text.index("traceback")
        < text.index("Traceback (")
    )


def test_inspect_a_task_run(ask: Ask) -> None:
    answer = ask("task-run", "inspect", "unlucky")
    assert answer.code == 0
    assert ["attempts", "2"] in [line.split() for line in answer.lines]
    row = ask("task-run", "inspect", "unlucky", "-o", "json").data
    assert set(row) == {*FIELDS, *MORE, "task"}
    assert ask("task-run", "inspect", "unlucky", "-o", "name").lines == [row["id"]]


def test_the_log_has_lines_and_moves_by_time(ask: Ask) -> None:
    answer = ask("flow-run", "logs", "good-3")
    times = [line[:12] for line in answer.lines]
    assert times == sorted(times)
    shown = [line.split(" | ", 2)[2] for line in answer.lines]
    assert shown[0] == "Flow run 'good-3' - Entered state Running()"
    assert shown[-1] == "Flow run 'good-3' - Finished in state Completed()"
    for number in range(3):
        name = f"double-{number}" if number else "double"
        said = shown.index(f"Task run '{name}' - doubling {number}")
        assert said < shown.index(f"Task run '{name}' - Finished in state Completed()")


def test_the_log_of_a_failure_shows_each_attempt(ask: Ask) -> None:
    rows = [json.loads(line) for line in ask("flow-run", "logs", "bad", "-o", "jsonl").lines]
    assert set(rows[0]) == {"at", "level", "run_id", "kind", "name", "logger", "message"}
    of_task = [row["message"].partition("(")[0] for row in rows if row["kind"] == "task"]
    wanted = ["Entered state AwaitingRetry", "Entered state Retrying", "Finished in state Failed"]
    assert [message for message in of_task if message in wanted] == wanted


def test_the_log_by_level_and_by_number(ask: Ask) -> None:
    assert [line.split(" | ")[1].strip() for line in ask("flow-run", "logs", "good-3", "--level", "warning").lines] == [
        "WARNING"
    ]
    whole = ask("flow-run", "logs", "good-3").lines
    assert ask("flow-run", "logs", "good-3", "--limit", "2").lines == whole[-2:]
    assert ask("task-run", "logs", "unlucky").lines[-1].endswith("and so are two lines')")


def test_following_an_ended_run_ends(ask: Ask) -> None:
    assert ask("flow-run", "logs", "good-3", "-f").lines == ask("flow-run", "logs", "good-3").lines
    assert len(ask("flow-run", "logs", "good-3", "-f", "-o", "json").lines) > 5  # one object a line: it has no end


def test_a_run_is_found_by_the_beginning_of_its_id(ask: Ask) -> None:
    found = ask("flow-run", "ls", "--flow", "bad", "-o", "name").lines[0]
    for asked in (found, found.upper(), found[:-1], found[:-8]):
        assert ask("flow-run", "inspect", asked, "-o", "name").lines == [found]


def test_what_is_ambiguous_is_refused_with_candidates(ask: Ask) -> None:
    ids = ask("flow-run", "ls", "-o", "name").lines
    answer = ask("flow-run", "inspect", ids[0][:3])
    assert answer.code == 2
    assert ids[0] in answer.err
    assert "..." in answer.err
    assert answer.out == ""


@pytest.mark.parametrize("command", ["inspect", "logs"])
@pytest.mark.parametrize("kind", ["flow", "task"])
@pytest.mark.parametrize("asked", ["nobody", "ffffffff-0000", "%", "", "' or 1=1 --"])
def test_an_unknown_run_is_not_found(ask: Ask, kind: str, command: str, asked: str) -> None:
    answer = ask(f"{kind}-run", command, asked)
    if asked:
        assert answer.code == 3
        assert answer.err.splitlines() == [
            f"Error: There is no {kind} run {asked!r}; `asyncflow {kind}-run ls` lists them."
        ]
    else:
        assert answer.code == 2
    assert answer.out == ""


def test_a_flow_run_is_no_task_run(ask: Ask) -> None:
    found = ask("flow-run", "ls", "-o", "name").lines[0]
    assert ask("task-run", "inspect", found).code == 3


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_cuts_the_last_column_only(
    ask: Ask, close_to_terminal: Callable[[int], None], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    ids = ask("flow-run", "ls", "-o", "name").lines
    close_to_terminal(width)
    _, *rows = ask("flow-run", "ls").lines
    assert [row[:36] for row in rows] == ids
    assert max(map(len, rows)) <= width
    long = ask("flow-run", "logs", "bad").lines
    assert any("UnluckyError" in line for line in long)


@pytest.mark.parametrize("command", [["ls"], ["inspect", "bad"], ["logs", "bad"]], ids=lambda command: command[0])
def test_what_a_run_says_cannot_command_the_terminal(ask: Ask, command: list[str]) -> None:
    answer = ask("flow-run", *command)
    assert "\x1b" not in answer.out
    assert ("\\x1b[31m" in answer.out) == (command != ["ls"])


def test_colour_is_for_terminals(
    ask: Ask, close_to_terminal: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b[" not in ask("flow-run", "ls").out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[31mFailed" in ask("flow-run", "ls").out
    assert "\x1b[" not in ask("--no-color", "flow-run", "ls").out
    monkeypatch.setenv("NO_COLOR", "1")
    close_to_terminal(120)
    assert "\x1b[" not in ask("flow-run", "ls").out


def test_the_form_may_come_from_the_environment(ask: Ask, monkeypatch: pytest.MonkeyPatch, story: Path) -> None:
    monkeypatch.setenv("ASYNCFLOW_OUTPUT", "json")
    assert len(ask("flow-run", "ls").data) == 7
    assert ask("flow-run", "ls", "-o", "table").lines[0].startswith("ID")
    monkeypatch.delenv("ASYNCFLOW_HOME")
    assert len(ask("--database", str(story), "flow-run", "ls").data) == 7
