"""From a strategy's wish to `stream:order`, and from the exchange's answer back. The twin on the memory bus."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from arbig.bus.topics import ORDER_STATUS, POSITION, TRADE
from arbig.domain.messages import SHANGHAI, Direction, EventType, Exchange, Offset, PositionData, Status, encode
from arbig.runtime.settings import SettingsError
from arbig.store.strategies import Lots

NINE = datetime(2025, 10, 9, 9, 0, tzinfo=SHANGHAI)
YAML = "strategy_name: Plain\nsymbol: au2512\nexchange: SHFE\n"
PLAIN = """
from arbig import CtaTemplate

class Plain(CtaTemplate):
    trades = 0
    orders = None
    stops = None
    names = None
    variables = ["trades", "names", "orders", "stops"]

    def on_init(self):
        self.names, self.orders, self.stops = [], [], []

    def on_tick(self, tick):
        price = tick.last_price
        if price == 801: self.names += self.buy(price, 1)
        if price == 802: self.names += self.sell(price, 1)
        if price == 803: self.names += self.buy(810.013, 2, stop=True)
        if price == 804: self.names += self.sell(790, 1, stop=True)
        if price == 805: self.cancel_all()
        if price == 806: self.names += self.buy(price, 2)
        if price == 807: self.names += self.cover(price, 3, net=True)
        if price == 808: self.names += self.sell(price, 3, lock=True)
        if price == 809: self.names += self.buy(price, 0)

    def on_order(self, order): self.orders.append([str(order.status), order.traded, order.error_msg])
    def on_trade(self, trade): self.trades += 1
    def on_stop_order(self, stop_order): self.stops.append(str(stop_order.status))
"""


@pytest.fixture
def plain(floor):
    floor.code(PLAIN)
    floor.yaml(YAML)
    return floor


def hold(floor, volume):
    """What Trading says of the strategy's position at its start."""
    floor.siblings.strategies = [{"strategy_name": "Plain", "symbol": "au2512", "volume": volume, "price": 800.0}]


def variable(live, name):
    return live.variables.get(name)


def test_a_fill_moves_the_position_and_is_counted_once(plain):
    """The same trade delivered again, under another entry id, changes nothing."""

    async def flow():
        async with plain.open() as desk:
            live = desk.live("Plain")
            await desk.tick(801)
            (order,) = await desk.some_requests(1)
            trade = await desk.fill(order)
            await desk.bus.append([(TRADE.name, encode(trade))])
            await desk.status(order, Status.ALLTRADED, 1)
            await desk.until(lambda: len(variable(live, "orders")) == 2, "both states")
            assert live.describe()["pos"] == 1
            assert live.describe()["entry_price"] == 801
            assert variable(live, "trades") == 1
            assert live.desk.orders == {}

    asyncio.run(flow())


def test_buy_returns_the_name_under_which_the_order_is_known_afterwards(plain):
    async def flow():
        async with plain.open() as desk:
            await desk.tick(801)
            (order,) = await desk.some_requests(1)
            await desk.until(lambda: True, "")
            live = desk.live("Plain")
            await desk.status(order, Status.NOTTRADED)
            await desk.until(lambda: bool(variable(live, "orders")), "news")
            assert variable(live, "names") == [order.request_id]
            assert list(live.desk.orders) == [order.request_id]

    asyncio.run(flow())


def test_a_close_that_became_two_orders_is_one_order_to_the_strategy(plain):
    """Today's and yesterday's lots: finished when both parts are."""

    async def flow():
        hold(plain, 3)
        async with plain.open() as desk:
            live = desk.live("Plain")
            await desk.tick(802)
            (order,) = await desk.some_requests(1)
            await desk.status(order, Status.ALLTRADED, 2, volume=2, offset=Offset.CLOSETODAY)
            child = {"request_id": "child", "parent_id": order.request_id, "order_id": "o2", "volume": 1}
            await desk.status(order, Status.NOTTRADED, 0, offset=Offset.CLOSEYESTERDAY, **child)
            await desk.status(order, Status.ALLTRADED, 1, offset=Offset.CLOSEYESTERDAY, **child)
            await desk.until(lambda: len(variable(live, "orders")) == 3, "three states")
            return variable(live, "orders")

    plain.code(PLAIN.replace("self.sell(price, 1)", "self.sell(price, 3)"))
    orders = asyncio.run(flow())
    assert [state[:2] for state in orders] == [["PARTTRADED", 2], ["PARTTRADED", 2], ["ALLTRADED", 3]]


