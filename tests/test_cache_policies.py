"""Cache policies: what each looks at, how they add up, and what cannot be written."""

from __future__ import annotations

from threading import Lock
from typing import Any, cast

import pytest

from asyncflow.cache_policies import (
    DEFAULT,
    FLOW_PARAMETERS,
    INPUTS,
    NO_CACHE,
    NONE,
    RUN_ID,
    TASK_SOURCE,
    CacheContext,
    CacheKeyFnPolicy,
    CachePolicy,
    input_hash,
)
from asyncflow.exceptions import InvalidOption, UnkeyableInput


def call(**changes: Any) -> CacheContext:
    fields: dict[str, Any] = {
        "task_key": "m:f", "source_digest": lambda: "code", "arguments": {"a": 1, "b": 2},
        "flow_parameters": {"p": 1}, "flow_run_id": "run",
    }  # fmt: skip
    return CacheContext(**{**fields, **changes})


@pytest.mark.parametrize(
    ("policy", "seen"),
    [
        (INPUTS, {"arguments"}),
        (INPUTS - "b", {"arguments"}),
        (TASK_SOURCE, {"source_digest"}),
        (FLOW_PARAMETERS, {"flow_parameters"}),
        (RUN_ID, {"flow_run_id"}),
        (INPUTS + RUN_ID, {"arguments", "flow_run_id"}),
        (DEFAULT, {"arguments", "source_digest", "flow_run_id"}),
    ],
    ids=lambda value: repr(value) if isinstance(value, CachePolicy) else " ".join(sorted(value)),
)
def test_a_policy_looks_at_what_it_says_and_at_the_task(policy: CachePolicy, seen: set[str]) -> None:
    changes: dict[str, Any] = {
        "arguments": {"a": 3, "b": 2}, "source_digest": lambda: "other", "flow_parameters": {"p": 2},
        "flow_run_id": "other",
    }  # fmt: skip
    key = policy.key(call())
    assert key is not None
    assert {name for name, value in changes.items() if policy.key(call(**{name: value})) != key} == seen
    assert policy.key(call(task_key="m:g")) != key


def test_no_cache_makes_no_key_and_adds_nothing() -> None:
    assert NO_CACHE.key(call()) is None
    assert NO_CACHE + INPUTS == INPUTS == INPUTS + NO_CACHE
    assert NO_CACHE + NO_CACHE == NO_CACHE == NONE


def test_sums_do_not_depend_on_order_grouping_or_repetition() -> None:
    total = INPUTS + TASK_SOURCE + RUN_ID
    assert total == RUN_ID + (TASK_SOURCE + INPUTS) == total + INPUTS == DEFAULT
    assert hash(total) == hash(DEFAULT)
    assert total != INPUTS + TASK_SOURCE
    assert repr(total) == "INPUTS + RUN_ID + TASK_SOURCE"


def test_arguments_are_taken_out_of_inputs_and_of_sums_with_them() -> None:
    changed = call(arguments={"a": 1, "b": 99})
    for policy in (INPUTS - "b", (INPUTS + TASK_SOURCE) - "b"):
        assert policy.key(call()) == policy.key(changed)
    assert (INPUTS + TASK_SOURCE) - "b" == TASK_SOURCE + (INPUTS - "b")
    assert INPUTS - "a" - "b" == INPUTS - "b" - "a"
    assert repr(INPUTS - "b" - "a") == "INPUTS - 'a' - 'b'"
    assert (INPUTS - "a") + INPUTS == INPUTS


@pytest.mark.parametrize("write", [
    lambda: INPUTS + 1, lambda: INPUTS + "a", lambda: NO_CACHE + None, lambda: INPUTS - 1, lambda: INPUTS - "",
    lambda: TASK_SOURCE - "a", lambda: (RUN_ID + TASK_SOURCE) - "a", lambda: INPUTS - INPUTS,
    lambda: DEFAULT - 3, lambda: CacheKeyFnPolicy(cast("Any", "no")),
])  # fmt: skip
def test_what_makes_no_sense_is_refused_where_it_is_written(write: Any) -> None:
    with pytest.raises(InvalidOption):
        write()


def test_parts_without_a_key_are_skipped_and_none_at_all_means_no_cache() -> None:
    outside = call(flow_parameters=None, flow_run_id=None, source_digest=lambda: None)
    assert (FLOW_PARAMETERS + RUN_ID + TASK_SOURCE).key(outside) is None
    assert (INPUTS + RUN_ID).key(outside) == INPUTS.key(outside)


def test_an_input_without_content_is_never_silently_left_out() -> None:
    locked = call(arguments={"a": 1, "lock": Lock()})
    for policy in (INPUTS, INPUTS + TASK_SOURCE):
        with pytest.raises(UnkeyableInput, match="'lock'"):
            policy.key(locked)
    assert (INPUTS - "lock").key(locked) is not None


def test_a_key_function_gives_the_key() -> None:
    policy = CacheKeyFnPolicy(lambda context, arguments: f"{context.task_key}-{arguments['a']}")
    assert policy.key(call()) == "m:f-1"
    assert CacheKeyFnPolicy(lambda context, arguments: None).key(call()) is None
    assert (policy + RUN_ID).key(call()) != (policy + RUN_ID).key(call(flow_run_id="other"))
    with pytest.raises(InvalidOption, match="must return"):
        CacheKeyFnPolicy(lambda context, arguments: 3).key(call())  # type: ignore[arg-type, return-value]


def test_two_key_functions_that_look_alike_are_two() -> None:
    first, second = CacheKeyFnPolicy(lambda c, a: "1"), CacheKeyFnPolicy(lambda c, a: "2")
    assert (first + second).key(call()) not in (None, "1", "2")


def test_input_hash_covers_code_and_arguments() -> None:
    key = input_hash("m:f", "code", {"a": 1})
    assert key is not None
    assert key == input_hash("m:f", "code", {"a": 1})
    assert (
        len(
            {
                key,
                input_hash("m:g", "code", {"a": 1}),
                input_hash("m:f", "x", {"a": 1}),
                input_hash("m:f", "code", {"a": 2}),
            }
        )
        == 4
    )
    assert input_hash("m:f", "code", {"a": Lock()}) is None
