"""Stored exceptions: the same type comes back, marked as replayed, or a stand-in that tells what it was."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asyncflow.core.runs import StoredError
from asyncflow.exceptions import AsyncflowError, DatabaseUnavailable, ReplayedError, TaskRunTimeout
from asyncflow.results.errors import describe_error, load_error, store_error


class Picky(Exception):
    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class Slotted(ValueError):
    __slots__ = ("mark",)


class HttpError(OSError):
    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body
        super().__init__(f"HTTP {status}")

    def __str__(self) -> str:
        return f"{self.status} {self.body.decode()}"


class Group(ExceptionGroup[Exception]):
    pass


class Hostile(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError


def back(error: BaseException) -> BaseException:
    return load_error(store_error(error))


@pytest.mark.parametrize("error", [
    ValueError("x", 1, (2,), b"3"), KeyError("k"), OSError(2, "gone", "a.txt"), OSError(18, "x", "a", None, "b"),
    OSError("text only"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), StopIteration(5), SystemExit(3),
    ImportError("m", name="n", path="p"), SyntaxError("s", ("f.py", 1, 2, "text", 1, 3)), KeyboardInterrupt(),
    Exception(),
    Picky(4, reason="no"), HttpError(503, b"busy"), TaskRunTimeout("late"), DatabaseUnavailable("disk"),
    AsyncflowError("a"), AttributeError("a", name="n", obj=3),
], ids=lambda error: type(error).__name__)  # fmt: skip
def test_the_same_type_comes_back_with_its_arguments_and_text(error: BaseException) -> None:
    again = back(error)
    assert type(again) is type(error)
    assert (again.args, str(again)) == (error.args, str(error))
    assert again.__notes__ == ["replayed from a stored run"]
    for name in (
        "errno",
        "strerror",
        "filename",
        "filename2",
        "start",
        "reason",
        "value",
        "code",
        "name",
        "path",
        "status",
        "lineno",
    ):
        assert getattr(again, name, "none") == getattr(error, name, "none")


def test_attributes_slots_and_notes_come_back() -> None:
    error = Slotted("x")
    error.mark = {1: (2,)}  # type: ignore[attr-defined]
    error.extra = {"a"}  # type: ignore[attr-defined]
    error.add_note("first")
    again: Any = back(error)
    assert again.mark == {1: (2,)}
    assert again.extra == {"a"}
    assert again.__notes__ == ["first", "replayed from a stored run"]
    assert back(again).__notes__ == again.__notes__


def test_what_cannot_be_encoded_is_told_as_text_or_left_out() -> None:
    error = ValueError(object, 1)
    error.handle = object()  # type: ignore[attr-defined]
    again = back(error)
    assert again.args == ("<class 'object'>", 1)
    assert not hasattr(again, "handle")


def test_groups_come_back_with_their_children() -> None:
    group = Group("all", [ValueError(1), Group("inner", [Picky(1, reason="r")])])
    again = back(group)
    assert isinstance(again, Group)
    assert again.message == "all"
    inner = again.exceptions[1]
    assert isinstance(inner, Group)
    assert isinstance(inner.exceptions[0], Picky)
    assert inner.exceptions[0].reason == "r"
    assert type(back(BaseExceptionGroup("b", [KeyboardInterrupt()]))) is BaseExceptionGroup


def test_a_type_that_is_gone_is_replaced_by_one_that_tells() -> None:
    class Local(Exception):
        pass

    def fail() -> None:
        raise Local("it broke")

    with pytest.raises(Local) as caught:
        fail()
    again = back(caught.value)
    assert type(again) is ReplayedError
    assert "Local: it broke" in str(again)
    assert "in fail" in str(again)
    mixed: Any = back(ExceptionGroup("g", [caught.value, ValueError(2)]))
    assert [type(each) for each in mixed.exceptions] == [ReplayedError, ValueError]


@pytest.mark.parametrize("data", ["", "null", "[]", "{}", '{"type": 3}', '{"type":"os:system","args":[]}',
                                  '{"type":"builtins:ValueError"}', '{"type":"builtins:int","args":[]}'])  # fmt: skip
def test_damaged_errors_still_give_an_exception(data: str) -> None:
    assert type(load_error(StoredError(data))) is ReplayedError


def test_odd_exceptions_never_prevent_storing() -> None:
    hostile = Hostile(Hostile())
    looped, other = ValueError("a"), ValueError("b")
    looped.__cause__, other.__cause__ = other, looped
    chained: BaseException = ValueError("end")
    for index in range(5000):
        outer = ValueError(index)
        outer.__context__ = chained
        chained = outer
    nested: Any = ValueError("leaf")
    for _ in range(400):
        nested = ExceptionGroup("g", [nested])
    selfish = ValueError()
    selfish.args = (selfish,)
    selfish.me = selfish  # type: ignore[attr-defined]
    noted = ValueError()
    noted.__notes__ = 3  # type: ignore[assignment]
    surrogate = ValueError("\ud800", "x" * 1_000_000)
    for error in (hostile, looped, chained, nested, selfish, noted, surrogate):
        stored = store_error(error)
        stored.data.encode()
        assert len(stored.data) < 2_000_000
        assert json.loads(stored.data)["type"]
        assert isinstance(load_error(stored), BaseException)
    assert type(back(hostile)) is Hostile
    assert type(back(selfish)) is ValueError


def test_causes_and_traceback_are_kept_for_people() -> None:
    def fail() -> None:
        try:
            empty: dict[str, int] = {}
            empty["missing"]
        except KeyError as error:
            raise Picky(1, reason="no") from error

    with pytest.raises(Picky) as caught:
        fail()
    stored = store_error(caught.value)
    assert json.loads(stored.data)["causes"] == [{"how": "cause", "type": "builtins:KeyError", "message": "'missing'"}]
    told = describe_error(stored)
    assert told["message"] == "1: no"
    assert told["type"].endswith("test_errors:Picky")
    assert "in fail" in told["traceback"]