def test_opening_beyond_max_position_is_refused_with_a_reason(plain):
    """Working lots count too; a close is never held up."""
    plain.yaml(YAML + "risk: {max_position: 2}\n")
    hold(plain, 1)

    async def flow():
        async with plain.open() as desk:
            live = desk.live("Plain")
            await desk.tick(801)
            await desk.some_requests(1)
            await desk.tick(806)
            await desk.until(lambda: bool(variable(live, "orders")), "the refusal")
            ((status, _, reason),) = variable(live, "orders")
            assert status == "REJECTED"
            assert "max_position is 2" in reason
            await desk.tick(802)
            assert [one.offset for one in await desk.some_requests(2)] == [Offset.OPEN, Offset.CLOSE]

    asyncio.run(flow())


def test_a_close_never_takes_the_lots_of_another_strategy(plain):
    """Two of the account's three lots are a neighbour's; what nobody claims may be closed (a locked position)."""
    neighbour = {"strategy_name": "Neighbour", "symbol": "au2512", "volume": 2, "price": 800.0}

    async def flow():
        plain.siblings.strategies = [neighbour]
        async with plain.open() as desk:
            live = desk.live("Plain")
            position = PositionData(
                symbol="au2512",
                exchange=Exchange.SHFE,
                direction=Direction.LONG,
                volume=3,
                frozen=0,
                price=800,
                pnl=0,
                yd_volume=0,
                datetime=NINE,
            )
            await desk.bus.append([(POSITION.name, encode(position))])
            await desk.until(lambda: bool(desk.service.engine.house.account), "the account's position")
            sent = len(await desk.requests())
            await desk.tick(802)
            await desk.tick(802)
            await desk.until(lambda: bool(variable(live, "orders")), "a refusal")
            refusals = [reason for status, _, reason in variable(live, "orders") if status == "REJECTED"]
            return len(await desk.requests()) - sent, refusals

    sent, refusals = asyncio.run(flow())
    assert sent == 1
    assert refusals == ["SHORT 1 au2512 would close 2 lots, the strategy holds 1"]


def test_net_closes_the_strategys_own_lots_first_and_opens_the_rest(plain):
    hold(plain, -2)

    async def flow():
        async with plain.open() as desk:
            await desk.tick(807)
            return await desk.some_requests(2)

    close, rest = asyncio.run(flow())
    assert (close.offset, close.volume) == (Offset.CLOSE, 2)
    assert (rest.offset, rest.volume) == (Offset.OPEN, 1)


def test_lock_opens_the_other_side_when_nothing_is_left_from_yesterday(plain):
    async def flow():
        async with plain.open() as desk:
            await desk.tick(808)
            return await desk.some_requests(1)

    (order,) = asyncio.run(flow())
    assert (order.direction, order.offset, order.volume) == (Direction.SHORT, Offset.OPEN, 3)


def test_an_order_without_volume_is_not_sent(plain):
    async def flow():
        async with plain.open() as desk:
            live = desk.live("Plain")
            await desk.tick(809)
            await desk.tick(801)
            (order,) = await desk.some_requests(1)
            assert order.price == 801
            assert live.state == "RUNNING"

    asyncio.run(flow())


def test_paused_strategies_send_nothing_new_but_may_cancel(plain):
    """DISCONNECTED until RECONCILED (specification 5.2)."""

    async def flow():
        async with plain.open() as desk:
            live = desk.live("Plain")
            await desk.tick(801)
            await desk.some_requests(1)
            await desk.event(EventType.DISCONNECTED)
            await desk.until(lambda: live.state == "PAUSED", "the pause")
            await desk.tick(801)
            await desk.tick(805)
            _, cancel = await desk.some_requests(2)
            assert cancel.cmd_type == "CANCEL_ORDER"
            await desk.event(EventType.CONNECTED)
            await desk.event(EventType.RECONCILED)
            await desk.until(lambda: live.state == "RUNNING", "the end of the pause")
            await desk.tick(801)
            assert len(await desk.some_requests(3)) == 3

    asyncio.run(flow())


