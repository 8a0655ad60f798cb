"""The journal: whatever comes, in whatever order, however often, with a death in between, the end is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbig.domain.counter import CancelRejected, InsertRejected, OrderReport, TradeReport
from arbig.domain.messages import (
    SHANGHAI,
    CommandData,
    CommandType,
    Detail,
    Direction,
    EventData,
    EventType,
    Exchange,
    Offset,
    OrderData,
    OrderType,
    PositionData,
    Status,
    TradeData,
    decode,
)
from arbig.store import journal as store_journal
from arbig.store.journal import Journal, Kind, memo_of
from arbig.store.sqlite import StoreError

NOW = datetime(2025, 10, 14, 21, 5, tzinfo=SHANGHAI)
DAY = date(2025, 10, 15)


def command(request_id: str, volume: int = 3, kind: CommandType = CommandType.SEND_ORDER, **more: Any) -> CommandData:
    return CommandData(
        cmd_type=kind,
        request_id=request_id,
        symbol="au2512",
        exchange=Exchange.SHFE,
        direction=Direction.LONG,
        offset=Offset.OPEN,
        order_type=OrderType.LIMIT,
        price=838.0,
        volume=volume,
        timestamp=NOW,
        strategy_name="MaRsiStrategy",
        **more,
    )


def report(
    ref: int, request_id: str, status: Status, traded: int = 0, sys_id: str = "", flow: int = 1, trading_day: date = DAY
) -> OrderReport:
    return OrderReport(
        flow=flow,
        order_ref=ref,
        memo=memo_of(request_id, "MaRsiStrategy"),
        order_sys_id=sys_id or f"S{ref}",
        symbol="au2512",
        exchange=Exchange.SHFE,
        direction=Direction.LONG,
        offset=Offset.OPEN,
        order_type=OrderType.LIMIT,
        price=838.0,
        volume=3,
        traded=traded,
        status=status,
        datetime=NOW,
        trading_day=trading_day,
    )


def trade(ref: int, number: int, volume: int = 1, sys_id: str = "", flow: int = 1) -> TradeReport:
    return TradeReport(
        flow=flow,
        trade_id=str(number),
        order_ref=ref,
        order_sys_id=sys_id or f"S{ref}",
        symbol="au2512",
        exchange=Exchange.SHFE,
        direction=Direction.LONG,
        offset=Offset.OPEN,
        price=838.0,
        volume=volume,
        datetime=NOW,
        trading_day=DAY,
    )


class Lives:
    """One journal after another on the same file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = Journal(path, "sim")

    def die(self) -> Journal:
        self.journal.close()
        self.journal = Journal(self.path, "sim")
        return self.journal

    def told(self, kind: Kind) -> list[Any]:
        message = {Kind.ORDER: OrderData, Kind.TRADE: TradeData, Kind.POSITION: PositionData}[kind]
        return [decode(message, event.payload) for event in self.journal.unpublished(10_000) if event.kind is kind]

    def told_events(self) -> list[tuple[str, date | None]]:
        found = [event.payload for event in self.journal.unpublished(10_000) if event.kind is Kind.EVENT]
        return [(str(event.event), event.trading_day) for event in (decode(EventData, each) for each in found)]

    def statuses(self) -> list[str]:
        return [f"{order.status}{'+' + order.detail if order.detail else ''}" for order in self.told(Kind.ORDER)]


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Lives]:
    made = Lives(tmp_path / "gateway.db")
    yield made
    made.journal.close()


@pytest.fixture(scope="module")
def anew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Lives]]:
    folder = tmp_path_factory.mktemp("journals")
    numbers = iter(range(10**6))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_journal, "lay_out_log", lambda path: None)
        yield lambda: Lives(folder / f"{next(numbers)}.db")


