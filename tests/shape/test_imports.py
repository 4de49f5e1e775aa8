"""What is loaded at the door: a list is exact where milliseconds would flake.

`python -m tests.shape.test_imports` prints the lists as they are now.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAMS = {
    "front door": "import asyncflow",
    "flow and task": "from asyncflow import flow, task",
    "help": "import sys; sys.argv = ['asyncflow', '--help']; from asyncflow.__main__ import main; main()",
}
OURS: dict[str, list[str]] = {
    "front door": [
        "asyncflow",
    ],
    "flow and task": [
        "asyncflow",
        "asyncflow.application",
        "asyncflow.cache_policies",
        "asyncflow.context",
        "asyncflow.core",
        "asyncflow.core.annotations",
        "asyncflow.core.canonical",
        "asyncflow.core.clock",
        "asyncflow.core.counts",
        "asyncflow.core.fingerprint",
        "asyncflow.core.ids",
        "asyncflow.core.names",
        "asyncflow.core.naming",
        "asyncflow.core.parameters",
        "asyncflow.core.retries",
        "asyncflow.core.runs",
        "asyncflow.core.tracebacks",
        "asyncflow.engine",
        "asyncflow.engine.arguments",
        "asyncflow.engine.calls",
        "asyncflow.engine.crossing",
        "asyncflow.engine.fanout",
        "asyncflow.exceptions",
        "asyncflow.flows",
        "asyncflow.futures",
        "asyncflow.handles",
        "asyncflow.settings",
        "asyncflow.specs",
        "asyncflow.states",
        "asyncflow.tasks",
    ],
    "help": [
        "asyncflow",
        "asyncflow.__main__",
        "asyncflow.cli",
        "asyncflow.cli.lazy",
        "asyncflow.cli.screen",
        "asyncflow.cli.shell",
        "asyncflow.exceptions",
        "asyncflow.version",
    ],
}
"""The modules of asyncflow that each program loads."""

THEIRS: dict[str, list[str]] = {"front door": [], "flow and task": ["anyio", "typing_extensions"], "help": ["click"]}
"""The packages of others that each program loads."""

PROBE = """
import sys
before = set(sys.modules)
try:
    {program}
except SystemExit as end:
    assert not end.code, end.code
import json
print()
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def _loaded(program: str) -> tuple[list[str], list[str]]:
    """Our modules and the top-level names of other people's packages that a fresh process loads for a program."""
    code = PROBE.format(program=PROGRAMS[program])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = json.loads(done.stdout.splitlines()[-1])
    tops = {name.partition(".")[0] for name in modules if not name.startswith("_sysconfigdata")}
    return [name for name in modules if name.partition(".")[0] == "asyncflow"], sorted(
        tops - sys.stdlib_module_names - {"asyncflow"}
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_is_loaded(program: str) -> None:
    assert _loaded(program) == (OURS[program], THEIRS[program])


if __name__ == "__main__":
    found = {name: _loaded(name) for name in PROGRAMS}
    print("OURS =", json.dumps({name: ours for name, (ours, _) in found.items()}, indent=4))
    print("THEIRS =", json.dumps({name: theirs for name, (_, theirs) in found.items()}, indent=4))
