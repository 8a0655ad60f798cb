"""The console's board and tables: what comes over the line becomes candles, rows and figures."""

from __future__ import annotations

import asyncio
import re
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as settings_of
from hypothesis import strategies as some

sys.path.insert(0, str(Path(__file__).parents[2] / "dashboards"))

from theme import palette
from views import tables
from views.board import Board
from views.chart import Chart
from views.pages import notebooks, overview, services, trade
from views.series import KEPT_CANDLES, Candle, Series
from views.tables import COLUMNS, columns_of, lamp_of, order_rows, signed, span
from views.visit import Taste
from views.watch import Watch
from views.words import WORDS, Words

from arbig.client.client import ClientError
from arbig.client.feed import News
from arbig.domain.messages import SHANGHAI, Exchange, TickData
from arbig.runtime.settings import Settings

ENGLISH, CHINESE = Words("en"), Words("zh")
NINE = datetime(2025, 10, 9, 9, 0, tzinfo=SHANGHAI)


def candle(minute: int, close: float = 880.0) -> Candle:
    return Candle(NINE + timedelta(minutes=minute), 880.0, 881.0, 879.0, close, 10)


def tick(seconds: float, price: float, volume: int = 0) -> TickData:
    whole = dict.fromkeys(("open_interest", "last_volume", "bid_volume_1", "ask_volume_1"), 1)
    prices = dict.fromkeys(
        ("open_price", "high_price", "low_price", "pre_close", "limit_up", "limit_down", "bid_price_1", "ask_price_1"),
        880.0,
    )
    time = NINE + timedelta(seconds=seconds)
    return TickData(
        symbol="au2512", exchange=Exchange.SHFE, datetime=time, last_price=price, volume=volume, **whole, **prices
    )


def order(**changes: Any) -> dict[str, Any]:
    return {
        "order_id": "o1",
        "request_id": "r1",
        "symbol": "au2512",
        "exchange": "SHFE",
        "direction": "LONG",
        "offset": "OPEN",
        "order_type": "LIMIT",
        "price": 880.5,
        "volume": 2,
        "traded": 1,
        "status": "PARTTRADED",
        "datetime": "2025-10-09T09:00:01.000",
        "strategy_name": "MaRsiStrategy",
    } | changes


def news(topic: str, data: Any) -> News:
    return News(topic, msgspec.Raw(msgspec.json.encode(data)))


@pytest.fixture
def board(settings: Settings) -> Board:
    return Board(settings)


def test_ticks_grow_a_candle_and_the_bar_that_follows_has_the_last_word() -> None:
    series = Series()
    series.put(candle(0))
    for seconds, price, volume in ((60, 880.0, 100), (70, 882.0, 105), (80, 879.5, 111)):
        series.grow(tick(seconds, price, volume), NINE + timedelta(minutes=1))
    growing = series.candles[-1]
    assert (880.0, 882.0, 879.5, 879.5, 11) == (
        growing.open,
        growing.high,
        growing.low,
        growing.close,
        growing.volume,
    )
    series.put(candle(1, 881.0))
    assert [candle(0), candle(1, 881.0)] == series.candles


def test_a_trade_at_a_closing_tick_belongs_to_the_bar_before_the_break() -> None:
    series = Series()
    series.load([candle(0), candle(1), candle(30)])
    places = [series.place_of(NINE + timedelta(minutes=minute)) for minute in (-1, 0, 2, 31)]
    assert [None, 0, 1, 2] == places


def test_a_series_does_not_grow_without_end() -> None:
    series = Series()
    for minute in range(KEPT_CANDLES + 1):
        series.put(candle(minute))
    assert (candle(KEPT_CANDLES), True) == (series.candles[-1], len(series.candles) < KEPT_CANDLES)
    assert series.epoch == 1


