"""Peer: vnpy's own backtesting engine, fed with the same bars; what ours is compared with. A development dependency."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from arbig.backtest.series import TICK_COLUMNS, BarSeries, TickSeries
from arbig.domain.messages import SHANGHAI

GATEWAY = "BACKTESTING"
STRATEGIES = (
    ("atr_rsi_strategy", "AtrRsiStrategy"),
    ("boll_channel_strategy", "BollChannelStrategy"),
    ("double_ma_strategy", "DoubleMaStrategy"),
    ("dual_thrust_strategy", "DualThrustStrategy"),
    ("king_keltner_strategy", "KingKeltnerStrategy"),
    ("multi_signal_strategy", "MultiSignalStrategy"),
    ("multi_timeframe_strategy", "MultiTimeframeStrategy"),
    ("turtle_signal_strategy", "TurtleSignalStrategy"),
)
"""The eight that vnpy_ctastrategy brings: module and class."""


@contextlib.contextmanager
def _foreign_home() -> Iterator[None]:
    """vnpy makes a folder under the home directory when it is imported, and extends the import path by it."""
    path, home, here = list(sys.path), os.environ.get("HOME"), os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(here)
            sys.path[:] = path
            if home is None:
                del os.environ["HOME"]
            else:
                os.environ["HOME"] = home


def module(name: str) -> Any:
    """A module of vnpy, without its folder in anybody's home."""
    if name in sys.modules:
        return sys.modules[name]
    with _foreign_home():
        return importlib.import_module(name)


def strategy_file(name: str) -> Path:
    """The installed file of one of the eight."""
    return Path(module("vnpy_ctastrategy").__file__).parent / "strategies" / f"{name}.py"


def strategy_class(path: Path, class_name: str) -> Any:
    """A class as vnpy itself would load its file: with vnpy's own names."""
    module("vnpy_ctastrategy")
    spec = importlib.util.spec_from_file_location(f"vnpy_peer_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return getattr(loaded, class_name)


def bars_of(series: BarSeries) -> list[Any]:
    """The rows as vnpy's own bars."""
    objects, constant = module("vnpy.trader.object"), module("vnpy.trader.constant")
    exchange = constant.Exchange(str(series.exchange))
    return [
        objects.BarData(
            gateway_name=GATEWAY,
            symbol=series.symbol,
            exchange=exchange,
            datetime=moment.replace(tzinfo=SHANGHAI),
            interval=constant.Interval.MINUTE,
            open_price=open_,
            high_price=high,
            low_price=low,
            close_price=close,
            volume=volume,
            turnover=turnover,
            open_interest=interest,
        )
        for moment, open_, high, low, close, volume, turnover, interest in zip(
            series.datetime.tolist(),
            series.open.tolist(),
            series.high.tolist(),
            series.low.tolist(),
            series.close.tolist(),
            series.volume.tolist(),
            series.turnover.tolist(),
            series.open_interest.tolist(),
            strict=True,
        )
    ]


def ticks_of(series: TickSeries) -> list[Any]:
    objects, constant = module("vnpy.trader.object"), module("vnpy.trader.constant")
    exchange = constant.Exchange(str(series.exchange))
    names = [name for name in TICK_COLUMNS if name != "pre_settlement"]
    columns = [getattr(series, name).tolist() for name in names]
    return [
        objects.TickData(
            gateway_name=GATEWAY,
            symbol=series.symbol,
            exchange=exchange,
            datetime=moment.replace(tzinfo=SHANGHAI),
            **dict(zip(names, row, strict=True)),
        )
        for moment, *row in zip(series.datetime.astype("datetime64[us]").tolist(), *columns, strict=True)
    ]


def engine(
    kind: Any,
    bars: list[Any],
    first: int,
    params: Mapping[str, Any],
    *,
    size: float,
    tick: float,
    rate: float = 0.0,
    slippage: float = 0.0,
    capital: float = 1_000_000.0,
    ticks: list[Any] | None = None,
) -> Any:
    """vnpy's engine with the strategy in it and the history loaded; `run(engine)` plays it. The run begins with
    `bars[first]`, what lies before is for `load_bar`; with `ticks` it plays those after all bars."""
    backtesting = module("vnpy_ctastrategy.backtesting")
    base, constant = module("vnpy_ctastrategy.base"), module("vnpy.trader.constant")
    played = bars[first:] if ticks is None else ticks
    made = backtesting.BacktestingEngine()
    made.output = lambda msg: None
    made.set_parameters(
        vt_symbol=f"{played[0].symbol}.{played[0].exchange.value}",
        interval=constant.Interval.MINUTE,
        start=played[0].datetime,
        end=played[-1].datetime + timedelta(days=1),
        rate=rate,
        slippage=slippage,
        size=size,
        pricetick=tick,
        capital=capital,
        mode=base.BacktestingMode.BAR if ticks is None else base.BacktestingMode.TICK,
    )
    made.add_strategy(kind, dict(params))
    made.history_data = played
    made.earlier = bars
    return made


def run(made: Any) -> Any:
    """Play the history that `engine` loaded; the same engine, with its trades."""
    backtesting = module("vnpy_ctastrategy.backtesting")
    before = backtesting.load_bar_data

    def load(symbol: str, exchange: Any, interval: Any, start: Any, end: Any) -> list[Any]:
        return [bar for bar in made.earlier if start <= bar.datetime <= end]

    backtesting.load_bar_data = load
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            made.run_backtesting()
    finally:
        backtesting.load_bar_data = before
    return made


def trade_rows(trades: Any) -> list[tuple[Any, ...]]:
    """vnpy's trades and ours in the same words: time, direction, offset, price, volume."""
    return [
        (trade.datetime, trade.direction.name, trade.offset.name, float(trade.price), float(trade.volume))
        for trade in trades
    ]
