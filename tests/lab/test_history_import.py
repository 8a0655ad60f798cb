"""Import: what vnpy, tqsdk, rqdata, Wind and tushare write becomes the same bars, or one line that says why not."""

from __future__ import annotations

import dataclasses
import resource
import signal
import sqlite3
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from arbig.backtest.series import TICK_COLUMNS, BarSeries
from arbig.lab import barfiles
from arbig.lab.desk import Desk
from arbig.lab.history import History, HistoryError

DAYS = ("2025-09-29", "2025-10-10")
ROOT = Path(__file__).parents[2]
VALUES = ("datetime", "trading_day", "open", "high", "low", "close", "volume", "turnover", "open_interest")
UTC_8 = np.timedelta64(8, "h")


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> BarSeries:
    """Gold over the autumn holiday: Monday's Friday night, a day before the holiday, the first one after it."""
    return Desk(ROOT, history=tmp_path_factory.mktemp("made") / "bars").history.generate("au2512", *DAYS)


@pytest.fixture
def history(tmp_path: Path) -> History:
    return Desk(ROOT, history=tmp_path / "bars").history


@pytest.fixture
def table(bars: BarSeries) -> pandas.DataFrame:
    """Our own bars under vnpy's names."""
    return pandas.DataFrame({
        "datetime": bars.datetime,
        "open_price": bars.open,
        "high_price": bars.high,
        "low_price": bars.low,
        "close_price": bars.close,
        "volume": bars.volume,
        "turnover": bars.turnover,
        "open_interest": bars.open_interest,
    })  # fmt: skip


SHORT = {f"{name}_price": name for name in ("open", "high", "low", "close")}


def tqsdk(table: pandas.DataFrame) -> pandas.DataFrame:
    found = table.rename(columns={**SHORT, "open_interest": "close_oi"}).drop(columns="turnover")
    found["datetime"] = (table["datetime"] - UTC_8).astype("datetime64[ns]").astype("int64")
    return found.assign(open_oi=found["close_oi"], id=range(len(found)), duration=60, symbol="SHFE.au2512")


def tqsdk_download(table: pandas.DataFrame) -> pandas.DataFrame:
    found = tqsdk(table).drop(columns=["id", "duration", "symbol"])
    found["datetime"] = table["datetime"].dt.strftime("%Y-%m-%d %H:%M:%S.%f000")
    return found.rename(columns=lambda name: name if name == "datetime" else f"SHFE.au2512.{name}")


def rqdata(table: pandas.DataFrame) -> pandas.DataFrame:
    found = table.rename(columns={**SHORT, "turnover": "total_turnover"})
    found["datetime"] += pandas.Timedelta(minutes=1)
    found["order_book_id"] = "AU2512"
    return found.set_index(["order_book_id", "datetime"])


def wind(table: pandas.DataFrame) -> pandas.DataFrame:
    found = table.rename(columns={**SHORT, "turnover": "amt", "open_interest": "oi"})
    found.index = pandas.DatetimeIndex(found.pop("datetime") + pandas.Timedelta(minutes=1))
    found.index.name = None
    return found


def wind_chinese(table: pandas.DataFrame) -> pandas.DataFrame:
    heads = ("时间", "开盘价(元)", "最高价(元)", "最低价(元)", "收盘价(元)", "成交量", "成交额", "持仓量")
    found = table.set_axis(heads, axis=1)
    found["时间"] += pandas.Timedelta(minutes=1)
    return found.assign(代码="AU2512.SHF", 名称="黄金2512")


def tushare(table: pandas.DataFrame) -> pandas.DataFrame:
    names = {**SHORT, "datetime": "trade_time", "volume": "vol", "turnover": "amount", "open_interest": "oi"}
    found = table.rename(columns=names).assign(ts_code="AU2512.SHF")
    found["trade_time"] = (found["trade_time"] + pandas.Timedelta(minutes=1)).astype(str)
    return found.iloc[::-1]


SOURCES = (tqsdk, tqsdk_download, rqdata, wind, wind_chinese, tushare, lambda table: table)


