"""The public names: sorted, importable, documented, and no others."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import asyncflow


def test_public_names_are_sorted_and_unique() -> None:
    assert list(asyncflow.__all__) == sorted(set(asyncflow.__all__))


@pytest.mark.parametrize("name", asyncflow.__all__)
def test_a_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(asyncflow, name)
    assert name in dir(asyncflow)
    assert inspect.getdoc(value), f"{name} has no docstring"


def test_star_import_gives_exactly_the_public_names() -> None:
    code = "from asyncflow import *; import asyncflow; print(set(asyncflow.__all__) - set(globals()))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        asyncflow.no_such_name  # type: ignore[attr-defined]
