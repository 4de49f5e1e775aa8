"""The benchmarks run, each line of them, and their table says what was measured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.measure import Figures, Line, Size
from benchmarks.workloads import LINES

ROOT = Path(__file__).parent.parent


async def _nothing(size: Size) -> Figures:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("judged", "target", "verdict"),
    [("ratio", 2.0, "yes"), ("ratio", 1.9, "NO"), ("ours", 6.0, "yes"), ("ours", 5.9, "NO"), ("ratio", None, "")],
)
def test_a_line_is_judged_by_its_medians(judged: str, target: float | None, verdict: str) -> None:
    line = Line("name", "what", "floor", "us", target, _nothing, judged="ours" if judged == "ours" else "ratio")
    assert line.judge(Figures([1.0, 6.0, 90.0], [2.0, 3.0, 70.0])) == verdict


@pytest.mark.timeout(180)
def test_every_line_runs_at_a_tiny_size() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--smoke"],
        cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    printed = {text.split()[0] for text in done.stdout.splitlines()}
    assert {line.name for line in LINES} <= printed
