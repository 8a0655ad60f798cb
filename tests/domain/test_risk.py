"""Risk: every denial is one sentence that a trader understands; closes and cancels are never held up by our limits."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import date, datetime, time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from pydantic import TypeAdapter, ValidationError

from arbig.domain.fees import FeeSchedule
from arbig.domain.instruments import Instrument
from arbig.domain.messages import (
    SHANGHAI,
    CommandType,
    Direction,
    Exchange,
    Offset,
    OrderRequest,
    OrderType,
    TickData,
)
from arbig.domain.positions import Holding, Lots, Side
from arbig.domain.risk import COUNTER_RULES, RiskSettings, RiskView, Sent, judge, rules_from
from arbig.domain.sessions import Phase

NOW = datetime(2025, 10, 14, 9, 30, tzinfo=SHANGHAI)
RISK_YAML = Path(__file__).parents[2] / "config" / "risk.yaml"
RULES = rules_from(RiskSettings())
GOLD = Instrument(
    symbol="au2512", exchange=Exchange.SHFE, product="au", name="au2512", english_name="gold", size=1000,
    price_tick=0.02, night_close=time(2, 30), position_date_type="1", max_order_volume=500, fees=FeeSchedule(),
    margin_rate=0.14, last_trading_day=date(2025, 12, 15),
)  # fmt: skip
TICK = TickData(
    symbol="au2512", exchange=Exchange.SHFE, datetime=NOW, last_price=800.1, volume=1, open_interest=1, last_volume=1,
    open_price=800.0, high_price=801.0, low_price=799.0, pre_close=800.0, limit_up=810.0, limit_down=790.0,
    bid_price_1=800.08, bid_volume_1=10, ask_price_1=800.12, ask_volume_1=8,
)  # fmt: skip
LONG_FIVE = Holding(symbol="au2512", long=Side(today_lots=(Lots(5, 800.0, 800.0),)))


def wish(**changes: object) -> OrderRequest:
    fields = dict(
        request_id="r", strategy_name="s", symbol="au2512", exchange=Exchange.SHFE, direction=Direction.LONG,
        offset=Offset.OPEN, order_type=OrderType.LIMIT, price=800.12, volume=1, timestamp=NOW,
    )  # fmt: skip
    return OrderRequest(**(fields | changes))


def close(**changes: object) -> OrderRequest:
    return wish(**(dict(direction=Direction.SHORT, offset=Offset.CLOSETODAY, price=800.08) | changes))


def view(**changes: object) -> RiskView:
    return replace(
        RiskView(instrument=GOLD, now=100.0, phase=Phase.CONTINUOUS, tick=TICK, holding=LONG_FIVE), **changes
    )


def sentence(order: OrderRequest, look: RiskView | None = None) -> str | None:
    denial = judge(RULES, order, look or view())
    return denial and denial.sentence


def sent(at: float, **changes: object) -> Sent:
    return Sent.of(wish(**changes), at)


def test_an_ordinary_order_passes():
    assert sentence(wish()) is None
    assert sentence(close()) is None


# ---- what the counter would refuse --------------------------------------------------------------------------------


@pytest.mark.parametrize("volume", [0, -1, 501])
def test_an_order_of_no_lots_or_of_more_than_the_exchange_takes_is_denied(volume: int):
    assert sentence(wish(volume=volume)) == f"au2512: volume {volume} is outside 1-500 lots"


def test_a_price_off_the_tick_is_denied_with_its_neighbours():
    expected = "au2512: price 800.11 is not a multiple of the tick 0.02; nearest are 800.10 and 800.12"
    assert sentence(wish(price=800.11)) == expected


@pytest.mark.parametrize("price", [0.0, -800.0, float("nan"), float("inf")])
def test_a_price_that_is_no_price_is_denied(price: float):
    assert sentence(wish(price=price)) == f"au2512: price {price} is not a price above zero"


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 200_000), st.sampled_from([0.02, 0.1, 1.0, 5.0, 10.0]))
def test_every_multiple_of_the_tick_is_on_the_tick_and_the_middle_between_two_is_not(steps: int, tick: float):
    look = view(instrument=replace(GOLD, price_tick=tick), tick=None)
    rule = COUNTER_RULES[1]
    assert rule.judge(wish(price=steps * tick), look) is None
    assert rule.judge(wish(price=round(steps * tick, 2)), look) is None
    assert rule.judge(wish(price=(steps + 0.5) * tick), look).code == "PRICE_TICK"


@pytest.mark.parametrize("price", [812.3, 789.98])
def test_a_price_beyond_the_limits_is_denied_with_the_limits_and_the_last_price(price: float):
    expected = f"au2512: price {price} is outside 790.00-810.00; last price was 800.10"
    assert sentence(wish(price=price)) == expected
    assert sentence(close(price=price)) == expected


def test_the_limits_themselves_are_allowed_for_a_close():
    assert sentence(close(price=790.0)) is None
    assert sentence(close(price=810.0)) is None


def test_before_the_first_tick_of_a_day_yesterdays_limits_no_longer_hold():
    yesterday, today = date(2025, 10, 14), date(2025, 10, 15)
    stale = structs.replace(TICK, trading_day=yesterday)
    assert sentence(close(price=812.0), view(tick=stale, trading_day=today)) is None
    assert sentence(close(price=812.0), view(tick=stale, trading_day=yesterday)) is not None


@pytest.mark.parametrize(
    ("phase", "why"),
    [
        (Phase.CLOSED, "the session is closed"),
        (Phase.BREAK, "the session is in a break"),
        (Phase.AUCTION_MATCH, "the auction is being matched"),
    ],
)
def test_outside_trading_hours_nothing_is_sent(phase: Phase, why: str):
    assert sentence(wish(), view(phase=phase)) == f"au2512: {why}, no orders are taken"
    assert sentence(close(), view(phase=phase)) == f"au2512: {why}, no orders are taken"


def test_the_auction_takes_limit_orders_only():
    auction = view(phase=Phase.AUCTION_ORDER)
    assert sentence(wish(), auction) is None
    expected = "au2512: FAK orders are not taken in the auction, only LIMIT"
    assert sentence(wish(order_type=OrderType.FAK), auction) == expected


def test_a_close_larger_than_the_holding_is_denied_in_words():
    expected = "au2512: CLOSETODAY of 6 lots, 5 available; long position 5 (5 of today, 0 of yesterday)"
    assert sentence(close(volume=6)) == expected


def test_a_close_of_lots_promised_to_another_close_is_denied():
    holding = LONG_FIVE.freeze(Direction.SHORT, Offset.CLOSETODAY, 3)
    assert sentence(close(volume=2), view(holding=holding)) is None
    assert "2 available" in (sentence(close(volume=3), view(holding=holding)) or "")


# ---- limits of the house ------------------------------------------------------------------------------------------


def test_an_order_of_too_many_lots_is_denied():
    expected = "au2512: 11 lots in one order, at most 10 allowed; send fewer (order_size.max_lots in risk.yaml)"
    assert sentence(wish(volume=11)) == expected


def test_an_order_worth_too_much_is_denied():
    expected = "au2512: order value 3,200,480 yuan, at most 3,000,000 allowed; send fewer lots"
    assert (sentence(wish(volume=4)) or "").startswith(expected)


def test_a_price_far_from_the_last_is_denied():
    expected = "au2512: price 808.12 is outside 792.10-808.10 (1 % around the last price); last price was 800.10; bring"
    assert (sentence(wish(price=808.12)) or "").startswith(expected)


def test_prices_are_written_with_the_decimals_of_their_tick():
    tick = structs.replace(TICK, last_price=3200.0, limit_up=3300.0, limit_down=3100.0)
    rebar = view(instrument=replace(GOLD, price_tick=1.0, size=10), tick=tick)
    assert sentence(wish(price=3301.0), rebar) == "au2512: price 3301 is outside 3100-3300; last price was 3200"


def test_a_triggered_stop_sent_at_the_limit_is_judged_at_the_price_it_would_trade_at():
    assert "1 %" in (sentence(wish(price=810.0)) or "")
    assert sentence(wish(price=810.0, cause="stop:s.1")) is None
    assert sentence(wish(price=790.0, direction=Direction.SHORT, cause="stop:s.1")) is None


def test_a_stop_whose_market_has_run_away_is_denied():
    gone = structs.replace(TICK, ask_price_1=809.0)
    assert sentence(wish(price=810.0, cause="stop:s.1"), view(tick=gone)) is not None


def test_the_fourth_order_within_a_second_is_denied_and_a_second_later_it_passes():
    look = view(sent=[sent(99.2, price=800.0 + n) for n in range(3)])
    assert (sentence(wish(), look) or "").startswith("au2512: 3 orders in the last second, no more are allowed; wait")
    assert sentence(wish(), replace(look, now=100.2)) is None


def test_the_sixty_first_order_within_a_minute_is_denied():
    look = view(sent=[sent(41.0 + n / 2, price=800.0 + n) for n in range(60)], now=100.9)
    expected = (
        "au2512: 60 orders in the last minute, no more are allowed; wait a minute (order_rate.per_minute in risk.yaml)"
    )
    assert sentence(wish(), look) == expected


def test_a_fourth_equal_order_within_a_second_is_denied():
    rules = rules_from(replace(RiskSettings(), order_rate=None))
    look = view(sent=[sent(99.5)] * 3)
    assert judge(rules, wish(), look).sentence.startswith("au2512: 3 equal orders within 1 s, no more are allowed; ")
    assert judge(rules, wish(price=800.1), look) is None


def test_too_many_working_orders_hold_up_the_next():
    expected = "au2512: 50 orders are working, at most 50 allowed; cancel some"
    assert (sentence(wish(), view(working_orders=50)) or "").startswith(expected)


def test_no_limit_of_the_house_stands_in_the_way_of_a_close():
    holding = Holding(symbol="au2512", long=Side(today_lots=(Lots(100, 800.0, 800.0),)))
    crowded = view(holding=holding, working_orders=99, sent=[Sent.of(close(volume=100, price=790.0), 100.0)] * 99)
    assert sentence(close(volume=100, price=790.0), crowded) is None


def test_a_cancel_is_never_judged():
    cancel = wish(cmd_type=CommandType.CANCEL_ORDER, volume=0, price=-1.0)
    assert sentence(cancel, view(phase=Phase.CLOSED, working_orders=99)) is None


def test_without_a_tick_only_what_needs_no_price_is_judged():
    assert sentence(wish(price=9999.0, volume=1), replace(view(), tick=None, instrument=replace(GOLD, size=1))) is None


# ---- settings -----------------------------------------------------------------------------------------------------


def load(text: str) -> RiskSettings:
    return TypeAdapter(RiskSettings).validate_python(yaml.safe_load(text) or {})


def test_the_file_in_the_config_folder_says_the_defaults():
    assert load(RISK_YAML.read_text(encoding="utf-8")) == load("") == RiskSettings()


def test_null_switches_a_rule_of_the_house_off_and_the_counters_rules_stay():
    off = "\n".join(f"{section.name}: null" for section in fields(RiskSettings))
    assert rules_from(load(off)) == COUNTER_RULES


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("order_rate: {per_second: three}", ("order_rate", "per_second")),
        ("order_rate: {per_secnd: 3}", ("order_rate", "per_secnd")),
        ("order_rate: {per_second: 0}", ("order_rate", "per_second")),
        ("orderrate: {per_second: 3}", ("orderrate",)),
        ("price_band: {percent: -1}", ("price_band", "percent")),
    ],
)
def test_a_bad_setting_is_found_by_name(text: str, where: tuple):
    with pytest.raises(ValidationError) as found:
        load(text)
    assert found.value.errors()[0]["loc"] == where