def test_a_cancel_that_is_on_its_way_is_not_asked_for_again(plain):
    """A strategy that cancels everything with every tick does not flood Trading."""

    async def flow():
        async with plain.open() as desk:
            await desk.tick(801)
            (order,) = await desk.some_requests(1)
            await desk.status(order, Status.NOTTRADED)
            for _ in range(3):
                await desk.tick(805)
            await desk.until(lambda: desk.live("Plain")._queue.empty(), "three ticks")
            assert len(await desk.requests()) == 2

    asyncio.run(flow())


def test_a_start_while_the_exchange_is_away_pauses_even_when_trading_is_halted(plain):
    """HALTED says nothing about the line: Trading says of both."""
    plain.siblings.state, plain.siblings.reconciled = "HALTED", False

    async def flow():
        async with plain.open() as desk:
            assert desk.live("Plain").state == "PAUSED"
            await desk.event(EventType.RECONCILED)
            await desk.until(lambda: desk.live("Plain").state == "RUNNING", "the reconciliation")

    asyncio.run(flow())


def test_a_persons_pause_survives_reconnection_and_restart(plain):
    async def flow():
        async with plain.open() as desk:
            await desk.live("Plain").command("pause")
            await desk.event(EventType.DISCONNECTED)
            await desk.event(EventType.RECONCILED)
            await asyncio.sleep(0.02)
            assert desk.live("Plain").state == "PAUSED"
        async with plain.open() as desk:
            assert desk.live("Plain").state == "PAUSED"
            await desk.live("Plain").command("resume")
            assert desk.live("Plain").state == "RUNNING"

    asyncio.run(flow())


def test_a_stopped_strategy_cancels_its_orders_and_stays_stopped(plain):
    """Also over a restart, until a person starts it: that is a new run."""

    async def flow():
        async with plain.open() as desk:
            live = desk.live("Plain")
            await desk.tick(801)
            (order,) = await desk.some_requests(1)
            first_run = live.desk.run_id
            await live.command("stop")
            _, cancel = await desk.requests()
            assert cancel.order_request_id == order.request_id
            assert live.state == "STOPPED"
        async with plain.open() as desk:
            live = desk.live("Plain")
            assert live.state == "STOPPED"
            await live.command("start")
            assert live.state == "RUNNING"
            assert live.desk.run_id != first_run

    asyncio.run(flow())


# ---- stop orders


def test_a_stop_order_fires_when_its_price_is_reached_and_takes_what_is_there(plain):
    """Rounded to the tick, sent at the day's limit, and known by its names."""

    async def flow():
        async with plain.open() as desk:
            live = desk.live("Plain")
            await desk.tick(803)
            await desk.until(lambda: variable(live, "stops") == ["WAITING"], "the stop order")
            await desk.tick(809.98)
            await desk.tick(810.02)
            (order,) = await desk.some_requests(1)
            await desk.until(lambda: variable(live, "stops") == ["WAITING", "TRIGGERED"], "the news")
            assert (order.direction, order.offset, order.volume, order.price) == ("LONG", "OPEN", 2, 880.0)
            assert order.cause == "stop:au2512:3"
            await desk.tick(811)
            assert len(await desk.requests()) == 1

    asyncio.run(flow())


def test_a_stop_order_waits_while_the_price_is_locked_at_its_limit(plain):
    """An order there would only queue; an alarm says so, once."""
    hold(plain, 1)

    async def flow():
        async with plain.open() as desk:
            await desk.tick(804)
            await desk.until(lambda: bool(desk.live("Plain").desk.stop_orders), "the stop order")
            for _ in range(2):
                await desk.tick(720, bid_volume_1=0, bid_price_1=0.0)
            await desk.until(lambda: desk.service.subscriber.ticks == 3, "the ticks")
            assert await desk.requests() == []
            assert len(await desk.alarms()) == 1
            await desk.tick(720.02)
            (order,) = await desk.some_requests(1)
            assert (order.direction, order.price) == (Direction.SHORT, 720.0)

    asyncio.run(flow())


