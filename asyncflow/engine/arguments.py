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
from ..handles import Future
from ..states import State

ATOMS = frozenset(
    {type(None), bool, int, float, complex, str, bytes, bytearray, memoryview, range, type, datetime, date, time}
    | {timedelta, Decimal, UUID}
)
MAX_DEPTH = 32
MAX_NODES = 10_000


def find(values: Iterable[Any]) -> tuple[Future[Any] | State[Any], ...]:
    """The futures and states anywhere in these values, in order; bounded in depth and size, nothing for atoms."""
    return search(values)[0]


def search(values: Iterable[Any]) -> tuple[tuple[Future[Any] | State[Any], ...], bool]:
    """What `find` gives, and whether an annotation such as `unmapped` stands among it."""
    found: list[Future[Any] | State[Any]] | None = None
    marked = False
    for value in values:
        if type(value) in ATOMS:
            continue
        if found is None:
            found = []
        walk = _Search(found)
        walk.look(value, 0)
        marked = marked or walk.marked
    return (tuple(dict.fromkeys(found)) if found else ()), marked


class _Search:
    """One bounded walk; what lies beyond the bounds is handed over as it is."""

    __slots__ = ("_found", "_left", "_seen", "marked")

    def __init__(self, found: list[Any]) -> None:
        self._found = found
        self._left = MAX_NODES
        self._seen: set[int] = set()
        self.marked = False

    def look(self, value: Any, depth: int) -> None:
        if isinstance(value, Future | State):
            self._found.append(value)
            return
        if isinstance(value, Annotation):
            self.marked = True
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


def substitute(value: Any, replace: Callable[[Any, bool], Any]) -> Any:
    """The value with `replace(future_or_state, failure_allowed)` in the place of each future and state.

    Containers are rebuilt only where something in them changed; annotations are taken off. A future that still runs
    lies beyond the bounds of the walk that waited for them, and stays.
    """
    if type(value) in ATOMS or not any(search((value,))):
        return value
    return _Substitution(replace).of(value, False, 0)


class _Substitution:
    """One walk that puts values in place; what is shared in the value stays shared, and circles end."""

    __slots__ = ("_done", "_replace")

    def __init__(self, replace: Callable[[Any, bool], Any]) -> None:
        self._replace = replace
        self._done: dict[tuple[int, bool], tuple[Any, Any]] = {}

    def of(self, value: Any, allowed: bool, depth: int) -> Any:
        if type(value) in ATOMS:
            return value
        if isinstance(value, Future | State):
            return value if isinstance(value, Future) and not value.done() else self._replace(value, allowed)
        if isinstance(value, Annotation):
            allowed = allowed or isinstance(value, allow_failure)
            return value.value if isinstance(value, quote) else self.of(value.value, allowed, depth + 1)
        parts = parts_of(value) if depth <= MAX_DEPTH else None
        if parts is None:
            return value
        seen = (id(value), allowed)
        if seen not in self._done:
            self._done[seen] = (value, value)  # what a circle leads back to stays as it is
            changed = {id(part): new for part in parts if (new := self.of(part, allowed, depth + 1)) is not part}
            if changed:
                self._done[seen] = (value, _rebuilt(value, lambda part: changed.get(id(part), part)))
        return self._done[seen][1]


def _rebuilt(value: Any, convert: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        items = {key: convert(part) for key, part in value.items()}
        return items if type(value) is dict else _like(value, items)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(convert, value))
    if isinstance(value, list | tuple | set | frozenset):
        return _like(value, [convert(part) for part in value])
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _with_attributes(value, {n: convert(getattr(value, n)) for n in _field_names(value)})
    model: Any = value
    return model.model_copy(update={name: convert(part) for name, part in model.__dict__.items()})


def _field_names(value: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(value) if hasattr(value, field.name)]


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
