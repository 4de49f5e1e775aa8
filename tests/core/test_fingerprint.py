"""Identity by content: equal content has one fingerprint in every process, other content has another."""

from __future__ import annotations

import dataclasses
import enum
import math
import os
import re
import subprocess
import sys
import uuid
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path, PurePosixPath
from threading import Lock
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretBytes, SecretStr

from asyncflow.core.fingerprint import fingerprint, fingerprint_call, source_digest
from asyncflow.exceptions import UnkeyableInput


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    ONE = 1


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = 0


@dataclasses.dataclass
class Other:
    x: Any
    y: Any = 0


class Model(BaseModel):
    x: Any
    y: Any = 0


class Number(int):
    pass


class Words(list[Any]):
    pass


Pair = namedtuple("Pair", "x y")


class Adder:
    def __init__(self, by: Any) -> None:
        self.by = by

    def add(self, x: int) -> int:
        return x + int(self.by)


def closing_over(value: Any) -> Callable[[], Any]:
    def inner() -> Any:
        return value

    return inner


def recursive() -> Callable[[int], int]:
    def down(n: int) -> int:
        return down(n - 1) if n else 0

    return down


MOMENT = datetime(2024, 10, 27, 2, 30)
BERLIN = ZoneInfo("Europe/Berlin")

DISTINCT: list[Any] = [
    None, True, False, 0, 1, -1, 1 << 70, 0.0, -0.0, 1.0, math.nan, math.inf, -math.inf, 1j, complex(0.0, -0.0),
    "", "1", "a", "\ud83d\ude00", "\U0001f600", "\ud800", b"", b"1", bytearray(b"1"), bytearray(),
    [], [1], [[1]], [1, 2], [2, 1], (), (1,), ((1,),), {}, {1: 2}, {"1": 2}, {"a": 1}, {"a": {}}, {"a": []},
    set(), {1}, {"1"}, frozenset(), frozenset({1}), deque([1]), deque([1], 3), OrderedDict(a=1),
    defaultdict(int, a=1), defaultdict(list, a=1), Counter("a"), SimpleNamespace(a=1),
    MOMENT, MOMENT.replace(fold=1), MOMENT.replace(tzinfo=UTC), MOMENT.replace(tzinfo=BERLIN),
    MOMENT.replace(tzinfo=BERLIN, fold=1), MOMENT.replace(tzinfo=timezone(timedelta(hours=1))), MOMENT.date(),
    date(2024, 1, 1), time(1), time(1, tzinfo=UTC), timedelta(1), timedelta(0, 1), UTC, BERLIN,
    uuid.UUID(int=1), uuid.UUID(int=2), Colour.RED, Colour.BLUE, Level.ONE, Decimal("1"), Decimal("1.0"),
    Decimal("NaN"), Fraction(1, 2), Fraction(1, 3), Path("a"), PurePosixPath("a"), Path("b"), range(1), range(2),
    slice(1), slice(None), ..., NotImplemented, Pair(1, 2), Point(1), Point(2), Other(1), Model(x=1), Model(x=2),
    Number(1), Words([1]), re.compile("a"), re.compile("a", re.I), re.compile(b"a"),
    len, print, [].append, [1].append, int, str, Point, os, sys, os.path.join,
    closing_over(1), closing_over(2), partial(pow, 2), partial(pow, 3), lambda x: x + 1, lambda x: x + 2,
    lambda x, y=1: x, lambda x, y=2: x, Words(1 for _ in range(2)).append, SecretStr("a"), SecretStr("b"),
    SecretBytes(b"a"), ValueError("a"), ValueError("b"), KeyError("a"),
]  # fmt: skip


def test_different_values_and_types_have_different_fingerprints() -> None:
    found: dict[str, Any] = {}
    for value in DISTINCT:
        digest = fingerprint(value)
        assert digest not in found, f"{value!r} and {found.get(digest)!r}"
        found[digest] = value


def test_equal_values_have_equal_fingerprints() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint({1: "x", "a": 2, None: 3}) == fingerprint({None: 3, "a": 2, 1: "x"})
    assert fingerprint({"b", "a", 3}) == fingerprint({3, "a", "b"})
    assert fingerprint(Point([1])) == fingerprint(Point([1]))
    assert fingerprint(closing_over([1])) == fingerprint(closing_over([1]))
    assert fingerprint(recursive()) == fingerprint(recursive())
    assert fingerprint(float("nan")) == fingerprint(-float("nan"))
    assert fingerprint(OrderedDict(a=1, b=2)) != fingerprint(OrderedDict(b=2, a=1))


