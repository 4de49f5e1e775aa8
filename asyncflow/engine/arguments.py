"""Futures and states among the arguments of a call: finding them, waiting for them, putting values in their place."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from ..core.annotations import Annotation, allow_failure, quote
from ..futures import Future
from ..states import State

ATOMS = frozenset(
    {type(None), bool, int, float, complex, str, bytes, bytearray, memoryview, range, type, datetime, date, time}
    | {timedelta, Decimal, UUID}
)
MAX_DEPTH = 32
MAX_NODES = 10_000


def find(values: Iterable[Any]) -> tuple[Future[Any] | State[Any], ...]:
    """The futures and states anywhere in these values, in order; bounded in depth and size, nothing for atoms."""
    found: list[Future[Any] | State[Any]] | None = None
    for value in values:
        if type(value) in ATOMS:
            continue
        if found is None:
            found = []
        _Search(found).look(value, 0)
    return tuple(dict.fromkeys(found)) if found else ()


class _Search:
    """One bounded walk; what lies beyond the bounds is handed over as it is."""

    __slots__ = ("_found", "_left", "_seen")

    def __init__(self, found: list[Any]) -> None:
        self._found = found
        self._left = MAX_NODES
        self._seen: set[int] = set()

    def look(self, value: Any, depth: int) -> None:
        if isinstance(value, Future | State):
            self._found.append(value)
            return
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH or isinstance(value, quote):
            return
        parts = parts_of(value)
        if parts is None or id(value) in self._seen:
            return
        self._seen.add(id(value))
        for part in parts:
            if type(part) not in ATOMS:
                self.look(part, depth + 1)
            elif self._left < 0:
                return
            else:
                self._left -= 1


def parts_of(value: Any) -> Iterable[Any] | None:
    """What a container holds; None for everything that is not walked (arrays, frames, plain objects)."""
    if isinstance(value, list | tuple | set | frozenset):
        return value
    if isinstance(value, Mapping):
        return value.values() if isinstance(value, dict) else None
    if isinstance(value, Annotation):
        return (value.value,)
    if isinstance(value, Enum | PurePath | type):
        return None
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    return _model_parts(value)


def _model_parts(value: Any) -> Iterable[Any] | None:
    if hasattr(type(value), "__pydantic_validator__") and hasattr(value, "model_copy"):
        return list(value.__dict__.values())
    return None


def substitute(value: Any, replace: Callable[[Any, bool], Any], allowed: bool = False) -> Any:
    """The value with `replace(future_or_state, failure_allowed)` in the place of each future and state.

    Containers are rebuilt only where something in them changed; annotations are taken off.
    """
    if isinstance(value, Future | State):
        return replace(value, allowed)
    if isinstance(value, quote):
        return value.value
    if isinstance(value, Annotation):
        return substitute(value.value, replace, allowed or isinstance(value, allow_failure))
    if type(value) in ATOMS or not find((value,)) and not _annotated(value):
        return value
    return _rebuilt(value, lambda part: substitute(part, replace, allowed))


def _annotated(value: Any) -> bool:
    parts = parts_of(value) if isinstance(value, list | tuple | dict) else None
    return parts is not None and any(isinstance(part, Annotation) for part in parts)


def _rebuilt(value: Any, convert: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        items = {key: convert(part) for key, part in value.items()}
        return items if type(value) is dict else _like(value, items)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(convert, value))
    if isinstance(value, list | tuple | set | frozenset):
        return _like(value, [convert(part) for part in value])
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _with_attributes(value, {f.name: convert(getattr(value, f.name)) for f in dataclasses.fields(value)})
    return value.model_copy(update={name: convert(part) for name, part in value.__dict__.items()})


def _like(value: Any, items: Any) -> Any:
    try:
        return type(value)(items)
    except TypeError:
        return items


def _with_attributes(value: Any, attributes: dict[str, Any]) -> Any:
    copy = object.__new__(type(value))
    for name, part in getattr(value, "__dict__", {}).items():
        object.__setattr__(copy, name, part)
    for name, part in attributes.items():
        object.__setattr__(copy, name, part)
    return copy
