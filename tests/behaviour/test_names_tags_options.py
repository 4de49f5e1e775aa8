"""What flows, tasks and runs are called, which tags they carry, and what their options take and refuse."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from asyncflow import current_run, exponential_backoff, flow, tags, task
from asyncflow.cache_policies import INPUTS
from asyncflow.exceptions import (
    AsyncflowError,
    ConfigurationError,
    InvalidHook,
    InvalidName,
    InvalidOption,
    UnnamedCallable,
)

from ..colours import Body, Colour
from .remembered import run_of, runs

Decorator = Callable[..., Any]
both_kinds = pytest.mark.parametrize("decorate", [flow, task], ids=["flow", "task"])


def my_function(x: int = 1) -> int:
    """What it does."""
    return x


# -- names of flows and tasks -----------------------------------------------------------------------------------------


def test_a_flow_is_named_after_its_function_with_dashes_and_a_task_as_it_is() -> None:
    assert flow(my_function).name == "my-function"
    assert task(my_function).name == "my_function"
    assert flow(name="My Flow: é 1.0")(my_function).name == "My Flow: é 1.0"
    assert flow(my_function).description == "What it does."
    assert flow(description="Other.")(my_function).description == "Other."
    assert flow(version="7")(my_function).version == "7"


def test_keys_are_module_and_qualname_whatever_the_display_name() -> None:
    assert flow(name="shown")(my_function).key == task(my_function).key == f"{__name__}:my_function"


@both_kinds
@pytest.mark.parametrize("name", ["", "  ", "a/b", "50%", "a&b", "a>b", "<b", 3, b"bytes", ["a"]])
def test_bad_names_are_refused_where_they_are_written(decorate: Decorator, name: Any) -> None:
    with pytest.raises(InvalidName, match=re.escape(repr(name))) as caught:
        decorate(name=name)(my_function)
    assert isinstance(caught.value, ConfigurationError)
    assert isinstance(caught.value, ValueError)


@both_kinds
def test_lambdas_and_partials_need_a_name(decorate: Decorator) -> None:
    for nameless in (lambda: 1, functools.partial(my_function, 2)):
        with pytest.raises(UnnamedCallable, match="name="):
            decorate(nameless)
    assert decorate(name="one")(lambda: 1)() == 1
    assert decorate(name="two")(functools.partial(my_function, 2))() == 2


@both_kinds
@pytest.mark.parametrize("thing", [3, None, "text", [my_function], dict, type])
def test_only_functions_are_decorated(decorate: Decorator, thing: Any) -> None:
    with pytest.raises(AsyncflowError):
        decorate(name="x")(thing)


# -- names of runs ----------------------------------------------------------------------------------------------------


def test_flow_runs_get_readable_names(colour: Colour) -> None:
    @flow
    @colour.body
    def body() -> str:
        return current_run().name

    name = colour.run(body)
    assert re.fullmatch(r"[a-z]+-[a-z]+", name)
    assert run_of("body").name == name


def test_task_runs_are_numbered_within_their_flow_run(colour: Colour) -> None:
    @task
    @colour.body
    def fetch_data() -> str:
        return current_run().name

    @task(name="Other One")
    @colour.body
    def other() -> str:
        return current_run().name

    @flow
    @colour.body
    def body() -> Body[Any]:
        names = []
        for called in (fetch_data, other, fetch_data, other, fetch_data):
            names.append((yield called()))  # noqa: PERF401  (a comprehension holds no yield)
        names.append((yield colour.result(fetch_data.submit())))
        return names

    expected = ["fetch_data", "Other One", "fetch_data-1", "Other One-1", "fetch_data-2", "fetch_data-3"]
    assert colour.run(body) == expected
    assert colour.run(body) == expected
    assert colour.run(fetch_data) == "fetch_data"


def test_templates_name_runs_by_their_parameters(colour: Colour) -> None:
    @task(task_run_name="{task_name} {n:03d} of {user[name]}")
    @colour.body
    def step(n: int, user: Any = {"name": "ada"}) -> str:  # noqa: B006
        return current_run().name

    @flow(name="loader", flow_run_name="{flow_name} on {day}")
    @colour.body
    def body(day: str, n: int) -> Body[Any]:
        return current_run().name, (yield step(n))

    assert colour.run(body, "monday", "7") == ("loader on monday", "step 007 of ada")
    assert run_of("loader").name == "loader on monday"
    assert run_of("step").name == "step 007 of ada"


def test_functions_name_runs(colour: Colour) -> None:
    @task(task_run_name=lambda parameters: f"number {parameters['n']}")
    @colour.body
    def step(n: int) -> str:
        return current_run().name

    @flow(flow_run_name=lambda: "named by a function")
    @colour.body
    def body() -> Body[Any]:
        return current_run().name, (yield step(3))

    assert colour.run(body) == ("named by a function", "number 3")


def test_a_run_name_is_made_once_and_not_for_each_attempt(colour: Colour) -> None:
    made: list[int] = []
    seen: list[str] = []

    @task(task_run_name=lambda: f"made {made.append(1) or len(made)}", retries=2)  # type: ignore[func-returns-value]
    @colour.body
    def step() -> None:
        seen.append(current_run().name)
        if len(seen) < 3:
            raise ValueError("again")

    colour.run(step)
    assert seen == ["made 1"] * 3


@both_kinds
@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ("{absent}", InvalidOption),
        ("{x.absent}", InvalidOption),
        ("{x:bad}", InvalidOption),
        (lambda: 3, InvalidName),
        (lambda: "", InvalidName),
        (lambda: 1 / 0, ZeroDivisionError),
    ],
    ids=["absent", "attribute", "format", "number", "empty", "raises"],
)
def test_a_run_name_that_cannot_be_made_fails_the_run(
    decorate: Decorator, colour: Colour, wrong: Any, error: type[Exception]
) -> None:
    option = {("flow_run_name" if decorate is flow else "task_run_name"): wrong}

    @decorate(name="unnameable", **option)  # type: ignore[untyped-decorator]
    @colour.body
    def body(x: int = 1) -> None:
        raise AssertionError("it ran")

    with pytest.raises(error):
        colour.run(body)
    assert run_of("unnameable").state_name == "Failed"


@both_kinds
@pytest.mark.parametrize("wrong", [3, ["x"], b"x", ""])
def test_a_run_name_option_that_is_neither_text_nor_function_is_refused(decorate: Decorator, wrong: Any) -> None:
    option = {("flow_run_name" if decorate is flow else "task_run_name"): wrong}
    with pytest.raises((InvalidOption, InvalidName), match="run_name"):
        decorate(**option)(my_function)


def test_long_and_odd_run_names_are_made_fit(colour: Colour) -> None:
    @flow(name="odd", flow_run_name="{text}")
    @colour.body
    def body(text: str) -> str:
        return current_run().name

    assert len(colour.run(body, "x" * 5000)) == 200
    assert "\n" not in colour.run(body, "two\nlines")
    assert colour.run(body, "nul\0 and \ud800")
    assert len(runs(spec_name="odd")) == 3


# -- tags -------------------------------------------------------------------------------------------------------------


def test_tags_are_the_union_of_all(colour: Colour) -> None:
    @task(tags={"own", "shared"})
    @colour.body
    def step() -> Any:
        return sorted(current_run().tags)

    @flow(tags=["flow", "shared"])
    @colour.body
    def body() -> Body[Any]:
        inside = []
        with tags("a", "b") as named:
            assert named == {"outside", "a", "b"}
            inside.append((yield step()))
            with tags("c"):
                inside.append((yield colour.result(step.submit())))
        inside.append((yield step()))
        return inside

    with tags("outside"):
        values = colour.run(body)
    always = ["flow", "outside", "own", "shared"]
    assert values == [sorted([*always, "a", "b"]), sorted([*always, "a", "b", "c"]), always]
    assert run_of("body").tags == ("flow", "outside", "shared")
    assert len(runs(tag="c")) == 1


def test_tags_end_with_their_block(colour: Colour) -> None:
    @task
    @colour.body
    def step() -> Any:
        return sorted(current_run().tags)

    with pytest.raises(KeyError), tags("inside"):
        raise KeyError
    assert colour.run(step) == []


@pytest.mark.parametrize("wrong", ["text", 3, [3], [""], [None]])
def test_bad_tags_are_refused(wrong: Any) -> None:
    for decorate in (flow, task):
        with pytest.raises(InvalidOption, match="tags"):
            decorate(tags=wrong)(my_function)
    with pytest.raises(InvalidOption, match="tags"), tags(3):  # type: ignore[arg-type]
        pass


# -- with_options -----------------------------------------------------------------------------------------------------


def test_with_options_keeps_what_is_not_named() -> None:
    made = task(name="one", retries=3, retry_delay_seconds=[1, 2], tags=["a"], timeout_seconds=5, limits=["x"])(
        my_function
    )
    copy = made.with_options(name="two", tags=["b"])
    assert (copy.name, copy.tags, copy.fn, copy.key) == ("two", frozenset({"b"}), made.fn, made.key)
    assert (copy.retry.retries, copy.retry.delays, copy.timeout_seconds, copy.limits) == (3, (1, 2), 5, ("x",))
    assert (made.name, made.tags) == ("one", frozenset({"a"}))
    whole = flow(name="one", retries=3, timeout_seconds=5, leftover="cancel", unobserved="log")(my_function)
    other = whole.with_options(retries=1)
    assert (other.name, other.retry.retries, other.timeout_seconds) == ("one", 1, 5)
    assert (other.leftover, other.unobserved) == ("cancel", "log")


def test_with_options_clears_what_is_given_as_none() -> None:
    def hook(*_: Any) -> None: ...

    made = task(name="one", timeout_seconds=5, tags=["a"], cache_policy=INPUTS, on_failure=[hook])(my_function)
    copy = made.with_options(name=None, timeout_seconds=None, tags=None, cache_policy=None, on_failure=None)
    assert (copy.name, copy.timeout_seconds, copy.tags, copy.cache_policy) == ("my_function", None, frozenset(), None)
    assert copy.hooks["failure"] == []
    whole = flow(name="one", timeout_seconds=5, on_completion=hook, retries=2, leftover="cancel")(my_function)
    other = whole.with_options(name=None, timeout_seconds=None, on_completion=None, retries=None, leftover=None)
    assert (other.retry.retries, other.leftover) == (0, "wait")
    assert (other.name, other.timeout_seconds, other.hooks["completion"]) == ("my-function", None, [])


@both_kinds
def test_with_options_replaces_hooks_and_keeps_decorated_ones_otherwise(decorate: Decorator) -> None:
    def first(*_: Any) -> None: ...
    def second(*_: Any) -> None: ...
    def third(*_: Any) -> None: ...

    made = decorate(on_failure=[first])(my_function)
    made.on_failure(second)
    assert made.with_options(retries=1).hooks["failure"] == [first, second]
    copy = made.with_options(on_failure=[third])
    assert copy.hooks["failure"] == [third]
    copy.on_failure(second)
    assert made.hooks["failure"] == [first, second]


@both_kinds
def test_with_options_of_with_options(decorate: Decorator, colour: Colour) -> None:
    @decorate(name="first", retries=1)  # type: ignore[untyped-decorator]
    @colour.body
    def body() -> Any:
        return current_run().attempt

    second = body.with_options(name="second").with_options(retries=2)
    assert (second.name, second.retry.retries) == ("second", 2)
    assert colour.run(second) == 1
    assert run_of("second").spec_key == body.key


@both_kinds
def test_copies_keep_the_colour(decorate: Decorator) -> None:
    async def coroutine() -> None: ...

    assert decorate(coroutine).with_options(retries=1).is_async
    assert not decorate(my_function).with_options(retries=1).is_async


# -- options that are refused -----------------------------------------------------------------------------------------


@both_kinds
def test_an_unknown_option_is_answered_with_the_nearest_one(decorate: Decorator) -> None:
    for asked in (decorate, decorate(my_function).with_options):
        with pytest.raises(InvalidOption, match=r"'retrys'.*'retries'"):
            asked(retrys=2)
    with pytest.raises(InvalidOption, match="'zzzz'"):
        decorate(zzzz=1)


BOTH: list[tuple[str, Any]] = [
    *(("retries", wrong) for wrong in (-1, 1.5, True, "3", None)),
    *(
        ("retry_delay_seconds", wrong)
        for wrong in (-1, [1, -1], "1", float("nan"), float("inf"), True, [None], object())
    ),
    ("retry_delay_seconds", timedelta(seconds=-1)),
    *(("timeout_seconds", wrong) for wrong in (0, -1, "1", True, float("nan"), float("inf"), timedelta(0))),
    *(("log_prints", wrong) for wrong in ("yes", 1)),
    *(("persist_result", wrong) for wrong in ("yes", 1)),
    *(("result_serializer", wrong) for wrong in ("yaml", 1)),
    *(("description", wrong) for wrong in (1, ["x"])),
    *(("version", wrong) for wrong in (1, 1.0)),
]
FLOW: list[tuple[str, Any]] = [
    *(("leftover", wrong) for wrong in ("keep", None, True, ["wait"])),
    *(("unobserved", wrong) for wrong in ("raise", None)),
    *(("max_in_flight", wrong) for wrong in (0, -1, 1.5, True, "3")),
    *(("durability", wrong) for wrong in ("fast", True)),
    *(("recover", wrong) for wrong in ("always", False)),
    *(("max_recoveries", wrong) for wrong in (-1, 1.5, True)),
    *(("on_code_change", wrong) for wrong in ("ignore", None)),
    *(("on_divergence", wrong) for wrong in ("ignore", None)),
    *(("validate_parameters", wrong) for wrong in ("no", None, 1)),
]
TASK: list[tuple[str, Any]] = [
    *(("retry_jitter_factor", wrong) for wrong in (-0.1, "1", True, float("nan"))),
    *(("retry_condition_fn", wrong) for wrong in (True, "fn", 3)),
    *(("cache_policy", wrong) for wrong in ("inputs", True, object())),
    *(("cache_key_fn", wrong) for wrong in ("key", 3)),
    *(("cache_expiration", wrong) for wrong in (3, timedelta(0), timedelta(seconds=-1), "1d")),
    *(("limits", wrong) for wrong in ("api", 3, [3], [""])),
    *(("key", wrong) for wrong in (3, "", ["x"])),
    *(("ignore_inputs", wrong) for wrong in ("x", ["absent"], [3])),
    *(("on_interrupted", wrong) for wrong in ("restart", None)),
    *(("runs_in", wrong) for wrong in ("fork", None)),
    *(("refresh_cache", wrong) for wrong in ("yes", None, 1)),
    *(("preview", wrong) for wrong in ("yes", None, 1)),
    *(("result_storage_key", wrong) for wrong in (3, "")),
]
REFUSED = [
    *((decorate, option, wrong) for option, wrong in BOTH for decorate in (flow, task)),
    *((flow, option, wrong) for option, wrong in FLOW),
    *((task, option, wrong) for option, wrong in TASK),
]


@pytest.mark.parametrize(
    ("decorate", "option", "wrong"),
    REFUSED,
    ids=[f"{d.__name__}-{option}-{wrong!r:.20}" for d, option, wrong in REFUSED],
)
def test_a_bad_value_is_refused_where_it_is_written_and_named(decorate: Decorator, option: str, wrong: Any) -> None:
    with pytest.raises(InvalidOption, match=option) as caught:
        decorate(**{option: wrong})(my_function)
    assert isinstance(caught.value, ValueError)
    if wrong is not None:  # None brings the default back
        with pytest.raises(InvalidOption, match=option):
            decorate(my_function).with_options(**{option: wrong})


@both_kinds
@pytest.mark.parametrize("event", ["on_running", "on_completion", "on_failure"])
@pytest.mark.parametrize("wrong", [3, "hook", [3], [my_function, "hook"], ["hook"]])
def test_hooks_that_cannot_be_called_are_refused(decorate: Decorator, event: str, wrong: Any) -> None:
    with pytest.raises(InvalidHook, match=event) as caught:
        decorate(**{event: wrong})(my_function)
    assert isinstance(caught.value, TypeError)
    with pytest.raises(InvalidHook, match=event):
        getattr(decorate(my_function), event)(3)


def test_a_policy_that_keeps_nothing_cannot_cache() -> None:
    with pytest.raises(InvalidOption, match="persist_result"):
        task(cache_policy=INPUTS, persist_result=False)(my_function)


@pytest.mark.parametrize("factor", [-1, "2", None, True, float("nan")])
def test_a_bad_backoff_is_refused(factor: Any) -> None:
    with pytest.raises(InvalidOption, match="backoff"):
        exponential_backoff(factor)


@both_kinds
def test_good_values_are_taken_in_all_their_forms(decorate: Decorator) -> None:
    made = decorate(retries=2, retry_delay_seconds=timedelta(seconds=3), timeout_seconds=timedelta(minutes=1))(
        my_function
    )
    assert (made.retry.delays, made.timeout_seconds) == ((3.0,), 60.0)
    assert decorate(retries=3, retry_delay_seconds=exponential_backoff(2))(my_function).retry.delays == (2, 4, 8)
    assert decorate(retry_delay_seconds=[0, 1.5, timedelta(seconds=2)])(my_function).retry.delays == (0, 1.5, 2)
    assert decorate(tags=(tag for tag in "ab"))(my_function).tags == {"a", "b"}
    assert decorate(on_failure=(my_function,))(my_function).hooks["failure"] == [my_function]


@both_kinds
def test_declaring_does_nothing_else(decorate: Decorator) -> None:
    from asyncflow import application

    decorate(my_function)
    assert application._default is None
    assert application._opened == []
