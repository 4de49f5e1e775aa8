"""What runs say: `get_run_logger`, Python's own logging inside runs, and print() where a run asks for it."""

from __future__ import annotations

import builtins
import functools
import io
import json
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from .console import Console
from .context import Frame, current_frame
from .core.clock import SystemClock
from .core.names import storable
from .core.runs import LogLine
from .settings import Settings

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

LONGEST_MESSAGE: Final = 100_000
LOGGER: Final = "asyncflow"
_BOUND: Final = ("flow_run_id", "task_run_id")
_STDLIB_ONLY: Final = ("stacklevel", "stack_info")
_METHODS: Final[Mapping[str, int]] = {
    "debug": 10, "msg": 20, "info": 20, "warn": 30, "warning": 30, "error": 40, "fatal": 50, "critical": 50,
}  # fmt: skip
_LEVEL_METHODS: Final = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}

_ExcInfo: TypeAlias = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]


def get_run_logger(**fields: Any) -> FilteringBoundLogger:
    """A structlog logger whose lines are stored with the run, and shown on the console where that is on.

        logger = get_run_logger()
        logger.info("loaded %d rows", len(rows))
        logger.info("loaded", rows=len(rows), table="orders")

    It is bound to flow_run_id, task_run_id and attempt, and to `fields`. Outside a run it is a plain logger that
    writes to the console. It follows the setting `log_level`, and neither it nor anything else here touches the
    configuration of structlog or of Python's logging. A message that cannot be formatted never fails a run.
    """
    import structlog  # noqa: PLC0415  # costs 100 ms, which a run that says nothing does not pay

    frame = current_frame()
    settings = frame.application.settings if frame is not None else Settings.load()
    return cast(
        "FilteringBoundLogger",
        structlog.wrap_logger(
            _Lines(frame, settings),
            processors=[_as_argument],
            wrapper_class=_logger_class(_whole(settings.log_level)),
            context_class=dict,
            cache_logger_on_first_use=False,
            **{**(_bound_to(frame) if frame is not None else {}), **fields},
        ).bind(),
    )


def install() -> None:
    """Listen to logging and print() inside runs; counted, so that each open application calls it once."""
    global _installed  # noqa: PLW0603  # logging and print are of the process, and so is this
    with _installing:
        _installed += 1
        if _installed == 1:
            _hooks.hook()


def uninstall() -> None:
    """Undo one `install`; after the last, logging and print() are as they were before the first."""
    global _installed  # noqa: PLW0603  # as in install
    with _installing:
        _installed = max(0, _installed - 1)
        if _installed == 0:
            _hooks.unhook()


def _bound_to(frame: Frame) -> dict[str, Any]:
    task_run_id = frame.run.id if frame.run.kind == "task" else None
    ids = {"flow_run_id": _flow_run_id(frame), "task_run_id": task_run_id, "attempt": frame.run.attempt}
    return {name: value for name, value in ids.items() if value is not None}


def _flow_run_id(frame: Frame) -> str | None:
    return frame.flow_run.id if frame.flow_run is not None else None


def _record(
    frame: Frame, level: int, message: str, *, logger: str = "", fields: str | None = None, shown: bool = True
) -> None:
    """Queue a line for the store and, if it is to be `shown`, for the console."""
    application, run = frame.application, frame.run
    if level < application.settings.log_level:
        return
    at = application.clock.now()
    message = storable(message)
    if len(message) > LONGEST_MESSAGE:
        message = f"{message[:LONGEST_MESSAGE]}… ({len(message) - LONGEST_MESSAGE} more characters were cut)"
    logger = logger or f"asyncflow.{run.kind}_runs"
    fields = fields or f'{{"attempt": {run.attempt}}}'
    flow_run_id = _flow_run_id(frame)
    application.store.put_lines([LogLine(run.id, flow_run_id, at, level, logger, message, fields)])
    if shown and application.console is not None:
        is_task = run.kind == "task"
        cast("Console", application.console).line(
            level, f"Task run {run.name!r} - " if is_task else "", message, at,
            logger=logger, flow_run_id=flow_run_id, task_run_id=run.id if is_task else None, fields=fields,
        )  # fmt: skip


# --- the run logger -------------------------------------------------------------------------------------------------


class _Lines:
    """Where a run logger's lines go: to the frame in which it was made, else to the one in which it is used."""

    __slots__ = ("_frame", "_settings")

    def __init__(self, frame: Frame | None, settings: Settings) -> None:
        self._frame = frame
        self._settings = settings

    def _say(self, level: int, event: dict[str, Any]) -> None:
        message, fields = _message_of(event), _as_json(event)
        frame = self._frame if self._frame is not None else current_frame()
        if frame is not None:
            _record(frame, level, message, fields=fields)
        elif self._settings.log_console != "off":
            console = Console(self._settings, threaded=False)
            console.line(level, "", message, SystemClock().now(), logger=LOGGER, fields=fields)
            console.flush()

    debug = functools.partialmethod(_say, 10)
    info = functools.partialmethod(_say, 20)
    warning = functools.partialmethod(_say, 30)
    error = functools.partialmethod(_say, 40)
    critical = functools.partialmethod(_say, 50)


