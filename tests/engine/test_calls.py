"""What a call tells of its identity."""

from __future__ import annotations

from pathlib import Path

from asyncflow import flow, task

from ..behaviour.outside import Stored


def test_equal_calls_from_one_sync_body_are_not_concurrent_branches(home: Path) -> None:
    @task
    def token() -> int:
        return 1

    @flow
    def outer() -> int:
        first, second = token.submit(), token.submit()
        return first.result() + second.result()

    assert outer() == 2
    assert Stored(home).rows("select message from log where message like '%identical concurrent%'") == []
