"""What every bus must do, in memory and on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Any

import pytest

from arbig.bus import retention
from arbig.bus.memory import MemoryBus
from arbig.bus.port import BusError, DataLost, Entry, GroupState, entry_key
from arbig.bus.retention import Janitor
from arbig.domain.faults import StartAnew
from arbig.domain.messages import SHANGHAI, DeadLetter, EventData, EventType, MessageError, decode, encode

ORDER, TRADE, DEAD, EVENT = "stream:order", "stream:trade", "stream:dead", "stream:event"
Open = Callable[[str], Awaitable[Any]]
House = Callable[[Callable[[Open], Awaitable[None]]], None]


class Seen:
    """A handler that remembers payloads and lets a test wait for a number of them."""

    def __init__(self, *, fails: dict[bytes, Exception] | None = None) -> None:
        self.entries: list[Entry] = []
        self._fails = fails or {}
        self._came = asyncio.Event()

    async def __call__(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._came.set()
        if error := self._fails.get(entry.payload):
            raise error

    async def until(self, count: int) -> list[bytes]:
        async with asyncio.timeout(10):
            while len(self.entries) < count:
                self._came.clear()
                await self._came.wait()
        return [entry.payload for entry in self.entries]


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> Any:
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def state_of(bus: Any, stream: str, group: str) -> GroupState:
    return next(state for state in await bus.groups() if (state.stream, state.group) == (stream, group))


def test_trading_and_strategy_each_get_every_trade_in_order(house: House) -> None:
    async def flow(open_bus: Open) -> None:
        gateway, trading, strategy = [await open_bus(user) for user in ("gateway", "trading", "strategy")]
        first, second = Seen(), Seen()
        fills = [b"fill %d" % n for n in range(250)]
        await gateway.append([(TRADE, fill) for fill in fills[:100]])
        async with (
            running(trading.consume("group:trading", {TRADE: first})),
            running(strategy.consume("group:strategy", {TRADE: second})),
        ):
            await gateway.append([(TRADE, fill) for fill in fills[100:]])
            expected = (fills, fills)
            actual = (await first.until(250), await second.until(250))
        assert expected == actual

    house(flow)


def test_what_was_appended_before_the_first_start_is_read_from_the_beginning(house: House) -> None:
    async def flow(open_bus: Open) -> None:
        bus = await open_bus("trading")
        await bus.append([(ORDER, b"early")])
        seen = Seen()
        async with running(bus.consume("group:trading", {ORDER: seen})):
            expected = [b"early"]
            actual = await seen.until(1)
        assert expected == actual

    house(flow)


def test_an_entry_whose_handler_did_not_return_comes_first_after_the_restart(house: House) -> None:
    """Acknowledged only after the effect is durable: the cancelled one is delivered again, and counted."""

    async def flow(open_bus: Open) -> None:
        bus = await open_bus("trading")
        arrived, never = asyncio.Event(), asyncio.Event()

        async def hangs(entry: Entry) -> None:
            arrived.set()
            await never.wait()

        await bus.append([(ORDER, b"one")])
        async with running(bus.consume("group:trading", {ORDER: hangs})):
            await arrived.wait()
        await bus.append([(ORDER, b"two")])
        seen = Seen()
        async with running(bus.consume("group:trading", {ORDER: seen})):
            expected = [b"one", b"two"]
            actual = await seen.until(2)
        assert expected == actual
        assert seen.entries[0].deliveries > 1

    house(flow)


def test_finished_entries_do_not_come_again_after_a_restart(house: House) -> None:
    async def flow(open_bus: Open) -> None:
        bus = await open_bus("trading")
        await bus.append([(ORDER, b"one"), (ORDER, b"two")])
        before = Seen()
        async with running(bus.consume("group:trading", {ORDER: before})):
            await before.until(2)
        expected = GroupState(ORDER, "group:trading", pending=0, lag=0, lost=0)
        assert expected == await state_of(bus, ORDER, "group:trading")
        await bus.append([(ORDER, b"three")])
        after = Seen()
        async with running(bus.consume("group:trading", {ORDER: after})):
            assert [b"three"] == await after.until(1)

    house(flow)


def test_garbage_goes_to_the_dead_letters_at_once_and_the_stream_goes_on(house: House) -> None:
    async def flow(open_bus: Open) -> None:
        bus = await open_bus("trading")
        seen = Seen(fails={b"{\xff": MessageError("not an OrderRequest")})
        garbage, _ = await bus.append([(ORDER, b"{\xff"), (ORDER, b"good")])
        async with running(bus.consume("group:trading", {ORDER: seen})):
            assert [b"{\xff", b"good"] == await seen.until(2)
        letter = decode(DeadLetter, (await bus.read(DEAD))[0].payload)
        expected = (ORDER, garbage, "group:trading", "not an OrderRequest", "{\\xff")
        actual = (letter.stream, letter.entry_id, letter.group, letter.reason, letter.payload)
        assert expected == actual

    house(flow)


def test_a_third_failure_makes_a_dead_letter_with_the_reason(house: House) -> None:
    async def flow(open_bus: Open) -> None:
        bus = await open_bus("trading")
        seen = Seen(fails={b"poison": ValueError("no such book")})
        await bus.append([(ORDER, b"poison"), (ORDER, b"good")])
        async with running(bus.consume("group:trading", {ORDER: seen})):
            assert [b"poison", b"poison", b"poison", b"good"] == await seen.until(4)
        letter = decode(DeadLetter, (await bus.read(DEAD))[0].payload)
        assert letter.reason == "failed 3 times, last with ValueError: no such book"

    house(flow)


def test_a_bus_error_in_a_handler_is_not_held_against_the_entry(house: House) -> None:
    """Redis was away while the handler wrote: the entry comes again until it works, and is no dead letter."""

    async def flow(open_bus: Open) -> None:
        bus = await open_bus("trading")
        tries: list[bytes] = []
        done = asyncio.Event()

        async def writes(entry: Entry) -> None:
            tries.append(entry.payload)
            if len(tries) < 5:
                raise BusError("Redis is gone")
            if entry.payload == b"two":
                done.set()

        await bus.append([(ORDER, b"one"), (ORDER, b"two")])
        async with running(bus.consume("group:trading", {ORDER: writes})), asyncio.timeout(10):
            await done.wait()
        assert [b"one"] * 5 + [b"two"] == tries
        assert [] == await bus.read(DEAD)

    house(flow)


def test_who_must_start_anew_ends_his_reading_and_his_next_life_gets_the_entry_again(house: House) -> None:
    """A database that went away with the answer to a commit says nothing against the entry: it is no dead letter."""

    async def flow(open_bus: Open) -> None:
        bus = await open_bus("trading")
        await bus.append([(ORDER, b"in doubt"), (ORDER, b"good")])
        first, second = Seen(fails={b"in doubt": StartAnew("went away with the answer")}), Seen()
        async with asyncio.timeout(10):
            with pytest.raises(StartAnew):
                await bus.consume("group:trading", {ORDER: first})
        async with running(bus.consume("group:trading", {ORDER: second})):
            assert [b"in doubt", b"good"] == await second.until(2)
        assert [b"in doubt"] == [entry.payload for entry in first.entries]
        assert [] == await bus.read(DEAD)

    house(flow)


def test_a_snapshot_says_which_entry_it_includes(house: House) -> None:
    async def flow(open_bus: Open) -> None:
        bus = await open_bus("gateway")
        assert await bus.last_id(TRADE) == "0-0"
        ids = await bus.append([(TRADE, b"one"), (TRADE, b"two"), (TRADE, b"three")])
        assert ids == sorted(ids, key=entry_key)
        assert ids[-1] == await bus.last_id(TRADE)
        expected = [Entry(TRADE, ids[1], b"two"), Entry(TRADE, ids[2], b"three")]
        assert expected == await bus.read(TRADE, after=ids[0])
        assert expected[:1] == await bus.read(TRADE, after=ids[0], count=1)

    house(flow)


def test_a_group_that_has_not_started_shows_its_lag(house: House) -> None:
    async def flow(open_bus: Open) -> None:
        bus = await open_bus("gateway")
        await bus.append([(TRADE, b"one"), (TRADE, b"two")])
        expected = GroupState(TRADE, "group:strategy", pending=0, lag=2, lost=0)
        assert expected == await state_of(bus, TRADE, "group:strategy")

    house(flow)


def test_a_subscriber_hears_its_patterns_in_order_from_the_first_empty_batch_on(house: House) -> None:
    async def flow(open_bus: Open) -> None:
        gateway, market = await open_bus("gateway"), await open_bus("market")
        heard: list[tuple[str, bytes]] = []
        stands, complete = asyncio.Event(), asyncio.Event()

        async def listen() -> None:
            async for batch in market.listen("tick:*", "hb:gateway"):
                stands.set()
                heard.extend(batch)
                if heard and heard[-1][0] == "hb:gateway":
                    complete.set()

        async with running(listen()), asyncio.timeout(10):
            await stands.wait()
            assert heard == []
            await gateway.publish([("tick:au2512", b"1"), ("bar:au2512", b"-"), ("tick:ag2512", b"2")])
            await gateway.publish([("hb:market", b"-"), ("hb:gateway", b"3")])
            await complete.wait()
        assert [("tick:au2512", b"1"), ("tick:ag2512", b"2"), ("hb:gateway", b"3")] == heard

    house(flow)


def test_two_groups_of_one_service_bus_do_not_disturb_each_other(house: House) -> None:
    async def flow(open_bus: Open) -> None:
        bus = await open_bus("trading")
        orders, trades = Seen(), Seen()
        async with running(bus.consume("group:trading", {ORDER: orders, TRADE: trades})):
            await bus.append([(ORDER, b"o1")])
            assert [b"o1"] == await orders.until(1)
        assert trades.entries == []

    house(flow)


@pytest.fixture
def ten_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """The retention limit at ten entries, so that a test need not write ten thousand."""
    for module in ("arbig.bus.memory", "arbig.bus.redis"):
        monkeypatch.setattr(f"{module}.MAX_ENTRIES", 10)


@pytest.mark.usefixtures("ten_are_many")
def test_the_janitor_leaves_what_a_required_group_has_not_read(house: House) -> None:
    async def flow(open_bus: Open) -> None:
        admin, trading, strategy = [await open_bus(user) for user in ("admin", "trading", "strategy")]
        fast, slow = Seen(), Seen()
        await admin.append([(TRADE, b"%d" % n) for n in range(30)])
        async with running(trading.consume("group:trading", {TRADE: fast})):
            await fast.until(30)
        assert 0 == (await Janitor(admin).sweep()).trimmed[TRADE]
        async with running(strategy.consume("group:strategy", {TRADE: slow})):
            await slow.until(30)
        assert 20 == (await Janitor(admin).sweep()).trimmed[TRADE]
        expected = [b"%d" % n for n in range(20, 30)]
        assert expected == [entry.payload for entry in await admin.read(TRADE)]
        assert 0 == (await state_of(admin, TRADE, "group:trading")).lost

    house(flow)


@pytest.mark.usefixtures("ten_are_many")
def test_the_janitor_leaves_what_is_delivered_but_not_finished(house: House) -> None:
    async def flow(open_bus: Open) -> None:
        admin, trading = await open_bus("admin"), await open_bus("trading")
        stuck, never = asyncio.Event(), asyncio.Event()

        async def sticks_at_five(entry: Entry) -> None:
            if entry.payload == b"5":
                stuck.set()
                await never.wait()

        await admin.append([(ORDER, b"%d" % n) for n in range(30)])
        async with running(trading.consume("group:trading", {ORDER: sticks_at_five})):
            await stuck.wait()
        assert 5 == (await Janitor(admin).sweep()).trimmed[ORDER]
        assert b"5" == (await admin.read(ORDER))[0].payload

    house(flow)


def test_the_janitor_learns_the_trading_day_from_its_first_event_only(house: House) -> None:
    async def flow(open_bus: Open) -> None:
        bus = await open_bus("gateway")

        def begins(day: int) -> tuple[str, bytes]:
            at = datetime(2025, 10, day, 20, 55, tzinfo=SHANGHAI)
            event = EventData(
                event=EventType.TRADING_DAY, source="gateway", datetime=at, trading_day=date(2025, 10, day)
            )
            return EVENT, encode(event)

        await bus.append([begins(9), (EVENT, b"garbage"), begins(9)])
        ids = await bus.append([begins(10), begins(10)])
        janitor = Janitor(await open_bus("admin"))
        await janitor.sweep()
        assert ids[0] == janitor.day_began

    house(flow)


def test_a_group_near_the_limit_is_an_alarm(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "NEAR_LIMIT", 3)
    monkeypatch.setattr(retention, "ALARM_ENTRIES", 3)

    async def flow(open_bus: Open) -> None:
        bus = await open_bus("admin")
        await bus.append([(ORDER, b"%d" % n) for n in range(4)])
        expected = (
            "group:trading has 4 unfinished entries of stream:order (limit 10000); is it running?",
            "stream:order holds 4 entries (alarm at 3); nothing unread is deleted: see to its readers",
        )
        assert expected == (await Janitor(bus).sweep()).alarms

    house(flow)


async def empty(open_bus: Open) -> None:
    admin = await open_bus("admin")
    await (admin.empty() if isinstance(admin, MemoryBus) else admin.call(("FLUSHALL",)))


def test_an_emptied_bus_has_another_epoch_and_ends_its_readers(house: House) -> None:
    async def flow(open_bus: Open) -> None:
        gateway, trading = await open_bus("gateway"), await open_bus("trading")
        before = await gateway.epoch()
        assert before == await trading.epoch()
        seen = Seen()
        async with running(trading.consume("group:trading", {TRADE: seen})) as reader:
            await gateway.append([(TRADE, b"one")])
            await seen.until(1)
            await empty(open_bus)
            with pytest.raises(DataLost):
                await asyncio.wait_for(reader, 10)
        assert before != await gateway.epoch() == await trading.epoch()
        await gateway.append([(TRADE, b"one again")])
        async with running(trading.consume("group:trading", {TRADE: seen})):
            assert [b"one", b"one again"] == await seen.until(2)

    house(flow)
