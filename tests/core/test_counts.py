"""Counting identities: exact in a dict, and the same answers from the compact tables."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from hashlib import sha256

from asyncflow.core import counts
from asyncflow.core.counts import Counts


def identity(number: int) -> str:
    return sha256(str(number).encode()).hexdigest()[:32]


def test_the_compact_tables_count_as_a_counter_does() -> None:
    source = random.Random(7)
    ours, oracle = Counts(), Counter[str]()
    for _ in range(3 * counts.FEW):
        one = identity(source.randrange(2 * counts.FEW))

        assert ours.take(one) == oracle[one]

        oracle[one] += 1


def test_an_identity_of_a_large_body_takes_few_bytes() -> None:
    many = 200_000
    ours = Counts()
    tracemalloc.start()
    for number in range(many):
        ours.take(identity(number))
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert size / many < 40


def test_the_number_zero_is_an_identity_as_any_other() -> None:
    ours = Counts()
    for number in range(counts.FEW + 1):
        ours.take(identity(number))

    assert [ours.take("0" * 32) for _ in range(3)] == [0, 1, 2]
