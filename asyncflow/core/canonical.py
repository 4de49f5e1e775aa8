"""The canonical text of a value: type-tagged, self-delimiting, the same in every process."""

from __future__ import annotations

import dataclasses
import hmac
import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import partial
from pathlib import PurePath
from re import Pattern
from types import (
    BuiltinFunctionType,
    CodeType,
    CoroutineType,
    EllipsisType,
    FunctionType,
    MappingProxyType,
    MethodType,
    ModuleType,
    NotImplementedType,
    SimpleNamespace,
)
from typing import Any, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from ..exceptions import UnkeyableInput
from .naming import qualified_name

MAX_SIZE = 1 << 20
MAX_NODES = 10_000
MAX_DEPTH = 200

Producer: TypeAlias = Callable[[Any], "str | None"]


def _too_big(size: int) -> UnkeyableInput:
    return UnkeyableInput(f"its content is larger than {size:,} bytes; use key=, ignore_inputs=, or pass a reference")


def _text(value: str) -> str:
    return f"s{len(value)}:{value}"


def _bytes(value: bytes) -> str:
    return f"b{len(value)}:{value.decode('latin-1')}"


def _bytearray(value: bytearray) -> str:
    return f"B{len(value)}:{value.decode('latin-1')}"


ATOMS: Mapping[type, Callable[[Any], str]] = {
    type(None): lambda value: "N",
    bool: lambda value: "T" if value else "F",
    int: lambda value: f"i{value:x};",
    float: lambda value: f"f{value!r};",
    str: _text,
}
"""Values that cost nothing but their own text, by exact type; strings above MAX_SIZE are caught by whoever joins."""

_SCALARS: Mapping[type, Callable[[Any], str]] = {
    bytes: _bytes,
    bytearray: _bytearray,
    complex: lambda value: f"c{value.real!r},{value.imag!r};",
    date: lambda value: f"D{value.isoformat()};",
    timedelta: lambda value: f"d{value.days},{value.seconds},{value.microseconds};",
    UUID: lambda value: f"u{value.int:x};",
    Decimal: lambda value: f"m{value};",
    Fraction: lambda value: f"q{value.numerator:x}/{value.denominator:x};",
    range: lambda value: f"r{value.start:x},{value.stop:x},{value.step:x};",
    EllipsisType: lambda value: "E",
    NotImplementedType: lambda value: "I",
}

_BASES: tuple[type, ...] = (str, int, float, complex, bytes, bytearray, list, tuple, dict, set, frozenset)


