"""Ledger: an account's money as the counter counts it. Facts only; what the account is worth is asked with prices.

Profit is kept twice. By date, the counter's own: yesterday's lots count from the last settlement price, today's from
their opening price. By trade: every lot from what was paid for it. Over a position's whole life both sum to the same.
Lots are closed oldest first, as the counter's position details are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Protocol, Self

import msgspec
from msgspec.structs import replace

from arbig.domain import fees
from arbig.domain.instruments import Instrument
from arbig.domain.messages import Direction, Offset, TradeData
from arbig.domain.positions import ClosedLots, Holding, Lots


class Working(Protocol):
    """A working order as the money sees it (an OrderState is one)."""

    @property
    def symbol(self) -> str: ...
    @property
    def direction(self) -> Direction: ...
    @property
    def offset(self) -> Offset: ...
    @property
    def price(self) -> float: ...
    @property
    def working(self) -> int: ...


class Worth(msgspec.Struct, frozen=True, kw_only=True):
    """An account at one moment's prices. `available` counts floating profit and loss alike."""

    pre_balance: float
    balance: float
    available: float
    margin: float
    frozen_margin: float
    frozen_commission: float
    commission: float
    close_profit: float
    position_profit: float
    close_profit_by_trade: float
    position_profit_by_trade: float

    @property
    def frozen(self) -> float:
        return self.frozen_margin + self.frozen_commission


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """One trading day of an account. `larger_side`: the broker holds only the larger side of a product (SHFE, INE)."""

    account_id: str
    trading_day: date
    pre_balance: float
    holdings: Mapping[str, Holding] = {}
    commission: float = 0.0
    close_profit: float = 0.0
    close_profit_by_trade: float = 0.0
    larger_side: bool = True

    def holding(self, instrument: Instrument) -> Holding:
        """The position in a contract, empty when there is none."""
        known = self.holdings.get(instrument.symbol)
        return known or Holding(symbol=instrument.symbol, position_date_type=instrument.position_date_type)

    def with_holding(self, holding: Holding) -> Self:
        return replace(self, holdings={**self.holdings, holding.symbol: holding})

    def after(self, trade: TradeData, instrument: Instrument) -> Self:
        """The account after a fill. Raises NotHeld when a close takes more than is held."""
        holding = self.holding(instrument)
        closed = holding.closed_by(trade)
        holdings = {**self.holdings, holding.symbol: holding.after(trade)}
        commission = self.commission + trade_commission(trade, closed, instrument)
        if not closed:
            return replace(self, holdings=holdings, commission=commission)
        side = trade.direction.opposite
        return replace(
            self,
            holdings=holdings,
            commission=commission,
            close_profit=self.close_profit
            + sum(profit(side, instrument.size, lots.volume, lots.mark, trade.price) for lots, _ in closed),
            close_profit_by_trade=self.close_profit_by_trade
            + sum(profit(side, instrument.size, lots.volume, lots.price, trade.price) for lots, _ in closed),
        )

    def worth(
        self, instruments: Mapping[str, Instrument], prices: Mapping[str, float], working: Iterable[Working] = ()
    ) -> Worth:
        """The account at these last prices (a contract without one stays at its mark), with these orders working."""
        orders = tuple(working)
        hold = fees.larger_side if self.larger_side else fees.both_sides
        held = tuple(self._margins(instruments))
        margin = hold(held)
        frozen_margin = hold((*held, *_opening_margins(instruments, orders))) - margin
        frozen_commission = sum(_order_commission(instruments[order.symbol], order) for order in orders)
        floating = self._floating(instruments, prices, by_date)
        balance = self.pre_balance + self.close_profit + floating - self.commission
        return Worth(
            pre_balance=self.pre_balance,
            balance=balance,
            available=balance - margin - frozen_margin - frozen_commission,
            margin=margin,
            frozen_margin=frozen_margin,
            frozen_commission=frozen_commission,
            commission=self.commission,
            close_profit=self.close_profit,
            position_profit=floating,
            close_profit_by_trade=self.close_profit_by_trade,
            position_profit_by_trade=self._floating(instruments, prices, by_trade),
        )

    def settled(
        self, instruments: Mapping[str, Instrument], settlement_prices: Mapping[str, float], next_day: date
    ) -> Self:
        """The next trading day: today's profit is in the balance, every lot is yesterday's, valued from settlement."""
        held = {symbol: holding for symbol, holding in self.holdings.items() if holding.long.lots or holding.short.lots}
        unpriced = sorted(held.keys() - settlement_prices.keys())
        if unpriced:
            raise ValueError(f"settlement of {self.trading_day}: no settlement price for {', '.join(unpriced)}")
        return replace(
            self,
            trading_day=next_day,
            pre_balance=self.worth(instruments, settlement_prices).balance,
            holdings={symbol: holding.rolled(settlement_prices[symbol]) for symbol, holding in held.items()},
            commission=0.0,
            close_profit=0.0,
            close_profit_by_trade=0.0,
        )

    def _margins(self, instruments: Mapping[str, Instrument]) -> Iterator[tuple[str, Direction, float]]:
        for symbol, holding in self.holdings.items():
            for side in Direction:
                yield instruments[symbol].product, side, side_margin(holding, side, instruments[symbol])

    def _floating(self, instruments: Mapping[str, Instrument], prices: Mapping[str, float], start: Start) -> float:
        return sum(
            side_profit(holding, side, instruments[symbol], prices.get(symbol), start)
            for symbol, holding in self.holdings.items()
            for side in Direction
        )


