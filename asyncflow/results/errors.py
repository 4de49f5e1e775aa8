"""Exceptions as they are kept, and exceptions of the same type made from that, without calling `__init__`."""

from __future__ import annotations

import json
import traceback
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, TypeAlias

from ..core.canonical import solid_base
from ..core.naming import qualified_name, resolve_name
from ..core.runs import StoredError
from ..exceptions import ReplayedError
from .tagged import Tagger, untag

REPLAYED = "replayed from a stored run"

Json: TypeAlias = Any

_TEXT = 64 * 1024
_VALUE = 16 * 1024
_CHAIN = 10
_CHILDREN = 1000
_DEPTH = 20


def store_error(error: BaseException) -> StoredError:
    """An exception as JSON: type, arguments, attributes, notes, causes, children, traceback text; never raises."""
    try:
        data = _stored(error, 0)
        data["traceback"] = _traceback(error)
        return StoredError(json.dumps(data, separators=(",", ":")))
    except Exception:  # an exception whose own code fails at every turn
        return StoredError(json.dumps({"type": _type_name(error), "message": _message(error), "args": []}))


def load_error(stored: StoredError) -> BaseException:
    """An exception of the stored type, marked by a note; a `ReplayedError` where that type cannot be made here."""
    try:
        data = json.loads(stored.data)
        error = _loaded(data)
    except Exception as problem:
        error = _stand_in(stored, problem)
    notes = _notes(error)
    if REPLAYED not in notes:
        _own(error)["__notes__"] = [*notes, REPLAYED]
    return error


def describe_error(stored: StoredError) -> dict[str, str]:
    """For people: the `type`, `message` and `traceback` of a stored exception, without importing its type."""
    data = json.loads(stored.data)
    return {name: str(data.get(name, "")) for name in ("type", "message", "traceback")}


def _stored(error: BaseException, depth: int) -> dict[str, Json]:
    data: dict[str, Json] = {
        "type": _type_name(error),
        "message": _message(error),
        "args": [_encoded(each) or ["text", _text(each)] for each in error.args],
        "attributes": _attributes(error),
    }
    notes = _notes(error)
    if notes:
        data["notes"] = [_clip(each) for each in notes[:100]]
    causes = _causes(error)
    if causes:
        data["causes"] = causes
    if isinstance(error, BaseExceptionGroup) and depth < _DEPTH:
        data["children"] = [_stored(each, depth + 1) for each in error.exceptions[:_CHILDREN]]
        data["args"] = [_encoded(error.message) or ["text", _text(error.message)]]
    return data


def _encoded(value: Any) -> Json | None:
    try:
        data = Tagger().tag(value)
        text = json.dumps(data)
        return ["value", data] if len(text) <= _VALUE else None
    except Exception:
        return None


def _attributes(error: BaseException) -> dict[str, Json]:
    """Whatever the instance, its slots and the fields of its builtin base hold that can be encoded."""
    found: dict[str, Any] = {}
    for cls in type(error).__mro__:
        if cls in (BaseException, BaseExceptionGroup, object):
            continue
        for name, each in vars(cls).items():
            if isinstance(each, (MemberDescriptorType, GetSetDescriptorType)) and not name.startswith("__"):
                value = _get(error, name)
                if value is not None:  # an explicit None would change how an OSError shows its files
                    found[name] = value
    found.update(_own(error))
    encoded = {name: _encoded(value) for name, value in found.items() if name != "__notes__" and value is not _ABSENT}
    return {name: each[1] for name, each in encoded.items() if each is not None}


def _own(error: BaseException) -> dict[str, Any]:
    """The instance's own attributes, past whatever its type does to attribute access."""
    own: dict[str, Any] = object.__getattribute__(error, "__dict__")
    return own


def _notes(error: BaseException) -> list[str]:
    notes = _own(error).get("__notes__")
    return [each for each in notes if isinstance(each, str)] if isinstance(notes, list) else []


_ABSENT = object()


def _get(error: BaseException, name: str) -> Any:
    try:
        return object.__getattribute__(error, name)
    except Exception:
        return _ABSENT


def _causes(error: BaseException) -> list[dict[str, str]]:
    chain: list[dict[str, str]] = []
    seen = {id(error)}
    each: BaseException | None = error
    while each is not None and len(chain) < _CHAIN:
        how = "cause" if each.__cause__ is not None else "context"
        if how == "context" and each.__suppress_context__:
            break
        each = each.__cause__ or each.__context__
        if each is None or id(each) in seen:
            break
        seen.add(id(each))
        chain.append({"how": how, "type": _type_name(each), "message": _message(each)})
    return chain


def _type_name(error: BaseException) -> str:
    return qualified_name(type(error))


def _message(error: BaseException) -> str:
    try:
        return _clip(str(error))
    except Exception:
        return "<its message cannot be shown>"


def _text(value: Any) -> str:
    try:
        return _clip(repr(value), _VALUE)
    except Exception:
        return f"<{type(value).__qualname__}>"


def _clip(text: str, size: int = _TEXT) -> str:
    return text if len(text) <= size else f"{text[: size // 2]}\n…\n{text[-size // 2 :]}"


def _traceback(error: BaseException) -> str:
    try:
        return _clip("".join(traceback.format_exception(error)))
    except Exception:
        return ""


def _loaded(data: dict[str, Json]) -> BaseException:
    cls = resolve_name(data["type"])
    if not isinstance(cls, type) or not issubclass(cls, BaseException):
        raise LookupError(f"{data['type']} is not an exception type any more")
    args = tuple(untag(each) if how == "value" else each for how, each in data["args"])
    if "children" in data:
        args = (str(args[0]), [_child(each) for each in data["children"]])
    error = _bare(cls, args)
    for name, value in data["attributes"].items():
        _set(error, name, value)
    if "notes" in data:
        _own(error)["__notes__"] = list(data["notes"])
    return error


def _child(data: dict[str, Json]) -> BaseException:
    try:
        return _loaded(data)
    except Exception as problem:
        return ReplayedError(f"{data.get('type')}: {data.get('message')} ({problem})")


def _bare(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """An instance whose builtin part is set up from its arguments; no code of the user's is called."""
    base: Any = solid_base(cls)
    if issubclass(base, BaseExceptionGroup):
        return base.__new__(cls, *args)  # type: ignore[no-any-return]
    try:
        error = base.__new__(cls, *args)
        base.__init__(error, *args)
    except Exception:  # arguments which that builtin does not take
        error = base.__new__(cls)
    error.args = args
    return error  # type: ignore[no-any-return]


def _set(error: BaseException, name: str, value: Json) -> None:
    try:
        object.__setattr__(error, name, untag(value))
    except Exception:  # read-only, or of a type that is gone: the rest still tells
        return


def _stand_in(stored: StoredError, problem: Exception) -> ReplayedError:
    try:
        told = describe_error(stored)
    except Exception:
        return ReplayedError(f"a stored error cannot be read: {problem}")
    name = told["type"].replace(":", ".")
    return ReplayedError(f"{name}: {told['message']} (its type cannot be used here: {problem})\n\n{told['traceback']}")
