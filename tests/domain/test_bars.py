"""Bars: what a trader of gold sees on a one-minute chart, tick by tick."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from itertools import accumulate, pairwise

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from arbig.domain.bars import BarGenerator, Event, Link
from arbig.domain.messages import SHANGHAI, BarData, Exchange, TickData
from arbig.domain.sessions import Sessions, TradingCalendar
from arbig.runtime.calendar import table

CALENDAR = TradingCalendar(table())
GOLD = Sessions(time(2, 30), CALENDAR)
REBAR = Sessions(time(23, 0), CALENDAR)
COPPER = Sessions(time(1, 0), CALENDAR)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2025-10-{text}").replace(tzinfo=SHANGHAI)


def tick(moment: str | datetime, price: float, volume: int, **fields: object) -> TickData:
    """A tick of au2512; `moment` is day and time of October 2025, `volume` the trading day's total."""
    values: dict[str, object] = {
        "symbol": "au2512",
        "exchange": Exchange.SHFE,
        "datetime": at(moment) if isinstance(moment, str) else moment,
        "last_price": price,
        "volume": volume,
        "open_interest": 98765,
        "last_volume": 1,
        "open_price": 900.0,
        "high_price": 910.0,
        "low_price": 890.0,
        "pre_close": 900.0,
        "limit_up": 990.0,
        "limit_down": 810.0,
        "bid_price_1": price - 0.02,
        "bid_volume_1": 3,
        "ask_price_1": price + 0.02,
        "ask_volume_1": 3,
        "turnover": volume * 900_000.0,
    }
    return TickData(**{**values, **fields})  # type: ignore[arg-type]


def generator(sessions: Sessions = GOLD, since: str = "14 20:50:00") -> BarGenerator:
    """One that has been listening since before the night of trading day 2025-10-15."""
    made = BarGenerator("au2512", sessions)
    assert made.on_time(at(since)) == []
    return made


def played(bars: BarGenerator, *events: Event) -> list[BarData]:
    return [bar for event in events for bar in bars.replay(event)]


def shown(bars: list[BarData]) -> list[str]:
    return [f"{b.datetime:%d %H:%M} v={b.volume} n={b.seq}{' partial' if b.partial else ''}" for b in bars]


def test_a_bar_is_stamped_with_its_minutes_start_and_spans_its_ticks() -> None:
    bars = played(
        generator(),
        tick("14 21:00:00.500", 900.0, 10, open_price=900.0, high_price=900.0, low_price=900.0),
        tick("14 21:00:30", 902.0, 15, high_price=902.0, low_price=900.0),
        tick("14 21:00:59.500", 901.0, 20, high_price=902.0, low_price=900.0),
        tick("14 21:01:00", 903.0, 21, high_price=903.0, low_price=900.0),
    )
    assert len(bars) == 1
    bar = bars[0]
    assert (bar.datetime, bar.interval) == (at("14 21:00:00"), "1m")
    assert (bar.open_price, bar.high_price, bar.low_price, bar.close_price) == (900.0, 902.0, 900.0, 901.0)
    assert (bar.volume, bar.turnover, bar.open_interest) == (20, 20 * 900_000.0, 98765)
    assert (bar.trading_day, bar.seq, bar.partial) == (date(2025, 10, 15), 1, None)


def test_the_auction_belongs_to_the_first_bar() -> None:
    bars = played(
        generator(),
        tick("14 20:58:00", 900.0, 0),
        tick("14 20:59:00.500", 901.0, 150, open_price=901.0, high_price=901.0, low_price=901.0),
        tick("14 21:00:01", 900.5, 160, open_price=901.0, high_price=901.0, low_price=900.5),
        tick("14 21:01:00", 900.6, 161),
    )
    assert shown(bars) == ["14 21:00 v=160 n=1"]
    assert (bars[0].open_price, bars[0].high_price, bars[0].low_price) == (901.0, 901.0, 900.5)


