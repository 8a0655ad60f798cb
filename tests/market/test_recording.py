"""`record_ticks: true`: a finished day's ticks become Parquet files, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from arbig.domain.messages import EventType, TickData, encode
from arbig.market.recording import record, set_aside, waiting
from arbig.store.ticks import TickStore

DAY = date(2025, 10, 15)


def journals(house: Any) -> list[str]:
    return sorted(path.name for path in (house.settings.data / "market").glob("*.jsonl"))


LAST_MINUTES = ("15 14:58:00", "15 15:00:06")


async def recorded(house: Any, what: Callable[[], bool]) -> None:
    """The tick files are written by another process."""
    for _ in range(4000):
        if what():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the ticks were not recorded within forty seconds")


def no_rest(house: Any) -> bool:
    return not list((house.settings.data / "market" / "finished").glob("*"))


def ticks_of(house: Any, symbol: str = "au2512") -> list[TickData]:
    return list(TickStore(house.settings.data / "ticks").read_day(symbol, DAY).ticks())


def as_recorded(ticks: Sequence[TickData]) -> list[TickData]:
    return [replace(tick, pre_settlement=tick.pre_settlement or 0.0) for tick in ticks]


def test_a_settled_days_ticks_become_a_file_for_each_contract(new_house: Any, kit: Any) -> None:
    async def story() -> None:
        house = new_house("recorded", record_ticks=True)
        await house.start()
        first, last = map(kit.at, LAST_MINUTES)
        gold = [kit.tick("15 14:59:10", 900.0, 10), kit.tick("15 14:59:50.500", 900.02, 12)]
        silver = kit.tick("15 14:59:20", 11200.0, 7, symbol="ag2512")
        await house.play(first, gold[0], silver, gold[1], last, kit.event(EventType.SETTLED))
        assert journals(house) == []
        await recorded(house, lambda: no_rest(house))
        assert ticks_of(house) == as_recorded(gold)
        assert ticks_of(house, "ag2512") == as_recorded([silver])
        await house.stop()

    asyncio.run(story())


def test_nothing_is_recorded_unless_it_is_wished(house: Any, flow: Any, kit: Any) -> None:
    async def story() -> None:
        first, last = map(kit.at, LAST_MINUTES)
        await house.play(first, kit.tick("15 14:59:10", 900.0, 10), last, kit.event(EventType.SETTLED))
        assert journals(house) == []
        assert not (house.settings.data / "ticks").exists()
        assert not (house.settings.data / "market" / "finished").exists()

    flow(story)


def test_a_recording_that_dies_half_way_is_done_again_at_the_next_start(
    new_house: Any, kit: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It dies when the first contract's file stands; no tick is lost, none is there twice."""

    async def story() -> None:
        house = new_house("recorded", record_ticks=True)
        await house.start()
        first, last = map(kit.at, LAST_MINUTES)
        gold, silver = kit.tick("15 14:59:10", 900.0, 10), kit.tick("15 14:59:20", 11200.0, 7, symbol="ag2512")
        monkeypatch.setenv("ARBIG_CRASH", "recording.after_file")
        await house.play(first, gold, silver, last, kit.event(EventType.SETTLED))
        await recorded(house, lambda: "ended with 137" in caplog.text)
        assert not no_rest(house)
        gold_folder = house.settings.data / "ticks" / "au2512"
        assert not gold_folder.exists()
        gold_folder.mkdir()
        (gold_folder / ".2025-10-15.parquet.4711").write_bytes(b"PAR1")  # and another one died while it wrote
        monkeypatch.delenv("ARBIG_CRASH")
        await house.dies()
        house.gateway.trading_day = date(2025, 10, 16)
        await house.market.start()
        await recorded(house, lambda: no_rest(house))
        assert (ticks_of(house), ticks_of(house, "ag2512")) == (as_recorded([gold]), as_recorded([silver]))
        assert [path.name for path in gold_folder.iterdir()] == ["2025-10-15.parquet"]
        await house.stop()

    asyncio.run(story())


def test_a_day_that_cannot_be_set_aside_is_recorded_with_the_next(
    new_house: Any, kit: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Something stands where the folder should be; bars and ticks go on."""

    async def story() -> None:
        house = new_house("recorded", record_ticks=True)
        await house.start()
        in_the_way = house.settings.data / "market" / "finished"
        in_the_way.write_text("")
        first, last = map(kit.at, LAST_MINUTES)
        gold = kit.tick("15 14:59:10", 900.0, 10)
        await house.play(first, gold, last, kit.event(EventType.SETTLED))
        assert "ticks stay in data/market and are recorded later" in caplog.text
        assert journals(house) == ["2025-10-15.jsonl"]
        in_the_way.unlink()
        next_day = {"trading_day": date(2025, 10, 16)}
        await house.play(kit.tick("15 21:00:10", 900.0, 5, **next_day), kit.tick("15 21:01:10", 900.0, 6, **next_day))
        await recorded(house, lambda: journals(house) == ["2025-10-16.jsonl"] and no_rest(house))
        assert ticks_of(house) == as_recorded([gold])
        await house.stop()

    asyncio.run(story())


def test_a_day_that_ended_while_market_was_away_is_recorded_at_its_start(new_house: Any, kit: Any) -> None:
    """The line that the kill tore is no tick."""

    async def story() -> None:
        house = new_house("recorded", record_ticks=True)
        await house.start()
        first, _ = map(kit.at, LAST_MINUTES)
        ticks = [kit.tick("15 14:59:10", 900.0, 10), kit.tick("15 14:59:50.500", 900.02, 12)]
        await house.play(first, *ticks)
        await house.dies()
        (journal,) = (house.settings.data / "market").glob("*.jsonl")
        with journal.open("ab") as file:
            file.write(encode(ticks[-1])[:100])
        house.gateway.trading_day = date(2025, 10, 16)
        await house.market.start()
        await recorded(house, lambda: journals(house) == ["2025-10-16.jsonl"] and no_rest(house))
        assert ticks_of(house) == as_recorded(ticks)
        await house.stop()

    asyncio.run(story())


def test_a_day_recorded_in_parts_or_twice_has_each_tick_once(tmp_path_factory: Any, kit: Any) -> None:
    """Market restarts at any moment; the process that records dies before it can remove what it recorded."""
    ticks = [kit.tick(f"15 14:59:{second:02d}", 900.0 + second % 3, 10 + second // 2) for second in range(20)]

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.integers(0, 20), max_size=3).map(sorted), st.lists(st.booleans(), min_size=4, max_size=4))
    def prove(cuts: list[int], twice: list[bool]) -> None:
        folder: Path = tmp_path_factory.mktemp("parts")
        edges = [0, *cuts, len(ticks)]
        for start, end in pairwise(edges):
            journal = folder / f"{DAY}.jsonl"
            journal.write_bytes(b"+au2512\n" + b"".join(encode(tick) + b"\n" for tick in ticks[start:end]))
            set_aside(journal, folder / "finished")
        for part, again in zip(waiting(folder / "finished"), twice, strict=False):
            text = part.read_bytes()
            record(part, folder)
            if again:
                part.write_bytes(text)
                record(part, folder)
        assert list(TickStore(folder).read_day("au2512", DAY).ticks()) == as_recorded(ticks)
        assert not waiting(folder / "finished")

    prove()
