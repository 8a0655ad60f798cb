"""Prices: a pure function of seed, contract and day; realistic enough to trade on, and nobody's orders move them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest

from arbig.backtest.prices import DayPath, day_path, first_close, spans_of
from arbig.domain.bars import BarGenerator
from arbig.domain.messages import Direction, Offset, OrderType, TickData, encode
from arbig.domain.sessions import Sessions
from arbig.exchange.core import Rules

DAY = date(2025, 10, 15)


def digest(ticks: list[TickData]) -> str:
    return hashlib.sha256(b"".join(encode(tick) for tick in ticks)).hexdigest()


def path_of(rules: Rules, symbol: str, day: date = DAY, **changes: Any) -> DayPath:
    instrument = rules.book.get(symbol, day)
    character = replace(rules.characters[instrument.product], **changes)
    sessions = Sessions(instrument.night_close, rules.calendar)
    before = first_close(rules.seed, instrument, character)
    return day_path(rules.seed, instrument, character, day, spans_of(sessions, day), before)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(desk: Callable[..., Any]) -> None:
    first = digest(desk("au2512", "rb2601").ticks("10-14 21:10:00"))
    again = digest(desk("au2512", "rb2601").ticks("10-14 21:10:00"))
    other = digest(desk("au2512", "rb2601", seed=2).ticks("10-14 21:10:00"))
    assert (again, other == first) == (first, False)


def test_ticks_do_not_depend_on_the_steps_in_which_time_passes(desk: Callable[..., Any]) -> None:
    whole = desk("au2512", "rb2601").ticks("10-14 21:03:00")
    stepwise = desk("au2512", "rb2601")
    pieces = []
    now = stepwise.exchange.session_time
    while now < whole[-1].datetime:
        now += timedelta(milliseconds=1700)
        pieces += [event for event in stepwise.exchange.advance_to(now) if isinstance(event, TickData)]
    assert pieces[: len(whole)] == whole


def test_our_orders_do_not_move_the_price(desk: Callable[..., Any]) -> None:
    quiet, busy = desk(), desk()
    busy.ticks("10-14 21:01:00")
    for _ in range(20):
        busy.order(busy.quote().ask_price_1, 5, order_type=OrderType.FAK)
        busy.order(busy.quote().bid_price_1, 5, Direction.SHORT, Offset.CLOSETODAY, OrderType.FAK)
    quiet.ticks("10-14 21:01:00")
    assert busy.ticks("10-14 21:05:00") == quiet.ticks("10-14 21:05:00")


def test_a_contract_subscribed_later_shows_the_path_it_always_had(desk: Callable[..., Any]) -> None:
    early, late = desk("au2512", "cu2512"), desk("au2512")
    early.ticks("10-14 21:05:00")
    late.ticks("10-14 21:05:00")
    late.exchange.subscribe(["cu2512"])
    assert late.ticks("10-14 21:06:00") == early.ticks("10-14 21:06:00")


@pytest.mark.parametrize("symbol", ["au2512", "ag2512", "rb2601", "wr2601", "sc2512", "ec2512"])
def test_a_day_is_one_a_trader_knows(shipped: Rules, symbol: str) -> None:
    """On the tick, inside the limits, bid below ask, time growing, totals that never fall, every segment closed."""
    path = path_of(shipped, symbol)
    tick = path.instrument.price_tick
    for column in (path.last, path.bid[path.bid > 0], path.ask[path.ask > 0]):
        steps = column / tick
        assert np.abs(steps - np.round(steps)).max() < 1e-6
        assert path.limit_down - 1e-9 <= column.min() <= column.max() <= path.limit_up + 1e-9
    both = (path.bid > 0) & (path.ask > 0)
    assert (path.ask[both] > path.bid[both]).all()
    assert (np.diff(path.offset_ms) > 0).all()
    assert (path.traded >= 0).all() and path.close.settlement > 0
    ends = {segment.end for segment in Sessions(path.instrument.night_close, shipped.calendar).continuous(DAY)}
    assert ends <= {path.base + timedelta(milliseconds=int(ms)) for ms in path.offset_ms}
    assert path.is_auction.sum() == 1 and path.is_auction[0] and path.traded[0] > 0


def test_returns_have_fat_tails_and_the_open_is_livelier_than_the_middle(shipped: Rules) -> None:
    path = path_of(shipped, "au2512")
    steps = np.diff(np.log(path.last))[1:]
    minute = 60 * 2
    opening, middle = steps[: 10 * minute], steps[60 * minute : 120 * minute]
    kurtosis = float(np.mean((steps - steps.mean()) ** 4) / np.var(steps) ** 2)
    assert kurtosis > 4
    assert opening.std() > 1.2 * middle.std()


def test_at_limit_up_there_is_no_ask_and_the_price_stays(shipped: Rules) -> None:
    path = path_of(shipped, "au2512", price_limit=0.002, volatility=0.03)
    stuck = path.bid == path.limit_up
    fallen = path.ask == path.limit_down
    assert stuck.any() or fallen.any()
    assert (path.ask[stuck] == 0).all() and (path.ask_volume[stuck] == 0).all()
    assert (path.bid[fallen] == 0).all() and (path.bid_volume[fallen] == 0).all()
    assert path.limit_down <= path.last.min() and path.last.max() <= path.limit_up


def test_a_day_is_chained_to_the_settlement_of_the_day_before(desk: Callable[..., Any]) -> None:
    trader = desk()
    first = trader.ticks("10-15 15:00:00")
    second = trader.ticks("10-15 21:00:30")
    average = first[-1].turnover / first[-1].volume / 1000
    assert second[0].pre_settlement == pytest.approx(average, abs=0.011)
    assert second[0].pre_close == first[-1].last_price
    assert second[0].trading_day == date(2025, 10, 16) and second[0].seq == 1
    assert second[0].datetime == datetime.fromisoformat("2025-10-15T20:59:00+08:00")


def test_after_the_holidays_the_first_session_opens_in_the_morning(desk: Callable[..., Any]) -> None:
    trader = desk(first_day=date(2025, 10, 9))
    assert trader.exchange.session_time == datetime.fromisoformat("2025-10-09T08:55:00+08:00")
    assert trader.ticks("10-09 09:01:00")[0].datetime == datetime.fromisoformat("2025-10-09T08:59:00+08:00")


def test_the_history_of_a_recorded_day_takes_late_closing_ticks_and_a_morning_auction_as_the_bar_generator_does(
    desk: Callable[..., Any],
) -> None:
    """Real ticks of 10:15, 11:30 and 15:00 come half a second late; some contracts show an auction tick at 08:59."""
    made = desk().ticks("10-15 15:00:00")
    ends = {f"{clock}:00" for clock in ("02:30", "10:15", "11:30", "15:00")}
    late = timedelta(milliseconds=500)
    ticks = [
        msgspec.structs.replace(t, datetime=t.datetime + late) if f"{t.datetime:%H:%M:%S}" in ends else t for t in made
    ]
    morning = next(n for n, t in enumerate(ticks) if t.datetime.hour == 9)
    ticks[morning] = msgspec.structs.replace(
        ticks[morning], datetime=ticks[morning].datetime.replace(hour=8, minute=59)
    )
    trader = desk(recorded={("au2512", DAY): ticks})
    generator = BarGenerator("au2512", Sessions(time(2, 30), trader.exchange.rules.calendar))
    start = trader.exchange.session_time
    bars = [bar for tick in trader.ticks("10-15 15:01:00") for bar in generator.on_tick(tick)]
    bars += generator.on_time(trader.exchange.session_time)
    assert trader.exchange.history("au2512", start, trader.exchange.session_time) == bars


@pytest.mark.parametrize("symbol", ["au2512", "rb2601"])
def test_history_is_what_the_bar_generator_makes_of_the_ticks(desk: Callable[..., Any], symbol: str) -> None:
    trader = desk(symbol)
    sessions = Sessions(trader.exchange.rules.book.get(symbol, DAY).night_close, trader.exchange.rules.calendar)
    generator = BarGenerator(symbol, sessions)
    start = trader.exchange.session_time
    made = [bar for tick in trader.ticks("10-15 15:00:00") for bar in generator.on_tick(tick)]
    made += generator.on_time(trader.exchange.session_time + timedelta(minutes=1))
    trader.ticks("10-15 20:55:00")
    assert trader.exchange.history(symbol, start, trader.exchange.session_time) == made


def test_history_reaches_back_before_the_first_day_and_never_ahead(desk: Callable[..., Any]) -> None:
    trader = desk()
    trader.ticks("10-14 21:05:30")
    bars = trader.exchange.history("au2512", datetime.fromisoformat("2025-10-01T00:00:00+08:00"), DAY_END)
    assert {bar.trading_day for bar in bars} == {date(2025, 10, day) for day in (10, 13, 14, 15)}
    assert bars[-1].datetime == datetime.fromisoformat("2025-10-14T21:04:00+08:00")


DAY_END = datetime.fromisoformat("2025-10-20T00:00:00+08:00")


def test_a_recorded_day_is_replayed_as_it_was(shipped: Rules, desk: Callable[..., Any]) -> None:
    recorded = desk(seed=7).ticks("10-15 15:00:00")
    trader = desk(seed=1, recorded={("au2512", DAY): recorded})
    replayed = trader.ticks("10-15 15:00:00")
    assert replayed == recorded
    following = trader.ticks("10-15 21:00:10")
    assert following[0].pre_close == recorded[-1].last_price


def test_an_expired_contract_trades_no_more(desk: Callable[..., Any]) -> None:
    trader = desk("au2510")
    last = [tick.trading_day for tick in trader.ticks("10-16 21:30:00")]
    assert set(last) == {DAY}
    assert trader.exchange.truth.symbols == ()


def test_a_product_without_a_character_of_its_own_trades_all_the_same(desk: Callable[..., Any]) -> None:
    ticks = desk("cu2512", characters={}).ticks("10-14 21:01:00")
    assert len(ticks) > 50 and ticks[-1].volume > 0
