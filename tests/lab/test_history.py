"""History: read in the layout Market writes, checked against the calendar, made so that a trader knows it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbig.backtest.series import BarSeries
from arbig.domain.instruments import UnknownSymbol
from arbig.domain.messages import SHANGHAI, BarData
from arbig.domain.sessions import Sessions
from arbig.lab.barfiles import read_days, same_rows
from arbig.lab.checking import roll_jumps
from arbig.lab.continuous import Day, chosen_contracts
from arbig.lab.desk import Desk
from arbig.lab.history import History, HistoryError
from arbig.lab.timetable import timetable, trading_days_of
from arbig.store.bars import BarStore

ROOT = Path(__file__).parents[2]
HOUSE = Desk(ROOT)
SEPTEMBER = ("2025-09-01", "2025-09-30")


def desk(folder: Path) -> Desk:
    return Desk(ROOT, history=folder / "bars")


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> History:
    """Gold's December contract over its whole life, October's and rebar's in the autumn."""
    history = desk(tmp_path_factory.mktemp("year")).history
    history.generate("au2512")
    history.generate("au2510", "2025-08-25", "2025-10-10")
    return history


@pytest.fixture
def history(tmp_path: Path) -> History:
    return desk(tmp_path).history


# ---- files ----


def test_a_generated_day_is_the_file_market_would_write(history: History) -> None:
    """Market's own reader gives the same bars, and its own writer the same bytes but for the account."""
    series = history.generate("au2512", "2025-10-15", "2025-10-15")
    store = BarStore(history.folder)
    read = store.read_day("au2512", date(2025, 10, 15))
    assert [(bar.datetime, bar.close_price, bar.volume, bar.turnover) for bar in read] == [
        (bar.datetime, bar.close_price, bar.volume, bar.turnover) for bar in series.bars()
    ]
    again = BarStore(history.folder.parent / "again")
    again.write_day("au2512", date(2025, 10, 15), read)
    assert (
        again.path("au2512", date(2025, 10, 15)).read_bytes() == store.path("au2512", date(2025, 10, 15)).read_bytes()
    )


def test_bars_that_market_wrote_are_read_as_columns(history: History) -> None:
    """Without turnover, numbered, partial, and with a last line still being written."""
    series = history.generate("au2512", "2025-10-15", "2025-10-15")
    store = BarStore(history.folder.parent / "live")
    bars = [bar_without_turnover(bar, number) for number, bar in enumerate(series.rows(0, 50).bars(), 1)]
    store.append(bars)
    store.close()
    path = store.path("au2512", date(2025, 10, 15))
    with path.open("a") as file:
        file.write("2025-10-14T21:50:00,au2512,SH")
    found = History(store.folder, history.book, history.calendar).bars("au2512")
    assert (len(found), float(found.turnover.sum())) == (50, 0.0)
    assert np.array_equal(found.close, series.close[:50])


def bar_without_turnover(bar: BarData, number: int) -> BarData:
    from msgspec.structs import replace as changed

    return changed(bar, turnover=None, seq=number, partial=True if number == 7 else None)


def test_a_year_is_read_in_about_a_second(year: History) -> None:
    began = time.process_time()
    bars = year.bars("au2512", "2024-12-20", "2025-12-12")
    assert len(bars) > 125_000
    assert time.process_time() - began < 2.0


def test_frames_and_days_and_symbols(year: History) -> None:
    frame = year.frame("au2512.SHFE", *SEPTEMBER)
    assert (str(frame.index[0]), frame["trading_day"].nunique()) == ("2025-08-29 21:00:00", 22)
    assert year.symbols() == ["au2510", "au2512"]
    assert (year.days("au2510")[0], year.tick_days("au2510")) == (date(2025, 8, 25), [])


