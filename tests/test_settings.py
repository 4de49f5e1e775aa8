"""Every setting is read from its argument, its variable or its default, and says which."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from asyncflow.exceptions import InvalidSetting
from asyncflow.settings import MASK, TABLE, Settings, variable


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("ASYNCFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)


def test_argument_beats_environment_beats_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCFLOW_BATCH_ROWS", "7")
    monkeypatch.setenv("ASYNCFLOW_LATE_SECONDS", "1.5")
    settings = Settings.load(batch_rows=9)
    assert (settings.batch_rows, settings.late_seconds, settings.commit_seconds) == (9, 1.5, 10.0)
    assert settings.sources["batch_rows"] == "argument"
    assert settings.sources["late_seconds"] == "environment ASYNCFLOW_LATE_SECONDS"
    assert settings.sources["commit_seconds"] == "default"


def test_none_and_an_empty_variable_are_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCFLOW_DURABILITY", "")
    settings = Settings.load(batch_rows=None)
    assert (settings.batch_rows, settings.durability) == (256, "strict")
    assert set(settings.sources.values()) == {"default"}


@pytest.mark.skipif(sys.platform in {"darwin", "win32"}, reason="XDG is for Linux and its like")
def test_home_follows_xdg_and_the_database_follows_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Settings.load().home == tmp_path / ".local" / "share" / "asyncflow"
    monkeypatch.setenv("XDG_DATA_HOME", "relative/is/ignored")
    assert Settings.load().home == tmp_path / ".local" / "share" / "asyncflow"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    settings = Settings.load()
    assert settings.home == tmp_path / "data" / "asyncflow"
    assert settings.database == str(tmp_path / "data" / "asyncflow" / "asyncflow.db")


def test_paths_are_made_absolute_and_memory_is_not_a_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings.load(home="~/x").home == tmp_path / "x"
    assert Settings.load(database="a/../runs.db").database == str(tmp_path / "runs.db")
    assert Settings.load(database=Path("runs.db")).database == str(tmp_path / "runs.db")
    assert Settings.load(database=":memory:").database == ":memory:"


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("log_prints", "Yes", True),
        ("log_prints", "0", False),
        ("log_capture", False, False),
        ("log_level", "warning", 30),
        ("log_level", "15", 15),
        ("log_level", 10, 10),
        ("durability", "POWER", "power"),
        ("result_inline_bytes", 0, 0),
        ("busy_seconds", 3, 3.0),
        ("result_key", "one, two,", ("one", "two")),
        ("result_key", ["one"], ("one",)),
    ],
)
def test_values_are_read(name: str, raw: Any, value: Any) -> None:
    assert getattr(Settings.load(**{name: raw}), name) == value


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("log_prints", "maybe"),
        ("log_prints", 1),
        ("log_level", "LOUD"),
        ("log_level", True),
        ("durability", "fast"),
        ("batch_rows", 0),
        ("batch_rows", "2.5"),
        ("batch_rows", 2.5),
        ("batch_rows", True),
        ("commit_seconds", "nan"),
        ("commit_seconds", "inf"),
        ("commit_seconds", -1),
        ("late_seconds", "soon"),
        ("database", "postgresql://host/db"),
        ("database", " "),
        ("home", "a\0b"),
        ("home", 3),
        ("result_key", ","),
        ("result_key", 7),
    ],
)
def test_a_bad_value_is_refused_by_name_and_says_what_it_takes(name: str, raw: Any) -> None:
    with pytest.raises(InvalidSetting) as caught:
        Settings.load(**{name: raw})
    assert name in str(caught.value)
    assert TABLE[name].kind.takes in str(caught.value)


def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCFLOW_BATCH_ROWS", "many")
    with pytest.raises(InvalidSetting, match=r"^ASYNCFLOW_BATCH_ROWS is 'many'; it takes a whole number, 1 or more\.$"):
        Settings.load()
    assert Settings.load(batch_rows=3).batch_rows == 3


def test_unknown_names_are_refused_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidSetting, match="no setting databse; did you mean database"):
        Settings.load(databse="x")
    monkeypatch.setenv("ASYNCFLOW_LOG_LEVLE", "INFO")
    with pytest.raises(InvalidSetting, match="ASYNCFLOW_LOG_LEVLE; did you mean ASYNCFLOW_LOG_LEVEL"):
        Settings.load()


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCFLOW_RESULT_KEY", "s3cret,older")
    settings = Settings.load()
    described = {line.name: line for line in settings.describe()}
    assert described["result_key"].value == f"{MASK}, {MASK}"
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in str(settings.describe())
    with pytest.raises(InvalidSetting) as caught:
        Settings.load(result_key=["s3cret", 5])
    assert "s3cret" not in str(caught.value)


def test_describe_lists_every_setting_with_its_reason() -> None:
    lines = Settings.load(log_level="debug").describe()
    assert [line.name for line in lines] == list(TABLE)
    assert all(line.why and line.variable == variable(line.name) for line in lines)
    level = next(line for line in lines if line.name == "log_level")
    assert level[:4] == ("log_level", "ASYNCFLOW_LOG_LEVEL", "DEBUG", "argument")


def test_what_describe_shows_can_be_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.load(log_level=30, log_prints=True, database=":memory:", late_seconds=0.25)
    for line in settings.describe():
        monkeypatch.setenv(line.variable, line.value)
    assert Settings.load() == settings


def test_settings_do_not_change_and_travel_to_other_processes() -> None:
    settings = Settings.load(batch_rows=5)
    with pytest.raises(AttributeError):
        settings.batch_rows = 6  # type: ignore[misc]
    copy = pickle.loads(pickle.dumps(settings))
    assert copy == settings
    assert copy.sources == settings.sources
