"""A script that fills a database with runs of every kind; `python -m tests.cli.stories` runs it."""

from __future__ import annotations

import asyncio

from asyncflow import Application, flow, get_run_logger, tags, task
from asyncflow.cache_policies import INPUTS
from asyncflow.ports import LimitRecord


class UnluckyError(Exception):
    """Thirteen."""


@task(cache_policy=INPUTS)
async def double(number: int) -> int:
    get_run_logger().info("doubling %s", number)
    return 2 * number


@task(retries=1, retry_delay_seconds=0.01)
async def unlucky(number: int) -> int:
    raise UnluckyError(f"{number} is unlucky\x1b[31m\nand so are two lines")


@flow
async def inner(number: int) -> int:
    return await double(number)


@flow(flow_run_name="good-{number}")
async def good(number: int, token: str = "hush") -> list[int]:
    get_run_logger().warning("going to double")
    doubled = [await double(each) for each in range(number)]
    return [*doubled, await inner(100)]


@flow(flow_run_name="bad")
async def bad() -> None:
    await unlucky(13)


@flow(flow_run_name="twin")
async def twin() -> None:
    return None


async def main() -> None:
    async with Application(log_console="off") as application:
        await application.store.set_limit(LimitRecord("api", 5))
        await good(3)
        with tags("evening"):
            await good(4)
        await bad(return_state=True)
        await twin()
        await twin()


if __name__ == "__main__":
    asyncio.run(main())
