"""Names of runs, flows and tasks, and names with parameters in them."""

from __future__ import annotations

import functools
import random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncflow.core.names import (
    ADJECTIVES,
    ANIMALS,
    BANNED,
    checked_name,
    default_flow_name,
    default_task_name,
    run_name,
    storable,
)
from asyncflow.core.template import render
from asyncflow.exceptions import InvalidName, InvalidOption, UnnamedCallable


def load_all_orders() -> None: ...


def test_run_names_are_an_adjective_and_an_animal_from_the_given_source() -> None:
    names = [run_name(random.Random(seed)) for seed in range(200)]
    assert names == [run_name(random.Random(seed)) for seed in range(200)]
    assert len(set(names)) > 150
    for name in names:
        adjective, animal = name.split("-")
        assert adjective in ADJECTIVES
        assert animal in ANIMALS


def test_the_words_are_plain_and_no_word_stands_twice() -> None:
    words = (*ADJECTIVES, *ANIMALS)
    assert len(words) == len(set(words))
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)
    assert len(ADJECTIVES) * len(ANIMALS) > 10_000


def test_default_names() -> None:
    assert default_flow_name(load_all_orders) == "load-all-orders"
    assert default_task_name(load_all_orders) == "load_all_orders"


@pytest.mark.parametrize("nameless", [lambda: None, functools.partial(load_all_orders)])
def test_what_has_no_name_needs_one(nameless: Any) -> None:
    for default_name in (default_flow_name, default_task_name):
        with pytest.raises(UnnamedCallable, match="name="):
            default_name(nameless)


@pytest.mark.parametrize("name", ["", "  ", None, 3, *(f"a{character}b" for character in BANNED)])
def test_bad_names_are_refused(name: Any) -> None:
    with pytest.raises(InvalidName, match="flow"):
        checked_name(name, "flow")


def test_good_names_stay_as_they_are() -> None:
    for name in ("My Pipeline", "naïve-été", "a.b:c"):
        assert checked_name(name, "flow") == name


def test_templates_take_arguments_and_what_is_known_of_the_run() -> None:
    user = SimpleNamespace(name="ada")
    assert render("load-{date}", {"date": "2024-01-02"}) == "load-2024-01-02"
    assert render("{user.name}-{rows[1]:03d}", {"user": user, "rows": [4, 5]}) == "ada-005"
    assert render("{flow_name}/{n}", {"n": 1}, {"flow_name": "etl"}) == "etl/1"
    assert render("{flow_name}", {"flow_name": "mine"}, {"flow_name": "etl"}) == "mine"


def test_an_unknown_field_names_itself_and_the_known_ones() -> None:
    with pytest.raises(InvalidOption, match=r"\{dat\}.*no parameter; there are: date, flow_name"):
        render("load-{dat}", {"date": 1}, {"flow_name": "etl"})
    with pytest.raises(InvalidOption, match=r"\{x\}.*there are: none"):
        render("{x}", {})


@pytest.mark.parametrize("template", ["{", "{0}", "{}", "{n.missing}", "{n[0]}", "{row[missing]}", "{n:%Q}", "{bad}"])
def test_a_template_that_cannot_be_filled_is_refused_with_its_text(template: str) -> None:
    class Bad:
        def __format__(self, spec: str) -> str:
            raise ZeroDivisionError("no")

    with pytest.raises(InvalidOption) as caught:
        render(template, {"n": 1, "bad": Bad(), "row": {}})
    assert repr(template) in str(caught.value)


def test_names_that_come_out_are_one_line_of_at_most_200_characters() -> None:
    assert render("a\n{n}", {"n": "b\tc"}) == "a b c"
    assert render("{n}", {"n": "x" * 200}) == "x" * 200
    long = render("{n}", {"n": "x" * 201})
    assert len(long) == 200
    assert long.endswith("x…")
    with pytest.raises(InvalidOption, match="empty"):
        render("{n}", {"n": " \n "})


@given(st.text(st.characters(codec=None)))
def test_storable_text_can_be_encoded_and_good_text_is_unchanged(text: str) -> None:
    stored = storable(text)
    assert b"\0" not in stored.encode("utf-8")
    if "\0" not in text and not any(0xD800 <= ord(character) <= 0xDFFF for character in text):
        assert stored == text
