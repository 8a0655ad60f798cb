"""Columns: which column of somebody's table is which, and what stands in it. One table of names, no guessing by value.

Known by name: vnpy, tqsdk, rqdata, Wind (English and Chinese heads), tushare, JoinQuant, and our own files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from arbig.backtest.series import Floats, Times
from arbig.domain.messages import SHANGHAI
from arbig.lab.barfiles import HistoryError

if TYPE_CHECKING:
    import pandas

# our name: the names others give it (lower case)
BOTH = {
    "datetime": "datetime trade_time date_time bar_time timestamp time 时间 日期时间 交易时间 datetime_nano index",
    "date": "date trade_date action_day 日期 交易日期",
    "trading_day": "trading_day trading_date tradingday 交易日",
    "symbol": "symbol order_book_id ts_code vt_symbol instrument_id windcode code 代码 证券代码 合约代码 合约 wind代码",
    "exchange": "exchange 交易所",
    "interval": "interval freq",
    "volume": "volume vol 成交量 成交量(手) 总手",
    "turnover": "turnover total_turnover amount amt money 成交额 成交金额 成交额(元)",
    "open_interest": "open_interest close_oi oi position hold 持仓量 持仓 未平仓量",
}
BAR_NAMES = {
    **BOTH,
    "open": "open open_price 开盘价 开盘 开盘价(元) 开",
    "high": "high high_price 最高价 最高 最高价(元) 高",
    "low": "low low_price 最低价 最低 最低价(元) 低",
    "close": "close close_price 收盘价 收盘 收盘价(元) 收",
}
TICK_NAMES = {
    **BOTH,
    "last_price": "last_price last lastprice current 最新价 最新 成交价",
    "last_volume": "last_volume 现量 现手",
    "open_price": "open_price open openprice 开盘价",
    "high_price": "high_price high highest highestprice 最高价",
    "low_price": "low_price low lowest lowestprice 最低价",
    "pre_close": "pre_close prev_close preclose precloseprice 前收盘价 昨收",
    "pre_settlement": "pre_settlement prev_settlement presettlementprice 前结算价 昨结",
    "limit_up": "limit_up upper_limit upperlimitprice 涨停价",
    "limit_down": "limit_down lower_limit lowerlimitprice 跌停价",
    "bid_price_1": "bid_price_1 bid_price1 bidprice1 b1 bid1 bid 买一价 买价",
    "bid_volume_1": "bid_volume_1 bid_volume1 bidvolume1 b1_v bsize1 买一量 买量",
    "ask_price_1": "ask_price_1 ask_price1 askprice1 a1 ask1 ask 卖一价 卖价",
    "ask_volume_1": "ask_volume_1 ask_volume1 askvolume1 a1_v asize1 卖一量 卖量",
}
BAR_NEEDED = ("datetime", "open", "high", "low", "close", "volume")
TICK_NEEDED = ("datetime", "last_price", "volume", "bid_price_1", "ask_price_1")
TICK_SIGNS = frozenset(TICK_NAMES["last_price"].split())

# whose table it is: columns that only they have, and what their bars are stamped with
SIGNS = (
    ("tqsdk", {"close_oi"}, "start"),
    ("tqsdk", {"datetime_nano"}, "start"),
    ("rqdata", {"total_turnover"}, "end"),
    ("tushare", {"ts_code"}, "end"),
    ("tushare", {"trade_time"}, "end"),
    ("wind", {"windcode"}, "end"),
    ("wind", {"amt"}, "end"),
    ("wind", {"开盘价"}, "end"),
    ("wind", {"开盘价(元)"}, "end"),
    ("vnpy", {"open_price", "gateway_name"}, "start"),
    ("vnpy", {"open_price"}, "start"),
)
STAMPS = {name: stamps for name, _, stamps in SIGNS}
PREFIX = re.compile(r"[A-Z]+\.[A-Za-z0-9@.]+\.(?=[a-z_0-9]+$)")
ZONE = r"(Z|[+-]\d{2}:?\d{2})$"
DIGITS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
EPOCHS = {19: "ns", 16: "us", 13: "ms", 10: "s"}


@dataclass(frozen=True)
class Reading:
    """Where a table came from, for the words of an error: the first row's number is `first_row`."""

    name: str
    first_row: int

    def refuse(self, row: int, column: str, found: object, expected: str, mend: str) -> HistoryError:
        return HistoryError(
            f"{self.name}: row {row + self.first_row}, column {column}: found {found}, expected {expected}; {mend}"
        )


def is_ticks(names: Sequence[object]) -> bool:
    return any(_plain(name) in TICK_SIGNS for name in names)


def source_of(names: Sequence[object]) -> str | None:
    """Whose table it is by its heads; None when they tell nothing."""
    plain = {_plain(name) for name in names}
    return next((name for name, signs, _ in SIGNS if signs <= plain), None)