def test_a_bound_method_counts_what_it_is_bound_to() -> None:
    assert fingerprint(Words([1]).index) != fingerprint(Words([2]).index)
    with pytest.raises(UnkeyableInput, match="Adder"):
        fingerprint(Adder(1).add)


def test_attributes_of_subclass_instances_count() -> None:
    plain, marked = Words([1]), Words([1])
    marked.mark = 1  # type: ignore[attr-defined]
    assert fingerprint(plain) != fingerprint(marked)


def test_private_and_extra_fields_of_models_count() -> None:
    class Open(BaseModel, extra="allow"):
        _hidden: int = 0

    first, second, third = Open(a=1), Open(a=2), Open(a=1)  # type: ignore[call-arg]
    third._hidden = 5
    assert len({fingerprint(each) for each in (first, second, third)}) == 3


def test_the_order_of_arguments_does_not_count_but_names_scope_and_task_do() -> None:
    digest = fingerprint_call("m:f", "s", {"a": 1, "b": [2]})
    assert digest == fingerprint_call("m:f", "s", {"b": [2], "a": 1})
    assert re.fullmatch("[0-9a-f]{32}", digest)
    others = [
        fingerprint_call("m:g", "s", {"a": 1, "b": [2]}),
        fingerprint_call("m:f", "t", {"a": 1, "b": [2]}),
        fingerprint_call("m:f", "s", {"a": 1, "c": [2]}),
        fingerprint_call("m:f", "s", {"a": True, "b": [2]}),
        fingerprint_call("m:f", "s", {"a": 1}),
        fingerprint_call("m:", "fs", {"a": 1, "b": [2]}),
    ]
    assert len({digest, *others}) == 7


def test_an_unkeyable_argument_is_named() -> None:
    with pytest.raises(UnkeyableInput, match=r"'client'.*thread\.lock"):
        fingerprint_call("m:f", "", {"x": 1, "client": [Lock()]})


def test_a_producer_answers_for_what_has_no_content() -> None:
    frame = object()
    ask: Any = {id(frame): "run-1"}.get
    digest = fingerprint([frame], producer=lambda value: ask(id(value)))
    assert digest == fingerprint([frame], producer=lambda value: "run-1")
    assert digest != fingerprint([frame], producer=lambda value: "run-2")
    assert fingerprint([1], producer=lambda value: "never asked") == fingerprint([1])
    with pytest.raises(UnkeyableInput):
        fingerprint([object()], producer=lambda value: None)


def test_a_future_contributes_its_producers_identity() -> None:
    class Promise:
        __asyncflow_key__ = "m:f/1"

    class Pending:
        __asyncflow_key__ = None

    assert fingerprint(Promise()) == fingerprint(Promise()) != fingerprint("m:f/1")
    with pytest.raises(UnkeyableInput):
        fingerprint(Pending())


def test_secrets_depend_on_the_key_and_their_content() -> None:
    first = fingerprint(SecretStr("hunter2"), secret_key=b"k1")
    assert first == fingerprint(SecretStr("hunter2"), secret_key=b"k1")
    assert first != fingerprint(SecretStr("hunter2"), secret_key=b"k2")
    assert first != fingerprint(SecretStr("hunter3"), secret_key=b"k1")


HUGE = {
    "text": "x" * (1 << 20), "bytes": b"x" * (1 << 21), "list": ["x" * 1000] * 2000, "int": 1 << (1 << 23),
    "key": {"k" * (1 << 20): 1}, "nested": {"a": [{"b": "x" * (1 << 19)}, ("y" * (1 << 19),)]},
}  # fmt: skip


@pytest.mark.parametrize("value", HUGE.values(), ids=list(HUGE))
def test_more_than_a_mebibyte_is_refused(value: Any) -> None:
    with pytest.raises(UnkeyableInput, match="bytes"):
        fingerprint(value)
    with pytest.raises(UnkeyableInput, match="bytes"):
        fingerprint_call("f", "", {"value": value})


def test_more_than_ten_thousand_values_are_refused() -> None:
    fingerprint(list(range(10_000)))
    doubled: list[Any] = [1]
    for _ in range(50):
        doubled = [doubled, doubled]
    many = range(10_001)
    values: list[Any] = [list(many), dict.fromkeys(many), set(many), [[[]] * 6_000] * 2, doubled]
    for value in values:
        with pytest.raises(UnkeyableInput, match="10,000"):
            fingerprint(value)


