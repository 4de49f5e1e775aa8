"""A call of a flow or task: its arguments bound and its identity reserved, before anything runs."""

from __future__ import annotations

import asyncio
import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from ..context import Frame, current_tags, scope_of
from ..core.annotations import unwrapped
from ..core.fingerprint import fingerprint_call
from ..core.runs import Run
from ..exceptions import DependencyCycle, InvalidOption, UnkeyableInput
from ..handles import Future
from ..specs import FlowSpec, RunSpec, TaskSpec
from ..states import State
from .arguments import ATOMS, find, search, substitute
from .crossing import LentThread

S = TypeVar("S", bound=RunSpec)


class Call(Generic[S]):
    """What was called, with what, from where. `parent` is the body that called, None outside any run.

    `digest` and `key` are the identity inside the flow run (None: none); `unkeyed` says why there is none.
    `lent` is the blocked caller's thread, `blocked` the loops that stand still until this call returns. `plain` says
    that all arguments are atoms; `on_decided` is told when the body has ended and the outcome is only to be stored.
    `interrupted` is the cancellation that has to go on once this call has ended.
    """

    __slots__ = (
        "arguments", "blocked", "digest", "flight", "future", "interrupted", "key", "lent", "marked", "on_decided",
        "parent", "plain", "replayed", "run", "spec", "started", "tags", "unkeyed", "upstream", "wait_for",
    )  # fmt: skip

    def __init__(self, spec: S, arguments: dict[str, Any], parent: Frame | None) -> None:
        self.spec = spec
        self.arguments = arguments
        self.parent = parent
        self.tags = current_tags()
        self.run: Run = None  # type: ignore[assignment]  # made when its application is known
        self.plain = ATOMS.issuperset(map(type, arguments.values()))
        self.upstream, self.marked = ((), False) if self.plain else search(arguments.values())
        self.wait_for: tuple[Future[Any] | State[Any], ...] = ()
        self.digest: str | None = None
        self.key: str | None = None
        self.unkeyed: str | None = None
        self.future: Future[Any] | None = None
        self.flight: Any = None
        self.on_decided: Callable[[], None] | None = None
        self.lent: LentThread | None = None
        self.blocked: tuple[AbstractEventLoop, ...] = parent.blocked if parent is not None else ()
        self.interrupted: asyncio.CancelledError | None = None
        self.replayed = False
        self.started = False


def make_call(
    spec: S, args: tuple[Any, ...], kwargs: dict[str, Any], parent: Frame | None, wait_for: Iterable[Any] | None = None
) -> Call[S]:
    """Bind the arguments and reserve the call's identity. Raises `ParameterBindError`; nothing has happened then."""
    if spec.bound:
        args = (spec.instance, *args)
    if parent is not None and not parent.open:
        parent = parent.parent if parent.parent is not None and parent.parent.open else None
    call = Call(spec, spec.binder.bind(args, kwargs), parent)
    if wait_for is not None:
        call.wait_for = _checked_wait_for(wait_for)
    if call.marked and not call.upstream and not call.wait_for:
        call.arguments = {name: substitute(value, _as_it_is) for name, value in call.arguments.items()}
    if parent is not None:
        if call.upstream or call.wait_for:
            _refuse_cycle(call, parent)
        reserve(call, parent)
    return call


def _as_it_is(one: Any, _: bool) -> Any:
    return one


def _checked_wait_for(wait_for: Iterable[Any]) -> tuple[Any, ...]:
    several = (wait_for,) if isinstance(wait_for, Future | State) else wait_for
    if isinstance(several, str) or not isinstance(several, Iterable):
        raise InvalidOption(f"wait_for is {wait_for!r}; it takes a list of futures or states.")
    listed = list(several)
    for one in listed:
        if not find((one,)) and not isinstance(one, list | tuple | set | dict):
            raise InvalidOption(f"wait_for holds {one!r}; it takes futures and states.")
    return tuple(listed)


