"""The console's chart: windows that grow, a past that is put before, lines a strategy reads, ticks as a tape."""

from __future__ import annotations

import sys
from datetime import datetime, time, timedelta
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "dashboards"))

from theme import palette
from views.board import Board
from views.chart import WARM_UP, Chart
from views.pages.strategies import wish_of
from views.series import Candle, Series, Windows, joined_windows
from views.tape import Tape, print_cells
from views.words import Words

from arbig.client.answers import Strategies
from arbig.domain.indicators import Line, wanted_by
from arbig.domain.messages import SHANGHAI, Exchange, TickData
from arbig.domain.sessions import Sessions
from arbig.runtime.calendar import load_calendar
from arbig.runtime.deployment import Deployment
from arbig.runtime.settings import Settings

NIGHT = datetime(2025, 10, 15, 21, 0, tzinfo=SHANGHAI)


@pytest.fixture
def windows(settings: Settings) -> Windows:
    return Windows(Sessions(time(2, 30), load_calendar(settings)))


def candle(minute: int, close: float = 880.0) -> Candle:
    return Candle(NIGHT + timedelta(minutes=minute), 880.0, 881.0, 879.0, close, 10)


def tick(
    clock: str, price: float, volume: int, interest: int = 100, bid: float = 879.0, ask: float = 881.0
) -> TickData:
    prices = dict.fromkeys(("open_price", "high_price", "low_price", "pre_close", "limit_up", "limit_down"), 880.0)
    return TickData(
        symbol="au2512", exchange=Exchange.SHFE, datetime=datetime.fromisoformat(f"2025-10-{clock}+08:00"),
        last_price=price, volume=volume, open_interest=interest, last_volume=1, bid_price_1=bid, bid_volume_1=1,
        ask_price_1=ask, ask_volume_1=1, **prices,
    )  # fmt: skip


def test_a_window_counts_trading_minutes_across_the_break_and_the_night_belongs_to_the_day(windows: Windows) -> None:
    at = lambda clock, interval: windows.start_of(datetime.fromisoformat(f"2025-10-{clock}+08:00"), interval)
    assert at("16T10:35:10", "30m") == datetime(2025, 10, 16, 10, 0, tzinfo=SHANGHAI)
    assert at("15T21:30:00", "d") == at("16T14:59:59", "d") == datetime(2025, 10, 16, tzinfo=SHANGHAI)
    assert at("16T15:00:00.5", "1m") == datetime(2025, 10, 16, 14, 59, tzinfo=SHANGHAI), "the closing tick"
    assert at("16T20:59:30", "1m") is None and at("18T10:00:00", "1m") is None, "the auction, a Saturday"


def test_a_night_s_trade_is_drawn_at_the_candle_of_its_trading_day(windows: Windows) -> None:
    days = Series(partial(windows.start_of, interval="d"))
    days.load(Candle(datetime(2025, 10, day, tzinfo=SHANGHAI), 880.0, 881.0, 879.0, 880.0, 10) for day in (15, 16, 17))
    at = lambda clock: days.place_of(datetime.fromisoformat(f"2025-10-{clock}+08:00"))
    assert [0, 0, 1, 1, 1] == [
        at(clock) for clock in ("14T21:31:00", "15T14:59:59", "15T21:00:00", "16T02:00:00", "16T10:00:00")
    ]
    minutes = Series(partial(windows.start_of, interval="1m"))
    minutes.load([candle(0), candle(1)])
    assert minutes.place_of(NIGHT + timedelta(seconds=90)) == 1


def test_minutes_since_the_last_finished_window_are_its_growing_candle(windows: Windows) -> None:
    made = joined_windows([candle(0), candle(4, 882.0), candle(5), candle(6, 879.5)], windows, "5m")
    assert [(one.time.minute, one.close, one.volume) for one in made] == [(0, 882.0, 20), (5, 879.5, 20)]


def test_older_bars_are_streamed_before_the_rest_keeps_its_place() -> None:
    series, chart = Series(), Chart(palette(dark=False, west=False), Words("en"))
    series.load(candle(minute) for minute in range(1000, 1010))
    chart.refresh(series, [], [], 2, Words("en"), ())
    chart._prices.x_range.update(start=-5, end=20)
    assert chart.wants_older(series)
    series.put_before([candle(minute) for minute in range(1000 - WARM_UP - 40, 1000)])
    chart.refresh(series, [], [], 2, Words("en"), ())
    assert [-1.0, -2.0, -40.0] == [chart._past.data["i"][n] for n in (0, 1, -1)], "the oldest wait as a warm-up"
    assert list(range(10)) == list(chart._candles.data["i"]), "what was drawn stays"
    assert series.place_of(candle(995).time) == -5
    series.put_before([])
    chart.refresh(series, [], [], 2, Words("en"), ())
    assert series.complete and len(chart._past.data["i"]) == WARM_UP + 40 and not chart.wants_older(series)


