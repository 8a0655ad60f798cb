"""Each of these lost or doubled a message somewhere once: here it must not."""

from __future__ import annotations

import asyncio
import re
import resource
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from proxy import Proxy

from arbig.bus.port import BusError, DataLost, Entry
from arbig.bus.redis import RedisAddress
from arbig.domain.messages import EventData, decode
from arbig.runtime import redis_server

ORDER, TRADE, EVENT = "stream:order", "stream:trade", "stream:event"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


def test_a_lost_reply_to_an_append_is_an_error_and_one_entry_only(flows: Any, server: Any, network: Proxy) -> None:
    """Nothing sends XADD a second time: the caller learns that he does not know."""

    async def flow(opened: Any) -> None:
        strategy = await opened(through(network, server, "strategy"))
        network.drop_replies(holding=b"-0\r\n")
        with pytest.raises(BusError, match="is not there"):
            await strategy.append([(ORDER, b"buy one lot")])
        assert 1 == network.dropped
        assert [b"buy one lot"] == [entry.payload for entry in await strategy.read(ORDER)]

    flows(flow)


def test_after_a_lost_reply_to_a_read_the_pending_entries_come_first(flows: Any, server: Any, network: Proxy) -> None:
    """Redis has delivered `first` into nowhere: reading on would skip it without a word."""

    async def flow(opened: Any) -> None:
        trading = await opened(through(network, server, "trading"))
        admin = await opened(server.address("admin"))
        seen = Seen()
        async with running(trading.consume("group:trading", {ORDER: seen})):
            await reading(admin, "trading")
            network.drop_replies(holding=b"first")
            await admin.append([(ORDER, b"first")])
            await admin.append([(ORDER, b"second")])
            assert [b"first", b"second"] == await seen.until(b"second")
        assert 1 == network.dropped

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


@contextmanager
def outside_server(folder: Path, *words: str, file_bytes: int) -> Iterator[int]:
    """Somebody's Redis, whose files may not grow beyond this: its port."""
    port = free_port()
    binary = redis_server.find_binary()
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    command = [binary, "--port", str(port), "--dir", folder, "--save", "", *words]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=limit, restore_signals=False)
    try:
        assert server.stdout is not None
        while b"Ready to accept" not in server.stdout.readline():
            assert server.poll() is None
        yield port
    finally:
        server.terminate()
        server.communicate()


def through(network: Proxy, server: Any, user: str) -> RedisAddress:
    return replace(server.address(user), port=network.port)


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


def test_a_silent_subscription_is_rebuilt_after_three_seconds(flows: Any, server: Any, network: Proxy) -> None:
    """A half-open connection fails neither reading nor writing: only the missing answer to a PING shows it."""

    async def flow(opened: Any) -> None:
        market = await opened(through(network, server, "market"))
        gateway = await opened(server.address("gateway"))
        stands, heard = asyncio.Event(), asyncio.Event()

        async def listen() -> None:
            async for batch in market.listen("tick:*"):
                (heard if batch else stands).set()

        async with running(listen()), asyncio.timeout(15):
            await stands.wait()
            stands.clear()
            network.freeze(also_new=False)
            await gateway.publish([("tick:au2512", b"lost")])
            await stands.wait()
            await gateway.publish([("tick:au2512", b"heard")])
            await heard.wait()

    flows(flow)


def test_a_server_that_does_not_answer_is_an_error_after_two_seconds(flows: Any, server: Any, network: Proxy) -> None:
    async def flow(opened: Any) -> None:
        trading = await opened(through(network, server, "trading"))
        network.freeze(also_new=False)
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


def test_a_lost_reply_to_an_acknowledgement_neither_repeats_nor_skips(flows: Any, server: Any, network: Proxy) -> None:
    async def flow(opened: Any) -> None:
        trading, admin = await opened(through(network, server, "trading")), await opened(server.address("admin"))
        seen = Seen()

        async def handle(entry: Entry) -> None:
            await seen(entry)
            if entry.payload == b"first":
                network.drop_replies(holding=b":1\r\n")

        async with running(trading.consume("group:trading", {ORDER: handle})):
            await reading(admin, "trading")
            await admin.append([(ORDER, b"first")])
            async with asyncio.timeout(5):
                while not network.dropped:  # noqa: ASYNC110 - a network tells nobody what it has lost
                    await asyncio.sleep(0.01)
            await admin.append([(ORDER, b"second")])
            assert [b"first", b"second"] == await seen.until(b"second")
        assert 1 == network.dropped
        assert 0 == next(state for state in await admin.groups() if state.stream == ORDER).pending

    flows(flow)


def test_a_read_that_is_cancelled_while_its_reply_is_on_the_way_skips_nothing(
    flows: Any, server: Any, network: Proxy
) -> None:
    async def flow(opened: Any) -> None:
        trading, admin = await opened(through(network, server, "trading")), await opened(server.address("admin"))
        seen = Seen()
        async with running(trading.consume("group:trading", {ORDER: seen})):
            await reading(admin, "trading")
            network.freeze(also_new=False)
            await admin.append([(ORDER, b"first")])
        await admin.append([(ORDER, b"second")])
        async with running(trading.consume("group:trading", {ORDER: seen})):
            assert [b"first", b"second"] == await seen.until(b"second")

    flows(flow)


