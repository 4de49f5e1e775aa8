"""`@task`: a function becomes a task, retried, timed out, cached and limited wherever it is called."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, overload

from .application import current_application_now, run_call, submit_call
from .cache_policies import NO_CACHE, CacheContext, CacheKeyFnPolicy, CachePolicy, input_hash
from .context import Frame, current_frame
from .core.names import checked_name, default_task_name
from .core.parameters import Binder
from .core.retries import Delay, RetryPolicy
from .engine.calls import Call, make_call
from .engine.fanout import Stream, checked_items, checked_limit, submit_all, zipped
from .exceptions import InvalidOption
from .futures import Future, FutureList
from .handles import blocks_here
from .specs import (
    TASK_EVENTS,
    TaskSpec,
    changed_options,
    checked_choice,
    checked_hook,
    checked_hooks,
    checked_names,
    checked_options,
    checked_run_name,
    checked_seconds,
    checked_serializer,
    checked_switch,
    checked_text,
    closure_names,
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


class Task(TaskSpec, Generic[P, R_co]):
    """A task: call it, submit it, map it, stream it. Made by `@task`, which documents the options."""

    def __init__(
        self,
        fn: Callable[P, R_co],
        *,
        name: str | None = None,
        description: str | None = None,
        tags: Iterable[str] | None = None,
        version: str | None = None,
        task_run_name: str | Callable[..., str] | None = None,
        retries: int = 0,
        retry_delay_seconds: Delay | None = None,
        retry_jitter_factor: float | None = None,
        retry_condition_fn: Callable[..., Any] | None = None,
        timeout_seconds: float | timedelta | None = None,
        cache_policy: CachePolicy | None = None,
        cache_key_fn: Callable[[Any, dict[str, Any]], str | None] | None = None,
        cache_expiration: timedelta | None = None,
        refresh_cache: bool = False,
        persist_result: bool | None = None,
        result_serializer: str | None = None,
        result_storage_key: str | None = None,
        preview: bool = True,
        log_prints: bool | None = None,
        limits: Iterable[str] | None = None,
        key: Callable[..., Any] | str | None = None,
        ignore_inputs: Iterable[str] | None = None,
        on_interrupted: Literal["retry", "fail", "ask"] = "retry",
        runs_in: Literal["thread", "process"] = "thread",
        on_running: Hook | Iterable[Hook] | None = None,
        on_completion: Hook | Iterable[Hook] | None = None,
        on_failure: Hook | Iterable[Hook] | None = None,
        on_commit: Hook | Iterable[Hook] | None = None,
        on_rollback: Hook | Iterable[Hook] | None = None,
    ) -> None:
        plain = function_of(fn, "task")
        options = {option: value for option, value in locals().items() if option not in _NOT_OPTIONS}
        hooks = checked_hooks(
            "task",
            running=on_running,
            completion=on_completion,
            failure=on_failure,
            commit=on_commit,
            rollback=on_rollback,
        )
        binder = Binder(plain)
        super().__init__(
            fn=plain,
            name=default_task_name(plain) if name is None else checked_name(name, "task"),
            key=task_key(plain, name),
            is_async=is_async(plain),
            is_generator=refuse_generator(plain, "task"),
            binder=binder,
            description=checked_text(description, "description") if description is not None else plain.__doc__,
            version=checked_text(version, "version"),
            run_name=checked_run_name(task_run_name, "task_run_name"),
            retry=RetryPolicy(retries, retry_delay_seconds, retry_jitter_factor, retry_condition_fn),
            timeout_seconds=checked_seconds(timeout_seconds, "timeout_seconds"),
            log_prints=checked_switch(log_prints, "log_prints", optional=True),
            persist_result=checked_switch(persist_result, "persist_result", optional=True),
            result_serializer=checked_serializer(result_serializer),
            tags=checked_names(tags, "tags"),
            hooks=hooks,
            cache_policy=_policy(cache_policy, cache_key_fn, persist_result),
            cache_expiration=_expiration(cache_expiration),
            refresh_cache=checked_switch(refresh_cache, "refresh_cache"),
            result_storage_key=checked_run_name(result_storage_key, "result_storage_key"),
            preview=checked_switch(preview, "preview"),
            limits=tuple(sorted(checked_names(limits, "limits"))),
            identity_key=_identity_key(key),
            ignore_inputs=_ignored(ignore_inputs, binder, closure_names(plain)),
            on_interrupted=checked_choice(on_interrupted, "on_interrupted", ("retry", "fail", "ask")),
            runs_in=checked_choice(runs_in, "runs_in", ("thread",)),
        )
        dress(self, fn, plain, options)

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(
        self: Task[..., Coroutine[Any, Any, T]],
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
        """Run the task: an async one gives a coroutine to await, a sync one its value.

        Raises the body's own exception. `return_state=True` gives the final `State` instead and does not raise for a
        failure; `wait_for=[...]` waits for these futures first. Arguments may be futures or hold them. Raises
        `ParameterBindError` before any run exists.
        """
        return_state = kwargs.pop("return_state", False)
        wait_for = kwargs.pop("wait_for", None)
        return run_call(make_call(self, args, kwargs, current_frame(), wait_for), return_state)

    @overload
    def submit(self: Task[..., Coroutine[Any, Any, T]], *args: Any, **kwargs: Any) -> Future[T]: ...
    @overload
    def submit(self, *args: Any, **kwargs: Any) -> Future[R_co]: ...
    def submit(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task in the background of the body that calls this, and give its `Future` at once.

        An async body runs on its owner's event loop, a sync one in a thread. Arguments may be futures or hold them;
        `wait_for=[...]` waits for others first. Raises `TooManyPending` past the flow's `max_in_flight`.
        """
        wait_for = kwargs.pop("wait_for", None)
        return submit_call(make_call(self, args, kwargs, current_frame(), wait_for))

    @overload
    def map(
        self: Task[..., Coroutine[Any, Any, T]],
        *args: Any,
        limit: int | None = None,
        wait_for: Iterable[Any] | None = None,
        **kwargs: Any,
    ) -> FutureList[T]: ...
    @overload
    def map(
        self, *args: Any, limit: int | None = None, wait_for: Iterable[Any] | None = None, **kwargs: Any
    ) -> FutureList[R_co]: ...
    def map(self, *args: Any, limit: int | None = None, wait_for: Iterable[Any] | None = None, **kwargs: Any) -> Any:
        """Submit the task once for each element of the iterables given, and give the `FutureList` at once.

            sizes = await fetch.map(urls, unmapped(headers), limit=500)

        Iterables are zipped; texts, bytes, mappings and `unmapped(x)` go to every call as they are; a future is
        waited for and then mapped over; if it has not ended in async code, the list only knows its calls once awaited.
        `limit` bounds how many run at a time. Raises `MappingLengthMismatch` or `MappingMissingIterable`.
        """
        checked_limit(limit)
        frame = current_frame()
        labelled = self._labelled(args, kwargs)
        application = frame.application if frame is not None else current_application_now()
        make = functools.partial(self._mapped_call, len(args), frame, wait_for)

        def submit() -> FutureList[Any]:
            arguments = zipped({label: _settled(value) for label, value in labelled.items()})
            return submit_all(application.engine, frame, arguments, make, limit)

        pending = [value for value in labelled.values() if isinstance(value, Future) and not value.done()]
        if pending and not blocks_here():
            from .engine.coming import map_later  # noqa: PLC0415  # rarely needed

            return map_later(application.engine, frame, self, pending, submit)
        return submit()

    @overload
    def stream(
        self: Task[..., Coroutine[Any, Any, T]],
        items: Iterable[Any] | AsyncIterable[Any],
        /,
        *args: Any,
        limit: int = 100,
        ordered: bool = False,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> Stream[T]: ...
    @overload
    def stream(
        self,
        items: Iterable[Any] | AsyncIterable[Any],
        /,
        *args: Any,
        limit: int = 100,
        ordered: bool = False,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> Stream[R_co]: ...
    def stream(
        self,
        items: Any,
        /,
        *args: Any,
        limit: int = 100,
        ordered: bool = False,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Run the task over a stream of inputs and give the results as they come (or in order, with `ordered`).

            async for size in fetch.stream(urls(), limit=500):
                total += size

        Inputs are pulled lazily, at most `limit` calls are in flight, and memory stays flat however many there are.
        Each input is the first argument; the others go to every call. The first failure is raised and ends the
        stream, unless `return_exceptions=True`. Leaving the loop early cancels what is in flight. In sync code use
        `for`.
        """
        checked_limit(limit)
        return Stream(
            checked_items(items), lambda item: self.submit(item, *args, **kwargs), limit, ordered, return_exceptions
        )

    def _labelled(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a map, in their order and by the names under which an error speaks of them."""
        instance = (self.instance,) if self.bound else ()
        self.binder.bind((*instance, *args), kwargs)
        names = self.binder.positional_names(len(instance) + len(args))[len(instance) :]
        labels = [name if name not in kwargs else f"{name} (by position)" for name in names]
        return {**dict(zip(labels, args, strict=True)), **kwargs}

    def _mapped_call(
        self, positional: int, frame: Frame | None, wait_for: Iterable[Any] | None, arguments: dict[str, Any]
    ) -> Call[Any]:
        named = list(arguments.items())
        args = tuple(value for _, value in named[:positional])
        return make_call(self, args, dict(named[positional:]), frame, wait_for)

    def with_options(self, **options: Any) -> Task[P, R_co]:
        """A copy of the task with other options (see `@task`); what is not named stays, and None clears."""
        changes = changed_options(options, _DEFAULTS, "task")
        hooks = {f"on_{event}": list(self.hooks[event]) for event in TASK_EVENTS}
        copy: Task[P, R_co] = Task(self._declared, **{**self._options, **hooks, **changes})
        copy.__dict__.update(instance=self.instance, bound=self.bound)
        return copy

    def on_running(self, fn: Hook) -> Hook:
        """Decorator: call `fn(task, run, state)` whenever an attempt begins."""
        return self._hook("running", fn)

    def on_completion(self, fn: Hook) -> Hook:
        """Decorator: call `fn(task, run, state)` when a run has completed, also from the cache."""
        return self._hook("completion", fn)

    def on_failure(self, fn: Hook) -> Hook:
        """Decorator: call `fn(task, run, state)` when the last attempt has failed."""
        return self._hook("failure", fn)

    def _hook(self, event: str, fn: Hook) -> Hook:
        self.hooks[event].append(checked_hook(fn, event))
        return fn

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Task[P, R_co]: ...
    @overload
    def __get__(self: Task[Concatenate[S, Q], R_co], instance: S, owner: type[Any] | None = None) -> Task[Q, R_co]: ...
    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        return self.bind_to(instance, owner)


_NOT_OPTIONS = frozenset({"self", "fn", "plain", "__class__"})


def _settled(value: Any) -> Any:
    if isinstance(value, Future):
        return value.result()
    if isinstance(value, State):
        return value.result()
    return value


def _policy(policy: Any, key_fn: Any, persist: bool | None) -> CachePolicy | None:
    if key_fn is not None:
        policy = CacheKeyFnPolicy(key_fn)  # refuses what cannot be called
    if policy is None or policy == NO_CACHE:
        return None
    if not isinstance(policy, CachePolicy):
        raise InvalidOption(f"cache_policy is {policy!r}; it takes a policy such as INPUTS or TASK_SOURCE + INPUTS.")
    if persist is False:
        raise InvalidOption("persist_result=False leaves nothing to be cached; drop it or the cache policy.")
    return policy


def _expiration(value: Any) -> timedelta | None:
    if value is None:
        return None
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise InvalidOption(f"cache_expiration is {value!r}; it takes a timedelta above zero.")
    return value


def _identity_key(key: Any) -> Callable[..., Any] | None:
    if key is None or callable(key):
        return key  # type: ignore[no-any-return]
    if isinstance(key, str) and key:
        return lambda *_args, **_kwargs: key
    raise InvalidOption(
        f"key is {key!r}; it takes a text, or a function of the task's arguments that gives plain data."
    )


def _ignored(names: Any, binder: Binder, closed_over: tuple[str, ...]) -> frozenset[str]:
    ignored = checked_names(names, "ignore_inputs")
    for name in ignored:
        if name not in binder.signature.parameters and name not in closed_over:
            raise InvalidOption(
                f"ignore_inputs names {name!r}, which {binder.function_name}() neither takes nor closes over."
            )
    return ignored


@overload
def task(fn: Callable[P, R_co], /) -> Task[P, R_co]: ...
@overload
def task(
    *,
    name: str | None = None,
    description: str | None = None,
    tags: Iterable[str] | None = None,
    version: str | None = None,
    task_run_name: str | Callable[..., str] | None = None,
    retries: int = 0,
    retry_delay_seconds: Delay | None = None,
    retry_jitter_factor: float | None = None,
    retry_condition_fn: Callable[..., Any] | None = None,
    timeout_seconds: float | timedelta | None = None,
    cache_policy: CachePolicy | None = None,
    cache_key_fn: Callable[[Any, dict[str, Any]], str | None] | None = None,
    cache_expiration: timedelta | None = None,
    refresh_cache: bool = False,
    persist_result: bool | None = None,
    result_serializer: str | None = None,
    result_storage_key: str | None = None,
    preview: bool = True,
    log_prints: bool | None = None,
    limits: Iterable[str] | None = None,
    key: Callable[..., Any] | str | None = None,
    ignore_inputs: Iterable[str] | None = None,
    on_interrupted: Literal["retry", "fail", "ask"] = "retry",
    runs_in: Literal["thread", "process"] = "thread",
    on_running: Hook | Iterable[Hook] | None = None,
    on_completion: Hook | Iterable[Hook] | None = None,
    on_failure: Hook | Iterable[Hook] | None = None,
    on_commit: Hook | Iterable[Hook] | None = None,
    on_rollback: Hook | Iterable[Hook] | None = None,
) -> Callable[[Callable[P, R_co]], Task[P, R_co]]: ...
def task(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a task: every call of it is a run with its own retries, timeout, cache, limits and log.

        @task(retries=3, retry_delay_seconds=exponential_backoff(1), timeout_seconds=30, limits=["api"])
        async def fetch(url: str) -> bytes:
            return (await client.get(url)).content

    The function keeps its colour: calling an `async def` task gives a coroutine, calling a `def` task its value.
    Durations are seconds (or `timedelta`).

    * `name`: defaults to the function's name; `description`: to its docstring; `version`: a free text.
    * `task_run_name`: a template such as "load-{date}" over the parameters, or a function that gives the name.
    * `retries`, `retry_delay_seconds`: a number, a list whose last value repeats, a timedelta or a function such as
      `exponential_backoff(2)`; `retry_jitter_factor` spreads each delay within delay * (1 +- factor);
      `retry_condition_fn(task, run, state)`, sync or async, says whether to retry at all.
    * `timeout_seconds`: for each attempt. An async body is cancelled; a sync one runs in a thread that is abandoned,
      since nobody can kill a thread, and keeps its slots until it really ends.
    * `cache_policy` (`INPUTS`, `TASK_SOURCE` + ...; default none) or `cache_key_fn(context, parameters)`,
      `cache_expiration`, `refresh_cache`: answer equal calls across runs; concurrent ones run once.
    * `persist_result=False`: store the state only; `result_serializer`: "json" or "pickle"; `preview=False`: none.
    * `limits`: names of concurrency limits to hold while the body runs; `tags` with a limit act as limits too.
    * `key`, `ignore_inputs`: what identifies a call inside its flow run, where arguments (and the variables that the
      function closes over, which count as inputs too) cannot or should not.
    * `on_interrupted`: what a resume does with a call that was interrupted: "retry", "fail" or "ask".
    * `on_running`, `on_completion`, `on_failure`, `on_commit`, `on_rollback`: functions of (task, run, state).

    Raises an error of the `ConfigurationError` family here, where the option is written.
    """
    if fn is None:
        return functools.partial(_decorated, checked_options(options, _DEFAULTS, "task"))
    return Task(fn, **checked_options(options, _DEFAULTS, "task"))


def _decorated(options: Mapping[str, Any], fn: Callable[..., Any]) -> Task[..., Any]:
    return Task(fn, **options)


_DEFAULTS: Mapping[str, Any] = Task.__init__.__kwdefaults__ or {}


def exponential_backoff(backoff_factor: float) -> Callable[[int], Sequence[float]]:
    """Delays that double: factor, 2 x factor, 4 x factor ... seconds; for `retry_delay_seconds`."""
    if isinstance(backoff_factor, bool) or not isinstance(backoff_factor, int | float) or not backoff_factor >= 0:
        raise InvalidOption(f"backoff_factor is {backoff_factor!r}; it takes a number from 0 up.")
    return lambda retries: [backoff_factor * 2**number for number in range(retries)]


def task_input_hash(context: CacheContext, arguments: dict[str, Any]) -> str | None:
    """A `cache_key_fn`: equal arguments of the same code of the same task give one key; None where there is none."""
    inputs = {**arguments, **{f"closure:{name}": value for name, value in context.closure.items()}}
    return input_hash(context.task_key, context.source_digest(), inputs)
