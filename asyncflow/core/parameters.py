"""How the arguments of a call meet a function's parameters: bound once, quickly, with errors that name the function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ..exceptions import ParameterBindError, ReservedArgument

RESERVED = frozenset({"return_state", "wait_for"})
_PLAIN = inspect.Parameter.POSITIONAL_OR_KEYWORD


class Binder:
    """Binds calls of one function; functions without `*`, `/` or `**` take a path that costs about 1 us."""

    __slots__ = ("_defaults", "_names", "_plain", "function_name", "signature")

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.signature = inspect.signature(fn)
        self.function_name = getattr(fn, "__qualname__", type(fn).__name__)
        parameters = self.signature.parameters.values()
        taken = sorted(RESERVED.intersection(self.signature.parameters))
        if taken:
            raise ReservedArgument(
                f"{self.function_name}() has a parameter {taken[0]!r}, which asyncflow takes itself; rename it."
            )
        self._plain = all(p.kind is _PLAIN for p in parameters)
        self._names = tuple(self.signature.parameters)
        self._defaults = {p.name: p.default for p in parameters if p.default is not p.empty}

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments by parameter name, in the order of the signature, defaults applied.

        Raises `ParameterBindError` (a `TypeError`) naming the function.
        """
        names = self._names
        if self._plain and not kwargs and len(args) == len(names):
            return dict(zip(names, args, strict=True))
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ParameterBindError(f"{self.function_name}{self.signature}: {error}") from None
        bound.apply_defaults()
        return bound.arguments

    def positional_names(self, count: int) -> list[str]:
        """What the first so many positional arguments of a call are called; those of `*rest` as `rest[0]`, ..."""
        names: list[str] = []
        for parameter in self.signature.parameters.values():
            if parameter.kind is parameter.VAR_POSITIONAL:
                return names[:count] + [f"{parameter.name}[{number}]" for number in range(count - len(names))]
            names.append(parameter.name)
        return names[:count]

    def unbind(self, arguments: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional and keyword arguments to call the function with."""
        if self._plain:
            return tuple(arguments.values()), {}
        bound = inspect.BoundArguments(self.signature, arguments)
        return bound.args, bound.kwargs
