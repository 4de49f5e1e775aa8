"""What functions and types are called in every process: `module:qualname`, with `__main__` by its real name."""

from __future__ import annotations

import importlib
import sys
from pathlib import PurePath
from typing import Any

_MAIN = frozenset({"__main__", "__mp_main__"})


def main_name() -> str:
    """The name by which another process would import what runs here as `__main__`.

    That is the import name of `python -m name`, the stem of a script's file, or `__main__` where there is no file.
    """
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return PurePath(file).stem if file else "__main__"


def real_module(name: str) -> str:
    """A module's name, with `__main__` (and its name in spawned processes) replaced by the real one."""
    return main_name() if name in _MAIN else name


def module_name(obj: Any) -> str:
    """The module in which a function or type was made, under its real name."""
    name = getattr(obj, "__module__", None)
    return real_module(name) if isinstance(name, str) else "builtins"


def qualified_name(obj: Any) -> str:
    """`module:qualname` of a function or type, the same in every process."""
    name = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None) or type(obj).__qualname__
    return f"{module_name(obj)}:{name}"


def resolve_name(name: str) -> Any:
    """What `qualified_name` named; imports its module. Raises `LookupError` where it is not there any more."""
    module, _, path = name.partition(":")
    found: Any = _module(module)
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise LookupError(f"{module!r} has no {path!r}") from None
    return found


def is_importable(obj: Any) -> bool:
    """Whether another process that imports its module finds exactly this function or type; imports nothing."""
    found: Any = sys.modules.get(getattr(obj, "__module__", None) or "builtins")
    for part in str(getattr(obj, "__qualname__", "")).split("."):
        found = getattr(found, part, None)
    return found is obj


def _module(name: str) -> Any:
    if name in _MAIN or name == main_name():
        return sys.modules["__main__"]
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise LookupError(f"module {name!r} cannot be imported: {error}") from error
