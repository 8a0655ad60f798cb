"""What makes trading stricter by itself, and what it leaves alone."""

from __future__ import annotations

import asyncio
from typing import Any

from arbig.bus.topics import EVENT
from arbig.domain.messages import (
    Direction,
    EventData,
    EventType,
    Exchange,
    Offset,
    OrderData,
    OrderType,
    Status,
    decode,
)
from arbig.domain.risk import RiskSettings
from arbig.domain.risk.cancels import Cancels
from arbig.domain.risk.runaway import Runaway
from arbig.runtime.clock import WallClock
from arbig.runtime.http import CallError
from arbig.store.orders import Received
from arbig.trading.pulse import Pulse
from arbig.trading.state import State
from arbig.trading.tripwire import Tripwire


class Leaping(WallClock):
    """The wall's clock, and a hand that pushes it on."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


async def looked_twice(desk: Any) -> None:
    for _ in range(2):
        await desk.service._watch()
        desk.service.clock.ahead += 1.5


async def alarms(desk: Any) -> list[str]:
    await desk.until(lambda: not desk.service._unsaid)
    found = [decode(EventData, each) for each in await desk.said(EVENT.name)]
    return [each.message for each in found if each.event is EventType.ALARM]


async def lose(desk: Any, percent: float) -> None:
    lost = percent * 10_000
    desk.counter.account |= {"position_profit": -lost, "balance": 1_000_000.0 - lost}
    await desk.service.reconciler.refresh_account()


def test_a_loss_of_two_percent_reduces_and_of_four_halts_here_and_at_the_gateway(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter, Leaping()) as desk:
            name = await desk.order()
            await desk.status(name, Status.NOTTRADED)
            await lose(desk, 2.5)
            await desk.service._watch()
            assert State.ACTIVE is desk.service.state.wanted
            await looked_twice(desk)
            assert (State.REDUCING, "REDUCING") == (desk.service.state.wanted, counter.door["state"])
            assert Status.NOTTRADED is desk.service.orders.get(name).status
            await lose(desk, 4.5)
            await looked_twice(desk)
            assert (State.HALTED, "HALTED") == (desk.service.state.wanted, counter.door["state"])
            await desk.status(name, Status.CANCELLED)
            said = await alarms(desk)
            assert ["trading is REDUCING: daily loss 25,010", "trading is HALTED: daily loss 45,010"] == [
                each.partition(" yuan")[0] for each in said
            ]
            await desk.service.set_wanted(State.ACTIVE, "I have looked")
            await looked_twice(desk)
            assert State.ACTIVE is desk.service.state.wanted
        async with opened(counter, Leaping()) as desk:
            await looked_twice(desk)
            assert State.ACTIVE is desk.service.state.wanted
            await lose(desk, 0)
            await looked_twice(desk)
            desk.service.clock.ahead += 61
            await looked_twice(desk)
            await lose(desk, 2.5)
            await looked_twice(desk)
            assert State.REDUCING is desk.service.state.wanted

    asyncio.run(play())


def test_an_account_that_is_being_made_flat_is_not_halted_before_it_is(opened: Any, counter: Any) -> None:
    async def play() -> None:
        await counter.hold("au2512", Direction.LONG, 1)
        async with opened(counter, Leaping()) as desk:
            job = await desk.service.flattener.begin(None, None, "enough")
            await lose(desk, 9)
            await looked_twice(desk)
            assert State.REDUCING is desk.service.state.wanted
            await desk.service.flattener.stop(desk.service.flattener.jobs[job.id])
            await looked_twice(desk)
            assert State.HALTED is desk.service.state.wanted

    asyncio.run(play())


def test_a_drawdown_below_the_best_settled_balance_reduces(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter, Leaping()) as desk:
            desk.service._best_balance = 2_000_000.0
            await looked_twice(desk)
            assert State.REDUCING is desk.service.state.wanted
            assert "50.0% below the best settled one" in desk.service.state.reason

    asyncio.run(play())


def test_a_program_gone_wild_is_halted_though_every_order_was_refused(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter, Leaping()) as desk:
            desk.service.tripwire = Tripwire((Runaway(requests=20),))
            names = [await desk.order(volume=11) for _ in range(20)]
            await desk.status(names[-1], Status.REJECTED)
            await desk.service._watch()
            desk.service.clock.ahead += 1.5
            await desk.service._watch()
            assert State.HALTED is desk.service.state.wanted
            assert "20 orders and cancels were asked for in 10 s, limit 20" in desk.service.state.reason
            assert [] == counter.commands

    asyncio.run(play())


def test_requests_that_waited_while_trading_was_away_are_no_wild_program(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter, Leaping()) as desk:
            late = desk.service.clock.now().replace(year=2025)
            await desk.status(await desk.order(timestamp=late), Status.REJECTED)
            assert [] == list(desk.service.pulse.requests)

    asyncio.run(play())


def test_a_service_far_behind_its_stream_reduces(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter, Leaping()) as desk:
            await desk.bus.append([(EVENT.name, b"{}")] * 2000)  # the strategies do not run here
            desk.service.clock.ahead += 11
            await looked_twice(desk)
            assert State.REDUCING is desk.service.state.wanted
            assert "group:strategy by 20" in desk.service.state.reason

    asyncio.run(play())


def test_what_reconciliation_cannot_explain_reduces_and_comes_anew_with_each_find(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk:
            for lots in (1, 2):
                await desk.service.mistrust(f"au2512 LONG: ours 0, theirs {lots}")
                assert State.REDUCING is desk.service.state.wanted
                await desk.service.set_wanted(State.ACTIVE, "mine, by hand")
            causes = desk.service.snapshots.causes(desk.service.orders.trading_day)
            assert {"POSITION_MISMATCH"} == causes

    asyncio.run(play())


def test_a_silent_front_refuses_what_opens_and_is_believed_again_with_the_next_tick(opened: Any, counter: Any) -> None:
    async def play() -> None:
        await counter.hold("au2512", Direction.LONG, 1)
        async with opened(counter, Leaping()) as desk:
            desk.service.clock.ahead += 11
            refused = await desk.status(await desk.order(), Status.REJECTED)
            assert "no tick of any contract for 11 s" in (refused.error_msg or "")
            close = await desk.order(direction=Direction.SHORT, offset=Offset.CLOSE)
            await desk.status(close, Status.NOTTRADED)
            for _ in range(2):
                desk.service._watch_market()
            assert any("market data: no tick" in line for line in desk.service.status()["alarms"])
            await desk.quote(symbol="ag2512")
            await desk.until(lambda: (desk.service.judge.silent() or 99) < 10)
            await desk.status(await desk.order(price=799.0), Status.NOTTRADED)
            desk.service._watch_market()
            assert [] == desk.service.status()["alarms"]
            assert ["market data: no tick", "market data: ticks c"] == [each[:20] for each in await alarms(desk)]
            assert State.ACTIVE is desk.service.state.wanted

    asyncio.run(play())


def test_a_strategy_that_is_rejected_again_and_again_is_paused_and_the_others_are_not(
    opened: Any, counter: Any
) -> None:
    async def play() -> None:
        paused: list[str] = []
        is_away = True

        async def pause(name: str) -> None:
            if is_away:
                raise CallError("strategy does not answer")
            paused.append(name)

        async with opened(counter) as desk:
            desk.service.pause_strategy = pause
            for number in range(5):
                counter.orders[f"r{number}"] = order_of(f"r{number}")
                await counter.report(f"r{number}", Status.REJECTED, 0)
            await desk.until(lambda: desk.service._rejected)
            refused = desk.service.state.refusal(desk.request(strategy_name="A"))
            assert "A is paused: the counter has rejected 5 of its orders within 60 s" in (refused or "")
            assert desk.service.state.refusal(desk.request(strategy_name="B")) is None
            is_away = False
            await desk.until(lambda: paused == ["A"])
            await desk.until(lambda: not desk.service._rejected)
            assert 1 == len(await alarms(desk))

    asyncio.run(play())


def order_of(request_id: str) -> Any:
    return OrderData(
        order_id=f"x{request_id}", symbol="au2512", exchange=Exchange.SHFE, direction=Direction.LONG,
        offset=Offset.OPEN, order_type=OrderType.LIMIT, price=800.0, volume=1, traded=0, status=Status.SUBMITTING,
        strategy_name="A", request_id=request_id, datetime=WallClock().now(),
    )  # fmt: skip


def test_busy_seconds_are_counted_once_each_and_the_same_after_a_restart() -> None:
    pulse, again = Pulse(RiskSettings()), Pulse(RiskSettings())
    now = WallClock().now().replace(microsecond=0)
    rows = [
        Received(request_id=f"{n}", kind="SEND_ORDER", answer="", received_at=now.replace(second=n % 3), messages=2)
        for n in sorted(range(27), key=lambda n: n % 3)
    ]
    for row in rows:
        pulse.passed_on(row.received_at, row.messages or 0)
    again.load(rows)
    assert (3, 3) == (pulse.bursts, again.bursts)


def test_an_alarm_is_on_the_event_stream_when_eighty_percent_of_the_exchanges_number_are_used(
    opened: Any, counter: Any
) -> None:
    """By the house's own watch: once there, and once more at the number itself."""

    async def play() -> None:
        async with opened(counter) as desk:
            desk.service.orders.activity._counting = (Cancels(max_cancels=10),)

            async def cancelled(*numbers: int) -> list[str]:
                for name in (f"c{number}" for number in numbers):
                    counter.orders[name] = order_of(name)
                    await counter.report(name, Status.CANCELLED, 0)
                await desk.until(lambda: desk.service.orders.activity.counts["au2512"].cancels == len(counter.orders))
                desk.service._stale.set()  # as a fill does: the account is looked at
                await asyncio.sleep(0.05)
                return await alarms(desk)

            assert [] == await cancelled(*range(7))
            said = ["au2512: 8 cancels today, 80% of the exchange's number (10); fewer orders, or FAK and FOK"]
            assert said == await cancelled(8)
            assert said == await cancelled(9)
            said += ["au2512: 10 cancels today, the exchange's number is reached (10); fewer orders, or FAK and FOK"]
            assert said == await cancelled(10)

    asyncio.run(play())
