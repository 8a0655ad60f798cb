"""Trading: a strategy's book in one contract, net. What the account holds is the counter's word, whose it is ours."""

from __future__ import annotations

from datetime import datetime as Time
from typing import Self

import msgspec
from msgspec.structs import replace

from arbig.domain.messages import Exchange, TradeData

UNASSIGNED = "unassigned"


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """`volume`: net lots. `price`: average entry price of what is held. `cash`: what the trades have paid and earned,
    in price units x lots, so that cash + volume x last price is the whole profit, whatever the order of the fills."""

    account_id: str
    strategy_name: str
    symbol: str
    exchange: Exchange
    volume: int = 0
    price: float = 0.0
    cash: float = 0.0
    updated_at: Time

    def after(self, trade: TradeData) -> Self:
        return self.moved(trade.direction.sign * trade.volume, trade.price, trade.datetime)

    def moved(self, change: int, price: float, when: Time) -> Self:
        """So many net lots more (or less), taken over at a price."""
        return replace(
            self,
            volume=self.volume + change,
            price=_entry_price(self.volume, self.price, change, price),
            cash=self.cash - change * price,
            updated_at=max(self.updated_at, when),
        )

    def undone(self, change: int, price: float, when: Time) -> Self:
        """As if so many net lots had never been moved in at that price."""
        volume = self.volume - change
        is_rest = volume * self.volume > 0 and abs(volume) < abs(self.volume)
        spent = self.price * abs(self.volume) - price * abs(change)
        entry = spent / abs(volume) if is_rest else self.moved(-change, price, when).price
        return replace(self.moved(-change, price, when), price=entry)

    def settled(self, price: float, when: Time) -> Self:
        """The contract has expired: what was held is paid out at this price."""
        return replace(self, volume=0, price=0.0, cash=self.cash + self.volume * price, updated_at=when)

    def floating(self, last_price: float, size: float) -> float:
        """Profit of what is held, in yuan."""
        return (last_price - self.price) * self.volume * size

    def profit(self, last_price: float, size: float) -> float:
        """Profit of everything ever traded, in yuan, before fees."""
        return (self.cash + self.volume * last_price) * size


def _entry_price(volume: int, price: float, change: int, paid: float) -> float:
    after = volume + change
    if after == 0:
        return 0.0
    if volume * change >= 0:
        return (price * abs(volume) + paid * abs(change)) / abs(after)
    return price if volume * after > 0 else paid
