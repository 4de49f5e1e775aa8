"""Python values as JSON and back without loss: what JSON cannot say is a dict with the key `$`."""

from __future__ import annotations

import base64
import dataclasses
import math
import pathlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from types import EllipsisType
from typing import Any, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from ..core.canonical import is_model, solid_base
from ..core.naming import is_importable, qualified_name, resolve_name
from ..exceptions import UndecodableResult, UnstorableResult

Json: TypeAlias = Any

MAX_DEPTH = 200
MAX_CONTAINERS = 250_000
"""Beyond this a value is pickled: parts that it shares with itself would be written out again and again."""

BIG = 1 << 1024

_PLAIN = frozenset({str, bool, type(None)})
_PATHS = {cls.__name__: cls for cls in (pathlib.PosixPath, pathlib.PurePosixPath, pathlib.WindowsPath,
                                         pathlib.PureWindowsPath)}  # fmt: skip


class Tagger:
    """One value on its way to JSON. `typed` says whether types of the user's own were named on the way."""

    __slots__ = ("containers", "depth", "typed")

    def __init__(self) -> None:
        self.containers = self.depth = 0
        self.typed = False

    def tag(self, value: Any) -> Json:
        """The value as JSON data. Raises `UnstorableResult` naming a type that has no such form."""
        cls = type(value)
        if cls in _PLAIN or (cls is int and -BIG < value < BIG) or (cls is float and math.isfinite(value)):
            return value
        scalar = _SCALARS.get(cls)
        if scalar is not None:
            return {"$": scalar[0], "v": scalar[1](value)}
        return self._enter(value)

    def _enter(self, value: Any) -> Json:
        self.depth += 1
        self.containers += 1
        if self.depth > MAX_DEPTH or self.containers > MAX_CONTAINERS:
            raise UnstorableResult("a value that contains itself, or is nested too deeply, has no JSON form")
        try:
            container = _CONTAINERS.get(type(value))
            return container(self, value) if container is not None else self._other(value)
        finally:
            self.depth -= 1

    def items(self, values: Iterable[Any]) -> list[Json]:
        """Several values, each as JSON data."""
        tag = self.tag
        return [tag(value) for value in values]

    def pairs(self, value: dict[Any, Any]) -> Json:
        """The items of a dict, in their order: as an object where that is unambiguous, else as a list of pairs."""
        if all(type(key) is str for key in dict.__iter__(value)) and not dict.__contains__(value, "$"):
            return {key: self.tag(item) for key, item in dict.items(value)}
        return {"$": "dict", "v": [[self.tag(key), self.tag(item)] for key, item in dict.items(value)]}

    def _ordered(self, value: OrderedDict[Any, Any]) -> Json:
        return {"$": "ordered", "v": [[self.tag(key), self.tag(item)] for key, item in OrderedDict.items(value)]}

    def _list(self, value: list[Any]) -> Json:
        return self.items(list.__iter__(value))

    def _deque(self, value: deque[Any]) -> Json:
        return {"$": "deque", "v": self.items(value), "n": value.maxlen}

    def _slice(self, value: slice) -> Json:
        return {"$": "slice", "v": self.items((value.start, value.stop, value.step))}

    def _datetime(self, value: datetime) -> Json:
        return self._moment("datetime", value)

    def _time(self, value: time) -> Json:
        return self._moment("time", value)

    def _moment(self, tag: str, value: Any) -> Json:
        out = {"$": tag, "v": value.replace(tzinfo=None, fold=0).isoformat()}
        if value.fold:
            out["f"] = value.fold
        if value.tzinfo is not None:
            out["z"] = self._zone(value.tzinfo)
        return out

    def _zone(self, zone: tzinfo) -> Json:
        if type(zone) is timezone:
            return self.items(zone.__getinitargs__())  # type: ignore[attr-defined]
        if type(zone) is ZoneInfo and zone.key:
            return zone.key
        raise _unsupported(zone)

    def _other(self, value: Any) -> Json:
        cls = type(value)
        base = solid_base(cls)
        if not is_importable(cls):
            raise _unsupported(value)
        self.typed = True
        if isinstance(value, Enum):
            name = value._name_
            known = name is not None and name in cls.__members__
            return self._named("enum", cls, name) if known else self._named("flag", cls, self.tag(value._value_))
        if is_model(value):
            return self._model(value)
        if base is object and hasattr(cls, "__dataclass_fields__"):
            return self._dataclass(value)
        if base in _BASES and not _has_slots(cls):
            return self._subclass(value, base)
        raise _unsupported(value)

    def _named(self, tag: str, cls: type, content: Json) -> dict[str, Json]:
        return {"$": tag, "t": qualified_name(cls), "v": content}

    def _dataclass(self, value: Any) -> Json:
        names = [each.name for each in dataclasses.fields(value)]
        own = getattr(value, "__dict__", {})
        if not own.keys() <= set(names):
            raise _unsupported(value)
        try:
            content = {name: self.tag(getattr(value, name)) for name in names}
        except AttributeError:
            raise _unsupported(value) from None
        return self._named("data", type(value), content)

    def _model(self, value: Any) -> Json:
        names = type(value).__pydantic_fields__
        content = {name: self.tag(item) for name, item in value.__dict__.items() if name in names}
        out = self._named("model", type(value), content)
        out["s"] = sorted(value.__pydantic_fields_set__)
        for key, rest in (("x", value.__pydantic_extra__), ("p", value.__pydantic_private__)):
            if rest is not None:
                out[key] = {name: self.tag(item) for name, item in rest.items()}
        return out

    def _subclass(self, value: Any, base: type) -> Json:
        out = self._named("sub", type(value), _CONTENT[base](self, value))
        out["b"] = base.__name__
        attributes = getattr(value, "__dict__", None)
        if attributes:
            out["a"] = self.pairs(attributes)
        return out


