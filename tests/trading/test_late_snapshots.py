"""Snapshots of a position delivered again, and in the wrong order: the newest one stays."""

from datetime import datetime, timedelta
from itertools import permutations

from arbig.domain.messages import SHANGHAI, Direction, Exchange, PositionData
from arbig.trading.position_manager import PositionManager

NOON = datetime(2025, 10, 15, 11, 0, tzinfo=SHANGHAI)


def snapshot(number: int) -> PositionData:
    return PositionData(
        symbol="au2512",
        exchange=Exchange.SHFE,
        direction=Direction.LONG,
        volume=number,
        frozen=0,
        price=880.0,
        pnl=0.0,
        yd_volume=0,
        datetime=NOON + timedelta(seconds=number),
        event_id=f"P:sim:2025-10-15:au2512:LONG:{number}",
    )


def test_an_older_snapshot_that_comes_late_changes_nothing():
    """Found by the crash matrix: it stayed for good, because its place in the stream was the later one."""
    for order in permutations((1, 2, 3)):
        manager = PositionManager("sim")
        for place, number in enumerate((*order, *order), start=1):
            manager.on_position(snapshot(number), f"{place}-0")
        assert [3] == [position.volume for position in manager.positions()]


def test_a_full_answer_wins_over_what_was_repeated_after_it():
    manager = PositionManager("sim")
    manager.on_position(snapshot(2), "5-0")
    manager.replace([snapshot(3)], as_of="5-0")
    manager.on_position(snapshot(2), "9-0")
    assert [3] == [position.volume for position in manager.positions()]
