"""mypy and pyright, both strict, read the programs of this folder and agree on every type in them."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PROGRAMS = sorted(path for path in HERE.glob("*.py") if path.stem not in {"__init__", "test_types"})
MYPY = ["mypy", "--strict", "--warn-unused-ignores", "--config-file", str(ROOT / "pyproject.toml")]
PYRIGHT = ["pyright", "--pythonpath", sys.executable]
WRONG = """
from typing import assert_type
from asyncflow import task

@task
def add(left: int) -> int:
    return left

assert_type(add(1), str)
"""


def checked(*command: str) -> subprocess.CompletedProcess[str]:
    """What a type checker says."""
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "command",
    [[*MYPY, *map(str, PROGRAMS)], [*PYRIGHT, "--project", str(HERE / "pyrightconfig.json")]],
    ids=["mypy", "pyright"],
)
def test_the_checker_agrees_with_what_is_written(command: list[str]) -> None:
    done = checked(*command)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("command", "slip"), [(MYPY, "[assert-type]"), (PYRIGHT, "reportAssertTypeFailure")], ids=["mypy", "pyright"]
)
def test_the_checker_would_find_a_wrong_type(command: list[str], slip: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(WRONG)
    done = checked(*command, str(program))
    assert done.returncode == 1
    assert done.stdout.count(slip) == 1


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_the_program_runs(program: Path) -> None:
    importlib.import_module(f"{__package__}.{program.stem}")