def test_a_command_gets_one_row_however_often_it_comes(lives: Lives) -> None:
    first = lives.journal.admit(command("r1"))
    again = lives.die().admit(command("r1"))
    assert (first.is_to_be_sent, again.is_to_be_sent) == (True, False)
    assert (first.row.order_ref, again.row.order_ref) == (1, 1)
    assert again.stored is not None and again.stored.status is Status.SUBMITTING


def test_order_references_never_start_again(lives: Lives) -> None:
    refs = [lives.die().admit(command(f"r{number}")).row.order_ref for number in range(3)]
    lives.journal.reserve_refs(10)
    refs.append(lives.die().admit(command("r9")).row.order_ref)
    assert refs == [1, 2, 3, 11]


def test_a_refusal_and_its_status_are_one_transaction(lives: Lives) -> None:
    lives.journal.refuse(command("r1"), Detail.EXPIRED, "too late", NOW)
    lives.die()
    assert lives.statuses() == ["REJECTED+EXPIRED"]
    assert lives.journal.admit(command("r1")).is_to_be_sent is False


def test_what_was_being_sent_and_is_not_at_the_counter_never_arrived(lives: Lives) -> None:
    lives.journal.admit(command("r1"))
    lives.journal.admit(command("r2"))
    lives.die().reconcile([report(2, "r2", Status.NOTTRADED)], [])
    lives.journal.give_up(lives.journal.in_flight(), NOW)
    assert [(order.request_id, str(order.status), order.detail) for order in lives.told(Kind.ORDER)] == [
        ("r2", "NOTTRADED", None),
        ("r1", "REJECTED", Detail.NOT_SENT),
    ]
    assert lives.journal.in_flight() == {}


def test_an_order_found_after_it_was_given_up_is_adopted_and_cancelled(lives: Lives) -> None:
    lives.journal.admit(command("r1"))
    lives.journal.give_up(["1"], NOW)
    (target,) = lives.journal.record([report(1, "r1", Status.NOTTRADED)])
    assert lives.die().cancels_wanted() == [target._replace(order_sys_id="S1")], "until the counter has answered"
    lives.journal.record([report(1, "r1", Status.CANCELLED)])
    assert target.order_ref == 1
    assert lives.statuses() == ["REJECTED+NOT_SENT", "NOTTRADED+LATE_ACK", "CANCELLED"]


def test_a_trade_before_its_order_waits_for_it(lives: Lives) -> None:
    lives.journal.admit(command("r1"))
    lives.journal.record([trade(1, 1)])
    waiting = lives.told(Kind.TRADE)
    lives.die().record([report(1, "r1", Status.PARTTRADED, 1)])
    assert (waiting, [t.request_id for t in lives.told(Kind.TRADE)]) == ([], ["r1"])


def test_a_trade_nobodys_order_explains_is_somebody_elses(lives: Lives) -> None:
    lives.journal.record([trade(7, 1)])
    lives.journal.reconcile([], [])
    (told,) = lives.told(Kind.TRADE)
    assert (told.strategy_name, told.request_id, told.order_id) == ("", None, "20251015.SHFE.S7")


def test_an_order_with_our_reference_and_another_memo_is_not_ours(lives: Lives) -> None:
    lives.journal.admit(command("r1"))
    lives.journal.record([report(1, "another terminal", Status.NOTTRADED, sys_id="X1")])
    (told,) = lives.told(Kind.ORDER)
    assert (told.request_id, told.order_id) == (None, "20251015.SHFE.X1")
    assert lives.journal.in_flight() == {"1": 1}


def test_a_counters_reject_and_a_refused_cancel_keep_their_numbers(lives: Lives) -> None:
    lives.journal.admit(command("r1"))
    lives.journal.admit(command("r2"))
    lives.journal.record(
        [
            InsertRejected(order_ref=1, error_id=31, error_msg="资金不足", datetime=NOW, trading_day=DAY),
            report(2, "r2", Status.ALLTRADED, 3),
            CancelRejected(
                order_ref=2, order_sys_id="", error_id=26, error_msg="不能再撤", datetime=NOW, trading_day=DAY
            ),
        ]
    )
    assert [(str(order.status), order.error_id) for order in lives.told(Kind.ORDER)] == [
        ("REJECTED", 31),
        ("ALLTRADED", None),
        ("ALLTRADED", 26),
    ]


