"""Answers: what Web says, as values. Snapshots carry `as_of`: for each stream the last entry they include."""

from __future__ import annotations

from datetime import date
from datetime import datetime as Time
from typing import Any

import msgspec

from arbig.domain.messages import BarData, EventData, OrderData, PositionData, TickData, TradeData


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Unknown keys are ignored: a newer service may say more."""


class Whoami(Answer, frozen=True, kw_only=True):
    """`role` is trader or viewer."""

    role: str
    name: str = ""


class Snapshot(Answer, frozen=True, kw_only=True):
    as_of: dict[str, str] = {}


class Orders(Snapshot, frozen=True, kw_only=True):
    """`cursor` asks for the page before this one; null: there is none."""

    orders: list[OrderData]
    cursor: str | None = None


class Trades(Snapshot, frozen=True, kw_only=True):
    trades: list[TradeData]
    cursor: str | None = None


class StrategyPosition(Answer, frozen=True, kw_only=True):
    """The net lots one strategy holds of a contract. `pnl` of what is open, `total_pnl` with what was closed."""

    strategy_name: str
    symbol: str
    exchange: str
    volume: int
    price: float = 0.0
    pnl: float = 0.0
    total_pnl: float | None = None


class Positions(Snapshot, frozen=True, kw_only=True):
    positions: list[PositionData]
    strategies: list[StrategyPosition] = []


class Account(Answer, frozen=True, kw_only=True):
    """The counter's arithmetic, in the currency of the account."""

    account_id: str = ""
    trading_day: str | None = None
    balance: float = 0.0
    available: float = 0.0
    margin: float = 0.0
    frozen: float = 0.0
    commission: float = 0.0
    close_profit: float = 0.0
    position_profit: float = 0.0
    pre_balance: float = 0.0
    currency: str = "CNY"


class AccountSnapshot(Snapshot, frozen=True, kw_only=True):
    account: Account


class Strategy(Answer, frozen=True, kw_only=True):
    strategy_name: str
    class_name: str = ""
    symbol: str = ""
    state: str = ""
    pos: int | dict[str, int] = 0
    parameters: dict[str, Any] = {}
    variables: dict[str, Any] = {}
    risk: dict[str, Any] = {}
    stop_orders: list[dict[str, Any]] = []
    error: str | None = None
    traceback: str | None = None
    run_id: str | None = None
    code_hash: str | None = None


class Strategies(Answer, frozen=True, kw_only=True):
    strategies: list[Strategy]


class ServiceState(Answer, frozen=True, kw_only=True):
    """One process of the house."""

    name: str
    healthy: bool = False
    state: str = ""
    pid: int | None = None
    port: int | None = None
    uptime: float | None = None
    lag: int | None = None
    silence: float | None = None
    ticks_per_s: float | None = None


class House(Answer, frozen=True, kw_only=True):
    """What `arbig status --json` prints."""

    services: list[ServiceState]
    connection: str | None = None
    lamps: dict[str, dict[str, Any]] = {}
    trading_state: str | None = None
    trading_reason: str | None = None
    trading_since: str | None = None
    flattens: list[str] = []
    orders_today: int | None = None
    trades_today: int | None = None
    alarms: list[str] = []


class Bars(Answer, frozen=True, kw_only=True):
    symbol: str
    interval: str
    bars: list[BarData]
    cursor: str | None = None
    gaps: list[Any] = []


class LastTick(Answer, frozen=True, kw_only=True):
    symbol: str
    tick: TickData | None = None


class Tape(Answer, frozen=True, kw_only=True):
    """Ticks of the running trading day."""

    symbol: str
    trading_day: date | None = None
    ticks: list[TickData] = []


class Event(EventData, frozen=True, kw_only=True, omit_defaults=True):
    id: str = ""


class Events(Snapshot, frozen=True, kw_only=True):
    events: list[Event]


class OrderAnswer(Answer, frozen=True, kw_only=True):
    """What Trading said to a wish at once; the rest comes by `order_status`."""

    request_id: str
    status: str
    error_msg: str | None = None


class Heartbeat(Answer, frozen=True, kw_only=True):
    """Once a second on the WebSocket: the wall, the exchange's clock, each service's silence in seconds."""

    datetime: Time
    session_time: Time | None = None
    trading_day: str | None = None
    connected: bool | None = None
    silence: dict[str, float] = {}