def _unsupported(value: Any) -> UnstorableResult:
    return UnstorableResult(f"a {qualified_name(type(value)).replace(':', '.')} has no JSON form")


def _has_slots(cls: type) -> bool:
    return any(each.__dict__.get("__slots__") for each in cls.__mro__ if each.__flags__ & 512)


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


_SCALARS: Mapping[type, tuple[str, Callable[[Any], Json]]] = {
    int: ("int", lambda value: f"{value:x}"),
    float: ("float", repr),
    complex: ("complex", lambda value: [repr(value.real), repr(value.imag)]),
    bytes: ("bytes", _base64),
    bytearray: ("bytearray", _base64),
    date: ("date", lambda value: value.isoformat()),
    timedelta: ("timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    UUID: ("uuid", lambda value: value.hex),
    Decimal: ("decimal", str),
    Fraction: ("fraction", lambda value: [f"{value.numerator:x}", f"{value.denominator:x}"]),
    range: ("range", lambda value: [f"{each:x}" for each in (value.start, value.stop, value.step)]),
    EllipsisType: ("ellipsis", lambda value: None),
    **{cls: ("path", lambda value: [type(value).__name__, str(value)]) for cls in _PATHS.values()},
}

_CONTAINERS: Mapping[type, Callable[[Tagger, Any], Json]] = {
    list: Tagger._list,
    dict: Tagger.pairs,
    tuple: lambda tagger, value: {"$": "tuple", "v": tagger.items(value)},
    set: lambda tagger, value: {"$": "set", "v": tagger.items(value)},
    frozenset: lambda tagger, value: {"$": "frozenset", "v": tagger.items(value)},
    OrderedDict: Tagger._ordered,
    deque: Tagger._deque,
    slice: Tagger._slice,
    datetime: Tagger._datetime,
    time: Tagger._time,
}

_CONTENT: Mapping[type, Callable[[Tagger, Any], Json]] = {
    str: lambda tagger, value: str.__str__(value),
    int: lambda tagger, value: tagger.tag(int.__int__(value)),
    float: lambda tagger, value: tagger.tag(float.__float__(value)),
    bytes: lambda tagger, value: _base64(bytes(memoryview(value))),
    list: lambda tagger, value: tagger.items(list.__iter__(value)),
    tuple: lambda tagger, value: tagger.items(tuple.__iter__(value)),
    set: lambda tagger, value: tagger.items(set.__iter__(value)),
    frozenset: lambda tagger, value: tagger.items(frozenset.__iter__(value)),
    dict: lambda tagger, value: [[tagger.tag(key), tagger.tag(item)] for key, item in dict.items(value)],
}

_BASES: Mapping[Any, str] = {base: base.__name__ for base in _CONTENT}


def untag(data: Json) -> Any:
    """The value that `Tagger.tag` turned into this. Raises `UndecodableResult` where a type is gone or has changed."""
    if type(data) is list:
        return [untag(item) for item in data]
    if type(data) is not dict:
        return data
    tag = data.get("$")
    if tag is None:
        return {key: untag(item) for key, item in data.items()}
    decode = _DECODERS.get(tag)
    if decode is None:
        raise UndecodableResult(f"a value is tagged {str(tag)[:80]!r}, which this version does not know")
    try:
        return decode(data)
    except UndecodableResult:
        raise
    except Exception as error:
        what = str(data.get("t", tag)).replace(":", ".")
        raise UndecodableResult(f"a stored {what} cannot be read: {type(error).__name__}: {error}") from error


def _type(data: Json, kind: type = object) -> Any:
    try:
        cls = resolve_name(data["t"])
    except LookupError as error:
        raise UndecodableResult(f"the type {data['t'].replace(':', '.')} is gone: {error}") from error
    if not isinstance(cls, type) or not issubclass(cls, kind):
        raise UndecodableResult(f"{data['t'].replace(':', '.')} is no longer the type it was")
    return cls


def _undata(data: Json) -> Any:
    cls = _type(data)
    stored = {name: untag(item) for name, item in data["v"].items()}
    fields = {each.name: each for each in dataclasses.fields(cls)}
    _fits(cls, stored.keys() - fields.keys())
    made = object.__new__(cls)
    for name, each in fields.items():
        if name in stored:
            value = stored[name]
        elif each.default_factory is not dataclasses.MISSING:
            value = each.default_factory()
        elif each.default is not dataclasses.MISSING:
            value = each.default
        else:
            raise UndecodableResult(f"{cls.__qualname__} has a new field {name!r} without a default")
        object.__setattr__(made, name, value)
    return made


def _fits(cls: type, unknown: set[str]) -> None:
    if unknown:
        raise UndecodableResult(f"{cls.__qualname__} no longer has {', '.join(sorted(unknown))}")


def _unmodel(data: Json) -> Any:
    cls = _type(data)
    stored = {name: untag(item) for name, item in data["v"].items()}
    _fits(cls, stored.keys() - cls.__pydantic_fields__.keys())
    for name, field in cls.__pydantic_fields__.items():
        if name not in stored:
            if field.is_required():
                raise UndecodableResult(f"{cls.__qualname__} has a new field {name!r} without a default")
            stored[name] = field.get_default(call_default_factory=True, validated_data=stored)
    made = cls.__new__(cls)
    rest = {key: {name: untag(item) for name, item in data[key].items()} for key in ("x", "p") if key in data}
    object.__setattr__(made, "__dict__", stored)
    object.__setattr__(made, "__pydantic_fields_set__", set(data["s"]))
    object.__setattr__(made, "__pydantic_extra__", rest.get("x"))
    object.__setattr__(made, "__pydantic_private__", rest.get("p"))
    return made


def _unsub(data: Json) -> Any:
    base = _DECODED[data["b"]]
    cls = _type(data, base)
    content = _BASE_VALUES[data["b"]](data["v"])
    if base in (list, set, dict):
        made = base.__new__(cls)
        fill: Any = {list: list.extend, set: set.update, dict: dict.update}[base]
        fill(made, content)
    else:
        made = base.__new__(cls, content)
    if "a" in data:
        made.__dict__.update(untag(data["a"]))
    return made


def _unpairs(content: Json) -> list[tuple[Any, Any]]:
    return [(untag(key), untag(item)) for key, item in content]


def _unmoment(data: Json, cls: Any) -> Any:
    made = cls.fromisoformat(data["v"]).replace(fold=data.get("f", 0))
    zone = data.get("z")
    if zone is None:
        return made
    return made.replace(tzinfo=ZoneInfo(zone) if isinstance(zone, str) else timezone(*untag(zone)))


def _unhex(numbers: Iterable[str]) -> list[int]:
    return [int(each, 16) for each in numbers]


_DECODED: Mapping[str, Any] = {base.__name__: base for base in _CONTENT}

_BASE_VALUES: Mapping[str, Callable[[Json], Any]] = {
    "str": str,
    "int": untag,
    "float": untag,
    "bytes": base64.b64decode,
    "list": untag,
    "tuple": untag,
    "set": untag,
    "frozenset": untag,
    "dict": _unpairs,
}

_DECODERS: Mapping[str, Callable[[Json], Any]] = {
    "int": lambda data: int(data["v"], 16),
    "float": lambda data: float(data["v"]),
    "complex": lambda data: complex(*map(float, data["v"])),
    "bytes": lambda data: base64.b64decode(data["v"]),
    "bytearray": lambda data: bytearray(base64.b64decode(data["v"])),
    "date": lambda data: date.fromisoformat(data["v"]),
    "datetime": lambda data: _unmoment(data, datetime),
    "time": lambda data: _unmoment(data, time),
    "timedelta": lambda data: timedelta(*data["v"]),
    "uuid": lambda data: UUID(hex=data["v"]),
    "decimal": lambda data: Decimal(data["v"]),
    "fraction": lambda data: Fraction(*_unhex(data["v"])),
    "range": lambda data: range(*_unhex(data["v"])),
    "slice": lambda data: slice(*untag(data["v"])),
    "ellipsis": lambda data: ...,
    "path": lambda data: _PATHS[data["v"][0]](data["v"][1]),
    "tuple": lambda data: tuple(untag(data["v"])),
    "set": lambda data: set(untag(data["v"])),
    "frozenset": lambda data: frozenset(untag(data["v"])),
    "dict": lambda data: dict(_unpairs(data["v"])),
    "ordered": lambda data: OrderedDict(_unpairs(data["v"])),
    "deque": lambda data: deque(untag(data["v"]), data["n"]),
    "enum": lambda data: _type(data, Enum)[data["v"]],
    "flag": lambda data: _type(data, Enum)(untag(data["v"])),
    "data": _undata,
    "model": _unmodel,
    "sub": _unsub,
}
