"""Result: what a backtest leaves behind. Facts only; statistics and pictures are made of it elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from datetime import datetime as Time

from arbig.backtest.plan import Plan
from arbig.domain.messages import OrderData, PositionData, TradeData
from arbig.domain.template import StopOrder


@dataclass(frozen=True)
class Day:
    """One strategy's trading day, in yuan. `balance` is what it had at the day's settlement; `net_pnl` is
    holding_pnl + trading_pnl - commission - slippage; `position`: lots held at the close, by vt_symbol."""

    trading_day: date
    strategy_name: str
    balance: float
    net_pnl: float
    holding_pnl: float
    trading_pnl: float
    commission: float
    slippage: float
    turnover: float
    trade_count: int
    margin: float
    position: Mapping[str, int]


@dataclass(frozen=True)
class Log:
    datetime: Time
    strategy_name: str
    message: str


@dataclass(frozen=True)
class Failure:
    """A strategy raised, blew up or used a number that is none: where it was, what it said. What came before stays."""

    strategy_name: str
    datetime: Time
    reason: str
    traceback: str = ""


@dataclass(frozen=True)
class Result:
    """`orders`, `trades` and `stop_orders` in the order of their birth, orders and stop orders as they ended;
    `positions` and `working` are what is open after the last bar."""

    plan: Plan
    orders: tuple[OrderData, ...]
    trades: tuple[TradeData, ...]
    stop_orders: tuple[StopOrder, ...]
    days: tuple[Day, ...]
    positions: tuple[PositionData, ...]
    working: tuple[OrderData | StopOrder, ...]
    logs: tuple[Log, ...]
    warnings: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
