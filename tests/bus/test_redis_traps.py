"""Each of these lost or doubled a message somewhere once: here it must not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from arbig.bus.port import BusError, DataLost, Entry
from arbig.domain.messages import EventData, decode

ORDER, TRADE, EVENT = "stream:order", "stream:trade", "stream:event"


class Seen:
    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self._came = asyncio.Event()

    async def __call__(self, entry: Entry) -> None:
        self.payloads.append(entry.payload)
        self._came.set()

    async def until(self, last: bytes, seconds: float = 20) -> list[bytes]:
        async with asyncio.timeout(seconds):
            while not self.payloads or self.payloads[-1] != last:
                self._came.clear()
                await self._came.wait()
        return self.payloads


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def reading(bus: Any, user: str) -> None:
    """Returns when the consumer of that service waits for new entries."""
    async with asyncio.timeout(10):
        name = f"name=arbig:{user}-1:read".encode()
        while name not in (await bus.call(("CLIENT", "LIST")))[0]:  # noqa: ASYNC110 - Redis tells nobody that one came
            await asyncio.sleep(0.01)


def test_a_lost_reply_to_an_append_is_an_error_and_one_entry_only(flows: Any, server: Any, network: Any) -> None:
    """Nothing sends XADD a second time: the caller learns that he does not know."""

    async def flow(opened: Any) -> None:
        async with network.open():
            strategy = await opened(network.to(server.address("strategy")))
            network.swallow = b"-0\r\n"
            with pytest.raises(BusError, match="is not there"):
                await strategy.append([(ORDER, b"buy one lot")])
            assert 1 == network.swallowed
            assert [b"buy one lot"] == [entry.payload for entry in await strategy.read(ORDER)]

    flows(flow)


def test_after_a_lost_reply_to_a_read_the_pending_entries_come_first(flows: Any, server: Any, network: Any) -> None:
    """Redis has delivered `first` into nowhere: reading on would skip it without a word."""

    async def flow(opened: Any) -> None:
        async with network.open():
            trading = await opened(network.to(server.address("trading")))
            admin = await opened(server.address("admin"))
            seen = Seen()
            async with running(trading.consume("group:trading", {ORDER: seen})):
                await reading(admin, "trading")
                network.swallow = b"first"
                await admin.append([(ORDER, b"first")])
                await admin.append([(ORDER, b"second")])
                assert [b"first", b"second"] == await seen.until(b"second")
            assert 1 == network.swallowed

    flows(flow)


def test_an_emptied_redis_gets_its_groups_again_from_the_beginning_and_ends_the_reader(flows: Any, server: Any) -> None:
    """The service ends loudly and resynchronises at its start; what came after the loss is read then."""

    async def flow(opened: Any) -> None:
        trading, admin = await opened(server.address("trading")), await opened(server.address("admin"))
        seen = Seen()
        async with running(trading.consume("group:trading", {ORDER: seen, TRADE: seen})) as reader:
            await admin.append([(ORDER, b"before")])
            await seen.until(b"before")
            await admin.call(("FLUSHALL",))
            await admin.append([(TRADE, b"right after")])
            with pytest.raises(DataLost, match="group:trading of stream:order, stream:trade was gone"):
                await asyncio.wait_for(reader, 10)
        async with running(trading.consume("group:trading", {ORDER: seen, TRADE: seen})):
            assert [b"before", b"right after"] == await seen.until(b"right after")

    flows(flow)


def test_an_entry_without_data_becomes_a_dead_letter_that_shows_it(flows: Any, server: Any) -> None:
    async def flow(opened: Any) -> None:
        trading, admin = await opened(server.address("trading")), await opened(server.address("admin"))
        seen = Seen()
        async with running(trading.consume("group:trading", {ORDER: seen})):
            await admin.call(("XADD", ORDER, "*", "price", "812", "volume", "1"))
            await seen.until(b'{"price":"812","volume":"1"}')

    flows(flow)


async def alarms(bus: Any) -> list[str]:
    return [decode(EventData, entry.payload).message for entry in await bus.read(EVENT)]


def test_an_entry_trimmed_while_it_was_pending_is_an_alarm_and_ends_the_reader(flows: Any, server: Any) -> None:
    """The service resynchronises; what is still there is read then, and the loss is told once."""

    async def flow(opened: Any) -> None:
        trading, admin = await opened(server.address("trading")), await opened(server.address("admin"))
        arrived, never, seen = asyncio.Event(), asyncio.Event(), Seen()

        async def hangs(entry: Entry) -> None:
            arrived.set()
            await never.wait()

        await admin.append([(ORDER, b"trimmed by hand")])
        async with running(trading.consume("group:trading", {ORDER: hangs})):
            await arrived.wait()
        await admin.call(("XTRIM", ORDER, "MAXLEN", "0"))
        await admin.append([(ORDER, b"next")])
        lost = "group:trading lost entries (1 of stream:order): they were trimmed before it had finished them"
        with pytest.raises(DataLost, match=re.escape(lost)):
            await asyncio.wait_for(trading.consume("group:trading", {ORDER: seen}), 10)
        async with running(trading.consume("group:trading", {ORDER: seen})):
            assert [b"next"] == await seen.until(b"next")
        assert [f"{lost}; it resynchronises"] == await alarms(admin)

    flows(flow)


def test_entries_trimmed_unread_are_counted_although_redis_shows_no_lag(flows: Any, server: Any) -> None:
    async def flow(opened: Any) -> None:
        trading, admin = await opened(server.address("trading")), await opened(server.address("admin"))
        seen = Seen()
        async with running(trading.consume("group:trading", {ORDER: seen})):
            await admin.append([(ORDER, b"one")])
            await seen.until(b"one")
        await admin.append([(ORDER, b"%d" % n) for n in range(6)])
        await admin.call(("XTRIM", ORDER, "MAXLEN", "3"))
        state = next(state for state in await admin.groups() if state.stream == ORDER)
        assert (3, 3) == (state.lost, state.lag)
        lost = "group:trading lost entries (3 of stream:order): they were trimmed before it had finished them"
        with pytest.raises(DataLost, match=re.escape(lost)):
            await asyncio.wait_for(trading.consume("group:trading", {ORDER: seen}), 10)
        async with running(trading.consume("group:trading", {ORDER: seen})):
            assert [b"one", b"3", b"4", b"5"] == await seen.until(b"5")
        assert [f"{lost}; it resynchronises"] == await alarms(admin)

    flows(flow)


def test_a_gap_that_redis_has_forgotten_is_found_by_our_own_count(
    flows: Any, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trimmed between two reads of a reader that runs: the next read makes Redis say that nothing is missing."""
    monkeypatch.setattr("arbig.bus.consumer.COUNT_SECONDS", 0.3)

    async def flow(opened: Any) -> None:
        trading, admin = await opened(server.address("trading")), await opened(server.address("admin"))
        seen, busy, go_on = Seen(), asyncio.Event(), asyncio.Event()

        async def slow(entry: Entry) -> None:
            await seen(entry)
            busy.set()
            await go_on.wait()

        async with running(trading.consume("group:trading", {ORDER: slow})) as reader:
            await admin.append([(ORDER, b"one")])
            await busy.wait()
            await admin.append([(ORDER, b"%d" % n) for n in range(6)])
            await admin.call(("XTRIM", ORDER, "MAXLEN", "2"))
            go_on.set()
            with pytest.raises(DataLost, match=re.escape("lost entries (4 of stream:order)")):
                await asyncio.wait_for(reader, 10)
        async with running(trading.consume("group:trading", {ORDER: seen})):
            await admin.append([(ORDER, b"last")])
            await seen.until(b"last")
        assert b"0" not in seen.payloads
        assert 1 == len(await alarms(admin))

    flows(flow)