class Walk:
    """One walk over one value (or the arguments of one call), which counts what it sees."""

    __slots__ = ("depth", "functions", "max_nodes", "max_size", "nodes", "producer", "secret_key", "size")

    def __init__(
        self,
        producer: Producer | None = None,
        secret_key: bytes = b"",
        max_size: int = MAX_SIZE,
        max_nodes: int = MAX_NODES,
    ) -> None:
        self.producer = producer
        self.secret_key = secret_key
        self.max_size = max_size
        self.max_nodes = max_nodes
        self.size = self.nodes = self.depth = 0
        self.functions: list[Any] = []

    def text(self, value: Any) -> str:
        """The canonical text of a value. Raises `UnkeyableInput` where it has none or is beyond the bounds."""
        encode = _EXACT.get(type(value))  # the short way for a plain container, which most arguments are
        return self._text(value) if encode is None or self.depth else encode(self, value)

    def count(self, nodes: int) -> None:
        """Note that so many values are about to be seen."""
        self.nodes += nodes
        if self.nodes > self.max_nodes:
            raise UnkeyableInput(
                f"it holds more than {self.max_nodes:,} values; use key=, ignore_inputs=, or pass a reference"
            )

    def _text(self, value: Any) -> str:
        atom = ATOMS.get(type(value)) or _SCALARS.get(type(value))
        if atom is None:
            return self._compound(value)
        if type(value) in _SIZED:
            self._grow(len(value))
        text = atom(value)
        self._grow(len(text))
        return text

    def _grow(self, size: int) -> None:
        self.size += size
        if self.size > self.max_size:
            raise _too_big(self.max_size)

    def _compound(self, value: Any) -> str:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnkeyableInput(f"it contains itself, or is nested more than {MAX_DEPTH} levels deep")
        try:
            encode = _EXACT.get(type(value))
            return encode(self, value) if encode is not None else self._other(value)
        except RecursionError:
            raise UnkeyableInput("it is nested too deeply for the stack that is left") from None
        finally:
            self.depth -= 1

    def _sequence(self, values: Iterable[Any], count: int) -> str:
        self.count(count)
        out = []
        size = 0
        room = self.max_size - self.size
        atoms = ATOMS
        for value in values:
            atom = atoms.get(type(value))
            if atom is None:
                out.append(self._text(value))
                continue
            text = atom(value)
            out.append(text)
            size += len(text)
            if size > room:
                raise _too_big(self.max_size)
        self._grow(size)
        return f"{len(out)}[{''.join(out)}"

    def _list(self, value: list[Any]) -> str:
        return f"l{self._sequence(list.__iter__(value), list.__len__(value))}"

    def _tuple(self, value: tuple[Any, ...]) -> str:
        return f"t{self._sequence(tuple.__iter__(value), tuple.__len__(value))}"

    def _deque(self, value: deque[Any]) -> str:
        return f"k{value.maxlen}{self._sequence(deque.__iter__(value), deque.__len__(value))}"

    def _unordered(self, values: Iterable[Any], count: int) -> str:
        self.count(count)
        return f"{count}[{''.join(sorted(self._text(value) for value in values))}"

    def _set(self, value: set[Any]) -> str:
        return f"e{self._unordered(set.__iter__(value), set.__len__(value))}"

    def _frozenset(self, value: frozenset[Any]) -> str:
        return f"z{self._unordered(frozenset.__iter__(value), frozenset.__len__(value))}"

    def _dict(self, value: dict[Any, Any]) -> str:
        self.count(dict.__len__(value))
        for key in dict.__iter__(value):
            if type(key) is not str:
                pairs = sorted(self._text(key) + self._text(item) for key, item in dict.items(value))
                return f"o{len(pairs)}[{''.join(pairs)}"
        out = []
        size = 0
        for key in sorted(dict.keys(value)):
            item = dict.__getitem__(value, key)
            atom = ATOMS.get(type(item))
            if atom is None:
                out.append(f"{len(key)}:{key}{self._text(item)}")
                size += len(key)
            else:
                text = f"{len(key)}:{key}{atom(item)}"
                out.append(text)
                size += len(text)
            if size > self.max_size:
                raise _too_big(self.max_size)
        self._grow(size)
        return f"o{len(out)}[{''.join(out)}"

    def _ordered(self, value: OrderedDict[Any, Any]) -> str:
        return f"O{self._sequence(OrderedDict.items(value), len(value))}"

    def _defaulting(self, value: defaultdict[Any, Any]) -> str:
        return f"h{self._text(value.default_factory)}{self._dict(value)}"

    def _proxy(self, value: MappingProxyType[Any, Any]) -> str:
        return f"p{self._dict(dict(value))}"

    def _datetime(self, value: datetime) -> str:
        return f"w{value.replace(tzinfo=None).isoformat()}{value.fold}{self._zone(value.tzinfo)}"

    def _time(self, value: time) -> str:
        return f"W{value.replace(tzinfo=None).isoformat()}{value.fold}{self._zone(value.tzinfo)}"

    def _zone(self, zone: tzinfo | None) -> str:
        if zone is None:
            return "N"
        if type(zone) is timezone:
            return f"g{_SCALARS[timedelta](zone.utcoffset(None))}{_text(zone.tzname(None))}"
        name = zone.key if isinstance(zone, ZoneInfo) else getattr(zone, "zone", None)
        if isinstance(name, str):
            return self._typed("G", zone, _text(name))
        offset = zone.utcoffset(None)
        if offset is None:
            raise _no_content(zone)
        return self._typed("g", zone, _SCALARS[timedelta](offset))

    def _slice(self, value: slice) -> str:
        return f"S{self._sequence((value.start, value.stop, value.step), 3)}"

    def _path(self, value: PurePath) -> str:
        return self._named("P", type(value).__name__, _text(str(value)))

    def _pattern(self, value: Pattern[Any]) -> str:
        return f"x{value.flags:x};{self._text(value.pattern)}"

    def _module(self, value: ModuleType) -> str:
        return self._named("M", value.__name__, "")

    def _partial(self, value: partial[Any]) -> str:
        return f"L{self._sequence((value.func, value.args, value.keywords), 3)}"

    def _namespace(self, value: SimpleNamespace) -> str:
        return f"n{self._dict(vars(value))}"

    def _function(self, value: FunctionType) -> str:
        if value in self.functions:  # a function that calls itself through its own closure
            return f"@{self.functions.index(value)};"
        self.functions.append(value)
        code = code_text(value.__code__) if "<lambda>" in value.__qualname__ else ""
        inputs = (value.__defaults__, value.__kwdefaults__, *closure_values(value).values())
        return self._typed("y", value, f"{_text(code)}{self._sequence(inputs, len(inputs))}", value)

    def _method(self, value: MethodType) -> str:
        return f"Y{self._sequence((value.__self__, value.__func__), 2)}"

    def _builtin(self, value: BuiltinFunctionType) -> str:
        owner = value.__self__
        bound = "" if owner is None or isinstance(owner, ModuleType) else self._text(owner)
        return self._typed("j", value, bound, value)

    def _class(self, value: type) -> str:
        return self._typed("C", value, "", value)

    def _enum(self, value: Enum) -> str:
        name = value._name_
        return self._typed("v", value, self._text(value._value_ if name is None else name))

    def _other(self, value: Any) -> str:
        cls = type(value)
        key = getattr(value, "__asyncflow_key__", None) if hasattr(cls, "__asyncflow_key__") else None
        if isinstance(key, str):
            return self._named("future", key, "")
        for base, encode in _INHERITED:
            if isinstance(value, base):
                return encode(self, value)
        base = solid_base(cls)
        if base in _BASES:
            return self._subclass(value, base)
        fields = field_values(value)
        if fields is not None:
            return self._typed("A", value, self._dict(fields))
        if cls.__module__ == "ipaddress":
            return self._typed("a", value, _text(str(value)))
        return self._rest(value)

    def _rest(self, value: Any) -> str:
        secret = secret_content(value)
        if secret is not None:
            content = Walk(self.producer, self.secret_key).text(secret).encode("utf-8", "surrogatepass")
            return self._typed("secret", value, hmac.digest(self.secret_key, content, "sha256").hex())
        producer = self.producer(value) if self.producer is not None else None
        if producer is None:
            raise _no_content(value)
        return self._named("producer", producer, "")

    def _subclass(self, value: Any, base: type) -> str:
        own = getattr(value, "__dict__", None)
        content = _CONTENT[base](self, value) if base in _CONTENT else self._text(base(_plain(value, base)))
        attributes = (
            self._dict({**(field_values(value) or {}), **own}) if own else self._dict(field_values(value) or {})
        )
        return self._typed("b", value, content + attributes)

    def _moment(self, value: Any) -> str:
        zone = getattr(value, "tzinfo", None)
        return self._typed("w", value, f"{_text(value.isoformat())}{getattr(value, 'fold', 0)}{self._zone(zone)}")

    def _error(self, value: BaseException) -> str:
        return self._typed("X", value, f"{self._tuple(value.args)}{self._dict(vars(value))}")

    def _typed(self, tag: str, value: Any, content: str, named: Any = None) -> str:
        return self._named(tag, qualified_name(type(value) if named is None else named), content)

    def _named(self, tag: str, name: str, content: str) -> str:
        return f"<{tag}>{len(name)}:{name}{content}"


