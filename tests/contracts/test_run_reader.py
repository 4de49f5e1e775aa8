"""What every store promises to those who read runs."""

from __future__ import annotations

import pytest

from asyncflow.core.runs import RunFilter, RunWrite, StoredValue
from asyncflow.ports import Store
from asyncflow.states import StateType

from .makers import commit, ended, flow_write, line, new_id, run_write, task_write


def _id(write: RunWrite) -> str:
    found: str = write.row[0]
    return found


async def test_what_is_not_there_is_none_or_empty(store: Store) -> None:
    assert await store.run("none") is None
    assert await store.runs(RunFilter(), 10) == []
    assert await store.count(RunFilter()) == {}
    assert await store.transitions("none") == []
    assert await store.changes(0, 10) == []
    assert await store.finished("none") == {}
    assert await store.stored_value("none") is None
    assert await store.lines("none", 10) == []


async def test_runs_come_newest_first_in_pages_without_their_data(store: Store) -> None:
    flow = flow_write()
    writes = [task_write(flow, codec="json", data=b"1", size=1) for _ in range(25)]
    await commit(store, flow, *writes)
    seen: list[str] = []
    page = await store.runs(RunFilter(), 10)
    while page:
        assert all(record.data is None for record in page)
        seen += [record.id for record in page]
        page = await store.runs(RunFilter(), 10, before=page[-1].id)
    assert seen == [_id(write) for write in reversed([flow, *writes])]


async def test_each_filter_finds_its_runs_and_counts_the_same(store: Store) -> None:
    flow = flow_write(tags='["x\\"y"]', spec_name="etl")
    task = task_write(flow, tags='["a", "b"]', created_at=5_000)
    nested = task_write(flow, parent_id=_id(task), **ended())
    subflow = task_write(flow, kind="flow", spec_name="etl", **ended("FAILED"))
    deep = task_write(flow, flow_run_id=_id(subflow), parent_id=_id(subflow))
    alone = run_write(new_id())
    of_alone = run_write(new_id(), root_id=_id(alone), parent_id=_id(alone))
    await commit(store, flow, task, nested, subflow, deep, alone, of_alone)
    cases = [
        (RunFilter(kind="flow"), [flow, subflow]),
        (RunFilter(kind="task"), [task, nested, deep, alone, of_alone]),
        (RunFilter(flow_run_id=_id(flow)), [task, nested, subflow]),
        (RunFilter(parent_id=_id(flow)), [task, subflow]),
        (RunFilter(parent_id=_id(task)), [nested]),
        (RunFilter(parent_id=_id(alone)), [of_alone]),
        (RunFilter(spec_name="etl"), [flow, subflow]),
        (RunFilter(state_types=(StateType.COMPLETED, StateType.FAILED)), [nested, subflow]),
        (RunFilter(state_types=(StateType.RUNNING, StateType.PENDING)), [flow, task, deep, alone, of_alone]),
        (RunFilter(tag="a"), [task]),
        (RunFilter(tag='x"y'), [flow]),
        (RunFilter(tag=", "), []),
        (RunFilter(outermost=True), [flow, alone]),
        (RunFilter(outermost=True, kind="flow"), [flow]),
        (RunFilter(id_prefix=_id(task)), [task]),
        (RunFilter(id_prefix=_id(task).upper()), [task]),
        (RunFilter(id_prefix="zz"), []),
        (RunFilter(since=5_000), [task]),
    ]
    for where, expected in cases:
        found = [record.id for record in await store.runs(where, 100)]
        assert found == [_id(write) for write in reversed(expected)], where
        assert sum((await store.count(where)).values()) == len(expected), where


async def test_count_tells_the_state_types(store: Store) -> None:
    flow = flow_write()
    await commit(store, flow, task_write(flow, **ended()), task_write(flow, **ended()))
    assert await store.count(RunFilter()) == {"RUNNING": 1, "COMPLETED": 2}


async def test_changes_go_on_from_any_number(store: Store) -> None:
    flow = flow_write()
    await commit(store, flow, *(task_write(flow) for _ in range(20)))
    first = await store.changes(0, 8)
    rest = await store.changes(first[-1].seq, 100)
    assert len(first) == 8
    assert len(rest) == 13
    numbers = [move.seq for move in first + rest]
    assert numbers == sorted(set(numbers))
    assert first[0].run_id == _id(flow)
    assert first[0].state_type is StateType.RUNNING


async def test_finished_has_what_ended_by_key_without_data(store: Store) -> None:
    flow = flow_write()
    done = task_write(flow, key="done", codec="json", data=b"1", size=1, **ended())
    failed = task_write(flow, key="failed", **ended("FAILED", error="{}"))
    going = task_write(flow, key="going")
    unkeyed = task_write(flow, **ended())
    elsewhere = task_write(flow_write(), key="elsewhere", **ended())
    await commit(store, flow, done, failed, going, unkeyed, elsewhere)
    found = await store.finished(_id(flow))
    assert set(found) == {"done", "failed"}
    assert found["done"].id == _id(done)
    assert found["done"].data is None
    assert found["failed"].error == "{}"


@pytest.mark.parametrize(
    "kept", [StoredValue("json", b"[1]", None, 3, "[1]"), StoredValue("pickle", None, "d" * 64, 10**6)]
)
async def test_a_stored_value_comes_back_as_it_was_kept(store: Store, kept: StoredValue) -> None:
    values = {name: getattr(kept, name) for name in ("codec", "data", "digest", "size", "preview")}
    flow = flow_write(**ended(**values))
    await commit(store, flow)
    assert await store.stored_value(_id(flow)) == kept


async def test_a_run_without_a_kept_value_has_none(store: Store) -> None:
    flow = flow_write()
    await commit(store, flow)
    assert await store.stored_value(_id(flow)) is None


async def test_lines_of_a_flow_are_its_own_and_those_of_its_tasks(store: Store) -> None:
    flow, task, other = "f", "t", "o"
    store.put_lines([
        line(flow, flow, "one", 10), line(task, flow, "two"), line(other, other, "no"), line(task, flow, "three", 40),
        line("alone", None, "by itself"),
    ])  # fmt: skip
    await store.flush()

    async def messages(run_id: str, limit: int = 10, after: int = 0, level: int = 0) -> list[str]:
        return [found.message for _, found in await store.lines(run_id, limit, after, level)]

    assert await messages(flow) == ["one", "two", "three"]
    assert await messages(task) == ["two", "three"]
    assert await messages("alone") == ["by itself"]
    assert await messages(flow, level=20) == ["two", "three"]
    assert await messages(flow, limit=2) == ["one", "two"]
    number = (await store.lines(flow, 1))[0][0]
    assert await messages(flow, after=number) == ["two", "three"]