def test_the_janitors_own_trimming_is_no_loss(flows: Any, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arbig.bus.consumer.COUNT_SECONDS", 0.05)

    async def flow(opened: Any) -> None:
        trading, admin = await opened(server.address("trading")), await opened(server.address("admin"))
        seen = Seen()
        for life in range(3):
            async with running(trading.consume("group:trading", {ORDER: seen})):
                for n in range(5):
                    name = b"%d.%d" % (life, n)
                    await admin.append([(ORDER, name)] * 3)
                    await seen.until(name)
                    await asyncio.sleep(0.06)
                    await admin.call(("XTRIM", ORDER, "MAXLEN", "1"))
        assert [] == await alarms(admin)
        assert 0 == next(state for state in await admin.groups() if state.stream == ORDER).lost

    flows(flow)


def test_a_killed_server_comes_back_with_everything_that_was_acknowledged(
    flows: Any, server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def flow(opened: Any) -> None:
        gateway, trading = await opened(server.address("gateway")), await opened(server.address("trading"))
        seen, acknowledged = Seen(), []
        async with running(trading.consume("group:trading", {TRADE: seen})):
            for n in range(50):
                await gateway.append([(TRADE, b"fill %d" % n)])
                acknowledged.append(b"fill %d" % n)
            port = server.address("gateway").port
            server.kill()
            with pytest.raises(BusError, match=f"127.0.0.1:{port} is not there; start it with `arbig up`"):
                await gateway.append([(TRADE, b"lost")])
            server.start()
            await asyncio.to_thread(server.wait_until_it_answers)
            assert port == server.address("gateway").port
            await gateway.append([(TRADE, b"last")])
            assert [*acknowledged, b"last"] == list(dict.fromkeys(await seen.until(b"last")))

    flows(flow)
    assert "Redis lost data" not in caplog.text


def test_a_silent_subscription_is_rebuilt_after_three_seconds(flows: Any, server: Any, network: Any) -> None:
    """A half-open connection fails neither reading nor writing: only the missing answer to a PING shows it."""

    async def flow(opened: Any) -> None:
        async with network.open():
            market = await opened(network.to(server.address("market")))
            gateway = await opened(server.address("gateway"))
            stands, heard = asyncio.Event(), asyncio.Event()

            async def listen() -> None:
                async for batch in market.listen("tick:*"):
                    (heard if batch else stands).set()

            async with running(listen()), asyncio.timeout(15):
                await stands.wait()
                stands.clear()
                network.silence()
                await gateway.publish([("tick:au2512", b"lost")])
                await stands.wait()
                await gateway.publish([("tick:au2512", b"heard")])
                await heard.wait()

    flows(flow)


def test_a_server_that_does_not_answer_is_an_error_after_two_seconds(flows: Any, server: Any, network: Any) -> None:
    async def flow(opened: Any) -> None:
        async with network.open():
            trading = await opened(network.to(server.address("trading")))
            network.silence()
            began = asyncio.get_running_loop().time()
            with pytest.raises(BusError, match="did not answer in time"):
                await trading.append([("stream:cmd", b"send")])
            assert 2.0 <= asyncio.get_running_loop().time() - began < 4.0

    flows(flow)


def test_a_refused_write_names_the_server_and_the_mend(flows: Any, server: Any) -> None:
    """Out of memory, read-only, a stranger: one line each."""

    async def flow(opened: Any) -> None:
        admin, trading = await opened(server.address("admin")), await opened(server.address("trading"))
        await admin.call(("CONFIG", "SET", "maxmemory", "1mb"))
        with pytest.raises(BusError, match="is out of memory; raise its maxmemory"):
            await trading.append([("stream:cmd", b"send")])
        await admin.call(("CONFIG", "SET", "maxmemory", "0"))
        await admin.call(("REPLICAOF", "127.0.0.1", "1"))
        with pytest.raises(BusError, match="is a read-only replica; name the primary"):
            await trading.append([("stream:cmd", b"send")])
        await admin.call(("REPLICAOF", "NO", "ONE"))
        assert len(await trading.append([("stream:cmd", b"send")])) == 1
        with pytest.raises(BusError, match="refuses user 'trading': wrong user name or password"):
            await opened(replace(server.address("trading"), password="guess"))

    flows(flow)