def test_stop_orders_and_variables_survive_a_restart(plain):
    hold(plain, 1)

    async def flow():
        async with plain.open() as desk:
            await desk.tick(804)
            await desk.bar(0, 800)
            await desk.until(lambda: bool(desk.live("Plain").kept_variables.get("names")), "the variables")
            (name,) = desk.live("Plain").desk.stop_orders
        async with plain.open() as desk:
            live = desk.live("Plain")
            assert list(live.desk.stop_orders) == [name]
            assert variable(live, "names") == [name]
            await desk.tick(790)
            (order,) = await desk.some_requests(1)
            assert (order.direction, order.offset) == (Direction.SHORT, Offset.CLOSE)

    asyncio.run(flow())


def test_a_bar_fires_a_stop_order_whose_tick_was_lost(plain):
    """Only a bar that began after the order was placed may do so."""
    hold(plain, 1)

    async def flow():
        async with plain.open() as desk:
            live = desk.live("Plain")
            await desk.tick(804)
            await desk.until(lambda: bool(live.desk.stop_orders), "the stop order")
            await desk.bar(0, 800, low_price=780.0)
            await desk.tick(800)
            await desk.bar(1, 800, low_price=780.0)
            await desk.until(lambda: bool(live.guard.due), "the bar")
            await desk.tick(800)
            assert len(await desk.some_requests(1)) == 1

    asyncio.run(flow())


# ---- restart


def test_a_position_is_taken_from_trading_and_later_fills_are_added(plain):
    """Entries up to `as_of` are in the snapshot, later ones are not, and none is counted twice."""

    async def flow():
        async with plain.open() as desk:
            await desk.tick(801)
            await desk.tick(801.0, bid_volume_1=9)
            first, second = await desk.some_requests(2)
            await desk.fill(first)
            await desk.until(lambda: desk.live("Plain").describe()["pos"] == 1, "the first fill")
            as_of = await desk.bus.last_id(TRADE.name)
            await desk.fill(second)
            await desk.until(lambda: desk.live("Plain").describe()["pos"] == 2, "the second fill")
        # Trading had seen the first fill only when it answered; the second was applied before the restart
        hold(plain, 1)
        plain.siblings.as_of = {TRADE.name: as_of}
        third = None
        async with plain.open() as desk:
            assert desk.live("Plain").describe()["pos"] == 2
            desk.trades = 2
            await desk.tick(801)
            third = (await desk.some_requests(3))[2]
        # filled while Strategy was away
        desk.trades = 2
        await desk.fill(third)
        async with plain.open() as desk:
            await desk.until(lambda: desk.live("Plain").describe()["pos"] == 3, "the third fill")

    asyncio.run(flow())


def test_signal_numbers_are_never_used_twice(plain):
    """The same run goes on after a restart, with other request ids."""

    async def flow():
        seen = set()
        for life in range(3):
            async with plain.open() as desk:
                await desk.tick(801)
                seen |= {one.request_id for one in await desk.some_requests(life + 1)}
        return seen

    assert len(asyncio.run(flow())) == 3


def test_working_orders_from_before_a_restart_can_be_cancelled(plain):
    async def flow():
        async with plain.open() as desk:
            await desk.tick(801)
            (order,) = await desk.some_requests(1)
        import json

        from arbig.domain.messages import OrderData

        working = OrderData(
            order_id="7",
            request_id=order.request_id,
            symbol="au2512",
            exchange=order.exchange,
            direction=order.direction,
            offset=order.offset,
            order_type=order.order_type,
            price=801,
            volume=1,
            traded=0,
            status=Status.NOTTRADED,
            datetime=order.timestamp,
            strategy_name="Plain",
        )
        plain.siblings.orders = [json.loads(encode(working))]
        async with plain.open() as desk:
            await desk.tick(805)
            _, cancel = await desk.some_requests(2)
            assert (cancel.order_request_id, cancel.order_id) == (order.request_id, "7")

    asyncio.run(flow())


