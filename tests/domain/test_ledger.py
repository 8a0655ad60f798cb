"""Ledger: the counter's arithmetic, by date and by trade, through fills, settlements and nights."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from arbig.domain.fees import FeeSchedule
from arbig.domain.instruments import Instrument
from arbig.domain.ledger import Account, side_margin
from arbig.domain.messages import SHANGHAI, Direction, Exchange, Offset, TradeData
from arbig.domain.positions import NotEnough, NotHeld, plan_offsets

NOON = datetime(2025, 10, 14, 11, 0, tzinfo=SHANGHAI)
DAY = date(2025, 10, 14)
LONG, SHORT = Direction.LONG, Direction.SHORT
OPEN, CLOSE, CLOSETODAY, CLOSEYESTERDAY = Offset.OPEN, Offset.CLOSE, Offset.CLOSETODAY, Offset.CLOSEYESTERDAY


def instrument(symbol: str = "au2512", kind: str = "1", **changes: object) -> Instrument:
    fields = dict(
        symbol=symbol, exchange=Exchange.SHFE, product=symbol[:2], name=symbol, english_name=symbol, size=1000,
        price_tick=0.02, night_close=time(2, 30), position_date_type=kind, max_order_volume=500,
        fees=FeeSchedule(open_by_lot=10, close_by_lot=10), margin_rate=0.1, last_trading_day=date(2025, 12, 15),
    )  # fmt: skip
    return Instrument(**(fields | changes))


GOLD = instrument()
BOOK = {"au2512": GOLD, "au2602": instrument("au2602"), "rb2601": instrument("rb2601", size=10, margin_rate=0.16)}


def trade(direction: Direction, offset: Offset, volume: int, price: float, symbol: str = "au2512") -> TradeData:
    return TradeData(
        trade_id="1", order_id="1", symbol=symbol, exchange=Exchange.SHFE, direction=direction, offset=offset,
        price=price, volume=volume, datetime=NOON, strategy_name="s",
    )  # fmt: skip


def account(balance: float = 1_000_000.0, **changes: object) -> Account:
    return Account(account_id="sim", trading_day=DAY, pre_balance=balance, **changes)


def traded(start: Account, *trades: TradeData) -> Account:
    for each in trades:
        start = start.after(each, BOOK[each.symbol])
    return start


def overnight(price: float = 645.0) -> Account:
    """Two lots bought at 640 yesterday, settled at `price`; the account has 1,000,000 this morning."""
    held = traded(account(), trade(LONG, OPEN, 2, 640.0)).settled(BOOK, {"au2512": price}, DAY + timedelta(days=1))
    assert held.pre_balance == pytest.approx(1_000_000 + (price - 640) * 2000 - 20)
    return held


# ---- one day ------------------------------------------------------------------------------------------------------


def test_an_open_position_floats_with_the_price_and_holds_margin_at_its_opening_price():
    worth = traded(account(), trade(LONG, OPEN, 2, 650.0)).worth(BOOK, {"au2512": 651.0})
    assert (worth.position_profit, worth.commission, worth.margin) == (2000.0, 20.0, pytest.approx(130_000))
    assert worth.balance == pytest.approx(1_000_000 + 2000 - 20)
    assert worth.available == pytest.approx(worth.balance - 130_000)


def test_closing_todays_lots_realises_the_difference_to_their_opening_price():
    done = traded(account(), trade(SHORT, OPEN, 2, 650.0), trade(LONG, CLOSETODAY, 2, 647.0))
    worth = done.worth(BOOK, {"au2512": 700.0})
    assert (worth.close_profit, worth.close_profit_by_trade, worth.position_profit, worth.margin) == (6000, 6000, 0, 0)
    assert worth.balance == pytest.approx(1_000_000 + 6000 - 20)


def test_a_contract_without_a_price_yet_stays_at_its_mark():
    assert overnight().worth(BOOK, {}).position_profit == 0.0


def test_working_orders_freeze_margin_and_fees_that_a_fill_turns_into_margin():
    order = SimpleNamespace(symbol="au2512", direction=LONG, offset=OPEN, price=650.0, working=2)
    worth = account().worth(BOOK, {}, [order])
    assert (worth.frozen_margin, worth.frozen_commission) == (pytest.approx(130_000), 20)
    assert worth.available == pytest.approx(1_000_000 - 130_000 - 20)
    filled = traded(account(), trade(LONG, OPEN, 2, 650.0)).worth(BOOK, {"au2512": 650.0})
    assert filled.available == pytest.approx(worth.available)


def test_only_the_larger_side_of_gold_is_held_across_its_months():
    both = [trade(LONG, OPEN, 2, 650.0), trade(SHORT, OPEN, 1, 652.0, "au2602"), trade(LONG, OPEN, 1, 3200.0, "rb2601")]
    assert traded(account(), *both).worth(BOOK, {}).margin == pytest.approx(130_000 + 5_120)
    assert traded(account(larger_side=False), *both).worth(BOOK, {}).margin == pytest.approx(130_000 + 65_200 + 5_120)


def test_an_opening_order_on_the_smaller_side_freezes_nothing_until_it_is_the_larger():
    held = traded(account(), trade(LONG, OPEN, 2, 650.0))
    hedge = SimpleNamespace(symbol="au2602", direction=SHORT, offset=OPEN, price=650.0, working=3)
    assert held.worth(BOOK, {}, [hedge]).frozen_margin == pytest.approx(65_000)


def test_a_close_of_more_than_is_held_changes_nothing():
    with pytest.raises(NotHeld):
        overnight().after(trade(SHORT, CLOSETODAY, 1, 650.0), GOLD)


# ---- across days --------------------------------------------------------------------------------------------------


def test_yesterdays_lots_count_from_settlement_by_date_and_from_what_was_paid_by_trade():
    worth = traded(overnight(645.0), trade(SHORT, CLOSE, 1, 650.0)).worth(BOOK, {"au2512": 652.0})
    assert (worth.close_profit, worth.close_profit_by_trade) == (5000, 10_000)
    assert (worth.position_profit, worth.position_profit_by_trade) == (7000, 12_000)


def test_yesterdays_lots_hold_margin_at_the_settlement_price():
    held = overnight(645.0)
    assert side_margin(held.holdings["au2512"], LONG, GOLD) == pytest.approx(129_000)


def test_settlement_takes_the_days_profit_into_the_balance_and_begins_anew():
    held = overnight(645.0)
    assert (held.trading_day, held.commission, held.close_profit) == (DAY + timedelta(days=1), 0, 0)
    assert held.worth(BOOK, {"au2512": 645.0}).balance == pytest.approx(held.pre_balance)


def test_settlement_forgets_contracts_that_are_no_longer_held():
    flat = traded(account(), trade(LONG, OPEN, 1, 650.0), trade(SHORT, CLOSETODAY, 1, 650.0))
    assert flat.settled(BOOK, {}, DAY + timedelta(days=1)).holdings == {}


def test_settlement_without_a_price_for_a_held_contract_is_refused():
    with pytest.raises(ValueError, match="settlement of 2025-10-14: no settlement price for au2512"):
        traded(account(), trade(LONG, OPEN, 1, 650.0)).settled(BOOK, {}, DAY + timedelta(days=1))


def test_where_the_days_are_one_a_close_pays_for_every_lot_by_its_age():
    fees = FeeSchedule(close_by_lot=10, close_today_by_lot=3)
    copper = instrument("au2512", kind="2", fees=fees)
    held = account().after(trade(LONG, OPEN, 2, 650.0), copper).settled({"au2512": copper}, {"au2512": 650.0}, DAY)
    day = held.after(trade(LONG, OPEN, 1, 650.0), copper).after(trade(SHORT, CLOSE, 3, 650.0), copper)
    assert day.commission == 23


# ---- any order of fills, any course of days -----------------------------------------------------------------------

prices = st.integers(30_000, 35_000).map(lambda ticks: ticks * 0.02)
opens = st.tuples(st.sampled_from(Direction), st.integers(1, 4), prices)


@settings(max_examples=100, deadline=None)
@given(st.lists(opens, min_size=1, max_size=6), st.data(), prices)
def test_profit_does_not_depend_on_the_order_of_the_fills(bought: list, data: st.DataObject, last: float):
    trades = [trade(direction, OPEN, volume, price) for direction, volume, price in bought]
    for direction in Direction:
        held = sum(volume for side, volume, _ in bought if side is direction)
        lots = data.draw(st.integers(0, held))
        if lots:
            trades.append(trade(direction.opposite, CLOSETODAY, lots, data.draw(prices)))
    closes = [each for each in trades if each.offset is not OPEN]
    shuffled = data.draw(st.permutations([each for each in trades if each.offset is OPEN])) + closes[::-1]
    one = traded(account(), *trades).worth(BOOK, {"au2512": last})
    other = traded(account(), *shuffled).worth(BOOK, {"au2512": last})
    assert one.balance == pytest.approx(other.balance, abs=1e-6)
    assert one.close_profit + one.position_profit == pytest.approx(other.close_profit + other.position_profit, abs=1e-6)


class AccountMachine(RuleBasedStateMachine):
    """Trades and settlements in any order, against an account that only counts cash and net lots."""

    @initialize(kind=st.sampled_from("12"))
    def begin(self, kind: str) -> None:
        self.gold = instrument(kind=kind, fees=FeeSchedule())
        self.book = {"au2512": self.gold}
        self.account = account()
        self.last = 650.0
        self.cash = 1_000_000.0
        self.net = 0
        self.by_date = self.by_trade = 0.0

    def fill(self, direction: Direction, offset: Offset, volume: int) -> None:
        self.account = self.account.after(trade(direction, offset, volume, self.last), self.gold)
        self.cash -= direction.sign * volume * self.last * 1000
        self.net += direction.sign * volume

    @rule(price=prices)
    def the_price_moves(self, price: float) -> None:
        self.last = price

    @rule(direction=st.sampled_from(Direction), volume=st.integers(1, 4))
    def opens(self, direction: Direction, volume: int) -> None:
        self.fill(direction, OPEN, volume)

    @precondition(lambda self: self.account.holdings)
    @rule(direction=st.sampled_from(Direction), volume=st.integers(1, 5))
    def closes(self, direction: Direction, volume: int) -> None:
        plan = plan_offsets(self.account.holding(self.gold), self.gold, direction, volume)
        for offset, lots in () if isinstance(plan, NotEnough) else plan:
            self.fill(direction, offset, lots)

    @rule(price=prices)
    def the_day_is_settled(self, price: float) -> None:
        worth = self.account.worth(self.book, {"au2512": price})
        self.by_date += worth.close_profit + worth.position_profit
        self.by_trade += worth.close_profit_by_trade
        self.last = price
        self.account = self.account.settled(self.book, {"au2512": price}, self.account.trading_day + timedelta(days=1))

    @invariant()
    def money_is_conserved(self) -> None:
        worth = self.account.worth(self.book, {"au2512": self.last})
        assert worth.balance == pytest.approx(self.cash + self.net * self.last * 1000, abs=1e-3)
        by_date = self.by_date + worth.close_profit + worth.position_profit
        by_trade = self.by_trade + worth.close_profit_by_trade + worth.position_profit_by_trade
        assert by_date == pytest.approx(by_trade, abs=1e-3)

    @invariant()
    def lots_are_never_negative(self) -> None:
        holding = self.account.holding(self.gold)
        assert holding.net == self.net
        assert all(lots.volume > 0 for lots in holding.long.lots + holding.short.lots)


TestAccount = AccountMachine.TestCase
TestAccount.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
