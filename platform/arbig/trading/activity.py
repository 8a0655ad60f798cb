"""Trading: what is counted of a trading day, kept up to date with every state an order moves to. The counters are those
that a recount of the tables finds; they are made anew from them at start and when the day turns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date

from arbig.domain.messages import Direction
from arbig.domain.orders import OrderState
from arbig.domain.risk import Counting, Counts, Exposure, RiskSettings, counts_of, opening_of, product_of

FEN = 100
NOTHING = Counts()

TradeSide = tuple[str, str, Direction]
LotMargin = Callable[[OrderState], float]
"""Yuan of margin for one lot of an order, at its price."""


class Activity:
    """The day's counts by contract, lots being opened by product, and the margin these will need (in whole fen, so that
    adding and taking away leaves nothing behind)."""

    def __init__(self, settings: RiskSettings, lot_margin: LotMargin) -> None:
        self._counting = settings.counting
        self._large_lots = settings.large_lots
        self._lot_margin = lot_margin
        self.load(None, (), ())

    def load(self, day: date | None, orders: Iterable[OrderState], sides: Iterable[TradeSide]) -> None:
        self.day = day
        self.counts: defaultdict[str, Counts] = defaultdict(Counts)
        self.opening: defaultdict[str, Exposure] = defaultdict(Exposure)
        self.active = 0
        self._reserved = 0
        self._margins: dict[str, int] = {}
        self._sides: set[TradeSide] = set()
        self._warned: set[tuple[str, str, bool]] = set()
        self._changed: set[str] = set()
        for order in orders:
            self.moved(None, order)
        for side in sides:
            self.traded(*side)

    def moved(self, before: OrderState | None, after: OrderState) -> None:
        """An order is in another state than before."""
        self._count(before, after)
        self.active += after.is_active - (before is not None and before.is_active)
        lots = opening_of(after) - (0 if before is None else opening_of(before))
        if lots:
            product = product_of(after.symbol)
            self.opening[product] = self.opening[product].plus(after.direction, lots)
            self._reserved += lots * self._fen_of(after)

    def _count(self, before: OrderState | None, after: OrderState) -> None:
        was, now = self._counts_of(before), self._counts_of(after)
        if was is now:
            return
        self.counts[after.symbol] = self.counts[after.symbol].moved(was, now)
        self._changed.add(after.symbol)

    def _counts_of(self, order: OrderState | None) -> Counts:
        if order is None or order.trading_day != self.day:
            return NOTHING
        return counts_of(order, self._large_lots)

    def _fen_of(self, order: OrderState) -> int:
        """Margin of one lot; asked once an order, and forgotten with the order's last lot."""
        key = order.request_id or f"#{order.order_id}"
        found = self._margins.get(key)
        if found is None:
            found = self._margins[key] = round(self._lot_margin(order) * FEN)
        if not opening_of(order):
            del self._margins[key]
        return found

    def traded(self, symbol: str, trade_id: str, direction: Direction) -> None:
        """A trade of this day, once. When its other side is this account's too, the account has traded with itself."""
        self._sides.add((symbol, trade_id, direction))
        if (symbol, trade_id, direction.opposite) in self._sides:
            self.counts[symbol] = replace(self.counts[symbol], self_trades=self.counts[symbol].self_trades + 1)
            self._changed.add(symbol)

    @property
    def reserved(self) -> float:
        return self._reserved / FEN

    def warnings(self) -> list[str]:
        """What has come near an exchange's number, or reached it, since this was asked last. Each is said once a day,
        and again after a restart."""
        symbols, self._changed = sorted(self._changed), set()
        return [line for symbol in symbols for rule in self._counting for line in self._warnings(symbol, rule)]

    def _warnings(self, symbol: str, rule: Counting) -> Sequence[str]:
        count = rule.count(self.counts[symbol])
        is_reached = count >= rule.limit
        if count < rule.limit * rule.warn_percent / 100 or (symbol, rule.code, is_reached) in self._warned:
            return ()
        self._warned.add((symbol, rule.code, is_reached))
        what = (
            "the exchange's number is reached" if is_reached else f"{count / rule.limit:.0%} of the exchange's number"
        )
        return (f"{symbol}: {count} {rule.words} today, {what} ({rule.limit}); fewer orders, or FAK and FOK",)
