"""`@flow`: a function becomes a flow, whose every call is a run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import timedelta
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, overload

from .application import run_call, submit_call
from .context import current_frame
from .core.names import checked_name, default_flow_name
from .core.parameters import Binder
from .core.retries import Delay, RetryPolicy
from .engine.calls import make_call
from .handles import Future
from .specs import (
    FLOW_EVENTS,
    FlowSpec,
    changed_options,
    checked_choice,
    checked_count,
    checked_hook,
    checked_hooks,
    checked_names,
    checked_options,
    checked_run_name,
    checked_seconds,
    checked_serializer,
    checked_switch,
    checked_text,
    dress,
    function_of,
    is_async,
    refuse_generator,
    task_key,
)
from .states import State

P = ParamSpec("P")
Q = ParamSpec("Q")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
S = TypeVar("S")
Hook = Callable[..., Any]


class Flow(FlowSpec, Generic[P, R_co]):
    """A flow: call it, submit it, change its options. Made by `@flow`, which documents the options."""

    _options: Mapping[str, Any]

    def __init__(
        self,
        fn: Callable[P, R_co],
        *,
        name: str | None = None,
        description: str | None = None,
        version: str | None = None,
        flow_run_name: str | Callable[..., str] | None = None,
        retries: int = 0,
        retry_delay_seconds: Delay | None = None,
        timeout_seconds: float | timedelta | None = None,
        validate_parameters: bool = True,
        log_prints: bool | None = None,
        persist_result: bool | None = None,
        result_serializer: str | None = None,
        task_runner: Any = None,
        tags: Iterable[str] | None = None,
        on_running: Hook | Iterable[Hook] | None = None,
        on_completion: Hook | Iterable[Hook] | None = None,
        on_failure: Hook | Iterable[Hook] | None = None,
        on_cancellation: Hook | Iterable[Hook] | None = None,
        on_crashed: Hook | Iterable[Hook] | None = None,
        leftover: Literal["wait", "cancel"] = "wait",
        unobserved: Literal["fail", "log", "ignore"] = "fail",
        max_in_flight: int | None = None,
        durability: Literal["strict", "relaxed", "power"] | None = None,
        recover: Literal["auto", "manual", "never"] | None = None,
        max_recoveries: int = 5,
        on_code_change: Literal["reuse", "rerun", "error"] = "reuse",
        on_divergence: Literal["warn", "error"] = "warn",
    ) -> None:
        plain = function_of(fn, "flow")
        options = {key: value for key, value in locals().items() if key not in _NOT_OPTIONS}
        hooks = checked_hooks(
            "flow",
            running=on_running,
            completion=on_completion,
            failure=on_failure,
            cancellation=on_cancellation,
            crashed=on_crashed,
        )
        super().__init__(
            fn=plain,
            name=default_flow_name(plain) if name is None else checked_name(name, "flow"),
            key=task_key(plain, name),
            is_async=is_async(plain),
            is_generator=refuse_generator(plain, "flow"),
            binder=Binder(plain),
            description=checked_text(description, "description") if description is not None else plain.__doc__,
            version=checked_text(version, "version"),
            run_name=checked_run_name(flow_run_name, "flow_run_name"),
            retry=RetryPolicy(retries, retry_delay_seconds),
            timeout_seconds=checked_seconds(timeout_seconds, "timeout_seconds"),
            log_prints=checked_switch(log_prints, "log_prints", optional=True),
            persist_result=checked_switch(persist_result, "persist_result", optional=True),
            result_serializer=checked_serializer(result_serializer),
            tags=checked_names(tags, "tags"),
            hooks=hooks,
            validate_parameters=checked_switch(validate_parameters, "validate_parameters"),
            task_runner=task_runner,
            leftover=checked_choice(leftover, "leftover", ("wait", "cancel")),
            unobserved=checked_choice(unobserved, "unobserved", ("fail", "log", "ignore")),
            max_in_flight=checked_count(max_in_flight, "max_in_flight"),
            durability=checked_choice(durability, "durability", (None, "strict", "relaxed", "power")),
            recover=checked_choice(recover, "recover", (None, "auto", "manual", "never")),
            max_recoveries=checked_count(max_recoveries, "max_recoveries", low=0) or 0,
            on_code_change=checked_choice(on_code_change, "on_code_change", ("reuse", "rerun", "error")),
            on_divergence=checked_choice(on_divergence, "on_divergence", ("warn", "error")),
        )
        dress(self, fn, plain, options)

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(
        self: Flow[..., Coroutine[Any, Any, T]],
        *args: Any,
        return_state: Literal[True],
        wait_for: Iterable[Any] | None = None,
        **kwargs: Any,
    ) -> Coroutine[Any, Any, State[T]]: ...
    @overload
    def __call__(
        self, *args: Any, return_state: Literal[True], wait_for: Iterable[Any] | None = None, **kwargs: Any
    ) -> State[R_co]: ...
    @overload
    def __call__(
        self, *args: Any, return_state: Literal[False] = False, wait_for: Iterable[Any], **kwargs: Any
    ) -> R_co: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the flow: an async one gives a coroutine to await, a sync one its value.

        Raises the body's own exception. `return_state=True` gives the final `State` instead and does not raise for a
        failure; `wait_for=[...]` waits for these futures first. Raises `ParameterBindError` before any run exists.
        """
        return_state = kwargs.pop("return_state", False)
        wait_for = kwargs.pop("wait_for", None)
        return run_call(make_call(self, args, kwargs, current_frame(), wait_for), return_state)

    @overload
    def submit(self: Flow[..., Coroutine[Any, Any, T]], *args: Any, **kwargs: Any) -> Future[T]: ...
    @overload
    def submit(self, *args: Any, **kwargs: Any) -> Future[R_co]: ...
    def submit(self, *args: Any, **kwargs: Any) -> Any:
        """Run the flow in the background of the body that calls this, and give its `Future` at once.

        Arguments may be futures or hold them; `wait_for=[...]` waits for others first.
        """
        wait_for = kwargs.pop("wait_for", None)
        return submit_call(make_call(self, args, kwargs, current_frame(), wait_for))

    def with_options(self, **options: Any) -> Flow[P, R_co]:
        """A copy of the flow with other options (see `@flow`); what is not named stays, and None clears."""
        return self._rebuilt(changed_options(options, _DEFAULTS, "flow"))

    def _rebuilt(self, options: Mapping[str, Any]) -> Flow[P, R_co]:
        hooks = {f"on_{event}": list(self.hooks[event]) for event in FLOW_EVENTS}
        copy: Flow[P, R_co] = Flow(self._declared, **{**self._options, **hooks, **options})
        copy.__dict__.update(instance=self.instance, bound=self.bound)
        return copy

    @property
    def parameters(self) -> dict[str, Any]:
        """The JSON schema of the flow's parameters, from its annotations and defaults."""
        return self.schema()

    def on_running(self, fn: Hook) -> Hook:
        """Decorator: call `fn(flow, run, state)` whenever an attempt begins."""
        return self._hook("running", fn)

    def on_completion(self, fn: Hook) -> Hook:
        """Decorator: call `fn(flow, run, state)` when a run has completed."""
        return self._hook("completion", fn)

    def on_failure(self, fn: Hook) -> Hook:
        """Decorator: call `fn(flow, run, state)` when a run has failed for good."""
        return self._hook("failure", fn)

    def on_cancellation(self, fn: Hook) -> Hook:
        """Decorator: call `fn(flow, run, state)` when a run was cancelled."""
        return self._hook("cancellation", fn)

    def on_crashed(self, fn: Hook) -> Hook:
        """Decorator: call `fn(flow, run, state)` when a run's process was found dead."""
        return self._hook("crashed", fn)

    def _hook(self, event: str, fn: Hook) -> Hook:
        self.hooks[event].append(checked_hook(fn, event))
        return fn

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Flow[P, R_co]: ...
    @overload
    def __get__(self: Flow[Concatenate[S, Q], R_co], instance: S, owner: type[Any] | None = None) -> Flow[Q, R_co]: ...
    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        return self.bind_to(instance, owner)


