"""A recorded day in `replay:` is played as it was; a file that cannot be played is refused in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from arbig.backtest.series import TickSeries
from arbig.domain.messages import TickData, encode
from arbig.exchange.counter import Counter
from arbig.exchange.server import counter_of
from arbig.runtime.settings import Settings, SettingsError, load_settings
from arbig.runtime.simulation import load_simulation
from arbig.store.ticks import TickStore

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(root=ROOT, data=tmp_path / "data")


@pytest.fixture
def replaying(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., Counter]]:
    """An exchange on the shipped configuration that replays these lines."""
    opened: list[Counter] = []

    def make(*lines: bytes, **changes: Any) -> Counter:
        path = tmp_path / "day.jsonl"
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        config = load_simulation(settings).model_copy(update={"replay": path, "history_days": 1, **changes})
        opened.append(counter_of(replace(settings, root=tmp_path), config))
        return opened[-1]

    yield make
    for counter in opened:
        counter.close()


@pytest.fixture(scope="session")
def morning(desk: Callable[..., Any]) -> list[TickData]:
    """The first minutes of another price process."""
    found: list[TickData] = desk(seed=7).ticks("10-14 21:03:00")
    return found


def test_the_recorded_ticks_are_the_market(
    replaying: Callable[..., Counter], morning: list[TickData], moment: Callable[[str], Any]
) -> None:
    """Two ticks that came in the wrong order are played in the order of their time."""
    mixed = [morning[1], morning[0], *morning[2:]]
    exchange = replaying(*map(encode, mixed)).exchange
    played = [event for event in exchange.advance_to(moment("10-14 21:10:00")) if isinstance(event, TickData)]
    assert played == morning


def test_a_day_that_market_recorded_is_the_market(
    settings: Settings, tmp_path: Path, morning: list[TickData], moment: Callable[[str], Any]
) -> None:
    path = TickStore(tmp_path / "ticks").write_day(TickSeries.from_ticks(morning))
    config = load_simulation(settings).model_copy(update={"replay": path, "history_days": 1})
    counter = counter_of(settings, config)
    played = [t for t in counter.exchange.advance_to(moment("10-14 21:10:00")) if isinstance(t, TickData)]
    assert [without_place(tick) for tick in played] == [without_place(tick) for tick in morning]
    counter.close()
    path.write_bytes(b"torn")
    with pytest.raises(
        SettingsError, match=r"replay: .*2025-10-15\.parquet: not a tick file .*; or write replay: null$"
    ):
        counter_of(settings, config)


def without_place(tick: TickData) -> TickData:
    """Its number in the day and the account are not recorded."""
    return structs.replace(tick, seq=None, account_id=None)


def test_a_day_that_is_not_recorded_is_made(
    replaying: Callable[..., Counter], morning: list[TickData], moment: Callable[[str], Any]
) -> None:
    exchange = replaying(*map(encode, morning)).exchange
    played = [event for event in exchange.advance_to(moment("10-15 21:01:00")) if isinstance(event, TickData)]
    assert played[: len(morning)] == morning
    assert {tick.trading_day for tick in played[len(morning) :]} == {date(2025, 10, 16)}


def test_a_bad_line_is_named(replaying: Callable[..., Counter], morning: list[TickData]) -> None:
    with pytest.raises(SettingsError, match=r"day\.jsonl: line 2: .*; remove the line$"):
        replaying(encode(morning[0]), b'{"symbol": "au2512"}')
    with pytest.raises(SettingsError, match=r"line 1: trading_day is missing"):
        replaying(encode(structs.replace(morning[0], trading_day=None)))


def test_a_file_without_a_day_to_play_is_refused(replaying: Callable[..., Counter], morning: list[TickData]) -> None:
    with pytest.raises(SettingsError, match=r"replay: .*found no tick, expected .* write e\.g\. replay: null$"):
        replaying()
    with pytest.raises(SettingsError, match=r"found ticks up to 2025-10-15, .* write e\.g\. first_day: 2025-10-15$"):
        replaying(encode(morning[0]), first_day=date(2025, 11, 3))


def test_a_file_that_is_not_there_is_refused(settings: Settings) -> None:
    config = load_simulation(settings).model_copy(update={"replay": Path("data/ticks/nothing.jsonl")})
    with pytest.raises(SettingsError, match=r"replay: .*nothing\.jsonl: No such file"):
        counter_of(settings, config)