def test_without_a_night_the_auction_of_0859_belongs_to_the_nine_oclock_bar() -> None:
    bars = played(
        generator(since="09 08:30:00"),
        tick("09 08:59:00.500", 901.0, 150),
        tick("09 09:00:01", 900.5, 160),
        tick("09 09:01:00", 900.6, 161),
    )
    assert shown(bars) == ["09 09:00 v=160 n=1"]


def test_a_morning_auction_tick_after_a_night_is_taken_when_it_comes() -> None:
    bars = played(
        generator(),
        tick("15 02:29:30", 900.0, 1000),
        tick("15 08:59:30", 900.0, 1040),
        tick("15 09:00:01", 900.5, 1050),
        tick("15 09:01:00", 900.6, 1051),
    )
    assert shown(bars) == ["15 02:29 v=1000 n=1", "15 09:00 v=50 n=2"]


def test_quotes_before_the_opening_make_no_bar() -> None:
    assert played(generator(), tick("14 20:56:00", 900.0, 0), at("14 20:58:30"), at("14 21:02:00")) == []


def test_the_closing_tick_of_every_segment_belongs_to_its_last_bar() -> None:
    for sessions, before, closing, last in (
        (GOLD, "15 10:14:30", "15 10:15:00", "15 10:14"),
        (GOLD, "15 11:29:30", "15 11:30:00", "15 11:29"),
        (GOLD, "15 14:59:30", "15 15:00:00.500", "15 14:59"),
        (GOLD, "15 02:29:30", "15 02:30:00", "15 02:29"),
        (REBAR, "14 22:59:30", "14 23:00:00", "14 22:59"),
        (COPPER, "15 00:59:30", "15 01:00:00", "15 00:59"),
    ):
        bars = generator(sessions)
        played(bars, tick(before, 900.0, 100), tick(closing, 901.0, 130))
        closed = bars.on_time(at(closing) + timedelta(seconds=6))
        assert shown(closed) == [f"{last} v=130 n=1"]
        assert closed[0].close_price == 901.0


def test_the_timer_waits_for_the_closing_tick() -> None:
    bars = generator()
    assert played(bars, tick("15 14:59:30", 900.0, 100), at("15 15:00:02")) == []
    assert played(bars, tick("15 15:00:00.500", 901.0, 130)) == []
    assert shown(bars.on_time(at("15 15:00:05"))) == ["15 14:59 v=130 n=1"]


def test_the_timer_closes_a_minute_when_no_tick_comes() -> None:
    bars = generator()
    assert played(bars, tick("14 21:05:10", 900.0, 5), at("14 21:06:01")) == []
    assert shown(bars.on_time(at("14 21:06:02"))) == ["14 21:05 v=5 n=1"]
    assert bars.on_time(at("14 21:07:02")) == []


def test_a_late_tick_never_opens_a_closed_minute_and_its_volume_goes_into_the_next() -> None:
    bars = generator()
    first = played(bars, tick("14 21:05:10", 900.0, 5), at("14 21:06:03"), tick("14 21:05:59.900", 901.0, 8))
    rest = played(bars, tick("14 21:06:10", 900.0, 10), tick("14 21:07:00", 900.0, 10))
    assert shown(first + rest) == ["14 21:05 v=5 n=1", "14 21:06 v=5 n=2"]


def test_the_closing_tick_after_the_close_changes_nothing() -> None:
    bars = generator()
    played(bars, tick("15 14:59:30", 900.0, 100), at("15 15:00:06"))
    assert played(bars, tick("15 15:00:00.500", 901.0, 130), tick("15 15:20:00", 901.0, 130), at("15 20:00:00")) == []


def test_the_same_clock_time_on_another_day_is_another_bar() -> None:
    bars = played(
        generator(),
        tick("15 09:30:00", 900.0, 10),
        tick("16 09:30:00", 905.0, 30),
        tick("16 09:31:00", 905.0, 31),
    )
    assert [(bar.trading_day, bar.seq) for bar in bars] == [(date(2025, 10, 15), 1), (date(2025, 10, 16), 1)]


