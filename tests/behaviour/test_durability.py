"""What is on disk when: whatever a caller has seen is there for everybody else."""

from __future__ import annotations

import asyncio
import enum
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from asyncflow import Application, flow, task
from asyncflow.core.runs import StoredError
from asyncflow.exceptions import LeaseLost

from ..colours import Body, Colour
from .outside import Stored


@task(name="step")
async def step_async(value: Any = None) -> Any:
    return value


@task(name="step")
def step_sync(value: Any = None) -> Any:
    return value


def step_of(colour: Colour) -> Any:
    return step_async if colour.is_async else step_sync


# -- strict and relaxed -----------------------------------------------------------------------------------------


@pytest.mark.blocks_loop
def test_a_result_that_is_seen_is_committed(colour: Colour, home: Path) -> None:
    step = step_of(colour)

    @flow
    @colour.body
    def pipeline() -> Body[None]:
        stored = Stored(home)
        for number in range(5):
            value = yield step(number)
            assert stored.rows("select state_type, codec is not null from run where spec_name = 'step'") == [
                ("COMPLETED", 1)
            ] * (number + 1)
            assert value == number
        futures = step.map(range(20))
        for future in futures:
            yield colour.result(future)
            assert stored.rows("select state_type from run where id = ?", future.task_run_id) == [("COMPLETED",)]

    colour.run(pipeline)
    assert Stored(home).states("pipeline") == ["Completed"]


@pytest.mark.blocks_loop
def test_a_failure_that_is_seen_is_committed(colour: Colour, home: Path) -> None:
    @task
    @colour.body
    def fail() -> None:
        raise ValueError("seen")

    @flow
    @colour.body
    def pipeline() -> Body[str]:
        with pytest.raises(ValueError, match="seen"):
            yield fail()
        return Stored(home).run("fail")["state_type"]  # type: ignore[no-any-return]

    assert colour.run(pipeline) == "FAILED"


@pytest.mark.blocks_loop
def test_a_flows_end_is_committed_when_its_caller_goes_on(colour: Colour, home: Path) -> None:
    @flow
    @colour.body
    def inner() -> int:
        return 1

    @flow
    @colour.body
    def outer() -> Body[str]:
        yield inner()
        return Stored(home).run("inner")["state_type"]  # type: ignore[no-any-return]

    assert colour.run(outer) == "COMPLETED"
    assert Stored(home).states("outer") == ["Completed"]


@pytest.mark.blocks_loop
def test_a_parent_is_never_stored_after_its_child(colour: Colour, home: Path) -> None:
    step = step_of(colour)

    @flow
    @colour.body
    def pipeline() -> Body[list[Any]]:
        yield step(1)
        return Stored(home).rows("select kind from run where id in (select flow_run_id from run)")

    assert colour.run(pipeline) == [("flow",)]


@pytest.mark.blocks_loop
def test_relaxed_tasks_do_not_wait_but_their_flow_does(colour: Colour, home: Path) -> None:
    step = step_of(colour)

    @flow(durability="relaxed")
    @colour.body
    def pipeline() -> Body[Any]:
        lock = sqlite3.connect(home / "asyncflow.db", isolation_level=None, timeout=10)
        lock.execute("begin immediate")
        value = yield step(1)  # while nobody can commit
        future = step.submit(2)
        value += yield colour.result(future)
        seen = lock.execute("select count(*) from run where spec_name = 'step'").fetchone()[0]
        lock.execute("rollback")
        lock.close()
        return value, seen

    assert colour.run(pipeline) == (3, 0)
    assert Stored(home).states("step") == ["Completed"] * 2
    assert Stored(home).states("pipeline") == ["Completed"]


