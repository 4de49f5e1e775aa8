"""The types of methods."""

from __future__ import annotations

from typing import assert_type

from asyncflow import Future, FutureList, State, flow, task


class Shop:
    @task
    def price(self, item: str, amount: int = 1) -> float:
        return len(item) * amount

    @task(retries=2)
    async def stock(self, item: str) -> int:
        return len(item)

    @flow
    async def count(self, items: list[str]) -> int:
        assert_type(self.price("tea", amount=2), float)
        assert_type(self.price("tea", return_state=True), State[float])
        assert_type(self.price.submit("tea"), Future[float])
        assert_type(await self.stock("tea"), int)
        assert_type(await self.stock.submit("tea"), int)
        assert_type(self.stock.map(items), FutureList[int])
        async for number in self.stock.stream(items):
            assert_type(number, int)
        return 0


async def visit(shop: Shop) -> None:
    assert_type(await shop.count(["tea"]), int)
    assert_type(await shop.count(items=["tea"], return_state=True), State[int])
    assert_type(await shop.count.with_options(name="other")(["tea"]), int)
    assert_type(Shop.price(shop, "tea"), float)
    assert_type(await Shop.stock(shop, "tea"), int)
