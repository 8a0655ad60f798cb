"""vnpy's datafeeds by name: what they answer becomes bars of ours; what is wrong is one line."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from textwrap import dedent

import pytest

from arbig.compat.datafeed import DatafeedError, open_datafeed
from arbig.domain.messages import SHANGHAI, Exchange

# shaped as vnpy_tushare and its like are
PACKAGE = """
    from datetime import datetime, timedelta, timezone
    from vnpy.trader.constant import Exchange, Interval
    from vnpy.trader.datafeed import BaseDatafeed
    from vnpy.trader.object import BarData
    from vnpy.trader.setting import SETTINGS

    class Datafeed(BaseDatafeed):
        def __init__(self):
            self.password = SETTINGS["datafeed.password"]

        def init(self, output=print):
            if self.password != "open sesame":
                output("数据服务初始化失败：密码错误！")
                return False
            return True

        def query_bar_history(self, req, output=print):
            assert (req.exchange, req.interval) == (Exchange.SHFE, Interval.MINUTE)
            if req.symbol == "ag2512":
                output("不支持的合约代码ag2512")
                return None
            if req.symbol == "cu2512":
                raise ConnectionError("connection reset")
            stamps = [req.start + timedelta(minutes=n) for n in range(4)]
            rows = [self.bar(req.symbol, stamp, 880.0 + n) for n, stamp in enumerate(stamps)]
            rows.append(self.bar(req.symbol, stamps[1].astimezone(timezone.utc), 881.5))  # the same minute again
            rows.append(self.bar(req.symbol, stamps[2].replace(tzinfo=None) + timedelta(minutes=9), float("nan")))
            rows.append(self.bar(req.symbol, req.start - timedelta(minutes=5), 870.0))    # more than was asked
            return rows[::-1]

        def bar(self, symbol, stamp, price):
            return BarData(gateway_name="MINE", symbol=symbol, exchange=Exchange.SHFE, datetime=stamp,
                           interval=Interval.MINUTE, volume=3.0, turnover=float("nan"), open_interest=9.0,
                           open_price=price, high_price=price, low_price=price, close_price=price)
"""
START, END = datetime(2025, 10, 15, 9, 0), datetime(2025, 10, 15, 9, 3)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose packages can be imported, with vnpy's own folder beside them."""
    (tmp_path / ".vntrader").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for name in [name for name in sys.modules if name.startswith("vnpy_mine")]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "vnpy_mine.py").write_text(dedent(PACKAGE), "utf-8")
    (tmp_path / "vnpy_other.py").write_text("import rqdatac_that_is_not_here\n")
    (tmp_path / "vnpy_empty.py").write_text("")
    return tmp_path


def minutes(bars: list, name: str = "close_price") -> list[tuple[str, float]]:  # type: ignore[type-arg]
    return [(f"{bar.datetime:%H:%M}", getattr(bar, name)) for bar in bars]


def test_bars_are_ours_oldest_first_each_minute_once(packages: Path) -> None:
    feed = open_datafeed("mine", "me", "open sesame")
    bars = feed.bars("au2512", Exchange.SHFE, START, END)
    assert minutes(bars) == [("09:00", 880.0), ("09:01", 881.0), ("09:02", 882.0), ("09:03", 883.0)]
    assert bars[0].datetime == START.replace(tzinfo=SHANGHAI)
    assert (bars[0].volume, bars[0].open_interest, bars[0].turnover) == (3, 9, 0.0)


def test_bars_stamped_with_their_end_are_moved_to_their_start(packages: Path) -> None:
    feed = open_datafeed("vnpy_mine", "me", "open sesame", stamps="end")
    assert minutes(feed.bars("au2512", Exchange.SHFE, START, END)) == [
        ("09:00", 880.0),
        ("09:01", 881.0),
        ("09:02", 882.0),
        ("09:03", 883.0),
    ]


@pytest.mark.parametrize(
    ("name", "password", "expected"),
    [
        ("nobody", "", "vnpy_nobody: it is not installed; run: pip install vnpy_nobody"),
        ("other", "", "vnpy_other: it needs rqdatac_that_is_not_here, which is not installed; run: pip install rqd"),
        ("empty", "", "vnpy_empty: found no Datafeed in it, expected a vnpy datafeed package"),
        ("mine", "wrong", "vnpy_mine: 数据服务初始化失败：密码错误！"),
    ],
)
def test_a_datafeed_that_cannot_be_opened_is_one_line(packages: Path, name: str, password: str, expected: str) -> None:
    with pytest.raises(DatafeedError) as caught:
        open_datafeed(name, "me", password)
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


def test_a_question_that_is_not_answered_says_why(packages: Path) -> None:
    feed = open_datafeed("mine", "me", "open sesame")
    with pytest.raises(DatafeedError, match=r"^vnpy_mine: ag2512: 不支持的合约代码ag2512$"):
        feed.bars("ag2512", Exchange.SHFE, START, END)
    with pytest.raises(DatafeedError, match=r"^vnpy_mine: cu2512: ConnectionError: connection reset$"):
        feed.bars("cu2512", Exchange.SHFE, START, END)
