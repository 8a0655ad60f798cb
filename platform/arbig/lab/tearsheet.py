"""Tearsheet: one run on one page. Candles with fills, equity and drawdown, months, round trips, figures, costs.

Words are English with Chinese beside them; colours are those of a Chinese screen (red won, green lost).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from datetime import datetime as Time
from functools import cached_property
from html import escape
from math import isnan, nan
from typing import Any

import numpy as np
import pandas as pd
from bokeh.core.properties import field
from bokeh.layouts import column
from bokeh.models import (
    ColumnDataSource,
    CustomJS,
    DataTable,
    DateFormatter,
    InlineStyleSheet,
    NumberFormatter,
    Range1d,
    StringFormatter,
    TableColumn,
)

from arbig.backtest.performance import (
    Equity,
    RoundTrip,
    Statistics,
    equity,
    exposure_of,
    monthly_returns,
    round_trips_of,
    row_at,
    statistics,
)
from arbig.backtest.plan import Matching, Plan, StrategyPlan
from arbig.backtest.result import Result
from arbig.backtest.series import Floats
from arbig.domain.messages import Direction
from arbig.lab.charts import (
    DOWN_GREEN,
    UP_RED,
    asset,
    end_of,
    equity_chart,
    equity_drawing,
    price_chart,
    price_format,
    trip_chart,
)
from arbig.lab.downsampling import candles
from arbig.lab.results import BacktestResult
from arbig.lab.sheet import Kept, Part, Rows, Sheet, both, cell, heading, table
from arbig.lab.trials import trials_of

MOST_CHARTS = 6
MONTHS = range(1, 13)


def tearsheet(result: BacktestResult) -> Tearsheet:
    """The page of a run: `.save(path)` writes one HTML file, `panel.panel(it)` is a Panel column."""
    run = Run(result.result)
    kept = Kept("tearsheet", run.names, lambda: _figures_kept(run, result), result.data)
    return Tearsheet(run.title, lambda: _rows(run), lambda: _brief(run), kept=kept)


def _figures_kept(run: Run, result: BacktestResult) -> dict[str, Any]:
    """What the archive lists it by."""
    return {
        "strategies": run.names,
        "contracts": ", ".join(run.plan.series),
        "start": run.plan.start.isoformat(),
        "end": run.plan.end.isoformat(),
        "trials": trials_of(run.plan, result.data),
        **run.statistics,
    }


class Tearsheet(Sheet):
    """One run's page."""


def monthly(result: BacktestResult) -> pd.DataFrame:
    """Returns by month, as fractions: a row per year of trading days, columns 1..12 and `year`; NaN where none was."""
    return monthly_table(monthly_returns(result.result.days, result.capital))


def monthly_table(months: Mapping[tuple[int, int], float]) -> pd.DataFrame:
    years = sorted({year for year, _ in months})
    rows = [[months.get((year, month), np.nan) for month in MONTHS] for year in years]
    frame = pd.DataFrame(rows, index=pd.Index(years, name="year"), columns=list(MONTHS), dtype=np.float64)
    frame["year"] = (1 + frame).prod(axis=1) - 1
    return frame


@dataclass(frozen=True, eq=False)
class Run:
    """A result with what is made of it once, for however many pages."""

    result: Result

    @property
    def plan(self) -> Plan:
        return self.result.plan

    @property
    def capital(self) -> float:
        return sum(one.capital for one in self.plan.strategies)

    @property
    def names(self) -> str:
        return ", ".join(one.name for one in self.plan.strategies)

    @property
    def title(self) -> str:
        return f"{self.names}: {self.plan.start} .. {self.plan.end}"

    @cached_property
    def trips(self) -> tuple[RoundTrip, ...]:
        return round_trips_of(self.result)

    @cached_property
    def account(self) -> Equity:
        return equity(self.result.days, self.capital)

    @cached_property
    def statistics(self) -> Statistics:
        exposure = exposure_of(self.result, self.trips)
        return statistics(self.result.days, self.trips, self.capital, exposure=exposure)

    @cached_property
    def charted(self) -> tuple[str, ...]:
        """The contracts that get candles: those with the most fills."""
        fills = Counter(trade.vt_symbol for trade in self.result.trades)
        return tuple(sorted(self.plan.series, key=lambda name: -fills[name])[:MOST_CHARTS])


