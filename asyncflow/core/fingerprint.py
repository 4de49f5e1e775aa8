"""Identity by content: the digest of a value, of a call, of a function's code."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from hashlib import sha256
from inspect import unwrap
from types import CodeType, MethodType
from typing import Any
from weakref import WeakKeyDictionary

from ..exceptions import UnkeyableInput
from .canonical import ATOMS, MAX_SIZE, Producer, Walk, code_text

_DIGITS = 32


def fingerprint(value: object, *, producer: Producer | None = None, secret_key: bytes = b"") -> str:
    """The identity of a value's content and types: 32 hex digits, the same in every process.

    An object without a content of its own is known by what `producer` says of it (the identity of the task run
    that returned it, or None). Secrets enter as HMAC under `secret_key`. Raises `UnkeyableInput` for anything
    else, for what contains itself, and above 1 MiB or 10,000 values.
    """
    try:
        return _digest(Walk(producer, secret_key).text(value))
    except UnkeyableInput:
        raise
    except Exception as error:
        raise UnkeyableInput(_reason(value, error)) from error


def fingerprint_call(
    task_key: str,
    scope: str,
    arguments: Mapping[str, Any],
    *,
    producer: Producer | None = None,
    secret_key: bytes = b"",
) -> str:
    """The identity of a call: which task, in which scope, on which arguments; their order does not matter.

    Raises `UnkeyableInput` naming the argument at fault; what `fingerprint` says of values holds here too.
    """
    parts = [f"{len(task_key)}:{task_key}{len(scope)}:{scope}"]
    walk = None
    for name in sorted(arguments) if len(arguments) > 1 else arguments:
        value = arguments[name]
        atom = ATOMS.get(type(value))
        if atom is not None:
            parts.append(f"{len(name)}:{name}{atom(value)}")
            continue
        if walk is None:
            walk = Walk(producer, secret_key)
        try:
            parts.append(f"{len(name)}:{name}{walk.text(value)}")
        except Exception as error:
            raise UnkeyableInput(f"argument {name!r}: {_reason(value, error)}") from error
    data = _to_bytes("".join(parts))
    if len(data) > MAX_SIZE:
        raise UnkeyableInput(f"the arguments are larger than {MAX_SIZE:,} bytes; use key= or ignore_inputs=")
    return sha256(data).hexdigest()[:_DIGITS]


def _digest(text: str) -> str:
    return sha256(_to_bytes(text)).hexdigest()[:_DIGITS]


def _to_bytes(text: str) -> bytes:
    try:
        return text.encode()  # faster than with an error handler, which almost no text needs
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _reason(value: object, error: Exception) -> str:
    """Why a value has no fingerprint; its own code (a property, a zone, a producer) may have raised anything."""
    if isinstance(error, UnkeyableInput):
        return str(error)
    try:
        return f"a {type(value).__qualname__} cannot be fingerprinted: {type(error).__name__}: {error}"[:400]
    except Exception:
        return f"a {type(value).__qualname__} cannot be fingerprinted: {type(error).__name__}"


_digests: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def source_digest(fn: Callable[..., Any]) -> str | None:
    """The identity of what a function's code does: comments, layout and place do not count.

    None for what has no code of its own, such as a builtin. Computed once per function.
    """
    code_of: Any = unwrap(fn)
    while isinstance(code_of, (functools.partial, MethodType)):
        code_of = unwrap(code_of.func if isinstance(code_of, functools.partial) else code_of.__func__)
    if not hasattr(code_of, "__code__"):
        code_of = getattr(type(code_of).__call__, "__func__", type(code_of).__call__)
    code = getattr(code_of, "__code__", None)
    if not isinstance(code, CodeType):
        return None
    digest = _digests.get(code_of)
    if digest is None:
        digest = _digests[code_of] = _digest(code_text(code))
    return digest