def test_another_contract_s_prices_are_written_with_its_own_decimals() -> None:
    series, chart = Series(), Chart(palette(dark=False, west=False), Words("en"))
    series.load(candle(minute) for minute in range(10))
    told: list[int] = []
    chart._prices.yaxis[0].formatter.on_change("args", lambda _, old, new: told.append(new["decimals"]))
    for decimals in (2, 2, 0):
        chart.refresh(series, [], [], decimals, Words("en"), (decimals,))
    assert told == [2, 0]


def test_a_strategy_s_lines_follow_the_candles_without_a_hole() -> None:
    series, chart = Series(), Chart(palette(dark=True, west=False), Words("en"))
    series.load(candle(minute, 880.0 + minute) for minute in range(1000, 1010))

    def draw() -> None:
        values = series.columns()[3]
        lines = [Line("fast", "", values), Line("rsi", "rsi", values / 10)]
        chart.refresh(series, [], [], 2, Words("en"), (), lines)

    draw()
    series.put_before([candle(minute, 880.0 + minute) for minute in range(700, 1000)])
    series.put(candle(1010, 900.0))
    draw()
    now, past = chart._lines._now.data, chart._lines._past.data
    assert list(now["l0"]) == [one.close for one in series.candles]
    assert list(past["i"][:3]) == [0, -1, -2] and past["l0"][1] == series.past[-1].close
    assert len(past["i"]) == 1 + 300 - WARM_UP
    assert len(chart.model.children) == 2, "the strength has a pane of its own"
    chart.refresh(series, [], [], 2, Words("en"), (), [])
    assert len(chart.model.children) == 1


def test_the_tape_says_who_came_to_whom_and_what_they_did() -> None:
    tape = Tape()
    for one in (
        tick("15T21:00:00", 880.0, 10), tick("15T21:00:00.5", 881.0, 14, 102), tick("15T21:00:01", 879.0, 17, 100),
        tick("15T21:00:01.5", 879.0, 17, 100), tick("15T21:00:02", 881.0, 20, 103),
    ):  # fmt: skip
        tape.add(one)
    cells = [print_cells(one, 2, Words("en", {})) for one in tape.since(0)]
    assert ["opens_long", "closes_long", "opens_both"] == [row[-1][0] for row in cells]
    assert ["21:00:00", ["881.00", "up"], ["4", "up"], "+2"] == cells[0][:4]
    assert (3, 1, []) == (tape.count, len(tape.since(2)), tape.since(3))


def test_a_strategy_s_indicators_are_those_of_its_run(settings: Settings) -> None:
    board = Board(settings)
    strategy = {"strategy_name": "One", "class_name": "One", "symbol": "au2512", "state": "RUNNING", "run_id": "r1",
                "parameters": {"n": 2}}  # fmt: skip
    idle = {**strategy, "strategy_name": "Idle", "run_id": None}
    board.strategies = msgspec.convert({"strategies": [strategy, idle]}, Strategies)
    assert ["One"] == [one.strategy_name for one in board.readers("au2512")] and board.readers("ag2512") == []
    board.series["au2512", "1m"] = series = Series()
    series.load([candle(0, 880.0), candle(1, 882.0)])
    board._wants["One", "r1"] = wanted_by("class One:\n    indicators = {'fast': 'sma(n)'}", "One")
    (line,) = board.lines("au2512", "1m", "One")
    assert line.name == "fast" and np.isnan(line.values[0]) and line.values[1] == 881.0
    assert board.lines("au2512", "1m", "One") is board.lines("au2512", "1m", "One"), "computed once for everybody"


def test_what_the_form_says_is_a_deployment() -> None:
    wish = wish_of({"class_name": "Pair", "symbol": "au2512, ag2512", "params": {"width": 2}, "mode": "paper"})
    assert Deployment(**wish).symbols == ["au2512", "ag2512"]
    live = wish_of(
        {"class_name": "One", "strategy_name": "Mine", "symbol": " au2512 ", "mode": "live", "confirm": "Mine"}
    )
    assert (Deployment(**live).name, live["symbol"], live["confirm"]) == ("Mine", "au2512", "Mine")