def test_volume_survives_the_day_roll() -> None:
    bars = played(
        generator(),
        tick("15 14:59:30", 900.0, 200_000),
        tick("15 15:00:00", 900.0, 200_010),
        tick("15 20:59:00.500", 901.0, 150),
        tick("15 21:00:20", 901.5, 170),
        tick("15 21:01:00", 901.0, 171),
    )
    assert [bar.volume for bar in bars] == [200_010, 170]
    assert [bar.turnover for bar in bars] == [200_010 * 900_000.0, 170 * 900_000.0]


def test_the_counters_trading_day_wins() -> None:
    bars = generator()
    played(bars, tick("15 09:30:00", 900.0, 10, trading_day=date(2025, 10, 15)))
    # Stamped 15 October but of the 16th, as a stale snapshot may be: outside that day's hours, no bar, no roll.
    assert played(bars, tick("15 15:00:00", 900.0, 0, trading_day=date(2025, 10, 16))) == []
    assert bars.trading_day == date(2025, 10, 15)


def test_the_days_extremes_between_two_snapshots_belong_to_the_bar() -> None:
    bars = played(
        generator(),
        tick("14 21:00:10", 900.0, 10, high_price=901.0, low_price=899.0),
        tick("14 21:01:10", 900.0, 20, high_price=901.0, low_price=899.0),
        tick("14 21:01:20", 900.0, 30, high_price=903.0, low_price=897.0),
        tick("14 21:02:00", 900.0, 31, high_price=903.0, low_price=897.0),
    )
    assert [(bar.high_price, bar.low_price) for bar in bars] == [(901.0, 899.0), (903.0, 897.0)]


def test_a_generator_that_begins_in_the_middle_marks_its_first_bar_and_does_not_count_the_past() -> None:
    bars = BarGenerator("au2512", GOLD)
    done = played(
        bars,
        tick("15 09:30:10", 900.0, 50_000),
        tick("15 09:30:50", 900.0, 50_007),
        tick("15 09:31:10", 900.0, 50_009),
        tick("15 09:32:00", 900.0, 50_010),
    )
    assert shown(done) == ["15 09:30 v=7 n=1 partial", "15 09:31 v=2 n=2"]


def test_a_generator_that_begins_with_the_days_first_minute_misses_nothing() -> None:
    bars = BarGenerator("au2512", GOLD)
    done = played(bars, tick("14 21:00:40", 902.0, 500, high_price=905.0), tick("14 21:01:00", 902.0, 501))
    assert shown(done) == ["14 21:00 v=500 n=1"]
    assert (done[0].open_price, done[0].high_price, done[0].low_price) == (900.0, 905.0, 890.0)


def test_the_stale_snapshot_that_greets_a_subscriber_makes_no_bar() -> None:
    bars = generator(since="15 09:30:00")
    done = played(
        bars,
        tick("15 02:29:59", 900.0, 50_000),
        at("15 09:30:01"),
        tick("15 09:30:20", 900.0, 50_005),
        tick("15 09:31:00", 900.0, 50_006),
    )
    assert shown(done) == ["15 09:30 v=5 n=1 partial"]


def test_no_bars_while_the_connection_is_down_and_the_next_one_is_marked() -> None:
    bars = generator()
    done = played(
        bars,
        tick("14 21:00:10", 900.0, 10),
        Link.DOWN,
        tick("14 21:00:40", 900.0, 11),
        at("14 21:02:10"),
        Link.UP,
        tick("14 21:03:30", 900.0, 40),
        tick("14 21:04:10", 900.0, 50),
        tick("14 21:05:10", 900.0, 51),
    )
    assert shown(done) == ["14 21:00 v=10 n=1 partial", "14 21:03 v=30 n=2 partial", "14 21:04 v=10 n=3"]


def test_a_disconnect_within_a_break_harms_no_bar() -> None:
    bars = generator()
    done = played(
        bars,
        tick("15 10:14:50", 900.0, 10),
        at("15 10:15:10"),
        Link.DOWN,
        Link.UP,
        at("15 10:29:00"),
        tick("15 10:30:10", 900.0, 15),
        tick("15 10:31:00", 900.0, 16),
    )
    assert shown(done) == ["15 10:14 v=10 n=1", "15 10:30 v=5 n=2"]


