"""Money: what one strategy owns while it is tested: the counter's ledger, asked only when something happens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

import msgspec

from arbig.backtest.result import Day
from arbig.domain.instruments import Instrument
from arbig.domain.ledger import Account, Working, Worth
from arbig.domain.messages import Direction, Offset, TradeData
from arbig.domain.positions import Holding


class Money:
    """An account of one strategy. `exposure`: by symbol, yuan won when the price rises by one; with it and `cash` the
    balance at any price is a sum (`balance_at`)."""

    def __init__(self, strategy_name: str, capital: float, first_day: date) -> None:
        self.strategy_name = strategy_name
        self.account = Account(account_id=strategy_name, trading_day=first_day, pre_balance=capital)
        self.instruments: dict[str, Instrument] = {}
        self.exposure: dict[str, float] = {}
        self._dearest: dict[str, tuple[float, float]] = {}
        self.cash = capital
        self._marks: dict[str, float] = {}
        self._begin_day()

    def _begin_day(self) -> None:
        self._trades: list[TradeData] = []
        self._slippage = 0.0
        self._opening = {symbol: holding.net for symbol, holding in self.account.holdings.items()}

    def know(self, instrument: Instrument) -> None:
        """The contract as of today: its fees and margin may change from day to day."""
        self.instruments[instrument.symbol] = instrument
        by_lot, by_rate = zip(*map(instrument.fees.of, Offset), strict=True)
        self._dearest[instrument.symbol] = max(by_lot), max(by_rate)

    def carry(self, holdings: Iterable[Holding]) -> None:
        """Lots held from before the first day. Their contracts must be known."""
        for holding in holdings:
            self.account = self.account.with_holding(holding)
            lots = (*holding.long.lots, *holding.short.lots)
            if lots:
                self._marks[holding.symbol] = lots[0].mark
        self._begin_day()
        self._sum()

    def holding(self, symbol: str) -> Holding:
        return self.account.holding(self.instruments[symbol])

    def holds(self, symbol: str) -> bool:
        """Long or short lots."""
        holding = self.account.holdings.get(symbol)
        return holding is not None and bool(holding.long.volume or holding.short.volume)

    def freeze(self, symbol: str, direction: Direction, offset: Offset, volume: int) -> None:
        """Raises NotHeld when the lots are not there."""
        self.account = self.account.with_holding(self.holding(symbol).freeze(direction, offset, volume))

    def release(self, symbol: str, direction: Direction, offset: Offset, volume: int) -> None:
        self.account = self.account.with_holding(self.holding(symbol).release(direction, offset, volume))

    def book(self, trade: TradeData, slippage: float) -> None:
        """A fill; `slippage` is what of its price was slippage, in yuan."""
        self.account = self.account.after(trade, self.instruments[trade.symbol])
        self._trades.append(trade)
        self._slippage += slippage
        self._sum()

    def balance_at(self, prices: Mapping[str, float]) -> float:
        return self.cash + sum(amount * prices[symbol] for symbol, amount in self.exposure.items())

    def worth(self, prices: Mapping[str, float], working: Iterable[Working] = ()) -> Worth:
        return self.account.worth(self.instruments, prices, working)

    def affords(self, prices: Mapping[str, float], working: Iterable[Working], order: Working) -> bool:
        """Whether an opening order's margin and fee are there, beside what is held and what works."""
        orders = (*working, order)
        return self._surely_affords(prices, orders) or self.worth(prices, orders).available >= 0

    def _surely_affords(self, prices: Mapping[str, float], orders: Iterable[Working]) -> bool:
        """With every side's margin held and every order paid as dearly as any: then nothing finer need be asked."""
        need = 0.0
        for order in orders:
            instrument = self.instruments[order.symbol]
            by_lot, by_rate = self._dearest[order.symbol]
            need += order.working * (by_lot + order.price * instrument.size * (instrument.margin_rate + by_rate))
        for holding in self.account.holdings.values():
            instrument = self.instruments[holding.symbol]
            for side in (holding.long, holding.short):
                need += sum(lots.volume * lots.mark for lots in side.lots) * instrument.size * instrument.margin_rate
        return self.balance_at(prices) - need > 0

    def settle(self, day: date, settlement: Mapping[str, float], next_day: date) -> Day:
        """The books of a day closed at its settlement prices; the next day begins."""
        worth = self.worth(settlement)
        held = {symbol: holding for symbol, holding in self.account.holdings.items() if holding.net}
        before = self.account.pre_balance
        started = sum(
            lots * (settlement[symbol] - self._marks[symbol]) * self.instruments[symbol].size
            for symbol, lots in self._opening.items()
            if lots
        )
        self.account = self.account.settled(self.instruments, settlement, next_day)
        net = self.account.pre_balance - before
        day_of = Day(
            trading_day=day,
            strategy_name=self.strategy_name,
            balance=self.account.pre_balance,
            net_pnl=net,
            holding_pnl=started,
            trading_pnl=net - started + worth.commission + self._slippage,
            commission=worth.commission,
            slippage=self._slippage,
            turnover=sum(trade.price * trade.volume * self.instruments[trade.symbol].size for trade in self._trades),
            trade_count=len(self._trades),
            margin=float(self.worth(settlement).margin),
            position={f"{symbol}.{self.instruments[symbol].exchange}": holding.net for symbol, holding in held.items()},
        )
        self._marks = dict(settlement)
        self._begin_day()
        self._sum()
        return day_of

    def deliver(self, symbol: str) -> None:
        """The contract is over: what was settled is paid, the lots are gone."""
        holdings = {name: holding for name, holding in self.account.holdings.items() if name != symbol}
        self.account = msgspec.structs.replace(self.account, holdings=holdings)
        self._begin_day()
        self._sum()

    def _sum(self) -> None:
        account = self.account
        self.cash = account.pre_balance + account.close_profit - account.commission
        exposure: dict[str, float] = {}
        for symbol, holding in account.holdings.items():
            held, value = 0, 0.0
            for side, sign in ((holding.long, 1), (holding.short, -1)):
                for lots in side.lots:
                    held += sign * lots.volume
                    value += sign * lots.volume * lots.mark
            if held or value:
                size = self.instruments[symbol].size
                exposure[symbol] = held * size
                self.cash -= value * size
        self.exposure = exposure
