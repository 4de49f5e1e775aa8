"""Results: what comes back is what was kept, wherever it was kept, or there is a clear error."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import os
import pickle
import socket
import stat
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from threading import Lock
from types import SimpleNamespace
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr

from asyncflow.core.fingerprint import fingerprint
from asyncflow.core.runs import StoredValue
from asyncflow.exceptions import (
    DatabaseUnavailable,
    InvalidOption,
    InvalidSetting,
    MissingResult,
    ResultTampered,
    StoreError,
    UndecodableResult,
    UnstorableResult,
)
from asyncflow.results import codecs
from asyncflow.results.envelope import Keys, load_keys
from asyncflow.results.kept import ResultStore

KEYS = Keys((b"first",))
MEMORY = ResultStore(None, KEYS)


class Colour(enum.Enum):
    RED = 1


class Mood(enum.StrEnum):
    GOOD = "good"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = dataclasses.field(default_factory=list)
    made: int = dataclasses.field(default=0, init=False)

    def __post_init__(self) -> None:
        self.made += 1


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: Any


class Model(BaseModel):
    x: Any
    name: str = Field(default="n", validation_alias="Name")
    _private: int = 0


class Strict(Model):
    extra: tuple[int, ...] = (1,)


class Number(int):
    pass


class Text(str):
    __slots__ = ()


class Slotted(list[Any]):
    __slots__ = ("mark",)


class Words(list[Any]):
    mark: int

    def append(self, item: Any) -> None:
        raise AssertionError("the type's own code runs on decode")

    extend = append


class Plain:
    def __init__(self, x: Any) -> None:
        self.x = x


class Forgetful(Plain):
    def __reduce__(self) -> Any:
        return Plain, (self.x,)


@dataclasses.dataclass
class Lossy:
    x: int

    def __reduce__(self) -> Any:
        return Lossy, (self.x + 1,)

    cached: Any = None


Pair = namedtuple("Pair", "x y")


def _words() -> Words:
    words: Words = Words.__new__(Words)
    list.append(words, (1, 2))
    words.mark = 3
    return words


def _model() -> Model:
    model = Model.model_validate({"x": {1: (2,)}, "Name": "z"})
    model._private = 7
    return model


def _point() -> Point:
    point = Point((1,), {2})
    point.made = 5
    return point


MOMENT = datetime(2024, 10, 27, 2, 30, 0, 5)
TAGGED: list[Any] = [
    1 << 2000, -(1 << 5000), math.nan, math.inf, [-math.inf], 1j, complex(-0.0, math.nan), b"\x00\xff", bytearray(b"x"),
    (), (1, (2,)), {1, "a"}, frozenset({1, (2, 3)}), {1: 2, None: 3, 1.5: 4, True and "t": 5, (1, 2): 6}, {"$": 1},
    {"$": "tuple", "v": [1]}, {"$": {"$": {"$": "set"}}}, OrderedDict(b=1, a=2), deque([1, 2], 3), slice(1, None, (2,)),
    ..., range(1, 9, 2), MOMENT, MOMENT.replace(fold=1), MOMENT.replace(tzinfo=UTC),
    MOMENT.replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=1), MOMENT.replace(tzinfo=timezone(timedelta(hours=1), "X")),
    date(2024, 2, 29), time(1, 2, 3, 4, tzinfo=UTC), timedelta(-1, 2, 3), UUID(int=5), Decimal("1.10"), Decimal("sNaN"),
    Fraction(-1, 3), Path("/a/b"), PurePosixPath("c"), PureWindowsPath("c:/d"), Colour.RED, Mood.GOOD, Access.READ,
    Access.READ | Access.WRITE, Access(0), Pair(1, [2]), Number(5), Text("t"), Counter("aab"), _words(), _point(),
    Frozen(Frozen({1})), _model(), Strict(x=1), [Model(x=b"1")], {"k": Point(Model(x=Colour.RED))},
]  # fmt: skip


@pytest.mark.parametrize("value", TAGGED, ids=lambda value: type(value).__name__)
def test_typed_data_comes_back_from_json_as_it_was(value: Any) -> None:
    stored = MEMORY.encode(value)
    back = MEMORY.decode(stored)
    assert stored.codec == "json+tags"
    assert type(back) is type(value)
    assert fingerprint(back) == fingerprint(value)
    assert stored.data is not None
    json.loads(stored.data.decode())


def test_decoding_runs_no_constructor_of_the_users() -> None:
    assert MEMORY.decode(MEMORY.encode(_point())).made == 5
    assert MEMORY.decode(MEMORY.encode(_words())).mark == 3
    assert MEMORY.decode(MEMORY.encode(_model()))._private == 7
    assert MEMORY.decode(MEMORY.encode(_model())).model_fields_set == {"x", "name"}


PICKLED: list[Any] = [
    Plain(3), defaultdict(list, a=[1]), SimpleNamespace(a=1), len, Point, Model, Slotted([1]),
    {"secret": SecretStr("s")}, [1, Plain([2])],
]  # fmt: skip


@pytest.mark.parametrize("value", PICKLED, ids=lambda value: type(value).__name__)
def test_the_rest_is_pickled_and_signed(value: Any) -> None:
    stored = MEMORY.encode(value)
    assert stored.codec == "pickle"
    assert pickle.dumps(MEMORY.decode(stored)) == pickle.dumps(value)
    with pytest.raises(ResultTampered):
        ResultStore(None, Keys((b"other",))).decode(stored)


def test_an_exception_can_be_a_result() -> None:
    back = MEMORY.decode(MEMORY.encode([ValueError("x", 1)]))
    assert type(back[0]) is ValueError
    assert back[0].args == ("x", 1)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip
KEYABLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates() | st.uuids()
ANY = st.recursive(
    KEYABLE
    | st.text(st.characters(exclude_categories=()))
    | st.decimals()
    | st.complex_numbers()
    | st.datetimes(timezones=st.none() | st.timezones(no_cache=True), allow_imaginary=False)
    | st.timedeltas()
    | st.sampled_from([Colour.RED, Mood.GOOD, Access.READ, Path("p"), ...]),
    lambda inner: st.lists(inner, max_size=4)
    | st.lists(inner, max_size=4).map(tuple)
    | st.dictionaries(KEYABLE | st.just("$"), inner, max_size=4)
    | st.sets(KEYABLE | st.tuples(KEYABLE), max_size=4)
    | st.builds(Point, inner)
    | st.builds(Frozen, inner)
    | st.builds(Pair, inner, inner)
    | st.builds(Model, x=inner),
    max_leaves=10,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(PLAIN, st.sampled_from([None, "json", "pickle", "compressed/json", "compressed/pickle"]))
def test_plain_data_comes_back_exactly(value: Any, serializer: str | None) -> None:
    stored = MEMORY.encode(value, serializer)
    back = MEMORY.decode(stored)
    assert (type(back), repr(back), fingerprint(back)) == (type(value), repr(value), fingerprint(value))
    assert stored.codec.startswith(serializer or "json")


@settings(max_examples=200, deadline=None)
@given(ANY)
def test_whatever_has_a_fingerprint_keeps_it(value: Any) -> None:
    stored = MEMORY.encode(value)
    assert stored.codec in {"json", "json+tags"}
    assert fingerprint(MEMORY.decode(stored)) == fingerprint(value)
    assert stored.preview is not None
    assert len(stored.preview.encode()) <= 1024
    json.loads(stored.preview)


def test_the_order_of_dicts_is_kept() -> None:
    assert list(MEMORY.decode(MEMORY.encode({"b": 1, "a": 2}))) == ["b", "a"]
    assert list(MEMORY.decode(MEMORY.encode({2: 1, 1: 2}))) == [2, 1]


def test_values_that_contain_themselves_are_pickled() -> None:
    cycle: list[Any] = [1]
    cycle.append(cycle)
    back = MEMORY.decode(MEMORY.encode(cycle))
    assert back[1] is back


def test_shared_parts_do_not_explode() -> None:
    shared: list[Any] = [1]
    for _ in range(60):
        shared = [shared, shared]
    stored = MEMORY.encode(shared)
    assert stored.codec == "pickle"
    assert stored.size < 2000


def test_ten_thousand_levels_give_a_clear_error() -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(UnstorableResult):
        MEMORY.encode(deep)
    with pytest.raises(UnstorableResult):
        MEMORY.encode(deep, "json")


class Hostile:
    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError("eq")

    def __hash__(self) -> int:
        raise ZeroDivisionError("hash")

    def __repr__(self) -> str:
        raise ZeroDivisionError("repr")

    def __reduce__(self) -> Any:
        raise ZeroDivisionError("reduce")


def test_what_cannot_be_stored_is_named_with_its_place() -> None:
    class Local:
        pass

    with socket.socket() as sock:
        cases: list[tuple[Any, str]] = [
            ({"conn": [1, Lock()]}, r"thread\.lock at result\['conn'\]\[1\]"),
            (Plain(lambda: 1), r"function at result\.x "),
            ((each for each in ""), "generator at result "),
            ([Local()], r"Local at result\[0\]"),
            (sock, "socket at result"),
            ({"a": Hostile()}, r"Hostile at result\['a'\]"),
            (Forgetful(1), "Forgetful comes back as a .*Plain"),
            (Lossy(1), r"Lossy does not come back equal"),
        ]
        for value, text in cases[:6]:
            with pytest.raises(UnstorableResult, match=text):
                MEMORY.encode(value)
        with pytest.raises(UnstorableResult, match=cases[6][1]):
            MEMORY.encode(cases[6][0])
        with pytest.raises(UnstorableResult, match=cases[7][1]):
            MEMORY.encode(cases[7][0], "pickle")


def test_an_explicit_serializer_is_obeyed_or_refused() -> None:
    assert MEMORY.encode(1, "pickle").codec == "pickle"
    assert MEMORY.encode((1,), "json").codec == "json+tags"
    assert MEMORY.encode("x" * 10_000, "compressed/json").size < 200
    with pytest.raises(UnstorableResult, match=r"serializer 'json' .*Plain"):
        MEMORY.encode(Plain(1), "json")
    with pytest.raises(InvalidOption, match="yaml"):
        MEMORY.encode(1, "yaml")


def test_the_kept_encoder_and_the_standard_one_agree() -> None:
    value = {"a": [1, 1.5, -0.0, None, True, '\u00e9\ud800\x00"\\'], "": {}}
    assert codecs.to_json(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    with pytest.raises(ValueError, match="JSON compliant"):
        codecs.to_json([math.nan])


# --- what was stored and is read by other code ----------------------------------------------------------------------


def _edited(value: Any, old: str, new: str) -> StoredValue:
    stored = MEMORY.encode(value)
    assert stored.data is not None
    assert old.encode() in stored.data
    return stored._replace(data=stored.data.replace(old.encode(), new.encode()))


@pytest.mark.parametrize(
    ("value", "old", "new", "text"),
    [
        (Point(1), ":Point", ":Gone", r"test_kept\.Gone is gone"),
        (Point(1), "tests.results.test_kept", "no.such.module", r"no\.such\.module\.Point is gone"),
        (Point(1), '"x"', '"dropped"', "no longer has dropped"),
        (Frozen(1), '{"x":1}', "{}", "new field 'x' without a default"),
        (Model(x=1), '"x":1,', "", "new field 'x' without a default"),
        (Colour.RED, '"RED"', '"PINK"', "Colour cannot be read.*PINK"),
        (Colour.RED, ":Colour", ":Point", "no longer the type"),
        (Colour.RED, '"tests.results.test_kept:Colour"', '"os:system"', "no longer the type"),
        ((1,), '"tuple"', '"tupel"', "'tupel', which this version does not know"),
        ((1,), '"v"', '"w"', "stored tuple cannot be read"),
        ([1], "[1]", "[1", "cannot be read"),
    ],
)
def test_what_cannot_be_read_back_says_why(value: Any, old: str, new: str, text: str) -> None:
    with pytest.raises(UndecodableResult, match=text):
        MEMORY.decode(_edited(value, old, new))


def test_a_new_field_with_a_default_gets_it() -> None:
    assert MEMORY.decode(_edited(Point(1), '"y":[],', "")).y == []
    assert MEMORY.decode(_edited(Model(x=1), ',"name":"n"', "")).name == "n"


def test_unknown_codecs_and_gone_types_in_pickles_are_told() -> None:
    with pytest.raises(UndecodableResult, match="'msgpack'"):
        MEMORY.decode(StoredValue("msgpack", b"", None, 0))
    gone = KEYS.seal(pickle.dumps(Plain(1)).replace(b"Plain", b"Plane"))
    with pytest.raises(UndecodableResult, match="Plane"):
        MEMORY.decode(StoredValue("pickle", gone, None, len(gone)))


@pytest.mark.parametrize("data", [b"", b"AFS1", pickle.dumps(1), b"AFS1" + b"\0" * 32 + pickle.dumps(1)])
def test_a_pickle_without_a_valid_signature_is_never_loaded(data: bytes) -> None:
    with pytest.raises(ResultTampered):
        MEMORY.decode(StoredValue("pickle", data, None, len(data)))


def test_changing_any_byte_of_a_pickle_is_noticed() -> None:
    data = MEMORY.encode(Plain(1)).data
    assert data is not None
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(ResultTampered):
            MEMORY.decode(StoredValue("pickle", bytes(changed), None, len(data)))


# --- keys -----------------------------------------------------------------------------------------------------------


def test_the_first_key_signs_and_any_verifies() -> None:
    old, both, new = (load_keys(text, None) for text in ("old", " new , old", "new"))
    assert both.unseal(old.seal(b"x")).tobytes() == b"x"
    assert new.unseal(both.seal(b"x")).tobytes() == b"x"
    with pytest.raises(ResultTampered):
        old.unseal(both.seal(b"x"))
    with pytest.raises(InvalidSetting, match="ASYNCFLOW_RESULT_KEY"):
        load_keys(",", None)


def test_a_databases_key_file_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    database = tmp_path / "flows.db"
    first = load_keys(None, database)
    path = tmp_path / "flows.db.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_keys("", database) == first != load_keys(None, None)
    assert os.listdir(tmp_path) == ["flows.db.key"]
    path.write_text(" \n")
    with pytest.raises(InvalidSetting, match=r"flows\.db\.key"):
        load_keys(None, database)
    with pytest.raises(DatabaseUnavailable, match="nowhere"):
        load_keys(None, tmp_path / "nowhere" / "flows.db")


def test_processes_that_start_together_agree_on_one_key(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from asyncflow.results.envelope import load_keys\n"
        "print(load_keys(None, pathlib.Path(sys.argv[1])).all)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "flows.db")]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({each.communicate(timeout=60)[0] for each in started}) == 1
    assert all(each.returncode == 0 for each in started)


def test_keys_do_not_show_themselves() -> None:
    assert "first" not in repr(KEYS)


# --- files ----------------------------------------------------------------------------------------------------------


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def test_up_to_64_kib_stay_inline_and_more_becomes_one_file(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "results", KEYS)
    small, large = "x" * (64 * 1024 - 2), "x" * (64 * 1024 - 1)
    assert store.encode(small).data is not None
    assert not (tmp_path / "results").exists()
    stored = store.encode(large)
    assert (stored.data, stored.size) == (None, 64 * 1024 + 1)
    assert stored.digest is not None
    assert _files(tmp_path) == [tmp_path / "results" / stored.digest[:2] / stored.digest]
    assert store.decode(stored) == large
    assert len(stored.preview or "") < 1024
    assert ResultStore(None, KEYS).encode(large).data is not None


def test_the_same_content_is_written_once_and_mended_when_it_was_cut(tmp_path: Path) -> None:
    store = ResultStore(tmp_path, KEYS, inline_limit=10)
    stored = store.encode("x" * 100)
    [path] = _files(tmp_path)
    inode = path.stat().st_ino
    assert store.encode("x" * 100) == stored
    assert path.stat().st_ino == inode
    path.write_bytes(b"cut")
    store.encode("x" * 100)
    assert store.decode(stored) == "x" * 100


def test_a_missing_or_changed_file_is_told(tmp_path: Path) -> None:
    store = ResultStore(tmp_path, KEYS, inline_limit=10)
    stored = store.encode("x" * 100)
    [path] = _files(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"x", b"y"))
    with pytest.raises(ResultTampered, match=path.name):
        store.decode(stored)
    path.unlink()
    with pytest.raises(MissingResult, match=path.name):
        store.decode(stored)
    with pytest.raises(MissingResult):
        store.decode(stored._replace(digest="../../etc/passwd"))
    with pytest.raises(MissingResult):
        MEMORY.decode(stored)


def test_a_directory_that_cannot_be_used_is_a_store_error_naming_it(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where a directory should be")
    store = ResultStore(tmp_path / "results", KEYS, inline_limit=10)
    with pytest.raises(DatabaseUnavailable, match="results") as caught:
        store.encode("x" * 100)
    assert isinstance(caught.value, StoreError)
    with pytest.raises(DatabaseUnavailable, match="results"):
        store.decode(StoredValue("json", None, "0" * 64, 100))


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    store = ResultStore(tmp_path, KEYS, inline_limit=10)
    monkeypatch.setattr(os, step, full)
    with pytest.raises(DatabaseUnavailable, match="No space left"):
        store.encode("x" * 100)
    assert _files(tmp_path) == []


# --- types of a script ----------------------------------------------------------------------------------------------

SCRIPT = """
import sys, enum, dataclasses, pathlib
from asyncflow.results.envelope import Keys
from asyncflow.results.kept import ResultStore
from asyncflow.core.runs import StoredValue

