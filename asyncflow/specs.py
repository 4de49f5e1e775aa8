"""What an author declared: the frozen specs that `@flow` and `@task` make and the engine reads."""

from __future__ import annotations

import asyncio
import difflib
import functools
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, ClassVar, Literal

from .core.canonical import closure_values
from .core.fingerprint import source_digest
from .core.names import shortened
from .core.naming import module_name
from .core.parameters import Binder
from .core.retries import RetryPolicy
from .exceptions import ConfigurationError, InvalidHook, InvalidName, InvalidOption, UnnamedCallable

FLOW_EVENTS = ("running", "completion", "failure", "cancellation", "crashed")
TASK_EVENTS = ("running", "completion", "failure", "commit", "rollback")
SERIALIZERS = ("json", "pickle", "compressed/json", "compressed/pickle")


class RunSpec:
    """What flows and tasks have in common; frozen. Durations are seconds; `key` names the function for ever."""

    fn: Callable[..., Any]
    name: str
    key: str
    is_async: bool
    is_generator: bool
    binder: Binder
    retry: RetryPolicy
    hooks: Mapping[str, list[Callable[..., Any]]]
    description: str | None = None
    version: str | None = None
    run_name: str | Callable[..., str] | None = None
    timeout_seconds: float | None = None
    log_prints: bool | None = None
    persist_result: bool | None = None
    result_serializer: str | None = None
    tags: frozenset[str] = frozenset()
    limits: tuple[str, ...] = ()
    durability: str | None = None
    preview: bool = True
    instance: Any = None
    bound: bool = False
    _declared: Any
    _options: Mapping[str, Any]
    _binding: str

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{self!r} is frozen; with_options(...) makes a copy with other options.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{self!r} is frozen; with_options(...) makes a copy with other options.")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {self.key}>"

    kind: ClassVar[Literal["flow", "task"]]

    @functools.cached_property
    def source_digest(self) -> str | None:
        """The digest of the function's code, stored with each run; it tells when code has changed."""
        return source_digest(self.fn)

    @property
    def __asyncflow_key__(self) -> str:
        return self.key

    @functools.cached_property
    def identity_options(self) -> bool:
        """Whether more or less than the arguments identifies a call."""
        return bool(self.closed_over)

    @functools.cached_property
    def qualname(self) -> str:
        """What Python calls the function; its coroutines are called so too."""
        return getattr(self.fn, "__qualname__", self.name)

    @functools.cached_property
    def closed_over(self) -> tuple[str, ...]:
        """The names of the outer variables that the function closes over; they count as inputs."""
        return closure_names(self.fn)

    def closure(self) -> dict[str, Any]:
        """What the function closes over, by name, as it is now."""
        return closure_values(inspect.unwrap(self.fn))

    def called_name(self, arguments: Mapping[str, Any]) -> str:
        """The name that the run-name function gives; it takes nothing, or `parameters`."""
        assert callable(self.run_name)
        wants = bool(inspect.signature(self.run_name).parameters)
        name = self.run_name(parameters=dict(arguments)) if wants else self.run_name()
        if not isinstance(name, str) or not name:
            raise InvalidName(f"The run name of {self.name!r} came out as {name!r}; its function has to give a text.")
        return shortened(name)

    def bind_to(self, instance: Any, owner: type[Any] | None) -> Any:
        """The spec as a method of an instance or class, as functions are bound."""
        binding = self.__dict__["_binding"]
        subject = owner if binding == "class" else instance
        if binding == "static" or subject is None:
            return self
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__, instance=subject, bound=True)
        return copy

    @functools.cached_property
    def _model(self) -> Any:
        from .core.validation import ParameterModel  # noqa: PLC0415  # pydantic loads when a flow is first checked

        return ParameterModel(self.fn, self.binder.signature, self.__dict__["_binding"] != "static" and self.bound)

    def validated(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments coerced by their annotations. Raises `ParameterTypeError`."""
        return self._model.validated(arguments)  # type: ignore[no-any-return]

    def schema(self) -> dict[str, Any]:
        """The JSON schema of the parameters."""
        return self._model.schema()  # type: ignore[no-any-return]


class FlowSpec(RunSpec):
    """A declared flow."""

    validate_parameters: bool = True
    task_runner: Any = None
    leftover: str = "wait"
    unobserved: str = "fail"
    max_in_flight: int | None = None
    recover: str | None = None
    max_recoveries: int = 5
    on_code_change: str = "reuse"
    on_divergence: str = "warn"
    kind: ClassVar[Literal["flow", "task"]] = "flow"


class TaskSpec(RunSpec):
    """A declared task."""

    cache_policy: Any = None
    cache_expiration: timedelta | None = None
    refresh_cache: bool = False
    result_storage_key: str | None = None
    identity_key: Callable[..., Any] | None = None
    ignore_inputs: frozenset[str] = frozenset()
    on_interrupted: str = "retry"
    runs_in: str = "thread"
    kind: ClassVar[Literal["flow", "task"]] = "task"

    @functools.cached_property
    def identity_options(self) -> bool:
        """Whether more or less than the arguments identifies a call."""
        return bool(self.closed_over or self.ignore_inputs) or self.identity_key is not None

    @functools.cached_property
    def is_direct(self) -> bool:
        """Whether nothing was declared that stands before the body or makes a second attempt of it."""
        return self.run_name is None and self.cache_policy is None and not self.limits and not self.retry.retries

    @property
    def takes_care(self) -> bool:
        """Whether more than the body belongs to an attempt: a timeout, a hook, an intent to declare."""
        return self.timeout_seconds is not None or bool(self.hooks["running"]) or self.on_interrupted != "retry"


def function_of(fn: Any, decorator: str) -> Callable[..., Any]:
    """The plain function under a static or class method; refuses what cannot be called."""
    if isinstance(fn, staticmethod | classmethod):
        fn = fn.__func__
    if inspect.isclass(fn) or not callable(fn):
        raise ConfigurationError(
            f"@{decorator} takes a function, not {fn!r}; options are keywords, as in @{decorator}(name='...')."
        )
    return fn  # type: ignore[no-any-return]


def is_async(fn: Callable[..., Any]) -> bool:
    """Whether calling the function gives an awaitable or an async iterator.

    The outermost function decides; a plain `def` around an async one is most likely a decorator that hands it on.
    """
    layer: Any = fn
    while layer is not None:
        call = layer if inspect.isroutine(layer) else getattr(layer, "__call__", layer)  # noqa: B004  (bound method)
        if any(inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in (layer, call)):
            return True
        layer = getattr(layer, "__wrapped__", None)
    return False


def is_generator(fn: Callable[..., Any]) -> bool:
    """Whether calling the function gives a stream of items."""
    return inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn)


def task_key(fn: Callable[..., Any], name: str | None) -> str:
    """`module:qualname`, which names the function for ever; lambdas and partials have none and need a name."""
    qualname = getattr(fn, "__qualname__", None)
    if isinstance(fn, functools.partial) or qualname is None or "<lambda>" in qualname:
        if name is None:
            raise UnnamedCallable(f'{fn!r} has no lasting name to be known by; pass name="..." beside it.')
        qualname = name
    return f"{module_name(fn)}:{qualname}"


def closure_names(fn: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the outer variables that a function closes over."""
    code = getattr(inspect.unwrap(fn), "__code__", None)
    return code.co_freevars if code is not None else ()


def checked_seconds(value: Any, option: str) -> float | None:
    """A duration in seconds above zero, from a number or a timedelta; None stays None."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise InvalidOption(f"{option} is {value!r}; it takes a number of seconds above 0, or None.")
    return float(seconds)


def checked_choice(value: Any, option: str, choices: tuple[str | None, ...]) -> Any:
    """The value, if it is one of the choices."""
    if not isinstance(value, str | None) or value not in choices:
        raise InvalidOption(f"{option} is {value!r}; it takes one of {', '.join(map(repr, choices))}.")
    return value


def checked_switch(value: Any, option: str, optional: bool = False) -> Any:
    """True or False, or None for an option that is inherited."""
    if isinstance(value, bool) or (value is None and optional):
        return value
    raise InvalidOption(f"{option} is {value!r}; it takes True or False{', or None' if optional else ''}.")


def checked_text(value: Any, option: str) -> str | None:
    """A text, or None."""
    if value is None or isinstance(value, str):
        return value
    raise InvalidOption(f"{option} is {value!r}; it takes a text, or None.")


def checked_run_name(value: Any, option: str) -> Any:
    """A template or a function that gives the name of a run, or None."""
    if value is None or callable(value) or (isinstance(value, str) and value.strip()):
        return value
    raise InvalidOption(f"{option} is {value!r}; it takes a template such as 'load-{{date}}', or a function.")


def checked_serializer(value: Any) -> str | None:
    """The name of a serializer, or None for each value's own."""
    return checked_choice(value, "result_serializer", (None, *SERIALIZERS))  # type: ignore[no-any-return]


def checked_names(value: Any, option: str) -> frozenset[str]:
    """A set of texts; a single text is most likely a slip and refused."""
    if value is None:
        return frozenset()
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidOption(f"{option} is {value!r}; it takes a list or set of names.")
    names = tuple(value)
    wrong = [name for name in names if not isinstance(name, str) or not name]
    if wrong:
        raise InvalidOption(f"{option} holds {wrong[0]!r}; it takes a list or set of names.")
    return frozenset(names)


def checked_hooks(kind: str, **hooks: Any) -> dict[str, list[Callable[..., Any]]]:
    """Hooks by event, each a list of callables."""
    checked: dict[str, list[Callable[..., Any]]] = {}
    for event, given in hooks.items():
        several = [] if given is None else [given] if callable(given) else given
        if isinstance(several, str) or not isinstance(several, Iterable):
            raise InvalidHook(f"on_{event} of a {kind} takes a list of functions, not {given!r}.")
        checked[event] = [checked_hook(one, event) for one in several]
    return checked


def checked_hook(hook: Any, event: str) -> Callable[..., Any]:
    """The hook, if it can be called."""
    if not callable(hook):
        raise InvalidHook(f"on_{event} holds {hook!r}, which cannot be called; pass fn(flow_or_task, run, state).")
    return hook  # type: ignore[no-any-return]


def checked_count(value: Any, option: str, low: int = 1) -> int | None:
    """A whole number from `low` up; None stays None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise InvalidOption(f"{option} is {value!r}; it takes a whole number from {low} up.")
    return value


def changed_options(changes: Mapping[str, Any], defaults: Mapping[str, Any], decorator: str) -> dict[str, Any]:
    """What `with_options` was given, checked; None stands for the default."""
    known = checked_options(changes, defaults, decorator)
    return {name: defaults[name] if value is None else value for name, value in known.items()}


def checked_options(options: Mapping[str, Any], known: Mapping[str, Any], decorator: str) -> dict[str, Any]:
    """The options, if all are known; an unknown one is answered with the nearest name."""
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(known)}."
            raise InvalidOption(f"@{decorator} takes no option {name!r}{hint}")
    return dict(options)


def refuse_generator(fn: Callable[..., Any], decorator: str) -> bool:
    """False; generator functions are refused for now."""
    if is_generator(fn):
        raise ConfigurationError(
            f"@{decorator} does not take generator functions yet ({fn!r}); return a list, or use task.stream()."
        )
    return False


def dress(spec: RunSpec, declared: Any, plain: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Make a spec look like its function to `inspect`, `help` and frameworks, colour included."""
    look = {
        name: getattr(plain, name)
        for name in ("__module__", "__name__", "__qualname__", "__doc__", "__code__", "__defaults__", "__kwdefaults__")
        if hasattr(plain, name)
    }
    binding = {classmethod: "class", staticmethod: "static"}.get(type(declared), "instance")
    spec.__dict__.update(
        look,
        __annotations__=dict(getattr(plain, "__annotations__", {})),
        __wrapped__=plain,
        _declared=declared,
        _options=dict(options),
        _binding=binding,
    )
    if spec.is_async:
        spec.__dict__["_is_coroutine"] = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]
