"""What Trading writes: once, whole, and as it was when it is read again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from msgspec import structs
from places import POSTGRESQL, SQLITE, place

from arbig.domain.messages import SHANGHAI, Direction, Exchange, Offset, OrderType
from arbig.domain.orders import OrderState, Stage
from arbig.store.database import Database
from arbig.store.faults import Contradiction
from arbig.store.orders import OrderStore, Outgoing, Received
from arbig.store.snapshots import SnapshotStore

TEN = datetime(2025, 10, 15, 10, 0, tzinfo=SHANGHAI)
DAY = date(2025, 10, 15)
ACCOUNT = {
    "balance": 1.0,
    "available": 1.0,
    "margin": 0.0,
    "frozen": 0.0,
    "commission": 0.0,
    "close_profit": 0.0,
    "position_profit": 0.0,
    "pre_balance": 1.0,
    "currency": "CNY",
}


@pytest.fixture(params=[SQLITE, POSTGRESQL])
def database(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Database]:
    """The same tests on a file and on a real server."""
    opened = Database.open(place(tmp_path / "trading.db", request.param))
    yield opened
    opened.close()


def state(request_id: str, stage: Stage = Stage.SUBMITTING) -> OrderState:
    return OrderState(
        request_id=request_id,
        symbol="au2512",
        exchange=Exchange.SHFE,
        direction=Direction.LONG,
        offset=Offset.OPEN,
        order_type=OrderType.LIMIT,
        price=800.0,
        volume=1,
        strategy_name="S",
        created=TEN,
        updated=TEN,
        account_id="sim",
        trading_day=DAY,
        stage=stage,
    )


def received(request_id: str, answer: str = "", at: datetime = TEN) -> Received:
    return Received(request_id=request_id, kind="SEND_ORDER", answer=answer, received_at=at)


def message(store: OrderStore, request_id: str, at: datetime = TEN) -> Outgoing:
    number = store.next_outgoing()
    return Outgoing(id=number, stream="stream:cmd", request_id=request_id, payload=b"{}", written_at=at)


def test_a_request_is_decided_once_and_a_repeat_writes_nothing(database: Database) -> None:
    store = OrderStore(database, "sim")
    assert store.decide(received("a"), [state("a")], [message(store, "a")])
    assert not store.decide(received("a", "no"), [state("b")], [message(store, "b")])
    assert ["a"] == [each.request_id for each in store.orders_page(None, 10).rows]
    assert ["a"] == [each.request_id for each in store.unpublished()]
    answer = store.answer("a")
    assert answer is not None and "" == answer.answer


def test_pages_of_orders_show_each_order_once_while_new_ones_come(database: Database) -> None:
    store = OrderStore(database, "sim")
    for name in "abcde":
        store.decide(received(name), [state(name)], [])
    newest = store.orders_page(None, 2)
    store.decide(received("f"), [state("f")], [])
    middle = store.orders_page(newest.cursor, 2)
    oldest = store.orders_page(middle.cursor, 2)
    pages = [[each.request_id for each in page.rows] for page in (newest, middle, oldest)]
    assert ([["d", "e"], ["b", "c"], ["a"]], None) == (pages, oldest.cursor)


def test_a_decision_that_breaks_another_rule_is_not_taken_for_a_repeat(database: Database) -> None:
    store = OrderStore(database, "sim")
    store.decide(received("a"), [state("a")], [])
    with pytest.raises(Contradiction, match="request_id"):
        store.decide(received("b"), [state("a")], [])
    assert store.answer("b") is None


def test_messages_are_kept_until_said_and_pruned_when_old(database: Database) -> None:
    store = OrderStore(database, "sim")
    first, second = message(store, "a"), message(store, "b")
    store.decide(received("a"), [], [first])
    store.decide(received("b"), [], [second])
    store.mark_published([first.id])
    assert [second] == store.unpublished()
    store.prune(TEN + timedelta(days=1))
    assert [] == store.outgoing_of(["a"], "stream:cmd")
    assert [second] == store.outgoing_of(["b"], "stream:cmd")
    assert second.id + 1 == OrderStore(database, "sim").next_outgoing()
    assert store.answer("a") is not None
    store.prune(TEN + timedelta(days=31))
    assert store.answer("a") is None


@pytest.mark.parametrize("stage", [Stage.SUBMITTING, Stage.NOTTRADED, Stage.CANCELLED, Stage.REJECTED])
def test_a_state_is_read_as_it_was_written(database: Database, stage: Stage) -> None:
    store = OrderStore(database, "sim")
    store.save([state("a", stage)])
    assert state("a", stage) == store.find("a", None)


def test_todays_orders_are_loaded_and_older_ones_that_still_work(database: Database) -> None:
    store = OrderStore(database, "sim")
    store.save([state("today"), state("working")])
    with database.transaction() as connection:
        connection.exec_driver_sql("UPDATE orders SET trading_day = '2025-10-14' WHERE request_id = 'working'")
    store.save([state("done", Stage.CANCELLED)])
    loaded, _ = store.load(DAY + timedelta(days=1))
    assert {"today", "working"} == {each.request_id for each in loaded}


def test_what_was_refused_before_the_day_was_known_is_there_after_a_restart_too(database: Database) -> None:
    store = OrderStore(database, "sim")
    store.save([structs.replace(state("early", Stage.NOT_SENT), trading_day=None), state("later")])
    store.begin_day(DAY)
    loaded, _ = store.load(DAY)
    assert {"early": DAY, "later": DAY} == {each.request_id: each.trading_day for each in loaded}


def test_the_first_picture_of_a_day_counts(database: Database) -> None:
    snapshots = SnapshotStore(database, "sim")
    assert snapshots.settle(DAY, [], ACCOUNT, TEN)
    assert not snapshots.settle(DAY, [], ACCOUNT | {"balance": 2.0}, TEN)
    account = snapshots.account_of(DAY)
    assert account is not None and 1.0 == account["balance"]


def test_the_last_trading_state_holds_and_all_are_kept(database: Database) -> None:
    snapshots = SnapshotStore(database, "sim")
    assert snapshots.state() is None
    snapshots.set_state("HALTED", "storm", TEN, 1)
    snapshots.set_state("ACTIVE", "sun", TEN + timedelta(hours=1), 2)
    assert ("ACTIVE", "sun", TEN + timedelta(hours=1), 2) == snapshots.state()
    with database.reading() as connection:
        assert 2 == connection.exec_driver_sql("SELECT count(*) FROM trading_states").scalar_one()
