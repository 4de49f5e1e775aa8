"""How the code blocks of a page are run.

A page is one script: its `python` blocks share a namespace, top to bottom, and `await` may stand at the top level, as
in a notebook. A block that opens with `>>>` is a doctest. A block whose first line is a comment such as
`# pipeline.py` is not run but saved as that file. In a `console` block each line `$ asyncflow ...` or
`$ python pipeline.py` is run; its exit code must be 0, and lines shown below it must be what it prints: `...` stands
for anything, and what differs from run to run (times, ids, names of flow runs, whether a move to Running was written
before the next one came) may be as it was once. Other blocks
are for reading. `<!-- skip: next -->` above a block leaves it out, and says why in the text around it.
"""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser, SkipParser

from asyncflow.core.names import ADJECTIVES, ANIMALS

ROOT = Path(__file__).parents[2]
SHOWN = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
TOP_LEVEL_AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
FILE_NAME = re.compile(r"# (\w+\.py)\n")
PASSING = (
    (re.compile(r"^.* Entered state Running\(\)\n?", re.MULTILINE), ""),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\b"), "DATE"),
    (re.compile(r"\b\d\d:\d\d:\d\d\.\d{3}\b"), "TIME"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(rf"\b(?:{'|'.join(ADJECTIVES)})-(?:{'|'.join(ANIMALS)})\b"), "NAME"),
    (re.compile(r"(?<!in )\b\d+(?:\.\d+)?(?:ms|s|m)\b"), "SPAN"),
)
"""What differs from run to run, and what stands for it in a comparison."""


def all_pages() -> list[Path]:
    """The front page and every page of the documentation."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def read(page: Path) -> Document:
    """A page with the examples on it."""
    return Document.parse(
        str(page),
        CodeBlockParser("python", run_python),
        CodeBlockParser("pycon", run_python),
        CodeBlockParser("console", run_console),
        SkipParser(),
    )


def script_of(page: Path) -> ModuleType:
    """The module that the page's `python` blocks make up together; to them it is `__main__`."""
    script = ModuleType("__main__")
    script.__file__ = str(page.with_suffix(".py"))
    return script


def run_python(example: Example) -> None:
    """Run one block in the namespace of its page."""
    if example.parsed.lstrip().startswith(">>>"):
        _run_doctest(example)
        return
    if (named := FILE_NAME.match(example.parsed)) is not None:
        Path(named[1]).write_text(example.parsed)
        return
    source = "\n" * (example.line + example.parsed.line_offset) + example.parsed
    code = compile(source, example.path, "exec", flags=TOP_LEVEL_AWAIT, dont_inherit=True)
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(_awaited(code, example.namespace))
    else:
        exec(code, example.namespace)


async def _awaited(code: Any, namespace: dict[str, Any]) -> None:
    await eval(code, namespace)


def _run_doctest(example: Example) -> None:
    test = doctest.DocTestParser().get_doctest(
        example.parsed, example.namespace, example.path, example.path, example.line
    )
    test.globs = example.namespace
    doctest.DebugRunner(optionflags=SHOWN).run(test, clear_globs=False)


def run_console(example: Example) -> None:
    """Run the commands of one block that are ours and compare what they print with what is shown."""
    for command, shown in _commands(example.parsed):
        words = _program(shlex.split(command))
        if words is None:
            continue
        plain = {**os.environ, "NO_COLOR": "1"}
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=plain
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}"
        same = not shown or doctest.OutputChecker().check_output(_lasting(shown), _lasting(done.stdout), SHOWN)
        assert same, f"$ {command}\n{done.stdout}"


def _program(words: list[str]) -> list[str] | None:
    """The process that a command stands for; None for one that is only for reading."""
    if words[0] == "asyncflow":
        return [sys.executable, "-m", *words]
    if words[0] == "python" and len(words) > 1 and Path(words[1]).is_file():
        return [sys.executable, "-u", *words[1:]]
    return None


def _lasting(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, word in PASSING:
        text = pattern.sub(word, text)
    return text


def _commands(block: str) -> Iterator[tuple[str, str]]:
    """Each command of a block with the output that is shown for it."""
    for part in ("\n" + block).split("\n$ ")[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown.strip() and shown
