"""The whole way from a tick to a fill, in one thread on the memory bus."""

import asyncio
from pathlib import Path

from flow import Flow, flow, flow_settings

from arbig.domain.messages import Status, TradeData, decode
from arbig.runtime.settings import Settings


def _run(settings: Settings, minutes: int, until_stream: str | None = None) -> Flow:
    """Play so long, or until something stands in the stream."""

    async def play() -> Flow:
        async with flow(settings) as house:
            for _ in range(minutes):
                await house.play(1)
                if until_stream and house.bus.of(until_stream):
                    break
            await house.quiet()
            return house

    return asyncio.run(play())


def test_the_first_fill_comes_within_an_hour_of_trading(tmp_path: Path) -> None:
    """At sixty times the clock's speed that is a minute; three seeds, prices that our orders never move."""
    for seed in (1, 2, 3):
        house = _run(flow_settings(tmp_path / str(seed), seed), 65, "stream:trade")
        trades = [decode(TradeData, payload) for payload in house.bus.of("stream:trade")]
        assert trades, f"seed {seed}"
        assert {trade.strategy_name for trade in trades} == {"MaRsiStrategy"}


def test_the_same_seed_is_the_same_day_to_the_byte(tmp_path: Path) -> None:
    """Ticks, bars, orders and trades; another seed is another day."""
    topics = ("tick:", "bar:", "stream:order_status", "stream:order", "stream:trade")
    first, again, other = (
        _run(flow_settings(tmp_path / name, seed, ("ma_rsi", "breakout")), 45)
        for name, seed in (("a", 7), ("b", 7), ("c", 8))
    )
    assert {t: first.bus.digest(t) for t in topics} == {t: again.bus.digest(t) for t in topics}
    assert first.bus.digest("tick:") != other.bus.digest("tick:")
    assert first.bus.of("stream:trade")


def test_a_strategy_hears_of_a_reject_and_goes_on(tmp_path: Path) -> None:
    """The counter refuses the first order for lack of money; the next one fills."""
    settings = flow_settings(tmp_path, 1, ("ma_rsi", "breakout"), rejects=[{"at_order": 1, "error_id": 31}])
    house = _run(settings, 150, "stream:trade")
    said = [payload for payload in house.bus.of("stream:order_status") if Status.REJECTED.encode() in payload]
    assert any(b'"error_id":31' in payload for payload in said)
    assert house.bus.of("stream:trade")