class Start(Protocol):
    """From which price a lot's profit counts: its mark (by date) or what was paid (by trade)."""

    def __call__(self, lots: Lots, /) -> float: ...


def by_date(lots: Lots) -> float:
    return lots.mark


def by_trade(lots: Lots) -> float:
    return lots.price


def profit(side: Direction, size: float, volume: int, start: float, end: float) -> float:
    """What lots held on a side gain between two prices."""
    return side.sign * (end - start) * volume * size


def side_profit(
    holding: Holding, side: Direction, instrument: Instrument, price: float | None, start: Start = by_date
) -> float:
    """Floating profit of one side; without a price the lots stay at their mark."""
    return sum(
        profit(side, instrument.size, lots.volume, start(lots), lots.mark if price is None else price)
        for lots in holding.side(side).lots
    )


def side_margin(holding: Holding, side: Direction, instrument: Instrument) -> float:
    """Margin of one side: today's lots at their opening price, yesterday's at the last settlement price."""
    return sum(
        fees.margin(instrument.margin_rate, instrument.size, lots.mark, lots.volume) for lots in holding.side(side).lots
    )


def trade_commission(trade: TradeData, closed: tuple[ClosedLots, ...], instrument: Instrument) -> float:
    """What a fill costs; a close pays for every lot by its age, however the order was marked."""
    if trade.offset is Offset.OPEN:
        return fees.commission(instrument.fees, instrument.size, Offset.OPEN, trade.price, trade.volume)
    return sum(
        fees.commission(instrument.fees, instrument.size, _AGE[is_today], trade.price, lots.volume)
        for lots, is_today in closed
    )


_AGE = {True: Offset.CLOSETODAY, False: Offset.CLOSEYESTERDAY}


def _opening_margins(
    instruments: Mapping[str, Instrument], orders: Iterable[Working]
) -> Iterator[tuple[str, Direction, float]]:
    for order in orders:
        if order.offset is Offset.OPEN:
            instrument = instruments[order.symbol]
            amount = fees.margin(instrument.margin_rate, instrument.size, order.price, order.working)
            yield instrument.product, order.direction, amount


def _order_commission(instrument: Instrument, order: Working) -> float:
    return fees.commission(instrument.fees, instrument.size, order.offset, order.price, order.working)
