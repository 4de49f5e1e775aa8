"""The command line as a whole: what is loaded, how it ends, and databases that cannot be used."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from asyncflow.cli.shell import COMMANDS
from asyncflow.settings import TABLE, variable

from .conftest import Ask

COMMAND = [sys.executable, "-m", "asyncflow"]
READING = [
    ["flow-run", "ls"],
    ["flow-run", "inspect", "x"],
    ["flow-run", "logs", "x"],
    ["task-run", "ls"],
    ["task-run", "inspect", "x"],
    ["task-run", "logs", "x"],
    ["concurrency-limit", "ls"],
    ["concurrency-limit", "inspect", "x"],
    ["cache", "ls"],
    ["db", "check"],
]
CHANGING = [["concurrency-limit", "delete", "x"], ["cache", "clear"]]


@pytest.mark.parametrize("command", [*READING, *CHANGING], ids=" ".join)
def test_no_database_is_made_by_looking(ask: Ask, home: Path, command: list[str]) -> None:
    answer = ask(*command)
    assert (answer.code, answer.out) == (3, "")
    assert answer.err.splitlines() == [
        f"Error: There is no database {home / 'asyncflow.db'} yet; run a flow (or `asyncflow demo`) to make it, "
        "or name another with --database PATH."
    ]
    assert not home.exists()


@pytest.mark.parametrize("command", [*READING, *CHANGING, ["gcl", "create", "x", "1"]], ids=" ".join)
def test_a_database_in_memory_is_nowhere(ask: Ask, command: list[str]) -> None:
    answer = ask("--database", ":memory:", *command)
    assert answer.code == 3
    assert "memory" in answer.err


def test_a_file_that_is_no_database(ask: Ask, tmp_path: Path) -> None:
    junk = tmp_path / "junk.db"
    junk.write_bytes(b"not a database at all " * 100)
    for command in [*READING, *CHANGING]:
        answer = ask("--database", str(junk), *command)
        assert answer.code == 1, command
        assert len(answer.err.splitlines()) == 1
        assert str(junk) in answer.err


@pytest.mark.parametrize("content", [b"", None], ids=["empty file", "of another application"])
def test_somebody_elses_database(ask: Ask, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "other.db"
    if content is None:
        with sqlite3.connect(path) as other:
            other.execute("create table run (id integer)")
        other.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    answer = ask("--database", str(path), "flow-run", "ls")
    assert answer.code == 1
    assert "not a database of asyncflow" in answer.err
    assert path.read_bytes() == before


@pytest.mark.parametrize(("version", "words"), [(999, "upgrade asyncflow"), (0, "not a database of asyncflow")])
def test_a_database_of_another_time(ask: Ask, story: Path, version: int, words: str) -> None:
    raw = sqlite3.connect(story)
    raw.execute("update schema_version set version = ?", (version,))
    raw.commit()
    raw.close()
    answer = ask("flow-run", "ls")
    assert answer.code == 1
    assert words in answer.err


def test_a_damaged_database_fails_the_check(ask: Ask, story: Path) -> None:
    assert ask("db", "check").code == 0
    raw = sqlite3.connect(story)
    raw.execute("delete from run where kind = 'task'")
    raw.commit()
    raw.close()
    answer = ask("db", "check", "-o", "json")
    assert answer.code == 1
    assert any("moves belong to no run" in problem for problem in answer.data["problems"])
    assert "moves belong to no run" in ask("db", "check").out


def test_the_check_tells_what_is_there(ask: Ask, story: Path) -> None:
    found = ask("db", "check", "-o", "json").data
    assert found["database"] == str(story)
    assert (found["problems"], found["journal_mode"], found["executors"]) == ([], "wal", [])
    assert found["rows"]["cache"] == 5
    text = ask("db", "check").out
    assert "integrity  ok" in text
    assert "5 cached results" in text
    assert ask("db", "check", "-o", "name").lines == [str(story)]


def test_looking_enlists_nobody(ask: Ask, story: Path) -> None:
    raw = sqlite3.connect(story)
    raw.execute("create table enlisted (id text)")
    raw.execute("create trigger t after insert on executor begin insert into enlisted values (new.id); end")
    raw.commit()
    for command in (["flow-run", "ls"], ["db", "check"], ["gcl", "create", "x", "1"], ["cache", "clear"]):
        assert ask(*command).code == 0
    assert raw.execute("select count(*) from enlisted").fetchone() == (0,)
    raw.close()
    assert list(story.with_name("asyncflow.db.locks").iterdir()) == []


def test_settings_and_their_sources(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCFLOW_RESULT_KEY", "very-secret")
    answer = ask("config", "view", "--show-sources")
    assert [line.split()[0] for line in answer.lines] == ["VARIABLE", *map(variable, TABLE)]
    assert "environment ASYNCFLOW_RESULT_KEY" in answer.out
    assert "very-secret" not in answer.out
    assert "SOURCE" not in ask("config", "view").out
    rows = ask("config", "view", "-o", "json").data
    assert all(set(row) == {"name", "variable", "value", "source", "meaning"} for row in rows)
    assert ask("config", "view", "-o", "name").lines == [row["variable"] for row in rows]


def test_settings_on_a_narrow_terminal(ask: Ask, close_to_terminal: Callable[[int], None]) -> None:
    close_to_terminal(80)
    plain = ask("--no-color", "config", "view").lines
    assert [line.split(" = ")[0] for line in plain if line[0] != " "] == list(map(variable, TABLE))
    assert max(map(len, plain)) <= 80
    told = " ".join(" ".join(plain).split())
    assert all(row.why in told for row in TABLE.values())
    assert "ASYNCFLOW_BATCH_ROWS = 256  (default)" in ask("--no-color", "config", "view", "--show-sources").lines


@pytest.mark.parametrize(
    ("arguments", "near"), [(["flowrun", "ls"], "flow-run"), (["dmo"], "demo"), (["gcll", "ls"], "gcl")]
)
def test_a_command_mistyped(ask: Ask, arguments: list[str], near: str) -> None:
    answer = ask(*arguments)
    assert answer.code == 2
    assert answer.err.endswith(f"Error: No such command {arguments[0]!r}. Did you mean {near!r}?\n")


def test_no_help_is_cut_short(ask: Ask) -> None:
    for command in ["", *COMMANDS]:
        told = ask(*command.split(), "--help").out
        assert "..." not in told.partition("Commands:")[2]


@pytest.mark.parametrize(("name", "value"), [("ASYNCFLOW_BATCH_ROWS", "none"), ("ASYNCFLOW_HOUSE", "x")])
def test_a_bad_setting_is_bad_usage(ask: Ask, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    answer = ask("config", "view")
    assert answer.code == 2
    assert name in answer.err
    assert len(answer.err.splitlines()) == 1


def test_versions(ask: Ask) -> None:
    from asyncflow import __version__

    assert set(ask("version", "-o", "json").data) == {"asyncflow", "python", "sqlite", "platform"}
    assert ask("version").lines[0].split() == ["asyncflow", __version__]
    assert ask("--version").lines == [f"asyncflow {__version__}"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(ask: Ask, command: str) -> None:
    answer = ask(command, "--help")
    assert answer.code == 0
    assert answer.lines[0].startswith(f"Usage: asyncflow {command}")
    assert command in ask("--help").out


@pytest.mark.parametrize(
    "arguments", [["nothing"], ["flow-run", "nothing"], ["--nothing"], ["flow-run", "ls", "-o", "x"]]
)
def test_bad_usage(ask: Ask, arguments: list[str]) -> None:
    answer = ask(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert "Error: " in answer.err


@pytest.mark.parametrize(
    ("shell", "word"), [("bash", "complete -o"), ("zsh", "#compdef asyncflow"), ("fish", "function")]
)
def test_completion(ask: Ask, shell: str, word: str) -> None:
    answer = ask("completion", shell)
    assert answer.code == 0
    assert word in answer.out
    assert "_ASYNCFLOW_COMPLETE" in answer.out


def test_completion_completes() -> None:
    environment = {
        **os.environ,
        "_ASYNCFLOW_COMPLETE": "bash_complete",
        "COMP_WORDS": "asyncflow flow",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        ["asyncflow"], executable=_script(), env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["plain,flow-run"]


def _script() -> str:
    return str(Path(sys.executable).with_name("asyncflow"))


def test_the_help_loads_next_to_nothing() -> None:
    probe = "import sys; from asyncflow.cli.shell import run; run(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    heavy = {
        "asyncflow.store",
        "asyncflow.settings",
        "pydantic",
        "structlog",
        "aiosqlite",
        "anyio",
        "asyncio",
        "sqlite3",
    }
    assert "click" in loaded
    assert loaded.isdisjoint(heavy)


def test_a_closed_pipe_ends_quietly(story: Path) -> None:
    raw = sqlite3.connect(story)
    raw.execute("update run set preview = ? where kind = 'flow'", (f'"{"x" * 1_000_000}"',))
    raw.commit()
    raw.close()
    process = subprocess.Popen(
        [*COMMAND, "flow-run", "inspect", "good-3"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    complaint = process.stderr.read()
    process.stderr.close()
    assert (process.wait(), complaint) == (141, b"")


def test_an_interrupt_ends_quietly(story: Path) -> None:
    raw = sqlite3.connect(story)
    raw.execute("update run set state_type = 'RUNNING' where name = 'good-3'")  # so that following has no end
    raw.commit()
    raw.close()
    process = subprocess.Popen(
        [*COMMAND, "flow-run", "logs", "-f", "good-3"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate()
    assert (process.returncode, complaint) == (130, b"")