def _no_content(value: Any) -> UnkeyableInput:
    if isinstance(value, CoroutineType):
        return UnkeyableInput(
            f"a coroutine of {value.__qualname__}() has no content; probably an `await` was forgotten"
        )
    name = qualified_name(type(value)).replace(":", ".")
    return UnkeyableInput(f"a {name} has no content to fingerprint; use key=, ignore_inputs=, or pass plain data")


def _plain(value: Any, base: type) -> Any:
    """The builtin value inside an instance of a subclass, past whatever that subclass overrides."""
    if base is str:
        return str.__str__(value)
    if base is int:
        return int.__int__(value)
    if base is float:
        return float.__float__(value)
    if base is complex:
        return complex.__complex__(value)
    return base(memoryview(value))


def solid_base(cls: type) -> type:
    """The builtin (not written in Python) type whose memory layout a class has."""
    found: Any = cls
    while found.__flags__ & 512:  # Py_TPFLAGS_HEAPTYPE
        found = found.__base__
    return found  # type: ignore[no-any-return]


def closure_values(fn: FunctionType) -> dict[str, Any]:
    """What a function's closure holds, by name; names that are not yet bound are left out."""
    values = {}
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        try:
            values[name] = cell.cell_contents
        except ValueError:
            continue
    return values


def code_text(code: CodeType) -> str:
    """What a code object does, without where it stands: instructions, constants and names."""
    constants = [code_text(each) if isinstance(each, CodeType) else _constant(each) for each in code.co_consts]
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_argcount, code.co_kwonlyargcount, code.co_flags)
    return f"{code.co_code.hex()}{names!r}{constants!r}"


