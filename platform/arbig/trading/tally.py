"""Tally: the lots and the money that our own trades add up to, from the last settlement on. The counter is not asked.

Lots are sums, so the order in which fills become known does not matter. Money is the ledger's: fills in turn, lots
marked by the day's pre-settlement price.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from msgspec.structs import replace

from arbig.domain.instruments import Instrument, UnknownSymbol
from arbig.domain.ledger import Account
from arbig.domain.messages import Direction, Offset, TradeData
from arbig.domain.positions import Holding, NotHeld
from arbig.domain.positions import Lots as Marked
from arbig.domain.positions import Side as Held
from arbig.trading.differences import Lots, Side

InstrumentOf = Callable[[str], Instrument]
PriceOf = Callable[[str], float | None]


def side_of(trade: TradeData) -> Side:
    """The lots it opens or takes."""
    return trade.symbol, trade.direction if trade.offset is Offset.OPEN else trade.direction.opposite


@dataclass
class Sums:
    """What happened to one side in a day."""

    opened: int = 0
    closed_today: int = 0
    closed: int = 0

    def add(self, trade: TradeData, times: int = 1) -> None:
        if trade.offset is Offset.OPEN:
            self.opened += times * trade.volume
        elif trade.offset is Offset.CLOSETODAY:
            self.closed_today += times * trade.volume
        else:
            self.closed += times * trade.volume


@dataclass
class Tally:
    """One trading day. `opening`: lots held when it began, with what the counter said at the close of `settled`.
    `corrections`: lots without a trade that a person, or the first look at the account, has taken over."""

    day: date | None = None
    settled: date | None = None
    opening: dict[Side, int] = field(default_factory=dict)
    corrections: dict[Side, Lots] = field(default_factory=dict)
    pre_balance: float | None = None
    trades: list[TradeData] = field(default_factory=list)
    _sums: defaultdict[Side, Sums] = field(default_factory=lambda: defaultdict(Sums))
    _account: Account | None = None
    _folded: int = 0

    def add(self, trade: TradeData) -> None:
        """A fill, once. One of an earlier day changes what this day began with, unless the counter's picture of a close
        had it already: the streams may bring the close before the fill."""
        if self.day is not None and trade.trading_day is not None and trade.trading_day < self.day:
            self._open(trade, 1)
        else:
            self.trades.append(trade)
            self._sums[side_of(trade)].add(trade)

    def remove(self, trade: TradeData) -> None:
        """It was made up, and the true one has come."""
        self._account = None
        if trade in self.trades:
            self.trades.remove(trade)
            self._sums[side_of(trade)].add(trade, -1)
        else:
            self._open(trade, -1)

    def correct(self, side: Side, lots: Lots) -> None:
        known = self.corrections.get(side, Lots())
        self.corrections[side] = Lots(known.today + lots.today, known.yesterday + lots.yesterday)
        self._account = None

    def _open(self, trade: TradeData, times: int) -> None:
        if self.settled is not None and trade.trading_day is not None and trade.trading_day <= self.settled:
            return
        side, sign = side_of(trade), 1 if trade.offset is Offset.OPEN else -1
        self.opening[side] = self.opening.get(side, 0) + times * sign * trade.volume
        self._account = None

    # ---- lots -----------------------------------------------------------------------------------------------------

    def lots(self, splits: Callable[[str], bool], later: Iterable[TradeData] = ()) -> dict[Side, Lots]:
        """What is held on every side, had the fills named `later` not come yet."""
        without: defaultdict[Side, Sums] = defaultdict(Sums)
        for trade in later:
            if trade.trading_day == self.day:
                without[side_of(trade)].add(trade)
        sides = self.opening.keys() | self.corrections.keys() | self._sums.keys()
        found = {side: self._side(side, splits(side[0]), without.get(side)) for side in sides}
        return {side: lots for side, lots in found.items() if lots != Lots()}

    def _side(self, side: Side, splits: bool, without: Sums | None) -> Lots:
        sums, gone = self._sums.get(side) or Sums(), without or Sums()
        fixed = self.corrections.get(side, Lots())
        opened = sums.opened - gone.opened + fixed.today
        closed, closed_today = sums.closed - gone.closed, sums.closed_today - gone.closed_today
        began = self.opening.get(side, 0) + fixed.yesterday
        if splits:
            return Lots(opened - closed_today, began - closed)
        closed += closed_today  # the oldest lots first
        return Lots(opened - max(0, closed - began), max(0, began - closed))

    # ---- money ----------------------------------------------------------------------------------------------------

    def account(self, instrument_of: InstrumentOf, pre_settlement: PriceOf, pre_balance: float) -> Account | None:
        """The day's ledger up to the last fill. None when it cannot be said: lots taken over during the day have no
        opening price, a contract has no pre-settlement price yet, or a fill closes lots that we do not know."""
        if any(lots.today for lots in self.corrections.values()):
            return None
        try:
            account = self._account or self._began(instrument_of, pre_settlement, pre_balance)
            if account is None:
                return None
            for trade in self.trades[self._folded :]:
                account = account.after(trade, instrument_of(trade.symbol))
        except (NotHeld, UnknownSymbol):
            self._account = None
            return None
        self._account, self._folded = account, len(self.trades)
        return account

    def _began(self, instrument_of: InstrumentOf, pre_settlement: PriceOf, pre_balance: float) -> Account | None:
        self._folded = 0
        self.trades.sort(key=lambda trade: (trade.datetime, trade.offset is not Offset.OPEN))
        holdings: dict[str, Holding] = {}
        for symbol, direction in self.opening.keys() | self.corrections.keys():
            volume = self.opening.get((symbol, direction), 0)
            volume += self.corrections.get((symbol, direction), Lots()).yesterday
            price = pre_settlement(symbol)
            if volume == 0:
                continue
            if price is None or volume < 0:
                return None
            instrument = instrument_of(symbol)
            known = holdings.get(symbol) or Holding(symbol=symbol, position_date_type=instrument.position_date_type)
            held = Held(yesterday_lots=(Marked(volume, price, price),))
            holdings[symbol] = replace(known, long=held) if direction is Direction.LONG else replace(known, short=held)
        assert self.day is not None
        return Account(account_id="", trading_day=self.day, pre_balance=pre_balance, holdings=holdings)


def opened_with(
    day: date,
    settled: date | None,
    held: Mapping[Side, int],
    corrections: Iterable[tuple[date, Side, Lots]],
    trades: Iterable[TradeData],
    is_listed: Callable[[str], bool],
) -> Tally:
    """The tally of a day: what was `held` when it was last settled, and everything since. Contracts that have expired
    are gone."""
    opening = {side: volume for side, volume in held.items() if is_listed(side[0])}
    tally = Tally(day=day, settled=settled, opening=opening)
    for when, side, lots in corrections:
        if not is_listed(side[0]):
            continue
        if when < day:
            tally.opening[side] = tally.opening.get(side, 0) + lots.volume
        else:
            tally.correct(side, lots)
    for trade in trades:
        if is_listed(trade.symbol) and (trade.trading_day or day) <= day:
            tally.add(trade)
    return tally
