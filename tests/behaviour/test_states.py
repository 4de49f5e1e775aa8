"""States: which may follow which, and what each has to say."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncflow import flow, states, task
from asyncflow.exceptions import (
    CancelledRun,
    CrashedRun,
    FailedRun,
    MissingResult,
    PausedRun,
    UnfinishedRun,
)
from asyncflow.states import FOLLOWS, MISSING, REOPENS, TERMINAL, State, StateType, may_follow

from ..colours import Body, Colour

Kind = Callable[..., Callable[..., Any]]
types = st.sampled_from(list(StateType))


# -- the table --------------------------------------------------------------------------------------------------


@given(st.lists(types, max_size=30))
def test_a_walk_never_leaves_a_terminal_state(wanted: list[StateType]) -> None:
    here: StateType | None = None
    for step in wanted:
        if here in TERMINAL:
            assert not may_follow(here, step)
        elif may_follow(here, step):
            here = step


@given(st.lists(st.tuples(types, st.booleans()), max_size=30))
def test_a_terminal_state_is_left_only_by_reopening(wanted: list[tuple[StateType, bool]]) -> None:
    here: StateType | None = None
    for step, reopen in wanted:
        allowed = may_follow(here, step, reopen=reopen)
        if here in TERMINAL and allowed:
            assert reopen
            assert step in REOPENS
        here = step if allowed else here


@given(types)
def test_every_run_can_still_end(here: StateType) -> None:
    if here not in TERMINAL:
        assert FOLLOWS[here] >= TERMINAL


@given(types)
def test_a_new_run_may_be_in_any_state(first: StateType) -> None:
    assert may_follow(None, first)


def test_what_was_asked_to_stop_only_ends() -> None:
    assert FOLLOWS[StateType.CANCELLING] == TERMINAL


def test_nothing_goes_back_to_pending() -> None:
    assert not may_follow(StateType.RUNNING, StateType.PENDING)
    assert not may_follow(StateType.PAUSED, StateType.PENDING)


def test_the_table_names_every_type() -> None:
    assert set(FOLLOWS) == set(StateType)


# -- the constructors -------------------------------------------------------------------------------------------

CONSTRUCTORS = [
    ("Scheduled", "SCHEDULED", "Scheduled"),
    ("AwaitingRetry", "SCHEDULED", "AwaitingRetry"),
    ("AwaitingConcurrencySlot", "SCHEDULED", "AwaitingConcurrencySlot"),
    ("Pending", "PENDING", "Pending"),
    ("Running", "RUNNING", "Running"),
    ("Retrying", "RUNNING", "Retrying"),
    ("Paused", "PAUSED", "Paused"),
    ("Cancelling", "CANCELLING", "Cancelling"),
    ("Completed", "COMPLETED", "Completed"),
    ("Cached", "COMPLETED", "Cached"),
    ("Failed", "FAILED", "Failed"),
    ("Cancelled", "CANCELLED", "Cancelled"),
    ("Crashed", "CRASHED", "Crashed"),
]


@pytest.mark.parametrize(("constructor", "kind", "name"), CONSTRUCTORS)
def test_constructors(constructor: str, kind: str, name: str) -> None:
    state: State[Any] = getattr(states, constructor)(message="why")
    assert (state.type, state.name, state.message) == (kind, name, "why")
    assert repr(state) == str(state) == f"{name}('why')"
    assert repr(getattr(states, constructor)()) == f"{name}()"
    assert state.is_final() is (state.type in TERMINAL)
    asked = [one.value for one in StateType if getattr(state, f"is_{one.value.lower()}")()]
    assert asked == [kind]


@pytest.mark.parametrize("constructor", ["Completed", "Failed", "Cancelled", "Scheduled", "Pending", "Crashed"])
def test_a_state_may_have_a_name_of_its_own(constructor: str) -> None:
    assert getattr(states, constructor)(name="Odd").name == "Odd"


# -- results ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 0, "", [1], {"a": 1}])
def test_a_completed_state_gives_its_value(value: Any) -> None:
    assert states.Completed(data=value).result() == value
    assert states.Cached(data=value).result() == value


def test_a_value_that_was_not_kept_says_so() -> None:
    with pytest.raises(MissingResult):
        states.Completed(data=MISSING).result()
    assert copy.deepcopy(MISSING) is pickle.loads(pickle.dumps(MISSING)) is MISSING


def test_a_failed_state_raises_the_very_error_or_returns_it() -> None:
    error = KeyError("k")
    state = states.Failed(data=error)
    with pytest.raises(KeyError) as caught:
        state.result()
    assert caught.value is error
    assert state.result(raise_on_failure=False) is state.error() is error


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        (states.Failed(message="by hand"), FailedRun, "by hand"),
        (states.Failed(data="as text"), FailedRun, "as text"),
        (states.Crashed(message="killed"), CrashedRun, "killed"),
        (states.Cancelled(message="by ann"), CancelledRun, "by ann"),
        (states.Paused(message="asks"), PausedRun, "asks"),
        (states.Running(message="busy"), UnfinishedRun, "busy"),
        (states.Pending(), UnfinishedRun, "has not finished"),
        (states.Scheduled(), UnfinishedRun, "await it first"),
    ],
)
def test_a_state_without_a_value_has_an_error(state: State[Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        state.result()
    assert isinstance(state.result(raise_on_failure=False), error)


# -- states that bodies return ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [flow, task])
def test_a_hand_made_state_is_the_runs_own(colour: Colour, kind: Kind) -> None:
    @kind
    @colour.body
    def body() -> Any:
        return states.Completed(data=5, name="Enough", message="no more needed")

    state = colour.run(body, return_state=True)
    assert (state.name, state.message, state.result()) == ("Enough", "no more needed", 5)
    assert colour.run(body) == 5


@pytest.mark.parametrize("made", [states.Failed(message="no"), states.Cancelled(message="no"), states.Crashed()])
def test_a_hand_made_failure_raises_unless_the_state_is_asked_for(colour: Colour, made: State[Any]) -> None:
    @flow
    @colour.body
    def body() -> Any:
        return made

    state = colour.run(body, return_state=True)
    assert (state.type, state.message) == (made.type, made.message)
    with pytest.raises(type(made.error())):
        colour.run(body)


def test_a_state_used_twice_is_two_states(colour: Colour) -> None:
    shared = states.Completed(data=1)

    @task
    @colour.body
    def body() -> Any:
        return shared

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        first = body.submit()
        second = body.submit()
        yield colour.result(first)
        yield colour.result(second)
        return first.state.run_id != second.state.run_id, first.state is not shared

    assert colour.run(pipeline) == (True, True)
    assert shared.run_id is None


def test_return_state_gives_failures_without_raising(colour: Colour) -> None:
    @task
    @colour.body
    def body(kind: str) -> None:
        raise ValueError(kind)

    @flow
    @colour.body
    def pipeline() -> Body[Any]:
        state = yield body("inner", return_state=True)
        return repr(state), type(state.error())

    assert colour.run(pipeline) == ("Failed('ValueError: inner')", ValueError)