def recognised(
    names: Sequence[object], known: Mapping[str, str], needed: Sequence[str], given: Mapping[str, str], reading: Reading
) -> dict[str, Any]:
    """Our name -> the table's column. `given` (ours -> theirs) goes first. Raises HistoryError, one line."""
    unknown = [ours for ours in given if ours not in known]
    if unknown:
        raise HistoryError(f"columns: found {unknown[0]!r}, expected some of {' '.join(known)}; e.g. {{'close': 'px'}}")
    absent = [theirs for theirs in given.values() if theirs not in names]
    if absent:
        raise HistoryError(f"{reading.name}: no column {absent[0]!r}; its columns: {_listed(names)}")
    found: dict[str, Any] = {ours: theirs for ours, theirs in given.items()}
    for ours, theirs in known.items():
        if ours in found:
            continue
        wanted = theirs.split()
        matching = [name for name in names if _plain(name) in wanted and name not in found.values()]
        best = sorted(matching, key=lambda name: wanted.index(_plain(name)))
        twice = [name for name in best if _plain(name) == _plain(best[0])]
        if len(twice) > 1:
            raise HistoryError(
                f"{reading.name}: columns {_listed(twice)} are both {ours!r}; say which: columns={{{ours!r}: ...}}"
            )
        if best:
            found[ours] = best[0]
    if "datetime" not in found and "date" in found:
        found["datetime"] = found.pop("date")
    missing = [name for name in needed if name not in found]
    if missing:
        raise HistoryError(
            f"{reading.name}: no column for {', '.join(missing)}; found {_listed(names)}; name them: "
            f"columns={{{missing[0]!r}: '...'}}"
        )
    return found


def moments(frame: pandas.DataFrame, names: Mapping[str, Any], zone: str, reading: Reading) -> Times:
    """The rows' times as Shanghai's wall clock; `zone` is that of times that carry none."""
    import pandas

    column = frame[names["datetime"]]
    head = str(names["datetime"])
    if "date" in names and names["date"] != names["datetime"] and _is_clock(column):
        column = frame[names["date"]].astype(str).str.slice(0, 10) + " " + column.astype(str)
    empty = column.isna().to_numpy()
    if empty.any():
        raise reading.refuse(int(np.argmax(empty)), head, "nothing", "a time", "drop the row")
    if pandas.api.types.is_numeric_dtype(column):
        found = _from_numbers(column, head, reading)
    elif isinstance(column.dtype, pandas.DatetimeTZDtype) or pandas.api.types.is_datetime64_any_dtype(column):
        found = column
    else:
        found = _from_text(column.astype(str), head, reading)
    if found.dt.tz is None:
        found = found.dt.tz_localize(zone)
    naive = found.dt.tz_convert(str(SHANGHAI)).dt.tz_localize(None)
    times: Times = naive.to_numpy().astype("datetime64[ms]")
    return times


def _from_numbers(column: pandas.Series, head: str, reading: Reading) -> pandas.Series:
    import pandas

    whole = column.astype(np.int64)
    digits = len(str(int(whole.iloc[0])))
    if digits in EPOCHS:
        return pandas.to_datetime(whole, unit=EPOCHS[digits], utc=True)
    if digits in DIGITS:
        return pandas.to_datetime(whole.astype(str), format=DIGITS[digits])
    raise reading.refuse(
        0, head, whole.iloc[0], "a time, e.g. 2025-10-15 09:00:00 or nanoseconds since 1970", "convert the column"
    )


def _from_text(column: pandas.Series, head: str, reading: Reading) -> pandas.Series:
    import pandas

    zones = column.str.extract(ZONE, expand=False).where(column.str.len() > 10)
    other = (zones.fillna("") != (zones.iloc[0] if isinstance(zones.iloc[0], str) else "")).to_numpy()
    if other.any():
        row = int(np.argmax(other))
        raise reading.refuse(
            row, head, repr(column.iloc[row]), f"the time zone of the first row ({column.iloc[0]!r})",
            "write all times in one zone",
        )  # fmt: skip
    found = pandas.to_datetime(column, errors="coerce", utc=isinstance(zones.iloc[0], str), format="mixed")
    wrong = found.isna().to_numpy()
    if wrong.any():
        row = int(np.argmax(wrong))
        raise reading.refuse(row, head, repr(column.iloc[row]), "a time, e.g. 2025-10-15 09:00:00", "mend the row")
    return found


def numbers(frame: pandas.DataFrame, name: Any, reading: Reading, empty: float | None) -> Floats:
    """A column of numbers; what is empty becomes `empty`, or is refused when that is None."""
    import pandas

    column = frame[name]
    values: Floats = pandas.to_numeric(column, errors="coerce").to_numpy(np.float64, copy=True)
    absent = column.isna().to_numpy()
    if empty is not None:
        values[absent] = empty
    wrong = ~np.isfinite(values)
    if wrong.any():
        row = int(np.argmax(wrong))
        found = "nothing" if absent[row] else repr(column.iloc[row])
        raise reading.refuse(row, str(name), found, "a number", "mend or drop the row")
    return values


def _is_clock(column: pandas.Series) -> bool:
    return bool(column.astype(str).str.fullmatch(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?").all())


def _plain(name: object) -> str:
    return PREFIX.sub("", str(name).strip().replace("（", "(").replace("）", ")")).lower()


def _listed(names: Sequence[object]) -> str:
    return " ".join(map(str, names[:20])) or "none"
