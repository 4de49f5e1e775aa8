"""How the arguments of a call meet the parameters: bound before there is a run, coerced inside it, or left alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import pydantic
import pytest

from asyncflow import current_run, flow, task
from asyncflow.exceptions import (
    ConfigurationError,
    MissingContext,
    ParameterBindError,
    ParameterTypeError,
    ReservedArgument,
)

from ..colours import Body, Colour
from .remembered import run_of, runs, stored_runs

Decorator = Callable[..., Any]
both_kinds = pytest.mark.parametrize("decorate", [flow, task], ids=["flow", "task"])


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Order(pydantic.BaseModel):
    number: int
    size: Size = Size.SMALL


@dataclass
class Point:
    x: int
    y: int = 0


class Handle:
    """Something that pydantic knows nothing of."""


# -- binding ----------------------------------------------------------------------------------------------------------


@both_kinds
@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1, 2, 3), {}), ((1,), {"a": 2}), ((1,), {"c": 3})], ids=str)
def test_what_does_not_bind_is_a_type_error_and_makes_no_run(
    decorate: Decorator, colour: Colour, args: Any, kwargs: Any
) -> None:
    @decorate
    @colour.body
    def add(a: int, b: int) -> int:
        return a + b

    for call in (add, add.submit):
        with pytest.raises(ParameterBindError, match=r"add\(") as caught:
            call(*args, **kwargs)  # nothing is awaited: the call itself refuses
        assert isinstance(caught.value, TypeError)
    assert runs() == []


async def test_what_does_not_bind_inside_a_flow_makes_no_task_run() -> None:
    @task
    async def add(a: int, b: int) -> int:
        return a + b

    @flow
    async def outer() -> str:
        with pytest.raises(ParameterBindError):
            add(1)  # type: ignore[call-overload]
        with pytest.raises(ParameterBindError):
            add.submit(1, 2, 3)
        return "went on"

    assert await outer() == "went on"
    assert [run.spec_name for run in await stored_runs()] == ["outer"]


@both_kinds
def test_every_kind_of_parameter_arrives(decorate: Decorator, colour: Colour) -> None:
    @decorate
    @colour.body
    def body(a: Any, /, b: Any, c: Any = 3, *rest: Any, d: Any, e: Any = 5, **more: Any) -> Any:
        return a, b, c, rest, d, e, more

    assert colour.run(body, 1, 2, d=4) == (1, 2, 3, (), 4, 5, {})
    assert colour.run(body, 1, b=2, d=4) == (1, 2, 3, (), 4, 5, {})
    assert colour.run(body, 1, 2, 33, 7, 8, d=4, f=6, a=0) == (1, 2, 33, (7, 8), 4, 5, {"f": 6, "a": 0})
    assert body.submit(1, 2, d=4, f=6).result(30) == (1, 2, 3, (), 4, 5, {"f": 6})
    with pytest.raises(ParameterBindError):
        body(a=1, b=2, d=4)


@both_kinds
def test_keyword_only_and_positional_only(decorate: Decorator, colour: Colour) -> None:
    @decorate
    @colour.body
    def only(*, name: str = "x") -> str:
        return name

    @decorate
    @colour.body
    def other(name: str, /) -> str:
        return name

    assert colour.run(only, name="y") == "y"
    assert colour.run(only) == "x"
    assert colour.run(other, "z") == "z"
    with pytest.raises(ParameterBindError):
        only("y")
    with pytest.raises(ParameterBindError):
        other(name="z")


@both_kinds
@pytest.mark.parametrize("name", ["return_state", "wait_for"])
def test_reserved_parameter_names_are_refused_where_they_are_written(decorate: Decorator, name: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def taken({name}=None): ...", namespace)
    with pytest.raises(ReservedArgument, match=name) as caught:
        decorate(namespace["taken"])
    assert isinstance(caught.value, ConfigurationError)


@both_kinds
def test_parameters_may_have_the_names_of_our_own_options(decorate: Decorator, colour: Colour) -> None:
    @decorate
    @colour.body
    def body(name: str, fn: int, spec: int, parent: int, call: int, retries: int, args: int, kwargs: int) -> Any:
        return name, fn, spec, parent, call, retries, args, kwargs

    given = dict.fromkeys(("fn", "spec", "parent", "call", "retries", "args", "kwargs"), 1)
    assert colour.run(lambda: body(name="n", **given)) == ("n", 1, 1, 1, 1, 1, 1, 1)
    assert body.submit(name="n", **given).result(30) == ("n", 1, 1, 1, 1, 1, 1, 1)


@both_kinds
@pytest.mark.parametrize("names", [("_x", "__y", "_"), ("model_config", "schema", "copy"), ("p0", "p1", "json")])
def test_any_parameter_name_goes(decorate: Decorator, names: tuple[str, ...]) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def body({': int, '.join(names)}: int): return [{', '.join(names)}]", namespace)
    body = decorate(namespace["body"])
    assert body(1, 2, 3) == [1, 2, 3]
    assert body(**dict(zip(names, (4, 5, 6), strict=True))) == [4, 5, 6]
    if decorate is flow:
        assert body("7", "8", "9") == [7, 8, 9]
        assert set(body.parameters["properties"]) == set(names)


# -- validation of flows ----------------------------------------------------------------------------------------------


def test_arguments_are_coerced_by_their_annotations(colour: Colour) -> None:
    @flow
    @colour.body
    def body(a: int, b: list[float], c: date, d: Path, e: Decimal, f: timedelta, g: Optional[int] = None) -> Any:  # noqa: UP045
        return a, b, c, d, e, f, g

    value = colour.run(body, "3", ("1", 2), "2026-02-03", "x/y", "1.5", "PT1H", g="4")
    assert value == (3, [1.0, 2.0], date(2026, 2, 3), Path("x/y"), Decimal("1.5"), timedelta(hours=1), 4)


def test_defaults_are_validated_and_coerced(colour: Colour) -> None:
    @flow
    @colour.body
    def good(x: int = "7", y: list[int] = ("1",)) -> Any:  # type: ignore[assignment]
        return x, y

    @flow
    @colour.body
    def bad(x: int = "seven") -> int:  # type: ignore[assignment]
        return x

    assert colour.run(good) == (7, [1])
    with pytest.raises(ParameterTypeError, match="x"):
        colour.run(bad)
    assert run_of("bad").state_name == "Failed"


def test_what_does_not_validate_is_a_failed_run(colour: Colour) -> None:
    bodies = []

    @flow(name="counted", retries=3)
    @colour.body
    def body(a: int, b: int) -> None:
        bodies.append((a, b))

    with pytest.raises(ParameterTypeError, match=r"b: .*'two'") as caught:
        colour.run(body, 1, "two")
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)
    assert bodies == []
    run = run_of("counted")
    assert (run.state_name, run.attempt) == ("Failed", 0)
    assert json.loads(run.parameters or "") == {"a": 1, "b": "two"}
    assert "ParameterTypeError" in (run.state_message or "")
    state = colour.run(body, 1, "two", return_state=True)
    assert state.is_failed()
    assert isinstance(state.data, ParameterTypeError)


def test_validate_parameters_false_hands_them_over_as_they_are(colour: Colour) -> None:
    @flow(validate_parameters=False)
    @colour.body
    def body(a: int, b: list[int]) -> Any:
        return a, b

    assert colour.run(body, "3", (1,)) == ("3", (1,))


def test_tasks_bind_and_do_not_coerce(colour: Colour) -> None:
    @task
    @colour.body
    def body(a: int, b: float = "x") -> Any:  # type: ignore[assignment]
        return a, b

    assert colour.run(body, "3") == ("3", "x")


def test_models_dataclasses_and_enums(colour: Colour) -> None:
    @flow
    @colour.body
    def body(order: Order, point: Point, size: Size, several: dict[str, Order]) -> Any:
        return order, point, size, several

    order = Order(number=1)
    value = colour.run(body, {"number": "1"}, {"x": "2"}, "large", {"a": {"number": 2, "size": "large"}})
    assert value == (order, Point(2), Size.LARGE, {"a": Order(number=2, size=Size.LARGE)})
    again = colour.run(body, order, Point(2), Size.LARGE, {})
    assert again[0] is order


def test_a_model_that_does_not_fit_names_the_field(colour: Colour) -> None:
    @flow
    @colour.body
    def body(order: Order) -> None: ...

    with pytest.raises(ParameterTypeError, match=r"order\.number"):
        colour.run(body, {"number": "many"})


def test_constraints_and_literals_count(colour: Colour) -> None:
    @flow
    @colour.body
    def body(share: Annotated[float, pydantic.Field(gt=0, le=1)], mode: Literal["fast", "slow"]) -> Any:
        return share, mode

    assert colour.run(body, "0.5", "fast") == (0.5, "fast")
    with pytest.raises(ParameterTypeError, match="share"):
        colour.run(body, 1.5, "fast")
    with pytest.raises(ParameterTypeError, match="mode"):
        colour.run(body, 0.5, "medium")


def test_types_that_pydantic_does_not_know_must_be_instances(colour: Colour) -> None:
    @flow
    @colour.body
    def body(handle: Handle) -> Handle:
        return handle

    handle = Handle()
    assert colour.run(body, handle) is handle
    with pytest.raises(ParameterTypeError, match="handle"):
        colour.run(body, 3)


def test_parameters_without_annotations_take_anything(colour: Colour) -> None:
    @flow
    @colour.body
    def body(a, b=3):  # type: ignore[no-untyped-def]
        return a, b

    assert colour.run(body, "x") == ("x", 3)


def test_annotations_that_name_something_local_or_absent_are_left_out(colour: Colour) -> None:
    class Local(pydantic.BaseModel):
        x: int

    @flow
    @colour.body
    def body(a: Local, b: Absent, c: int) -> Any:  # type: ignore[name-defined]  # noqa: F821
        return a, b, c

    local = Local(x=1)
    assert colour.run(body, local, 2, 3)[:2] == (local, 2)


def test_star_arguments_are_handed_over_as_they_are(colour: Colour) -> None:
    @flow
    @colour.body
    def body(a: int, *rest: int, **more: int) -> Any:
        return a, rest, more

    assert colour.run(body, "1", "2", "3", x="4")[0] == 1
    assert colour.run(body, 1, 2, x=3) == (1, (2,), {"x": 3})


def test_the_body_and_the_context_see_coerced_values(colour: Colour) -> None:
    @flow
    @colour.body
    def body(a: int) -> Any:
        return a, current_run().parameters

    assert colour.run(body, "3") == (3, {"a": 3})


def test_a_future_among_a_flows_arguments_is_resolved_before_validation(colour: Colour) -> None:
    @task
    @colour.body
    def text() -> str:
        return "12"

    @flow
    @colour.body
    def inner(x: int, several: list[int]) -> Any:
        return x, several

    @flow
    @colour.body
    def outer() -> Body[Any]:
        future = text.submit()
        return (yield inner(future, [future, 1]))

    assert colour.run(outer) == (12, [12, 1])


def test_a_parameter_object_is_not_copied(colour: Colour) -> None:
    @flow
    @colour.body
    def body(a: Any, b: dict, c: list) -> Any:  # type: ignore[type-arg]
        return a, b, c

    @task
    @colour.body
    def job(a: list[int]) -> list[int]:
        return a

    thing, several = object(), [1, 2]
    assert colour.run(body, thing, {}, [])[0] is thing
    assert colour.run(job, several) is several


def test_parameters_are_the_json_schema() -> None:
    @flow
    def body(number: int, size: Size = Size.SMALL, *, order: Order | None = None, _hidden: str = "x") -> None: ...

    schema = body.parameters
    assert schema["required"] == ["number"]
    assert list(schema["properties"]) == ["number", "size", "order", "_hidden"]
    assert schema["properties"]["number"]["type"] == "integer"
    assert schema["properties"]["_hidden"]["default"] == "x"
    assert schema["$defs"]["Size"]["enum"] == ["small", "large"]
    json.dumps(schema)


def test_stored_parameters_are_what_was_given_with_secrets_masked(colour: Colour) -> None:
    @flow
    @colour.body
    def body(day: str, password: str, key: pydantic.SecretStr) -> str:
        return password + key.get_secret_value()

    assert colour.run(body, "monday", "hunter2", "s3cret") == "hunter2s3cret"
    stored = run_of("body").parameters or ""
    assert "monday" in stored
    assert "hunter2" not in stored


def test_validators_that_raise_fail_the_run(colour: Colour) -> None:
    def refuse(value: int) -> int:
        raise RuntimeError("validator is broken")

    @flow
    @colour.body
    def body(x: Any) -> None: ...

    body.fn.__annotations__["x"] = Annotated[int, pydantic.AfterValidator(refuse)]
    with pytest.raises(RuntimeError, match="broken"):
        colour.run(body, 1)
    assert run_of("body").state_name == "Failed"


def test_a_default_that_is_mutable_is_shared_as_python_shares_it(colour: Colour) -> None:
    @task
    @colour.body
    def body(seen: list[int] = []) -> int:  # noqa: B006
        seen.append(1)
        return len(seen)

    assert [colour.run(body), colour.run(body)] == [1, 2]


def test_current_run_outside_a_run_says_so() -> None:
    with pytest.raises(MissingContext):
        current_run()


async def test_concurrent_first_calls_validate_alike() -> None:
    @flow
    async def body(x: int) -> int:
        return x

    assert await asyncio.gather(*(body(str(number)) for number in range(5))) == [0, 1, 2, 3, 4]  # type: ignore[call-overload]
