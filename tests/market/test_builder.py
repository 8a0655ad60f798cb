"""BarBuilder: restarts anywhere, over several days and contracts, leave the bars as if there had been none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from arbig.bus.topics import GATEWAY
from arbig.domain.messages import SHANGHAI, BarData, Heartbeat, TickData, encode
from arbig.market.builder import BarBuilder
from arbig.market.hours import Hours
from arbig.market.journal import TickJournal
from arbig.runtime.calendar import load_calendar
from arbig.runtime.clock import ManualClock
from arbig.runtime.instruments import load_instruments
from arbig.runtime.settings import load_settings

ROOT = Path(__file__).parents[2]
DAYS = (date(2025, 10, 15), date(2025, 10, 16))
SYMBOLS = ("au2512", "rb2601")
OPENING = datetime(2025, 10, 14, 20, 50, tzinfo=SHANGHAI)


class Desk:
    """A builder, its journal on disk and its stored bars, and how it dies."""

    def __init__(self, folder: Path, hours: Hours) -> None:
        self.folder = folder
        self.hours = hours
        self.stored: dict[str, list[BarData]] = defaultdict(list)
        self.builder = self._new(DAYS[0])

    def _new(self, day: date) -> BarBuilder:
        journal = TickJournal(self.folder, keep=None)
        builder = BarBuilder(self.hours, journal, self._last_stored, ManualClock(OPENING))
        self._store(builder.restore(day))
        builder.forget_past_days()
        builder.begin(SYMBOLS)
        return builder

    def _last_stored(self, symbol: str, day: date) -> BarData | None:
        return next((bar for bar in reversed(self.stored[symbol]) if bar.trading_day == day), None)

    def _store(self, bars: Sequence[BarData]) -> None:
        for bar in bars:
            self.stored[bar.symbol].append(bar)

    def hear(self, event: TickData | datetime, dies_before_storing: bool = False) -> None:
        received: Any = (encode(event), event) if isinstance(event, TickData) else _beat(event)
        bars = self.builder.on_batch([received])
        if not dies_before_storing:
            self._store(bars)
        if bars and not dies_before_storing:
            self.builder.forget_past_days()

    def restart(self) -> None:
        assert self.builder.trading_day is not None
        self.builder = self._new(self.builder.trading_day)

    def bars(self) -> dict[str, list[BarData]]:
        return {symbol: [replace(bar, partial=None) for bar in bars] for symbol, bars in self.stored.items()}


def _beat(moment: datetime) -> tuple[bytes, Heartbeat]:
    return b"", Heartbeat(service=GATEWAY, datetime=OPENING, pid=7, session_time=moment)


@pytest.fixture(scope="module")
def hours() -> Hours:
    house = load_settings(root=ROOT, data=ROOT / "data")
    return Hours(load_instruments(house), load_calendar(house))


MOVES = st.lists(
    st.tuples(st.sampled_from(SYMBOLS), st.integers(1, 900), st.integers(0, 9), st.sampled_from(["", "kill", "crash"])),
    min_size=5,
    max_size=60,
)


def story(moves: list[tuple[str, int, int, str]], tick: Any) -> list[tuple[TickData | datetime, str]]:
    """Two nights, one after the other: each opens with a tick of both contracts, then the moves, then the close."""
    events: list[tuple[TickData | datetime, str]] = [(OPENING, "")]
    for day, evening in zip(DAYS, (14, 15), strict=True):
        moment = datetime(2025, 10, evening, 21, tzinfo=SHANGHAI)
        volume = dict.fromkeys(SYMBOLS, 1)
        seq = dict.fromkeys(SYMBOLS, 0)
        opening = [(symbol, 0, 1, "") for symbol in SYMBOLS]
        for symbol, seconds, lots, death in [*opening, *moves]:
            moment += timedelta(seconds=seconds)
            if moment.hour >= 23 or moment.day != evening:
                break
            volume[symbol] += lots
            seq[symbol] += 1
            words = {"symbol": symbol, "seq": seq[symbol], "trading_day": day}
            events.append((tick(moment, 900.0 + lots, volume[symbol], **words), death))
            if seconds % 3 == 0:
                events.append((moment + timedelta(seconds=lots), ""))
        events.append((datetime(2025, 10, evening, 23, 0, 10, tzinfo=SHANGHAI), ""))
    return events


@given(MOVES)
@settings(max_examples=40, deadline=None)
def test_restarts_leave_the_bars_as_if_there_had_been_none(
    tmp_path_factory: pytest.TempPathFactory, hours: Hours, kit: Any, moves: list[tuple[str, int, int, str]]
) -> None:
    folder = tmp_path_factory.mktemp("builder")
    undisturbed, killed = Desk(folder / "a", hours), Desk(folder / "b", hours)
    for event, death in story(moves, kit.tick):
        undisturbed.hear(event)
        killed.hear(event, dies_before_storing=death == "crash")
        if death:
            killed.restart()
    assert killed.bars() == undisturbed.bars()
    assert not any(bar.partial for bars in undisturbed.stored.values() for bar in bars)
    assert len(list((folder / "b").iterdir())) == 1
