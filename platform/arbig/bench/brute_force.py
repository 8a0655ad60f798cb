"""Brute force: vnpy's own optimiser over its own database, in a process and a home of its own.

`python -m arbig.bench.brute_force ORDER.json` with HOME and the current folder empty ones: there vnpy keeps its files.
Writes the answer to the path that the order names.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np


def main() -> None:
    order: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    vt_symbol: str = order["vt_symbol"]
    fill_database(vt_symbol, Path(order["bars"]))
    begun = perf_counter()
    found = optimised(order)
    answer = {"seconds": perf_counter() - begun, "rows": found}
    Path(order["answer"]).write_text(json.dumps(answer))


def fill_database(vt_symbol: str, path: Path) -> None:
    """The bars into vnpy_sqlite's file under this home. Not timed: a person does it once."""
    objects, constant = import_module("vnpy.trader.object"), import_module("vnpy.trader.constant")
    database = import_module("vnpy.trader.database")
    symbol, exchange = vt_symbol.split(".")
    with np.load(path, allow_pickle=False) as columns:
        rows = zip(*(columns[name].tolist() for name in COLUMNS), strict=True)
        bars = [
            objects.BarData(
                gateway_name="DB",
                symbol=symbol,
                exchange=constant.Exchange(exchange),
                interval=constant.Interval.MINUTE,
                datetime=moment.replace(tzinfo=database.DB_TZ),
                open_price=open_,
                high_price=high,
                low_price=low,
                close_price=close,
                volume=volume,
            )
            for moment, open_, high, low, close, volume in rows
        ]
    database.get_database().save_bar_data(bars)


COLUMNS = ("datetime", "open", "high", "low", "close", "volume")


def optimised(order: dict[str, Any]) -> list[dict[str, Any]]:
    """Every set as vnpy's brute-force optimiser finds it."""
    backtesting, constant = import_module("vnpy_ctastrategy.backtesting"), import_module("vnpy.trader.constant")
    strategy = getattr(import_module(order["module"]), order["class_name"])
    engine = backtesting.BacktestingEngine()
    engine.set_parameters(
        vt_symbol=order["vt_symbol"],
        interval=constant.Interval.MINUTE,
        start=np.datetime64(order["start"]).astype(object),
        end=np.datetime64(order["end"]).astype("datetime64[s]").astype(object),
        rate=order["rate"],
        slippage=order["slippage"],
        size=order["size"],
        pricetick=order["price_tick"],
        capital=order["capital"],
    )
    engine.add_strategy(strategy, {})
    setting = backtesting.OptimizationSetting()
    setting.set_target(order["target"])
    setting.params = order["space"]
    found = engine.run_bf_optimization(setting, output=False, max_workers=order["workers"])
    return [
        {"params": params, "target": float(value), "trades": int(statistics["total_trade_count"])}
        for params, value, statistics in found
    ]


if __name__ == "__main__":
    main()