def test_cycles_and_deep_nesting_are_refused() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    loop: dict[str, Any] = {}
    loop["self"] = loop
    point = Point(1)
    point.x = point
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    for value in (cycle, loop, point, deep):
        with pytest.raises(UnkeyableInput, match="contains itself, or is nested"):
            fingerprint(value)


def test_hostile_objects_are_refused_with_a_clear_error() -> None:
    class Hostile:
        def __getattr__(self, name: str) -> Any:
            raise ZeroDivisionError

        def __repr__(self) -> str:
            raise ZeroDivisionError

        def __eq__(self, other: object) -> bool:
            raise ZeroDivisionError

        def __hash__(self) -> int:
            raise ZeroDivisionError

        def __reduce__(self) -> Any:
            raise ZeroDivisionError

    class LyingList(list[Any]):
        def __iter__(self) -> Any:
            raise ZeroDivisionError

        __len__ = None  # type: ignore[assignment]

    with pytest.raises(UnkeyableInput, match="Hostile"):
        fingerprint(Hostile())
    assert fingerprint(LyingList([1])) != fingerprint(LyingList([2]))


def test_generators_coroutines_and_handles_are_refused() -> None:
    with open(__file__) as file:
        for value in ((each for each in ""), iter(""), file, Lock(), object()):
            with pytest.raises(UnkeyableInput):
                fingerprint(value)


SCRIPT = """
import sys, enum, dataclasses
class C(enum.Enum):
    A = 1
@dataclasses.dataclass
class P:
    x: object
def f(): pass
from asyncflow.core.fingerprint import fingerprint, source_digest
if __name__ in ("__main__", "twin"):
    value = {"a": {"x", "y", 1, None}, "b": frozenset("abc"), C.A: P(f), "t": (1.5, b"x"), "l": lambda: {"p", "q"}}
    print(fingerprint(value), source_digest(f))
"""


def test_fingerprints_are_the_same_in_every_process_and_for_a_script_that_is_imported(tmp_path: Path) -> None:
    script = tmp_path / "twin.py"
    script.write_text(SCRIPT)
    commands = [[str(script)], ["-m", "twin"], ["-c", "import twin"]]
    outputs = {
        subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
        ).stdout
        for seed, command in enumerate(commands, 1)
    }  # fmt: skip
    assert len(outputs) == 1
    assert re.fullmatch("[0-9a-f]{32} [0-9a-f]{32}\n", outputs.pop())


def _function(source: str) -> Any:
    space: dict[str, Any] = {}
    exec(source, space)
    return space["f"]


def test_comments_and_layout_do_not_change_a_source_digest_but_code_does() -> None:
    plain = source_digest(_function("def f(x):\n    return {1, 2} if x in {'a', 'b'} else x + 1"))
    same = source_digest(
        _function("\n\n# why\ndef f(x):\n    # because\n    return {1, 2} if x in {'a', 'b'} \\\n     else (x + 1)")
    )
    other = source_digest(_function("def f(x):\n    return {1, 2} if x in {'a', 'b'} else x + 2"))
    kinds = {source_digest(_function(f"def f(): return {one}")) for one in ("1", "1.0", "True", "'1'", "b'1'", "(1,)")}
    assert plain == same != other
    assert len(kinds) == 6
    assert None not in kinds


def test_a_source_digest_looks_through_methods_partials_and_wrappers() -> None:
    def wrapped(self: Any, x: int) -> int:
        return 0

    wrapped.__wrapped__ = Adder.add  # type: ignore[attr-defined]
    digest = source_digest(Adder.add)
    assert digest is not None
    assert digest == source_digest(Adder(1).add) == source_digest(partial(Adder(1).add, 2)) == source_digest(wrapped)
    assert source_digest(len) is None


ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.binary()
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(ATOMS, inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.sets(ATOMS, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(VALUES, VALUES)
def test_two_values_share_a_fingerprint_exactly_when_they_are_the_same(left: Any, right: Any) -> None:
    assert (fingerprint(left) == fingerprint(right)) == (_exactly(left) == _exactly(right))


def _exactly(value: Any) -> Any:
    """A value that compares equal only to one of the same types throughout (a slow, independent model)."""
    kind = type(value).__name__
    if isinstance(value, (list, tuple)):
        return kind, [_exactly(each) for each in value]
    if isinstance(value, dict):
        return kind, sorted((repr(_exactly(key)), repr(_exactly(each))) for key, each in value.items())
    if isinstance(value, (set, frozenset)):
        return kind, sorted(repr(_exactly(each)) for each in value)
    return kind, repr(value)