@settings_of(max_examples=40, deadline=None)
@given(some.lists(some.integers(0, 12), max_size=40))
def test_what_is_drawn_is_always_what_the_series_holds(minutes: list[int]) -> None:
    """Late, repeated and missing bars; the drawing is patched and streamed, never drawn anew by hand."""
    series, chart = Series(), Chart(palette(dark=False, west=False), ENGLISH)
    series.load([candle(0)])
    for number, minute in enumerate(minutes):
        series.put(candle(minute, 879.0 + number % 3))
        chart._draw_candles(series)
    chart._draw_candles(series)
    times = [one.time for one in series.candles]
    assert sorted(set(times)) == times
    drawn = chart._candles.data
    assert [one.close for one in series.candles] == list(drawn["close"])
    assert list(range(len(times))) == list(drawn["i"])


def test_only_working_orders_stay_on_the_board(board: Board) -> None:
    board.absorb(news("order_status", order()))
    assert ["r1"] == list(board.orders)
    board.absorb(news("order_status", order(status="ALLTRADED", traded=2)))
    assert {} == board.orders
    board.absorb(news("orders", {"as_of": {}, "orders": [order(request_id="r2")]}))
    (row,) = order_rows(board.working(), {"au2512": 1}, ENGLISH)
    assert ["o1", "09:00:01", "au2512", ["Buy open", "up"], "880.5", "2", ["1", ""]] == row[:7]
    assert [["MaRsiStrategy", "q"], ["Partly", "q"], ["Cancel", "", "cancel"]] == row[7:]


def test_a_service_that_is_away_leaves_the_last_picture(board: Board) -> None:
    account = {"as_of": {}, "account": {"balance": 100.0}}
    board.absorb(news("account", account))
    board.absorb(news("account", {"error": "trading does not answer"}))
    assert board.account is not None
    assert board.account.account.balance == 100.0


def test_the_lamp_names_the_first_thing_that_is_wrong(board: Board) -> None:
    lamps = [lamp_of(board, ENGLISH)[0]]
    board.trouble = ""
    lamps.append(lamp_of(board, ENGLISH)[0])
    for connected in (False, True):
        board.heard["heartbeat"] = board._clock.monotonic()
        beat = {"datetime": "2025-10-09T09:00:00", "connected": connected, "silence": {"gateway": 0.2}}
        board.absorb(news("heartbeat", beat))
        lamps.append(lamp_of(board, CHINESE)[0])
    assert ["off", "wait", "ill", "live"] == lamps


def test_every_word_exists_in_both_languages_and_every_column_has_one() -> None:
    assert all(english and chinese for english, chinese in WORDS.values())
    for table in COLUMNS:
        assert [kind for _, kind in columns_of(table, ENGLISH)] == [kind for _, kind in columns_of(table, CHINESE)]
        keys = {key for column in COLUMNS[table].split() if (key := column.partition(":")[0])}
        assert keys <= set(WORDS)
    assert ("Sell", "卖") == (ENGLISH("SELL"), CHINESE("SELL"))


def test_figures_as_a_trader_reads_them() -> None:
    assert [["+1,240", "up"], ["-80", "down"], ["0", ""]] == [signed(value) for value in (1240.2, -80, 0.0)]
    assert ["", "0:07", "2:05", "1:01:01"] == [span(seconds) for seconds in (None, 7.9, 125, 3661)]