def _constant(value: Any) -> str:
    if isinstance(value, frozenset):
        return f"z{sorted(map(_constant, value))}"
    return f"t{[*map(_constant, value)]}" if isinstance(value, tuple) else f"{type(value).__name__}{value!r}"


def field_values(value: Any) -> dict[str, Any] | None:
    """The fields of a dataclass, attrs or pydantic instance by name; None for anything else."""
    cls = type(value)
    declared = getattr(cls, "__dataclass_fields__", None)
    if isinstance(declared, dict):
        return _read(value, (each.name for each in dataclasses.fields(value)))
    declared = getattr(cls, "__attrs_attrs__", None)
    if declared is not None:
        return _read(value, (each.name for each in declared))
    if is_model(value):
        return _model_fields(value)
    return None


def is_model(value: Any) -> bool:
    """Whether a value is an instance of a pydantic model; does not import pydantic."""
    pydantic = sys.modules.get("pydantic.main")
    return pydantic is not None and isinstance(value, pydantic.BaseModel)


def secret_content(value: Any) -> Any:
    """What a pydantic secret holds; None for anything else. Does not import pydantic."""
    types = sys.modules.get("pydantic.types")
    if types is None or not isinstance(value, (types.SecretStr, types.SecretBytes, types.Secret)):
        return None
    return value.get_secret_value()


def _read(value: Any, names: Iterable[str]) -> dict[str, Any]:
    try:
        return {name: getattr(value, name) for name in names}
    except AttributeError as error:
        raise UnkeyableInput(f"a {type(value).__qualname__} has a field without a value: {error}") from None


def _model_fields(value: Any) -> dict[str, Any]:
    names = type(value).__pydantic_fields__
    fields = {name: item for name, item in value.__dict__.items() if name in names}
    extra, private = value.__pydantic_extra__, value.__pydantic_private__
    if extra:
        fields["+extra"] = dict(extra)
    if private:
        fields["+private"] = dict(private)
    return fields


_SIZED = frozenset({str, bytes, bytearray})

_CONTENT: Mapping[type, Callable[[Walk, Any], str]] = {
    list: Walk._list,
    tuple: Walk._tuple,
    dict: Walk._dict,
    set: Walk._set,
    frozenset: Walk._frozenset,
}

_EXACT: Mapping[type, Callable[[Walk, Any], str]] = {
    **_CONTENT,
    deque: Walk._deque,
    OrderedDict: Walk._ordered,
    defaultdict: Walk._defaulting,
    MappingProxyType: Walk._proxy,
    datetime: Walk._datetime,
    time: Walk._time,
    slice: Walk._slice,
    FunctionType: Walk._function,
    MethodType: Walk._method,
    BuiltinFunctionType: Walk._builtin,
    type: Walk._class,
    partial: Walk._partial,
    SimpleNamespace: Walk._namespace,
}

_INHERITED: tuple[tuple[type, Callable[[Walk, Any], str]], ...] = (
    (Enum, Walk._enum),
    (type, Walk._class),
    (PurePath, Walk._path),
    (Pattern, Walk._pattern),
    (ModuleType, Walk._module),
    (datetime, Walk._moment),
    (date, Walk._moment),
    (time, Walk._moment),
    (tzinfo, Walk._zone),
    (BaseException, Walk._error),
)
