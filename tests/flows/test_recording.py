"""`record_ticks: true` over a settlement: the day's ticks are a file, and the exchange plays it again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from flow import Flow, flow, flow_settings
from msgspec import structs

from arbig.domain.messages import EventData, EventType, TickData, decode
from arbig.runtime.settings import Settings
from arbig.store.ticks import TickStore

BEFORE_THE_CLOSE = 552


def _recording(home: Path, seed: int, **simulation: Any) -> Settings:
    settings = flow_settings(home, seed, strategies=(), **simulation)
    return replace(settings, house=settings.house.model_copy(update={"record_ticks": True}))


def _is_settled(house: Flow) -> bool:
    return any(decode(EventData, entry).event is EventType.SETTLED for entry in house.bus.of("stream:event"))


async def _recorded(finished: Path) -> None:
    """Another process writes the files, and removes what it made them of."""
    for _ in range(4000):
        if not list(finished.iterdir()):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not recorded within forty seconds")


def _last_minutes(settings: Settings) -> list[TickData]:
    """Plays the first day's end, until it is settled and recorded; what the bus carried."""

    async def play() -> list[TickData]:
        async with flow(settings, BEFORE_THE_CLOSE) as house:
            while not _is_settled(house):
                await house.play(1 / 6)
            await house.quiet()
            await _recorded(settings.data / "market" / "finished")
            return [decode(TickData, payload) for payload in house.bus.of("tick:au2512")]

    return asyncio.run(play())


def test_a_recorded_day_is_what_the_bus_carried_and_can_be_played_again(tmp_path: Path) -> None:
    """All but a tick's number in the day and the account, which are not recorded."""
    settings = _recording(tmp_path / "first", seed=1)
    carried = _last_minutes(settings)
    store = TickStore(settings.data / "ticks")
    (day,) = store.days("au2512")
    recorded = list(store.read_day("au2512", day).ticks())
    assert len(recorded) > 100
    assert recorded == [structs.replace(tick, seq=None, account_id=None) for tick in carried if tick.trading_day == day]

    again = _recording(tmp_path / "again", seed=2, replay=str(store.path("au2512", day)))
    assert _last_minutes(again)
    assert list(TickStore(again.data / "ticks").read_day("au2512", day).ticks()) == recorded
