"""What a body knows about its own run: `current_run`, `tags`, `branch` and the runtime module."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from asyncflow import branch, current_run, flow, runtime, tags, task
from asyncflow.exceptions import InvalidName, InvalidOption, MissingContext

from ..colours import Body, Colour
from .outside import Stored


def test_a_run_knows_itself(colour: Colour, home: Path) -> None:
    @task(tags=["t"])
    @colour.body
    def inner(number: int, other: str = "x") -> Any:
        return current_run()

    @flow(tags=["f"], flow_run_name="mine-{number}")
    @colour.body
    def outer(number: int) -> Body[Any]:
        return current_run(), (yield inner(number))

    # a result that cannot be stored is given to the caller all the same
    of_flow, of_task = colour.run(outer, 3)
    assert (of_flow.kind, of_flow.name, of_flow.attempt, of_flow.tags) == ("flow", "mine-3", 1, {"f"})
    assert of_flow.flow_run_id == of_flow.root_run_id == of_flow.id
    assert of_flow.parameters == {"number": 3}
    assert (of_task.kind, of_task.name, of_task.tags) == ("task", "inner", {"t", "f"})
    assert (of_task.flow_run_id, of_task.root_run_id) == (of_flow.id, of_flow.id)
    assert of_task.parameters == {"number": 3, "other": "x"}
    assert Stored(home).run("inner")["id"] == of_task.id


def test_the_idempotency_key_is_the_same_on_every_attempt(colour: Colour) -> None:
    keys: list[str] = []

    @task(retries=2)
    @colour.body
    def charge(amount: int) -> int:
        keys.append(current_run().idempotency_key)
        if current_run().attempt < 3:
            raise ConnectionError
        return amount

    @flow
    @colour.body
    def pipeline() -> Body[None]:
        yield charge(1)
        yield charge(1)
        yield charge(2)

    colour.run(pipeline)
    assert len(keys) == 9
    assert keys[0:3] == [keys[0]] * 3
    assert len(set(keys)) == 3


def test_a_flows_idempotency_key_is_the_same_on_every_attempt(colour: Colour) -> None:
    keys: list[str] = []

    @flow(retries=1)
    @colour.body
    def pipeline() -> None:
        keys.append(current_run().idempotency_key)
        if len(keys) == 1:
            raise ValueError

    colour.run(pipeline)
    assert keys[0] == keys[1]


def test_outside_a_run_there_is_none() -> None:
    with pytest.raises(MissingContext, match="inside a flow or task run"):
        current_run()
    with pytest.raises(MissingContext, match="inside a flow or task run"), branch("x"):
        pass
    assert runtime.flow_run.id is None
    assert runtime.task_run.name is None
    assert runtime.flow_run.parameters == {}
    assert runtime.task_run.run_count == 0
    assert runtime.flow_run.tags == []


def test_the_context_is_gone_after_the_run(colour: Colour) -> None:
    @task
    @colour.body
    def inner() -> str:
        return current_run().name

    @flow
    @colour.body
    def outer() -> Body[Any]:
        before = current_run().id
        name = yield inner()
        return name, before == current_run().id

    assert colour.run(outer) == ("inner", True)
    with pytest.raises(MissingContext):
        current_run()


# -- tags -------------------------------------------------------------------------------------------------------


def test_tags_are_put_on_everything_made_inside(colour: Colour, home: Path) -> None:
    @task(tags=["own"])
    @colour.body
    def inner() -> list[str]:
        return sorted(current_run().tags)

    @flow
    @colour.body
    def outer() -> Body[Any]:
        with tags("a", "b") as given:
            assert given >= {"a", "b"}
            with tags("c"):
                first = yield inner()
            future = inner.submit()
        second = yield colour.result(future)
        return first, second, (yield inner())

    with tags("outside"):
        found = colour.run(outer)
    assert found == (["a", "b", "c", "outside", "own"], ["a", "b", "outside", "own"], ["outside", "own"])
    assert Stored(home).rows("select count(*) from run, json_each(run.tags) where value = 'outside'") == [(4,)]


def test_a_subflow_inherits_tags(colour: Colour) -> None:
    @flow(tags=["inner"])
    @colour.body
    def inner() -> list[str]:
        return sorted(current_run().tags)

    @flow(tags=["outer"])
    @colour.body
    def outer() -> Body[Any]:
        return (yield inner())

    assert colour.run(outer) == ["inner", "outer"]


@pytest.mark.parametrize("given", [5, "", None])
def test_tags_are_text(given: Any) -> None:
    with pytest.raises(InvalidOption, match=r"tags\(\)"), tags(given):
        pass


# -- branches ---------------------------------------------------------------------------------------------------


def test_a_branch_keeps_equal_calls_apart(colour: Colour, home: Path) -> None:
    @task
    @colour.body
    def token() -> int:
        return 1

    @flow
    @colour.body
    def outer() -> Body[None]:
        for name in ("a", "b", "a/b"):
            with branch(name):
                yield token()
        with branch("a"), branch("b"):
            yield token()
        yield token()

    colour.run(outer)
    keys = [row[0] for row in Stored(home).rows("select key from run where spec_name = 'token' order by id")]
    assert len(set(keys)) == 5
    assert {key.rsplit(":", 1)[1] for key in keys} == {"0"}


async def test_identities_do_not_depend_on_which_branch_runs_first(home: Path) -> None:
    @task
    async def token() -> int:
        return 1

    async def customer(name: str, late: float) -> None:
        with branch(name):
            await asyncio.sleep(late)
            await token()
            await token()

    @flow
    async def outer(first: float, second: float) -> None:
        await asyncio.gather(customer("a", first), customer("b", second))

    await outer(0, 0.01)
    await outer(0.01, 0)
    sql = "select key from run where spec_name = 'token' order by flow_run_id, key"
    keys = [row[0] for row in Stored(home).rows(sql)]
    assert keys[:4] == keys[4:]
    assert len(set(keys)) == 4


@pytest.mark.parametrize("name", ["", None, 5])
def test_a_branch_needs_a_name(colour: Colour, name: Any) -> None:
    @flow
    @colour.body
    def outer() -> str:
        with pytest.raises(InvalidName, match="takes a text"), branch(name):
            pass
        return "refused"

    assert colour.run(outer) == "refused"


async def test_equal_calls_at_once_are_warned_of_once(home: Path) -> None:
    @task
    async def token() -> int:
        await asyncio.sleep(0.001)
        return 1

    async def one() -> int:
        return await token()

    @flow
    async def outer() -> None:
        await asyncio.gather(one(), one(), one())

    await outer()
    await outer()
    lines = [row[0] for row in Stored(home).rows("select message from log")]
    assert len([line for line in lines if "identical concurrent calls: use branch() or key=" in line]) == 1


# -- the runtime module -----------------------------------------------------------------------------------------


def test_the_runtime_module_reads_the_same(colour: Colour) -> None:
    @task(retries=1, tags=["z", "a"])
    @colour.body
    def inner(number: int) -> dict[str, Any]:
        if runtime.task_run.run_count == 1:
            raise ValueError
        return {
            "count": runtime.task_run.run_count,
            "task": runtime.task_run.task_name,
            "run": runtime.task_run.id == current_run().id,
            "tags": runtime.task_run.tags,
            "given": runtime.task_run.parameters,
            "flow": runtime.flow_run.flow_name,
            "flow_given": runtime.flow_run.parameters,
            "flow_run": runtime.flow_run.id,
        }

    @flow(name="the flow")
    @colour.body
    def outer(x: int) -> Body[Any]:
        assert runtime.task_run.id is None
        found = yield inner(x + 1)
        assert found.pop("flow_run") == runtime.flow_run.id
        return found

    assert colour.run(outer, 1) == {
        "count": 2,
        "task": "inner",
        "run": True,
        "tags": ["a", "z"],
        "given": {"number": 2},
        "flow": "the flow",
        "flow_given": {"x": 1},
    }


def test_the_runtime_module_knows_flows_above(colour: Colour) -> None:
    @flow
    @colour.body
    def inner() -> tuple[Any, Any]:
        return runtime.flow_run.parent_flow_run_id, runtime.flow_run.root_flow_run_id

    @flow
    @colour.body
    def outer() -> Body[Any]:
        assert runtime.flow_run.parent_flow_run_id is None
        return (yield inner()) == (runtime.flow_run.id, runtime.flow_run.id)

    assert colour.run(outer) is True