def test_durability_is_inherited_and_overridden(colour: Colour, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCFLOW_DURABILITY", "relaxed")
    step = step_of(colour)

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        return (yield step(1))

    assert colour.run(pipeline) == 1
    assert Stored(home).states("step") == ["Completed"]


async def test_power_forces_each_commit_to_the_disk(home: Path) -> None:
    async with Application(durability="power") as application:
        assert await step_async(1) == 1
        assert await forced(application)


async def forced(application: Application) -> bool:
    """Whether the last commit was forced to the disk."""
    session = application.store._session  # type: ignore[attr-defined]
    level: int = await session.call(lambda raw: raw.execute("pragma synchronous").fetchone()[0])
    return level == 2


async def test_power_of_one_flow_forces_its_commits_and_no_others(home: Path) -> None:
    seen: dict[str, bool] = {}

    @task(on_interrupted="fail", ignore_inputs=["application", "seen"])
    async def charge() -> None:
        seen["intent"] = await forced(application)

    @flow(durability="power")
    async def careful() -> None:
        await charge()
        seen["task"] = await forced(application)

    async with Application() as application:
        await step_async(1)
        seen["before"] = await forced(application)
        await careful()
        seen["flow"] = await forced(application)
        await step_async(2)
        seen["after"] = await forced(application)
    assert seen == {"before": False, "intent": True, "task": True, "flow": True, "after": False}


def test_no_result_is_kept_where_none_is_wanted(colour: Colour, home: Path) -> None:
    step = step_of(colour).with_options(persist_result=False)
    kept = step_of(colour).with_options(name="kept", persist_result=True)

    @flow(persist_result=False)
    @colour.body
    def pipeline() -> Body[Any]:
        yield kept("yes")
        return (yield step("value"))

    assert colour.run(pipeline) == "value"
    for name, codec in (("step", None), ("pipeline", None), ("kept", "json")):
        run = Stored(home).run(name)
        assert (run["state_name"], run["codec"]) == ("Completed", codec)
        assert (run["data"] is None) is (codec is None)


# -- results ----------------------------------------------------------------------------------------------------


class Shade(enum.Enum):
    RED = 1


class Item(BaseModel):
    name: str
    price: float


@dataclass
class Point:
    x: int
    y: int


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -(2**70),
        0.1,
        float("inf"),
        "ä\u2028\x00",
        b"\x00\xff",
        [1, [2]],
        (1, (2,)),
        {"a": {1: {2}}},
        frozenset({1}),
        Shade.RED,
        Item(name="x", price=1.5),
        Point(1, 2),
        [Item(name="y", price=2)],
    ],
    ids=repr,
)
async def test_a_stored_result_is_the_value_again(value: Any) -> None:
    async with Application(database=":memory:") as application:
        state = await step_async(value, return_state=True)
        assert state.result() is value or state.result() == value
        stored = await application.store.stored_value(str(state.run_id))
        assert stored is not None
        again = application.engine.results.decode(stored)
    assert again == value
    assert type(again) is type(value)


def test_a_large_result_is_a_file_before_its_row(colour: Colour, home: Path) -> None:
    value = "x" * 200_000
    assert colour.run(step_of(colour), value) == value
    run = Stored(home).run("step")
    assert run["data"] is None
    assert run["size"] >= 200_000
    (file,) = [path for path in (home / "asyncflow.db.results").rglob("*") if path.is_file()]
    assert run["digest"] in file.name or run["digest"] in str(file).replace("/", "")
    assert len(run["preview"]) <= 1024


def test_equal_large_results_are_one_file(colour: Colour, home: Path) -> None:
    for _ in range(2):
        colour.run(step_of(colour), list(range(50_000)))
    assert len({row[0] for row in Stored(home).rows("select digest from run where digest is not null")}) == 1
    assert len([path for path in (home / "asyncflow.db.results").rglob("*") if path.is_file()]) == 1


def test_what_cannot_be_stored_is_given_all_the_same(colour: Colour, home: Path) -> None:
    lock = threading.Lock()

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        value = yield made()
        return value is lock

    @task(name="made")
    @colour.body
    def made() -> Any:
        return lock

    assert colour.run(pipeline) is True
    run = Stored(home).run("made")
    assert (run["state_name"], run["codec"], run["data"]) == ("Completed", None, None)
    assert run["state_message"].startswith("The result is not stored, so a resume runs this again")


