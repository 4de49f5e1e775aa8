"""Python runs this before a snippet: naps are a hundred times shorter, and chance is what the test says.

The order of events stays as it is, since every nap shrinks alike; the delays that are printed stay as written.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from typing import Any

FASTER = 100


def _shorter(sleep: Callable[..., Any]) -> Callable[..., Any]:
    return lambda seconds, *result: sleep(seconds / FASTER, *result)


time.sleep = _shorter(time.sleep)
asyncio.sleep = _shorter(asyncio.sleep)
if "SEED_CHANCES" in os.environ:
    random.random = iter(map(float, os.environ["SEED_CHANCES"].split())).__next__
