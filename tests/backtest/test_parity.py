"""The difference of two sessions is split without a rest: each yuan has one cause."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from arbig.backtest.parity import Bucket, Cause, Fill, Order, Pair, executed, in_cents, match, split, total, worth
from arbig.backtest.series import TickSeries
from arbig.domain.messages import SHANGHAI, Direction, Exchange, Offset, Status, TickData

NINE = datetime(2025, 10, 15, 9, 0, tzinfo=SHANGHAI)
SIZES, MARKS = {"au2512": 1000.0, "rb2601": 10.0}, {"au2512": 850.02, "rb2601": 3070.0}


def quote(symbol: str, moment: datetime, direction: Direction) -> float | None:
    """A market that rises by a tick a second, and of which nothing is known in the first ten."""
    seconds = (moment - NINE).total_seconds()
    return None if seconds < 10 else round(MARKS[symbol] + 0.02 * int(seconds), 2)


@st.composite
def orders(draw: st.DrawFn) -> Order:
    symbol = draw(st.sampled_from(sorted(SIZES)))
    sent = NINE + timedelta(milliseconds=draw(st.integers(0, 120_000)))
    volumes = draw(st.lists(st.integers(1, 4), max_size=3))
    prices = [round(MARKS[symbol] + 0.02 * draw(st.integers(-200, 200)), 2) for _ in volumes]
    fees = [draw(st.integers(0, 10_000)) / 100 for _ in volumes]
    delays = sorted(draw(st.integers(0, 60_000)) for _ in volumes)
    fills = zip(delays, prices, volumes, fees, strict=True)
    return Order(
        order_id=str(draw(st.integers(0, 10**9))),
        symbol=symbol,
        direction=draw(st.sampled_from(Direction)),
        offset=draw(st.sampled_from(Offset)),
        price=MARKS[symbol],
        volume=sum(volumes) + draw(st.integers(0, 2)) or 1,
        sent=sent,
        status=Status.ALLTRADED,
        fills=tuple(Fill(sent + timedelta(milliseconds=late), *rest) for late, *rest in fills),
        cause=draw(st.none() | st.builds(Cause, st.sampled_from(["bar", "tick"]), st.just(sent.replace(second=0)))),
        by_hand=draw(st.integers(0, 9)) == 0,
    )


sessions = st.lists(orders(), max_size=8, unique_by=lambda order: order.order_id)


@given(live=sessions, replay=sessions, modelled=st.booleans())
@settings(max_examples=150, deadline=None)
def test_the_causes_sum_to_the_difference_to_the_last_digit(
    live: list[Order], replay: list[Order], modelled: bool
) -> None:
    expected = {order.order_id: order.fills[::-1] for order in [*live[::2], *replay]} if modelled else None
    pairs = match(live, replay)
    found = total(split(pairs, SIZES, MARKS, quote, expected))
    difference = worth(live, SIZES, MARKS) - worth(replay, SIZES, MARKS)
    assert sum(found.values()) == difference
    rounded = in_cents(found)
    assert sum(rounded.values()) == Fraction(round(difference * 100), 100)
    assert all(abs(rounded[bucket] - found[bucket]) < Fraction(1, 100) for bucket in Bucket)


@given(live=sessions, replay=sessions)
@settings(max_examples=100, deadline=None)
def test_every_order_is_in_exactly_one_pair(live: list[Order], replay: list[Order]) -> None:
    pairs = match(live, replay)
    assert sorted(id(pair.live) for pair in pairs if pair.live) == sorted(map(id, live))
    assert sorted(id(pair.replay) for pair in pairs if pair.replay) == sorted(map(id, replay))
    for one, other in pairs:
        if one is not None and other is not None:
            assert (one.symbol, one.direction, one.is_opening) == (other.symbol, other.direction, other.is_opening)
            assert not one.by_hand


@given(session=sessions)
@settings(max_examples=100, deadline=None)
def test_a_session_against_itself_is_zero(session: list[Order]) -> None:
    own = [order for order in session if not order.by_hand]
    rows = split(match(own, own), SIZES, MARKS, quote)
    assert all(row.pair.live is not None and row.pair.replay is not None for row in rows)
    assert not any(total(rows).values())


def _order(name: str, direction: Direction, offset: Offset, second: float, *fills: tuple[float, int]) -> Order:
    sent = NINE + timedelta(seconds=second)
    return Order(
        order_id=name,
        symbol="au2512",
        direction=direction,
        offset=offset,
        price=850.0,
        volume=2,
        sent=sent,
        status=Status.ALLTRADED,
        fills=tuple(Fill(sent, price, volume) for price, volume in fills),
    )


def _amounts(live: Sequence[Order], replay: Sequence[Order]) -> dict[str, float]:
    found = total(split(match(live, replay), SIZES, MARKS, quote))
    return {str(bucket): float(amount) for bucket, amount in found.items() if amount}


def test_what_was_not_filled_keeps_its_cause_until_the_sides_are_together_again() -> None:
    """One lot fewer bought, so one lot fewer sold: what that lot would have earned is owed to the fill, not to a signal
    of the close."""
    buy, sell = Direction.LONG, Direction.SHORT
    live = [_order("1", buy, Offset.OPEN, 20, (850.0, 1)), _order("2", sell, Offset.CLOSETODAY, 60, (851.0, 1))]
    replay = [_order("a", buy, Offset.OPEN, 20, (850.0, 2)), _order("b", sell, Offset.CLOSETODAY, 60, (851.0, 2))]
    assert _amounts(live, replay) == {"price": -1000.0}


def test_a_fill_before_any_price_is_known_is_the_residual() -> None:
    buy = Direction.LONG
    assert _amounts(
        [_order("1", buy, Offset.OPEN, 90, (850.0, 1))], [_order("a", buy, Offset.OPEN, 3, (849.0, 1))]
    ) == {"residual": -1000.0}


def test_the_same_bar_makes_the_same_order_however_late_it_came() -> None:
    cause = Cause("bar", NINE)
    early, late = (
        _order(name, Direction.LONG, Offset.OPEN, second, (850.0, 1)) for name, second in (("a", 60), ("1", 900))
    )
    other = _order("b", Direction.LONG, Offset.OPEN, 890, (850.0, 1))
    tagged = [Order(**{**vars(order), "cause": cause}) for order in (late, early)]
    elsewhere = Order(**{**vars(other), "cause": Cause("bar", NINE + timedelta(minutes=14))})
    assert match([tagged[0]], [tagged[1], elsewhere]) == [Pair(tagged[0], tagged[1]), Pair(None, elsewhere)]


def test_what_an_order_would_have_had_in_the_market_it_came_to() -> None:
    """Two lots stand at 850.00, then three at 850.02: an order of four takes the two, rests, and takes two at its own
    price; an order that comes with it finds nothing left at first."""
    ticks = TickSeries.from_ticks([_tick(0, 850.0, 2), _tick(1, 850.02, 3), _tick(2, 850.04, 9)])
    orders = [
        Order("1", "au2512", Direction.LONG, Offset.OPEN, 850.04, 4, NINE, Status.ALLTRADED, arrived=NINE),
        Order("2", "au2512", Direction.LONG, Offset.OPEN, 850.02, 1, NINE, Status.ALLTRADED, arrived=NINE),
    ]
    second = NINE + timedelta(seconds=1)
    assert executed(orders, ticks) == {
        "1": (Fill(NINE, 850.0, 2), Fill(second, 850.04, 2)),
        "2": (Fill(second, 850.02, 1),),
    }


def _tick(second: int, ask: float, volume: int) -> TickData:
    return TickData(
        symbol="au2512",
        exchange=Exchange.SHFE,
        datetime=NINE + timedelta(seconds=second),
        last_price=ask,
        volume=second,
        open_interest=0,
        last_volume=0,
        open_price=ask,
        high_price=ask,
        low_price=ask,
        pre_close=ask,
        limit_up=1000.0,
        limit_down=700.0,
        bid_price_1=ask - 0.04,
        bid_volume_1=1,
        ask_price_1=ask,
        ask_volume_1=volume,
        trading_day=NINE.date(),
    )
