"""Which run made a value: the best guess of a dependency where a value was passed instead of its future."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from typing import Any

from .arguments import ATOMS

CONTAINERS = 1024
_TABLED = (list, dict, set, tuple)


class Lineage:
    """The producers of values inside one flow run: containers in a bounded table, other objects by weak reference."""

    __slots__ = ("_containers", "_objects")

    def __init__(self) -> None:
        self._containers: OrderedDict[int, tuple[Any, str, str | None]] = OrderedDict()
        self._objects: dict[int, tuple[weakref.ref[Any], str, str | None]] = {}

    def made(self, value: Any, run_id: str, key: str | None) -> None:
        """Remember that this run returned this very object; atoms are never remembered."""
        if type(value) in ATOMS:
            return
        if isinstance(value, _TABLED):
            if not value:
                return
            self._containers[id(value)] = (value, run_id, key)
            if len(self._containers) > CONTAINERS:
                self._containers.popitem(last=False)
            return
        number = id(value)
        try:
            reference = weakref.ref(value, lambda _: self._objects.pop(number, None))
        except TypeError:
            return
        self._objects[number] = (reference, run_id, key)

    def producer(self, value: Any) -> str | None:
        """The id of the run that returned this very object, if that is known."""
        entry = self._entry(value)
        return entry[1] if entry is not None else None

    def producer_key(self, value: Any) -> str | None:
        """The identity of the run that returned this very object, if that is known."""
        entry = self._entry(value)
        return entry[2] if entry is not None else None

    def _entry(self, value: Any) -> tuple[Any, str, str | None] | None:
        held = self._containers.get(id(value))
        if held is not None and held[0] is value:
            return held
        known = self._objects.get(id(value))
        if known is not None and known[0]() is value:
            return known
        return None
