"""Tick files: what is written reads back as it was; a file that is not one is one line."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbig.backtest.series import TICK_COLUMNS, TickSeries
from arbig.domain.messages import Exchange
from arbig.store.ticks import TickFileError, TickStore

DAY = date(2025, 10, 15)
NIGHT = datetime(2025, 10, 14, 21, 0)
NUMBERS = st.floats(0, 1e12, allow_nan=False) | st.sampled_from([838.02, 0.1 + 0.2, 0.0])


def series(moments: list[datetime], values: list[float], symbol: str = "au2512", day: date = DAY) -> TickSeries:
    column = np.array(values, np.float64)
    return TickSeries(
        symbol=symbol,
        exchange=Exchange.SHFE,
        datetime=np.array(moments, "datetime64[ms]"),
        trading_day=np.full(len(moments), day, "datetime64[D]"),
        **{name: column + place for place, name in enumerate(TICK_COLUMNS)},
    )


def a_minute(count: int = 120) -> TickSeries:
    return series([NIGHT + timedelta(milliseconds=500 * n) for n in range(count)], [880.0 + n for n in range(count)])


def same(one: TickSeries, other: TickSeries) -> bool:
    names = ("datetime", "trading_day", *TICK_COLUMNS)
    heads = (one.symbol, one.exchange) == (other.symbol, other.exchange)
    return heads and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60_000_000), NUMBERS), min_size=1, max_size=30))
def test_ticks_read_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, float]]
) -> None:
    store = TickStore(tmp_path_factory.mktemp("ticks"))
    moments = sorted(NIGHT + timedelta(milliseconds=offset) for offset, _ in rows)
    written = series(moments, [value for _, value in rows])
    store.write_day(written)
    assert same(store.read_day("au2512", DAY), written)


def test_a_day_is_a_file_that_any_parquet_reader_understands(tmp_path: Path) -> None:
    store = TickStore(tmp_path)
    path = store.write_day(a_minute())
    assert path == tmp_path / "au2512" / "2025-10-15.parquet"
    assert (store.symbols(), store.days("au2512")) == (["au2512"], [DAY])
    table = pyarrow.parquet.read_table(path)
    assert table.column_names == ["datetime", "trading_day", "symbol", "exchange", *TICK_COLUMNS]
    assert table["datetime"][0].as_py() == NIGHT


def test_a_day_written_again_is_replaced_whole(tmp_path: Path) -> None:
    store = TickStore(tmp_path)
    store.write_day(a_minute())
    store.write_day(a_minute(7))
    assert len(store.read_day("au2512", DAY)) == 7
    assert [path.name for path in (tmp_path / "au2512").iterdir()] == ["2025-10-15.parquet"]


def test_two_days_in_one_series_are_refused(tmp_path: Path) -> None:
    mixed = series([NIGHT, NIGHT], [1.0, 2.0])
    object.__setattr__(mixed, "trading_day", np.array([DAY, DAY + timedelta(1)], "datetime64[D]"))
    with pytest.raises(TickFileError, match="ticks of au2512: found 2 trading days, expected one a file"):
        TickStore(tmp_path).write_day(mixed)


@pytest.mark.parametrize("kind", ["torn", "empty", "foreign", "other columns", "no rows"])
def test_a_file_that_is_none_is_one_line_with_its_path(tmp_path: Path, kind: str) -> None:
    store = TickStore(tmp_path)
    path = store.write_day(a_minute())
    whole = path.read_bytes()
    if kind == "torn":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "foreign":
        path.write_text("datetime,last_price\n2025-10-15 09:00:00,880\n")
    elif kind == "other columns":
        pyarrow.parquet.write_table(pyarrow.table({"price": [1.0], "exchange": ["SHFE"]}), path)
    else:
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(path).slice(0, 0), path)
    with pytest.raises(TickFileError) as caught:
        store.read_day("au2512", DAY)
    assert str(path) in str(caught.value)
    assert "not a tick file" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_day_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TickFileError, match=r"2025-10-15.parquet: no such file; record or import the day's ticks"):
        TickStore(tmp_path).read_day("au2512", DAY)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TickStore(tmp_path)
    path = store.write_day(a_minute())

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pyarrow.parquet, "write_table", full)
    with pytest.raises(TickFileError, match="not written \\(No space left on device\\); make room"):
        store.write_day(a_minute(3))
    assert len(store.read_day("au2512", DAY)) == 120
    assert list(path.parent.iterdir()) == [path]
