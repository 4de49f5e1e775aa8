"""The error tree is drawn as it is, and every error says what to do."""

from __future__ import annotations

import inspect
import re

import pytest

from asyncflow import exceptions
from asyncflow.exceptions import AsyncflowError

CLASSES = {
    name: value
    for name, value in vars(exceptions).items()
    if inspect.isclass(value) and value.__module__ == exceptions.__name__
}
BRANCH = re.compile(r"^(?P<indent>[│├└─ ]*)(?P<name>[A-Z]\w+)(?: \((?P<builtins>[\w, ]+)\))?")


def _drawn() -> dict[str, tuple[str, ...]]:
    """Each class of the drawing with its bases: the one that it hangs on, then those in parentheses."""
    lines = (exceptions.__doc__ or "").split("\n\n")[1].splitlines()
    path: list[str] = []
    tree: dict[str, tuple[str, ...]] = {}
    for line in lines:
        branch = BRANCH.match(line)
        assert branch, line
        depth = len(branch["indent"]) // 4 - 1
        parent = (path[depth - 1],) if depth else ("Exception",)
        path[depth:] = [branch["name"]]
        assert branch["name"] not in tree, "drawn twice"
        tree[branch["name"]] = (*parent, *(branch["builtins"] or "").replace(",", "").split())
    return tree


def test_the_drawn_tree_is_the_real_one() -> None:
    assert _drawn() == {name: tuple(base.__name__ for base in error.__bases__) for name, error in CLASSES.items()}


@pytest.mark.parametrize("error", CLASSES.values(), ids=CLASSES)
def test_the_docstring_is_the_default_message(error: type[AsyncflowError]) -> None:
    assert error.__dict__.get("__doc__"), "no docstring of its own"
    assert str(error()) == " ".join((error.__doc__ or "").split())
    assert str(error("said otherwise")) == "said otherwise"
    assert isinstance(error(), AsyncflowError)
