"""`python -m benchmarks [LINE ...]`: measure each line in a process of its own and print the table."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from .measure import Figures, Line, Size

PEERS = "For orientation, a fan-out on such a machine: Prefect 3.9.1 17,000-76,000 us a task, DBOS 3.4 5,770."
HEAD = ("line", "what", "ours", "floor", "ratio", "target", "met", "ours min-max", "floor min-max", "floor is")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the lines asked for. The exit code says whether all could be measured, not whether targets are met."""
    options = _options(arguments)
    if options.inside:
        print(json.dumps(asyncio.run(_named(options.inside).measure(_size(options))).as_json()))
        return 0
    print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores", flush=True)
    _print_row(HEAD)
    broken = sum(not _print_line(line, options) for line in _chosen(options.lines))
    print("Tiny sizes: these figures mean nothing." if options.smoke else PEERS)
    return 1 if broken else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("lines", nargs="*", help="names of lines; all of them without")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: shows that each line runs, measures nothing")
    parser.add_argument("--rounds", type=int, help="how often each side is measured")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _size(options: argparse.Namespace) -> Size:
    return Size(smoke=options.smoke, rounds=options.rounds)


def _chosen(names: Sequence[str]) -> Sequence[Line]:
    from .workloads import LINES  # noqa: PLC0415 - the process that prints needs no asyncflow beyond this list

    return [_named(name) for name in names] or LINES


def _named(name: str) -> Line:
    from .workloads import LINES  # noqa: PLC0415

    for line in LINES:
        if line.name == name:
            return line
    raise SystemExit(f"There is no line {name!r}; there are: {', '.join(line.name for line in LINES)}")


def _print_line(line: Line, options: argparse.Namespace) -> bool:
    child = [sys.executable, "-m", "benchmarks", "--inside", line.name]
    child += ["--smoke"] if options.smoke else []
    child += ["--rounds", str(options.rounds)] if options.rounds else []
    with tempfile.TemporaryDirectory(prefix="asyncflow-bench-") as home, tempfile.TemporaryFile("w+") as errors:
        environment = {**os.environ, "ASYNCFLOW_HOME": home, **line.environment}
        done = subprocess.run(child, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True, check=False)
        if done.returncode:
            errors.seek(0)
            print(f"{line.name}: failed\n{errors.read()[-4000:]}", flush=True)
            return False
    _print_row(_row(line, Figures(**json.loads(done.stdout.splitlines()[-1]))))
    return True


def _row(line: Line, figures: Figures) -> Sequence[str]:
    ours, floor = statistics.median(figures.ours), statistics.median(figures.floor)
    of_ours = "" if line.target is None else f"<= {line.target:g}" + (f" {line.unit}" if line.judged == "ours" else "")
    return (
        line.name, line.what, f"{ours:.3g} {line.unit}", f"{floor:.3g}", f"{figures.ratio:.2f}", of_ours,
        line.judge(figures), _range(figures.ours), _range(figures.floor), line.floor,
    )  # fmt: skip


def _range(figures: Sequence[float]) -> str:
    return f"{min(figures):.3g}-{max(figures):.3g}"


def _print_row(cells: Sequence[Any]) -> None:
    widths = (15, 44, 14, 8, 6, 11, 4, 14, 14, 0)
    print("  ".join(str(cell).ljust(width) for cell, width in zip(cells, widths, strict=True)), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
