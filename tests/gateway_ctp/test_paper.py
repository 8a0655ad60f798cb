"""Paper under a broker's front: matched here on its ticks, and nothing of it ever reaches the counter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from arbig.domain.counter import OrderReport, ReplayEnd, Subject, TradeReport
from arbig.domain.messages import Direction, Offset
from arbig.gateway.paper import PaperConnector
from arbig.gateway.port import MARKET_DATA, TRADING, NotConnected
from arbig.runtime.calendar import load_calendar
from arbig.runtime.clock import WallClock
from arbig.runtime.instruments import load_instruments
from arbig.store.paper import PaperStore

ASKED_OF_A_COUNTER = (
    "reqAuthenticate", "reqSettlementInfoConfirm", "reqOrderInsert", "reqOrderAction", "reqQryOrder", "reqQryTrade",
    "reqQryInvestorPosition", "reqQryTradingAccount", "reqQryInstrument",
)  # fmt: skip
"""Everything that its trading half is ever asked."""


class PaperOffice:
    """An office whose connector only looks at the market, and the paper counter before it."""

    def __init__(self, office: Any, folder: Path) -> None:
        self.office, self.folder = office, folder

    async def start(self) -> None:
        office = self.office
        office.recorder = type(office.recorder)()
        front = office.new_connector(is_production=False)
        front._market_only = True
        store = PaperStore(self.folder / "paper.db")
        book, calendar = load_instruments(office.settings), load_calendar(office.settings)
        self.paper = PaperConnector(front, store, book, calendar, WallClock(), "paper", 5_000_000.0)
        self._running = asyncio.ensure_future(self.paper.run(office.recorder, lambda: 0))
        await office.recorder.until(lambda: office.recorder.of(ReplayEnd))

    async def stop(self) -> None:
        self._running.cancel()
        with suppress(asyncio.CancelledError):
            await self._running

    async def of_the_counter(self) -> dict[str, int]:
        return await self.office.do(lambda truth: {name: truth.count(name) for name in ASKED_OF_A_COUNTER})


@pytest.fixture
def play(open_office: Callable[..., Any], tmp_path: Path) -> Callable[..., None]:
    """A story in a paper office; at its end the counter has heard nothing."""

    def played(story: Callable[[PaperOffice], Any]) -> None:
        async def run() -> None:
            async with open_office(begin=False) as office:
                desk = PaperOffice(office, tmp_path)
                await desk.start()
                try:
                    await story(desk)
                    assert await desk.of_the_counter() == dict.fromkeys(ASKED_OF_A_COUNTER, 0)
                finally:
                    await desk.stop()

        asyncio.run(run())

    return played


def test_a_paper_order_fills_on_the_brokers_ticks_and_nothing_leaves(play):
    async def story(desk: PaperOffice) -> None:
        office, paper, heard = desk.office, desk.paper, desk.office.recorder
        assert {name: lamp.on for name, lamp in paper.lamps.items()} == {TRADING: True, MARKET_DATA: True}
        await office.to("10-14T21:02:00")
        await heard.until(lambda: len(heard.ticks()) > 20)
        paper.insert(office.wish(await office.price() + 1))
        await heard.until(lambda: heard.of(TradeReport))
        price = heard.of(TradeReport)[0].price
        assert any(abs(tick.ask_price_1 - price) < 1e-6 for tick in heard.ticks())
        (long,) = (await paper.query(Subject.POSITIONS)).positions
        assert (long.volume, long.account_id) == (1, "paper")
        wish = office.wish(await office.price() + 20, direction=Direction.SHORT, offset=Offset.CLOSETODAY)
        paper.insert(wish)
        await heard.until(lambda: heard.statuses(wish.order_ref) == ["NOTTRADED"])
        assert (await paper.query(Subject.POSITIONS)).positions[0].frozen == 1
        account = (await paper.query(Subject.ACCOUNT)).account
        assert account is not None and account.margin > 0

    play(story)


def test_the_next_life_finds_the_paper_counter_as_it_was(play):
    """What rested rests, what filled is replayed and counted once."""

    async def story(desk: PaperOffice) -> None:
        office, heard = desk.office, desk.office.recorder
        await office.to("10-14T21:02:00")
        await heard.until(lambda: len(heard.ticks()) > 20)
        filled, resting = office.wish(await office.price() + 1), office.wish(await office.price() - 20)
        desk.paper.insert(filled)
        desk.paper.insert(resting)
        before = await desk.paper.query(Subject.ORDERS), await desk.paper.query(Subject.TRADES)
        await desk.stop()
        await desk.start()
        heard = office.recorder
        after = await desk.paper.query(Subject.ORDERS), await desk.paper.query(Subject.TRADES)
        assert (after[0].orders, after[1].trades) == (before[0].orders, before[1].trades)
        assert [trade.order_ref for trade in heard.of(TradeReport)] == [filled.order_ref]
        again = heard.of(OrderReport)
        assert {report.order_ref for report in again} == {filled.order_ref, resting.order_ref}
        desk.paper.insert(filled)  # the same reference is refused, as at a counter
        await asyncio.sleep(0)
        assert len((await desk.paper.query(Subject.ORDERS)).orders) == 2

    play(story)


def test_before_the_first_tick_of_a_front_nothing_is_taken(open_office, tmp_path):
    async def run() -> None:
        async with open_office(begin=False) as office:
            await office.do(lambda truth: truth.close_fronts(stay_closed=True))
            front = office.new_connector(is_production=False)
            store = PaperStore(tmp_path / "paper.db")
            book, calendar = load_instruments(office.settings), load_calendar(office.settings)
            paper = PaperConnector(front, store, book, calendar, WallClock(), "paper", 5_000_000.0)
            running = asyncio.ensure_future(paper.run(office.recorder, lambda: 0))
            await asyncio.sleep(0.05)
            with pytest.raises(NotConnected, match="no market data yet"):
                paper.insert(office.wish(900.0))
            assert not paper.lamps[TRADING].on
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())
