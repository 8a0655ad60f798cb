"""Result: what a backtest leaves behind. Facts only; statistics and pictures are made of it elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from datetime import datetime as Time
from functools import cached_property
from traceback import format_exc
from typing import Any, TypeVar, overload

from arbig.backtest.plan import Plan
from arbig.domain.messages import OrderData, PositionData, TradeData
from arbig.domain.template import StopOrder

T = TypeVar("T", covariant=True)


class Records(Sequence[T]):
    """A tuple that is made when somebody looks: a sweep reads the days of a result and never its hundred thousand
    cancelled orders."""

    def __init__(self, make: Callable[[], Iterable[T]]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> tuple[T, ...]:
        made = tuple(self._make())
        del self._make
        return made

    def __len__(self) -> int:
        return len(self._made)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        return self._made[index]

    def __iter__(self) -> Iterator[T]:
        return iter(self._made)

    def __eq__(self, other: object) -> bool:
        return self._made == (other._made if isinstance(other, Records) else other)

    def __hash__(self) -> int:
        return hash(self._made)

    def __repr__(self) -> str:
        return repr(self._made)

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (self._made,)


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

    @classmethod
    def of(cls, strategy_name: str, moment: Time, error: Exception) -> Failure:
        """What the strategy raised, while it is being handled."""
        return cls(strategy_name, moment, f"{type(error).__name__}: {error}", _own_traceback())


def _own_traceback() -> str:
    """The traceback from the strategy's own frames on; the engine's above them say nothing to its author."""
    lines = format_exc().splitlines(keepends=True)
    own = next((i for i, line in enumerate(lines) if line.startswith('  File "') and "/arbig/backtest/" not in line), 1)
    return "".join([lines[0], *lines[own:]])


@dataclass(frozen=True)
class Result:
    """`orders`, `trades` and `stop_orders` in the order of their birth, orders and stop orders as they ended;
    `positions` and `working` are what is open after the last bar."""

    plan: Plan
    orders: Sequence[OrderData]
    trades: Sequence[TradeData]
    stop_orders: Sequence[StopOrder]
    days: tuple[Day, ...]
    positions: tuple[PositionData, ...]
    working: tuple[OrderData | StopOrder, ...]
    logs: Sequence[Log]
    warnings: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()


class Interrupted(KeyboardInterrupt):
    """Ctrl-C while a backtest ran. `result` is what was done until then."""

    def __init__(self, result: Result) -> None:
        super().__init__("interrupted")
        self.result = result
