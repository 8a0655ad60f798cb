"""Instruments: every SHFE and INE contract, by its symbol and its day."""

from __future__ import annotations

from datetime import date, time
from pathlib import Path

import pytest

from arbig.domain.instruments import InstrumentBook, UnknownSymbol
from arbig.domain.messages import Exchange
from arbig.runtime.files import SettingsError
from arbig.runtime.instruments import load_instruments
from arbig.runtime.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
SHFE = [
    "au",
    "ag",
    "cu",
    "al",
    "zn",
    "pb",
    "ni",
    "sn",
    "ss",
    "ao",
    "ad",
    "rb",
    "hc",
    "wr",
    "bu",
    "ru",
    "br",
    "fu",
    "sp",
    "op",
]
INE = ["sc", "lu", "nr", "bc", "ec"]


def settings_with(folder: Path, **files: str) -> Settings:
    config = folder / "config"
    config.mkdir()
    for name in ("arbig.yaml", "redis_config.yaml", "instruments.yaml", "holidays.yaml"):
        (config / name).write_text(
            files.get(name.partition(".")[0], (ROOT / "config" / name).read_text("utf-8")), "utf-8"
        )
    return load_settings(root=folder, config=config, data=folder / "data")


@pytest.fixture(scope="module")
def book() -> InstrumentBook:
    return load_instruments(load_settings(root=ROOT, config=ROOT / "config", data=ROOT / "data"))


def test_every_product_of_both_exchanges_is_there(book: InstrumentBook) -> None:
    assert sorted(book.products) == sorted(SHFE + INE)
    for product in book.products:
        contract = book.get(book.main_contract(product, date(2025, 10, 15)))
        assert contract.exchange is (Exchange.INE if product in INE else Exchange.SHFE)
        assert contract.splits_today
        assert contract.name and contract.english_name


def test_gold_december_2025(book: InstrumentBook) -> None:
    gold = book.get("au2512")
    assert (gold.vt_symbol, gold.size, gold.price_tick, gold.night_close) == ("au2512.SHFE", 1000, 0.02, time(2, 30))
    assert gold.last_trading_day == date(2025, 12, 15)
    assert book.get("au2512.SHFE") is gold


@pytest.mark.parametrize(
    ("symbol", "last_day"),
    [
        ("au2602", date(2026, 2, 24)),  # 15 February 2026 is a Sunday, then Spring Festival until the 23rd
        ("rb2511", date(2025, 11, 17)),  # a Saturday
        ("sc2511", date(2025, 10, 31)),
        ("fu2602", date(2026, 1, 30)),
        ("ec2512", date(2025, 12, 29)),
    ],
)
def test_the_last_trading_day_is_postponed_by_holidays(book: InstrumentBook, symbol: str, last_day: date) -> None:
    assert book.get(symbol).last_trading_day == last_day


def test_gold_lists_three_months_and_the_even_ones_within_thirteen(book: InstrumentBook) -> None:
    expected = "au2510 au2511 au2512 au2602 au2604 au2606 au2608 au2610"
    assert book.contracts("au", date(2025, 10, 9)) == tuple(expected.split())
    assert book.is_listed("au2510", date(2025, 10, 15))
    assert not book.is_listed("au2510", date(2025, 10, 16))
    assert not book.is_listed("au2603", date(2025, 10, 9))


def test_the_main_contract_moves_on_before_delivery(book: InstrumentBook) -> None:
    assert {book.main_contract("au", date(2025, month, 15)) for month in (10, 11)} == {"au2512"}
    assert book.main_contract("au", date(2025, 12, 1)) == "au2602"
    assert book.main_contract("rb", date(2025, 10, 15)) == "rb2601"


def test_the_row_of_the_day_counts(book: InstrumentBook) -> None:
    assert book.get("rb1605", date(2015, 12, 1)).night_close == time(1, 0)
    assert book.get("rb1610", date(2016, 6, 1)).night_close == time(23, 0)
    assert book.get("au1312", date(2013, 1, 4)).night_close is None
    with pytest.raises(UnknownSymbol, match="op: not listed on 2025-01-02"):
        book.get("op2601", date(2025, 1, 2))


@pytest.mark.parametrize(
    ("symbol", "line"),
    [
        ("AU2512", "did you mean au2512?"),
        ("agg2512", "did you mean ag2512?"),
        ("au2513", "expected a product and its delivery month"),
        ("ru2512", "ru has no delivery in month 12"),
        ("au2512.INE", "au2512 trades on SHFE, not on INE"),
        ("", "expected a product and its delivery month"),
        ("qqqq2512", "products: au ag cu"),
    ],
)
def test_an_unknown_symbol_is_refused_with_the_nearest_name(book: InstrumentBook, symbol: str, line: str) -> None:
    with pytest.raises(UnknownSymbol) as refused:
        book.get(symbol)
    assert line in str(refused.value) and "\n" not in str(refused.value)


ROW = """
products:
  au:
    exchange: SHFE
    name: 黄金
    english_name: Gold
    rows:
      - {from: 2008-01-09, size: 1000, price_tick: 0.02, night_close: "02:30", position_date_type: "1",
         max_order_volume: 500, margin_rate: 0.14, fees: {by_lot: 10}}
"""


@pytest.mark.parametrize(
    ("found", "written", "line"),
    [
        ("size: 1000", "size: many", "instruments.yaml: products.au.rows.0.size: found 'many', expected a number"),
        ("margin_rate: 0.14, ", "", "products.au.rows.0.margin_rate: missing"),
        ("exchange: SHFE", "exchange: DCE", "products.au.exchange: found 'DCE', expected one of 'SHFE' or 'INE'"),
        ("by_lot: 10", "per_lot: 10", "products.au.rows.0.fees.per_lot: unknown key"),
        ("  au:", "  AU:", "found product 'AU', expected lower-case letters"),
    ],
)
def test_a_bad_instruments_file_is_one_clear_line(tmp_path: Path, found: str, written: str, line: str) -> None:
    settings = settings_with(tmp_path, instruments=ROW.replace(found, written))
    with pytest.raises(SettingsError) as refused:
        load_instruments(settings)
    assert line in str(refused.value) and "\n" not in str(refused.value)


def test_a_year_in_holidays_yaml_lengthens_the_calendar(tmp_path: Path) -> None:
    from arbig.runtime.calendar import load_calendar

    text = "years: {2027: [2027-01-01, 2027-02-05..2027-02-12]}\nno_night: [2020-02-03..2020-05-06]"
    calendar = load_calendar(settings_with(tmp_path, holidays=text))
    assert calendar.next_day(date(2026, 12, 31)) == date(2027, 1, 4)
    assert calendar.next_day(date(2027, 2, 4)) == date(2027, 2, 15)
    assert not calendar.has_night(date(2027, 2, 15))
    assert not calendar.has_night(date(2020, 4, 1))
    assert calendar.has_night(date(2020, 5, 7))


def test_a_bad_holidays_file_is_one_clear_line(tmp_path: Path) -> None:
    from arbig.runtime.calendar import load_calendar

    settings = settings_with(tmp_path, holidays="no_night: [2020-02-03..soon]")
    with pytest.raises(SettingsError, match=r"holidays.yaml: no_night: found '2020-02-03..soon', expected a date"):
        load_calendar(settings)
