"""The demonstration's figures without any flow: counted straight from the files, in a process of its own.

`python -m asyncflow.cli.demo_count FOLDER` reads paths below the folder, one a line, and prints the figures as JSON.
"""

from __future__ import annotations

import ast
import gc
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

_HOLDS_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)


def count(folder: Path, paths: Iterable[str]) -> dict[str, int]:
    """How many files, bytes, functions, classes and imports there are; imports also by name, as "import NAME"."""
    found: Counter[str] = Counter()
    for path in paths:
        data = (folder / path).read_bytes()
        found.update(files=1, size=len(data))
        try:
            tree = ast.parse(data)
        except SyntaxError:
            found["invalid"] += 1
        else:
            _count_below(tree, found)
    return dict(found)


def _count_below(node: ast.AST, found: Counter[str]) -> None:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _HOLDS_STATEMENTS):
            _count_one(child, found)
            _count_below(child, found)


def _count_one(node: ast.AST, found: Counter[str]) -> None:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            found["functions"] += 1
        case ast.ClassDef():
            found["classes"] += 1
        case ast.Import(names=names):
            found.update(f"import {each.name.split('.')[0]}" for each in names)
        case ast.ImportFrom(module=str(module), level=0):
            found[f"import {module.split('.')[0]}"] += 1


if __name__ == "__main__":
    os.nice(10)  # the flow goes first
    gc.disable()  # syntax trees have no cycles
    print(json.dumps(count(Path(sys.argv[1]), sys.stdin.read().splitlines())))
