"""The trading state, here and at the Gateway's last door: who is told first, who wins, and what survives."""

from __future__ import annotations

import asyncio
from typing import Any

from places import doctored

from arbig.bus.port import BusError
from arbig.bus.topics import EVENT
from arbig.domain.messages import CommandType, EventData, EventType, Status, decode
from arbig.trading.state import State


async def events(desk: Any, kind: EventType) -> list[str]:
    found = [decode(EventData, each) for each in await desk.said(EVENT.name)]
    return [each.message for each in found if each.event is kind]


def test_the_gateway_hears_of_the_state_at_the_first_start(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk:
            assert ("ACTIVE", 1) == (counter.door["state"], counter.door["number"])
            assert desk.service.keeper.gateway_knows
            await desk.status(await desk.order(), Status.NOTTRADED)

    asyncio.run(play())


def test_a_halt_holds_at_the_gateway_before_it_is_written_here_and_a_looser_state_after(
    opened: Any, counter: Any
) -> None:
    async def play() -> None:
        written: list[tuple[str, str]] = []
        async with opened(counter) as desk:
            tell, write = counter.on_state, desk.service.snapshots.set_state
            counter.on_state = lambda **state: (written.append(("gateway", state["state"])), tell(**state))[1]
            desk.service.snapshots.set_state = lambda *row: (written.append(("here", row[0])), write(*row))[1]
            await desk.service.set_wanted(State.HALTED, "storm")
            await desk.service.set_wanted(State.REDUCING, "calmer")
            await desk.service.set_wanted(State.ACTIVE, "sun")
            assert [
                ("gateway", "HALTED"), ("here", "HALTED"),
                ("here", "REDUCING"), ("gateway", "REDUCING"),
                ("here", "ACTIVE"), ("gateway", "ACTIVE"),
            ] == written  # fmt: skip
            assert desk.service.state.number == counter.door["number"]

    asyncio.run(play())


def test_a_halt_at_the_gateway_by_a_newer_hand_halts_trading_too(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk:
            name = await desk.order()
            await desk.status(name, Status.NOTTRADED)
            counter.on_state("HALTED", "from the command line")
            desk.service._must_resync.set()
            await desk.until(lambda: desk.service.state.wanted is State.HALTED)
            assert "from the command line" == desk.service.state.reason
            await desk.until(lambda: desk.service.keeper.gateway_knows)
            assert desk.service.state.number == counter.door["number"]
            await desk.status(name, Status.CANCELLED)
        async with opened(counter) as desk:
            assert State.HALTED is desk.service.state.wanted

    asyncio.run(play())


def test_a_halt_told_to_both_is_lifted_by_one_resume(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk:
            await desk.service.set_wanted(State.HALTED, "storm")
            counter.on_state("HALTED", "storm")
            assert desk.service.state.number < counter.door["number"]
            await desk.service.set_wanted(State.ACTIVE, "sun")
            assert ("ACTIVE", desk.service.state.number) == (counter.door["state"], counter.door["number"])
            await desk.service.keeper.agree()
            assert State.ACTIVE is desk.service.state.wanted

    asyncio.run(play())


def test_a_halt_at_the_gateway_after_a_resume_that_it_never_heard_wins(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk:
            await desk.service.set_wanted(State.HALTED, "storm")
            door = counter.door
            await desk.service.set_wanted(State.ACTIVE, "sun")
            counter.door = door
        counter.on_state("HALTED", "by hand, while Trading was away")
        async with opened(counter) as desk:
            assert (State.HALTED, "by hand, while Trading was away") == (
                desk.service.state.wanted,
                desk.service.state.reason,
            )

    asyncio.run(play())


def test_a_halt_of_the_gateway_before_a_resume_that_it_never_heard_does_not_win(opened: Any, counter: Any) -> None:
    """The resume was committed here and Trading died before the Gateway was told: it is told at the next start."""

    async def play() -> None:
        async with opened(counter) as desk:
            await desk.service.set_wanted(State.HALTED, "storm")
            door = counter.door
            await desk.service.set_wanted(State.ACTIVE, "sun")
            counter.door = door
        async with opened(counter) as desk:
            assert State.ACTIVE is desk.service.state.wanted
            assert "ACTIVE" == counter.door["state"]

    asyncio.run(play())


def test_a_halt_needs_no_gateway_and_reaches_it_when_it_is_back(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk:
            counter.answers = False
            await desk.service.set_wanted(State.HALTED, "storm")
            assert State.HALTED is desk.service.state.wanted
            assert not desk.service.keeper.gateway_knows
            assert "ACTIVE" == counter.door["state"]
            counter.answers = True
            await desk.until(lambda: counter.door["state"] == "HALTED")
            await desk.until(lambda: desk.service.keeper.gateway_knows)

    asyncio.run(play())


def test_a_halt_holds_while_the_gateway_does_not_answer_its_question(opened: Any, counter: Any) -> None:
    """A Gateway that hangs keeps nobody from refusing the next order."""

    async def play() -> None:
        async with opened(counter) as desk:
            answered = asyncio.Event()
            ask = counter.ask

            async def hanging(path: str, body: Any = None) -> Any:
                if path == "/state":
                    await answered.wait()
                return await ask(path, body)

            counter.ask = hanging
            halt = asyncio.ensure_future(desk.service.set_wanted(State.HALTED, "storm"))
            await asyncio.sleep(0)
            refused = await desk.status(await desk.order(), Status.REJECTED)
            assert "trading is halted (storm)" in (refused.error_msg or "")
            answered.set()
            await halt
            assert "HALTED" == counter.door["state"]

    asyncio.run(play())


def test_a_state_row_that_cannot_be_read_is_halted_with_a_reason(opened: Any, counter: Any, settings: Any) -> None:
    async def play() -> None:
        async with opened(counter):
            pass
        with doctored(settings.database("trading")) as connection:
            connection.exec_driver_sql("UPDATE trading_states SET state = 'ACTIV'")
        async with opened(counter) as desk:
            assert State.HALTED is desk.service.state.wanted
            assert "cannot be read (found state 'ACTIV'" in desk.service.state.reason
            assert "HALTED" == counter.door["state"]
            await desk.service.set_wanted(State.ACTIVE, "seen")
            assert "ACTIVE" == counter.door["state"]
        async with opened(counter) as desk:
            assert State.ACTIVE is desk.service.state.wanted

    asyncio.run(play())


def test_a_trading_database_that_was_lost_takes_the_gateways_number_and_its_halt(opened: Any, counter: Any) -> None:
    async def play() -> None:
        counter.door = {"state": "ACTIVE", "reason": "sun", "since": None, "number": 7}
        async with opened(counter) as desk:
            assert (State.ACTIVE, 7) == (desk.service.state.wanted, desk.service.state.number)
            assert ("ACTIVE", 7) == (counter.door["state"], counter.door["number"])
        counter.door = {"state": "REDUCING", "reason": "less", "since": None, "number": 20}
        async with opened(counter) as desk:
            assert (State.REDUCING, "less") == (desk.service.state.wanted, desk.service.state.reason)

    asyncio.run(play())


def test_a_halt_cancels_without_a_bus_and_the_event_is_said_when_it_is_back(opened: Any, counter: Any) -> None:
    async def play() -> None:
        async with opened(counter) as desk:
            name = await desk.order()
            await desk.status(name, Status.NOTTRADED)
            append = desk.bus.append

            async def refuse(items: Any) -> Any:
                raise BusError("Redis is away")

            desk.bus.append = refuse
            await desk.service.set_wanted(State.HALTED, "storm")
            await desk.until(lambda: desk.service.outbox.waiting)
            desk.bus.append = append
            await desk.status(name, Status.CANCELLED)
            assert CommandType.CANCEL_ORDER is counter.commands[-1].cmd_type
            await desk.until(lambda: not desk.service._unsaid)
            assert ["storm"] == await events(desk, EventType.TRADING_STATE)

    asyncio.run(play())
