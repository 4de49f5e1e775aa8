"""A flow's parameters as a pydantic model: coerced by their annotations, described as JSON schema."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

import pydantic

from ..exceptions import ParameterTypeError

_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class ParameterModel:
    """The parameters of one function, built once (about 200 us) and used for every call (about 1 us)."""

    def __init__(self, fn: Callable[..., Any], signature: inspect.Signature, skip_first: bool) -> None:
        self._function_name = getattr(fn, "__qualname__", str(fn))
        hints = _hints(fn)
        names = list(signature.parameters)[1 if skip_first else 0 :]
        self._names = [name for name in names if signature.parameters[name].kind not in _VARIABLE]
        fields = {
            f"p{number}": _field(signature.parameters[name], hints.get(name, Any))
            for number, name in enumerate(self._names)
        }
        config = pydantic.ConfigDict(arbitrary_types_allowed=True, validate_default=True, extra="ignore")
        try:
            self._model = pydantic.create_model("Parameters", __config__=config, **fields)  # type: ignore[call-overload]
        except (pydantic.errors.PydanticUserError, NameError, TypeError) as error:
            raise ParameterTypeError(
                f"The annotations of {self._function_name}() cannot be checked: {error}; "
                "correct them or pass validate_parameters=False."
            ) from None

    def validated(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments, coerced. Raises `ParameterTypeError` naming each parameter at fault."""
        given = {name: arguments[name] for name in self._names if name in arguments}
        try:
            model = self._model.model_validate(given)
        except pydantic.ValidationError as error:
            raise ParameterTypeError(self._explained(error)) from None
        coerced = dict(arguments)
        for number, name in enumerate(self._names):
            coerced[name] = getattr(model, f"p{number}")
        return coerced

    def schema(self) -> dict[str, Any]:
        """The JSON schema, by the parameters' own names."""
        schema: dict[str, Any] = self._model.model_json_schema(by_alias=True)
        return schema

    def _explained(self, error: pydantic.ValidationError) -> str:
        problems = [
            f"{'.'.join(map(str, one['loc']))}: {one['msg']} (got {_shown(one['input'])})" for one in error.errors()
        ]
        return f"The arguments of {self._function_name}() do not fit its annotations: {'; '.join(problems)}"


def warm_up() -> None:
    """Build a first model, for which pydantic looks for its plugins on the disk; done where that blocks nobody."""
    pydantic.create_model("Parameters", p0=(int, ...))


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        return f"a {type(value).__name__}"
    return text if len(text) <= 100 else text[:97] + "..."


def _hints(fn: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(fn, include_extras=True)
    except Exception:  # an annotation that names something local or absent: the others still count
        return {name: hint for name, hint in getattr(fn, "__annotations__", {}).items() if not isinstance(hint, str)}


def _field(parameter: inspect.Parameter, hint: Any) -> tuple[Any, Any]:
    default = ... if parameter.default is parameter.empty else parameter.default
    return (hint, pydantic.Field(default, alias=parameter.name, title=parameter.name))