def test_many_appends_over_a_network_that_loses_replies_are_each_there_at_most_once(
    flows: Any, server: Any, network: Proxy
) -> None:
    """Who sends again after an error says the same request_id again: that is his affair and his reader's, not ours."""

    async def flow(opened: Any) -> None:
        strategy = await opened(through(network, server, "strategy"))
        failed = set()
        for n in range(300):
            if n % 20 == 7:
                network.drop_replies(holding=b"-0\r\n")
            try:
                await strategy.append([(ORDER, b"%d" % n)])
            except BusError:
                failed.add(b"%d" % n)
        there = [entry.payload for entry in await strategy.read(ORDER)]
        assert 15 == network.dropped == len(failed)
        assert [b"%d" % n for n in range(300)] == there

    flows(flow)


def test_a_server_restarted_without_its_file_is_another_epoch_and_ends_the_reader(flows: Any, server: Any) -> None:
    """Also when a producer has made the stream again before the reader looked."""

    async def flow(opened: Any) -> None:
        trading, gateway = await opened(server.address("trading")), await opened(server.address("gateway"))
        seen, before = Seen(), await trading.epoch()
        async with running(trading.consume("group:trading", {TRADE: seen})) as reader:
            await gateway.append([(TRADE, b"fill")])
            await seen.until(b"fill")
            server.kill()
            shutil.rmtree(server.settings.data / "redis" / "appendonlydir")
            server.start()
            await asyncio.to_thread(server.wait_until_it_answers)
            await gateway.append([(TRADE, b"said again")])
            with pytest.raises(DataLost, match="Redis lost data"):
                await asyncio.wait_for(reader, 5)
        assert before != await trading.epoch() == await gateway.epoch()
        async with running(trading.consume("group:trading", {TRADE: seen})):
            assert [b"fill", b"said again"] == await seen.until(b"said again")

    flows(flow)


def test_a_server_restarted_with_its_file_is_the_same_epoch(flows: Any, server: Any) -> None:
    async def flow(opened: Any) -> None:
        trading = await opened(server.address("trading"))
        before = await trading.epoch()
        server.kill()
        server.start()
        await asyncio.to_thread(server.wait_until_it_answers)
        assert before == await (await opened(server.address("trading"))).epoch()

    flows(flow)


@pytest.mark.parametrize("seconds", [5.0, pytest.param(60.0, marks=pytest.mark.chaos)])
def test_a_frozen_server_is_an_error_in_two_seconds_and_everything_goes_on_within_five_of_its_return(
    flows: Any, server: Any, network: Proxy, seconds: float
) -> None:
    """Nothing is read twice or lost; what was said into the silence may arrive late, and once."""

    async def flow(opened: Any) -> None:
        loop = asyncio.get_running_loop()
        gateway, trading = [await opened(through(network, server, user)) for user in ("gateway", "trading")]
        seen, stands, ticks = Seen(), asyncio.Event(), asyncio.Event()

        async def listen() -> None:
            async for batch in trading.listen("tick:*"):
                (ticks if batch else stands).set()

        async with running(trading.consume("group:trading", {TRADE: seen})), running(listen()):
            await stands.wait()
            await gateway.append([(TRADE, b"before")])
            await seen.until(b"before")
            stands.clear()
            network.freeze()
            frozen = loop.time()
            with pytest.raises(BusError, match="did not answer in time"):
                await gateway.append([(TRADE, b"into the silence")])
            assert 1.9 < loop.time() - frozen < 4.0
            await asyncio.sleep(frozen + seconds - loop.time())
            network.heal()
            async with asyncio.timeout(5):
                await stands.wait()
                await gateway.publish([("tick:au2512", b"heard")])
                await ticks.wait()
                await gateway.append([(TRADE, b"after")])
                await seen.until(b"after")
        assert len(seen.payloads) == len(set(seen.payloads))
        assert {b"before", b"after"} <= set(seen.payloads) <= {b"before", b"into the silence", b"after"}

    flows(flow)


def test_a_full_server_is_down_and_said_once_and_its_entries_wait(
    flows: Any, server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The handler's own writes are refused: no dead letter, no end of the reader; it goes on when there is room."""

    async def flow(opened: Any) -> None:
        admin, trading = await opened(server.address("admin")), await opened(server.address("trading"))
        done = Seen()

        async def passes_on(entry: Entry) -> None:
            await trading.append([("stream:cmd", entry.payload)])
            await done(entry)

        async with running(trading.consume("group:trading", {ORDER: passes_on})):
            await reading(admin, "trading")
            await admin.append([(ORDER, b"one")])
            await done.until(b"one")
            await admin.append([(ORDER, b"two")])
            await admin.call(("CONFIG", "SET", "maxmemory", "1mb"))
            with pytest.raises(BusError, match="is out of memory"):
                await trading.epoch()
            await asyncio.sleep(1.5)
            await admin.call(("CONFIG", "SET", "maxmemory", "0"))
            await done.until(b"two")
        assert [b"one", b"two"] == list(dict.fromkeys(entry.payload for entry in await admin.read("stream:cmd")))
        assert [] == await admin.read("stream:dead")

    flows(flow)
    assert len([record for record in caplog.records if "is out of memory" in record.message]) <= 1


def test_a_server_whose_disk_is_full_refuses_writes_with_the_mend(flows: Any, tmp_path: Path) -> None:
    """An outside one that only syncs each second says MISCONF; our own, which syncs always, ends."""

    async def flow(opened: Any) -> None:
        with outside_server(tmp_path, "--appendonly", "yes", file_bytes=200_000) as port:
            bus = await opened(RedisAddress(port=port))
            with pytest.raises(BusError, match="cannot write its disk; free space under its data folder"):
                for _ in range(100):
                    await bus.append([(ORDER, b"-" * 10_000)])
                    await asyncio.sleep(0.02)
            with pytest.raises(BusError, match="cannot write its disk"):
                await bus.epoch()

    flows(flow)
