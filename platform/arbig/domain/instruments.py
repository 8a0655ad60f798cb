"""Instruments: what a contract is. A symbol is product + delivery month (`au2512`), derived for any month of a
known product; what changes over the years (size, tick, hours, fees, margin) stands in dated rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from difflib import get_close_matches
from string import digits
from typing import Literal

from arbig.domain.fees import FeeSchedule
from arbig.domain.messages import Exchange, split_vt_symbol
from arbig.domain.sessions import CalendarError, TradingCalendar

SYMBOL = re.compile(r"([A-Za-z]+)(\d{2})(0[1-9]|1[0-2])")
EVERY_MONTH = tuple(range(1, 13))
LastDayRule = Literal["fifteenth", "end_of_month_before", "last_monday"]


class UnknownSymbol(LookupError):
    """No such contract: one line with the nearest name."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Which delivery months trade: the next `near` ones of `months`, then those of `far_months` up to `within` months
    ahead. Natural main contracts are those of `main_months`, left `roll_days` before their delivery month begins."""

    months: tuple[int, ...] = EVERY_MONTH
    near: int = 12
    far_months: tuple[int, ...] = ()
    within: int = 12
    last_day: LastDayRule = "fifteenth"
    main_months: tuple[int, ...] = EVERY_MONTH
    roll_days: int = 15


@dataclass(frozen=True, slots=True)
class ProductRow:
    """A product from `valid_from` on."""

    product: str
    exchange: Exchange
    name: str
    english_name: str
    valid_from: date
    size: float
    price_tick: float
    night_close: time | None
    position_date_type: Literal["1", "2"]
    max_order_volume: int
    fees: FeeSchedule
    margin_rate: float
    listing: Listing = Listing()


@dataclass(frozen=True, slots=True)
class Instrument:
    """One contract as of a day. `position_date_type` '1': today's and yesterday's lots are closed apart."""

    symbol: str
    exchange: Exchange
    product: str
    name: str
    english_name: str
    size: float
    price_tick: float
    night_close: time | None
    position_date_type: Literal["1", "2"]
    max_order_volume: int
    fees: FeeSchedule
    margin_rate: float
    last_trading_day: date

    @property
    def vt_symbol(self) -> str:
        return f"{self.symbol}.{self.exchange}"

    @property
    def splits_today(self) -> bool:
        """Today's lots need CLOSETODAY, yesterday's CLOSE or CLOSEYESTERDAY."""
        return self.position_date_type == "1"


class InstrumentBook:
    """Every known product; hands out the contract of any delivery month. With a calendar the last trading day is
    postponed by holidays, beyond its range by weekends only."""

    def __init__(self, rows: dict[str, tuple[ProductRow, ...]], calendar: TradingCalendar | None = None) -> None:
        self._rows = rows
        self._calendar = calendar
        self._known: dict[tuple[str, date], Instrument] = {}
        self._charged: dict[str, tuple[float | None, FeeSchedule | None]] = {}

    @classmethod
    def from_rows(cls, rows: Iterable[ProductRow], calendar: TradingCalendar | None = None) -> InstrumentBook:
        products: dict[str, list[ProductRow]] = {}
        for row in rows:
            products.setdefault(row.product, []).append(row)
        ordered = {name: tuple(sorted(found, key=lambda row: row.valid_from)) for name, found in products.items()}
        return cls(ordered, calendar)

    @property
    def products(self) -> tuple[str, ...]:
        return tuple(self._rows)

    @property
    def rows(self) -> tuple[ProductRow, ...]:
        """Every dated row; `from_rows` makes the same book of them."""
        return tuple(row for rows in self._rows.values() for row in rows)

    def get(self, symbol: str, day: date | None = None) -> Instrument:
        """`au2512` or `au2512.SHFE` with the row of `day` (the newest without one). Raises UnknownSymbol."""
        bare, exchange = split_vt_symbol(symbol)
        product, delivery = self._parse(bare)
        row = self._row(product, day)
        if exchange is not None and exchange != row.exchange:
            raise UnknownSymbol(
                f"{symbol}: {bare} trades on {row.exchange}, not on {exchange}; write {bare}.{row.exchange}"
            )
        key = (bare, row.valid_from)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._charged_as_told(self._derive(bare, delivery, row))
        return known

    def learn(self, symbol: str, margin_rate: float | None, fees: FeeSchedule | None) -> None:
        """What the counter charges for a contract from now on wins over the rows; None leaves the rows'."""
        if self._charged.get(symbol) != (margin_rate, fees):
            self._charged[symbol] = (margin_rate, fees)
            self._known = {key: found for key, found in self._known.items() if key[0] != symbol}

    def _charged_as_told(self, found: Instrument) -> Instrument:
        margin_rate, fees = self._charged.get(found.symbol, (None, None))
        return replace(
            found,
            margin_rate=found.margin_rate if margin_rate is None else margin_rate,
            fees=found.fees if fees is None else fees,
        )

    def contracts(self, product: str, day: date) -> tuple[str, ...]:
        """The symbols listed on a day, nearest delivery first."""
        listing = self._row(product, day).listing
        alive = [month for month in _months_from(day) if self._last_trading_day(month, listing.last_day) >= day]
        near = [month for month in alive if month.month in listing.months][: listing.near]
        horizon = max(listing.within, listing.near)
        far = [month for month in alive[:horizon] if month.month in listing.far_months]
        return tuple(f"{product}{month:%y%m}" for month in sorted({*near, *far}))

    def is_listed(self, symbol: str, day: date) -> bool:
        """Whether the contract may be traded on the trading day: already listed and not yet expired."""
        product, _ = self._parse(split_vt_symbol(symbol)[0])
        return split_vt_symbol(symbol)[0] in self.contracts(product, day)

    def main_contract(self, product: str, day: date) -> str:
        """A plausible main contract: the nearest one of the product's main months that is not about to deliver."""
        listing = self._row(product, day).listing
        listed = self.contracts(product, day)
        for symbol in listed:
            delivery = self._parse(symbol)[1]
            if delivery.month in listing.main_months and day < delivery - timedelta(days=listing.roll_days):
                return symbol
        return listed[-1]

    def _parse(self, symbol: str) -> tuple[str, date]:
        match = SYMBOL.fullmatch(symbol)
        if match is None:
            raise UnknownSymbol(f"{symbol}: expected a product and its delivery month, e.g. au2512{self._hint(symbol)}")
        product, year, month = match.groups()
        if product not in self._rows:
            raise UnknownSymbol(f"{symbol}: no product {product!r} in config/instruments.yaml{self._hint(symbol)}")
        return product, date(2000 + int(year), int(month), 1)

    def _hint(self, symbol: str) -> str:
        product = symbol.rstrip(digits).lower()
        month = symbol[len(product) :] if SYMBOL.fullmatch(symbol) else "YYMM"
        near = get_close_matches(product, self._rows, n=1, cutoff=0.5)
        return f"; did you mean {near[0]}{month}?" if near else f"; products: {' '.join(self._rows)}"

    def _row(self, product: str, day: date | None) -> ProductRow:
        rows = self._rows.get(product)
        if not rows:
            raise UnknownSymbol(f"{product}: no such product in config/instruments.yaml{self._hint(product)}")
        if day is None:
            return rows[-1]
        for row in reversed(rows):
            if row.valid_from <= day:
                return row
        raise UnknownSymbol(
            f"{product}: not listed on {day}; its first day in config/instruments.yaml is {rows[0].valid_from}"
        )

    def _derive(self, symbol: str, delivery: date, row: ProductRow) -> Instrument:
        if delivery.month not in row.listing.months:
            months = " ".join(f"{month:02d}" for month in row.listing.months)
            raise UnknownSymbol(f"{symbol}: {row.product} has no delivery in month {delivery:%m}; its months: {months}")
        return Instrument(
            symbol=symbol,
            exchange=row.exchange,
            product=row.product,
            name=f"{row.name}{delivery:%y%m}",
            english_name=f"{row.english_name} {delivery:%y%m}",
            size=row.size,
            price_tick=row.price_tick,
            night_close=row.night_close,
            position_date_type=row.position_date_type,
            max_order_volume=row.max_order_volume,
            fees=row.fees,
            margin_rate=row.margin_rate,
            last_trading_day=self._last_trading_day(delivery, row.listing.last_day),
        )

    def _last_trading_day(self, delivery: date, rule: LastDayRule) -> date:
        if rule == "fifteenth":
            return self._on_or_after(delivery.replace(day=15))
        if rule == "end_of_month_before":
            return self._on_or_before(delivery - timedelta(days=1))
        month_end = (delivery.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
        monday = month_end - timedelta(days=month_end.weekday())
        while not self._trades(monday):
            monday -= timedelta(days=7)
        return monday

    def _on_or_after(self, day: date) -> date:
        while not self._trades(day):
            day += timedelta(days=1)
        return day

    def _on_or_before(self, day: date) -> date:
        while not self._trades(day):
            day -= timedelta(days=1)
        return day

    def _trades(self, day: date) -> bool:
        try:
            return self._calendar.is_trading_day(day) if self._calendar is not None else day.weekday() < 5
        except CalendarError:
            return day.weekday() < 5


def _months_from(day: date, count: int = 38) -> Iterator[date]:
    month = day.replace(day=1)
    for _ in range(count):
        yield month
        month = (month + timedelta(days=32)).replace(day=1)