def _rows(run: Run) -> Rows:
    charts = [(name, *_candles(run, name)) for name in run.charted]
    spans = {name: span for name, _, span in charts}
    results = np.array([trip.net_pnl for trip in run.trips if not trip.is_open], np.float64)
    return [
        [Part("head", _head(run))],
        *([[Part("warnings", said)]] if (said := _said(run)) else []),
        *([Part(f"chart{n}", _uncharted(run) if n == 0 else "", model)] for n, (_, model, _) in enumerate(charts)),
        [Part("equity", heading("Equity and drawdown", "权益与回撤"), equity_chart({"": run.account}))],
        [
            Part("months", heading("Returns by month", "月度收益") + months_html(run.result, run.capital)),
            Part("distribution", _distribution_words(results), trip_chart(results)),
        ],
        [Part("statistics", heading("Statistics", "绩效指标") + _statistics_html(run.statistics))],
        [Part("trips", _trips_words(run), _trips_table(run, spans))],
        [Part("parameters", _parameters_html(run.plan)), Part("costs", _costs_html(run))],
    ]


def _brief(run: Run) -> str:
    figures = _statistics_html(run.statistics)
    return _head(run) + _said(run) + equity_drawing(run.account) + months_html(run.result, run.capital) + figures


# ---- head and what was said ---------------------------------------------------------------------------------------


def _head(run: Run) -> str:
    plan, days = run.plan, len(run.account.days)
    contracts = ", ".join(dict.fromkeys(name for one in plan.strategies for name in one.vt_symbols))
    kinds = ", ".join(dict.fromkeys(one.kind.__name__ for one in plan.strategies))
    matching = MATCHING[plan.matching]
    line = f"{kinds} · {contracts} · {plan.start} .. {plan.end} · {days} trading days {days}个交易日 · {matching}"
    cards = "".join(_card(run.statistics, *CARDS[key]) for key in CARDS)
    return (
        f"<h1><b>ARBIG</b>{escape(', '.join(one.name for one in plan.strategies))}</h1><small>{escape(line)}</small>"
        f'<div class="cards">{cards}</div>'
    )


MATCHING = {Matching.REALISTIC: "realistic matching 仿真撮合", Matching.VNPY: "vnpy matching vnpy撮合"}


def _card(figures: Statistics, key: str, english: str, chinese: str, write: Callable[[float], str], sign: bool) -> str:
    value = figures[key]
    side = "" if not sign or isnan(value) or value == 0 else "up" if value > 0 else "down"
    text = "–" if isnan(value) else write(value)
    note = f' title="{escape(figures.notes[key])}"' if key in figures.notes else ""
    return f'<div{note}><small>{both(english, chinese)}</small><b class="{side}">{text}</b></div>'


def _said(run: Run) -> str:
    """Warnings and failures, with the traceback of a strategy that raised."""
    failures = [
        f"{escape(one.strategy_name)} {one.datetime:%Y-%m-%d %H:%M}: {escape(one.reason)}"
        + (f"<pre>{escape(one.traceback.strip())}</pre>" if one.traceback else "")
        for one in run.result.failures
    ]
    lines = [*failures, *map(escape, run.result.warnings)]
    if not lines:
        return ""
    items = "".join(f"<li>{line}</li>" for line in lines)
    return heading("Warnings and failures", "警告与故障") + f'<ul class="said">{items}</ul>'


# ---- candles ------------------------------------------------------------------------------------------------------