def test_numbered_ticks_prove_that_nothing_was_missed_or_that_something_was() -> None:
    bars = generator()
    done = played(
        bars,
        tick("14 21:00:10", 900.0, 10, seq=1),
        Link.DOWN,
        Link.UP,
        tick("14 21:00:50", 900.0, 12, seq=2),
        tick("14 21:01:10", 900.0, 13, seq=3),
        tick("14 21:02:10", 900.0, 19, seq=7),
        tick("14 21:03:00", 900.0, 20, seq=8),
    )
    assert shown(done) == ["14 21:00 v=12 n=1", "14 21:01 v=1 n=2 partial", "14 21:02 v=6 n=3 partial"]


def test_a_numbered_tick_that_is_dropped_was_not_missed() -> None:
    done = played(
        generator(),
        tick("14 20:40:00", 900.0, 0, seq=1),
        tick("14 21:00:10", 900.0, 10, seq=2),
        tick("14 21:00:09", 900.0, 10, seq=3),
        tick("14 21:00:20", 900.0, 12, seq=4),
        tick("14 21:01:20", 900.0, 13, seq=5),
    )
    assert shown(done) == ["14 21:00 v=12 n=1"]


def test_a_restart_rebuilds_the_running_bar_whole_when_the_ticks_go_on_where_they_stopped() -> None:
    events: list[Event] = [
        at("14 20:50:00"),
        tick("14 21:00:10", 900.0, 10, seq=1),
        tick("14 21:01:10", 900.0, 13, seq=2),
    ]
    bars = BarGenerator("au2512", GOLD)
    assert shown(bars.restore(events)) == ["14 21:00 v=10 n=1"]
    done = played(bars, tick("14 21:01:30", 900.0, 18, seq=3), tick("14 21:02:30", 900.0, 19, seq=4))
    assert shown(done) == ["14 21:01 v=8 n=2"]


def test_a_restart_that_missed_ticks_marks_the_rebuilt_bar() -> None:
    events: list[Event] = [at("14 20:50:00"), tick("14 21:00:10", 900.0, 10), tick("14 21:01:10", 900.0, 13)]
    bars = BarGenerator("au2512", GOLD)
    bars.restore(events)
    done = played(bars, tick("14 21:01:30", 900.0, 18), tick("14 21:02:30", 900.0, 19))
    assert shown(done) == ["14 21:01 v=8 n=2 partial"]


def test_a_restart_gives_only_the_bars_that_were_not_stored_and_goes_on_counting() -> None:
    events: list[Event] = [at("14 20:50:00"), *(tick(f"14 21:0{n}:10", 900.0, 10 * n, seq=n) for n in range(1, 5))]
    stored = played(BarGenerator("au2512", GOLD), *events)
    bars = BarGenerator("au2512", GOLD)
    assert bars.restore(events, after=stored[1]) == stored[2:]
    # All were stored, also the one the timer closed after the last recorded event: it is not given twice.
    last = replace(stored[-1], datetime=at("14 21:04:00"), seq=4)
    again = BarGenerator("au2512", GOLD)
    assert again.restore(events, after=last) == []
    assert again.on_time(at("14 21:05:10")) == []
    assert shown(played(again, tick("14 21:05:20", 900.0, 60, seq=5), at("14 21:06:05"))) == ["14 21:05 v=20 n=5"]


def test_a_restart_without_its_ticks_goes_on_after_the_stored_bars() -> None:
    stored = replace(played(generator(), tick("14 21:00:10", 900.0, 10), at("14 21:02:00"))[0], seq=77)
    bars = BarGenerator("au2512", GOLD)
    assert bars.restore([], after=stored) == []
    done = played(bars, tick("14 21:00:40", 900.0, 12), tick("14 21:10:40", 900.0, 90), at("14 21:12:00"))
    assert shown(done) == ["14 21:10 v=0 n=78 partial"]


