"""Every setting: its name, its ASYNCFLOW_* variable, what it takes, its default and one line of why."""

from __future__ import annotations

import difflib
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, Self, TypeAlias

from .exceptions import InvalidSetting

PREFIX: Final = "ASYNCFLOW_"
MEMORY: Final = ":memory:"
MASK: Final = "********"
LEVELS: Final[Mapping[str, int]] = MappingProxyType(
    {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
)
_SWITCH: Final = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}

Durability: TypeAlias = Literal["strict", "relaxed", "power"]
LogConsole: TypeAlias = Literal["auto", "on", "off"]
LogFormat: TypeAlias = Literal["text", "json"]
Output: TypeAlias = Literal["table", "json", "jsonl", "name"]
_Layer: TypeAlias = tuple[Callable[[str], str], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value: what it takes, in words; how it is read (ValueError: it cannot be); how it is shown."""

    takes: str
    read: Callable[[Any], Any]
    show: Callable[[Any], str] = str
    secret: bool = False


class SettingLine(NamedTuple):
    """One setting as `asyncflow config view` shows it; secrets are masked."""

    name: str
    variable: str
    value: str
    source: str
    why: str


def _number(of: type[int] | type[float], low: float) -> Kind:
    def read(value: Any) -> int | float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        number = of(value)
        if not math.isfinite(number) or number < low or (not isinstance(value, str) and number != value):
            raise ValueError
        return number

    noun = "a whole number" if of is int else "a number of seconds"
    return Kind(f"{noun}, {low:g} or more", read)


def _choice(*words: str) -> Kind:
    def read(value: Any) -> str:
        if isinstance(value, str) and value.strip().lower() in words:
            return value.strip().lower()
        raise ValueError

    return Kind("one of " + ", ".join(words), read)


def _read_switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _SWITCH:
        return _SWITCH[value.strip().lower()]
    raise ValueError


def _read_level(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError
    number = LEVELS.get(value.strip().upper()) if isinstance(value, str) else None
    number = int(value) if number is None else number
    if not 0 <= number <= 100:
        raise ValueError
    return number


def _show_level(level: int) -> str:
    return next((name for name, number in LEVELS.items() if number == level), str(level))


def _read_path(value: Any) -> Path:
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ValueError
    path = os.path.expanduser(text)  # Path.expanduser may raise
    return Path(os.path.normpath(path) if os.path.isabs(path) else os.path.abspath(path))


def _read_database(value: Any) -> str:
    if isinstance(value, str) and value.strip() == MEMORY:
        return MEMORY
    if isinstance(value, str) and "://" in value:
        raise ValueError
    return str(_read_path(value))


def _read_keys(value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, Sequence) or not all(isinstance(part, str) for part in parts):
        raise ValueError
    keys = tuple(part.strip() for part in parts if part.strip())
    if parts and not keys:
        raise ValueError
    return keys


_WHOLE: Final = _number(int, 0)
_COUNT: Final = _number(int, 1)
_SECONDS: Final = _number(float, 0)
_PATH: Final = Kind("a path", _read_path)
_DATABASE: Final = Kind(f'the path of a file, or "{MEMORY}"', _read_database)
_SWITCHED: Final = Kind("true or false", _read_switch, lambda value: str(value).lower())
_LEVEL: Final = Kind("one of DEBUG, INFO, WARNING, ERROR, CRITICAL, or a number up to 100", _read_level, _show_level)
_KEYS: Final = Kind(
    "one or more keys, separated by commas", _read_keys, lambda keys: ", ".join(MASK for _ in keys), secret=True
)


def default_home() -> Path:
    """The platform's folder for a user's data: XDG's on Linux, its equivalents on macOS and Windows."""
    try:
        home = Path.home()
    except RuntimeError:
        raise InvalidSetting("ASYNCFLOW_HOME must be set here: this user has no home directory.") from None
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "asyncflow"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "asyncflow"
    given = os.environ.get("XDG_DATA_HOME", "")
    return (Path(given) if Path(given).is_absolute() else home / ".local" / "share") / "asyncflow"


def _default_threads() -> int:
    return min(32, (os.cpu_count() or 1) + 4)


def _about(kind: Kind, why: str) -> dict[str, Any]:
    return {"kind": kind, "why": why}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an application was set to, and where each value comes from.

    Each setting is read from the argument of that name, else from the environment (`ASYNCFLOW_` and its name in
    capitals), else it has its default. Make one with `Settings.load(...)`, which checks every value.
    """

    home: Path = field(
        default_factory=default_home,
        metadata=_about(_PATH, "where asyncflow keeps its files unless told otherwise"),
    )
    database: str = field(
        default="",
        metadata=_about(_DATABASE, 'the file that remembers every run; ":memory:" remembers until the process ends'),
    )
    durability: Durability = field(
        default="strict",
        metadata=_about(
            _choice("strict", "relaxed", "power"),
            "when a caller goes on: after the commit, before it, or after it is forced to the disk",
        ),
    )
    result_inline_bytes: int = field(
        default=65536,
        metadata=_about(_WHOLE, "results up to this size live in the database, larger ones in files beside it"),
    )
    commit_seconds: float = field(
        default=10.0,
        metadata=_about(_SECONDS, "how long a finished run waits for its commit before it says NotStored"),
    )
    cleanup_seconds: float = field(
        default=10.0,
        metadata=_about(_SECONDS, "how long a cancelled body may take to clean up before it is left behind"),
    )
    late_seconds: float = field(
        default=0.2,
        metadata=_about(_SECONDS, "how long a move that nobody waits for may be queued before it is written"),
    )
    busy_seconds: float = field(
        default=60.0,
        metadata=_about(_SECONDS, "how long to wait while another process keeps the database locked"),
    )
    batch_rows: int = field(
        default=256,
        metadata=_about(_COUNT, "how many rows share one commit at most; more is cheaper, and each commit longer"),
    )
    max_threads: int = field(
        default_factory=_default_threads,
        metadata=_about(_COUNT, "how many bodies of plain functions run in threads at once"),
    )
    blocked_loop_seconds: float = field(
        default=0.2,
        metadata=_about(_SECONDS, "an event loop blocked for longer than this is reported; 0 never reports"),
    )
    log_level: int = field(
        default=LEVELS["INFO"],
        metadata=_about(_LEVEL, "lines below this level are neither stored nor shown"),
    )
    log_console: LogConsole = field(
        default="auto",
        metadata=_about(
            _choice("auto", "on", "off"),
            "lines on stderr; auto shows them for scripts and is silent inside an application of yours",
        ),
    )
    log_format: LogFormat = field(
        default="text",
        metadata=_about(_choice("text", "json"), "how lines look on stderr: for people, or one JSON object each"),
    )
    log_prints: bool = field(
        default=False,
        metadata=_about(_SWITCHED, "whether print() inside runs becomes a log line, where a flow or task does not say"),
    )
    log_capture: bool = field(
        default=True,
        metadata=_about(_SWITCHED, "whether what runs say through Python's own logging is stored with them"),
    )
    result_key: tuple[str, ...] = field(
        default=(),
        repr=False,
        metadata=_about(_KEYS, "signs stored pickles: the first key signs, all are accepted; none means a key file"),
    )
    output: Output = field(
        default="table",
        metadata=_about(_choice("table", "json", "jsonl", "name"), "how the command line answers, unless -o says"),
    )
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.database:
            object.__setattr__(self, "database", str(self.home / "asyncflow.db"))
        given = {name: self.sources.get(name, "default") for name in TABLE}
        object.__setattr__(self, "sources", given)

    @classmethod
    def load(cls, **arguments: Any) -> Self:
        """Read every setting: argument, else environment, else default. An argument that is None was not given.

        Raises `InvalidSetting` that names the setting or variable at fault, its value and what it takes.
        """
        values: dict[str, Any] = {}
        sources: dict[str, str] = {}
        for label, layer in _layers(arguments):
            for name, raw in layer.items():
                if name not in values:
                    sources[name] = label(name)
                    values[name] = _read(name, raw, sources[name])
        return cls(**values, sources=sources)

    def describe(self) -> list[SettingLine]:
        """Every setting with its value as text, its source and its reason; secrets are masked."""
        return [
            SettingLine(name, variable(name), kind.show(getattr(self, name)), self.sources[name], why)
            for name, kind, why in TABLE.values()
        ]


class TableRow(NamedTuple):
    """A setting in the table of all settings."""

    name: str
    kind: Kind
    why: str


def _row(one: Field[Any]) -> TableRow:
    return TableRow(one.name, one.metadata["kind"], one.metadata["why"])


TABLE: Final[Mapping[str, TableRow]] = MappingProxyType(
    {one.name: _row(one) for one in fields(Settings) if one.name != "sources"}
)
"""Every setting by its name, in the order in which they are shown."""


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def _layers(arguments: Mapping[str, Any]) -> Iterator[_Layer]:
    """Where values come from, strongest first; a file of settings is one more layer after the environment."""
    given = {name: value for name, value in arguments.items() if value is not None}
    _refuse_unknown(given, TABLE, "setting")
    yield (lambda name: "argument"), given
    yield (lambda name: f"environment {variable(name)}"), _environment()


def _environment() -> dict[str, str]:
    """The settings of the environment. An empty variable is one that is not set."""
    found = {key: value for key, value in os.environ.items() if key.startswith(PREFIX) and value}
    by_variable = {variable(name): name for name in TABLE}
    _refuse_unknown(found, by_variable, "environment variable")
    return {by_variable[key]: value for key, value in found.items()}


def _refuse_unknown(given: Mapping[str, Any], known: Mapping[str, Any], noun: str) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.0)
            raise InvalidSetting(f"There is no {noun} {name}; did you mean {near[0]}?")


def _read(name: str, raw: Any, source: str) -> Any:
    kind = TABLE[name].kind
    try:
        return kind.read(raw)
    except (ValueError, OverflowError):
        who = source.removeprefix("environment ") if source.startswith("environment ") else f"Setting {name}"
        shown = MASK if kind.secret else repr(raw)
        raise InvalidSetting(f"{who} is {shown}; it takes {kind.takes}.") from None
