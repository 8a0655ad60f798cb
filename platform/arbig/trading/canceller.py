"""Trading: a cancel that somebody has asked for is asked of the counter until the order is over.

In a break, at night and in an auction no exchange takes a cancel: then it waits, visibly, and goes out when the market
goes on. What is wanted is on disk with the first asking (the outbox holds its command), so a new life knows it too.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable

from arbig.bus.port import BusError
from arbig.domain.orders import OrderState
from arbig.domain.protection import ASK_AGAIN_SECONDS
from arbig.runtime.clock import Clock
from arbig.store.database import StoreError
from arbig.trading.chaser import CANCELS_A_SECOND
from arbig.trading.order_manager import OrderManager

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5


class Canceller:
    """`cancel` asks the counter for these orders, `closed` says why a contract's cannot be cancelled now."""

    def __init__(
        self,
        orders: OrderManager,
        cancel: Callable[[Iterable[OrderState]], Awaitable[None]],
        closed: Callable[[str], str | None],
        clock: Clock,
    ) -> None:
        self._orders = orders
        self._cancel = cancel
        self._closed = closed
        self._clock = clock
        self._asked: dict[str, float] = {}

    def want(self, name: str) -> None:
        """Asked a moment ago, by whomever."""
        self._asked[name] = self._clock.monotonic()

    def load(self, names: Iterable[str]) -> None:
        """What a former life was asked."""
        self._asked |= dict.fromkeys(names, float("-inf"))

    @property
    def waiting(self) -> list[tuple[OrderState, str | None]]:
        """Orders that work though somebody wants them gone, and why nothing can be done now."""
        found = [order for order in map(self._orders.get, self._asked) if order is not None and order.is_active]
        return [(order, self._closed(order.symbol)) for order in found]

    def why(self, order: OrderState) -> str | None:
        """In words for whoever asks how his cancel fares; None when nobody wants it gone."""
        if order.request_id not in self._asked or not order.is_active:
            return None
        closed = self._closed(order.symbol)
        return (
            f"{order.symbol}: {closed}; the cancel goes out when it is over" if closed else "the cancel is on its way"
        )

    async def run_for_ever(self) -> None:
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except (BusError, StoreError) as error:
                log.error("cancels: %s", error)  # asked again with the next look

    async def look(self) -> None:
        gone = [name for name in self._asked if not _works(self._orders.get(name))]
        for name in gone:
            del self._asked[name]
        now = self._clock.monotonic()
        patience = ASK_AGAIN_SECONDS + len(self._asked) / CANCELS_A_SECOND
        due = [order for order, closed in self.waiting if closed is None and now - self._when(order) >= patience]
        for order in due:
            self.want(order.request_id)
        if due:
            await self._cancel(due)

    def _when(self, order: OrderState) -> float:
        return self._asked.get(order.request_id, float("-inf"))


def _works(order: OrderState | None) -> bool:
    return order is not None and order.is_active
