"""Tearsheet: a run on one page, true to its figures, whole in one file."""

from __future__ import annotations

import re
import zlib
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbig import BarData, CtaTemplate
from arbig.backtest.performance import round_trips_of
from arbig.backtest.result import Failure, Result
from arbig.backtest.series import BarSeries, TickSeries
from arbig.domain.messages import SHANGHAI, Exchange, TickData
from arbig.lab.charts import dates, price_format
from arbig.lab.comparison import compare
from arbig.lab.desk import Desk
from arbig.lab.downsampling import Candles, candles, group_size, grouped, packed
from arbig.lab.results import BacktestResult
from arbig.lab.sheet import SheetError
from arbig.lab.tearsheet import tearsheet
from arbig.runtime.research import Archive

ROOT = Path(__file__).parents[2]
START, END = "2025-10-09", "2025-10-24"


class Swing(CtaTemplate):
    """Long above the mean of the last bars, short below it, every ten minutes."""

    author = "tests"
    window = 20
    parameters = ["window"]

    def on_init(self) -> None:
        self.closes: list[float] = []

    def on_bar(self, bar: BarData) -> None:
        self.closes = [*self.closes[1 - self.window :], bar.close_price]
        if not self.trading or bar.datetime.minute % 10:
            return
        self.cancel_all()
        if bar.close_price > sum(self.closes) / len(self.closes):
            if self.pos < 0:
                self.cover(bar.close_price + 1, -self.pos)
            if self.pos <= 0:
                self.buy(bar.close_price + 1, 1)
        else:
            if self.pos > 0:
                self.sell(bar.close_price - 1, self.pos)
            if self.pos >= 0:
                self.short(bar.close_price - 1, 1)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("tearsheet")
    desk = Desk(root=ROOT, data=folder, history=folder / "bars")
    desk.history.generate("au2512", START, END, seed=3)
    return desk


@pytest.fixture(scope="module")
def run(desk: Desk) -> BacktestResult:
    return desk.backtest(Swing, "au2512", START, END, {"window": 30})


