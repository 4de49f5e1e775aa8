"""What a run knows about itself by attribute."""

from __future__ import annotations

from asyncflow import runtime

from .frames import FakeApplication, frame_of, standing_in


def test_outside_a_run_everything_is_empty() -> None:
    for view in (runtime.flow_run, runtime.task_run):
        assert (view.id, view.name, view.tags, view.parameters, view.run_count) == (None, None, [], {}, 0)
    assert runtime.flow_run.flow_name is None
    assert runtime.flow_run.parent_flow_run_id is None
    assert runtime.flow_run.root_flow_run_id is None
    assert runtime.task_run.task_name is None


def test_a_task_sees_itself_and_its_flow() -> None:
    application = FakeApplication()
    flow = frame_of(application, "flow", id="f1", name="etl", arguments={"day": 3}, tags=("b", "a"))
    task = frame_of(application, id="t1", name="fetch", parent=flow, arguments={"url": "x"})
    task.run.attempt = 2
    with standing_in(task):
        assert (runtime.flow_run.id, runtime.flow_run.name, runtime.flow_run.flow_name) == ("f1", "etl", "etl-spec")
        assert runtime.flow_run.tags == ["a", "b"]
        assert runtime.flow_run.parameters == {"day": 3}
        assert runtime.flow_run.run_count == 1
        assert (runtime.task_run.id, runtime.task_run.name, runtime.task_run.task_name) == ("t1", "fetch", "fetch-spec")
        assert runtime.task_run.parameters == {"url": "x"}
        assert runtime.task_run.run_count == 2
    assert runtime.task_run.id is None


def test_the_body_of_a_flow_is_no_task_run() -> None:
    with standing_in(frame_of(FakeApplication(), "flow", id="f1")):
        assert runtime.flow_run.id == "f1"
        assert runtime.flow_run.parent_flow_run_id is None
        assert runtime.flow_run.root_flow_run_id == "f1"
        assert (runtime.task_run.id, runtime.task_run.parameters) == (None, {})


def test_a_task_of_its_own_has_no_flow_run() -> None:
    with standing_in(frame_of(FakeApplication(), "task", id="t1")):
        assert runtime.task_run.id == "t1"
        assert (runtime.flow_run.id, runtime.flow_run.root_flow_run_id) == (None, None)


def test_parents_are_flow_runs_also_where_tasks_stand_between() -> None:
    application = FakeApplication()
    top = frame_of(application, "flow", id="f1")
    middle = frame_of(application, "flow", id="f2", parent=frame_of(application, "task", id="t1", parent=top))
    with standing_in(frame_of(application, "flow", id="f3", parent=middle)):
        assert runtime.flow_run.parent_flow_run_id == "f2"
        assert runtime.flow_run.root_flow_run_id == "f1"


def test_parameters_are_a_copy() -> None:
    with standing_in(frame_of(FakeApplication(), "flow", arguments={"a": 1})):
        runtime.flow_run.parameters["a"] = 2
        assert runtime.flow_run.parameters == {"a": 1}
