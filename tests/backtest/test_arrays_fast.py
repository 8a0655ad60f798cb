"""ArrayManager on a feed: the same values as with a window of its own, to the last bit, for every method."""

from __future__ import annotations

import inspect
import random
from datetime import datetime, timedelta

import numpy as np
import pytest
from msgspec.structs import replace

from arbig.backtest import kernels
from arbig.backtest.feeds import Feed, playing, store_of
from arbig.backtest.series import BarSeries
from arbig.backtest.windows import vnpy_rule
from arbig.domain.arrays import ArrayManager
from arbig.domain.messages import SHANGHAI, BarData, Exchange

NINE = datetime(2025, 10, 9, 9, 0, tzinfo=SHANGHAI)
ARGUMENTS = {
    "n": 14,
    "nbdev": 2,
    "dev": 2.5,
    "fast_period": 5,
    "slow_period": 12,
    "signal_period": 4,
    "matype": 1,
    "time_period1": 5,
    "time_period2": 9,
    "time_period3": 17,
    "fastk_period": 7,
    "slowk_period": 3,
    "slowk_matype": 0,
    "slowd_period": 4,
    "slowd_matype": 1,
    "acceleration": 0.02,
    "maximum": 0.2,
}
METHODS = sorted(
    name
    for name, member in vars(ArrayManager).items()
    if callable(member) and not name.startswith("_") and name != "update_bar"
)
COLUMNS = ("open", "high", "low", "close", "volume", "turnover", "open_interest")


def history(count=700, seed=1):
    walk = random.Random(seed)
    price = 800.0
    bars = []
    for i in range(count):
        price = max(1.0, price + round(walk.gauss(0, 1), 2))
        low, high = price - round(walk.random(), 2), price + round(walk.random(), 2)
        bars.append(
            BarData(
                symbol="au2512",
                exchange=Exchange.SHFE,
                datetime=NINE + timedelta(minutes=i),
                interval="1m",
                open_price=walk.uniform(low, high),
                high_price=high,
                low_price=low,
                close_price=price,
                volume=walk.randrange(1, 500),
                open_interest=walk.randrange(1000, 2000),
                turnover=walk.uniform(1, 1e9),
                trading_day=NINE.date(),
            )
        )
    return BarSeries.from_bars(bars)


def opened(series):
    return Feed(store_of(series), vnpy_rule)


def own_bar(bar):
    """The same bar, from nowhere."""
    return BarData(**{name: getattr(bar, name) for name in BarData.__struct_fields__})


def arguments_of(name):
    return {
        one: ARGUMENTS[one] for one in inspect.signature(getattr(ArrayManager, name)).parameters if one in ARGUMENTS
    }


def test_the_kernels_are_there():
    """Everything below compares nothing where they are not."""
    assert kernels.available()


@pytest.mark.parametrize("size", [60, 100])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_on_a_feed_gives_the_value_of_a_window(name, size):
    """Before the window is full, when it is, across stretches computed at once, after a pause and after being left."""
    series, arguments = history(), arguments_of(name)
    looked_at = {size - 20, size - 1, size, size + 1, *range(size + 2, 400, 7), *range(400, 440), 600, 601, 699}
    feed, fed, own = opened(series), ArrayManager(size), ArrayManager(size)
    with playing(feed):
        for count, bar in enumerate(feed.play(0, len(series)), 1):
            fed.update_bar(bar)
            own.update_bar(own_bar(bar))
            assert (fed.count, fed.inited) == (own.count, own.inited)
            if count in looked_at:
                for array in (False, True):
                    np.testing.assert_array_equal(
                        getattr(fed, name)(**arguments, array=array), getattr(own, name)(**arguments, array=array)
                    )


@pytest.mark.parametrize("n", [2, 3, 7, 13, 30, 50, 59, 60, 61, 90])
@pytest.mark.parametrize("name", ["sma", "cci", "donchian", "atr", "rsi", "boll", "keltner", "std", "willr"])
def test_any_period_gives_the_value_of_a_window(name, n):
    """Also one longer than the window, which has no value."""
    series, feed = history(260, seed=n), None
    feed, fed, own = opened(series), ArrayManager(60), ArrayManager(60)
    given = {**arguments_of(name), "n": n}
    with playing(feed):
        for bar in feed.play(0, len(series)):
            fed.update_bar(bar)
            own.update_bar(own_bar(bar))
            np.testing.assert_array_equal(getattr(fed, name)(**given), getattr(own, name)(**given))


def test_what_talib_refuses_is_refused_the_same_way():
    series = history(150)
    feed, fed, own = opened(series), ArrayManager(60), ArrayManager(60)
    with playing(feed):
        for bar in feed.play(0, len(series)):
            fed.update_bar(bar)
            own.update_bar(own_bar(bar))
        for asked in (lambda am: am.sma(0), lambda am: am.rsi(1), lambda am: am.cci(-1), lambda am: am.sma("x")):
            with pytest.raises(Exception) as expected:
                asked(own)
            with pytest.raises(type(expected.value)) as found:
                asked(fed)
            assert str(found.value) == str(expected.value)


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_are_the_last_bars_padded_with_zeros(name):
    series = history(300)
    feed, fed, own = opened(series), ArrayManager(100), ArrayManager(100)
    with playing(feed):
        for bar in feed.play(0, len(series)):
            fed.update_bar(bar)
            own.update_bar(own_bar(bar))
            np.testing.assert_array_equal(getattr(fed, name), getattr(own, name))
            np.testing.assert_array_equal(getattr(fed, f"{name}_array"), getattr(own, name))