_NOT_OPTIONS = frozenset({"self", "fn", "plain", "__class__"})


@overload
def flow(fn: Callable[P, R_co], /) -> Flow[P, R_co]: ...
@overload
def flow(
    *,
    name: str | None = None,
    description: str | None = None,
    version: str | None = None,
    flow_run_name: str | Callable[..., str] | None = None,
    retries: int = 0,
    retry_delay_seconds: Delay | None = None,
    timeout_seconds: float | timedelta | None = None,
    validate_parameters: bool = True,
    log_prints: bool | None = None,
    persist_result: bool | None = None,
    result_serializer: str | None = None,
    task_runner: Any = None,
    tags: Iterable[str] | None = None,
    on_running: Hook | Iterable[Hook] | None = None,
    on_completion: Hook | Iterable[Hook] | None = None,
    on_failure: Hook | Iterable[Hook] | None = None,
    on_cancellation: Hook | Iterable[Hook] | None = None,
    on_crashed: Hook | Iterable[Hook] | None = None,
    leftover: Literal["wait", "cancel"] = "wait",
    unobserved: Literal["fail", "log", "ignore"] = "fail",
    max_in_flight: int | None = None,
    durability: Literal["strict", "relaxed", "power"] | None = None,
    recover: Literal["auto", "manual", "never"] | None = None,
    max_recoveries: int = 5,
    on_code_change: Literal["reuse", "rerun", "error"] = "reuse",
    on_divergence: Literal["warn", "error"] = "warn",
) -> Callable[[Callable[P, R_co]], Flow[P, R_co]]: ...
def flow(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a flow: every call of it is a run that is remembered.

        @flow(name="My Pipeline", retries=1, timeout_seconds=120)
        async def pipeline(url: str) -> list[dict]:
            return await process(await fetch(url))

    The function keeps its colour: calling an `async def` flow gives a coroutine, calling a `def` flow its value.
    Durations are seconds (or `timedelta`).

    * `name`: defaults to the function's name with dashes; `description`: to its docstring; `version`: a free text.
    * `flow_run_name`: a template such as "load-{date}" over the parameters, or a function that gives the name.
    * `retries`, `retry_delay_seconds`: run the body again that often; a number, a list, a timedelta or a function.
    * `timeout_seconds`: for each attempt; a longer one is Failed, named TimedOut, and raises `FlowRunTimeout`.
    * `validate_parameters`: coerce the arguments by their annotations (pydantic); a misfit makes a Failed run.
    * `log_prints`, `persist_result`, `result_serializer` ("json", "pickle"): inherited by what runs inside.
    * `tags`: texts by which runs are found, and limits apply.
    * `on_running`, `on_completion`, `on_failure`, `on_cancellation`, `on_crashed`: functions of (flow, run, state).
    * `leftover`: "wait" for submitted tasks when the body has returned, or "cancel" them.
    * `unobserved`: what the failure of a task that nobody looked at does: "fail" the flow, "log" it, or "ignore" it.
    * `max_in_flight`: more submitted tasks than this raise `TooManyPending`.
    * `durability`: "strict" (a result that a caller sees is committed), "relaxed" (the flow's own return waits), or
      "power" (as strict, and on the disk).
    * `recover`, `max_recoveries`, `on_code_change`, `on_divergence`: what a resume does.

    Raises an error of the `ConfigurationError` family here, where the option is written.
    """
    if fn is None:
        return functools.partial(_decorated, checked_options(options, _DEFAULTS, "flow"))
    return Flow(fn, **checked_options(options, _DEFAULTS, "flow"))


def _decorated(options: Mapping[str, Any], fn: Callable[..., Any]) -> Flow[..., Any]:
    return Flow(fn, **options)


_DEFAULTS: Mapping[str, Any] = Flow.__init__.__kwdefaults__ or {}

__all__ = ["Flow", "flow"]
