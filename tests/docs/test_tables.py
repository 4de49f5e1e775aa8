"""Tables that repeat what the code says, say what the code says."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncflow import Flow, Task, exceptions, ports
from asyncflow.exceptions import AsyncflowError
from asyncflow.settings import TABLE, Settings, variable
from asyncflow.states import StateType
from benchmarks.workloads import LINES

from .pages import ROOT, all_pages

PACKAGE = ROOT / "asyncflow"
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
FROM_THE_MACHINE = {"home", "database", "max_threads", "result_key"}
"""Settings whose default is told in words."""
UNREAD_TEXTS = {"version", "description"}
"""Options that are kept for people; nothing has to read them."""


def rows(page: str, header: str) -> list[list[str]]:
    """The cells of the table under that header."""
    lines = (ROOT / "docs" / page).read_text().partition(f"\n{header}\n")[2].splitlines()
    table = []
    for line in lines[1:]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    assert table, f"{page} has no table with the header {header}"
    return table


# -- the reference -----------------------------------------------------------------------------------------------


def _errors() -> Iterator[list[str]]:
    for name, value in vars(exceptions).items():
        if isinstance(value, type) and issubclass(value, AsyncflowError):
            builtin = [base.__name__ for base in value.__bases__ if not issubclass(base, AsyncflowError)]
            also = ", ".join(f"`{base}`" for base in builtin if base != "Exception")
            yield [f"`{name}`", also, " ".join((value.__doc__ or "").split()).rstrip(".")]


def test_errors_are_told_as_their_docstrings_have_it() -> None:
    assert rows("reference/exceptions.md", "| class | also a | when |") == list(_errors())


def test_settings_are_told_as_the_code_has_them() -> None:
    told = rows("reference/settings.md", "| setting | variable | default | meaning |")
    plain = Settings(home=Path("home"))
    assert [row[0] for row in told] == [f"`{name}`" for name in TABLE]
    for (name, kind, why), (_, told_variable, default, meaning) in zip(TABLE.values(), told, strict=True):
        assert told_variable == f"`{variable(name)}`"
        assert meaning == f"{why}; takes {kind.takes}"
        assert name in FROM_THE_MACHINE or default == f"`{kind.show(getattr(plain, name))}`"


def _options(made_by: type) -> dict[str, Any]:
    parameters = inspect.signature(made_by).parameters
    return {name: parameter.default for name, parameter in parameters.items() if name != "fn"}


@pytest.mark.parametrize(("made_by", "page"), [(Flow, "flows"), (Task, "tasks")])
def test_options_have_the_default_that_is_told(made_by: type, page: str) -> None:
    told = {
        name.strip("`"): default for name, default, _ in rows(f"reference/{page}.md", "| option | default | meaning |")
    }
    options = _options(made_by)
    assert told.keys() <= options.keys()
    for name, default in options.items():
        if name in told and default is not None:
            assert told[name].strip("`") == str(default) or told[name].strip('`"') == default, name
    assert options.keys() - told.keys() <= {name for name, _ in _without_effect()}


# -- what has no effect ------------------------------------------------------------------------------------------


def _without_effect() -> list[tuple[str, str]]:
    return [
        (what.strip("`"), where)
        for what, where, _ in rows("reference/without_effect.md", "| what | where | belongs to |")
    ]


def _read_attributes() -> set[str]:
    """The attributes that the package reads anywhere but where flows and tasks are declared."""
    files = (path for path in PACKAGE.rglob("*.py") if path.name not in {"flows.py", "tasks.py"})
    trees = (ast.walk(ast.parse(path.read_text())) for path in files)
    return {node.attr for tree in trees for node in tree if isinstance(node, ast.Attribute)}


READ = _read_attributes()
SPOKEN = {"on_running": "running", "on_completion": "completion", "on_failure": "failure"}
ELSEWHERE = {
    "retries": "retry", "retry_delay_seconds": "retry", "retry_jitter_factor": "retry", "retry_condition_fn": "retry",
    "flow_run_name": "run_name", "task_run_name": "run_name", "key": "identity_key", "cache_key_fn": "cache_policy",
    "on_running": "hooks", "on_completion": "hooks", "on_failure": "hooks", "on_cancellation": "hooks",
}  # fmt: skip
"""Options that the engine reads under another name."""


@pytest.mark.parametrize(("made_by", "where"), [(Flow, "`@flow`"), (Task, "`@task`")])
def test_an_option_is_read_or_listed_as_without_effect(made_by: type, where: str) -> None:
    listed = {what for what, its in _without_effect() if its == where}
    by_function = {"leftover", "unobserved", "max_in_flight", "runs_in"}  # by getattr, or checked where it is written
    unread = {name for name in _options(made_by) if ELSEWHERE.get(name, name) not in READ | by_function}
    assert unread - UNREAD_TEXTS == listed


def test_a_setting_is_read_or_listed_as_without_effect() -> None:
    listed = {what for what, where in _without_effect() if where == "settings"}
    inside = {"home", "sources"}
    assert {name for name in TABLE if name not in READ | inside | {"output"}} == listed


# -- the architecture --------------------------------------------------------------------------------------------


def test_the_floors_are_those_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    there = {path.stem for path in PACKAGE.iterdir()}
    floors = [[room for room in re.findall(r"\w+", layer) if room in there] for layer in layers]
    told = rows("architecture.md", "| floor | what is there |")
    assert [re.findall(r"`(\w+)`", row[0]) for row in told] == [floor for floor in floors if floor]


def test_the_rooms_of_the_engine_are_told_as_their_docstrings_have_it() -> None:
    files = sorted((PACKAGE / "engine").glob("[!_]*.py"))
    docstrings = [ast.get_docstring(ast.parse(path.read_text())) or "" for path in files]
    expected = [[f"`engine/{path.name}`", text.rstrip(".")] for path, text in zip(files, docstrings, strict=True)]
    assert rows("architecture.md", "| file | what it is for |") == expected


def test_the_targets_are_those_that_are_measured() -> None:
    told = rows("architecture.md", "| line | what | target |")
    assert [row[0] for row in told] == [f"`{line.name}`" for line in LINES]
    for line, (_, _, target) in zip(LINES, told, strict=True):
        measured = "none" if line.target is None else f"at most {line.target:g}"
        assert re.match(rf"{measured}(?!\.?\d)", target), line.name


def test_every_protocol_is_named() -> None:
    protocols = [name for name, value in vars(ports).items() if getattr(value, "_is_protocol", False)]
    assert "Store" in protocols
    assert [name for name in protocols if name not in {"Protocol"} and f"`{name}`" not in ARCHITECTURE] == []


def test_every_state_type_is_told() -> None:
    told = rows("concepts/states.md", "| type | the run | names that refine it |")
    assert [row[0] for row in told] == [f"`{state.value}`" for state in StateType]


@pytest.mark.parametrize("page", all_pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"`((?:\w+/)+\w*\.?\w+)`", page.read_text())
    folders = {path.name for path in PACKAGE.iterdir()} | {"asyncflow", "tests", "benchmarks", "docs"}
    files = [name for name in named if name.split("/")[0] in folders]
    assert [name for name in files if not ((PACKAGE / name).exists() or (ROOT / name).exists())] == []