WRONG: list[tuple[Callable[[History], object], type[Exception], str]] = [
    (lambda h: h.bars("au2512", "2025-09-30", "2025-09-01"), HistoryError, r"the dates are reversed; write"),
    (lambda h: h.bars("au2512", "2023-09-01", "2023-09-30"), HistoryError, r"found nothing from 2023-09-01 to"),
    (lambda h: h.bars("au2602"), HistoryError, r"au2602: found nothing.* history\.generate\('au2602', ...\)"),
    (lambda h: h.bars("xau2512"), UnknownSymbol, r"no product 'xau' .*did you mean au2512"),
    (lambda h: h.bars("au2512", "1 September"), HistoryError, r"start: found '1 September', expected a trading day"),
    (lambda h: h.generate("au2512", "2023-01-03", "2023-02-03"), HistoryError, r"expected days of its life, 2024"),
    (lambda h: h.generate("au2512", "2025-10-01", "2025-10-08"), HistoryError, r"found no trading day, the next"),
    (lambda h: h.generate("au2512", "2030-10-01", "2030-10-08"), HistoryError, r"trading calendar: found 2030-10-01"),
    (lambda h: h.ticks("au2512"), HistoryError, r"ticks/au2512: found nothing"),
    (lambda h: h.continuous("ag"), HistoryError, r"found no contract of 'ag' .*there are au2510 au2512"),
    (lambda h: h.continuous("au", adjust="back"), HistoryError, r"expected adjust \"ratio\""),  # type: ignore[arg-type]
    (lambda h: h.generate("au2512", *SEPTEMBER, seed=2), HistoryError, r"there are other rows of that day already"),
]  # fmt: skip


@pytest.mark.parametrize(("ask", "error", "words"), WRONG, ids=[words[:40] for *_, words in WRONG])
def test_what_cannot_be_is_said_in_one_line(
    ask: Callable[[History], object], error: type[Exception], words: str, year: History
) -> None:
    with pytest.raises(error, match=words) as caught:
        ask(year)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["price", "order", "word"])
def test_a_spoiled_file_is_named_with_its_row(kind: str, history: History) -> None:
    history.generate("au2512", "2025-10-15", "2025-10-15")
    path = history.folder / "au2512" / "2025-10-15.csv"
    lines = path.read_text().splitlines()
    cells = lines[2].split(",")
    cells[{"price": 4, "order": 0, "word": 0}[kind]] = {"price": "nan", "order": "2025-10-14T20:01:00", "word": "x"}[
        kind
    ]
    lines[2] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n")
    words = {
        "price": r"2025-10-15\.csv: row 3, column open: found nan, expected a price above zero",
        "order": r"2025-10-15\.csv: row 3, column datetime: found 2025-10-14T20:01:00 after 2025-10-14T21:00:00",
        "word": r"2025-10-15\.csv: .*'x'.*import the day again",
    }
    with pytest.raises(HistoryError, match=words[kind]):
        history.bars("au2512")


def test_a_file_without_rows_is_named(history: History) -> None:
    history.generate("au2512", "2025-10-15", "2025-10-15")
    path = history.folder / "au2512" / "2025-10-15.csv"
    for text in (path.read_text().splitlines()[0] + "\n", ""):
        path.write_text(text)
        with pytest.raises(HistoryError, match=r"found no rows in the files|2025-10-15"):
            history.bars("au2512")


# ---- checking ----


def spoiled(history: History, change: Callable[[list[str]], list[str]], day: str = "2025-10-15") -> str:
    """A good week with one changed file; what the check says of that day."""
    history.generate("au2512", "2025-10-13", "2025-10-17")
    path = history.folder / "au2512" / f"{day}.csv"
    head, *lines = path.read_text().splitlines()
    path.write_text("\n".join([head, *change(lines)]) + "\n")
    report = history.check("au2512")
    found = report.frame
    assert set(found["trading_day"]) == {date.fromisoformat(day)} and not report.ok
    assert report._repr_html_().startswith("<b>au2512: ")
    return "; ".join(f"{row.kind} {row.start[5:16]} {row.end[11:16]} {row.rows}" for row in found.itertuples())


def cell(row: int, column: int, text: str) -> Callable[[list[str]], list[str]]:
    def change(lines: list[str]) -> list[str]:
        cells = lines[row].split(",")
        return [*lines[:row], ",".join([*cells[:column], text, *cells[column + 1 :]]), *lines[row + 1 :]]

    return change