# A trading day in ticks: seconds since 20:55, lots traded, price.
STEPS = st.lists(st.tuples(st.integers(1, 4000), st.integers(0, 50), st.integers(-20, 20)), min_size=1, max_size=60)


def day_of(steps: list[tuple[int, int, int]]) -> list[TickData]:
    """Ticks at the session's moments: closed hours are skipped, as in the market."""
    begin = at("14 20:59:00")
    seconds = accumulate(step[0] for step in steps)
    volumes = accumulate(step[1] for step in steps)
    prices = [900.0 + step[2] * 0.02 for step in steps]
    ticks = []
    for seq, (after, volume, price) in enumerate(zip(seconds, volumes, prices, strict=True), 1):
        moment = begin + timedelta(seconds=after)
        if moment < at("15 15:00:00") and GOLD.is_open(moment):
            high, low = max(prices[:seq]), min(prices[:seq])
            extremes = {"open_price": prices[0], "high_price": high, "low_price": low}
            ticks.append(tick(moment, price, volume, **extremes))
    return [replace(found, seq=number) for number, found in enumerate(ticks, 1)]


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_volume_is_conserved_over_the_day(steps: list[tuple[int, int, int]]) -> None:
    ticks = day_of(steps)
    bars = played(generator(), *ticks, at("15 15:00:10"))
    assert sum(bar.volume for bar in bars) == (ticks[-1].volume if ticks else 0)
    assert [bar.seq for bar in bars] == list(range(1, len(bars) + 1))
    assert all(a.datetime < b.datetime for a, b in pairwise(bars))
    assert all(bar.low_price <= min(bar.open_price, bar.close_price) for bar in bars)
    assert all(bar.high_price >= max(bar.open_price, bar.close_price) for bar in bars)
    assert not any(bar.partial for bar in bars)


@given(STEPS, st.data())
@settings(max_examples=60, deadline=None)
def test_repeated_and_late_ticks_change_no_bar(steps: list[tuple[int, int, int]], data: st.DataObject) -> None:
    ticks = day_of(steps)
    noisy: list[Event] = []
    for number, clean in enumerate(ticks):
        noisy.append(clean)
        for back in data.draw(st.lists(st.integers(0, number), max_size=3)):
            noisy.append(ticks[number - back])
    end = at("15 15:00:10")
    assert played(generator(), *noisy, end) == played(generator(), *ticks, end)


@given(STEPS, st.data())
@settings(max_examples=60, deadline=None)
def test_a_restart_at_any_moment_gives_the_same_bars(steps: list[tuple[int, int, int]], data: st.DataObject) -> None:
    events: list[Event] = [at("14 20:50:00"), *day_of(steps)]
    assume(len(events) > 1)
    cut = data.draw(st.integers(2, len(events)))  # after the first tick: before it no number proves anything
    whole = played(generator(), *events)
    before = played(BarGenerator("au2512", GOLD), *events[:cut])
    stored = before[: data.draw(st.integers(0, len(before)))]
    again = BarGenerator("au2512", GOLD)
    missing = again.restore(events[:cut], after=stored[-1] if stored else None)
    assert stored + missing + played(again, *events[cut:]) == whole


@given(STEPS, st.lists(st.integers(1, 60), max_size=20))
@settings(max_examples=60, deadline=None)
def test_the_timer_changes_when_a_bar_comes_but_never_what_it_says(
    steps: list[tuple[int, int, int]], beats: list[int]
) -> None:
    ticks = day_of(steps)
    mixed: list[Event] = []
    for number, found in enumerate(ticks):
        mixed.append(found)
        following = ticks[number + 1].datetime if number + 1 < len(ticks) else at("15 15:01:00")
        mixed.extend(
            beat for seconds in sorted(beats) if (beat := found.datetime + timedelta(seconds=seconds)) <= following
        )
    end = at("15 15:00:10")
    assert played(generator(), *mixed, end) == played(generator(), *ticks, end)
