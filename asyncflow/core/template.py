"""Names with parameters in them: `flow_run_name="load-{date}"`."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any, Final

from ..exceptions import InvalidOption
from .names import shortened

_FORMATTER: Final = string.Formatter()


def render(template: str, arguments: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> str:
    """The template with the call's arguments filled in, and `extra` (flow_name, ...) where no argument has that name.

    Fields are those of `str.format`: `{date:%Y-%m-%d}`, `{user.name}`, `{rows[0]}`. Raises `InvalidOption` that names
    the field at fault and the names there are, or says why the value could not be written so.
    """
    known = {**(extra or {}), **arguments}
    try:
        text = template.format_map(known)
    except KeyError as error:
        unknown = [name for name in _names(template) if name not in known]
        if not unknown:  # an item inside a value, such as {row[missing]}
            raise InvalidOption(f"The name {template!r} could not be made: no {error} in that value.") from error
        names = ", ".join(sorted(known)) or "none"
        raise InvalidOption(
            f"The name {template!r} asks for {{{unknown[0]}}}, which is no parameter; there are: {names}."
        ) from None
    except Exception as error:  # a value formats itself by code of its own
        raise InvalidOption(f"The name {template!r} could not be made: {type(error).__name__}: {error}") from error
    name = shortened(text)
    if not name:
        raise InvalidOption(f"The name {template!r} came out empty.")
    return name


def _names(template: str) -> list[str]:
    """The names that a template asks for, without what follows them (`user` of `{user.name}`)."""
    fields = [field for _, field, _, _ in _FORMATTER.parse(template) if field is not None]
    return [field.partition(".")[0].partition("[")[0] for field in fields]
