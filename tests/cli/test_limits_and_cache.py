"""`concurrency-limit` and `cache`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asyncflow import Application, flow
from asyncflow.concurrency.asyncio import concurrency

from .conftest import Ask

LIMIT = {"name", "slots", "used", "active", "slot_decay_per_second"}
ENTRY = {"key", "task", "run_id", "created_at", "expires_at", "bytes", "result"}


def test_the_first_limit_makes_the_database(ask: Ask, home: Path) -> None:
    answer = ask("concurrency-limit", "create", "api", "5")
    assert (answer.code, answer.lines) == (0, ["Created concurrency limit 'api' with 5 slots."])
    assert (home / "asyncflow.db").exists()
    assert ask("gcl", "create", "api", "1", "--slot-decay-per-second", "0.5").lines == [
        "Changed concurrency limit 'api' with 1 slot."
    ]
    assert ask("concurrency-limits", "ls", "-o", "json").data == [
        {"name": "api", "slots": 1, "used": 0, "active": True, "slot_decay_per_second": 0.5}
    ]
    assert ask("gcl", "create", "api", "7", "-o", "json").data["created"] is False


@pytest.mark.parametrize(
    "arguments",
    [["api", "-1"], ["api", "--", "-1"], ["api", "many"], ["api"], ["", "1"], ["a/b", "1"], ["api", "1", "2"]],
)
def test_a_bad_limit_is_refused(ask: Ask, home: Path, arguments: list[str]) -> None:
    answer = ask("gcl", "create", *arguments)
    assert answer.code == 2
    assert "Error: " in answer.err
    assert not home.exists()


@pytest.mark.parametrize("decay", ["0", "-1", "fast"])
def test_a_bad_decay_is_refused(ask: Ask, decay: str) -> None:
    assert ask("gcl", "create", "api", "1", "--slot-decay-per-second", decay).code == 2


@pytest.mark.usefixtures("story")
def test_limits_in_every_form(ask: Ask) -> None:
    assert [line.split() for line in ask("gcl", "ls").lines] == [
        ["SLOTS", "USED", "DECAY", "ACTIVE", "NAME"],
        ["5", "0", "-", "yes", "api"],
    ]
    assert set(ask("gcl", "ls", "-o", "json").data[0]) == LIMIT
    assert set(json.loads(ask("gcl", "ls", "-o", "jsonl").lines[0])) == LIMIT
    assert ask("gcl", "ls", "-o", "name").lines == ["api"]
    assert set(ask("gcl", "inspect", "api", "-o", "json").data) == {*LIMIT, "holders"}
    assert ["slots", "5"] in [line.split() for line in ask("gcl", "inspect", "api").lines]


@pytest.mark.usefixtures("story")
def test_deleting_a_limit(ask: Ask) -> None:
    assert ask("gcl", "delete", "api").code == 0
    assert ask("gcl", "ls").out == ""
    for command in ("delete", "inspect"):
        answer = ask("gcl", command, "api")
        assert (answer.code, answer.out) == (3, "")
        assert "'api'" in answer.err


@pytest.mark.usefixtures("story")
@pytest.mark.blocks_loop
async def test_who_holds_a_limit_is_told_while_it_is_held(ask: Ask) -> None:
    """Commands run on a thread: each has an event loop of its own."""
    import asyncio

    @flow
    async def holding() -> str:
        async with concurrency("api", occupy=2):
            return (await asyncio.to_thread(ask, "gcl", "inspect", "api", "-o", "json")).out

    async with Application(log_console="off"):
        told = json.loads(await holding())
    assert told["used"] == 2
    assert [holder["slots"] for holder in told["holders"]] == [2]
    assert ask_used(ask) == 0


def ask_used(ask: Ask) -> int:
    """How much of the limit is used, asked from a thread of its own."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        used: int = pool.submit(ask, "gcl", "ls", "-o", "json").result().data[0]["used"]
    return used


@pytest.mark.usefixtures("story")
def test_the_cache_in_every_form(ask: Ask) -> None:
    rows = ask("cache", "ls", "-o", "json").data
    assert len(rows) == 5
    assert all(set(row) == ENTRY for row in rows)
    assert sorted(row["result"] for row in rows) == [0, 2, 4, 6, 200]
    keys = [row["key"] for row in rows]
    assert ask("cache", "ls", "-o", "name").lines == keys
    assert [json.loads(line)["key"] for line in ask("cache", "ls", "-o", "jsonl").lines] == keys
    head, *lines = ask("cache", "ls", "--limit", "2").lines
    assert head.split() == ["KEY", "TASK", "AGE", "EXPIRES", "SIZE", "RESULT"]
    assert [line.split()[0] for line in lines] == keys[:2]


@pytest.mark.usefixtures("story")
def test_clearing_the_cache(ask: Ask) -> None:
    assert ask("cache", "clear", "--task", "other").lines == ["Forgot 0 cached results of task 'other'."]
    assert ask("cache", "ls", "--task", "other").out == ""
    assert ask("cache", "clear", "--task", "double", "-o", "json").data == {"task": "double", "forgotten": 5}
    answer = ask("cache", "ls")
    assert (answer.code, answer.out) == (0, "")
    assert "Nothing is cached" in answer.err
