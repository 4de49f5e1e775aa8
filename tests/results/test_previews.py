"""Previews: short, valid JSON, without secrets, whatever the value does."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr

from asyncflow.results.envelope import Keys
from asyncflow.results.kept import ResultStore
from asyncflow.results.previews import preview, preview_parameters, suspicious

STORE = ResultStore(None, Keys((b"k",)))
HIDDEN = "hunter2"


class Login(BaseModel):
    user: str = "ann"
    password: str = HIDDEN
    key: SecretStr = SecretStr(HIDDEN)
    note: str = Field(default=HIDDEN, repr=False)


@dataclasses.dataclass
class Account:
    user: str = "ann"
    api_key: str = HIDDEN
    note: str = dataclasses.field(default=HIDDEN, repr=False)


class Opaque:
    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__


NAMES = [
    "password", "db_password", "PASSWORD", "passwd", "pwd", "secret", "client-secret", "token", "accessToken",
    "api_key", "apiKey", "x-api-key", "API KEY", "Authorization", "credentials",
    "private_key", "aws_access_key_id", "cookie",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_what_goes_by_a_secret_name_is_masked(name: str) -> None:
    for value in ({name: HIDDEN}, {name: {"a": HIDDEN}}, [{"a": [{name: HIDDEN}]}], {"$": 1, name: HIDDEN}):
        for text in (preview(value), STORE.encode(value).preview or "", preview_parameters({"x": value})):
            assert HIDDEN not in text
            assert "******" in text
    assert HIDDEN not in preview_parameters({name: HIDDEN})


@pytest.mark.parametrize("value", [
    SecretStr(HIDDEN), [SecretStr(HIDDEN)], Login(), Account(), {"a": Login()}, f"postgresql://ann:{HIDDEN}@host/db",
    {"url": f"https://ann:{HIDDEN}@host/"}, Opaque(), [Opaque()], b"hunter2", {HIDDEN: {}.items()}.values(),
    "x" * 300 + f" https://ann:{HIDDEN}@host",
], ids=lambda value: type(value).__name__)  # fmt: skip
def test_secrets_are_masked_wherever_they_are(value: Any) -> None:
    assert HIDDEN not in preview(value)
    assert HIDDEN not in preview_parameters({"value": value})
    try:
        shown = STORE.encode(value).preview
    except ValueError:  # cannot be stored at all
        return
    assert shown is not None
    assert HIDDEN not in shown


def test_ordinary_values_are_shown_as_they_are() -> None:
    value = {"id": 3, "ok": True, "name": "Zoë", "none": None, "list": [1.5, "x"]}
    assert json.loads(preview(value)) == value == json.loads(STORE.encode(value).preview or "")
    assert json.loads(preview_parameters({"a": 1, "b": (2, {3})})) == {"a": 1, "b": [2, [3]]}
    assert preview(float("nan")) == '"nan"'
    assert json.loads(preview(Login())) == {"user": "ann", "password": "******", "key": "******", "note": "******"}
    assert preview(Opaque()) == '"<tests.results.test_previews.Opaque>"'


def test_long_values_are_cut_with_a_mark() -> None:
    for value in (
        "x" * 5000,
        list(range(5000)),
        {str(each): "y" * 100 for each in range(500)},
        [["z" * 500] * 50] * 50,
    ):
        text = preview(value)
        assert len(text.encode()) <= 1024
        assert "…" in text
        json.loads(text)


def test_an_instance_is_never_asked_anything() -> None:
    class Frame:
        def __iter__(self) -> Iterator[int]:
            raise AssertionError

        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(name)

        __len__ = __repr__ = __str__ = __iter__  # type: ignore[assignment]

    assert "Frame" in preview(Frame())
    assert "Frame" in preview_parameters({"df": Frame()})


def test_cycles_depth_and_hostile_names_do_no_harm() -> None:
    cycle: dict[str, Any] = {}
    cycle["self"] = cycle
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    for value in (cycle, deep, {"\ud800": "\udfff"}, {Opaque(): 1, None: 2, (1,): 3}, 1 << 40_000):
        json.loads(preview(value).encode())
        assert len(preview(value).encode()) <= 1024


def test_a_smaller_limit_is_kept() -> None:
    assert len(preview(["é" * 50] * 50, 100).encode()) <= 100


def test_the_preview_can_be_left_out() -> None:
    for value in (1, "x", {"a": 1}, (1,), "x" * 100_000):
        assert STORE.encode(value, preview=False).preview is None


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(NAMES), st.text(max_size=5), st.text(max_size=5))
def test_the_quick_look_never_misses_what_the_careful_one_masks(name: str, before: str, after: str) -> None:
    assert suspicious(json.dumps({before + name + after: 1}))
