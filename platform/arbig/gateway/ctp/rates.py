"""Rates: what the counter charges for a contract, asked once in a trading day and kept for its restarts.

An answer may name the contract (`au2512`) or a whole product (`au`); a product's row serves all its contracts. A broker
that charges margin by the lot, or relative to the exchange's, says something a single rate cannot: it is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import TypeVar

import msgspec

from arbig.domain.fees import FeeSchedule
from arbig.gateway.ctp.translate import Raw, price_or_zero, text_of
from arbig.gateway.port import ContractRates

T = TypeVar("T")
MARGIN, FEES = "margin", "fees"
FIELDS = {"open": "Open", "close": "Close", "close_today": "CloseToday"}


class Day(msgspec.Struct):
    """The file: what was heard in one trading day, by the name the counter used. None: asked, and nothing usable."""

    trading_day: date | None = None
    margins: dict[str, float | None] = msgspec.field(default_factory=dict)
    fees: dict[str, FeeSchedule | None] = msgspec.field(default_factory=dict)


class RateBook:
    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._day = _read(path)

    def turn_to(self, trading_day: date) -> None:
        """Yesterday's rates are no promise for today."""
        if self._day.trading_day != trading_day:
            self._day = Day(trading_day)

    def missing(self, symbols: Iterable[str]) -> tuple[str, str] | None:
        """The next question: (`margin` or `fees`, contract)."""
        for symbol in symbols:
            for kind, known in ((MARGIN, self._day.margins), (FEES, self._day.fees)):
                if symbol not in known and product_of(symbol) not in known:
                    return kind, symbol
        return None

    def hear(self, kind: str, symbol: str, rows: Sequence[Raw]) -> None:
        if kind == MARGIN:
            _note(self._day.margins, symbol, rows, margin_rate_from_ctp)
        else:
            _note(self._day.fees, symbol, rows, fees_from_ctp)
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._path.with_suffix(".new")
            fresh.write_bytes(msgspec.json.encode(self._day))
            fresh.replace(self._path)

    def rates(self, symbols: Iterable[str]) -> tuple[ContractRates, ...]:
        """Of those contracts of which the counter has said something."""
        day = self._day
        found = (
            ContractRates(
                symbol,
                day.margins.get(symbol, day.margins.get(product_of(symbol))),
                day.fees.get(symbol, day.fees.get(product_of(symbol))),
            )
            for symbol in symbols
        )
        return tuple(one for one in found if one.margin_rate is not None or one.fees is not None)


def product_of(symbol: str) -> str:
    return symbol.rstrip("0123456789")


def margin_rate_from_ctp(raw: Raw) -> float | None:
    """The larger side's share of the notional; None when it is not a share of it alone."""
    by_money = max(price_or_zero(raw.get("LongMarginRatioByMoney")), price_or_zero(raw.get("ShortMarginRatioByMoney")))
    by_lot = max(price_or_zero(raw.get("LongMarginRatioByVolume")), price_or_zero(raw.get("ShortMarginRatioByVolume")))
    return by_money if by_money > 0 and not by_lot and not raw.get("IsRelative") else None


def fees_from_ctp(raw: Raw) -> FeeSchedule:
    return FeeSchedule(**{
        f"{ours}_by_{form}": price_or_zero(raw.get(f"{theirs}RatioBy{word}"))
        for ours, theirs in FIELDS.items() for form, word in (("lot", "Volume"), ("rate", "Money"))
    })  # fmt: skip


def _note(known: dict[str, T | None], symbol: str, rows: Sequence[Raw], translate: Callable[[Raw], T | None]) -> None:
    """The row of the contract itself wins over its product's; no row at all is an answer too."""
    by_name = {text_of(row, "InstrumentID"): row for row in rows}
    for name in (symbol, product_of(symbol)):
        if name in by_name:
            known[name] = translate(by_name[name])
            return
    known[symbol] = None


def _read(path: Path | None) -> Day:
    try:
        return Day() if path is None else msgspec.json.decode(path.read_bytes(), type=Day)
    except (FileNotFoundError, msgspec.DecodeError):
        return Day()
