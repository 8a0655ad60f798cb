"""Results: a backtest's facts as tables. What is made of them (statistics, pictures) is made where it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from arbig.backtest.plan import Plan
from arbig.backtest.result import Failure, Log, Result
from arbig.domain.messages import Status

if TYPE_CHECKING:
    from arbig.lab.tearsheet import Tearsheet

TRADE_COLUMNS = (
    "datetime",
    "trading_day",
    "strategy_name",
    "vt_symbol",
    "direction",
    "offset",
    "price",
    "volume",
    "trade_id",
    "order_id",
)
ORDER_COLUMNS = (
    "datetime",
    "trading_day",
    "strategy_name",
    "vt_symbol",
    "direction",
    "offset",
    "price",
    "volume",
    "traded",
    "status",
    "error_msg",
    "order_id",
)
STOP_COLUMNS = (
    "datetime",
    "strategy_name",
    "vt_symbol",
    "direction",
    "offset",
    "price",
    "volume",
    "status",
    "stop_orderid",
    "vt_orderids",
)
POSITION_COLUMNS = ("vt_symbol", "direction", "volume", "yd_volume", "frozen", "price", "pnl", "margin", "datetime")
DAY_COLUMNS = (
    "trading_day",
    "strategy_name",
    "balance",
    "net_pnl",
    "holding_pnl",
    "trading_pnl",
    "commission",
    "slippage",
    "turnover",
    "trade_count",
    "margin",
    "position",
)


@dataclass(frozen=True, eq=False, repr=False)
class BacktestResult:
    """A `Result` with tables: `.trades .orders .stop_orders .positions` one row each, `.daily` one row per trading day
    and strategy, `.equity` yuan by trading day (all strategies together). `data`: the folder of the house it was run
    in, where its tearsheet is archived."""

    result: Result
    data: Path | None = None

    @property
    def plan(self) -> Plan:
        return self.result.plan

    @property
    def capital(self) -> float:
        """Yuan, all strategies together."""
        return sum(one.capital for one in self.plan.strategies)

    @cached_property
    def trades(self) -> pd.DataFrame:
        return _table(self.result.trades, TRADE_COLUMNS)

    @cached_property
    def orders(self) -> pd.DataFrame:
        """Every order as it ended; `error_msg` says why it was refused."""
        return _table(self.result.orders, ORDER_COLUMNS)

    @cached_property
    def stop_orders(self) -> pd.DataFrame:
        return _table(self.result.stop_orders, STOP_COLUMNS)

    @cached_property
    def daily(self) -> pd.DataFrame:
        """Indexed by trading day; one row per strategy and day, in yuan."""
        table = _table(self.result.days, DAY_COLUMNS)
        table["trading_day"] = pd.to_datetime(table["trading_day"])
        return table.set_index("trading_day")

    @cached_property
    def equity(self) -> pd.Series:
        """Yuan at each trading day's settlement, all strategies together. One that ended early keeps what it had."""
        wide = self.daily.pivot_table(index="trading_day", columns="strategy_name", values="balance", sort=False)
        start = {one.name: one.capital for one in self.plan.strategies}
        return wide.ffill().fillna(start).sum(axis=1).rename("equity")

    @cached_property
    def positions(self) -> pd.DataFrame:
        """What is open after the last bar."""
        return _table(self.result.positions, POSITION_COLUMNS)

    @cached_property
    def working(self) -> pd.DataFrame:
        """Orders and stop orders that still work after the last bar."""
        rows = [
            {"kind": "stop order" if hasattr(one, "stop_orderid") else "order", **_row(one, ORDER_COLUMNS)}
            for one in self.result.working
        ]
        return pd.DataFrame(rows, columns=["kind", *ORDER_COLUMNS])

    @property
    def logs(self) -> Sequence[Log]:
        return self.result.logs

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.result.warnings

    @property
    def failures(self) -> tuple[Failure, ...]:
        return self.result.failures

    @cached_property
    def statistics(self) -> Mapping[str, float]:
        """Sharpe, Sortino, Calmar, drawdown, turnover, win rate, ... (`arbig.backtest.performance`)."""
        from arbig.backtest.performance import statistics_of

        return statistics_of(self.result)

    @cached_property
    def monthly(self) -> pd.DataFrame:
        """Returns: a row per year, a column per month."""
        from arbig.lab.tearsheet import monthly

        return monthly(self)

    def tearsheet(self) -> Tearsheet:
        """Candles with fills, equity and drawdown, months, trades, statistics; `.save(path)` writes one HTML file."""
        from arbig.lab.tearsheet import tearsheet

        return tearsheet(self)

    def summary(self) -> dict[str, Any]:
        """The run in plain values, for JSON: what was run, its statistics (None where a figure cannot be known), what
        is open, what went wrong."""
        return {
            "strategies": [
                {"name": one.name, "symbols": list(one.vt_symbols), "capital": one.capital}
                for one in self.plan.strategies
            ],
            "start": self.plan.start.isoformat(),
            "end": self.plan.end.isoformat(),
            "matching": str(self.plan.matching),
            "orders": len(self.result.orders),
            "stop_orders": len(self.result.stop_orders),
            "trades": len(self.result.trades),
            "statistics": {name: value if isfinite(value) else None for name, value in self.statistics.items()},
            "positions": [
                {"symbol": one.vt_symbol, "direction": str(one.direction), "volume": one.volume}
                for one in self.result.positions
            ],
            "working": len(self.result.working),
            "warnings": list(self.warnings),
            "failures": [self._told(one) for one in self.failures],
        }

    def __repr__(self) -> str:
        return "\n".join(f"{name:<12} {value}" for name, value in self._lines())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{name}</th><td style='text-align:left'>{escape(value)}</td></tr>"
            for name, value in self._lines()
        )
        return f"<table>{rows}</table>"

    def _lines(self) -> list[tuple[str, str]]:
        names = ", ".join(f"{one.name} ({' '.join(one.vt_symbols)})" for one in self.plan.strategies)
        figures = self.statistics
        last = self.equity.iloc[-1] if len(self.equity) else self.capital
        refused = sum(order.status is Status.REJECTED for order in self.result.orders)
        lines = [
            ("strategies", names),
            ("days", f"{self.plan.start} to {self.plan.end}: {len(self.equity)} trading days"),
            ("matching", str(self.plan.matching)),
            ("orders", f"{len(self.result.orders)} ({refused} refused), {len(self.result.stop_orders)} stop orders"),
            ("trades", str(len(self.result.trades))),
            ("balance", f"{self.capital:,.2f} -> {last:,.2f} ({last - self.capital:+,.2f})"),
            ("costs", f"{figures['total_commission']:,.2f} commission, {figures['total_slippage']:,.2f} slippage"),
            ("sharpe", f"{figures['sharpe']:.2f}, largest drawdown {figures['max_drawdown_share']:.2%}"),
            ("open", f"{len(self.result.positions)} positions, {len(self.result.working)} working orders"),
        ]
        lines += [("warning", line) for line in self.warnings]
        return [*lines, *(("failure", self._told(one)) for one in self.failures)]

    def _told(self, failure: Failure) -> str:
        return f"{failure.strategy_name} at {failure.datetime:%Y-%m-%d %H:%M}: {failure.reason}"


def _table(rows: Iterable[Any], columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame([_row(one, columns) for one in rows], columns=list(columns))


def _row(one: Any, columns: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(one, name, None) for name in columns}