def words(html: str) -> str:
    """The page as read, without its scripts, styles and tags."""
    bare = re.sub(r"<(script|style).*?</\1>", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", bare)))


# ---- a run on a page ----------------------------------------------------------------------------------------------


def test_the_page_has_the_run_s_figures_in_two_languages(run):
    page = words(tearsheet(run).html())
    figures = run.statistics
    assert f"{figures['total_net_pnl']:,.2f}" in page
    assert f"Sharpe ratio 夏普比率 {figures['sharpe']:,.2f}" in page
    assert f"Closed round trips 平仓笔数 {figures['round_trips']:,.0f}" in page
    assert "Swing · au2512.SHFE" in page and "window 30" in page and "10 yuan a lot" in page
    assert "a year's figure from 12 trading days only" in page


def test_round_trips_and_costs_of_a_real_run_are_its_account(run):
    """To the cent, in both matchings: what trips made less what they cost is what the days say."""
    for trips, days in ((round_trips_of(one), one.days) for one in (run.result, _in_vnpy_matching(run))):
        assert len(trips) > 20
        assert sum(trip.net_pnl for trip in trips) == pytest.approx(sum(day.net_pnl for day in days), abs=0.01)
        assert sum(trip.cost.commission for trip in trips) == pytest.approx(sum(day.commission for day in days))


def _in_vnpy_matching(run: BacktestResult) -> Result:
    from arbig.backtest.engine import run as played
    from arbig.backtest.plan import Costs, Matching

    return played(replace(run.plan, matching=Matching.VNPY, costs=Costs(rate=0.00002, slippage=0.02)))


class Failing(CtaTemplate):
    """Buys two lots and raises days later, still holding them."""

    author = "tests"

    def on_init(self) -> None:
        self.seen = 0

    def on_bar(self, bar: BarData) -> None:
        self.seen += 1
        if self.seen == 100:
            self.buy(bar.close_price + 1, 2)
        if self.seen == 1500:
            raise ZeroDivisionError("the author divided by nothing")


@pytest.mark.parametrize("matching", ["realistic", "vnpy"])
def test_what_a_failed_run_holds_is_worth_what_its_account_says(desk, matching):
    failed = desk.backtest(Failing, "au2512", START, END, matching=matching)
    (trip,) = round_trips_of(failed.result)
    assert trip.is_open and trip.bars is not None and 1390 < trip.bars < 1410
    assert trip.net_pnl == pytest.approx(sum(day.net_pnl for day in failed.result.days), abs=0.01)


def test_the_file_is_one_and_its_folder_is_made(run, tmp_path):
    path = run.tearsheet().save(tmp_path / "new" / "sheet.html")
    assert path.stat().st_size < 3_000_000
    markup = re.sub(r"(<script[^>]*>).*?</script>", r"\1", path.read_text("utf-8"), flags=re.DOTALL)
    assert not re.findall(r'(?:src|href)="(?!data:)|url\((?!data:)|@import', markup)


def test_without_a_path_it_goes_to_the_archive_with_its_figures_and_the_count_of_trials(desk, run):
    path = run.tearsheet().save()
    assert path.parent == desk.settings.data / "research" and path.name.endswith("-Swing.html")
    (item,) = [one for one in Archive.of(desk.settings.data).items() if one.id == path.stem]
    assert (item.kind, item.figures["sharpe"]) == ("tearsheet", run.statistics["sharpe"])
    assert item.figures["trials"] >= 1 and item.figures["contracts"] == "au2512.SHFE"
    assert desk.compare([run]).save().parent == path.parent


def test_a_place_that_cannot_be_written_is_one_line(run, tmp_path):
    with pytest.raises(SheetError, match=r"^tearsheet: cannot write .*: Is a directory; choose another path$"):
        run.tearsheet().save(tmp_path)


def test_a_sheet_is_a_panel_object(run):
    import panel

    column = panel.panel(run.tearsheet())
    assert isinstance(column, panel.Column)
    assert column.get_root() is not None


def test_a_saved_notebook_keeps_figures_and_the_curve_without_scripts(run):
    html = run.tearsheet()._repr_html_()
    assert "<svg" in html and "夏普比率" in html and "<script" not in html and len(html) < 30_000


def test_warnings_and_failures_stand_on_the_page_as_text(run):
    """A traceback with angle brackets stays text."""
    moment = datetime(2025, 10, 15, 9, 30, tzinfo=SHANGHAI)
    failure = Failure("Swing", moment, "ZeroDivisionError: division by zero", "File '<strategy>', line 3")
    failed = BacktestResult(replace(run.result, failures=(failure,), warnings=("2 minutes <missing>",)))
    html = tearsheet(failed).html()
    assert "Swing 2025-10-15 09:30: ZeroDivisionError: division by zero" in html
    assert "&lt;strategy&gt;" in html and "2 minutes &lt;missing&gt;" in html


def test_a_run_without_a_day_or_a_fill_still_has_a_page(run):
    empty = BacktestResult(replace(run.result, days=(), trades=(), positions=(), working=()))
    page = words(tearsheet(empty).html())
    assert "found 0 trading days, at least 2 are needed" in page and "no closed round trip" in page
    assert empty.monthly.empty
    assert "<svg" in tearsheet(empty)._repr_html_()


def test_months_are_a_row_a_year(run):
    table = run.monthly
    assert table.index.tolist() == [2025]
    assert table.loc[2025, "year"] == pytest.approx(run.statistics["total_return"])
    assert table.loc[2025, 10] == pytest.approx(run.statistics["total_return"])


# ---- several runs -------------------------------------------------------------------------------------------------


def test_runs_are_compared_side_by_side(desk, run):
    other = desk.backtest(Swing, "au2512", START, END, {"window": 60})
    comparison = desk.compare({"thirty": run, "sixty": other})
    assert comparison.statistics.loc["sharpe", "sixty"] == other.statistics["sharpe"]
    page = words(comparison.html())
    assert "thirty" in page and "sixty" in page and f"{other.statistics['total_net_pnl']:,.2f}" in page


def test_runs_of_one_name_are_numbered(run):
    assert compare([run, run]).statistics.columns.tolist() == ["Swing", "Swing (2)"]


def test_nothing_to_compare_is_one_line():
    with pytest.raises(SheetError, match="compare: found no results"):
        compare([])


# ---- downsampling -------------------------------------------------------------------------------------------------


def made(closes: Sequence[float], tick: float = 0.02) -> Candles:
    """A candle a minute around these closes."""
    close = np.round(np.array(closes) / tick) * tick
    opens = np.concatenate((close[:1], close[:-1]))
    time = np.datetime64("2025-10-09T09:00:00", "s") + np.arange(len(close)) * np.timedelta64(60, "s")
    return Candles(
        start=np.arange(len(close)),
        count=np.ones(len(close), np.int64),
        time=time,
        day=time.astype("datetime64[D]"),
        open=opens,
        high=np.maximum(opens, close) + 3 * tick,
        low=np.minimum(opens, close) - 2 * tick,
        close=close,
        volume=np.arange(len(close), dtype=np.float64),
    )


def test_a_group_of_bars_is_one_bar():
    joined = grouped(made([600.0, 601.0, 599.0, 602.0, 603.0]), 2)
    assert (joined.start.tolist(), joined.count.tolist()) == ([0, 2, 4], [2, 2, 1])
    assert (joined.open[1], joined.close[1]) == (601.0, 602.0)
    assert (joined.high[1], joined.low[1]) == pytest.approx((602.06, 598.96))
    assert joined.volume.tolist() == [1.0, 5.0, 4.0]


@given(st.integers(1, 10_000_000), st.integers(10, 1000))
def test_never_more_candles_than_asked_and_never_coarser_than_needed(bars, most):
    size = group_size(bars, most)
    assert -(-bars // size) <= most + 1
    assert size == 1 or bars > most * size / 2


@given(st.lists(st.integers(1, 60_000), min_size=1, max_size=60), st.sampled_from([0.02, 0.5, 5.0]))
@settings(max_examples=60, deadline=None)
def test_packed_bars_are_the_bars(ticks, tick):
    """Read back as the page's script reads them."""
    bars = made([count * tick for count in ticks], tick)
    box = packed(bars, tick)
    planes = np.frombuffer(zlib.decompress(b64decode(box.bytes)), np.uint8).reshape(7, 4, box.count)
    folded = sum(planes[:, byte].astype(np.int64) << 8 * byte for byte in range(4))
    time, day, close, opens, high, low, volume = (folded >> 1) ^ -(folded & 1)
    close = close.cumsum()
    opens = opens + np.concatenate(([0], close[:-1]))
    assert (close * box.step) == pytest.approx(bars.close)
    assert (opens * box.step) == pytest.approx(bars.open)
    assert (high + np.maximum(opens, close)) * box.step == pytest.approx(bars.high)
    assert (np.minimum(opens, close) - low) * box.step == pytest.approx(bars.low)
    assert (box.first_time + time.cumsum()).tolist() == bars.time.astype(np.int64).tolist()
    assert (box.first_day + day.cumsum()).tolist() == bars.day.astype(np.int64).tolist()
    assert volume.tolist() == bars.volume.tolist()


def test_prices_between_ticks_keep_a_thousandth_of_one():
    """Back-adjusted series are off the grid."""
    bars = made([600.0, 601.0])
    assert packed(replace(bars, close=bars.close * 1.00371), 0.02).step == pytest.approx(0.00002)


def test_ticks_are_drawn_as_minutes():
    """Volume since the day's start becomes each minute's own; a new day begins anew."""

    def tick(day: int, minute: int, second: int, price: float, volume: int) -> TickData:
        return TickData(
            symbol="au2512", exchange=Exchange.SHFE, last_price=price, volume=volume, open_interest=1, last_volume=1,
            datetime=datetime(2025, 10, day, 9, minute, second, tzinfo=SHANGHAI), open_price=1, high_price=1,
            low_price=1, pre_close=1, limit_up=1, limit_down=1, bid_price_1=1, bid_volume_1=1, ask_price_1=1,
            ask_volume_1=1, trading_day=date(2025, 10, day),
        )  # fmt: skip

    rows = [tick(9, 0, 1, 600.0, 3), tick(9, 0, 30, 602.0, 5), tick(9, 1, 0, 601.0, 9), tick(10, 0, 0, 599.0, 4)]
    drawn = candles(TickSeries.from_ticks(rows))
    assert (drawn.open.tolist(), drawn.high.tolist()) == ([600.0, 601.0, 599.0], [602.0, 601.0, 599.0])
    assert drawn.volume.tolist() == [5.0, 4.0, 4.0]


def test_prices_are_written_with_the_decimals_of_their_tick():
    assert [price_format(tick) for tick in (0.02, 0.5, 1, 5.0)] == ["0.00", "0.0", "0", "0"]


def test_an_axis_of_days_has_few_labels():
    days = [date(2025, 1, 1) + timedelta(days=n) for n in range(900)]
    assert len(dates(days)) <= 9
    assert list(dates(days[:5]).values()) == ["01-01", "01-02", "01-03", "01-04", "01-05"]
    assert dates([]) == {}


def test_bars_become_candles_as_they_are(desk):
    series = desk.history.bars("au2512", START, END)
    assert isinstance(series, BarSeries)
    assert candles(series).close is series.close
