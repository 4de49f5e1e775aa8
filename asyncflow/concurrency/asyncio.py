"""`async with concurrency("name"):` under the name that Prefect gives it."""

from __future__ import annotations

from .limits import concurrency

__all__ = ["concurrency"]