FINDINGS: list[tuple[Callable[[list[str]], list[str]], str]] = [
    (lambda lines: lines[:10] + lines[20:], "gap 10-14 21:10 21:19 10"),
    (lambda lines: lines[:329] + lines[331:], "gap 10-15 02:29 02:29 1; gap 10-15 09:00 09:00 1"),
    (lambda lines: [*lines[:5], lines[4], *lines[5:]], "duplicate 10-14 21:04 21:04 1"),
    (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "unsorted 10-14 21:01 21:01 1"),
    (cell(0, 0, "2025-10-14T20:58:00"), "off session 10-14 20:58 20:58 1; gap 10-14 21:00 21:00 1"),
    (cell(554, 0, "2025-10-15T15:00:00"), "gap 10-15 14:59 14:59 1; off session 10-15 15:00 15:00 1"),
    (cell(3, 4, "nan"), "price 10-14 21:03 21:03 1"),
    (cell(3, 6, "-1"), "price 10-14 21:03 21:03 1"),
    (cell(3, 5, "1.0"), "price 10-14 21:03 21:03 1"),
    (cell(3, 5, "2000.0"), "beyond limit 10-14 21:03 21:03 1"),
    (cell(3, 5, "1000.01"), "off tick 10-14 21:03 21:03 1"),
    (cell(3, 8, "-4"), "price 10-14 21:03 21:03 1"),
    (cell(3, 0, "?"), "unreadable   0"),
]


@pytest.mark.parametrize(("change", "expected"), FINDINGS, ids=[words[:44] for _, words in FINDINGS])
def test_the_check_names_what_is_wrong(
    change: Callable[[list[str]], list[str]], expected: str, history: History
) -> None:
    assert spoiled(history, change) == expected


def test_the_check_knows_missing_days_and_holidays(history: History) -> None:
    """The week of the national holiday is no gap; a day without a file is."""
    history.generate("au2512", "2025-09-26", "2025-10-13")
    assert history.check("au2512").ok
    (history.folder / "au2512" / "2025-10-09.csv").unlink()
    assert history.check("au2512").counts == {"missing day": 1}


def test_a_backtest_does_not_read_over_a_missing_day(tmp_path: Path) -> None:
    """Not even in the warm-up before its first day."""
    own = desk(tmp_path)
    own.history.generate("au2512", "2025-09-22", "2025-10-15")
    (own.history.folder / "au2512" / "2025-09-25.csv").unlink()
    words = r"found no bars of 2025-09-25 \(1 trading days missing between 2025-09-22 and 2025-10-15\); fill them"
    with pytest.raises(HistoryError, match=words):
        own.plan("MaRsiStrategy", "au2512", "2025-10-13", "2025-10-15")
    assert len(own.history.bars("au2512", gaps="allow")) == 555 * 10 + 225
    assert own.plan("MaRsiStrategy", "au2512", "2025-10-13", "2025-10-15", warmup_days=15)


def test_long_quiet_runs_are_noted_but_nothing_to_mend(history: History) -> None:
    series = history.generate("au2512", "2025-10-15", "2025-10-15")
    quiet = replace(series, volume=np.where(np.arange(len(series)) < 40, 0.0, series.volume))
    history.write(quiet, replace=True)
    report = history.check("au2512")
    assert (report.counts, report.ok) == ({"quiet": 1}, True)


MOMENTS = st.datetimes(datetime(2025, 9, 1), datetime(2025, 11, 28, 23, 59))


@given(st.lists(MOMENTS, min_size=1, max_size=30), st.sampled_from(["au2512", "cu2512", "rb2601", "wr2601"]))
@settings(max_examples=60, deadline=None)
def test_the_timetable_of_columns_agrees_with_the_sessions(moments: list[datetime], symbol: str) -> None:
    """Which trading day, whether it trades, and that auctions and closing ticks go to the minute beside them."""
    calendar, book = HOUSE.calendar, HOUSE.book
    sessions = Sessions(book.get(symbol).night_close, calendar)
    columns = np.array(sorted(moments), "datetime64[s]")
    aware = [moment.astype(datetime).replace(tzinfo=SHANGHAI) for moment in columns]
    days = trading_days_of(columns, calendar)
    assert days.astype(object).tolist() == [calendar.trading_day_of(moment) for moment in aware]
    table = timetable(book, calendar, symbol, sorted(set(days.astype(object).tolist())))
    open_now = [sessions.is_open(moment) for moment in aware]
    assert (table.segment_of(columns) >= 0).tolist() == open_now
    for moment, minute, is_open in zip(aware, table.minute_of(columns), open_now, strict=True):
        if is_open:
            assert minute.astype(datetime) == moment.replace(second=0, microsecond=0, tzinfo=None)
        elif not np.isnat(minute):
            placed = minute.astype(datetime).replace(tzinfo=SHANGHAI)
            assert sessions.is_open(placed) and timedelta(minutes=-5) <= moment - placed < timedelta(minutes=2)


