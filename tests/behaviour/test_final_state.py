"""What a body's end makes of its run: raised, a hand-made state, futures and states, or a plain value."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from asyncflow import State, flow, task
from asyncflow.exceptions import CancelledRun, CrashedRun, FailedRun, PausedRun
from asyncflow.states import Cancelled, Completed, Crashed, Failed, Paused

from ..colours import Body, Colour
from .remembered import moves, run_of, runs

Decorator = Callable[..., Any]
both_kinds = pytest.mark.parametrize("decorate", [flow, task], ids=["flow", "task"])


def good_and_bad(colour: Colour) -> tuple[Any, Any]:
    @task
    @colour.body
    def good(x: int = 1) -> int:
        return x

    @task
    @colour.body
    def bad(x: int = 1) -> int:
        raise ValueError(f"bad {x}")

    return good, bad


def state_of(colour: Colour, body: Callable[[Any, Any], Any]) -> State[Any]:
    """The final state of a flow with this body, given a good and a bad task."""
    good, bad = good_and_bad(colour)

    @flow(name="judged")
    @colour.body
    def judged() -> Any:
        return body(good, bad)

    state: State[Any] = colour.run(judged, return_state=True)
    stored = run_of("judged")
    assert (stored.state_type, stored.state_name, stored.state_message) == (state.type, state.name, state.message)
    return state


# -- raised -----------------------------------------------------------------------------------------------------------


@both_kinds
def test_a_raised_error_is_failed_with_the_original(decorate: Decorator, colour: Colour) -> None:
    error = ValueError("no\nsuch thing")

    @decorate
    @colour.body
    def body() -> None:
        raise error

    with pytest.raises(ValueError, match="no") as caught:
        colour.run(body)
    assert caught.value is error
    state = colour.run(body, return_state=True)
    assert (state.name, state.message) == ("Failed", "ValueError: no\nsuch thing")
    assert state.data is error
    with pytest.raises(ValueError, match="no"):
        state.result()
    assert state.result(raise_on_failure=False) is error
    assert {run.state_name for run in runs()} == {"Failed"}
    assert all(run.error for run in runs())


@both_kinds
def test_a_failure_is_final_only_when_no_retries_remain(decorate: Decorator, colour: Colour) -> None:
    @decorate(name="flaky", retries=2)  # type: ignore[untyped-decorator]
    @colour.body
    def body() -> str:
        attempts.append(1)
        if len(attempts) < 3:
            raise ValueError("not yet")
        return "good"

    attempts: list[int] = []
    assert colour.run(body) == "good"
    run = run_of("flaky")
    assert (run.state_name, run.attempt) == ("Completed", 3)
    assert [move.state_name for move in moves(run.id)][-3:] == ["Retrying", "Retrying", "Completed"]


@both_kinds
@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("return_state", [True, False])
def test_stops_of_the_process_always_pass_through(
    decorate: Decorator, colour: Colour, stop: type[BaseException], return_state: bool
) -> None:
    @decorate(name="stopped", retries=3)  # type: ignore[untyped-decorator]
    @colour.body
    def body() -> None:
        attempts.append(1)
        raise stop("now")

    attempts: list[int] = []
    with pytest.raises(stop):
        colour.run(body, return_state=return_state)
    assert attempts == [1]
    assert run_of("stopped").state_name == "Cancelled"


async def test_a_cancelled_call_is_cancelled_also_with_return_state() -> None:
    @flow
    async def body() -> None:
        started.set()
        await asyncio.sleep(30)

    started = asyncio.Event()
    call = asyncio.create_task(body(return_state=True))
    await started.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


@both_kinds
def test_an_error_whose_text_cannot_be_read_is_still_a_failure(decorate: Decorator, colour: Colour) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    @decorate
    @colour.body
    def body() -> None:
        raise Mute

    with pytest.raises(Mute):
        colour.run(body)
    assert runs()[0].state_name == "Failed"


# -- hand-made states -------------------------------------------------------------------------------------------------


@both_kinds
@pytest.mark.parametrize(
    ("made", "error"),
    [
        (lambda: Failed(message="said so"), FailedRun),
        (lambda: Failed(data="said so"), FailedRun),
        (lambda: Failed(data=KeyError("said so")), KeyError),
        (lambda: Cancelled(message="said so"), CancelledRun),
        (lambda: Crashed(message="said so"), CrashedRun),
        (lambda: Paused(message="said so"), PausedRun),
    ],
    ids=["failed", "failed-text", "failed-error", "cancelled", "crashed", "paused"],
)
def test_a_hand_made_state_is_the_state(decorate: Decorator, colour: Colour, made: Any, error: type[Exception]) -> None:
    @decorate
    @colour.body
    def body() -> State[Any]:
        return made()  # type: ignore[no-any-return]

    with pytest.raises(error, match="said so"):
        colour.run(body)
    state = colour.run(body, return_state=True)
    assert (state.type, state.name, state.message) == (made().type, made().name, made().message)
    assert {run.state_name for run in runs()} == {made().name}


@both_kinds
def test_a_hand_made_completed_state_keeps_its_name_and_gives_its_data(decorate: Decorator, colour: Colour) -> None:
    @decorate(name="skipper")  # type: ignore[untyped-decorator]
    @colour.body
    def body() -> State[Any]:
        return Completed(data=[1], name="Skipped", message="nothing to do")

    assert colour.run(body) == [1]
    run = run_of("skipper")
    assert (run.state_type, run.state_name, run.state_message) == ("COMPLETED", "Skipped", "nothing to do")


@both_kinds
def test_a_returned_failed_state_is_retried(decorate: Decorator, colour: Colour) -> None:
    @decorate(retries=1)  # type: ignore[untyped-decorator]
    @colour.body
    def body() -> State[Any]:
        attempts.append(1)
        return Failed(message="again") if len(attempts) == 1 else Completed(data="good")

    attempts: list[int] = []
    assert colour.run(body) == "good"


@both_kinds
def test_one_state_may_be_returned_by_several_runs(decorate: Decorator, colour: Colour) -> None:
    shared = Completed(data=1)

    @decorate
    @colour.body
    def body() -> State[Any]:
        return shared

    assert colour.run(body) == colour.run(body) == 1
    assert shared.run_id is None
    assert shared.timestamp == 0
    assert len(runs()) == 2


# -- futures and states -----------------------------------------------------------------------------------------------


def test_a_returned_future_is_its_own_outcome(colour: Colour) -> None:
    state = state_of(colour, lambda good, bad: good.submit(7))
    assert state.is_completed()
    assert state.result() == 7


def test_a_returned_future_that_failed_fails_the_flow_with_its_error(colour: Colour) -> None:
    state = state_of(colour, lambda good, bad: bad.submit(7))
    assert state.is_failed()
    with pytest.raises(ValueError, match="bad 7"):
        state.result()


def test_a_call_that_returns_a_future_gives_the_value(colour: Colour) -> None:
    good, _ = good_and_bad(colour)

    @flow
    @colour.body
    def outer() -> Any:
        return good.submit(3)

    assert colour.run(outer) == 3


def test_a_returned_state_of_a_task_is_the_flows_state(colour: Colour) -> None:
    good, bad = good_and_bad(colour)

    @flow
    @colour.body
    def outer(which: str) -> Body[Any]:
        return (yield (good if which == "good" else bad)(5, return_state=True))

    assert colour.run(outer, "good") == 5
    with pytest.raises(ValueError, match="bad 5"):
        colour.run(outer, "bad")


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_collection_of_completed_futures_is_completed(colour: Colour, kind: Any) -> None:
    state = state_of(colour, lambda good, bad: kind([good.submit(1), good.submit(2)]))
    assert (state.name, state.message) == ("Completed", "All states completed.")
    assert state.result() == kind([1, 2])


def test_a_set_of_completed_futures_is_completed(colour: Colour) -> None:
    state = state_of(colour, lambda good, bad: {good.submit(1), good.submit(2)})
    assert state.result() == {1, 2}


def test_a_set_of_futures_with_unhashable_values_is_no_error(colour: Colour) -> None:
    @task
    @colour.body
    def several() -> list[int]:
        return [1]

    @flow
    @colour.body
    def outer() -> Any:
        return {several.submit()}

    assert list(colour.run(outer)) == [[1]]


@pytest.mark.parametrize("kind", [list, tuple, set])
def test_one_failure_among_several_fails_the_flow(colour: Colour, kind: Any) -> None:
    state = state_of(colour, lambda good, bad: kind([good.submit(), bad.submit(1)]))
    assert (state.name, state.message) == ("Failed", "1/2 states failed.")
    with pytest.raises(ValueError, match="bad 1"):
        state.result()


def test_a_returned_future_list_is_an_aggregate(colour: Colour) -> None:
    good, bad = good_and_bad(colour)

    @flow
    @colour.body
    def outer(which: str) -> Any:
        return (good if which == "good" else bad).map([1, 2, 3])

    assert colour.run(outer, "good") == [1, 2, 3]
    state = colour.run(outer, "bad", return_state=True)
    assert state.message == "3/3 states failed."


def test_hand_made_states_aggregate_with_futures(colour: Colour) -> None:
    state = state_of(colour, lambda good, bad: [good.submit(), Failed(message="mine"), Completed(data=2)])
    assert (state.name, state.message) == ("Failed", "1/3 states failed.")
    with pytest.raises(FailedRun, match="mine"):
        state.result()


def test_a_cancelled_state_among_several_cancels(colour: Colour) -> None:
    state = state_of(colour, lambda good, bad: [good.submit(), bad.submit(), Cancelled()])
    assert state.is_cancelled()
    with pytest.raises(CancelledRun):
        state.result()


def test_a_paused_state_among_several_pauses(colour: Colour) -> None:
    assert state_of(colour, lambda good, bad: [Completed(), Paused()]).is_paused()


def test_states_that_are_not_final_fail_the_flow(colour: Colour) -> None:
    from asyncflow.states import Running

    state = state_of(colour, lambda good, bad: [Completed(), Running()])
    assert (state.name, state.message) == ("Failed", "1/2 states are not final.")


def test_an_empty_list_is_plain_data(colour: Colour) -> None:
    state = state_of(colour, lambda good, bad: [])
    assert (state.name, state.message) == ("Completed", None)
    assert state.result() == []


# -- plain data -------------------------------------------------------------------------------------------------------


def test_a_dict_of_futures_is_plain_data_with_states_inside(colour: Colour) -> None:
    state = state_of(colour, lambda good, bad: {"good": good.submit(1), "bad": bad.submit(2)})
    assert state.is_completed()
    value = state.result()
    assert value["good"].is_completed()
    assert value["good"].result() == 1
    assert value["bad"].is_failed()


def test_a_mixed_collection_is_plain_data(colour: Colour) -> None:
    state = state_of(colour, lambda good, bad: [bad.submit(), 1])
    assert state.is_completed()
    assert state.result()[0].is_failed()
    assert state.result()[1] == 1


def test_nested_lists_are_plain_data(colour: Colour) -> None:
    state = state_of(colour, lambda good, bad: [[bad.submit()]])
    assert state.is_completed()
    assert state.result()[0][0].is_failed()


@both_kinds
@pytest.mark.parametrize("value", [None, 0, "", b"x", 1.5, (), {"a": 1}, {1, 2}, [None], float])
def test_anything_else_is_completed_with_the_value(decorate: Decorator, value: Any) -> None:
    @decorate
    def body() -> Any:
        return value

    assert body() is value
    assert body(return_state=True).result() is value
    assert {run.state_name for run in runs()} == {"Completed"}


def test_a_caught_task_failure_does_not_fail_the_flow(colour: Colour) -> None:
    _, bad = good_and_bad(colour)

    @flow(name="outer")
    @colour.body
    def outer() -> Body[Any]:
        try:
            yield bad()
        except ValueError:
            return "caught"
        return "never"

    assert colour.run(outer) == "caught"
    assert run_of("outer").state_name == "Completed"
    assert run_of("bad").state_name == "Failed"


def test_return_state_hides_a_task_failure(colour: Colour) -> None:
    _, bad = good_and_bad(colour)

    @flow
    @colour.body
    def outer() -> Body[Any]:
        state = yield bad(return_state=True)
        return str(state.name)

    assert colour.run(outer) == "Failed"


def test_tasks_aggregate_what_they_submitted_too(colour: Colour) -> None:
    good, bad = good_and_bad(colour)

    @task(name="outer")
    @colour.body
    def outer() -> Any:
        return [good.submit(), bad.submit()]

    state = colour.run(outer, return_state=True)
    assert state.message == "1/2 states failed."


def test_a_value_that_cannot_be_stored_is_given_all_the_same(colour: Colour) -> None:
    import threading

    @flow(name="holder")
    @colour.body
    def body() -> Any:
        return threading.Lock()

    assert colour.run(body).acquire(blocking=False)
    run = run_of("holder")
    assert run.state_name == "Completed"
    assert "not stored" in (run.state_message or "")


def test_a_body_that_returns_an_exception_object_has_not_failed(colour: Colour) -> None:
    error = ValueError("a value")

    @flow
    @colour.body
    def body() -> Exception:
        return error

    assert colour.run(body) is error


@both_kinds
def test_an_error_whose_text_no_database_takes_is_a_failure_like_any(decorate: Decorator, colour: Colour) -> None:
    """The name of a file that is no UTF-8, say, as the operating system gives it."""

    @decorate
    @colour.body
    def reading() -> None:
        raise FileNotFoundError("no such file: caf\udce9\0")

    with pytest.raises(FileNotFoundError):
        colour.run(reading)
    stored = run_of("reading")
    assert (stored.state_name, stored.state_message) == (
        "Failed",
        r"FileNotFoundError: no such file: caf\udce9\x00",
    )
