"""Bar files: what a crash, a full disk or a second try may not do to them."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbig.domain.messages import SHANGHAI, BarData, Exchange
from arbig.store.bars import HEADER, BarFileError, BarStore, line_of, read

OPENING = datetime(2025, 10, 15, 9, 0, tzinfo=SHANGHAI)
DAY = date(2025, 10, 15)


def bar(minute: int, **fields: object) -> BarData:
    values: dict[str, object] = {
        "symbol": "au2512",
        "exchange": Exchange.SHFE,
        "datetime": OPENING + timedelta(minutes=minute),
        "interval": "1m",
        "open_price": 900.02,
        "high_price": 900.1,
        "low_price": 899.98,
        "close_price": 900.04,
        "volume": 7,
        "open_interest": 98765,
        "turnover": 6_300_140.0,
        "trading_day": DAY,
        "seq": minute + 1,
    }
    return BarData(**{**values, **fields})  # type: ignore[arg-type]


def test_bars_come_back_as_they_were(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    bars = [bar(0), bar(1, turnover=None, partial=True), bar(2, seq=None)]
    assert store.append(bars) == bars
    assert store.read_day("au2512", DAY) == bars
    assert store.last("au2512", DAY) == bars[-1]
    assert store.days("au2512") == [DAY]
    assert (tmp_path / "au2512" / "2025-10-15.csv").read_text().splitlines()[1] == (
        "2025-10-15T09:00:00,au2512,SHFE,1m,900.02,900.1,899.98,900.04,7,98765,6300140.0,2025-10-15,1,"
    )


def test_the_file_is_the_trading_days_not_the_calendars(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    night = bar(0, datetime=datetime(2025, 10, 17, 21, 0, tzinfo=SHANGHAI), trading_day=date(2025, 10, 20))
    store.append([night])
    assert store.days("au2512") == [date(2025, 10, 20)]


def test_a_bar_is_never_written_twice_nor_an_older_one_after_it(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    store.append([bar(0), bar(1)])
    assert store.append([bar(1), bar(0), bar(2)]) == [bar(2)]
    assert BarStore(tmp_path).append([bar(2), bar(3)]) == [bar(3)]
    assert store.read_day("au2512", DAY) == [bar(0), bar(1), bar(2), bar(3)]


def test_a_symbol_that_is_no_symbol_never_becomes_a_path(tmp_path: Path) -> None:
    with pytest.raises(BarFileError, match="expected letters and digits"):
        BarStore(tmp_path).append([bar(0, symbol="../../etc/au")])


def test_a_whole_day_is_written_once(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    assert store.write_day("au2512", DAY, [bar(0), bar(1)])
    assert not store.write_day("au2512", DAY, [bar(5)])
    assert store.read_day("au2512", DAY) == [bar(0), bar(1)]


@given(st.integers(0, 10_000))
@settings(max_examples=40)
def test_a_line_torn_anywhere_is_mended(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    store = BarStore(tmp_path_factory.mktemp("bars"))
    bars = [bar(minute) for minute in range(5)]
    store.append(bars)
    path = store.path("au2512", DAY)
    data = path.read_bytes()
    path.write_bytes(data[: cut % (len(data) + 1)])
    whole = read(path)
    assert whole == bars[: len(whole)]
    again = BarStore(store.folder)
    again.append(bars)
    again.close()
    store.close()
    assert path.read_bytes() == HEADER + b"".join(map(line_of, bars))


def test_a_full_disk_is_one_clear_line_and_nothing_half_written(tmp_path: Path) -> None:
    """The limit on a file's size stands for the full disk: the write is cut short in the middle of a line."""
    store = BarStore(tmp_path)
    store.append([bar(0)])
    path = store.path("au2512", DAY)
    before = path.read_bytes()
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 50, limit[1]))
    try:
        with pytest.raises(BarFileError) as refused:
            store.append([bar(1)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    assert "2025-10-15.csv" in str(refused.value) and "\n" not in str(refused.value)
    assert path.read_bytes() == before
    assert store.append([bar(1)]) == [bar(1)]
    assert store.read_day("au2512", DAY) == [bar(0), bar(1)]


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "au2512").write_text("a file where a folder should be")
    with pytest.raises(BarFileError, match=r"au2512.*; make its folder writable"):
        BarStore(tmp_path).append([bar(0)])


def test_a_line_that_is_no_bar_is_named(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    store.append([bar(0)])
    with store.path("au2512", DAY).open("a") as file:
        file.write("2025-10-15T09:01:00,au2512,SHFE,1m,many\n")
    with pytest.raises(BarFileError, match="line 3: found '2025-10-15T09:01:00,au2512,SHFE,1m,many'"):
        store.read_day("au2512", DAY)


WRITER = """
import sys
from datetime import timedelta
from pathlib import Path
from msgspec.structs import replace
from arbig.store.bars import BarStore, read
store = BarStore(Path(sys.argv[1]))
first = store.read_day("au2512", __import__("datetime").date(2025, 10, 15))[-1]
while True:
    first = replace(first, datetime=first.datetime + timedelta(minutes=1), seq=first.seq + 1)
    store.append([first])
"""


def test_a_killed_writer_leaves_whole_lines_in_order(tmp_path: Path) -> None:
    store = BarStore(tmp_path)
    store.append([bar(0)])
    path = store.path("au2512", DAY)
    for _ in range(3):
        size = path.stat().st_size
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], env=dict(os.environ))
        deadline = time.monotonic() + 20
        while path.stat().st_size < size + 20_000 and time.monotonic() < deadline:
            time.sleep(0.01)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert path.read_bytes().endswith(b"\n")
        bars = read(path)
        assert [found.seq for found in bars] == list(range(1, len(bars) + 1))
