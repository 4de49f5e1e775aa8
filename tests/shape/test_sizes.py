"""Files that fit on a desk and functions that fit on a screen, each file saying what it is for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

import pytest

PACKAGE = Path(__file__).parents[2] / "asyncflow"
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(path.relative_to(PACKAGE)) for path in FILES]
TREES = {path: ast.parse(path.read_text()) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_file_has_at_most_500_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_module_says_in_one_sentence_what_it_is_for(path: Path) -> None:
    docstring = ast.get_docstring(TREES[path])
    assert docstring, "no docstring"
    first = " ".join(docstring.split("\n\n")[0].split())
    assert first.endswith((".", ":")), first
    assert ". " not in first, first


def test_functions_are_15_lines_on_average() -> None:
    assert mean(length for _, length in _functions()) <= 15


def test_few_functions_are_longer_than_60_lines() -> None:
    functions = list(_functions())
    long = {name: length for name, length in functions if length > 60}
    assert len(long) < 0.02 * len(functions), long


def _functions() -> Iterator[tuple[str, int]]:
    """Every function that does something, with its number of lines; stubs of protocols and overloads do not count."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_stub(node):
                yield f"{path.name}:{node.name}", (node.end_lineno or 0) - node.lineno + 1


def _is_stub(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return all(isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant) for step in node.body)