def test_a_cancel_is_asked_once_and_again_after_a_reconnect_while_the_order_works(lives: Lives) -> None:
    lives.journal.admit(command("r1"))
    lives.journal.record([report(1, "r1", Status.NOTTRADED)])
    cancel = command("c1", kind=CommandType.CANCEL_ORDER, order_request_id="r1")
    first, second = lives.journal.cancel(cancel), lives.journal.cancel(cancel)
    assert first is not None and second is None
    assert lives.die().cancels_wanted() == [first._replace(order_sys_id="S1")]
    lives.journal.record([report(1, "r1", Status.CANCELLED)])
    assert lives.journal.cancels_wanted() == []


def test_only_changed_positions_are_told_and_vanished_ones_as_gone(lives: Lives) -> None:
    row = PositionData(
        symbol="au2512",
        exchange=Exchange.SHFE,
        direction=Direction.LONG,
        volume=2,
        frozen=0,
        price=838.0,
        pnl=0.0,
        yd_volume=0,
        datetime=NOW,
        trading_day=DAY,
    )
    lives.journal.positions([row])
    lives.die().snapshot([row], NOW, DAY)
    lives.journal.snapshot([], NOW + timedelta(hours=1), DAY)
    lives.journal.snapshot([], NOW + timedelta(hours=1), DAY)
    assert [position.volume for position in lives.told(Kind.POSITION)] == [2, 0]
    assert len({position.event_id for position in lives.told(Kind.POSITION)}) == 2


def test_published_events_are_not_published_again_and_name_the_snapshot(lives: Lives) -> None:
    lives.journal.happened(EventType.CONNECTED, NOW, DAY)
    lives.journal.refuse(command("r1"), Detail.NOT_SENT, "no", NOW)
    last = lives.journal.last_event()
    lives.journal.published(lives.journal.unpublished(10), ["5-0", "6-0"])
    lives.journal.refuse(command("r2"), Detail.NOT_SENT, "no", NOW)
    assert lives.die().as_of(last) == {Kind.ORDER: "6-0", Kind.TRADE: "0-0", Kind.POSITION: "0-0"}
    assert [order.request_id for order in lives.told(Kind.ORDER)] == ["r2"]


def test_a_day_turns_once_however_often_it_is_heard_of_and_however_many_were_missed(lives: Lives) -> None:
    days = [DAY + timedelta(days=number) for number in range(4)]
    lives.journal.day_is(days[0], NOW)
    lives.journal.day_settled(days[0], NOW)
    lives.die().day_is(days[1], NOW)
    lives.journal.day_settled(days[0], NOW)
    lives.die().day_is(days[3], NOW)
    lives.journal.day_is(days[1], NOW)
    assert lives.told_events() == [
        ("SETTLED", days[0]),
        ("TRADING_DAY", days[1]),
        ("SETTLED", days[1]),
        ("TRADING_DAY", days[3]),
    ]