def _whole(level: int) -> int:
    """The named level at or below this one; 0 is below them all."""
    return min(level // 10 * 10, 50)


@functools.cache
def _logger_class(least: int) -> Any:
    """structlog's filtering logger from this level on, made to forgive what cannot be formatted."""
    import structlog  # noqa: PLC0415  # as in get_run_logger

    base = structlog.make_filtering_bound_logger(least)

    def forgiving(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def say(self: Any, event: Any, *args: Any, **fields: Any) -> Any:
            return method(self, _formatted(event, args), **fields)

        return say

    def log(self: Any, level: int, event: Any, *args: Any, **fields: Any) -> Any:
        return getattr(self, _LEVEL_METHODS[max(10, _whole(level))])(event, *args, **fields)

    methods = {name: forgiving(getattr(base, name)) for name, level in _METHODS.items() if level >= least}
    return type("RunLogger", (base,), {**methods, "log": log})


def _as_argument(_logger: Any, _method: str, event: Any) -> tuple[tuple[Any], dict[str, Any]]:
    return (event,), {}


def _formatted(event: Any, args: tuple[Any, ...]) -> str:
    """`event % args` as logging does it; what cannot be formatted is shown as it came."""
    try:
        text = str(event)
        if not args:
            return text
        only = args[0] if len(args) == 1 and isinstance(args[0], Mapping) and args[0] else args
        return text % only
    except Exception:  # code of somebody's own object; a log line is no reason to fail a run
        return " ".join(map(_shown, (event, *args)))


def _shown(value: Any) -> str:
    try:
        return value if isinstance(value, str) else repr(value)
    except Exception:  # as in _formatted
        return f"<{type(value).__name__} that cannot be shown>"


def _message_of(event: dict[str, Any]) -> str:
    """Take the message out of an event, with the traceback of what `exc_info` names."""
    message = _formatted(event.pop("event", ""), ())
    for name in (*_BOUND, *_STDLIB_ONLY):
        event.pop(name, None)
    trace = _trace_of(event.pop("exc_info", None))
    return f"{message}\n{trace}" if trace else message


def _trace_of(exc_info: Any) -> str:
    if not exc_info:
        return ""
    if isinstance(exc_info, BaseException):
        error: BaseException | None = exc_info
    else:
        error = cast("_ExcInfo", exc_info if isinstance(exc_info, tuple) else sys.exc_info())[1]
    return "".join(traceback.format_exception(error)).rstrip() if error is not None else ""


def _as_json(event: dict[str, Any]) -> str | None:
    """What was bound to a line, as a JSON object; what JSON cannot say is shown by its repr."""
    extra = event.pop("extra", None)
    event = {**extra, **event} if isinstance(extra, Mapping) else event if extra is None else {**event, "extra": extra}
    if not event:
        return None
    try:
        return json.dumps(event, default=_shown, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return json.dumps({str(name): _shown(value) for name, value in event.items()})


# --- Python's own logging, and print --------------------------------------------------------------------------------


class _RecordFactory:
    """Makes log records as its inner factory does, and stores those made inside a run.

    A factory sees what the host's levels let through and changes nothing; a handler on the root logger would see the
    same, but would switch off the host's `logging.basicConfig` and Python's handler of last resort.
    """

    def __init__(self, inner: Callable[..., logging.LogRecord]) -> None:
        self.inner = inner
        self.listening = True

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self.inner(*args, **kwargs)
        if self.listening:
            frame = current_frame()
            if frame is not None and not getattr(_here, "capturing", False):
                _capture(frame, record)
        return record


def _capture(frame: Frame, record: logging.LogRecord) -> None:
    settings, name = frame.application.settings, record.name
    if not settings.log_capture or not isinstance(name, str) or record.levelno < settings.log_level:
        return
    if name == LOGGER or name.startswith(LOGGER + "."):
        return
    _here.capturing = True  # what is logged on the way, by the code of a logged object, is not captured again
    try:
        message, trace = _formatted(record.msg, _arguments_of(record)), _trace_of(record.exc_info)
        _record(frame, record.levelno, f"{message}\n{trace}" if trace else message, logger=name, shown=False)
    except Exception:  # whoever logs did not ask to be heard here, and is not bothered with it
        return
    finally:
        _here.capturing = False


def _arguments_of(record: logging.LogRecord) -> tuple[Any, ...]:
    return (record.args,) if isinstance(record.args, Mapping) else record.args or ()


def _listening(inner: Callable[..., None]) -> Callable[..., None]:
    """`print`, but what goes to stdout from a run with log_prints becomes a line of its log."""

    @functools.wraps(inner)
    def print(
        *values: Any, sep: str | None = " ", end: str | None = "\n", file: Any = None, flush: bool = False
    ) -> None:
        frame = current_frame()
        if frame is None or not frame.log_prints or not (file is None or file is sys.stdout):
            inner(*values, sep=sep, end=end, file=file, flush=flush)
            return
        text = io.StringIO()
        inner(*values, sep=sep, end="", file=text)
        _record(frame, logging.INFO, text.getvalue())

    return print


class _Hooks:
    """What stands in for the record factory and for print() while applications are open."""

    def __init__(self) -> None:
        self._factory: _RecordFactory | None = None
        self._print: tuple[Callable[..., None], Callable[..., None]] | None = None

    def hook(self) -> None:
        self._factory = _RecordFactory(logging.getLogRecordFactory())
        logging.setLogRecordFactory(self._factory)
        self._print = (_listening(builtins.print), builtins.print)
        builtins.print = self._print[0]

    def unhook(self) -> None:
        """Take ours away where nobody has put theirs on top; elsewhere ours stays and does nothing."""
        if self._factory is not None:
            self._factory.listening = False
            if logging.getLogRecordFactory() is self._factory:
                logging.setLogRecordFactory(self._factory.inner)
        if self._print is not None and builtins.print is self._print[0]:
            builtins.print = self._print[1]
        self._factory = self._print = None


_here = threading.local()
_hooks = _Hooks()
_installing = threading.Lock()
_installed = 0
