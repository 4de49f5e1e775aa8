"""Moments and spans of time, as people write and read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import click

SECOND = 1_000_000
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


class Since(click.ParamType[int]):
    """`2h`, `90s`, `1d12h`, or a date and time: microseconds since the epoch."""

    name = "since"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read the moment."""
        if isinstance(value, int):
            return value
        text = str(value).strip()
        parts = _SPAN.findall(text)
        if parts and "".join(number + unit for number, unit in parts) == text:
            return now() - round(sum(float(number) * _UNITS[unit] for number, unit in parts) * SECOND)
        try:
            return round(datetime.fromisoformat(text).timestamp() * SECOND)
        except (ValueError, OverflowError, OSError):
            self.fail(f"{text!r} is no span such as 30m, 2h or 7d, and no date such as 2030-01-31.", param, ctx)


def now() -> int:
    """This moment, in microseconds since the epoch."""
    return round(datetime.now(UTC).timestamp() * SECOND)


def iso(at: int | None) -> str | None:
    """A moment for programs: ISO 8601 in UTC."""
    return None if at is None else datetime.fromtimestamp(at / SECOND, UTC).isoformat(timespec="microseconds")


def clock(at: int) -> str:
    """A moment for people: the local date and time, to the millisecond."""
    return datetime.fromtimestamp(at / SECOND).isoformat(" ", "milliseconds")


def seconds_between(start: int | None, end: int | None) -> float | None:
    """How many seconds lie between; None where either is missing."""
    return None if start is None or end is None else (end - start) / SECOND


def age(at: int) -> str:
    """How long ago it was, in one unit."""
    seconds = max(0, now() - at) / SECOND
    for unit in ("d", "h", "m"):
        if seconds >= _UNITS[unit] * 2:
            return f"{seconds // _UNITS[unit]:.0f}{unit}"
    return f"{seconds:.0f}s"


def span(seconds: float | None) -> str:
    """How long it took: 3ms, 4.2s, 3m05s, 2h11m."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def size(count: int) -> str:
    """How many bytes: 812 B, 4.1 KiB, 20.3 MiB."""
    if count < 1024:
        return f"{count} B"
    scaled = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        scaled /= 1024
        if scaled < 1024 or unit == "GiB":
            break
    return f"{scaled:.1f} {unit}"