@pytest.mark.parametrize("written", SOURCES, ids=["tqsdk", "tqsdk_csv", "rqdata", "wind", "wind_zh", "tushare", "vnpy"])
def test_every_source_gives_the_same_bars(
    written: Callable[[pandas.DataFrame], pandas.DataFrame], table: pandas.DataFrame, bars: BarSeries, history: History
) -> None:
    """Times of the start in Shanghai, Friday night and the first night after the holiday in their trading days."""
    frame = written(table)
    (report,) = history.import_frame(frame, "au2512")
    found = history.bars("au2512")
    absent = (
        {"turnover"} if "turnover" not in frame and "SHFE" in str(frame.columns) + str(frame.get("symbol")) else set()
    )
    for name in set(VALUES) - absent:
        assert np.array_equal(getattr(found, name), getattr(bars, name)), name
    assert report.stamps == ("end" if written in (rqdata, wind, wind_chinese, tushare) else "start")
    assert len(report.written) == 4


def test_a_chinese_file_in_a_chinese_encoding(
    table: pandas.DataFrame, bars: BarSeries, history: History, tmp_path: Path
) -> None:
    path = tmp_path / "黄金.csv"
    wind_chinese(table).to_csv(path, index=False, encoding="gb18030")
    history.import_csv(path)
    assert np.array_equal(history.bars("au2512").close, bars.close)


def test_a_parquet_file_with_names_of_its_own(
    table: pandas.DataFrame, bars: BarSeries, history: History, tmp_path: Path
) -> None:
    path = tmp_path / "bars.parquet"
    table.rename(columns={"close_price": "px_last", "datetime": "when"}).to_parquet(path)
    with pytest.raises(HistoryError, match=r"no column for datetime, close; found when open_price .* columns="):
        history.import_parquet(path, "au2512")
    history.import_parquet(path, "au2512", columns={"close": "px_last", "datetime": "when"})
    assert np.array_equal(history.bars("au2512").close, bars.close)


