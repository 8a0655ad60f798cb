"""Margin and fees as the counter charges them: asked once a trading day, by contract or product, used by the book."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from arbig.domain.fees import FeeSchedule, commission, margin
from arbig.domain.messages import Offset
from arbig.gateway.ctp.rates import FEES, MARGIN, RateBook, margin_rate_from_ctp, product_of
from arbig.gateway.port import ContractRates
from arbig.runtime.instruments import load_instruments
from arbig.runtime.settings import Settings

Offices = Callable[..., Any]
DAY = date(2025, 10, 15)
CHARGED = FeeSchedule(open_by_lot=10.01, close_by_lot=10.01, close_today_by_rate=0.00005)


def dear(truth: Any, by_product: bool = False) -> None:
    """A broker that takes more than config/instruments.yaml says."""
    truth.rates_by_product = by_product
    truth.margin_fields = {"LongMarginRatioByMoney": 0.14, "ShortMarginRatioByMoney": 0.15}
    truth.fee_fields = {
        "OpenRatioByVolume": 10.01, "CloseRatioByVolume": 10.01, "CloseTodayRatioByMoney": 0.00005,
        "CloseTodayRatioByVolume": 0.0,
    }  # fmt: skip


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


@pytest.mark.parametrize("by_product", [False, True])
def test_the_counters_rates_are_known_soon_after_the_log_in(open_office: Offices, by_product: bool) -> None:
    """A row for the whole product serves each of its contracts, and is asked for once."""

    async def story() -> None:
        async with open_office(before=partial(dear, by_product=by_product)) as office:
            office.connector.subscribe(["au2602"])
            await office.recorder.until(lambda: [one.fees for one in office.connector.rates()] == [CHARGED, CHARGED])
            assert office.connector.rates()[0] == ContractRates("au2512", 0.15, CHARGED)
            for call in ("reqQryInstrumentMarginRate", "reqQryInstrumentCommissionRate"):
                assert await office.do(lambda truth, call=call: truth.count(call)) == (1 if by_product else 2)

    play(story())


def test_a_restart_in_the_same_trading_day_asks_nothing_again_and_another_day_does(tmp_path: Path) -> None:
    path = tmp_path / "ctp" / "rates.json"
    book = RateBook(path)
    book.turn_to(DAY)
    assert book.missing(["au2512"]) == (MARGIN, "au2512")
    book.hear(MARGIN, "au2512", [{"InstrumentID": "au", "LongMarginRatioByMoney": 0.14}])
    assert book.missing(["au2512"]) == (FEES, "au2512")
    book.hear(FEES, "au2512", [])
    again = RateBook(path)
    again.turn_to(DAY)
    assert again.missing(["au2512"]) is None
    assert again.rates(["au2512"]) == (ContractRates("au2512", 0.14, None),)
    again.turn_to(date(2025, 10, 16))
    assert again.missing(["au2512"]) == (MARGIN, "au2512") and again.rates(["au2512"]) == ()


@pytest.mark.parametrize("fields", [
    {"LongMarginRatioByVolume": 5000.0}, {"IsRelative": 1}, {"LongMarginRatioByMoney": 0.0}, {},
])  # fmt: skip
def test_what_one_rate_cannot_say_is_left_to_the_file(fields: dict[str, Any]) -> None:
    row = {"LongMarginRatioByMoney": 0.14, "ShortMarginRatioByMoney": 0.0, **fields}
    assert margin_rate_from_ctp(row) == (None if fields else 0.14)
    assert margin_rate_from_ctp({"LongMarginRatioByMoney": 1.7976931348623157e308}) is None


def test_a_refused_or_unready_rate_query_stops_nothing(open_office: Offices) -> None:
    async def story() -> None:
        def before(truth: Any) -> None:
            dear(truth)
            truth.refuse["reqQryInstrumentMarginRate"].extend([90, 15])
            truth.turn_down["reqQryInstrumentCommissionRate"].append(-3)

        async with open_office(before=before) as office:
            await office.recorder.until(lambda: office.connector.rates())
            assert office.connector.rates() == (ContractRates("au2512", None, CHARGED),)
            ref = await office.send(await office.price() + 1)
            await office.recorder.until(lambda: office.recorder.statuses(ref)[-1:] == ["ALLTRADED"])

    play(story())


def test_what_the_counter_charges_wins_over_the_file(house_settings: Settings) -> None:
    book = load_instruments(house_settings)
    ours = book.get("au2512", DAY)
    book.learn("au2512", 0.15, CHARGED)
    learned = book.get("au2512.SHFE", DAY)
    assert margin(learned.margin_rate, learned.size, 900.0, 1) == pytest.approx(135_000)
    assert commission(learned.fees, learned.size, Offset.CLOSETODAY, 900.0, 1) == pytest.approx(45.0)
    assert book.get("au2602", DAY).margin_rate == ours.margin_rate and product_of("au2512") == "au"
    book.learn("au2512", None, None)
    assert book.get("au2512", DAY) == ours
