"""Clocks: the manual one moves only when told, and wakes sleepers in order."""

import asyncio
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from arbig.domain.messages import SHANGHAI
from arbig.runtime.clock import ManualClock, WallClock

START = datetime(2025, 10, 9, 21, 0, tzinfo=SHANGHAI)


@given(st.lists(st.integers(1, 500), max_size=12), st.integers(0, 600))
def test_those_whose_time_has_come_wake_in_the_order_of_their_times(naps: list[int], passed: int) -> None:
    async def night() -> list[tuple[int, datetime]]:
        clock, woken = ManualClock(START), []

        async def sleeper(seconds: int) -> None:
            await clock.sleep(seconds)
            woken.append((seconds, clock.now()))

        tasks = [asyncio.ensure_future(sleeper(nap)) for nap in naps]
        await clock.advance(passed)
        for task in tasks:
            task.cancel()
        assert (clock.now(), clock.monotonic()) == (START + timedelta(seconds=passed), passed)
        return woken

    expected = [(nap, START + timedelta(seconds=nap)) for nap in sorted(naps) if nap <= passed]
    assert asyncio.run(night()) == expected


def test_the_wall_clock_speaks_shanghai_time() -> None:
    now = WallClock().now()
    assert now.utcoffset() == timedelta(hours=8)
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)