@pytest.mark.parametrize("is_fed", [True, False])
def test_what_a_strategy_keeps_stays_what_it_was_and_is_not_written_to(is_fed):
    series = history(400)
    feed, manager, kept = opened(series), ArrayManager(60), []
    with playing(feed):
        for bar in feed.play(0, len(series)):
            manager.update_bar(bar if is_fed else own_bar(bar))
            kept.append((manager.close[-5:], manager.sma(10, array=True), manager.close[-5:].tolist()))
            with pytest.raises(ValueError, match="read-only"):
                manager.close[-1] = 0.0
    assert all(view.tolist() == values for view, _, values in kept)
    assert len({lines[-1] for _, lines, _ in kept[60:]}) > 300


def test_a_bar_that_is_not_the_feeds_next_one_goes_to_a_window_of_our_own():
    """Left out, changed, or given later: the values are those of what was given."""
    series = history(500)
    for change in (
        lambda row, bar, before: None if row == 250 else bar,
        lambda row, bar, before: replace(own_bar(bar), close_price=1.0) if row == 250 else bar,
        lambda row, bar, before: before if row > 250 else bar,
    ):
        feed, fed, own, before = opened(series), ArrayManager(60), ArrayManager(60), None
        with playing(feed):
            for row, bar in enumerate(feed.play(0, len(series))):
                given, before = change(row, bar, before), bar
                if given is None:
                    continue
                fed.update_bar(given)
                own.update_bar(own_bar(given))
                if row % 9 == 0 or 245 < row < 260:
                    assert fed.count == own.count
                    np.testing.assert_array_equal(fed.close, own.close)
                    np.testing.assert_array_equal(fed.rsi(14), own.rsi(14))
                    np.testing.assert_array_equal(fed.atr(14, array=True), own.atr(14, array=True))


def test_a_manager_of_ones_own_with_its_own_methods_works_on_a_feed():
    class Mine(ArrayManager):
        def __init__(self, size=100):
            super().__init__(size)
            self.seen = 0

        def update_bar(self, bar):
            super().update_bar(bar)
            self.seen += 1

        def spread(self):
            return self.high.max() - self.low.min() + self.sma(5)

    series = history(300)
    feed, fed, own = opened(series), Mine(60), Mine(60)
    with playing(feed):
        for bar in feed.play(0, len(series)):
            fed.update_bar(bar)
            own.update_bar(own_bar(bar))
            np.testing.assert_array_equal(fed.spread(), own.spread())
    assert fed.seen == own.seen == 300


def test_two_managers_of_two_sizes_read_one_feed():
    series = history(400)
    feed = opened(series)
    fed, own = [ArrayManager(size) for size in (30, 80)], [ArrayManager(size) for size in (30, 80)]
    with playing(feed):
        for bar in feed.play(0, len(series)):
            for one, other in zip(fed, own, strict=True):
                one.update_bar(bar)
                other.update_bar(own_bar(bar))
                np.testing.assert_array_equal(one.ema(20), other.ema(20))


def test_a_price_that_is_no_number_is_read_window_by_window():
    series = history(300)
    series.close[150] = np.nan
    feed, fed, own = opened(series), ArrayManager(60), ArrayManager(60)
    with playing(feed):
        for bar in feed.play(0, len(series)):
            fed.update_bar(bar)
            own.update_bar(own_bar(bar))
            np.testing.assert_array_equal(fed.sma(10), own.sma(10))


def test_a_late_bar_is_the_bar_of_the_series():
    series = history(50)
    for row, bar in enumerate(store_of(series).bars(0, 50)):
        assert isinstance(bar, BarData)
        assert bar == series.bar(row)
        assert (bar.vt_symbol, bar.datetime, bar.trading_day) == (
            series.vt_symbol,
            NINE + timedelta(minutes=row),
            NINE.date(),
        )
        assert repr(bar) == repr(series.bar(row))


def test_what_was_computed_serves_the_next_run_and_stays_within_bounds(monkeypatch):
    from arbig.backtest import feeds

    series = history(500)
    monkeypatch.setattr(feeds, "KEPT_BYTES", 5 * 8 * len(series))
    store = store_of(series)

    def play():
        feed, fed = Feed(store, vnpy_rule), ArrayManager(60)
        values = []
        with playing(feed):
            for bar in feed.play(0, len(series)):
                fed.update_bar(bar)
                values.append([fed.sma(n) for n in (5, 8, 13)])
        return np.array(values)

    first = play()
    computed = []
    monkeypatch.setattr(kernels.Kernel, "windows", lambda *given: computed.append(given))
    monkeypatch.setattr(kernels.Kernel, "newest", lambda *given: computed.append(given))
    np.testing.assert_array_equal(play(), first)
    assert not computed
    monkeypatch.undo()
    monkeypatch.setattr(feeds, "KEPT_BYTES", 5 * 8 * len(series))
    feed, fed = Feed(store, vnpy_rule), ArrayManager(60)
    with playing(feed):
        for bar in feed.play(0, len(series)):
            fed.update_bar(bar)
            for n in range(5, 25):
                fed.ema(n)
    assert sum(store._bytes(kept) for kept in store._kept.values()) <= 5 * 8 * len(series)
