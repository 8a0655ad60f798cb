"""Messages: the specification's own JSON goes in and comes out to the letter."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbig.domain import messages
from arbig.domain.messages import (
    SHANGHAI,
    BarData,
    Direction,
    Exchange,
    MessageError,
    Offset,
    OrderData,
    Status,
    TickData,
    TradeData,
    child_request_id,
    decode,
    encode,
    request_id_of,
)

EXAMPLES = json.loads(Path(__file__).with_name("specification_messages.json").read_text("utf-8"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_specification_s_example_survives_the_house_to_the_letter(name: str) -> None:
    """Same keys, same order, same values, nothing added."""
    kind = getattr(messages, name)
    written = json.loads(encode(decode(kind, json.dumps(EXAMPLES[name]))))
    assert list(EXAMPLES[name].items()) == list(written.items())


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_missing_key_is_named(name: str) -> None:
    """Whoever wrote the message learns which field is missing."""
    kind = getattr(messages, name)
    broken = dict(EXAMPLES[name])
    broken.pop("symbol")
    with pytest.raises(MessageError, match=f"not a {name}.*symbol"):
        decode(kind, json.dumps(broken))


def test_time_inside_the_house_is_aware_and_shanghai() -> None:
    """The wire's naive string means Shanghai."""
    tick = decode(TickData, json.dumps(EXAMPLES["TickData"]))
    assert datetime(2025, 12, 23, 13, 0, 1, 500000, tzinfo=UTC) == tick.datetime
    assert tick.datetime.tzinfo is SHANGHAI


def test_unknown_optional_keys_are_ignored_and_another_schema_is_refused() -> None:
    """A newer neighbour may say more; one that means something else is not listened to."""
    assert decode(BarData, json.dumps(EXAMPLES["BarData"] | {"mood": "calm", "v": 1})).v == 1
    with pytest.raises(MessageError, match="schema v=2"):
        decode(BarData, json.dumps(EXAMPLES["BarData"] | {"v": 2}))


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"symbol": 1}', b"x" * 10_000])
def test_garbage_is_refused_in_one_line(garbage: bytes) -> None:
    """One line, whatever came."""
    with pytest.raises(MessageError) as caught:
        decode(TickData, garbage)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@given(
    moment=st.datetimes(min_value=datetime(2015, 1, 1), max_value=datetime(2030, 1, 1)),
    price=st.floats(min_value=0.01, max_value=1e6, allow_nan=False),
    volume=st.integers(min_value=1, max_value=10**6),
    direction=st.sampled_from(Direction),
    offset=st.sampled_from(Offset),
)
def test_a_trade_read_back_is_the_trade_written(moment, price, volume, direction, offset) -> None:
    """Prices to the last digit, times to the millisecond."""
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=SHANGHAI)
    trade = TradeData(
        trade_id="1",
        order_id="2",
        symbol="au2512",
        exchange=Exchange.SHFE,
        direction=direction,
        offset=offset,
        price=price,
        volume=volume,
        datetime=moment,
        strategy_name="s",
        trading_day=date(2025, 12, 24),
    )
    assert trade == decode(TradeData, encode(trade))


def test_a_signal_has_one_identity_for_ever() -> None:
    """A redelivered signal is the same request; another run or number is another."""
    first = request_id_of("MaRsiStrategy", "run-1", 7)
    assert first == request_id_of("MaRsiStrategy", "run-1", 7)
    assert len({first, request_id_of("MaRsiStrategy", "run-1", 8), request_id_of("MaRsiStrategy", "run-2", 7)}) == 3
    assert child_request_id(first, Offset.CLOSETODAY) not in (first, child_request_id(first, Offset.CLOSEYESTERDAY))


def test_an_order_is_known_to_its_strategy_by_the_id_that_buy_returned() -> None:
    """The second leg of a split close answers to the first request's name."""
    order = decode(OrderData, json.dumps(EXAMPLES["OrderData"] | {"request_id": "leg-2", "parent_id": "wish"}))
    assert order.vt_orderid == "wish"
    assert not order.is_active()
    assert Status.PARTTRADED.is_active


def test_the_same_trade_id_on_another_day_is_another_trade() -> None:
    """Trade ids are unique only per account, day, exchange and side."""
    trade = decode(TradeData, json.dumps(EXAMPLES["TradeData"] | {"trading_day": "2025-12-24"}))
    later = decode(TradeData, json.dumps(EXAMPLES["TradeData"] | {"trading_day": "2025-12-25"}))
    assert trade.key != later.key
    assert later.datetime - trade.datetime == timedelta(0)