def test_fills_of_a_strategy_that_is_not_there_are_kept_for_its_return(plain):
    async def flow():
        async with plain.open() as desk:
            await desk.tick(801)
            (order,) = await desk.some_requests(1)
            await desk.live("Plain").command("stop")
            await desk.fill(order)
            book = desk.service.engine.house.book
            await desk.until(lambda: book.get(("Plain", "au2512")) == Lots(1, 801.0), "the fill")
            await desk.live("Plain").command("start")
            await desk.bar(0, 800)
            await desk.until(lambda: variable(desk.live("Plain"), "pos") == 1, "the strategy knows")

    asyncio.run(flow())


def test_a_status_that_is_garbage_goes_to_the_dead_letters_and_the_rest_goes_on(plain):
    async def flow():
        async with plain.open() as desk:
            await desk.tick(801)
            (order,) = await desk.some_requests(1)
            await desk.bus.append([(ORDER_STATUS.name, b"{garbage")])
            await desk.bus.publish([("tick:au2512", b"garbage"), ("bar:au2512", b"\xff")])
            await desk.fill(order)
            await desk.until(lambda: desk.live("Plain").describe()["pos"] == 1, "the fill")
            assert len(await desk.bus.read("stream:dead")) == 1
            assert desk.service.subscriber.bad_messages == 2

    asyncio.run(flow())


def test_a_pause_by_a_person_holds_back_opening_stop_orders_only(plain):
    """A stop that closes protects; it is no new signal."""
    hold(plain, 1)

    async def flow():
        async with plain.open() as desk:
            live = desk.live("Plain")
            await desk.tick(803)
            await desk.tick(804)
            await desk.until(lambda: len(live.desk.stop_orders) == 2, "both stop orders")
            await live.command("pause")
            await desk.tick(811)
            await desk.tick(790)
            (order,) = await desk.some_requests(1)
            assert order.offset is Offset.CLOSE
            assert len(live.desk.stop_orders) == 1
            await live.command("resume")
            await desk.tick(811)
            assert (await desk.some_requests(2))[1].offset is Offset.OPEN

    asyncio.run(flow())


def _room(desk, pages):
    with desk.service.store._database.transaction() as connection:
        used = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages or used}")


def test_a_full_disk_is_said_once_and_nothing_is_lost(plain, capsys):
    """Fills wait for the disk, the service lives, and a person is told why nothing is taken from him."""

    async def flow():
        async with plain.open() as desk:
            live, house = desk.live("Plain"), desk.service.engine.house
            await desk.tick(801)
            (order,) = await desk.some_requests(1)
            _room(desk, None)
            fills = 0
            while house.fault is None:
                await desk.fill(order, volume=1)
                fills += 1
                await asyncio.sleep(0.002)
            assert "cannot grow, the disk is full: free some space" in house.fault
            assert desk.service.status()["alarms"] == [house.fault]
            for _ in range(100):
                await desk.tick(800)
            assert live._queue.qsize() < 100
            _room(desk, 1_000_000)
            await desk.until(lambda: house.fault is None, "the disk")
            await desk.until(lambda: live.describe()["pos"] == fills, "every fill")
            assert desk.service._died.empty()

    asyncio.run(flow())
    assert capsys.readouterr().out.count("cannot grow") == 1


def test_a_database_that_cannot_be_opened_ends_the_start_in_one_line(plain):
    """With the exit code that the supervisor does not answer with another start."""
    (plain.root / "data" / "db").mkdir(parents=True)
    (plain.root / "data" / "db" / "strategy.db").write_text("no database at all, but long enough to be taken for one")

    async def flow():
        async with plain.open():
            pass

    with pytest.raises(SettingsError, match=r"strategy\.db is not a database: move it away, then start again"):
        asyncio.run(flow())
