"""A database with a story in it, and the command line as a process and as a function."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from asyncflow.cli.shell import run

from . import stories


@dataclass
class Answer:
    """What a command wrote, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Its output, as JSON."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        """Its output, line by line."""
        return self.out.splitlines()


Ask = Callable[..., Answer]


@pytest.fixture
def ask(home: Path, capfd: pytest.CaptureFixture[str]) -> Ask:
    """Run a command in this process."""

    def asking(*arguments: str) -> Answer:
        capfd.readouterr()
        code = run(arguments)
        out, err = capfd.readouterr()
        return Answer(code, out, err)

    return asking


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database in which the stories were run, to be copied."""
    folder = tmp_path_factory.mktemp("filled") / "home"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASYNCFLOW_")}
    environment["ASYNCFLOW_HOME"] = str(folder)
    subprocess.run([sys.executable, "-m", stories.__name__], env=environment, check=True)
    return folder


@pytest.fixture
def story(filled: Path, home: Path) -> Path:
    """This test's own copy of that database."""
    shutil.copytree(filled, home)
    return home / "asyncflow.db"


@pytest.fixture
def close_to_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Have commands believe that they write to a terminal of that width."""

    def believing(width: int) -> None:
        monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
        monkeypatch.setenv("COLUMNS", str(width))

    return believing
