"""vnpy's names, ours: what a strategy file for vnpy_ctastrategy or vnpy_portfoliostrategy imports.

This module stands for every vnpy package whose names a strategy needs (`FACES`), so that `import vnpy.trader.utility`
and `import vnpy_ctastrategy as cta` find the names where they expect them. vnpy itself is never imported.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar

from arbig.domain import messages
from arbig.domain.arrays import ArrayManager
from arbig.domain.messages import (
    SHANGHAI,
    Direction,
    Exchange,
    Interval,
    Offset,
    OrderData,
    OrderType,
    PositionData,
    Status,
    TradeData,
)
from arbig.domain.template import (
    STOP_PREFIX,
    BarGenerator,
    CtaSignal,
    CtaTemplate,
    EngineType,
    StopOrder,
    StopOrderStatus,
    StrategyTemplate,
    TargetPosTemplate,
    round_to,
)
from arbig.domain.template import EnginePort as CtaEngine
from arbig.domain.template import EnginePort as StrategyEngine

__all__ = [
    "ACTIVE_STATUSES",
    "APP_NAME",
    "CHINA_TZ",
    "DB_TZ",
    "INTERVAL_DELTA_MAP",
    "LOCAL_TZ",
    "STOPORDER_PREFIX",
    "ArrayManager",
    "BarData",
    "BarGenerator",
    "CtaEngine",
    "CtaSignal",
    "CtaTemplate",
    "Direction",
    "EngineType",
    "Exchange",
    "Interval",
    "Offset",
    "OrderData",
    "OrderType",
    "PortfolioBarGenerator",
    "PositionData",
    "Status",
    "StopOrder",
    "StopOrderStatus",
    "StrategyEngine",
    "StrategyTemplate",
    "TargetPosTemplate",
    "TickData",
    "TradeData",
    "_",
    "ceil_to",
    "extract_vt_symbol",
    "floor_to",
    "generate_vt_symbol",
    "get_digits",
    "round_to",
    "virtual",
]

FACES = frozenset(
    {
        "vnpy",
        "vnpy.app",
        "vnpy.app.cta_strategy",
        "vnpy.app.cta_strategy.base",
        "vnpy.app.cta_strategy.template",
        "vnpy.app.portfolio_strategy",
        "vnpy.app.portfolio_strategy.base",
        "vnpy.app.portfolio_strategy.template",
        "vnpy.trader",
        "vnpy.trader.constant",
        "vnpy.trader.locale",
        "vnpy.trader.object",
        "vnpy.trader.utility",
        "vnpy_ctastrategy",
        "vnpy_ctastrategy.base",
        "vnpy_ctastrategy.locale",
        "vnpy_ctastrategy.template",
        "vnpy_portfoliostrategy",
        "vnpy_portfoliostrategy.base",
        "vnpy_portfoliostrategy.locale",
        "vnpy_portfoliostrategy.template",
        "vnpy_portfoliostrategy.utility",
    }
)
_PARTS = frozenset(part for face in FACES for part in face.split(".")[1:])

APP_NAME = "CtaStrategy"
STOPORDER_PREFIX = STOP_PREFIX.rstrip(".")
ACTIVE_STATUSES = frozenset(status for status in Status if status.is_active)
CHINA_TZ = DB_TZ = LOCAL_TZ = SHANGHAI
INTERVAL_DELTA_MAP = {
    Interval.MINUTE: timedelta(minutes=1),
    Interval.HOUR: timedelta(hours=1),
    Interval.DAILY: timedelta(days=1),
}

F = TypeVar("F", bound=Callable[..., Any])


class BarData(messages.BarData, frozen=False, kw_only=True, omit_defaults=True):  # type: ignore[misc]
    """A bar that a strategy makes by itself: as vnpy's it may be changed, and what is left out is zero. The bars a
    strategy is given are `arbig.BarData`, which stay as they are."""

    gateway_name: str = ""
    interval: str = Interval.MINUTE
    volume: float = 0  # type: ignore[assignment]
    turnover: float = 0
    open_interest: float = 0  # type: ignore[assignment]
    open_price: float = 0
    high_price: float = 0
    low_price: float = 0
    close_price: float = 0


class TickData(messages.TickData, frozen=False, kw_only=True, omit_defaults=True):  # type: ignore[misc]
    """A tick that a strategy makes by itself; those it is given are `arbig.TickData`."""

    gateway_name: str = ""
    name: str = ""
    volume: float = 0  # type: ignore[assignment]
    turnover: float = 0
    open_interest: float = 0  # type: ignore[assignment]
    last_price: float = 0
    last_volume: float = 0  # type: ignore[assignment]
    limit_up: float = 0
    limit_down: float = 0
    open_price: float = 0
    high_price: float = 0
    low_price: float = 0
    pre_close: float = 0
    bid_price_1: float = 0
    bid_volume_1: float = 0  # type: ignore[assignment]
    ask_price_1: float = 0
    ask_volume_1: float = 0  # type: ignore[assignment]


class PortfolioBarGenerator:
    """Longer bars of several contracts. One-minute bars come from the house through the strategy's `on_bars`:
    `update_tick` builds none. The windows that end with a minute go to `on_window_bars` together, by vt_symbol."""

    def __init__(
        self,
        on_bars: Callable[[dict[str, messages.BarData]], None],
        window: int = 0,
        on_window_bars: Callable[[dict[str, messages.BarData]], None] | None = None,
        interval: Interval = Interval.MINUTE,
    ) -> None:
        self.on_bars = on_bars
        self.window = window
        self.on_window_bars = on_window_bars
        self.interval = interval
        self._legs: dict[str, BarGenerator] = {}
        self._whole: dict[str, messages.BarData] = {}

    def update_tick(self, tick: messages.TickData) -> None:
        """The house delivers finished bars."""

    def update_bars(self, bars: dict[str, messages.BarData]) -> None:
        """The one-minute bars of one minute."""
        self._whole = {}
        for vt_symbol, bar in bars.items():
            if vt_symbol not in self._legs:
                self._legs[vt_symbol] = BarGenerator(self._take, self.window, self._take, self.interval)
            self._legs[vt_symbol].update_bar(bar)
        if self._whole and self.on_window_bars is not None:
            self.on_window_bars(self._whole)

    def _take(self, bar: messages.BarData) -> None:
        self._whole[bar.vt_symbol] = bar


def extract_vt_symbol(vt_symbol: str) -> tuple[str, Exchange]:
    """`au2512.SHFE` -> ("au2512", Exchange.SHFE)."""
    symbol, exchange = vt_symbol.rsplit(".", 1)
    return symbol, Exchange(exchange)


def generate_vt_symbol(symbol: str, exchange: Exchange) -> str:
    return f"{symbol}.{exchange}"


def floor_to(value: float, target: float) -> float:
    """The multiple of `target` at or below `value`."""
    unit = Decimal(str(target))
    return float(math.floor(Decimal(str(value)) / unit) * unit)


def ceil_to(value: float, target: float) -> float:
    """The multiple of `target` at or above `value`."""
    unit = Decimal(str(target))
    return float(math.ceil(Decimal(str(value)) / unit) * unit)


def get_digits(value: float) -> int:
    """Decimals of a price tick: 0.02 has 2."""
    exponent = Decimal(str(value)).as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _(message: str) -> str:
    """vnpy's translation of what a strategy logs: it stays as it is written."""
    return message


def virtual(method: F) -> F:
    """vnpy's mark on a method that may be overridden."""
    return method


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return sys.modules[__name__]
    from arbig.compat.rewriting import instead_of

    raise AttributeError(instead_of(name))