def _refuse_cycle(call: Call[Any], parent: Frame) -> None:
    waited = {one.run.id for one in (*call.upstream, *find(call.wait_for)) if isinstance(one, Future)}
    frame: Frame | None = parent
    while frame is not None:
        if frame.run.id in waited:
            raise DependencyCycle(
                f"{call.spec.name!r} was told to wait for {frame.run.name!r}, inside which it was called; "
                "drop that future from the call."
            )
        frame = frame.parent


def reserve(call: Call[Any], frame: Frame) -> None:
    """Give the call its identity: scope, task key, fingerprint of its inputs, and which occurrence of these it is."""
    if not frame.keyed:
        call.unkeyed = f"it was called inside {frame.run.name!r}, which has no identity itself"
        return
    try:
        if call.plain and not call.spec.identity_options:
            digest = fingerprint_call(call.spec.key, scope_of(frame), call.arguments)
        else:
            digest = fingerprint_call(
                call.spec.key, scope_of(frame), _inputs(call), producer=_producers(frame), secret_key=_secret(frame)
            )
    except UnkeyableInput as error:
        call.unkeyed = str(error)
        _warn_unkeyed(call, frame)
        return
    counts = frame.counts
    call.digest = digest
    call.key = f"{digest}:{counts.take(digest)}"
    here = _here()
    if counts.live.setdefault(digest, here) != here:
        _warn_of_twin(call, frame)


def _inputs(call: Call[Any]) -> dict[str, Any]:
    spec = call.spec
    if not isinstance(spec, TaskSpec):
        return call.arguments if not spec.closed_over else {**call.arguments, **_closure(spec)}
    if spec.identity_key is not None:
        args, kwargs = spec.binder.unbind(call.arguments)
        return {"key": spec.identity_key(*args, **kwargs)}
    inputs = call.arguments if not spec.closed_over else {**call.arguments, **_closure(spec)}
    if not spec.ignore_inputs:
        return inputs
    return {name: value for name, value in inputs.items() if name.removeprefix("closure:") not in spec.ignore_inputs}


def _closure(spec: RunSpec) -> dict[str, Any]:
    return {f"closure:{name}": value for name, value in spec.closure().items()}


def _producers(frame: Frame) -> Any:
    flow = frame.flow
    return flow.lineage.producer_key if flow is not None and flow.lineage is not None else None


def _secret(frame: Frame) -> bytes:
    return frame.application.secret


def _here() -> object:
    if asyncio._get_running_loop() is not None:
        return asyncio.current_task()
    return threading.get_ident()


def _warn_of_twin(call: Call[Any], frame: Frame) -> None:
    engine = frame.application.engine
    about = f"twins of {call.spec.key}"
    if about not in engine.warned:
        engine.warned.add(about)
        engine.warn(
            frame.run,
            f"{call.spec.name!r} is being called with equal arguments from two asyncio tasks at once, so a resume "
            "could mix them up: identical concurrent calls: use branch() or key=",
        )


def _warn_unkeyed(call: Call[Any], frame: Frame) -> None:
    engine = frame.application.engine
    if call.spec.key not in engine.warned:
        engine.warned.add(call.spec.key)
        engine.warn(
            frame.run,
            f"A call of {call.spec.name!r} has no identity, so a resume or retry always runs it again: {call.unkeyed}",
        )


def release_identity(call: Call[Any]) -> None:
    """The call has ended: an equal one is no longer concurrent with it."""
    if call.digest is not None and call.parent is not None:
        call.parent.counts.live.pop(call.digest, None)


def dependencies(call: Call[Any]) -> tuple[str, ...]:
    """The ids of the runs whose results went into the call, as far as they are known."""
    found: dict[str, None] = {}
    for one in (*call.upstream, *find(call.wait_for)):
        run_id = one.run.id if isinstance(one, Future) else one.run_id
        if run_id is not None:
            found[run_id] = None
    lineage = call.parent.flow.lineage if call.parent is not None and call.parent.flow is not None else None
    if lineage is not None:
        for value in call.arguments.values():
            producer = lineage.producer(unwrapped(value))
            if producer is not None:
                found[producer] = None
    return tuple(found)


def is_flow(call: Call[Any]) -> bool:
    """Whether a flow was called, and not a task."""
    return isinstance(call.spec, FlowSpec)