def _candles(run: Run, name: str) -> tuple[Any, Range1d]:
    plan = run.plan
    instrument = plan.book.get(name, plan.start)
    return price_chart(
        candles(plan.series[name].days(plan.start, plan.end)),
        instrument.price_tick,
        [trade for trade in run.result.trades if trade.vt_symbol == name],
        [trip for trip in run.trips if trip.vt_symbol == name],
        f"{name}  {instrument.english_name} {instrument.name}",
    )


def _uncharted(run: Run) -> str:
    words = heading("Prices and fills", "行情与成交") + f"<small>{LEGEND}</small>"
    left = [name for name in run.plan.series if name not in run.charted]
    more = f"<br><small>not drawn 未绘制: {escape(', '.join(left))}</small>" if left else ""
    return words + more


LEGEND = (
    '<span class="up">▲</span> buy 买 <span class="down">▼</span> sell 卖 · filled: open 实心为开仓 · hollow: close '
    '空心为平仓 · dashed: round trips 虚线为逐笔 (<span class="up">won 盈</span>, <span class="down">lost 亏</span>)'
)


# ---- months -------------------------------------------------------------------------------------------------------


def months_html(result: Result, capital: float) -> str:
    frame = monthly_table(monthly_returns(result.days, capital))
    if not len(frame):
        return "<small>no trading day 无交易日</small>"
    strongest = float(np.nanmax(np.abs(frame[list(MONTHS)].to_numpy()))) or 1.0
    head = "".join(f"<th>{month}</th>" for month in MONTHS)
    body = "".join(
        f"<tr><th>{year}</th>{''.join(_month(value, strongest) for value in row)}</tr>"
        for year, row in zip(frame.index, frame.to_numpy().tolist(), strict=True)
    )
    return (
        f'<div class="wide"><table class="months"><thead><tr><th></th>{head}<th>全年</th></tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _month(value: float, strongest: float) -> str:
    if isnan(value):
        return "<td></td>"
    color = "208, 58, 58" if value > 0 else "18, 136, 91"
    strength = 0.08 + 0.5 * min(abs(value) / strongest, 1.0) if value else 0.0
    return f'<td style="background: rgba({color}, {strength:.2f})">{value * 100:+.1f}%</td>'


# ---- figures ------------------------------------------------------------------------------------------------------


def money(value: float) -> str:
    return f"{value:,.2f}"


def share(value: float) -> str:
    return f"{value * 100:,.2f}%"


def ratio(value: float) -> str:
    return f"{value:,.2f}"


def count(value: float) -> str:
    return f"{value:,.0f}"


def minutes(value: float) -> str:
    hours, rest = divmod(round(value), 60)
    days, hours = divmod(hours, 24)
    return " ".join(f"{number}{unit}" for number, unit in ((days, "d"), (hours, "h"), (rest, "m")) if number) or "0m"


FIGURES: dict[tuple[str, str], tuple[tuple[str, str, str, Callable[[float], str]], ...]] = {
    ("Return", "收益"): (
        ("capital", "Capital", "初始资金", money),
        ("end_balance", "End balance", "期末权益", money),
        ("total_net_pnl", "Net profit", "净盈亏", money),
        ("total_return", "Total return", "总收益率", share),
        ("annual_return", "Annual return", "年化收益率", share),
        ("daily_net_pnl", "Average day", "日均盈亏", money),
        ("profit_days", "Days won", "盈利天数", count),
        ("loss_days", "Days lost", "亏损天数", count),
    ),
    ("Risk", "风险"): (
        ("sharpe", "Sharpe ratio", "夏普比率", ratio),
        ("sortino", "Sortino ratio", "索提诺比率", ratio),
        ("calmar", "Calmar ratio", "卡玛比率", ratio),
        ("annual_volatility", "Annual volatility", "年化波动率", share),
        ("max_drawdown", "Largest drawdown", "最大回撤", money),
        ("max_drawdown_share", "Largest drawdown %", "最大回撤率", share),
        ("max_drawdown_days", "Longest drawdown, days", "最长回撤天数", count),
        ("exposure", "Time in a position", "持仓时间占比", share),
    ),
    ("Round trips", "逐笔"): (
        ("round_trips", "Closed round trips", "平仓笔数", count),
        ("win_rate", "Win rate", "胜率", share),
        ("profit_factor", "Profit factor", "盈亏比（总盈利/总亏损）", ratio),
        ("average_trip", "Average", "平均每笔", money),
        ("average_win", "Average win", "平均盈利", money),
        ("average_loss", "Average loss", "平均亏损", money),
        ("best_trip", "Best", "最大单笔盈利", money),
        ("worst_trip", "Worst", "最大单笔亏损", money),
        ("longest_losing_streak", "Losses in a row", "最多连续亏损", count),
        ("average_minutes_held", "Average time held", "平均持仓时间", minutes),
    ),
    ("Activity and costs", "交易与成本"): (
        ("total_trade_count", "Fills", "成交笔数", count),
        ("daily_trade_count", "Fills a day", "日均成交笔数", ratio),
        ("total_turnover", "Turnover", "成交额", money),
        ("daily_turnover", "Turnover a day", "日均成交额", money),
        ("total_commission", "Commission", "手续费", money),
        ("total_slippage", "Slippage", "滑点", money),
    ),
}  # fmt: skip
_WORDS = {key: (english, chinese, write) for group in FIGURES.values() for key, english, chinese, write in group}
SIGNED = ("total_net_pnl", "total_return", "annual_return")
CARDS = {
    key: (key, *_WORDS[key], key in SIGNED)
    for key in (
        "total_net_pnl", "total_return", "annual_return", "sharpe", "max_drawdown_share", "round_trips",
        "win_rate", "profit_factor",
    )
}  # fmt: skip


def _statistics_html(figures: Statistics) -> str:
    tables = "".join(
        table(
            [(both(english, chinese), _figure(figures, key, write)) for key, english, chinese, write in group],
            both(*name),
        )
        for name, group in FIGURES.items()
    )
    return f'<div class="columns">{tables}</div>{_care(figures)}'


def _figure(figures: Statistics, key: str, write: Callable[[float], str]) -> str:
    value = figures[key]
    return cell(figures.notes.get(key, "–"), "none") if isnan(value) else cell(write(value))


def written(figures: Statistics, key: str) -> str:
    """A figure as a person reads it."""
    return "–" if isnan(figures[key]) else _WORDS[key][2](figures[key])


def _care(figures: Statistics) -> str:
    """What has to be read with care though it is a number."""
    said = dict.fromkeys(note for key, note in figures.notes.items() if not isnan(figures[key]))
    return "".join(f"<small>{escape(note)} 样本较少，谨慎解读</small>" for note in said)


# ---- round trips --------------------------------------------------------------------------------------------------


def _distribution_words(results: Floats) -> str:
    mean = f" · blue: average {money(float(results.mean()))} 蓝线为均值" if len(results) else ""
    return heading("Round trips by result", f"逐笔盈亏分布（扣除成本，元）{mean}")


def _trips_words(run: Run) -> str:
    still = sum(trip.is_open for trip in run.trips)
    more = f" · {still} still open, valued as the account is 未平仓{still}笔，按账户估值" if still else ""
    return heading("Round trips", f"逐笔交易（点击一行在图中查看 click a row to see it in the chart）{more}")


COLUMNS: tuple[tuple[str, str, int], ...] = (
    ("strategy", "strategy 策略", 150),
    ("contract", "contract 合约", 90),
    ("side", "side 方向", 66),
    ("volume", "lots 手数", 58),
    ("entry", "entry 开仓时间", 124),
    ("entry_price", "at 开仓价", 78),
    ("exit", "exit 平仓时间", 124),
    ("exit_price", "at 平仓价", 78),
    ("minutes", "minutes 分钟", 78),
    ("net", "net profit 净盈亏", 104),
    ("costs", "costs 成本", 74),
    ("worst", "worst 最大浮亏", 96),
    ("best", "best 最大浮盈", 96),
)


def _trips_table(run: Run, spans: Mapping[str, Range1d]) -> Any:
    source = ColumnDataSource(_trip_columns(run))
    right = {"text_align": "right"}
    price = NumberFormatter(format=_prices(run.plan), **right)
    time = DateFormatter(format="%Y-%m-%d %H:%M", nan_format="open 未平")
    whole = NumberFormatter(format="0,0", nan_format="", **right)
    format_of = {
        "side": StringFormatter(text_color=field("side_color")),
        "volume": whole,
        "entry": time,
        "exit": time,
        "entry_price": price,
        "exit_price": price,
        "minutes": whole,
        "net": NumberFormatter(format="0,0.00", text_color=field("net_color"), **right),
        "costs": NumberFormatter(format="0,0.00", **right),
        "worst": whole,
        "best": whole,
    }
    columns = [
        TableColumn(field=name, title=title, width=width, formatter=format_of.get(name, StringFormatter()))
        for name, title, width in COLUMNS
    ]
    shown = min(max(len(run.trips), 2), 14)
    rows = DataTable(
        source=source,
        columns=columns,
        height=28 * (shown + 1) + 14,
        row_height=28,
        index_position=None,
        sizing_mode="stretch_width",
        autosize_mode="force_fit",
        reorderable=False,
        stylesheets=[InlineStyleSheet(css=asset("table.css"))],
    )
    look = CustomJS(args={"source": source, "spans": dict(spans)}, code=asset("show_trip.js"))
    source.selected.js_on_change("indices", look)
    return column(rows, sizing_mode="stretch_width")


def _prices(plan: Plan) -> str:
    ticks = [plan.book.get(name, plan.start).price_tick for name in plan.series]
    return price_format(min(ticks, default=0.01))


def _trip_columns(run: Run) -> dict[str, Any]:
    trips = run.trips
    places = list(_places(run))
    return {
        "strategy": [trip.strategy_name for trip in trips],
        "contract": [trip.vt_symbol for trip in trips],
        "side": ["long 多" if trip.direction is Direction.LONG else "short 空" for trip in trips],
        "side_color": [UP_RED if trip.direction is Direction.LONG else DOWN_GREEN for trip in trips],
        "volume": [trip.volume for trip in trips],
        "entry": _numbers(_milliseconds(trip.entry_time) for trip in trips),
        "entry_price": _numbers(trip.entry_price for trip in trips),
        "exit": _numbers(_milliseconds(trip.exit_time) for trip in trips),
        "exit_price": _numbers(trip.exit_price for trip in trips),
        "minutes": _numbers(trip.held.total_seconds() / 60 if trip.held is not None else nan for trip in trips),
        "net": _numbers(trip.net_pnl for trip in trips),
        "net_color": [UP_RED if trip.net_pnl > 0 else DOWN_GREEN for trip in trips],
        "costs": _numbers(trip.cost.commission + trip.cost.slippage for trip in trips),
        "worst": _numbers(nan if trip.worst is None else trip.worst for trip in trips),
        "best": _numbers(nan if trip.best is None else trip.best for trip in trips),
        "first_row": [first for first, _ in places],
        "last_row": [last for _, last in places],
    }


def _numbers(values: Iterable[float]) -> Floats:
    return np.fromiter(values, np.float64)


def _milliseconds(moment: Time | None) -> float:
    """As the table's own clock counts, which knows no zones."""
    return nan if moment is None else moment.replace(tzinfo=UTC).timestamp() * 1000


def _places(run: Run) -> Iterator[tuple[int, int]]:
    """Where each trip stands in its contract's chart."""
    plan = run.plan
    drawn = {name: candles(plan.series[name].days(plan.start, plan.end)) for name in run.charted}
    for trip in run.trips:
        bars = drawn.get(trip.vt_symbol)
        yield (-1, -1) if bars is None else (row_at(bars.time, trip.entry_time), end_of(bars, trip))


# ---- what it was told, what it cost -------------------------------------------------------------------------------


def _parameters_html(plan: Plan) -> str:
    return heading("Strategies and parameters", "策略与参数") + "".join(map(_strategy_html, plan.strategies))


def _strategy_html(one: StrategyPlan) -> str:
    known = {name: getattr(one.kind, name, None) for name in getattr(one.kind, "parameters", ())} | dict(one.params)
    rows = [
        (both("Class", "策略类"), cell(one.kind.__name__)),
        (both("Contracts", "合约"), cell(" ".join(one.vt_symbols))),
        (both("Capital", "资金"), cell(money(one.capital))),
        *((escape(name), cell(str(value))) for name, value in known.items()),
    ]
    return table(rows, escape(one.name))


def _costs_html(run: Run) -> str:
    told = _VNPY_COSTS if run.plan.matching is Matching.VNPY else _REALISTIC_COSTS
    rows = [(both(english, chinese), cell(write(run.plan))) for english, chinese, write in told]
    fees = "" if run.plan.matching is Matching.VNPY else "".join(_fees_html(run.plan, name) for name in run.plan.series)
    return heading("Costs", "成本") + table(rows) + fees + _open_html(run.result)


_REALISTIC_COSTS: tuple[tuple[str, str, Callable[[Plan], str]], ...] = (
    ("Slippage, price ticks", "滑点（跳）", lambda plan: str(plan.costs.slippage_ticks)),
    ("Largest share of a bar's volume", "最大成交占比", lambda plan: share(plan.costs.volume_share)),
)
_VNPY_COSTS: tuple[tuple[str, str, Callable[[Plan], str]], ...] = (
    ("Commission rate of turnover", "手续费率", lambda plan: f"{plan.costs.rate:g}"),
    ("Slippage, yuan of price", "滑点（元）", lambda plan: f"{plan.costs.slippage:g}"),
)


def _fees_html(plan: Plan, name: str) -> str:
    instrument = plan.book.get(name, plan.start)
    fees = instrument.fees
    rows = [
        (both("Open", "开仓"), cell(_fee(fees.open_by_lot, fees.open_by_rate))),
        (both("Close", "平仓"), cell(_fee(fees.close_by_lot, fees.close_by_rate))),
        (both("Close today", "平今"), cell(_fee(fees.close_today_by_lot, fees.close_today_by_rate))),
        (both("Margin", "保证金"), cell(share(instrument.margin_rate))),
        (
            both("Units a lot, price tick", "合约乘数、最小变动"),
            cell(f"{instrument.size:g}, {instrument.price_tick:g}"),
        ),
    ]
    return table(rows, f"{escape(name)} {escape(instrument.name)}")


def _fee(by_lot: float, by_rate: float) -> str:
    parts = [f"{by_lot:g} yuan a lot 元/手"] * bool(by_lot) + [f"{by_rate * 10_000:g}‱ of turnover"] * bool(by_rate)
    return " + ".join(parts) or "free 免费"


def _open_html(result: Result) -> str:
    """What is left after the last bar."""
    held = [
        (escape(one.vt_symbol), cell(f"{one.direction} {one.volume} @ {one.price:g}, {money(one.pnl)}"))
        for one in result.positions
        if one.volume
    ]
    working = [
        (escape(one.vt_symbol), cell(f"{one.direction} {one.offset} {one.volume} @ {one.price:g}"))
        for one in result.working[:MOST_WORKING]
    ]
    more = len(result.working) - len(working)
    rest = f"<small>… and {more} more 另有{more}笔</small>" if more else ""
    return (table(held, both("Open at the end", "期末持仓")) if held else "") + (
        table(working, both("Working at the end", "期末挂单")) + rest if working else ""
    )


MOST_WORKING = 8