# -- errors -----------------------------------------------------------------------------------------------------


class Odd(Exception):
    """An error whose constructor wants more than its arguments."""

    def __init__(self, code: int, *, where: str) -> None:
        super().__init__(f"{code} at {where}")
        self.code, self.where = code, where


async def test_a_stored_error_is_of_the_same_type_again() -> None:
    @task
    async def fail() -> None:
        error = Odd(7, where="door")
        error.add_note("look behind it")
        raise error

    async with Application(database=":memory:") as application:
        state = await fail(return_state=True)
        record = await application.store.run(str(state.run_id))
        assert record is not None
        assert record.error is not None
        again = application.engine.results.decode_error(StoredError(record.error))
    assert type(again) is Odd
    assert str(again) == "7 at door"
    assert (again.code, again.where) == (7, "door")
    assert "look behind it" in again.__notes__
    assert len(again.__notes__) > 1  # one more says that it is a replay
    assert "raise error" in record.error


# -- secrets ----------------------------------------------------------------------------------------------------


def test_secrets_are_in_no_row(colour: Colour, home: Path) -> None:
    @task(name="logs_in")
    @colour.body
    def logs_in(user: str, password: str) -> dict[str, str]:
        return {"user": user, "api_key": "hunter-two"}

    @flow(name="opens")
    @colour.body
    def opens(user: str, token: SecretStr, password: str = "hunter-one") -> Body[None]:
        yield logs_in(user, password)

    colour.run(opens, "ann", SecretStr("hunter-zero"))
    for column in ("parameters", "preview", "state_message", "key"):
        text = str(Stored(home).rows(f"select {column} from run"))
        assert "hunter" not in text, column
    assert "ann" in Stored(home).run("opens")["parameters"]
    assert "ann" in Stored(home).run("logs_in")["preview"]


# -- ownership --------------------------------------------------------------------------------------------------


@pytest.mark.blocks_loop
def test_an_owner_that_was_replaced_writes_nothing_more(colour: Colour, home: Path) -> None:
    step = step_of(colour)
    after: list[int] = []

    @flow(flow_run_name="mine")
    @colour.body
    def pipeline() -> Body[None]:
        yield step(1)
        Stored(home).rows("update run set epoch = epoch + 1 where name = 'mine'")
        yield step(2)
        after.append(1)

    with pytest.raises(LeaseLost):
        colour.run(pipeline)
    assert after == []
    stored = Stored(home)
    assert stored.run("mine")["epoch"] == 2
    assert stored.run("mine")["state_type"] not in {"COMPLETED", "FAILED", "CANCELLED"}
    assert stored.states("step") == ["Completed"]


@pytest.mark.blocks_loop
def test_a_lost_run_takes_no_other_with_it(colour: Colour, home: Path) -> None:
    step = step_of(colour)

    @flow(flow_run_name="loser")
    @colour.body
    def loser() -> Body[None]:
        yield step(1)
        Stored(home).rows("update run set epoch = epoch + 1 where name = 'loser'")
        yield step(2)

    with pytest.raises(LeaseLost):
        colour.run(loser)
    assert colour.run(step, 3) == 3
    assert Stored(home).states("step") == ["Completed", "Completed"]


@pytest.mark.blocks_loop
def test_a_lost_run_stops_its_branches(home: Path) -> None:
    stopped: list[str] = []

    @task(name="long")
    async def long() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append("long")

    @flow(flow_run_name="loser")
    async def loser() -> None:
        future = long.submit()
        await step_async(1)
        Stored(home).rows("update run set epoch = epoch + 1 where name = 'loser'")
        await step_async(2)
        await future

    with pytest.raises(LeaseLost):
        asyncio.run(loser())
    assert stopped == ["long"]