def test_every_row_has_a_cell_for_each_column() -> None:
    """Tables are drawn by place: a cell too many would stand under nothing."""
    job = {"id": "f1", "since": "2025-10-09T09:00:00", "strategy_name": None, "symbol": None, "state": "WAITING",
           "left": [{"volume": 2, "symbol": "au2512", "direction": "LONG"}], "detail": "", "reason": ""}  # fmt: skip
    gap = {"found_at": "2025-10-09T09:00:00", "what": "lots", "symbol": "au2512", "direction": "LONG", "order_id": "",
           "ours": "3", "theirs": "2", "state": "OPEN", "done": "trading is REDUCING"}  # fmt: skip
    stream = {"stream": "stream:order", "group": "group:trading", "lag": 0, "pending": 1, "lost": 0}
    entry = {"name": "daily", "when": "day close", "mode": "paper"}
    run = {"run_id": "r1", "name": "daily", "due": "2025-10-09T15:10:00", "state": "FAILED", "error": "one\ntwo"}
    rows = {
        "flattens": tables.flatten_rows([job], ENGLISH),
        "differences": tables.difference_rows({"open": [gap], "differences": [gap]}, ENGLISH),
        "streams": tables.stream_rows([stream]),
        "logs": tables.log_rows([{"ts": "2025-10-09T09:00:00", "level": "error", "service": "web", "event": "x"}]),
        "alerts": tables.alert_rows([{"name": "phone", "kind": "dingtalk", "masked": "dingtalk://***"}], ENGLISH),
        "schedule": tables.schedule_rows([entry, {"name": "broken", "problem": "config/schedule.yaml: no"}], ENGLISH),
        "runs": tables.run_rows([run, run | {"state": "DONE", "folder": "runs/x"}], 8080, ENGLISH),
    }
    for table, found in rows.items():
        assert all(len(row) - 1 == len(COLUMNS[table].split()) for row in found), table
    assert "one" == rows["runs"][0][-2][0]
    assert "http://{host}:8080/api/v1/runs/r1/report" == rows["runs"][1][-1][3]
    assert 1 == len(rows["differences"])


def test_a_preview_is_read_as_a_trader_reads_it() -> None:
    legs = [{"offset": "CLOSETODAY", "volume": 3}, {"offset": "CLOSEYESTERDAY", "volume": 1}]
    found = {"legs": legs, "commission": 12.5, "margin": 0.0, "available": 1000.0, "refusal": None}
    assert ["becomes", "Close td 3 + Close yd 1", ""] == tables.preview(found, ENGLISH)["lines"][0]
    refused = found | {"legs": [], "refusal": {"code": "PRICE_TICK", "detail": "not a multiple"}}
    assert {"refusal": ["PRICE_TICK", "not a multiple"]} == tables.preview(refused, CHINESE)


def test_a_browser_is_found_again_as_it_was_left() -> None:
    assert Taste("zh") == Taste.of(None, "zh-CN,zh;q=0.9")
    assert Taste("en") == Taste.of(None, "de,en;q=0.5")
    assert Taste("zh", dark=True, west=True) == Taste.of("zh.dark.west")
    assert Taste("en", west=True) == Taste.of("en.west", "zh")
    assert "dark west" == Taste("en", True, True).classes


def test_what_is_watched_is_asked_once_for_all_and_an_error_is_no_answer(board: Board) -> None:
    answers: list[Any] = [[1], ClientError("no scheduler", 404), [1]]

    async def question() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, ClientError):
            raise answer
        return answer

    async def play() -> None:
        watch = Watch(board)
        seen = []
        for _ in range(3):
            for _ in range(4):
                watch.look("jobs", question, 60.0)
            while board._tasks:
                await asyncio.gather(*board._tasks)
            seen.append((watch.look("jobs", question, 60.0), "jobs" in watch.errors, watch.revisions["jobs"]))
            watch.again("jobs")
        assert [([1], False, 1), ([1], True, 2), ([1], False, 3)] == seen

    asyncio.run(play())


def test_whatever_a_tile_asks_for_comes_before_it_would_turn_grey() -> None:
    grey = re.search(r"'stale', seconds > (\d+)", Path(overview.__file__).parents[1].joinpath("parts.js").read_text())
    assert grey is not None
    periods = {
        (page.__name__, name): value
        for page in (notebooks, overview, services, trade)
        for name, value in vars(page).items()
        if name.endswith("SECONDS")
    }
    assert len(periods) == 8
    assert {name: value for name, value in periods.items() if value > int(grey[1]) - 1} == {}
