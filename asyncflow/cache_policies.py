"""What makes two calls of a task the same call across runs: INPUTS, TASK_SOURCE and the rest, and their algebra."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from .core.canonical import Producer
from .core.fingerprint import fingerprint_call
from .core.naming import qualified_name
from .exceptions import InvalidOption, UnkeyableInput

__all__ = [
    "DEFAULT",
    "FLOW_PARAMETERS",
    "INPUTS",
    "NONE",
    "NO_CACHE",
    "RUN_ID",
    "TASK_SOURCE",
    "CacheContext",
    "CacheKeyFnPolicy",
    "CachePolicy",
    "input_hash",
]


@dataclass(frozen=True, slots=True)
class CacheContext:
    """One call of a task, as a policy sees it.

    `source_digest` is called only where the code counts. `flow_parameters` is None outside a flow; `flow_run_id`
    is that of the outermost run; `closure` is what the task's function closes over, by name.
    """

    task_key: str
    source_digest: Callable[[], str | None]
    arguments: Mapping[str, Any]
    flow_parameters: Mapping[str, Any] | None = None
    flow_run_id: str | None = None
    producer: Producer | None = field(default=None, repr=False)
    secret_key: bytes = field(default=b"", repr=False)
    closure: Mapping[str, Any] = field(default_factory=dict)


class CachePolicy:
    """How a cache key is made of a call. `A + B` counts both; `INPUTS - "name"` leaves an argument out."""

    __slots__ = ()

    def key(self, context: CacheContext) -> str | None:
        """The cache key of a call; None: do not cache it. Raises `UnkeyableInput` naming an argument without one."""
        parts = [part for part in (each.part(context) for each in self.policies()) if part is not None]
        if not parts:
            return None
        if len(parts) == 1:
            return parts[0]
        return sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def part(self, context: CacheContext) -> str | None:
        """What this policy alone adds to the key."""
        raise NotImplementedError

    def policies(self) -> tuple[CachePolicy, ...]:
        """The simple policies of which this one is made, in an order of their own."""
        return (self,)

    def __add__(self, other: object) -> CachePolicy:
        if not isinstance(other, CachePolicy):
            raise InvalidOption(f"a cache policy can be added to cache policies only, not to {_shown(other)}")
        parts = dict.fromkeys((*self.policies(), *other.policies()))
        merged = _merge(tuple(sorted(parts, key=repr)))
        return merged[0] if len(merged) == 1 else _Compound(merged) if merged else NO_CACHE

    def __sub__(self, name: object) -> CachePolicy:
        if not isinstance(name, str) or not name:
            raise InvalidOption(f"only an argument's name can be taken out of a cache policy, not {_shown(name)}")
        raise InvalidOption(f"{self!r} - {name!r} has no effect: only INPUTS and what contains it look at arguments")


@dataclass(frozen=True, slots=True, repr=False)
class _Compound(CachePolicy):
    parts: tuple[CachePolicy, ...]

    def policies(self) -> tuple[CachePolicy, ...]:
        return self.parts

    def __sub__(self, name: object) -> CachePolicy:
        if not any(isinstance(each, _Inputs) for each in self.parts):
            return CachePolicy.__sub__(self, name)
        parts = (each - name if isinstance(each, _Inputs) else each for each in self.parts)
        return _Compound(tuple(parts))

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.parts))


@dataclass(frozen=True, slots=True, repr=False)
class _Inputs(CachePolicy):
    without: frozenset[str] = frozenset()

    def part(self, context: CacheContext) -> str | None:
        inputs = {**context.arguments, **{f"closure:{name}": value for name, value in context.closure.items()}}
        counted = {name: value for name, value in inputs.items() if name.removeprefix("closure:") not in self.without}
        try:
            return _digest(context, "inputs", counted)
        except UnkeyableInput as error:
            raise UnkeyableInput(f"no cache key: {error}; or leave it out with INPUTS - 'name'") from error

    def __sub__(self, name: object) -> CachePolicy:
        if not isinstance(name, str) or not name:
            return CachePolicy.__sub__(self, name)
        return _Inputs(self.without | {name})

    def __repr__(self) -> str:
        return "INPUTS" + "".join(f" - {name!r}" for name in sorted(self.without))


class _TaskSource(CachePolicy):
    __slots__ = ()

    def part(self, context: CacheContext) -> str | None:
        digest = context.source_digest()
        return None if digest is None else _digest(context, "source", {"digest": digest})

    def __repr__(self) -> str:
        return "TASK_SOURCE"


class _FlowParameters(CachePolicy):
    __slots__ = ()

    def part(self, context: CacheContext) -> str | None:
        parameters = context.flow_parameters
        return None if parameters is None else _digest(context, "parameters", parameters)

    def __repr__(self) -> str:
        return "FLOW_PARAMETERS"


class _RunId(CachePolicy):
    __slots__ = ()

    def part(self, context: CacheContext) -> str | None:
        run_id = context.flow_run_id
        return None if run_id is None else _digest(context, "run", {"id": run_id})

    def __repr__(self) -> str:
        return "RUN_ID"


class _NoCache(CachePolicy):
    __slots__ = ()

    def part(self, context: CacheContext) -> str | None:
        return None

    def policies(self) -> tuple[CachePolicy, ...]:
        return ()

    def __repr__(self) -> str:
        return "NO_CACHE"


@dataclass(frozen=True, slots=True, repr=False)
class CacheKeyFnPolicy(CachePolicy):
    """A key made by a function of the call: `fn(context, arguments)` returns it, or None for "do not cache"."""

    fn: Callable[[CacheContext, dict[str, Any]], str | None]

    def __post_init__(self) -> None:
        if not callable(self.fn):
            raise InvalidOption(f"cache_key_fn must be callable as fn(context, parameters), not {_shown(self.fn)}")

    def part(self, context: CacheContext) -> str | None:
        key = self.fn(context, dict(context.arguments))
        if key is not None and not isinstance(key, str):
            raise InvalidOption(f"cache_key_fn must return a str or None, not {_shown(key)}")
        return key

    def __repr__(self) -> str:
        return f"CacheKeyFnPolicy({qualified_name(self.fn)})"


def _merge(parts: tuple[CachePolicy, ...]) -> tuple[CachePolicy, ...]:
    """The parts with all INPUTS made one: an argument that any of them counts is counted."""
    inputs = [each.without for each in parts if isinstance(each, _Inputs)]
    if len(inputs) < 2:
        return parts
    return (_Inputs(frozenset.intersection(*inputs)), *(each for each in parts if not isinstance(each, _Inputs)))


def _digest(context: CacheContext, kind: str, content: Mapping[str, Any]) -> str:
    return fingerprint_call(
        context.task_key, kind, content, producer=context.producer, secret_key=context.secret_key
    )  # fmt: skip


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, (str, int, float, type(None))) else f"a {type(value).__qualname__}"


def input_hash(task_key: str, source_digest: str | None, arguments: Mapping[str, Any]) -> str | None:
    """The identity of a task's code and arguments together; None where an argument has none."""
    try:
        return fingerprint_call(task_key, f"hash:{source_digest}", arguments)
    except UnkeyableInput:
        return None


INPUTS: CachePolicy = _Inputs()
"""The arguments of the call."""

TASK_SOURCE: CachePolicy = _TaskSource()
"""The code of the task's function."""

FLOW_PARAMETERS: CachePolicy = _FlowParameters()
"""The parameters of the flow run that makes the call."""

RUN_ID: CachePolicy = _RunId()
"""The flow run that makes the call: nothing is shared between runs."""

NO_CACHE: CachePolicy = _NoCache()
"""No caching, which is what tasks do unless they are told otherwise."""

NONE = NO_CACHE

DEFAULT = INPUTS + TASK_SOURCE + RUN_ID
"""What Prefect does by default: a call is found again within its own run, while its code stays."""