class Shade(enum.Enum):
    DARK = 1
@dataclasses.dataclass
class Lamp:
    shade: Shade
class Odd:
    pass

def made():
    odd = Odd()
    odd.lamp = Lamp(Shade.DARK)
    return Lamp(Shade.DARK), odd

def main(folder, act):
    store = ResultStore(None, Keys((b"k",)))
    for index, value in enumerate(made()):
        path = pathlib.Path(folder, str(index))
        if act == "write":
            stored = store.encode(value)
            path.write_bytes(stored.codec.encode() + b"|" + stored.data)
        else:
            codec, _, data = path.read_bytes().partition(b"|")
            back = store.decode(StoredValue(codec.decode(), data, None, len(data)))
            assert type(back) is type(value), (type(back), type(value))
            print(codec.decode(), getattr(back, "lamp", back) == Lamp(Shade.DARK))

if __name__ == "__main__":
    main(*sys.argv[1:])
"""


@pytest.mark.parametrize("writer", ["script", "import"])
@pytest.mark.parametrize("reader", ["script", "import", "-m"])
def test_types_of_a_script_are_found_by_scripts_and_importers_alike(tmp_path: Path, writer: str, reader: str) -> None:
    (tmp_path / "lamps.py").write_text(SCRIPT)
    start = {
        "script": ["lamps.py"],
        "-m": ["-m", "lamps"],
        "import": ["-c", "import sys, lamps; lamps.main(*sys.argv[1:])"],
    }

    def run(how: str, act: str) -> str:
        command = [sys.executable, *start[how], str(tmp_path), act]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(writer, "write")
    assert run(reader, "read") == "json+tags True\npickle True\n"