# ---- the continuous series ----


def test_the_main_contract_changes_by_yesterdays_open_interest_at_the_night_opening(year: History) -> None:
    found = year.continuous("au", "2025-08-26", "2025-10-10", adjust=None)
    (roll,) = found.rolls
    day, before = roll.trading_day, year.calendar.previous_day(roll.trading_day)
    held = {symbol: year.bars(symbol, before, before).open_interest[-1] for symbol in ("au2510", "au2512")}
    earlier = year.calendar.previous_day(before)
    held_earlier = {symbol: year.bars(symbol, earlier, earlier).open_interest[-1] for symbol in ("au2510", "au2512")}
    assert (roll.old, roll.new) == ("au2510", "au2512")
    assert held["au2512"] > held["au2510"] and held_earlier["au2512"] < held_earlier["au2510"]
    first = found.series.first_of(day)
    assert str(found.series.datetime[first]) == f"{before}T21:00:00"
    assert found.series.close[first] == year.bars("au2512", day, day).close[0]
    assert found.series.close[first - 1] == year.bars("au2510", before, before).close[-1] == roll.old_close


@pytest.mark.parametrize("adjust", ["ratio", "difference"])
def test_back_adjustment_takes_the_roll_out_and_leaves_the_newest_prices(adjust: str, year: History) -> None:
    plain = year.continuous("au", "2025-08-26", "2025-10-10", adjust=None)
    found = year.continuous("au", "2025-08-26", "2025-10-10", adjust=adjust)  # type: ignore[arg-type]
    (roll,) = found.rolls
    first = found.series.first_of(roll.trading_day)
    assert np.array_equal(found.series.close[first:], plain.series.close[first:])
    assert found.series.close[first - 1] == pytest.approx(roll.new_close)
    old, new = plain.series.close[:first], found.series.close[:first]
    same = new / old if adjust == "ratio" else new - old
    assert np.allclose(same, roll.factor if adjust == "ratio" else roll.offset)
    assert year.check(found).ok and year.check(plain).counts == {"roll jump": 1}
    assert list(found.frame["new"]) == ["au2512"] and "1 rolls" in found._repr_html_()


def test_the_series_never_goes_back_to_an_earlier_delivery() -> None:
    days = [date(2025, 9, day) for day in (1, 2, 3, 4, 5)]
    held = {"au2510": (9, 5, 9, 9, 9), "au2512": (8, 6, 8, 6, 6)}
    contracts = {
        symbol: {day: Day(interest, interest, 1.0) for day, interest in zip(days, row, strict=True)}
        for symbol, row in held.items()
    }
    chosen = chosen_contracts(days, contracts, "open_interest")
    assert list(chosen.values()) == ["au2510", "au2510", "au2512", "au2512", "au2512"]


def test_a_foreign_series_with_an_unadjusted_roll_is_seen(year: History) -> None:
    """Without a roll table: an opening far outside the usual."""
    series = year.bars("au2512", "2025-08-01", "2025-10-10")
    jump = series.first_of(date(2025, 9, 10))
    moved = {name: np.where(np.arange(len(series)) < jump, 0.93, 1.0) * getattr(series, name)
             for name in ("open", "high", "low", "close")}  # fmt: skip
    assert list(roll_jumps(series, None, 0.02)) == []
    (finding,) = roll_jumps(replace(series, **moved), None, 0.02)
    assert finding.trading_day == date(2025, 9, 10)


# ---- the generator ----


def returns(series: BarSeries) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.diff(np.log(series.close))


