"""What people see of a value: short JSON, with secrets masked, made without running the value's own code."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections import deque
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from itertools import islice
from pathlib import PurePath
from typing import Any
from uuid import UUID

from ..core.canonical import secret_content
from ..core.naming import qualified_name

LIMIT = 1024
MASK = "******"
CUT = "…"

_SECRET_NAMES = ("password", "passwd", "passphrase", "pwd", "secret", "token", "apikey", "authorization", "credential",
                 "privatekey", "accesskey", "cookie")  # fmt: skip
SUSPECTS = ("pass", "pwd", "secret", "token", "key", "author", "credential", "cookie", "://")
"""What a lower-case text holds if it holds anything to mask; the quick look before the careful one."""

_USERINFO = re.compile(r"(://[^/\s:@]*):[^/\s@]*@")
_SHAPES = ((100, 256, 30), (30, 80, 10), (10, 24, 5))  # values, characters of a text, items of a container
_LISTS: tuple[Any, ...] = (list, tuple, set, frozenset, deque)
_TEXTUAL = (date, time, timedelta, Decimal, Fraction, UUID, PurePath, complex, range)


def suspicious(text: str) -> bool:
    """Whether a text may hold something to mask."""
    lower = text.lower()
    for mark in SUSPECTS:  # noqa: SIM110  # once per result: any() costs twice as much
        if mark in lower:
            return True
    return False


def is_secret(name: str) -> bool:
    """Whether what goes by this name is masked."""
    bare = name.lower().replace("_", "").replace("-", "").replace(" ", "")
    return any(secret in bare for secret in _SECRET_NAMES)


def preview(value: Any, limit: int = LIMIT) -> str:
    """At most `limit` bytes of JSON that show a value to people; never raises."""
    for shape in _SHAPES:
        text = _dumps(_Shown(*shape).show(value))
        if len(text.encode()) <= limit:
            return text
    return _dumps(_kind(value)[: limit // 8])


def preview_parameters(arguments: Mapping[str, Any], limit: int = LIMIT) -> str:
    """The arguments of a call as `preview` shows them, by name."""
    return preview(dict(arguments), limit)


def _dumps(data: Any) -> str:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _kind(value: Any) -> str:
    try:
        return f"<{qualified_name(type(value)).replace(':', '.')}>"
    except Exception:
        return "<object>"


def _is_textual(value: Any) -> bool:
    """Whether `str` of a value is a builtin's own and short."""
    cls = type(value)
    return cls in _TEXTUAL or (isinstance(value, _TEXTUAL) and cls.__module__.startswith(("datetime", "pathlib")))


class _Shown:
    """A bounded walk over one value."""

    __slots__ = ("items", "left", "length")

    def __init__(self, left: int, length: int, items: int) -> None:
        self.left = left
        self.length = length
        self.items = items

    def show(self, value: Any, depth: int = 0) -> Any:
        """JSON data that stands for the value."""
        self.left -= 1
        try:
            return self._show(value, depth)
        except Exception:
            return _kind(value)

    def _show(self, value: Any, depth: int) -> Any:
        if value is None or type(value) is bool:
            return value
        if isinstance(value, Enum):
            return f"{type(value).__qualname__}.{value._name_}"
        if isinstance(value, (str, bytes, bytearray)) or _is_textual(value):
            return self._text(value)
        if isinstance(value, (int, float)):
            return self._number(value)
        if secret_content(value) is not None:
            return MASK
        return self._inside(value, depth) if depth < 6 and self.left > 0 else _kind(value)

    def _text(self, value: Any) -> str:
        if isinstance(value, (bytes, bytearray)):
            return f"<{len(memoryview(value))} bytes>"
        return self._cut(str.__str__(value) if isinstance(value, str) else str(value))

    def _number(self, value: int | float) -> Any:
        if isinstance(value, float):
            real = float.__float__(value)
            return real if math.isfinite(real) else str(real)
        number = int.__int__(value)
        return number if -(1 << 63) <= number < 1 << 63 else self._cut(hex(number))

    def _inside(self, value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            return self._dict(dict.items(value), dict.__len__(value), depth)
        for base in _LISTS:
            if isinstance(value, base):
                return self._list(base.__iter__(value), base.__len__(value), depth)
        if isinstance(value, BaseException):
            return f"<{type(value).__qualname__}>"
        names = _field_names(type(value))
        if names is None:
            return _kind(value)
        own = {name: MASK if hidden else _field(value, name) for name, hidden in names.items()}
        return self._dict(own.items(), len(own), depth)

    def _dict(self, items: Any, count: int, depth: int) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for key, item in islice(items, self.items):
            if self.left <= 0:
                break
            name = str.__str__(key) if isinstance(key, str) else str(self.show(key, depth + 1))
            shown[self._cut(name)] = MASK if is_secret(name) else self.show(item, depth + 1)
        if count > len(shown):
            shown[CUT] = f"{count - len(shown)} more"
        return shown

    def _list(self, items: Any, count: int, depth: int) -> list[Any]:
        shown = []
        for item in islice(items, self.items):
            if self.left <= 0:
                break
            shown.append(self.show(item, depth + 1))
        if count > len(shown):
            shown.append(f"{CUT} {count - len(shown)} more")
        return shown

    def _cut(self, text: str) -> str:
        short = text[: self.length + 256]
        if "://" in short:
            short = _USERINFO.sub(rf"\1:{MASK}@", short)
        if len(short) <= self.length and len(text) <= self.length + 256:
            return short
        return f"{short[: self.length]}{CUT} ({len(text)} characters)"


def _field_names(cls: Any) -> dict[str, bool] | None:
    """The fields of a dataclass, attrs class or model, each with whether its author keeps it out of the repr."""
    if hasattr(cls, "__dataclass_fields__"):
        return {each.name: each.repr is False for each in dataclasses.fields(cls)}
    fields = getattr(cls, "__pydantic_fields__", None)
    if isinstance(fields, dict):
        return {name: each.repr is False for name, each in fields.items()}
    fields = getattr(cls, "__attrs_attrs__", None)
    return None if fields is None else {each.name: each.repr is False for each in fields}


def _field(value: Any, name: str) -> Any:
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return CUT