def test_finished_orders_of_long_ago_are_forgotten_and_late_word_of_the_last_two_days_is_not_a_strangers(
    lives: Lives,
) -> None:
    """A holiday may be longer than ten days: the last day that had orders always stays."""
    journal = lives.journal
    days = [date(2026, 1, 20), date(2026, 2, 13), date(2026, 2, 24)]
    for number, day in enumerate(days, 1):
        journal.trading_day = day
        for name in ("done", "given up", "works"):
            journal.admit(command(f"{name} {day}"))
        first = 3 * (number - 1) + 1
        journal.record([report(first, f"done {day}", Status.CANCELLED, trading_day=day)])
        journal.give_up([str(first + 1)], NOW)
        journal.record([report(first + 2, f"works {day}", Status.NOTTRADED, trading_day=day)])
        journal.cancel(command(f"c {day}", kind=CommandType.CANCEL_ORDER, order_request_id=f"done {day}"))
    events = journal.unpublished(1000)
    journal.published(events, ["1-0"] * len(events))
    journal.forget(days[-1])
    late = lives.die().record([report(5, f"given up {days[1]}", Status.NOTTRADED, trading_day=days[1])])
    known = {row.request_id for row in lives.journal._select("1")}
    cancels = lives.journal._run("SELECT request_id FROM cancels ORDER BY 1").fetchall()
    assert known == {
        f"works {days[0]}",
        *(f"{name} {day}" for name in ("done", "given up", "works") for day in days[1:]),
    }
    assert [target.order_ref for target in late] == [5]
    assert cancels == [(f"c {day}",) for day in days[1:]]
    for row in lives.journal._select("1"):
        lives.journal._run("DELETE FROM orders WHERE order_id = ?", (row.order_id,))
    assert lives.die().admit(command("next")).row.order_ref == 10, "references do not begin again"


def test_a_second_gateway_on_the_same_journal_is_refused(lives: Lives) -> None:
    with pytest.raises(StoreError, match="in use by another Gateway: stop the other copy"):
        Journal(lives.path, "sim")


STORY: list[OrderReport | TradeReport] = [
    report(1, "r1", Status.NOTTRADED, 0, flow=1),
    report(1, "r1", Status.PARTTRADED, 1, flow=2),
    trade(1, 1, flow=3),
    report(2, "r2", Status.NOTTRADED, 0, flow=4),
    report(1, "r1", Status.ALLTRADED, 3, flow=5),
    trade(1, 2, volume=2, flow=6),
    report(2, "r2", Status.PARTTRADED, 1, flow=7),
    trade(2, 3, flow=8),
    report(2, "r2", Status.CANCELLED, 1, flow=9),
    report(9, "elsewhere", Status.NOTTRADED, 0, flow=10),
    trade(9, 4, volume=3, flow=11),
]


@settings(max_examples=60, deadline=None)
@given(
    order=st.permutations(range(len(STORY))),
    repeats=st.lists(st.integers(0, len(STORY) - 1), max_size=8),
    cuts=st.sets(st.integers(1, len(STORY) + 7), max_size=4),
    death=st.integers(0, len(STORY)),
)
def test_callbacks_in_any_order_any_number_of_times_end_in_one_state(
    anew: Callable[[], Lives], order: list[int], repeats: list[int], cuts: set[int], death: int
) -> None:
    """Each event is told once; the orders' states are what the counter's are; a death in between changes nothing."""
    lives = anew()
    for request_id in ("r1", "r2"):
        lives.journal.admit(command(request_id))
    heard = [STORY[index] for index in (*order, *repeats)]
    bounds = [0, *sorted(cuts), len(heard)]
    for number, (start, stop) in enumerate(pairwise(bounds)):
        lives.journal.record(heard[start:stop])
        if number == death % 3:
            lives.die()
    lives.journal.reconcile([], [])
    events = [event.payload for event in lives.journal.unpublished(10_000)]
    found = {order.request_id or order.order_id: order for order in lives.journal.orders(DAY)}
    trades = lives.told(Kind.TRADE)
    assert {name: (str(order.status), order.traded) for name, order in found.items()} == {
        "r1": ("ALLTRADED", 3),
        "r2": ("CANCELLED", 1),
        "20251015.SHFE.S9": ("ALLTRADED", 3),
    }
    assert sorted((t.trade_id, t.request_id) for t in trades) == [("1", "r1"), ("2", "r1"), ("3", "r2"), ("4", None)]
    assert len(events) == len(set(events))
    lives.journal.close()