def test_the_same_seed_gives_the_same_bars_whatever_the_range(year: History, tmp_path: Path) -> None:
    other = desk(tmp_path).history
    part = other.generate("au2512", *SEPTEMBER)
    assert same_rows(part, year.bars("au2512", *SEPTEMBER))
    assert same_rows(part, other.bars("au2512"))
    assert other.write(part) == []
    different = desk(tmp_path / "two").history.generate("au2512", *SEPTEMBER, seed=2)
    assert not np.array_equal(different.close, part.close)


def test_a_made_year_has_no_fault(year: History) -> None:
    """Every session minute, on the tick, inside the limits."""
    assert year.check("au2512").ok and year.check("au2510").counts == {}


def test_returns_have_fat_tails_by_the_minute_and_by_the_day(year: History) -> None:
    bars = year.bars("au2512", "2025-01-02", "2025-12-12")
    closes = bars.close[np.append(np.flatnonzero(np.diff(bars.trading_day).astype(int)), -1)]
    for change in (returns(bars), np.diff(np.log(closes))):
        centred = change - change.mean()
        assert (centred**4).mean() / (centred**2).mean() ** 2 > 3.3


def test_the_open_is_livelier_than_noon(year: History) -> None:
    frame = year.frame("au2512", "2025-08-01", "2025-12-12")
    swing = np.log(frame["high"] / frame["low"]).groupby(frame.index.strftime("%H:%M")).mean()
    assert swing["21:01":"21:10"].mean() > 1.5 * swing["11:00":"11:10"].mean()
    assert swing["09:00":"09:10"].mean() > 1.15 * swing["11:00":"11:10"].mean()


def test_nights_and_mornings_open_with_a_gap(year: History) -> None:
    """The share of the variance that falls between 15:00 and 21:00, and between 02:30 and 09:00."""
    bars = year.bars("au2512", "2025-08-01", "2025-12-12")
    gaps = np.log(bars.open[1:] / bars.close[:-1])
    pause = np.diff(bars.datetime) > np.timedelta64(5, "h")
    share = (gaps[pause] ** 2).sum() / (returns(bars) ** 2).sum()
    assert 0.03 < share < 0.3
    assert np.std(gaps[pause]) > 10 * np.std(gaps[~pause])


def test_liveliness_comes_in_spells(year: History) -> None:
    """Volatile days follow volatile days."""
    frame = year.frame("au2512")
    daily = np.log(frame["close"]).diff().pow(2).groupby(frame["trading_day"]).sum()
    assert np.log(daily).autocorr(1) > 0.4


def test_contracts_of_a_product_move_together_and_their_spread_stays_near(year: History) -> None:
    near, far = (year.frame(symbol, *SEPTEMBER)["close"] for symbol in ("au2510", "au2512"))
    spread = np.log(far / near)
    assert np.log(near).diff(5).corr(np.log(far).diff(5)) > 0.9
    assert spread.std() < 0.2 * np.log(near).std()


def test_the_most_is_traded_in_the_main_contract(year: History) -> None:
    for day, main in (("2025-08-26", "au2510"), ("2025-10-09", "au2512")):
        lots = {symbol: year.bars(symbol, day, day).volume.sum() for symbol in ("au2510", "au2512")}
        assert (
            max(lots, key=lambda symbol: lots[symbol]) == main == year.book.main_contract("au", date.fromisoformat(day))
        )


def test_ticks_and_bars_of_a_made_day_agree(history: History) -> None:
    bars = history.generate("rb2601", "2025-10-15", "2025-10-16", ticks=True)
    ticks = history.ticks("rb2601")
    assert ticks.last_price[-1] == bars.close[-1]
    assert [ticks.days(day, day).volume[-1] for day in history.tick_days("rb2601")] == [
        bars.days(day, day).volume.sum() for day in history.days("rb2601")
    ]
    assert history.write_ticks(ticks) == []
    with pytest.raises(HistoryError, match="other rows of that day already"):
        history.write_ticks(replace(ticks, volume=ticks.volume + 1))


def test_nothing_follows_a_contracts_last_day(history: History) -> None:
    series = history.generate("au2512", "2025-12-12")
    assert str(series.trading_day[-1]) == "2025-12-15"
    folder = history.folder / "au2512"
    assert same_rows(read_days(folder, history.book.get("au2512"), history.days("au2512")), series)
