"""Tearsheet in a real browser, without a network: what is drawn, what a click does, half a million bars."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from arbig.backtest.plan import Plan, StrategyPlan
from arbig.backtest.result import Day, Result
from arbig.backtest.series import BarSeries
from arbig.domain.messages import SHANGHAI, Direction, Exchange, Offset, TradeData
from arbig.domain.template import CtaTemplate
from arbig.lab.desk import Desk
from arbig.lab.downsampling import CANDLES, candles, group_size, grouped
from arbig.lab.results import BacktestResult

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
NAMES = ("chromium", "chromium-browser", "google-chrome")
MANY = 500_000


class Sleeper(CtaTemplate):
    author = "tests"


def walk(count: int) -> BarSeries:
    """Gold by the minute, a trading day of 555 of them, on the price tick."""
    draw = np.random.default_rng(5)
    close = np.round(700 + np.cumsum(draw.standard_t(4, count)) * 0.1, 2).clip(50)
    close = np.round(close / 0.02) * 0.02
    opens = np.concatenate((close[:1], close[:-1])) + np.round(draw.normal(0, 1, count)) * 0.02
    day = np.datetime64("2022-01-04") + np.arange(count) // 555
    return BarSeries(
        symbol="au2512",
        exchange=Exchange.SHFE,
        datetime=day.astype("datetime64[s]") + (9 * 3600 + (np.arange(count) % 555) * 60).astype("timedelta64[s]"),
        trading_day=day,
        open=opens,
        high=np.maximum(opens, close) + np.round(draw.exponential(4, count)) * 0.02,
        low=np.minimum(opens, close) - np.round(draw.exponential(4, count)) * 0.02,
        close=close,
        volume=np.round(draw.lognormal(4, 1, count)),
        turnover=np.zeros(count),
        open_interest=np.zeros(count),
    )


def fills(series: BarSeries, every: int) -> tuple[TradeData, ...]:
    """Bought, and sold half an hour later on the same day."""
    starts = [
        row for row in range(50, len(series) - 60, every) if series.trading_day[row] == series.trading_day[row + 30]
    ]
    return tuple(
        TradeData(
            trade_id=str(n), order_id=str(n), symbol="au2512", exchange=Exchange.SHFE, strategy_name="held",
            direction=Direction.SHORT if n % 2 else Direction.LONG,
            offset=Offset.CLOSETODAY if n % 2 else Offset.OPEN,
            price=float(series.close[row]), volume=1, trading_day=series.trading_day[row].astype(date),
            datetime=series.datetime[row].item().replace(tzinfo=SHANGHAI),
        )
        for n, row in enumerate(row for start in starts for row in (start, start + 30))
    )  # fmt: skip


def held(count: int, every: int) -> BacktestResult:
    desk = Desk(root=ROOT)
    series = walk(count)
    days = np.unique(series.trading_day).tolist()
    plan = Plan(
        strategies=(StrategyPlan(Sleeper, "held", ("au2512.SHFE",)),),
        series={"au2512.SHFE": series},
        start=days[0],
        end=days[-1],
        book=desk.book,
        calendar=desk.calendar,
    )
    flat = Day(days[0], "held", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0.0, {})
    rows = tuple(replace(flat, trading_day=day, net_pnl=100.0 * (n % 7 - 3)) for n, day in enumerate(days))
    return BacktestResult(Result(plan, (), fills(series, every), (), rows, (), (), ()))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = next((found for name in NAMES if (found := shutil.which(name))), None)
    if chromium is None:
        pytest.fail("no Chromium on the PATH; the browser tests need it: apt-get install chromium", pytrace=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Sheet:
    """A page that is open. It remembers every address it asked and everything it complained of."""

    page: Page
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def open(self, path: Path) -> Sheet:
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("console", lambda said: self.said.append(said.text) if said.type in ("error", "warning") else None)
        self.page.goto(path.as_uri())
        self.page.evaluate(FIND)
        return self

    def zoom(self, start: float, end: float) -> dict[str, Any]:
        """The candles after the view has moved, and how many milliseconds it took until they were drawn."""
        found: dict[str, Any] = self.page.evaluate(ZOOM, [start, end])
        return found


FIND = """async () => {
  while (!globalThis.Bokeh?.documents?.[0]?.is_idle) await new Promise((then) => setTimeout(then, 10));
  const models = [...Bokeh.documents[0]._all_models.values()];
  globalThis.span = models.find((one) => one.type === 'Range1d' && one.min_interval === 10);
  globalThis.drawn = models.find((one) => one.type === 'ColumnDataSource' && one.data.half);
  globalThis.marks = models.find((one) => one.type === 'ColumnDataSource' && one.data.marker && one.data.size);
  globalThis.trips = models.find((one) => one.type === 'ColumnDataSource' && one.data.net_color);
  while (!arbigCandles.get(drawn)?.bars) await new Promise((then) => setTimeout(then, 10));
}"""

ZOOM = """async ([start, end]) => {
  const before = drawn.data, begun = performance.now();
  span.setv({start, end});
  while (drawn.data === before) await new Promise((then) => setTimeout(then));
  await new Promise((then) => requestAnimationFrame(() => setTimeout(then)));
  const taken = performance.now() - begun, columns = {};
  for (const name of ['start', 'count', 'time', 'open', 'high', 'low', 'close', 'volume'])
    columns[name] = [...drawn.data[name]];
  return {taken, columns, marks: marks.data.i.length};
}"""


@pytest.fixture
def sheet(browser: Browser) -> Iterator[Sheet]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    yield Sheet(context.new_page())
    context.close()


def test_the_file_draws_without_a_network_and_without_a_complaint(sheet, tmp_path):
    path = held(6_000, 200).tearsheet().save(tmp_path / "sheet.html")
    sheet.open(path)
    assert sheet.asked == [path.as_uri()]
    assert sheet.said == []
    for name in ("head", "chart0", "equity", "months", "distribution", "statistics", "trips", "parameters", "costs"):
        box = sheet.page.locator(f"section#{name}").bounding_box()
        assert box is not None and box["height"] > 60 and box["width"] > 300, name
    assert sheet.page.locator(".slick-row").count() > 5


def test_a_row_of_the_table_is_shown_in_the_chart(sheet, tmp_path):
    """Clicked, the third round trip fills the view, bar by bar."""
    sheet.open(held(6_000, 200).tearsheet().save(tmp_path / "sheet.html"))
    sheet.page.locator(".slick-row").nth(2).locator(".slick-cell").first.click()
    sheet.page.wait_for_function("span.end - span.start < 200")
    first, last = sheet.page.evaluate("[trips.data.first_row[2], trips.data.last_row[2]]")
    assert (first, last) == (450, 480)
    start, end = sheet.page.evaluate("[span.start, span.end]")
    assert start < first and last < end
    sheet.page.wait_for_function("Math.max(...drawn.data.count) === 1 && marks.data.i.length === 2")


def test_half_a_million_bars_fit_a_page_and_zoom_to_single_ones(sheet, tmp_path, capsys):
    """The file stays small; from afar groups are drawn, near every bar, each as it is; never more than fit the view."""
    result = held(MANY, 500)
    bars = candles(result.plan.series["au2512.SHFE"])
    path = result.tearsheet().save(tmp_path / "sheet.html")
    megabytes = path.stat().st_size / 1e6
    assert megabytes < 6
    sheet.open(path)

    taken = []
    for start, end in ((1_000, 451_000), (100_000, 130_000), (249_900, 250_100), (3, 260_000), (499_700, 499_990)):
        view = sheet.zoom(start, end)
        taken.append(view["taken"])
        columns, size = view["columns"], group_size(end - start + 1)
        expected = grouped(bars, size)
        rows = slice(start // size, start // size + len(columns["start"]))
        assert len(columns["start"]) <= CANDLES + 2
        assert columns["start"] == expected.start[rows].tolist()
        assert columns["count"] == expected.count[rows].tolist()
        assert columns["time"] == expected.time[rows].astype(np.int64).tolist()
        for name in ("open", "high", "low", "close", "volume"):
            assert columns[name] == pytest.approx(getattr(expected, name)[rows].tolist(), abs=1e-6), name
        assert view["marks"] <= 2 * (CANDLES + 2)
    assert sheet.said == []
    with capsys.disabled():
        print(f"\n{MANY:,} bars: {megabytes:.1f} MB, zoom to drawn {', '.join(f'{ms:.0f}' for ms in taken)} ms")