@pytest.mark.parametrize(
    ("end", "start"),
    [("10:15", "10:14"), ("11:30", "11:29"), ("15:00", "14:59"), ("23:00", "22:59"), ("10:31", "10:30")],
)
def test_end_stamps_become_start_stamps(end: str, start: str, history: History) -> None:
    """Rebar trades at night until 23:00."""
    bars = history.generate("rb2601", "2025-10-15", "2025-10-15")
    ends = pandas.DataFrame({name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume")})
    ends.index = pandas.DatetimeIndex(bars.datetime + np.timedelta64(60, "s"))
    history.import_frame(ends, "rb2601", replace=True)
    day = "2025-10-14" if end == "23:00" else "2025-10-15"
    given = ends.loc[f"{day} {end}"]
    assert history.frame("rb2601").loc[f"{day} {start}", "close"] == given["close"]
    assert len(history.bars("rb2601")) == len(bars) == 345


def test_an_end_stamp_of_half_past_two_on_saturday_is_mondays(table: pandas.DataFrame, history: History) -> None:
    night = table[(table["datetime"] >= "2025-09-26 21:00") & (table["datetime"] < "2025-09-27 03:00")].copy()
    night["datetime"] += pandas.Timedelta(minutes=1)
    history.import_frame(night, "au2512", stamps="end")
    found = history.bars("au2512")
    assert (str(found.datetime[-1]), str(found.trading_day[-1])) == ("2025-09-27T02:29:00", "2025-09-29")
    assert str(found.datetime[0]) == "2025-09-26T21:00:00"


def test_auction_and_closing_rows_join_the_minute_they_belong_to(table: pandas.DataFrame, history: History) -> None:
    """tushare's first row of a night is the auction's; vnpy's recorder writes a bar at 15:00 for the closing tick."""
    extra = table.iloc[[0, 0]].copy()
    extra["datetime"] = pandas.to_datetime(["2025-09-26 20:59:00", "2025-09-29 15:00:00"])
    extra["volume"], extra["turnover"] = 7.0, 0.0
    whole = pandas.concat([table, extra]).sort_values("datetime", ignore_index=True)
    (report,) = history.import_frame(whole, "au2512")
    frame = history.frame("au2512")
    before = table.set_index("datetime")
    for minute in ("2025-09-26 21:00", "2025-09-29 14:59"):
        assert frame.loc[minute, "volume"] == before.loc[minute, "volume"] + 7
    assert (report.merged, len(frame)) == (2, len(table))


def test_times_of_another_zone_are_turned_into_shanghais(
    table: pandas.DataFrame, bars: BarSeries, history: History
) -> None:
    table["datetime"] = table["datetime"].dt.tz_localize("Asia/Shanghai").dt.tz_convert("UTC")
    history.import_frame(table, "au2512")
    assert np.array_equal(history.bars("au2512").datetime, bars.datetime)
    history.import_frame(table.assign(datetime=table["datetime"].dt.tz_localize(None)), "au2512", timezone="UTC")


def test_a_vnpy_database(bars: BarSeries, table: pandas.DataFrame, history: History, tmp_path: Path) -> None:
    """vnpy_sqlite's own tables; bars of other intervals are left where they are."""
    path = tmp_path / "database.db"
    with sqlite3.connect(path) as base:
        rows = table.assign(symbol="au2512", exchange="SHFE", interval="1m", datetime=table["datetime"].astype(str))
        hourly = rows.iloc[:9].assign(interval="1h")
        pandas.concat([rows, hourly]).to_sql("dbbardata", base, index_label="id")
    base.close()
    history.import_vnpy(path)
    assert np.array_equal(history.bars("au2512").close, bars.close)
    with pytest.raises(HistoryError, match="no table dbtickdata; found dbbardata"):
        history.import_vnpy(path, kind="ticks")


def test_the_database_vnpy_itself_writes(bars: BarSeries, tmp_path: Path, history: History) -> None:
    """Written by the installed vnpy_sqlite, in a process whose home is a folder of the test."""
    import os
    import subprocess
    import sys

    text = (
        "import sys\nfrom datetime import datetime\nfrom vnpy.trader.setting import SETTINGS\n"
        "SETTINGS['database.timezone'] = 'Asia/Shanghai'\n"
        "from vnpy.trader.constant import Exchange, Interval\nfrom vnpy.trader.object import BarData\n"
        "from vnpy_sqlite.sqlite_database import SqliteDatabase, DB_TZ\n"
        "rows = [line.split() for line in sys.stdin]\n"
        "SqliteDatabase().save_bar_data([BarData(gateway_name='DB', symbol='au2512', exchange=Exchange.SHFE,"
        " datetime=datetime.fromisoformat(when).replace(tzinfo=DB_TZ), interval=Interval.MINUTE, volume=float(v),"
        " turnover=float(t), open_interest=float(i), open_price=float(o), high_price=float(h), low_price=float(l),"
        " close_price=float(c)) for when, o, h, l, c, v, t, i in rows])\n"
    )
    first = bars.rows(0, 600)
    columns = (first.datetime, first.open, first.high, first.low, first.close, first.volume, first.turnover)
    lines = "".join(" ".join(map(str, row)) + "\n" for row in zip(*columns, first.open_interest, strict=True))
    (tmp_path / ".vntrader").mkdir()
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", text],
        input=lines,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
        check=True,
        capture_output=True,
    )
    history.import_vnpy(tmp_path / ".vntrader" / "database.db", "au2512.SHFE")
    found = history.bars("au2512")
    assert all(np.array_equal(getattr(found, name), getattr(first, name)) for name in VALUES)


def test_ticks_come_in_by_other_names(history: History) -> None:
    history.generate("rb2601", "2025-10-15", "2025-10-15", ticks=True)
    ticks = history.ticks("rb2601")
    frame = pandas.DataFrame({
        "datetime": (ticks.datetime - UTC_8).astype("datetime64[ns]").astype("int64"),
        "symbol": "SHFE.rb2601",
        "last_price": ticks.last_price,
        "highest": ticks.high_price,
        "lowest": ticks.low_price,
        "volume": ticks.volume,
        "amount": ticks.turnover,
        "open_interest": ticks.open_interest,
        "bid_price1": ticks.bid_price_1,
        "bid_volume1": ticks.bid_volume_1,
        "ask_price1": ticks.ask_price_1,
        "ask_volume1": ticks.ask_volume_1,
    })  # fmt: skip
    history.import_frame(frame, replace=True)
    found = history.ticks("rb2601")
    for name in ("datetime", "last_price", "volume", "last_volume", "bid_price_1", "ask_volume_1", "high_price"):
        assert np.array_equal(getattr(found, name), getattr(ticks, name)), name


def test_the_ticks_of_a_vnpy_database(history: History, tmp_path: Path) -> None:
    history.generate("rb2601", "2025-10-15", "2025-10-15", ticks=True)
    ticks = history.ticks("rb2601")
    frame = pandas.DataFrame({name: getattr(ticks, name) for name in TICK_COLUMNS if name != "pre_settlement"})
    frame.insert(0, "datetime", pandas.Series(ticks.datetime).astype(str))
    stale = frame.iloc[[0]].assign(datetime="2025-10-14 18:31:07.500000")
    with sqlite3.connect(tmp_path / "database.db") as base:
        rows = pandas.concat([stale, frame]).assign(symbol="rb2601", exchange="SHFE", name="螺纹钢2601")
        rows.to_sql("dbtickdata", base, index_label="id")
    base.close()
    other = Desk(ROOT, history=tmp_path / "other" / "bars").history
    (report,) = other.import_vnpy(tmp_path / "database.db", kind="ticks")
    assert report.dropped == 1 and "1 rows outside trading hours left out" in repr(report)
    found = other.ticks("rb2601")
    assert all(np.array_equal(getattr(found, name), getattr(ticks, name)) for name in frame.columns)


def with_row(table: pandas.DataFrame, row: int, **values: Any) -> pandas.DataFrame:
    found = table.copy()
    for name, value in values.items():
        found[name] = found[name].astype(object) if isinstance(value, str) else found[name]
        found.loc[row, name] = value
    return found


def mixed_zones(table: pandas.DataFrame) -> pandas.DataFrame:
    return with_row(table.assign(datetime=table["datetime"].astype(str) + "+08:00"), 5, datetime="2025-09-26T13:05:00Z")


BAD: list[tuple[Callable[[pandas.DataFrame], pandas.DataFrame], str]] = [
    (lambda t: with_row(t, 3, close_price=float("nan")), r"row 3, column close_price: found nothing, expected a num"),
    (lambda t: with_row(t, 3, low_price=-1.0), r"row 3, column low_price: found -1.0, expected a price above zero"),
    (lambda t: with_row(t, 3, open_price="n/a"), r"row 3, column open_price: found 'n/a', expected a number"),
    (lambda t: with_row(t, 4, high_price=1.0), r"row 4, column high_price: found 1.0, expected the highest"),
    (lambda t: with_row(t, 4, volume=-5.0), r"row 4, column volume: found -5.0, expected zero or more lots"),
    (lambda t: with_row(t, 4, volume=float("inf")), r"row 4, column volume: found .*inf.*, expected a number"),
    (lambda t: t.iloc[[0, 1, 3, 2, 4, 5]], r"row 3, column datetime: found 2025-09-26 21:02:00, expected a time aft"),
    (lambda t: t.iloc[[0, 1, 1, 2]], r"row 2, column datetime: found 2025-09-26 21:01:00 a second time, expected each"),
    (mixed_zones, r"row 5, column datetime: found '2025-09-26T13:05:00Z', expected the time zone of the first row"),
    (lambda t: t.rename(columns={"high_price": "top"}), r"no column for high; found datetime open_price top .*"),
    (lambda t: t.assign(symbol="xx2512"), r"no product 'xx'"),
    (lambda t: t.iloc[:0], r"no rows"),
    (lambda t: with_row(t, 6, datetime=pandas.Timestamp("2025-09-26 01:06:00")), r"row 6"),
    (lambda t: t.assign(datetime=t["datetime"] + pandas.Timedelta(hours=4)), r"expected a time at which au2512 trades"),
    (lambda t: with_row(t.assign(datetime=t["datetime"].astype(str)), 6, datetime="noon"), r"row 6, .*'noon', expe"),
    (lambda t: t.iloc[::5], r"row 1, column datetime: found bars 5 minutes apart, expected one-minute bars"),
    (lambda t: t.assign(datetime=t["datetime"] + pandas.Timedelta("30s")), r"found .*21:00:30.000, expected a whole m"),
    (lambda t: t.assign(interval="1h"), r"row 0, column interval: found 1h, expected 1m"),
    (lambda t: t.assign(close=t["close_price"]).rename(columns={"close_price": "Close"}), r"Close close are both"),
    (lambda t: t.assign(datetime=t["datetime"] + pandas.Timedelta(days=900)), r"trading calendar: found 20\d\d-"),
]  # fmt: skip


@pytest.mark.parametrize(("spoil", "words"), BAD, ids=[words[:40] for _, words in BAD])
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_written(
    spoil: Callable[[pandas.DataFrame], pandas.DataFrame], words: str, table: pandas.DataFrame, history: History
) -> None:
    frame = spoil(table).reset_index(drop=True)
    with pytest.raises((HistoryError, LookupError), match=words) as caught:
        history.import_frame(frame, None if "symbol" in frame else "au2512")
    assert "\n" not in str(caught.value)
    assert not history.folder.exists()


def test_off_session_rows_may_be_left_out(table: pandas.DataFrame, history: History) -> None:
    odd = with_row(table, 0, datetime=pandas.Timestamp("2025-09-26 19:00:00"))
    (report,) = history.import_frame(odd, "au2512", off_session="drop")
    assert (report.dropped, len(history.bars("au2512"))) == (1, len(table) - 1)


def test_bars_of_another_origin_are_not_written_over(table: pandas.DataFrame, history: History) -> None:
    history.import_frame(table, "au2512")
    other = table.assign(volume=table["volume"] + 1)
    with pytest.raises(
        HistoryError, match=r"2025-09-29\.csv: there are other rows of that day already \(4 such days\)"
    ):
        history.import_frame(other, "au2512")
    assert history.import_frame(table, "au2512")[0].written == ()
    assert len(history.import_frame(other, "au2512", replace=True)[0].written) == 4


@pytest.mark.parametrize(("name", "text"), [("a.parquet", b"no"), ("a.csv", b"\xff\x00\x81"), ("a.db", b"no base")])
def test_a_file_that_cannot_be_read_is_named(name: str, text: bytes, history: History, tmp_path: Path) -> None:
    path = tmp_path / name
    read = {"a.parquet": history.import_parquet, "a.csv": history.import_csv, "a.db": history.import_vnpy}[name]
    with pytest.raises(HistoryError, match=rf"{name}: no such file"):
        read(path, "au2512")
    path.write_bytes(text * 40)
    with pytest.raises(HistoryError, match=name) as caught:
        read(path, "au2512")
    assert "\n" not in str(caught.value)


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may grow beyond 20 kB: what a full disk does to a write."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, old)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_leaves_no_half_day(bars: BarSeries, history: History) -> None:
    with pytest.raises(HistoryError, match=r"2025-09-29\.csv: not written \(File too large\); make room"):
        history.write(bars)
    assert [path.name for path in history.folder.rglob("*") if path.is_file()] == []


def test_an_interrupted_import_keeps_whole_days(
    table: pandas.DataFrame, bars: BarSeries, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the third day is being written."""
    real, calls = barfiles.os.fsync, []

    def fsync(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(handle)

    monkeypatch.setattr(barfiles.os, "fsync", fsync)
    with pytest.raises(KeyboardInterrupt):
        history.import_frame(table, "au2512")
    assert history.days("au2512") == [date(2025, 9, 29), date(2025, 9, 30)]
    assert sorted(path.name for path in history.folder.rglob("*.*")) == ["2025-09-29.csv", "2025-09-30.csv"]
    assert np.array_equal(history.bars("au2512").close, bars.days(date(2025, 9, 29), date(2025, 9, 30)).close)


# shaped as vnpy_tushare is, with an auction row before the first bar of a night
FEED = """
    from datetime import datetime, timedelta
    import pandas
    from vnpy.trader.constant import Exchange, Interval
    from vnpy.trader.datafeed import BaseDatafeed
    from vnpy.trader.object import BarData
    from vnpy.trader.setting import SETTINGS

    class Datafeed(BaseDatafeed):
        def init(self, output=print):
            if SETTINGS["datafeed.password"] != "token":
                output("数据服务初始化失败：token错误")
            return SETTINGS["datafeed.password"] == "token"

        def query_bar_history(self, req, output=print):
            table = pandas.read_parquet(__file__.replace("__init__.py", "bars.parquet"))
            start, end = (moment.replace(tzinfo=None) for moment in (req.start, req.end))
            rows = table[(table["datetime"] >= start) & (table["datetime"] <= end)]
            named = dict(gateway_name="TS", symbol=req.symbol, exchange=req.exchange, interval=req.interval)
            return [BarData(**named, **row) for row in rows.to_dict("records")]
"""


@pytest.fixture
def datafeed(table: pandas.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    import sys
    from textwrap import dedent

    package = tmp_path / "vnpy_by_hand"
    package.mkdir()
    (tmp_path / ".vntrader").mkdir()
    auction = table.iloc[[0]].assign(datetime=pandas.Timestamp("2025-09-26 20:59:00"), volume=5.0, turnover=0.0)
    pandas.concat([auction, table]).to_parquet(package / "bars.parquet")
    (package / "__init__.py").write_text(dedent(FEED))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield "vnpy_by_hand"
    sys.modules.pop("vnpy_by_hand", None)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_datafeed_fills_the_days_that_are_missing(
    datafeed: str, table: pandas.DataFrame, bars: BarSeries, history: History
) -> None:
    own = bars.days(date(2025, 9, 30), date(2025, 9, 30))
    history.write(dataclasses.replace(own, volume=own.volume + 1))
    with pytest.raises(HistoryError, match="vnpy_by_hand: 数据服务初始化失败：token错误"):
        history.fill(datafeed, "au2512", *DAYS)
    written = history.fill(datafeed, "au2512", *DAYS, password="token")
    assert written == [date(2025, 9, 29), date(2025, 10, 9), date(2025, 10, 10)]
    found = history.bars("au2512")
    assert np.array_equal(found.close, bars.close) and found.volume[0] == bars.volume[0] + 5
    assert history.fill(datafeed, "au2512", *DAYS, password="token") == []
    with pytest.raises(HistoryError, match="no bars of au2512 from 2025-08-01 to 2025-08-05"):
        history.fill(datafeed, "au2512", "2025-08-01", "2025-08-05", password="token")
    with pytest.raises(HistoryError, match="vnpy_rqdata: it is not installed; run: pip install vnpy_rqdata"):
        history.fill("vnpy_rqdata", "au2512", "2025-08-01", "2025-08-05")


@pytest.mark.parametrize("option", [{"stamps": "middle"}, {"off_session": "keep"}, {"timezone": "Mars/Olympus"}])
def test_an_option_that_does_not_exist_is_named(
    option: dict[str, Any], table: pandas.DataFrame, history: History
) -> None:
    ((name, value),) = option.items()
    with pytest.raises(HistoryError, match=f"{name}: found '{value}', expected"):
        history.import_frame(table, "au2512", **option)


def test_the_command_line_generates_imports_checks_and_lists(table: pandas.DataFrame, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from arbig.cli import app

    def said(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["history", *words, "--history", str(tmp_path / "bars")])
        return result.exit_code, result.output

    path = tmp_path / "own.csv"
    table.to_csv(path, index=False)
    assert said("import", str(path), "--symbol", "au2512")[0] == 0
    assert said("generate", "rb2601", "--start", "2025-10-15", "--end", "2025-10-15") == (
        0,
        "rb2601: 345 bars, 2025-10-15 to 2025-10-15\n",
    )
    assert said("check", "au2512") == (0, "au2512: 1890 bars of 4 trading days: nothing wrong\n")
    (tmp_path / "bars" / "au2512" / "2025-09-30.csv").unlink()
    assert said("check", "au2512") == (
        1,
        "au2512: 1335 bars of 3 trading days: 1 missing day\n"
        "  2025-09-30   missing day: no bars of this trading day; fill it: history.fill(...), or import it\n",
    )
    assert said("list")[1].splitlines() == [
        "au2512   bars: 3 days, 2025-09-29 to 2025-10-10; ticks: none",
        "rb2601   bars: 1 days, 2025-10-15 to 2025-10-15; ticks: none",
    ]
    code, words = said("import", str(tmp_path / "own.xlsx"), "--symbol", "au2512")
    assert code == 1 and "found '.xlsx', expected .csv, .parquet, .db" in words
